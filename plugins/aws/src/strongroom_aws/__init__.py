"""strongroom's aws plugin."""
