"""Huber distance between the feature maps of student and teacher (Huber 1964), for ikd."""
