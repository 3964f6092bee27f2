"""How long a sweep takes: what happened when, what things cost, and what is left."""
