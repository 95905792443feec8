"""Words for messages: values as YAML would show them, and what the writer probably meant."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

_COMPARED: Final = 1000
_NUMBER: Final = re.compile(r"(?<![\w\[])\d[\d.,]*(?:e[+-]?\d+)?")


def shown(value: Any, width: int = 60) -> str:
    """A value as it would stand in YAML, on one line and not too long.

    >>> shown({"work": {"exponential": "20ms"}, "effect": True, "x": None})
    "{work: {exponential: '20ms'}, effect: true, x: null}"
    >>> shown("x" * 100, 10)
    "'xxxxxxxx…'"
    """
    text = _flow(value, width)
    if len(text) <= width:
        return text
    closing = text[-1] if text[-1] in "'}]" else ""
    return f"{text[: width - 1]}…{closing}"


def _flow(value: Any, width: int) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, str):
        # Cut first: escaping a megabyte for a message helps nobody.
        text = value[: width + 1]
        return f"'{text}'" if text.isprintable() else repr(text)
    if isinstance(value, dict):
        return f"{{{', '.join(_some(f'{plain(key)}: {_flow(item, width)}' for key, item in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_some(_flow(item, width) for item in value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{'-' if value < 0 else ''}.{'nan' if math.isnan(value) else 'inf'}"
    return repr(value)[: width + 1]


def _some(parts: Iterable[str], limit: int = 20) -> list[str]:
    found: list[str] = []
    for part in parts:
        if len(found) == limit:
            return [*found, "…"]
        found.append(part)
    return found


def plain(key: object) -> str:
    """A key as part of a path, with what cannot be printed escaped."""
    text = str(key)[:80]
    return text if text.isprintable() else repr(text)[1:-1]


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something.

    >>> counted(1, "node"), counted(2, "node"), counted(3, "copy", "copies")
    ('1 node', '2 nodes', '3 copies')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def without_numbers(message: str) -> str:
    """A message whatever its numbers are, so that those that differ only in them are told once; names and places keep theirs.

    >>> without_numbers("faults[0] of shop2 ends at 3.5 s")
    'faults[0] of shop2 ends at # s'
    """
    return _NUMBER.sub("#", message)


def nearest(word: str, known: Iterable[str]) -> str:
    """What the writer probably meant, as the end of a message, or the known names.

    >>> nearest("worker", ["workers", "queue"]), nearest("threads", ["workers", "queue"])
    ("did you mean 'workers'?", 'known: queue, workers')
    >>> nearest("GraphQL", ["grpc", "graphql"])
    "did you mean 'graphql'?"
    >>> nearest("worker", [])
    'there are none here'
    """
    names = list(dict.fromkeys(known))
    if not names:
        return "there are none here"
    if len(names) > _COMPARED:  # to compare with thousands takes seconds
        names = [name for name in names if name[:1] == word[:1]][:_COMPARED] or names[:_COMPARED]
    by_letters = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(word[:80].casefold(), by_letters, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_letters[close[0]]}'?"
    return f"known: {', '.join(sorted(names)[:12])}{', …' if len(names) > 12 else ''}"
