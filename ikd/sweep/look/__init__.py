"""Looking at sweeps in a terminal, and in plain values for programs."""
