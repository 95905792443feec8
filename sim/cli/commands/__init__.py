"""The commands and their options; what they do is in the modules of the floor below."""
