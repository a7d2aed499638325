"""Where trials are measured."""
