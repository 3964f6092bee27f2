"""The search space: which recipe fields vary, how, and what is optimised."""
