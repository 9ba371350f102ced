"""Workflows that commands, batches, studies and notebooks share."""
