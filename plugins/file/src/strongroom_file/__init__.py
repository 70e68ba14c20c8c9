"""strongroom's file plugin."""
