"""Gradient ascent: the images to which the units of a network react most."""
