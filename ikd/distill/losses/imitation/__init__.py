"""Losses that imitate chosen cells and instances rather than whole maps."""
