"""Scenarios from outside formats: recorded traces in, a scenario out."""
