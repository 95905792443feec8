"""Overlays: what a candidate or a condition changes, laid over what it shares with the others.

The rules are those of JSON Merge Patch (RFC 7396): mappings merge, everything else (lists too) replaces, null removes.
The language adds four, each where a plain merge would make nonsense: a law replaces a law as a whole, a load of another
kind keeps only what the new kind knows, shorthand (``queue: 100``) merges as what it stands for, and null stays where it says
something else than absence (``heartbeat_interval: null``: no leases; absent, they last as long as ever).
"""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args

from pydantic_core import PydanticUndefined

from sim.scenario.schema import SHORTHAND, Shape, child, chosen, fields_of, members
from sim.scenario.source import Node


def merge(below: Node, above: Node, shape: Shape | None) -> Node:
    """Lay one tree over another of the given type; a value keeps the place it came from, a merged mapping that of the upper."""
    below, above = unfolded(below, shape), unfolded(above, shape)
    if not isinstance(above.value, dict) or (shape is not None and shape.kind == "law"):
        return above
    if not isinstance(below.value, dict):
        return _without_nulls(above, shape)
    if not above.value:
        return below
    merged = _what_stays(below, above, shape)
    either = {**shallow(below), **shallow(above)}
    for key, node in above.value.items():
        if node.value is None:
            merged.pop(key, None)
            if _null_speaks(shape, either, key):
                merged[key] = node
        elif key in merged:
            merged[key] = merge(merged[key], node, child(shape, either, key))
        else:
            merged[key] = _without_nulls(node, child(shape, either, key))
    return above.holding(merged)


def _what_stays(below: Node, above: Node, shape: Shape | None) -> dict[str, Node]:
    if shape is None or len(members(shape)) == 1 or "kind" not in above.value:
        return dict(below.value)
    was, becomes = chosen(shape, shallow(below)), chosen(shape, shallow(above))
    if was == becomes or becomes is None or becomes.model is None:
        return dict(below.value)
    known = fields_of(becomes.model)
    return {key: node for key, node in below.value.items() if key in known}


def _without_nulls(node: Node, shape: Shape | None) -> Node:
    if not isinstance(node.value, dict):
        return node
    data = shallow(node)
    return node.holding(
        {
            key: _without_nulls(item, child(shape, data, key))
            for key, item in node.value.items()
            if item.value is not None or _null_speaks(shape, data, key)
        }
    )


def _null_speaks(shape: Shape | None, value: Any, key: str) -> bool:
    """Whether null is a value of this key that its absence does not stand for."""
    option = chosen(shape, value) if shape is not None else None
    field = fields_of(option.model).get(key) if option is not None and option.model is not None else None
    return field is not None and NoneType in get_args(field.annotation) and field.default not in (None, PydanticUndefined)


def unfolded(node: Node, shape: Shape | None) -> Node:
    """A value written in shorthand as the mapping that it stands for."""
    model = shape.model if shape is not None else None
    short = SHORTHAND.get(model) if model is not None else None
    if model is None or short is None or node.value is None:
        return node
    if isinstance(node.value, dict) and (not node.value or set(node.value) & set(fields_of(model)) or short != "latency"):
        return node
    return node.holding({short: node})


def shallow(node: Node) -> Any:
    """A node's own level as plain data: enough to see which alternative of a union it is."""
    if isinstance(node.value, dict):
        return {key: item.value for key, item in node.value.items()}
    return node.value
