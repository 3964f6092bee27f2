"""The effects model: what each parameter does to the objective, and what is known of a configuration by it."""
