"""Paths that a user or a spec names: the folder behind `~`, whom a file belongs to, whole writes."""
