"""Disturbances of known kind, time and length, to see whether `explain` names them."""
