"""Numbers from samples: exact, pure, no I/O."""
