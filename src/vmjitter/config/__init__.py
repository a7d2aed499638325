"""One table of settings, and where each value came from."""
