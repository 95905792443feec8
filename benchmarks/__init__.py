"""How fast `sim` is, beside SimPy, other simulators and code written by hand, on the same models: `python -m benchmarks`."""
