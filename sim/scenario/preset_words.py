"""Presets for readers: their settings as YAML would have them, each with its source, and in a few words what is on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sim.policies.discovery import Discovery
from sim.policies.health import HealthCheck
from sim.policies.registry import Registry
from sim.scenario.calls import CallPolicy
from sim.scenario.messaging.log_systems import LOGS
from sim.scenario.messaging.logs import Log
from sim.scenario.messaging.queues import Queue
from sim.scenario.messaging.systems import QUEUES
from sim.scenario.preset import Preset, Settings
from sim.scenario.presets import PRESETS
from sim.scenario.registries import DISCOVERIES, HEALTH_CHECKS, REGISTRIES
from sim.scenario.words import shown
from sim.values import Spec

_NOT_ACTING: Final = ("order", "preset")


@dataclass(frozen=True)
class Group:
    """Presets of one kind: by name, what they are settings of, and where in a scenario they are named."""

    presets: Mapping[str, Preset]
    model: type[Spec]
    where: str


#: All presets, by what they are of. One system may have a preset in several groups, under one name.
GROUPS: Final[Mapping[str, Group]] = {
    "calls": Group(PRESETS, CallPolicy, "calls: {default: {preset: envoy@1.40}}"),
    "registries": Group(REGISTRIES, Registry, "registries: {book: {preset: eureka@2}}"),
    "discovery": Group(DISCOVERIES, Discovery, "calls: {default: {discovery: {preset: eureka@2}}}"),
    "health checks": Group(HEALTH_CHECKS, HealthCheck, "services: {shop: {readiness: {preset: kubernetes@1}}}"),
    "queues": Group(QUEUES, Queue, "queues: {mails: {consumer: shop.buy, preset: sqs@fifo}}"),
    "logs": Group(LOGS, Log, "logs: {orders: {preset: kafka@4, groups: {bills: {consumer: shop.buy}}}}"),
}


@dataclass(frozen=True)
class Setting:
    """One setting of a preset: its path, its value with units, and where it is from."""

    path: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        """The value as it would stand in YAML, on one line."""
        return shown(self.value, 200).replace("'", "")


def settings_on(preset: Preset, model: type[Spec] = CallPolicy) -> list[Setting]:
    """What acts when nothing is configured."""
    return list(_settings(preset, _written(preset, {}, model)))


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


def numbers_in_words(preset: Preset, model: type[Spec]) -> str:
    """All settings of a preset that is not of calls, in a row.

    >>> numbers_in_words(DISCOVERIES["spring-cloud@2025"], Discovery)
    'mode poll, refresh_interval 30s, on_failure keep_stale, cache 35s'
    """
    return ", ".join(f"{each.path} {each.text}" for each in settings_on(preset, model))


def _written(preset: Preset, own: Settings, model: type[Spec] = CallPolicy) -> dict[str, Any]:
    """The settings with units, as JSON has them, in the order of the preset."""
    settings = preset.under(own)
    data = model.model_validate(settings).model_dump(mode="json", exclude_unset=True)
    return _in_order(data, settings)


def _in_order(data: dict[str, Any], order: Settings) -> dict[str, Any]:
    # A law is a mapping in what is written and a law, not a mapping, in the preset: it stays whole.
    return {
        key: _in_order(data[key], order[key]) if isinstance(data[key], dict) and isinstance(order[key], Mapping) else data[key]
        for key in order
    }


def _settings(preset: Preset, written: Settings) -> Iterator[Setting]:
    for path, value in _whole(preset, written):
        yield Setting(path, value, preset.sources[path])


def _whole(preset: Preset, settings: Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by the paths that have a source; what lies deeper, as the numbers of a law, stays together."""
    for key, value in settings.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and here not in preset.sources:
            yield from _whole(preset, value, here)
        else:
            yield here, value
