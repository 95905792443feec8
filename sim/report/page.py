"""A report as one HTML file: styles, script and pictures inside, nothing fetched, readable without the script."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from importlib.resources import files

from sim.plots import words
from sim.report.blocks import Block, Bullets, Cell, Chart, Code, Content, Diagram, Heading, Table, Text

#: Nothing may be fetched, from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def as_html(content: Content) -> str:
    """The report as one HTML document."""
    assets = files("sim.report") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    body = "\n".join(line for block in content.blocks for line in _written(block))
    headings = [block.text for block in content.blocks if isinstance(block, Heading) and block.level == 2]
    links = "".join(f'<li><a href="#{_anchor(text)}">{escape(text)}</a></li>' for text in headings)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(content.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">Skip to the report</a>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f'<main id="main">\n<h1>{escape(content.title)}</h1>\n{body}\n</main>\n'
        f'<script type="application/json" id="colours">{_json(content.colours)}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _written(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f'<h{level} id="{_anchor(text)}">{escape(text)}</h{level}>'
        case Text(text, strong):
            yield f'<p class="verdict">{escape(text)}</p>' if strong else f"<p>{escape(text)}</p>"
        case Bullets(items):
            if items:
                yield f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Code(text):
            yield f"<pre><code>{escape(text)}</code></pre>"
        case Chart():
            yield from _chart(block)
        case Diagram(title, svg):
            yield f'<figure class="diagram"><div class="scroll">{svg}</div><figcaption>{escape(title)}</figcaption></figure>'
        case Table():
            yield from _table(block)


def _chart(chart: Chart) -> Iterator[str]:
    picture = f"data:image/svg+xml;base64,{b64encode(chart.svg).decode()}"
    data = "" if chart.data is None else f'<script type="application/json">{_json(chart.data)}</script>'
    yield f'<figure class="chart"><h3>{escape(chart.title)}</h3><p>{escape(words.capital(chart.alt))}.</p>'
    yield f'<img alt="{escape(f"{chart.title}: {chart.alt}")}" src="{picture}">{data}</figure>'


def _table(table: Table) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join(f"<tr>{''.join(_cell(cell, first=not i) for i, cell in enumerate(row))}</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>"
    whole = f'<div class="scroll"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    yield f"<details><summary>{escape(table.caption)}</summary>{whole}</details>" if table.folded else whole


def _cell(cell: Cell | str, *, first: bool) -> str:
    if isinstance(cell, str):
        return f'<th scope="row">{_broken(cell)}</th>' if first else f"<td>{_broken(cell)}</td>"
    by = f' data-by="{cell.by!r}"' if cell.by is not None and cell.by == cell.by else ""
    mood = f' class="{cell.mood}"' if cell.mood else ""
    return f"<td{by}{mood}>{_broken(cell.text)}</td>"


def _broken(text: str) -> str:
    """Text in which a line may end after a dot or the like inside of a name, and nowhere else inside of a word."""
    return re.sub(r"(?<=\w)([._/])(?=[^\W\d])", r"\1<wbr>", escape(text))


def _json(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _anchor(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())
