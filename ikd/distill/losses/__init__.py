"""The losses, a file each, and the registry that builds them by name."""
