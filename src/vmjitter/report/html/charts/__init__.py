"""The page's pictures: one file each, a pure function from the run's view to a picture."""
