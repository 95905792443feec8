"""Outside formats: recorded traces in and a scenario out; simulated requests out as spans and metrics."""
