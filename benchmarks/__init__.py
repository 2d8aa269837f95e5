"""How fast, and is it right: `python -m benchmarks`."""
