"""strongroom's keyring plugin."""
