"""The run directory: results in files that can be copied, resumed and merged."""
