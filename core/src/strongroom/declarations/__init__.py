"""What an application declares: resolved, typed, composed, checked."""
