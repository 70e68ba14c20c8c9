"""What is done to a whole store: made, backed up, migrated, rekeyed, verified."""
