"""The recipe: one complete, fixed training set-up."""
