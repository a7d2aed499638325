"""Knobs: settings that are read, applied, read back and put back."""
