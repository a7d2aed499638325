"""One trial, from facts to status."""
