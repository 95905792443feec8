"""What a study consists of: one task per candidate, condition and replication, and the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.scenario.load import Closed, Ramp, Replay, Steps
from sim.scenario.model import Scenario

if TYPE_CHECKING:
    import pandas as pd

#: A scenario with its place in a comparison: candidate, condition, scenario.
Case = tuple[str, str, Scenario]


@dataclass(frozen=True)
class Task:
    """One run to be made; `index` is its place in the results, whenever it finishes."""

    index: int
    candidate: str
    condition: str
    replication: int
    seed: int
    scenario: Scenario
    #: Under what a sweep keeps the run.
    key: str = ""

    @property
    def labels(self) -> tuple[str, str, int]:
        """Its candidate, condition and replication."""
        return self.candidate, self.condition, self.replication

    @property
    def label(self) -> str:
        """How the task is called in progress and errors."""
        names = " · ".join(name for name in (self.candidate, self.condition) if name)
        return f"{names} · replication {self.replication} (seed {self.seed})"


def note_where(exc: Exception, task: Task) -> None:
    """Add to an error in which run it came, and how to see it alone."""
    if not isinstance(exc, ScenarioError):
        where = f"in {task.label} of scenario {task.scenario.name!r}"
        exc.add_note(f"{where}; sim.run(scenario, seed={task.seed}) shows it alone")


@dataclass(frozen=True)
class Finished:
    """What a worker sends back: numbers, and the rows only if they are not in a store already."""

    index: int
    metrics: pd.DataFrame
    rows: dict[str, pd.DataFrame] | None
    elapsed_s: float
    #: In a sweep, which goes on after it: what went wrong.
    error: str | None = None


def plan(cases: Iterable[Case], replications: int | None = None, seed: int | None = None) -> list[Task]:
    """All tasks of a study, in the order of their results: case by case, replication by replication.

    Replication r has the seed `run.seed` + r, the same for every candidate and condition, so that they meet the
    same arrivals and the same work.

    Raises:
        ScenarioError: no replications, a negative seed, or scenarios that differ in their seed.
    """
    cases = list(cases)
    if replications is not None and replications < 1:
        raise ScenarioError(f"replications = {replications} must be at least 1; for intervals take 10 or more")
    if seed is not None and seed < 0:
        raise ScenarioError(f"seed = {seed} must be zero or more")
    seeds = {scenario.run.seed: (candidate, condition) for candidate, condition, scenario in cases}
    if seed is None and len(seeds) > 1:
        (one, here), (other, there) = list(seeds.items())[:2]
        raise ScenarioError(
            f"run.seed = {one} for {' under '.join(here)}, but {other} for {' under '.join(there)}: candidates can only be "
            "compared under the same seed; set run.seed once, for all"
        )
    tasks: list[Task] = []
    for candidate, condition, scenario in cases:
        first = scenario.run.seed if seed is None else seed
        for r in range(scenario.run.replications if replications is None else replications):
            tasks.append(Task(len(tasks), candidate, condition, r, first + r, scenario))
    return tasks


def in_running_order(tasks: Sequence[Task]) -> list[Task]:
    """Replication by replication, within one the long runs first.

    An interrupted study then has complete pairs, and its last runs are short ones, so no core waits long for another.
    """
    cost = {id(task.scenario): expected_requests(task.scenario) for task in tasks}
    return sorted(tasks, key=lambda task: (task.replication, -cost[id(task.scenario)], task.index))


def expected_requests(scenario: Scenario) -> float:
    """Roughly how many requests a run simulates: a measure of how long it takes, not of anything in the results."""
    load, end_s = scenario.load, scenario.run.end
    if isinstance(load, Closed):
        work_s = sum(step_mean for step_mean in _work_means_s(scenario)) or 1.0
        return load.users * end_s / (load.think.mean + work_s)
    if isinstance(load, Replay):
        return float(len(load.times))
    if isinstance(load, Steps | Ramp):
        times_s = [min(point.at, end_s) for point in load.points] + [end_s]
        spans = zip(load.points, times_s, times_s[1:], strict=False)
        return float(sum(point.rate * (stop - start) for point, start, stop in spans))
    return float(load.rate * end_s)


def _work_means_s(scenario: Scenario) -> list[float]:
    steps = [step for service in scenario.services.values() for op in service.operations.values() for step in op.steps]
    return [float(step.work.mean) for step in steps if hasattr(step, "work")]
