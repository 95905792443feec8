"""Short pieces of HTML for notebooks: a title, a line of text, small tables; escaped, and readable in dark and light."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

#: A table: its caption, the heads of its columns, and its rows.
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]

# The text keeps the page's colour, lines take it half transparent: both are there on a dark page as on a light one.
_CARD = "font-size:90%;max-width:60em;overflow-x:auto"
_TABLE = "border-collapse:collapse;margin:.4em 0"
_CAPTION = "text-align:left;opacity:.75;padding:.2em 0"
_CELL = "text-align:{};padding:.15em .8em .15em 0;border-bottom:1px solid rgba(128,128,128,.35);background:none"


def card(title: str, text: str = "", tables: Sequence[Table] = ()) -> str:
    """Write a card; everything in it is escaped, and empty tables are left out.

    >>> card("shop", "Is <one> enough?").endswith("<div><b>shop</b></div><div>Is &lt;one&gt; enough?</div></div>")
    True
    """
    said = f"<div>{escape(text)}</div>" if text else ""
    return f'<div style="{_CARD}"><div><b>{escape(title)}</b></div>{said}{"".join(map(_table, tables))}</div>'


def _table(table: Table) -> str:
    caption, columns, rows = table
    if not rows:
        return ""
    heads = "".join(_cell("th", name, i) for i, name in enumerate(columns))
    body = "".join(f"<tr>{''.join(_cell('td', cell, i) for i, cell in enumerate(row))}</tr>" for row in rows)
    told = f'<caption style="{_CAPTION}">{escape(caption)}</caption>' if caption else ""
    return f'<table style="{_TABLE}">{told}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _cell(tag: str, content: object, place: int) -> str:
    """One cell: the first of a row to the left, figures to the right."""
    return f'<{tag} style="{_CELL.format("right" if place else "left")}">{escape(str(content))}</{tag}>'
