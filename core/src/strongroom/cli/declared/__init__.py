"""Declared secrets: which of them a command is about, and where their values are."""
