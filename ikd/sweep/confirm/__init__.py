"""Repeats with other seeds, trainings kept apart, and what they say of the chosen configuration."""
