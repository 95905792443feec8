"""From a path and options to the scenario or comparison that a command works on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.scenario.limits import problems_of_size
from sim.scenario.model import Comparison, Scenario
from sim.scenario.words import nearest
from sim.scenario.yaml import load
from sim.units import parse

if TYPE_CHECKING:
    import pandas as pd


def one_scenario(path: Path, candidate: str | None, condition: str | None) -> Scenario:
    """The scenario of a file; of a comparison the one of a candidate under a condition.

    Raises:
        ScenarioError: the file is wrong, or it takes a candidate or condition to choose and none was named.
    """
    found = load(path)
    if isinstance(found, Scenario):
        if candidate is not None or condition is not None:
            raise ScenarioError(f"{path}: has no candidates and conditions; leave --candidate and --condition away")
        return found
    chosen = _named("candidate", candidate, list(found.candidates), path)
    return found.candidates[chosen][_named("condition", condition, list(found.conditions), path)]


def comparison(path: Path) -> Comparison:
    """The comparison of a file.

    Raises:
        ScenarioError: the file is wrong, or a single scenario.
    """
    found = load(path)
    if isinstance(found, Scenario):
        raise ScenarioError(f"{path}: has no candidates to compare; use 'sim run', or add candidates: {{today: {{}}, …}}")
    return found


def _named(what: str, name: str | None, known: list[str], path: Path) -> str:
    if name is None:
        if len(known) == 1:
            return known[0]
        raise ScenarioError(f"{path}: is a comparison; name one {what}: --{what} {' | '.join(map(repr, known))}")
    if name not in known:
        raise ScenarioError(f"{path}: --{what}: no {what} {name!r}; {nearest(name, known)}")
    return name


def lasting(scenario: Scenario, duration: str | None) -> Scenario:
    """The scenario with another measured time.

    Raises:
        ScenarioError: the text is not a duration, or one that does not fit the other settings.
    """
    if duration is None:
        return scenario
    try:
        seconds = parse(duration, "duration", bare_numbers=False)
        if not seconds > 0:
            raise ValueError(f"{duration!r} must be positive")
    except ValueError as exc:
        raise ScenarioError(f"--duration: {exc}") from exc
    longer = scenario.model_copy(update={"run": scenario.run.model_copy(update={"duration": seconds})})
    for problem in problems_of_size(longer):  # a copy is not validated
        raise ScenarioError(f"--duration {duration}: {problem}")
    return longer


def all_lasting(found: Comparison, duration: str | None) -> Comparison:
    """The comparison with another measured time for all."""
    candidates = {
        candidate: {condition: lasting(scenario, duration) for condition, scenario in conditions.items()}
        for candidate, conditions in found.candidates.items()
    }
    return found.model_copy(update={"candidates": candidates})


def chosen_cases(path: Path, candidate: str | None, condition: str | None) -> list[tuple[str, Scenario]]:
    """The scenario of a file, or those of a comparison that were chosen, each with a title.

    Raises:
        ScenarioError: the file is wrong, or has no such candidate or condition.
    """
    found = load(path)
    if isinstance(found, Scenario):
        return [(found.name, one_scenario(path, candidate, condition))]
    if candidate is not None:
        _named("candidate", candidate, list(found.candidates), path)
    if condition is not None:
        _named("condition", condition, list(found.conditions), path)
    return [
        (f"{one} under {other}", scenario)
        for one, other, scenario in found.scenarios()
        if candidate in (None, one) and condition in (None, other)
    ]


def known_candidate(option: str, name: str | None, found: Comparison) -> None:
    """Refuse an option that names no candidate, before anything has run.

    Raises:
        ScenarioError: there is no such candidate.
    """
    if name is not None and name not in found.candidates:
        raise ScenarioError(f"{option}: no candidate {name!r}; {nearest(name, list(found.candidates))}")


def share_of(option: str, text: str) -> float:
    """What an option says in percent, as a ratio.

    Raises:
        ScenarioError: the text is no share.
    """
    try:
        return parse(text, "ratio", bare_numbers=False)
    except ValueError as exc:
        raise ScenarioError(f"{option}: {exc}") from exc


def write_tables(target: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as CSV into a directory, which is made if it is not there.

    Raises:
        ScenarioError: it cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(target / f"{name}.csv", index=False)
    except OSError as exc:
        raise ScenarioError(f"{target}: cannot be written ({exc.strerror}); choose another directory with --out") from exc
