"""Declared secrets: which a command means, and where their values are."""
