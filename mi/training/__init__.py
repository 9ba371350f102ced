"""The record of information during a training: recorder, reader, results."""
