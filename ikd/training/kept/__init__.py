"""What of all that trials share is kept already."""
