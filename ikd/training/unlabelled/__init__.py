"""Teachers' labels in a training: made once, read in each step, and the photographs that have no other labels."""
