"""Presets for readers: their settings as YAML would have them, each with its source, and in a few words what is on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim.scenario.calls import CallPolicy
from sim.scenario.preset import Preset, Settings, leaves
from sim.scenario.words import shown

_NOT_ACTING = ("order", "preset")


@dataclass(frozen=True)
class Setting:
    """One setting of a preset: its path in the policy of a call, its value with units, and where it is from."""

    path: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        """The value as it would stand in YAML, on one line."""
        return shown(self.value, 200).replace("'", "")


def settings_on(preset: Preset) -> list[Setting]:
    """What acts when nothing is configured."""
    return list(_settings(preset, _written(preset, {})))


def settings_of_blocks(preset: Preset) -> dict[str, list[Setting]]:
    """What each block starts from once it is configured."""
    return {block: list(_settings(preset, {block: _written(preset, {block: {}})[block]})) for block in preset.blocks}


def on_in_words(preset: Preset) -> str:
    """What acts when nothing is configured, in a few words.

    >>> from sim.scenario.presets import PRESETS
    >>> on_in_words(PRESETS["istio@1.24"]), on_in_words(PRESETS["polly@8"])
    ('connect_timeout 10s, balancing two_choices, retry (3 tries)', 'nothing')
    """
    said = []
    for key, value in _written(preset, {}).items():
        if key == "retry":
            said.append(f"retry ({str(value['max_attempts']).replace('_', ' ')} tries)")
        elif key == "balancing":
            said.append(f"{key} {value['kind'] if isinstance(value, dict) else value}")
        elif key not in _NOT_ACTING:
            said.append(key if isinstance(value, dict) or value is True else f"{key} {value}")
    return ", ".join(said) or "nothing"


def _written(preset: Preset, own: Settings) -> dict[str, Any]:
    """The settings with units, as JSON has them, in the order of the preset."""
    settings = preset.under(own)
    data = CallPolicy.model_validate(settings).model_dump(mode="json", exclude_unset=True)
    return _in_order(data, settings)


def _in_order(data: dict[str, Any], order: Settings) -> dict[str, Any]:
    return {key: _in_order(data[key], order[key]) if isinstance(data[key], dict) else data[key] for key in order}


def _settings(preset: Preset, written: Settings) -> Iterator[Setting]:
    for path, value in leaves(written):
        yield Setting(path, value, preset.sources[path])
