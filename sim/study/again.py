"""A study's first replication once more, with the rows of attempts that it did not keep."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sim.scenario.model import Comparison, Scenario
from sim.study.experiment import compare, replicate
from sim.study.results import Results

_ROWS: Final = ("requests", "attempts", "changes")


def studied(results: Results) -> Scenario | Comparison:
    """The scenario or comparison that was studied, as far as there are scenarios for it."""
    if len(results.scenarios) == 1:
        return next(iter(results.scenarios.values()))
    rivals: dict[str, dict[str, Any]] = {}
    for (candidate, condition), scenario in results.scenarios.items():
        rivals.setdefault(candidate, {})[condition] = scenario
    return Comparison(name=results.name, question=results.question, candidates=rivals)


def with_attempts(results: Results) -> Results:
    """Simulate the first replication of each candidate and condition again, and keep requests and attempts in memory.

    Recording changes nothing of what happens, so these are the same requests, unless the simulator has changed in between: see
    `same_requests`. It takes as long as these runs took; not for a study that is too large for the memory of one process.

    Raises:
        ScenarioError: a run cannot be finished.
    """
    found = studied(results)
    seed = min(run.seed for run in results.runs)
    if isinstance(found, Scenario):
        return replicate(_recording(found), 1, seed=seed, rows=_ROWS)
    recording = {
        candidate: {condition: _recording(scenario) for condition, scenario in conditions.items()}
        for candidate, conditions in found.candidates.items()
    }
    return compare(found.model_copy(update={"candidates": recording}), 1, seed=seed, rows=_ROWS)


def same_requests(results: Results, again: Results) -> bool:
    """Whether latencies and success of the runs that were simulated twice are the same numbers."""
    keys = ["candidate", "condition", "replication", "metric", "of"]
    wanted = ("success", "mean_s", "p99_s")
    one, other = (table[table["metric"].isin(wanted)].set_index(keys)["value"] for table in (results.metrics, again.metrics))
    both = one.index.intersection(other.index)
    return bool(len(both)) and bool(np.allclose(one[both], other[both], rtol=1e-9, atol=0.0, equal_nan=True))


def _recording(scenario: Scenario) -> Scenario:
    return scenario.model_copy(update={"run": scenario.run.model_copy(update={"record_requests": True, "record_attempts": True})})
