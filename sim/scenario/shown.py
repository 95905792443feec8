"""Scenarios and comparisons as notebooks show them: a card with what is asked, of what, and how busy that is before any run."""

from __future__ import annotations

from typing import Final

from sim.cards import card
from sim.scenario.forecast import forecast
from sim.scenario.model import Comparison, Scenario
from sim.units import format_duration

#: Services of which a card has a row.
_MOST: Final = 12


def scenario_card(scenario: Scenario) -> str:
    """A scenario: question, load, faults, objectives, and a row for each service with its utilisation by arithmetic."""
    expected = forecast(scenario)
    load = f"{scenario.load.kind} load" + ("" if expected.rate_rps is None else f", {expected.rate_rps:.3g} requests/s")
    run = scenario.run
    told = [
        load,
        f"{len(scenario.faults)} faults",
        f"{format_duration(run.duration)} × {run.replications}",
        f"hash {scenario.hash}",
    ]
    rows = [
        [
            one.name, f"{one.replicas} × {'∞' if one.workers is None else one.workers}", f"{one.visits_rps:.3g} /s",
            format_duration(one.work_s), "–" if one.utilisation is None else f"{one.utilisation:.0%}",
        ]
        for one in expected.services[:_MOST]
    ]  # fmt: skip
    more = f"services; {len(expected.services) - _MOST} more" if len(expected.services) > _MOST else ""
    columns = ["service", "replicas × workers", "visits", "work", "utilisation"]
    objectives = ("", ["objectives"], [[slo.text] for slo in scenario.slos])
    text = " · ".join(filter(None, [scenario.question, *told]))
    return card(f"Scenario {scenario.name}", text, [(more, columns, rows), objectives])


def comparison_card(comparison: Comparison) -> str:
    """A comparison: its question, and the hash of each candidate's scenario under each condition."""
    rows = [
        [candidate, *(by_condition[condition].hash for condition in comparison.conditions)]
        for candidate, by_condition in comparison.candidates.items()
    ]
    equal = "equal hashes: the same scenario"
    return card(f"Comparison {comparison.name}", comparison.question, [(equal, ["candidate", *comparison.conditions], rows)])
