"""The systems of the presets. `proxies` stand beside the caller, `clients` are what it calls with, `libraries` wrap the call.

A new version of a system is a new preset; the old one stays, for the scenarios that name it.
"""
