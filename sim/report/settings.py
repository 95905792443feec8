"""What candidates and conditions differ in, and where each number of a scenario comes from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sim.laws import Lognormal
from sim.report.blocks import Table
from sim.scenario.edges import edges_of, selectors_of
from sim.scenario.model import Run, Scenario
from sim.scenario.origins import origin_of
from sim.scenario.preset import Preset
from sim.scenario.preset_words import GROUPS, settings_of_blocks, settings_on
from sim.scenario.reference import default_of
from sim.scenario.schema import Shape, child, members
from sim.scenario.services import Service
from sim.scenario.yaml import dumps
from sim.units import exact, parse
from sim.values import Spec

_ABSENT: Final = "–"
#: Percentiles by which people write a lognormal law, the usual ones first.
_PERCENTILES: Final = ((50, 99), (50, 95), (50, 90), (90, 99), (95, 99), (50, 99.9))
#: Options of commands that stand above what is written.
_OPTIONS: Final = {
    "run.replications": ("-r", "--replications"),
    "run.duration": ("-d", "--duration"),
    "run.seed": ("-s", "--seed"),
}
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
    return {path: text for path, text in _leaves(data, "", Shape(Scenario)) if path.split(".")[0] not in _ASIDE}


def _leaves(value: Any, path: str, shape: Shape | None) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and set(value) == {"quantiles"}:
        yield path, _quantiles(value["quantiles"])
    elif isinstance(value, Mapping) and set(value) == {"lognormal"}:
        yield path, lognormal_in_words(value["lognormal"])
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), child(shape, value, key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]", child(shape, value, number))
    else:
        yield path, _in_words(value, shape)


def _quantiles(points: Mapping[Any, Any]) -> str:
    """A law of many points in one line: its ends, and how many there are."""
    texts = [str(text) for text in points.values()]
    return f"quantiles from {texts[0]} to {texts[-1]} in {len(texts)} points"


def lognormal_in_words(fields: Mapping[str, Any]) -> str:
    """A lognormal law by the numbers that somebody has written: mean and cv, or the two percentiles that come out round.

    A scenario keeps mean and cv. Where those have many digits, and no two percentiles have few, they were calculated elsewhere:
    they are rounded.

    >>> law = Lognormal.from_percentiles({0.5: 0.008, 0.99: 0.04})
    >>> lognormal_in_words({"mean": f"{law.mean}s", "cv": law.cv}), lognormal_in_words({"mean": "20ms", "cv": 2.0})
    ('lognormal p50 8ms, p99 40ms', 'lognormal mean 20ms, cv 2')
    """
    mean_s, cv = parse(str(fields["mean"]), "duration"), float(fields["cv"])
    law = Lognormal(mean_s, cv)
    if not (_few_digits(mean_s) and _few_digits(cv)):
        for one, other in _PERCENTILES:
            values = [law.quantile(one / 100), law.quantile(other / 100)]
            if all(map(_few_digits, values)):
                first, second = (exact(float(f"{value:.4g}"), "s") for value in values)
                return f"lognormal p{one:g} {first}, p{other:g} {second}"
    return f"lognormal mean {exact(float(f'{mean_s:.4g}'), 's')}, cv {cv:.4g}"


def _few_digits(value: float) -> bool:
    """Whether a number has four digits at most, but for the last ones of a calculation."""
    return math.isclose(value, float(f"{value:.4g}"), rel_tol=1e-9)


def _in_words(value: Any, shape: Shape | None) -> str:
    """A plain value as a scenario would have it."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        ratio = shape is not None and any(each.kind == "ratio" for each in members(shape))
        return f"{100 * value:.12g} %" if ratio else f"{value:.12g}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


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


def assumptions(scenario: Scenario, ordered: Mapping[str, str]) -> list[Table]:
    """Every number of a scenario with where it comes from: written (guessed, measured), of a preset (which, and what that rests
    on), or a default.

    Args:
        scenario: of which.
        ordered: what the command line gave instead of what is written: values by path.
    """
    settings = {path: (value, origin_of(scenario, path)) for path, value in flat(scenario).items()}
    settings |= {path: (value, "command line") for path, value in ordered.items()}
    written = [[path, *told] for path, told in settings.items()]
    tables = [Table(["setting", "value", "from"], written, f"Written in the scenario: {len(written)} settings", folded=True)]
    presets = list(_from_presets(scenario))
    if presets:
        columns = ["setting", "value", "from", "which rests on"]
        tables.append(Table(columns, presets, f"From presets: {len(presets)} settings that nobody wrote", folded=True))
    defaults = [row for row in _defaults(scenario) if row[0] not in ordered]
    tables.append(Table(["setting", "value", "from"], defaults, f"Defaults of the simulator: {len(defaults)}", folded=True))
    return tables


def ordered_by(command: str) -> dict[str, str]:
    """What a command that ran a scenario changed of it, by path.

    >>> ordered_by("sim run shop.yaml -r 2 --duration=10s --out 3")
    {'run.replications': '2', 'run.duration': '10s'}
    """
    if not command.startswith("sim "):
        return {}
    words = [part for word in shlex.split(command) for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found = {path: words.index(name) + 1 for path, names in _OPTIONS.items() for name in names if name in words}
    return {path: words[at] for path, at in found.items() if at < len(words)}


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
