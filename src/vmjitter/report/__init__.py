"""Tables, figures and JSON from a run directory."""
