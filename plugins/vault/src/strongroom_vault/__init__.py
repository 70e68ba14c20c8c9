"""strongroom's vault plugin."""
