"""The best of several candidates with a promised probability, by as few runs as that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from sim.analysis.curves import label_run
from sim.analysis.intervals import summarise
from sim.analysis.metrics import Floats, more_is_better
from sim.analysis.selection import FEWEST, Selection, kim_nelson, probability_of_best
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.scenario.words import nearest
from sim.study.execute import Workers, run_tasks
from sim.study.experiment import Simulate, Work
from sim.study.measure import require_metrics
from sim.study.tasks import Finished, Task, plan

#: So many runs of each candidate are added at least, whatever the number of cores: who selects elsewhere gets the same runs.
_AT_ONCE: Final = 8


@dataclass(frozen=True, eq=False)
class Selected:
    """What a selection found.

    `table` has one row per candidate: candidate, replications, mean, low, high (95 %), dropped_after (replications; NaN: not),
    probability_of_best (of those that are left; NaN: dropped, or too few replications to tell).
    """

    selection: Selection
    table: pd.DataFrame
    metric: str
    condition: str
    runs: int

    @property
    def decided(self) -> bool:
        """Whether one is left; False where the budget has ended it before, or an interrupt."""
        return self.selection.decided


def select(
    comparison: Comparison,
    metric: str,
    indifference: float,
    *,
    condition: str | None = None,
    of: str = "all",
    confidence: float = 0.95,
    first: int = 10,
    budget: int = 1000,
    workers: Workers = None,
    on_progress: Callable[[int, int, str], None] | None = None,
    seed: int | None = None,
    simulate: Simulate | None = None,
) -> Selected:
    """Find the candidate with the best mean of a metric, dropping others as soon as they surely are not (Kim and Nelson).

    With probability `confidence` it is the best, if it is better than the others by at least `indifference`; otherwise one within
    that of the best. All have the same seeds. It looks at one metric under one condition: objectives are `compare`'s affair.

    Args:
        comparison: the candidates.
        metric: `p99_s`, `mean_s`, `success`, … (`sim.analysis.METRICS`).
        indifference: the smallest difference that matters, in base units.
        condition: under which; absent: the only one.
        of: all requests, or one operation.
        confidence: the probability to promise.
        first: replications of each to begin with: they tell the spread.
        budget: runs of all candidates together, at most.
        workers: see `sim.replicate`.
        on_progress: called with (runs done, runs known to be needed, label).
        seed: see `sim.replicate`.
        simulate: see `sim.replicate`.

    Raises:
        ScenarioError: no such metric or condition, one candidate, or a budget that is too small to begin with.
    """
    names = list(comparison.candidates)
    under = _under(comparison, condition)
    require_metrics(comparison, (metric,))
    if first < FEWEST or budget < first * len(names):
        least = max(first, FEWEST) * len(names)
        raise ScenarioError(f"--budget {budget}: {len(names)} candidates with {max(first, FEWEST)} runs each take {least}")
    cases = [(name, under, comparison.candidates[name][under]) for name in names]
    case = _Case(cases, metric, of, Work(simulate, (), None), workers, on_progress, seed)
    complete = case.run(dict.fromkeys(names, first))
    while True:
        found = kim_nelson(case.values(), indifference, first=first, confidence=confidence, lower_is_better=case.lower_is_better)
        if found.decided or not complete:
            break
        more = max(_AT_ONCE, found.replications // 2)
        more = min(more, (budget - len(case.finished)) // len(found.left))
        if more < 1:
            break
        complete = case.run(dict.fromkeys(found.left, found.replications + more))
    return Selected(found, case.table(found), metric, under, len(case.finished))


def _under(comparison: Comparison, condition: str | None) -> str:
    """The condition that is meant."""
    conditions = list(comparison.conditions)
    if condition is None and len(conditions) > 1:
        raise ScenarioError(f"--condition: under which of {', '.join(map(repr, conditions))} is the best to be found?")
    under = condition or conditions[0]
    if under not in conditions:
        raise ScenarioError(f"--condition: no condition {under!r}; {nearest(under, conditions)}")
    return under


@dataclass
class _Case:
    """The runs of a selection so far."""

    cases: list[tuple[str, str, Scenario]]
    metric: str
    of: str
    work: Work
    workers: Workers
    tell: Callable[[int, int, str], None] | None
    seed: int | None
    #: The metrics of finished runs, by candidate and replication.
    finished: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict)

    @property
    def lower_is_better(self) -> bool:
        """Whether the best candidate is the one with the lowest mean."""
        return not more_is_better(self.metric)

    def run(self, until: dict[str, int]) -> bool:
        """Run candidates until each has so many replications; False after an interrupt."""
        tasks = [
            task
            for task in plan(self.cases, max(until.values()), self.seed)
            if task.replication < until.get(task.candidate, 0) and (task.candidate, task.replication) not in self.finished
        ]
        expected = len(self.finished) + len(tasks)

        def keep(task: Task, finished: Finished) -> None:
            self.finished[task.candidate, task.replication] = label_run(finished.metrics, *task.labels)
            if self.tell is not None:
                self.tell(len(self.finished), expected, task.label)

        complete = run_tasks(tasks, self.work, keep, self.workers)
        if not complete and any((name, r) not in self.finished for name, *_ in self.cases for r in range(FEWEST)):
            raise KeyboardInterrupt
        return complete

    def metrics(self) -> pd.DataFrame:
        """One row per candidate and replication, in order."""
        whole = pd.concat([self.finished[key] for key in sorted(self.finished, key=lambda key: key[1])], ignore_index=True)
        mine = whole[(whole["metric"] == self.metric) & (whole["of"] == self.of)]
        if mine.empty:
            raise ScenarioError(f"--metric: no run has a {self.metric} of {self.of!r}")
        return mine

    def values(self) -> dict[str, list[float]]:
        """The metric of each candidate, replication by replication, as far as there is no gap (after an interrupt)."""
        table = self.metrics()
        found: dict[str, list[float]] = {}
        for name, *_ in self.cases:
            of = table[table["candidate"] == name].set_index("replication")["value"]
            found[name] = [float(of[r]) for r in range(len(of)) if r in of.index]
        return found

    def table(self, found: Selection) -> pd.DataFrame:
        """What `Selected.table` is."""
        values = self.values()
        rows = summarise(self.metrics()).set_index("candidate").loc[list(values)].reset_index()
        rows = rows.rename(columns={"n": "replications"})[["candidate", "replications", "mean", "low", "high"]]
        rows["dropped_after"] = rows["candidate"].map(found.dropped).astype(float)
        left = {name: values[name] for name in found.left}
        chances: dict[str, float] = dict.fromkeys(left, 1.0)
        if len(left) > 1:
            count = min(map(len, left.values()))
            same: dict[str, Floats] = {name: np.asarray(mine[:count], dtype=np.float64) for name, mine in left.items()}
            enough = count > len(left) + 1
            chances = probability_of_best(same, lower_is_better=self.lower_is_better) if enough else {}
        rows["probability_of_best"] = rows["candidate"].map(chances).astype(float)
        return rows
