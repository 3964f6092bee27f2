"""Ray Tune runs the trials; the only folder that imports ray."""
