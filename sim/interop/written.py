"""A scenario's data as YAML that people read: blocks outside, one line per step inside, comments on where numbers come from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

_WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./%-]*( (->|[A-Za-z0-9_./%-]+))*")
_NUMBER_LIKE = re.compile(r"[0-9.]+([eE][0-9]+)?|true|false|null|yes|no|on|off", re.IGNORECASE)

Path = tuple[str, ...]


def yaml_text(data: Mapping[str, Any], comments: Mapping[Path, str]) -> str:
    """Write nested data as YAML; `comments` go above the key with that path, the one of `()` to the top.

    Mappings of mappings and lists become blocks; a list's items, and mappings that hold only scalars, stand on one line
    (wrapped if long). Keys and texts are quoted where YAML would read something else.

    >>> print(yaml_text({"load": {"rate": "8/s", "mix": {"shop.buy": 3}}}, {("load",): "measured"}), end="")
    # measured
    load:
      rate: 8/s
      mix: {shop.buy: 3}
    """
    lines = [*_comment(comments.get(()), ""), *_block(data, comments, ())]
    return "\n".join(lines) + "\n"


def _block(data: Mapping[str, Any], comments: Mapping[Path, str], path: Path) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in data.items():
        here = (*path, key)
        if not path and len(data) > 1 and isinstance(value, Mapping):
            yield ""
        yield from _comment(comments.get(here), indent)
        if isinstance(value, Mapping) and value and _has_parts(value):
            yield f"{indent}{_scalar(key)}:"
            yield from _block(value, comments, here)
        elif isinstance(value, list) and value:
            yield f"{indent}{_scalar(key)}:"
            for item in value:
                yield from _wrapped(f"{indent}  - {_flow(item)}", f"{indent}      ")
        else:
            yield from _wrapped(f"{indent}{_scalar(key)}: {_flow(value)}", f"{indent}    ")


def _has_parts(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is written as a block: a law is not, whatever it holds."""
    if set(value) == {"quantiles"}:
        return False
    return any(isinstance(item, Mapping | list) for item in value.values()) or len(value) > 6


def _comment(text: str | None, indent: str) -> Iterator[str]:
    for paragraph in (text or "").splitlines():
        for line in wrap(paragraph, _WIDTH - len(indent) - 2):
            yield f"{indent}# {line}"


def _wrapped(line: str, indent: str) -> Iterator[str]:
    while len(line) > _WIDTH and (cut := line.rfind(", ", len(indent), _WIDTH)) > 0:
        yield line[: cut + 1]
        line = indent + line[cut + 2 :]
    yield line


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) and not _NUMBER_LIKE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
