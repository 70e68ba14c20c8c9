"""The version of strongroom-core, stated once."""

__version__ = "0.1.0"
