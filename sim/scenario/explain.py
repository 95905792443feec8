"""Errors that teach: what pydantic found wrong, as lines with the place in the file, the value, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from sim.scenario.calls import Fallback
from sim.scenario.overlay import shallow
from sim.scenario.schema import Shape, child, chosen, example, expected, field_shape, fields_of, joined, literals, members
from sim.scenario.source import Node, children
from sim.scenario.words import nearest, plain, shown

#: More messages than this are counted, not shown; and beyond these many nobody counts.
MOST: Final = 20
_COUNTED: Final = 100
#: Errors that are explained at all: an explanation takes a look at its neighbours, and nobody reads thousands.
_EXPLAINED: Final = 500
_LONGEST: Final = 400


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: where it stands in the text, where in the scenario, and what to do."""

    file: str
    line: int
    path: str
    text: str
    #: It is about a mapping as a whole, whose keys may come from several files.
    whole: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {f'{self.path}: ' if self.path else ''}{self.text}"


def report(problems: Iterable[Problem]) -> list[str]:
    """Problems as lines in the order of the text, each once, the first `MOST` of them."""
    found = sorted(set(problems))
    lines = [str(problem) for problem in found[:MOST]]
    if len(found) > MOST:
        lines.append(f"… and {len(found) - MOST if len(found) <= _COUNTED else 'many'} more")
    return lines


def problem_at(node: Node, path: Sequence[str | int], text: str, *, at_key: bool = False) -> Problem:
    """A problem with a value, or with the key in front of it."""
    line = node.key_line if at_key or isinstance(node.value, dict | list) else node.line
    return Problem(node.file, line, joined(path), text, whole=isinstance(node.value, dict))


def explain(error: ValidationError, root: Node, model: type[BaseModel], also_known: Sequence[str] = ()) -> Iterator[Problem]:
    """Every error of a validation, in words, at its place in the tree that was validated.

    Args:
        error: what pydantic raised for `root.plain()`.
        root: the tree with its positions.
        model: the model it was validated as.
        also_known: further keys that the top level may have, for suggestions.
    """
    places = [_locate(details, root, Shape(model)) for details in error.errors(include_url=False)[:_EXPLAINED]]
    causes = [place for place in places if not _is_noise(place, places) and not _is_misspelt(place, places)]
    wrong_laws = {str(place.path[1]) for place in causes if place.path[:1] == ["laws"] and len(place.path) > 1}
    causes = [place for place in causes if not _is_consequence(place, root, wrong_laws)] or causes
    for place in causes or places:
        yield from _explained(place, root, also_known)


