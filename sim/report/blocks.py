"""What a report is made of: headings, text, tables, charts and code, each of which both formats can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, what it is sorted by (absent: the text), and its mood: good, bad, or neither."""

    text: str
    by: float | None = None
    mood: str = ""


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; a `strong` one is what the report comes to."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table with a caption; `folded` ones are opened by the reader."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str
    folded: bool = False


@dataclass(frozen=True)
class Code:
    """Text that is to be copied as it is."""

    text: str


@dataclass(frozen=True)
class Chart:
    """A picture as SVG, what it shows in words, and, where a reader may look closer, its numbers."""

    title: str
    alt: str
    svg: bytes
    data: dict[str, Any] | None = None


@dataclass(frozen=True)
class Diagram:
    """A drawing as SVG that takes the page's colours, and the same as Mermaid text."""

    title: str
    svg: str
    mermaid: str


Block = Heading | Text | Bullets | Table | Code | Chart | Diagram


@dataclass(frozen=True)
class Content:
    """A whole report: its title, its blocks in order, and the colours of the candidates."""

    title: str
    blocks: Sequence[Block]
    colours: dict[str, str] = field(default_factory=dict)
