"""strongroom's memory plugin."""
