"""The decision on paper: one self-contained file, HTML or Markdown, that an architecture review can keep.

`content` says what is in it, block by block; `page` and `markdown` write the same blocks. It reads results, and changes nothing.
"""

from sim.report.content import content_of
from sim.report.markdown import as_markdown
from sim.report.page import as_html

__all__ = ["as_html", "as_markdown", "content_of"]
