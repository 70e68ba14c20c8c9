"""strongroom's gcp plugin."""
