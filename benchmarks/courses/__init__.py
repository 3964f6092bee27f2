"""Short real sweeps of different shapes, recorded to try forecasts on: `python -m benchmarks.courses`."""
