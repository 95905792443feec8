"""Presets: what a real system does to calls, with its own numbers, by name and version: ``preset: envoy@1.40``.

Absent is not off: a preset says what its system does when nothing is configured (`on`), and from which numbers a block
starts once it is configured (`blocks`). Whoever names a preset overrides what they want::

    calls:
      default: {preset: resilience4j@2, circuit_breaker: {window_size: 20}}    # the rest of its breaker as resilience4j has it

The numbers of each system stand in one of the modules of `sim.scenario.systems`, each with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Settings of a call's policy as data in base units (seconds, per second), as they are written in Python.
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """One system's rules for calls.

    Attributes:
        name: system and version, ``envoy@1.40``.
        title: what it is, for the list.
        on: what acts when nothing else is configured.
        blocks: what a block (``retry``, ``circuit_breaker``, ...) starts from once it is configured.
        sources: for each number, by its path (``retry.backoff.base``), where it is from.
        notes: rules that are known and not modelled, and other traps.
    """

    name: str
    title: str
    on: Settings = field(default_factory=dict)
    blocks: Mapping[str, Settings] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def under(self, own: Settings) -> dict[str, Any]:
        """Settings laid over the preset: the system's defaults where `own` says nothing, its numbers where a block says little."""
        below = dict(self.on)
        for name, value in own.items():
            if isinstance(value, Mapping) and name in self.blocks:
                below[name] = merged(below.get(name) or {}, self.blocks[name])
        return merged(below, own)


def merged(below: Settings, above: Settings) -> dict[str, Any]:
    """Settings over settings: mappings merge key by key, all else replaces; so does a mapping of another `kind` (or algorithm, or rules).

    >>> merged({"retry": {"max_attempts": 3, "on": ["error"]}}, {"retry": {"max_attempts": 2}})
    {'retry': {'max_attempts': 2, 'on': ['error']}}
    >>> merged({"budget": {"kind": "quota", "capacity": 500}}, {"budget": {"kind": "token_ratio"}})
    {'budget': {'kind': 'token_ratio'}}
    """
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and _of_one_kind(old, value):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def _of_one_kind(old: Settings, new: Settings) -> bool:
    return all(old[word] == new[word] for word in ("kind", "algorithm", "rules") if word in old and word in new)


#: All presets, by name.
PRESETS: Final[dict[str, Preset]] = {}
