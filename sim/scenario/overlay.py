"""Overlays: what a candidate or a condition changes, laid over what it shares with the others.

The rules are those of JSON Merge Patch (RFC 7396): mappings merge, everything else (lists too) replaces, null removes.
The language adds five, each where a plain merge would make nonsense: a law replaces a law as a whole, a load of another
kind keeps only what the new kind knows, shorthand (``queue: 100``, ``protocol: grpc``) merges as what it stands for (but
``mix: shop.buy`` over a mix is all of it), null stays where the
language has a null of its own: ``budget: null`` says that there is none, and absent would let a preset's come back; and null
under a key that the language does not know stays, too, for the reader to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_origin

from sim.scenario.schema import SHORTHAND, Shape, child, chosen, fields_of, is_nullable, members
from sim.scenario.source import Node


def merge(below: Node, above: Node, shape: Shape | None) -> Node:
    """Lay one tree over another of the given type; a value keeps the place it came from, a merged mapping that of the upper."""
    below, above = unfolded(below, shape), unfolded(above, shape)
    if not isinstance(above.value, dict) or (shape is not None and shape.kind == "law"):
        return above
    below = _with_weights(below, shape)
    if not isinstance(below.value, dict):
        return _without_nulls(above, shape)
    if not above.value:
        return below
    merged = _what_stays(below, above, shape)
    either = {**shallow(below), **shallow(above)}
    for key, node in above.value.items():
        if _removes(shape, either, key, node):
            merged.pop(key, None)
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
    """What lies over nothing: a null that would remove has nothing to remove."""
    if not isinstance(node.value, dict) or (shape is not None and shape.kind == "law"):
        return node
    level = shallow(node)
    kept = {key: item for key, item in node.value.items() if not _removes(shape, level, key, item)}
    return node.holding({key: _without_nulls(item, child(shape, level, key)) for key, item in kept.items()})


def _removes(shape: Shape | None, level: Any, key: str, node: Node) -> bool:
    """Whether a value takes away what is there: a null, unless it means something, or its key is a mistake."""
    return node.value is None and not is_nullable(shape, level, key) and (shape is None or child(shape, level, key) is not None)


def removed_in_vain(overlays: Sequence[Node], below: Node, shape: Shape) -> Iterator[tuple[tuple[str, ...], Node, list[str]]]:
    """Entries that an overlay removes and that nobody has, neither what is below nor another overlay: path, null, what is there.

    Merge Patch lets it pass. Here it is a name that was not spelled right, and a candidate that changes nothing unseen.
    """
    written = [entry for tree in overlays for entry in _entries(tree, shape, ())]
    there = {path for path, node in (*written, *_entries(below, shape, ())) if node.value is not None}
    for path, node in written:
        if node.value is None and path not in there:
            yield path, node, [other[-1] for other in there if other[:-1] == path[:-1]]


def _entries(node: Node, shape: Shape | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Node]]:
    """What stands under names that the writer chose (services, selectors, operations), at any depth."""
    node = _with_weights(node, shape)
    if not isinstance(node.value, dict) or shape is None:
        return
    level = shallow(node)
    alternative = chosen(shape, level)
    chosen_names = alternative is not None and get_origin(alternative.core) is dict
    for key, item in node.value.items():
        if chosen_names:
            yield (*path, key), item
        yield from _entries(item, child(shape, level, key), (*path, key))


def unfolded(node: Node, shape: Shape | None) -> Node:
    """A value written in shorthand as the mapping that it stands for."""
    model = None if shape is None or len(members(shape)) > 1 else members(shape)[0].model
    short = SHORTHAND.get(model) if model is not None else None
    if model is None or short is None or node.value is None:
        return node
    if isinstance(node.value, dict) and (not node.value or set(node.value) & set(fields_of(model)) or short != "latency"):
        return node
    return node.holding({short: node})


def _with_weights(node: Node, shape: Shape | None) -> Node:
    """The one entry of a mix as the mapping that it stands for."""
    bare = isinstance(node.value, str) and shape is not None and get_origin(shape.core) is dict
    return node.holding({node.value: node.holding(1.0)}) if bare else node


def shallow(node: Node) -> Any:
    """A node's own level as plain data: enough to see which alternative of a union it is."""
    if isinstance(node.value, dict):
        return {key: item.value for key, item in node.value.items()}
    return node.value
