"""Queues, topics and the machines that keep them: what a scenario says about messages."""