def truths(node: Node, shape: Shape | None, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """Booleans where a number belongs: Python would count `true` as 1."""
    if isinstance(node.value, bool) and shape is not None and shape.kind is None:
        cores = [option.core for option in members(shape)]
        if bool not in cores and (int in cores or float in cores):
            yield problem_at(node, path, f"{shown(node.value)} should be {expected(shape)}")
    level = shallow(node)
    for key, item in children(node):
        yield from truths(item, child(shape, level, key), (*path, key))


@dataclass
class _Place:
    """Where an error stands: as far as its location leads into the tree."""

    details: ErrorDetails
    node: Node
    shape: Shape | None
    path: list[str | int] = field(default_factory=list)
    #: The mapping around it, and the union that the mapping is an alternative of.
    around: Shape | None = None
    around_union: Shape | None = None
    #: Paths at which an alternative of a plain union was tried.
    unions: list[tuple[str | int, ...]] = field(default_factory=list)
    #: The plain union whose alternatives the value itself failed: the message names them all.
    tried: Shape | None = None
    missing: str | None = None
    at_key: bool = False


def _locate(details: ErrorDetails, root: Node, shape: Shape) -> _Place:
    """Follow pydantic's location through the tree; names of alternatives and of what shorthand stands for lead nowhere."""
    place = _Place(details, root, shape)
    union: Shape | None = None
    location = list(details["loc"])
    for i, part in enumerate(location):
        if part == "[key]":
            place.at_key = True
            break
        if place.shape is not None and len(members(place.shape)) > 1:
            union, place.shape = place.shape, _alternative(place, str(part))
            continue
        value = place.node.value
        if isinstance(value, dict) and str(part) in value:
            _step(place, str(part), value[str(part)], union)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            _step(place, part, value[part], union)
        elif i == len(location) - 1 and details["type"] == "missing":
            place.missing = str(part)
        else:
            place.shape = _past_shorthand(place.shape, value, part)
            continue
        union = None
    return place


def _step(place: _Place, key: str | int, node: Node, union: Shape | None) -> None:
    place.around, place.around_union = place.shape, union
    place.shape = child(place.shape, shallow(place.node), key)
    place.node, place.tried = node, None
    place.path.append(key)


def _alternative(place: _Place, label: str) -> Shape | None:
    """The alternative that pydantic tried: by its tag; in a plain union the one that the value has the form of, or all."""
    shape = place.shape
    assert shape is not None
    options = members(shape)
    tagged = next((o for o in options if any(getattr(m, "tag", None) == label for m in o.meta)), None)
    if tagged is not None:
        return tagged
    place.unions.append(tuple(place.path))
    place.tried = shape
    return chosen(shape, shallow(place.node))


def _past_shorthand(shape: Shape | None, value: Any, part: str | int) -> Shape | None:
    if shape is None:
        return None
    if shape.model is not None and isinstance(part, str):
        return field_shape(shape.model, part) or shape
    if isinstance(part, int) and not isinstance(value, list):
        return child(shape, [value], 0) or shape
    return shape


def _is_noise(place: _Place, places: list[_Place]) -> bool:
    """Whether another alternative of the same union got further into the value: then this one was not meant.

    Or whether a list is called too short only because pydantic does not count its entries that are wrong themselves.
    """
    here = tuple(place.path)
    if place.details["type"] == "too_short" and place.node.value:
        return True
    return here in place.unions and any(
        here in other.unions and (len(other.path) > len(here) or other.at_key) for other in places if other is not place
    )


def _is_misspelt(place: _Place, places: list[_Place]) -> bool:
    """Whether a key is missed that stands there with a slip: what is said of the slip is enough."""
    return place.missing is not None and any(
        other.details["type"] == "extra_forbidden"
        and other.path[:-1] == place.path
        and f"did you mean '{place.missing}'" in _unknown(str(other.path[-1]), other, ())
        for other in places
    )


def _is_consequence(place: _Place, root: Node, wrong_laws: Set[str]) -> bool:
    """Whether a law is asked for by a name that exists: then what is wrong is wrong under `laws`, and said there."""
    if place.path[:1] == ["laws"]:
        return not wrong_laws.isdisjoint(_texts_in(place.node))
    laws = root.value.get("laws")
    named = laws is not None and isinstance(laws.value, dict) and isinstance(place.node.value, str)
    asks = place.shape is not None and place.shape.kind == "law"
    return named and asks and place.node.value in laws.value


def _texts_in(node: Node) -> Iterator[str]:
    if isinstance(node.value, str):
        yield node.value
    for _, item in children(node):
        yield from _texts_in(item)


def _explained(place: _Place, root: Node, also_known: Sequence[str]) -> Iterator[Problem]:
    details = place.details
    if details["type"] == "value_error" and not place.path:
        for line in str(details["ctx"]["error"]).split("\n"):
            yield _from_text(line, root)
        return
    node = place.node
    if place.missing is not None:
        yield problem_at(node, place.path, _missing(place.missing, place.shape), at_key=True)
    elif details["type"] == "extra_forbidden":
        known = () if len(place.path) > 1 else also_known
        yield problem_at(node, place.path, _unknown(str(place.path[-1]), place, known), at_key=True)
    elif place.at_key:
        yield _at_key(place)
    else:
        yield problem_at(node, place.path, _wrong(place))


def _missing(key: str, shape: Shape | None) -> str:
    only = members(shape) if shape is not None else []  # of a key that may be null, too
    model = only[0].model if len(only) == 1 else None
    about = fields_of(model)[key].description if model is not None and key in fields_of(model) else None
    written = example(key, field_shape(model, key) if model is not None else None)
    return f"{plain(key)} is missing{f' ({about})' if about else ''}; write for example {written}"


def _unknown(key: str, place: _Place, also_known: Sequence[str]) -> str:
    union = place.around_union
    around = members(place.around) if place.around is not None else []
    model = around[0].model if len(around) == 1 else None
    if key in also_known:
        return "stands at the top of a file only, beside services and load; not in a base, a candidate or a condition"
    known = [*(fields_of(model) if model is not None else ()), *also_known]
    tags = [meta.tag for option in members(union) for meta in option.meta if hasattr(meta, "tag")] if union else []
    first = next((known_key for known_key in known if known_key in tags), None)
    if key in tags and first is not None:  # tags may be kinds, too, and a field of another kind be called like one
        return f"{first} and {key} cannot stand in one item; give each its own '- '"
    return f"unknown key; {nearest(key, known)}"


def _at_key(place: _Place) -> Problem:
    # The location of a key's error ends with the key itself, so the path has been walked into its value.
    key = str(place.path[-1]) if place.path else ""
    ours = place.details["type"] == "value_error"
    text = _said(place.details) if ours else f"the key {shown(key)} should be a whole number"
    return problem_at(place.node, place.path[:-1], text, at_key=True)


def _wrong(place: _Place) -> str:
    details, node = place.details, place.node
    kind, value = details["type"], node.plain()
    if kind == "value_error":
        return _said(details) if value is not None else f"has no value: {_said(details)}"
    if kind == "too_short":
        return "is empty; it needs at least one entry"
    if kind in ("retry_budget", "adaptive_throttling"):
        return _kind_wanted(place)
    if kind in ("step", "fault", "load", "deployment"):  # our own words for data that fits no alternative
        guess = _guess(place)
        return f"{'' if kind == 'load' else shown(value) + ' '}{details['msg']}{guess}"
    shape = place.tried or place.shape
    wanted = expected(shape) if shape is not None else details["msg"]
    if any(option.model is Fallback for option in (members(shape) if shape is not None else ())):
        wanted = f"'value' or {wanted}, for example {{call: shop.default}}"
    if isinstance(value, str) and _PERCENT.fullmatch(value) and wanted.startswith(("a number", "a whole number")):
        return f"{shown(value)} should be {wanted}, written as a plain number: {value.rstrip(' %')}"
    if value is None:
        return f"has no value; write {wanted}, or remove the key"
    options = members(shape) if shape is not None else []
    words = [word for option in options for word in literals(option)]
    guess = nearest(value, words) if isinstance(value, str) else ""
    guess = guess if guess.startswith("did") else _as_entry(value, options)
    return f"{shown(value)} should be {wanted}{guess and f'; {guess}'}"


def _as_entry(value: Any, options: Sequence[Shape]) -> str:
    """The first entry of a mapping that a bare value could be, as a guess."""
    if len(options) != 1 or options[0].model is None or isinstance(value, dict | list):
        return ""
    for key, info in fields_of(options[0].model).items():
        kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        with suppress(ValidationError, PydanticUserError):
            TypeAdapter(kind).validate_python(value)
            return "" if key == "preset" else f"did you mean {{{key}: {value}}}?"
    return ""


def _kind_wanted(place: _Place) -> str:
    """What is said of a union that is chosen by its `kind`, where none is given or an unknown one."""
    options = members(place.shape) if place.shape is not None else []
    kinds = [str(meta.tag) for option in options for meta in option.meta if hasattr(meta, "tag")]
    value = place.node.value
    if not isinstance(value, dict) or (kind := value.get("kind")) is None:
        given = "" if isinstance(value, dict) else f"{shown(place.node.plain())} should be a mapping; "
        return f"{given}give its kind: {', '.join(kinds)}, for example kind: {kinds[0]}"
    known = nearest(str(kind.value), kinds)
    guess = f"{known} " if known.startswith("did") else ""
    return f"kind {shown(kind.plain())} is not known; {guess}write one of {', '.join(kinds)}"


def _guess(place: _Place) -> str:
    """The alternative whose tag is nearest to a key, or to the kind, of a value that fits none."""
    if place.shape is None or not isinstance(place.node.value, dict):
        return ""
    tags = [meta.tag for option in members(place.shape) for meta in option.meta if hasattr(meta, "tag")]
    kind = place.node.value.get("kind")
    for word in [str(kind.value)] if kind is not None else place.node.value:
        said = nearest(word, tags)
        if said.startswith("did"):
            return f"; {said}"
    return ""


def _said(details: ErrorDetails) -> str:
    """The message of one of our own validators, with the value as YAML would show it."""
    text = str(details["ctx"]["error"])
    value = details["input"]
    for written in (repr(value), str(value)):
        if len(written) > 2 and written in text:
            text = text.replace(written, shown(value), 1)
            break
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_PERCENT: Final = re.compile(r"[0-9]+(\.[0-9]+)? ?%")
_WORD: Final = re.compile(r"\.?([A-Za-z_]+)")
_INDEX: Final = re.compile(r"\[([0-9]+)\]")


def _from_text(text: str, root: Node) -> Problem:
    """A problem that a scenario reported as ``path: message``, at the place that the path leads to."""
    node, rest = root, text
    path: list[str | int] = []
    while True:
        step = _next(node, rest, bool(path))
        if step is None:
            break
        key, rest, found = step
        if found is not None:
            node = found
            path.append(key)
    message = rest[2:] if rest.startswith(": ") else text.split(": ", 1)[-1]
    return problem_at(node, path, " ".join(message.split())[:_LONGEST])


def _next(node: Node, rest: str, inside: bool) -> tuple[str | int, str, Node | None] | None:
    """One step along a textual path: (key, what remains, node); the node is None for words that shorthand left out."""
    if isinstance(node.value, dict):
        after = rest.removeprefix(".") if inside else rest
        # Keys may contain dots: the longest that fits.
        fitting = [key for key in node.value if key and after.startswith(key) and after[len(key) :][:1] in ("", ".", "[", ":")]
        if fitting:
            key = max(fitting, key=len)
            return key, after[len(key) :], node.value[key]
    if isinstance(node.value, list) and (index := _INDEX.match(rest)) and int(index[1]) < len(node.value):
        return int(index[1]), rest[index.end() :], node.value[int(index[1])]
    skipped = _INDEX.match(rest) or (re.match(r"\.steps\b", rest) if isinstance(node.value, list) else None)
    return ("", rest[skipped.end() :], None) if skipped else None
