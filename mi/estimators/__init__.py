"""Estimators of information, one module a family."""
