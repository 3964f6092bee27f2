"""Pictures of the trials of a sweep that are worth it."""
