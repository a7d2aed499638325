"""The periodic wake-up program and its sample stream."""
