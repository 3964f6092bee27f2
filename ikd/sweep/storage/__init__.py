"""Where trials keep their files."""
