"""What ikd makes of every box detector in mmdet's zoo."""
