"""strongroom's azure plugin."""
