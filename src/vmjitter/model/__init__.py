"""Frozen records of what is to be measured and what was; no I/O."""
