"""Descriptions: frozen, checked once, printable, picklable, hashable. Nothing here moves."""
