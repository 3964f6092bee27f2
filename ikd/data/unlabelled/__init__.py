"""Photographs without labels."""
