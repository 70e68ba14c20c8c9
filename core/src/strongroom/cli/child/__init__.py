"""The process that `run` starts."""
