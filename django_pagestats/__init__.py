"""Exact page statistics from a Django site's own database."""

__version__ = "0.1.0"
