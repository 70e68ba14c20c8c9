"""strongroom's env plugin."""
