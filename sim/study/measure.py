"""What one replication is reduced to before it leaves its worker process."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from sim.analysis.metrics import run_metrics
from sim.analysis.objectives import percentiles_of
from sim.scenario.model import Scenario, operations_of
from sim.scenario.services import Call, Parallel, Publish, Step

if TYPE_CHECKING:
    import pandas as pd

#: The tables of a run, in the order in which they are stored.
TABLES = ("requests", "attempts", "effects", "gauges", "totals")


class Tables(Protocol):
    """What a study needs of a run: its tables, decoded, as `sim.single.RunResult` has them."""

    @property
    def requests(self) -> pd.DataFrame:
        """One row per logical request."""

    @property
    def attempts(self) -> pd.DataFrame:
        """One row per call attempt."""

    @property
    def effects(self) -> pd.DataFrame:
        """One row per effect."""

    @property
    def gauges(self) -> pd.DataFrame:
        """One row per sample."""

    @property
    def totals(self) -> pd.DataFrame:
        """One row per service."""


def measure(result: Tables, scenario: Scenario) -> pd.DataFrame:
    """The metrics of one replication (metric, of, value), the percentiles of the scenario's objectives included."""
    return run_metrics(
        result.requests,
        result.attempts,
        result.effects,
        result.totals,
        start_s=scenario.run.warmup,
        end_s=scenario.run.end,
        percentiles=percentiles_of(scenario.slos),
        effects_per_request=effects_asked_for(scenario),
    )


def effects_asked_for(scenario: Scenario) -> dict[str, dict[str, int]]:
    """For each entry operation, how many runs of each effect one of its requests asks for, if all goes well.

    Synchronous or through a queue makes no difference, so completeness compares the two. An effect that depends on a
    draw (a probability, a varying count) is left out: how many were asked for is then read from the rows.
    """
    found: dict[str, dict[str, int]] = {}
    for entry in scenario.load.mix:
        counts: Counter[str] = Counter()
        drawn: set[str] = set()
        _visit(scenario, entry, 1, False, False, (), counts, drawn)
        found[entry] = {effect: count for effect, count in counts.items() if effect not in drawn and count > 0}
    return found


def _visit(
    scenario: Scenario,
    address: str,
    times: int,
    by_chance: bool,
    through_queue: bool,
    trail: tuple[str, ...],
    counts: Counter[str],
    drawn: set[str],
) -> None:
    """Follow the steps of an operation that runs `times` times, and count the effects below it."""
    if address in trail:  # possible through queues only: messages that beget messages have no fixed number
        drawn.add(address)
        return
    operation = operations_of(scenario)[address]
    if operation.effect or through_queue:
        counts[address] += times
        if by_chance:
            drawn.add(address)
    steps = list(operation.steps)
    while steps:
        step = steps.pop()
        if isinstance(step, Parallel):
            steps += [inner for branch in step.parallel for inner in branch]
            continue
        target = _target(scenario, step)
        if target is not None:
            count = _fixed_count(step)
            _visit(
                scenario,
                target,
                times * (1 if count is None else count),
                by_chance or count is None,
                isinstance(step, Publish),
                (*trail, address),
                counts,
                drawn,
            )


def _target(scenario: Scenario, step: Step) -> str | None:
    match step:
        case Call():
            return step.call
        case Publish():
            return scenario.queues[step.publish].consumer
        case _:
            return None


def _fixed_count(step: Step) -> int | None:
    """How often a step runs its target, None if that is drawn."""
    if not isinstance(step, Call | Publish) or step.probability != 1:
        return 0 if isinstance(step, Call | Publish) and step.probability == 0 else None
    if isinstance(step, Publish):
        return 1
    if isinstance(step.count, int):
        return step.count
    possible = [count for count, weight in step.count.items() if weight > 0]
    return possible[0] if len(possible) == 1 else None
