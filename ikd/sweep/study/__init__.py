"""The study: what a sweep remembers."""
