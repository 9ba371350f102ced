"""The networks that can be trained here, one kind a module."""
