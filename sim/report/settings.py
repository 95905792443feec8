"""What candidates and conditions differ in, and where each number of a scenario comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sim.report.blocks import Table
from sim.scenario.edges import edges_of, selectors_of
from sim.scenario.model import Run, Scenario
from sim.scenario.origins import origin_of
from sim.scenario.preset import Preset
from sim.scenario.preset_words import GROUPS, settings_of_blocks, settings_on
from sim.scenario.reference import default_of
from sim.scenario.schema import Shape, child
from sim.scenario.services import Service
from sim.scenario.yaml import dumps
from sim.values import Spec

_ABSENT: Final = "–"
#: What a reader is told elsewhere.
_ASIDE: Final = ("name", "question", "slos", "focus", "guesses", "measured")


def flat(scenario: Scenario) -> dict[str, str]:
    """Every setting that is written in a scenario, with units, by its path; as the YAML of `sim show` has them.

    >>> from sim.scenario.yaml import loads
    >>> shop = loads("services: {shop: {workers: 2, operations: {buy: [{work: 8ms}]}}}\\nload: {rate: 5/s, mix: shop.buy}")
    >>> flat(shop)["services.shop.workers"], flat(shop)["services.shop.operations.buy.steps[0].work"]
    ('2', '8ms')
    """
    from ruamel.yaml import YAML

    data = YAML(typ="safe", pure=True).load(dumps(scenario))
    return {path: text for path, text in _leaves(data, "") if path.split(".")[0] not in _ASIDE}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and set(value) == {"quantiles"}:
        yield path, _quantiles(value["quantiles"])
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    else:
        yield path, {True: "true", False: "false", None: "null"}.get(value, str(value)) if _plain(value) else str(value)


def _quantiles(points: Mapping[Any, Any]) -> str:
    """A law of many points in one line: its ends, and how many there are."""
    texts = [str(text) for text in points.values()]
    return f"quantiles from {texts[0]} to {texts[-1]} in {len(texts)} points"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def differences(scenarios: Mapping[str, Scenario], what: str) -> Table | None:
    """The settings in which scenarios differ, one column each; None if they are the same."""
    found = {name: flat(scenario) for name, scenario in scenarios.items()}
    paths = list(dict.fromkeys(path for settings in found.values() for path in settings))
    rows = []
    for path in paths:
        values = [settings.get(path, _ABSENT) for settings in found.values()]
        if len(set(values)) > 1:
            rows.append([path, *values])
    return Table(["setting", *found], rows, f"What {what} differ in; {_ABSENT} is not written") if rows else None


def assumptions(scenario: Scenario) -> list[Table]:
    """Every number of a scenario with where it comes from: written (guessed, measured), of a preset (which, and what that rests
    on), or a default.
    """
    written = [[path, value, origin_of(scenario, path)] for path, value in flat(scenario).items()]
    tables = [Table(["setting", "value", "from"], written, f"Written in the scenario: {len(written)} settings", folded=True)]
    presets = list(_from_presets(scenario))
    if presets:
        columns = ["setting", "value", "from", "which rests on"]
        tables.append(Table(columns, presets, f"From presets: {len(presets)} settings that nobody wrote", folded=True))
    defaults = list(_defaults(scenario))
    tables.append(Table(["setting", "value", "from"], defaults, f"Defaults of the simulator: {len(defaults)}", folded=True))
    return tables


def presets_in(scenario: Scenario) -> list[tuple[str, str, Preset]]:
    """The presets that a scenario names: where, of what, and which."""
    found = []
    for path, name in flat(scenario).items():
        if path.endswith(".preset") or path == "preset":
            place = path.removesuffix(".preset")
            of = _group(place)
            if name in GROUPS[of].presets:
                found.append((place, of, GROUPS[of].presets[name]))
    return found


def _group(place: str) -> str:
    if place.endswith("discovery"):
        return "discovery"
    if place.endswith(("readiness", "health_check")):
        return "health checks"
    first = place.split(".")[0]
    return first if first in GROUPS else "calls"


def _from_presets(scenario: Scenario) -> Iterator[list[str]]:
    written = set(flat(scenario))
    for place, of, preset in presets_in(scenario):
        settings = settings_on(preset, GROUPS[of].model)
        acting = {each.path for each in settings}
        if of == "calls":  # a block acts once somebody has written something of it
            for block, found in settings_of_blocks(preset).items():
                if any(path.startswith(f"{place}.{block}") for path in written):
                    settings = [*settings, *(each for each in found if each.path not in acting)]
        for each in settings:
            if f"{place}.{each.path}" not in written and each.path != "preset":
                yield [f"{place}.{each.path}", each.text, f"preset {preset.name}", each.source]


def _defaults(scenario: Scenario) -> Iterator[list[str]]:
    for name, field in Run.model_fields.items():
        if name not in scenario.run.model_fields_set:
            yield [f"run.{name}", _shown(Run, name), "default"]
    for service, spec in scenario.services.items():
        for name, field in Service.model_fields.items():
            value = getattr(spec, name)
            if name not in spec.model_fields_set and not field.is_required() and value not in (None, (), {}):
                yield [f"services.{service}.{name}", _shown(Service, name), "default"]
    for caller, target in edges_of(scenario):
        policy = scenario.policy(caller, target)
        if not any(selector in scenario.calls for selector in selectors_of(caller, target)):
            yield [f"calls.{caller} -> {target}", f"no limits of time, {policy.balancing.kind}, one try", "default"]


def _shown(model: type[Spec], name: str) -> str:
    """A default as it would be written."""
    shape = child(Shape(model), {}, name)
    assert shape is not None
    told = default_of(shape, model.model_fields[name]).strip("`")
    return "absent" if told == _ABSENT else told
