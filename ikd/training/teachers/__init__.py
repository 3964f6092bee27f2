"""Teachers as a training uses them."""
