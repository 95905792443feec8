"""What a preset is: settings in two parts, each number with its source, and how they lie below a scenario's own.

Every leaf of a preset is a `fact`: a value and where it is from, side by side, so that neither is changed without the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sim.units import BaseUnits

#: Settings of a call's policy as data in base units (seconds, per second), as they are written in Python.
Settings = Mapping[str, Any]

#: Keys that a block cannot be without. Whoever names a preset may leave them out, too.
_NEEDED: Final = ("kind", "algorithm", "max_concurrent")

#: Blocks whose `kind` is one setting among others.
_ANY_KIND: Final = ("backoff", "backoff_after_rejected")

#: Blocks that may be written as the word of their kind.
_WORDS: Final = ("balancing",)

#: Keys of which a block has one: when a hedge is sent.
_ONE_OF: Final = ("delay", "percentile", "on_per_try_timeout")


@dataclass(frozen=True)
class Preset:
    """One system's rules for calls.

    Attributes:
        name: system and version, ``envoy@1.40``.
        title: what it is, for the list.
        on: what acts when nothing else is configured.
        blocks: what a block (``retry``, ``circuit_breaker``, ...) starts from once it is configured.
        sources: for each setting, by its path (``retry.backoff.base``), where it is from.
        notes: rules that are known and not modelled, and other traps.
    """

    name: str
    title: str
    on: Settings = field(default_factory=dict)
    blocks: Mapping[str, Settings] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def under(self, own: Settings) -> dict[str, Any]:
        """Settings laid over the preset: its defaults where `own` says nothing, its numbers where a block says little."""
        below = dict(self.on)
        for name, value in own.items():
            if isinstance(value, Mapping) and name in self.blocks:
                below[name] = merged(below.get(name) or {}, self.blocks[name])
        return merged(below, own)

    def completed(self, own: Settings) -> dict[str, Any]:
        """Settings whose blocks have got from the preset what they cannot be without, such as the `kind` of a rate limit.

        Only that: all else stays below, where a wider selector may still say otherwise.
        """
        return _completed(own, self.under(own))


def _completed(own: Settings, full: Settings) -> dict[str, Any]:
    result = dict(own)
    for name, value in own.items():
        below = _block(name, full.get(name))
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            wanted = _NEEDED if _chosen(value) else (*_NEEDED, *_ONE_OF)
            needed = {key: in_base_units(below[key]) for key in wanted if key in below}
            result[name] = {**needed, **_completed(value, below)}
    return result


def in_base_units(value: Any) -> Any:
    """A number of a preset, as it may stand in YAML, too."""
    return BaseUnits(value) if isinstance(value, float) else value  # YAML refuses other numbers without a unit


def merged(below: Settings, above: Settings) -> dict[str, Any]:
    """Settings over settings: mappings merge key by key, all else replaces; so does a mapping of another `kind` (or algorithm,
    or rules), but for a back-off, which has the same numbers for each of its kinds. Of keys that exclude each other (`delay` and
    `percentile` of hedging) the upper one stays.

    >>> merged({"retry": {"max_attempts": 3, "on": ["error"]}}, {"retry": {"max_attempts": 2}})
    {'retry': {'max_attempts': 2, 'on': ['error']}}
    >>> merged({"budget": {"kind": "quota", "capacity": 500}}, {"budget": {"kind": "token_ratio"}})
    {'budget': {'kind': 'token_ratio'}}
    >>> merged({"balancing": "two_choices"}, {"balancing": {"replacement": False}})
    {'balancing': {'kind': 'two_choices', 'replacement': False}}
    """
    result = dict(below)
    for key, value in above.items():
        old = _block(key, result.get(key))
        value = _block(key, value)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and (key in _ANY_KIND or _of_one_kind(old, value)):
            result[key] = merged(_without_rivals(old, value), value)
        else:
            result[key] = value
    return result


def _block(key: str, value: Any) -> Any:
    """A word that stands for a block as the block."""
    return {"kind": value} if key in _WORDS and isinstance(value, str) else value


def _of_one_kind(old: Settings, new: Settings) -> bool:
    return all(old[word] == new[word] for word in ("kind", "algorithm", "rules") if word in old and word in new)


def _without_rivals(old: Settings, new: Settings) -> Settings:
    return {key: value for key, value in old.items() if key not in _ONE_OF} if _chosen(new) else old


def _chosen(settings: Settings) -> bool:
    # By identity: a delay of 0 is one, though it equals False.
    return any(settings.get(key) is not None and settings[key] is not False for key in _ONE_OF)


@dataclass(frozen=True)
class Fact:
    """A value and where it is from."""

    value: Any
    source: str


def fact(value: Any, source: str) -> Fact:
    """A value with its source: file and field, page, or measurement, of the version that the preset names."""
    return Fact(value, source)


def preset(name: str, title: str, on: Settings, blocks: Mapping[str, Settings], notes: tuple[str, ...]) -> Preset:
    """A preset from settings whose leaves are facts.

    Raises:
        ValueError: a setting has no source, or two different ones.

    >>> preset("tin@1", "A tin", {"timeout": fact(2.0, "the label")}, {}, ()).sources
    {'timeout': 'the label'}
    """
    sources: dict[str, str] = {}
    for path, leaf in [*leaves(on), *leaves(blocks)]:
        if not isinstance(leaf, Fact):
            raise ValueError(f"{name}: {path} = {leaf!r} has no source; write fact({leaf!r}, where it is from)")
        if sources.setdefault(path, leaf.source) != leaf.source:
            raise ValueError(f"{name}: {path} has two sources, {sources[path]!r} and {leaf.source!r}; make them one")
    return Preset(name, title, _values(on), _values(blocks), sources, notes)


def leaves(settings: Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    """All settings that hold no others, each with its path.

    >>> list(leaves({"timeout": 1.0, "retry": {"backoff": {"base": 0.1}}}))
    [('timeout', 1.0), ('retry.backoff.base', 0.1)]
    """
    for key, value in settings.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from leaves(value, here)
        else:
            yield here, value


def _values(settings: Settings) -> dict[str, Any]:
    return {key: _values(value) if isinstance(value, Mapping) else value.value for key, value in settings.items()}
