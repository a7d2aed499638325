"""Disturbing programs, and the proof that they ran."""
