"""Decisions: told the time and the odds, they answer at once. No clock, no SimPy, no I/O."""
