"""A report as Markdown, for a repository of decision records: tables, Mermaid diagrams, no pictures."""

from __future__ import annotations

from collections.abc import Iterator

from sim.report.blocks import Block, Bullets, Cell, Chart, Code, Content, Diagram, Heading, Table, Text


def as_markdown(content: Content) -> str:
    """The report as one Markdown text; charts are named only."""
    parts = [f"# {content.title}"]
    for block in content.blocks:
        parts += ["\n".join(lines) for lines in [list(_lines(block))] if lines]
    return "\n\n".join(parts) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {text}"
        case Text(text, strong):
            yield f"**{_safe(text)}**" if strong else _safe(text)
        case Bullets(items):
            yield from (f"- {_safe(item)}" for item in items)
        case Code(text):
            yield from ("```sh", text, "```")
        case Chart(title, alt):
            yield f"*Chart, in the HTML report: {title} ({alt}).*"
        case Diagram(title, _, mermaid):
            yield from (f"*{_safe(title)}*", "", "```mermaid", mermaid, "```")
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    if table.folded:
        yield from (f"<details><summary>{_safe(table.caption)}</summary>", "")
    else:
        yield from (f"*{_safe(table.caption)}*", "")
    yield f"| {' | '.join(_cell(name) for name in table.columns)} |"
    yield f"|{'---|' * len(table.columns)}"
    for row in table.rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"
    if table.folded:
        yield from ("", "</details>")


def _cell(cell: Cell | str) -> str:
    text = _safe(cell.text if isinstance(cell, Cell) else cell).replace("|", "\\|").replace("\n", " ")
    return f"**{text}**" if isinstance(cell, Cell) and cell.mood else text


def _safe(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in ("\\", "*", "_", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return text
