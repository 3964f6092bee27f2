"""The samplers: each yields values that it would try next, the best first."""
