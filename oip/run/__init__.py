"""The run directory: what was done, in files that can be copied, resumed and joined."""
