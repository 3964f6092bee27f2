"""What the study says, as data."""
