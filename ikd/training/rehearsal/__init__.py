"""A stage of a recipe tried out in seconds, before anything is trained for it."""
