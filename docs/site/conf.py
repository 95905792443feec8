"""Sphinx: pages from the README and the gallery (`pages.py` writes them), the API from docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

project = "sim"
copyright = "MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "sim"
exclude_patterns = ["_build", "gallery*.yaml"]
# Docstrings write names in single backquotes.
default_role = "literal"
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_use_ivar = True
# Napoleon takes what stands before a colon in an attribute's docstring for its type, and Sphinx looks for classes of that name.
suppress_warnings = ["ref.python"]
