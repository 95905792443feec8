"""What one replication is reduced to before it leaves its worker process."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Protocol

import pandas as pd

from sim.analysis.balance import balance_metrics
from sim.analysis.metrics import metric_names, run_metrics
from sim.analysis.objectives import percentiles_of
from sim.analysis.sketched import sketched_metrics
from sim.analysis.states import staleness_metrics
from sim.analysis.traffic import traffic_metrics
from sim.analysis.zones import cross_zone_share
from sim.errors import ScenarioError
from sim.scenario.edges import edges_of, operations_of
from sim.scenario.faults import Flush
from sim.scenario.model import Comparison, Scenario
from sim.scenario.services import Call, Parallel, Publish, Repeat, RequestReply, Saga, Step
from sim.scenario.words import nearest

#: The tables of a run, in the order in which they are stored.
TABLES = ("requests", "attempts", "effects", "gauges", "totals", "changes", "zone_calls", "traffic")


class Tables(Protocol):
    """What a study needs of a run: its tables, decoded, as `sim.single.RunResult` has them."""

    @property
    def requests(self) -> pd.DataFrame:
        """One row per logical request."""

    @property
    def outcomes(self) -> pd.DataFrame:
        """Where requests have no rows: counts and sums per entry and outcome."""

    @property
    def entries(self) -> pd.DataFrame:
        """Where requests have no rows: attempts per entry."""

    @property
    def sketches(self) -> pd.DataFrame:
        """Where requests have no rows: counts per bucket."""

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

    @property
    def changes(self) -> pd.DataFrame:
        """One row per change of state of a breaker or of an endpoint, as a caller knows it."""

    @property
    def zone_calls(self) -> pd.DataFrame:
        """One row per edge and pair of zones, where there are zones."""

    @property
    def traffic(self) -> pd.DataFrame:
        """One row per edge whose calls have a protocol."""


def measure(result: Tables, scenario: Scenario) -> pd.DataFrame:
    """The metrics of one replication (metric, of, value), the percentiles of the scenario's objectives included."""
    found = [_of_requests(result, scenario)]
    if scenario.registries:
        found.append(staleness_metrics(result.changes))
    if scenario.zones:
        found.append(pd.DataFrame({"metric": ["cross_zone"], "of": ["all"], "value": [cross_zone_share(result.zone_calls)]}))
    if len(result.traffic):
        offered_rps = found[0].query("metric == 'offered_rps' and of == 'all'").value
        costs = traffic_metrics(result.traffic, float(offered_rps.sum()) * scenario.run.duration)
        found.append(pd.DataFrame({"metric": list(costs), "of": "all", "value": list(costs.values())}))
    return pd.concat(found, ignore_index=True) if len(found) > 1 else found[0]


def require_metrics(found: Scenario | Comparison, names: Iterable[str], what: str = "--metric") -> None:
    """Refuse a metric that no run of these scenarios can have, before there is one.

    Raises:
        ScenarioError: it is misspelt, or a percentile that no objective asks for.
    """
    scenarios = [found] if isinstance(found, Scenario) else [scenario for _, _, scenario in found.scenarios()]
    known = metric_names(percent for scenario in scenarios for percent in percentiles_of(scenario.slos))
    for name in names:
        if name not in known:
            slo = ", or add an objective with this percentile to slos" if re.fullmatch(r"p\d+(\.\d+)?_s", name) else ""
            raise ScenarioError(f"{what}: no metric {name!r}; {nearest(name, known)}{slo}")


def _of_requests(result: Tables, scenario: Scenario) -> pd.DataFrame:
    if not scenario.run.record_requests:
        return sketched_metrics(
            result.outcomes,
            result.entries,
            result.sketches,
            result.totals,
            window_s=scenario.run.duration,
            percentiles=percentiles_of(scenario.slos),
        )
    numbers = run_metrics(
        result.requests,
        result.attempts,
        result.effects,
        result.totals,
        start_s=scenario.run.warmup,
        end_s=scenario.run.end,
        percentiles=percentiles_of(scenario.slos),
        effects_per_request=effects_asked_for(scenario),
        compensations=compensations_of(scenario),
        trouble_s=trouble_of(scenario),
    )
    replicas = called_over_connections(scenario, result)
    if not replicas:
        return numbers
    window = {"start_s": scenario.run.warmup, "end_s": scenario.run.end}
    return pd.concat([numbers, balance_metrics(result.attempts, result.changes, replicas, **window)], ignore_index=True)


def called_over_connections(scenario: Scenario, result: Tables) -> dict[str, int]:
    """Services and proxies that are called over connections, with the most replicas that a sample has found alive."""
    if not any(policy.connections or policy.protocol or policy.preset for policy in scenario.calls.values()):
        return {}
    gauges = result.gauges  # only here: making the table takes longer than a short run
    called: dict[str, None] = {}
    for caller, target in edges_of(scenario):
        policy, service = scenario.policy(caller, target), target.split(".")[0]
        if policy.connections is not None:
            called[policy.via or service] = None
        if policy.via is not None and scenario.policy(policy.via, target).connections is not None:
            called[service] = None
    alive = gauges["alive"].groupby(gauges["name"].astype(str)).max()
    return {name: int(alive[name]) for name in called if name in alive.index}


def trouble_of(scenario: Scenario) -> tuple[float, float] | None:
    """From the start of the first fault to the end of the last, in clock time, where a recovery can be told.

    None without faults, for faults at drawn times (`mtbf`) or until the end, and where the measured window leaves no time before
    the first or after the last.
    """
    ends_s = []
    for fault in scenario.faults:
        length_s = 0.0 if isinstance(fault, Flush) else fault.for_
        if fault.at is None or length_s is None:
            return None
        ends_s.append((fault.at, fault.at + length_s))
    if not ends_s:
        return None
    first_s, last_s = min(start for start, _ in ends_s), max(end for _, end in ends_s)
    return (first_s, last_s) if scenario.run.warmup < first_s and last_s < scenario.run.end else None


def effects_asked_for(scenario: Scenario) -> dict[str, dict[str, int]]:
    """For each entry operation, how many runs of each effect one of its requests asks for, if all goes well.

    Synchronous or through a queue makes no difference, so completeness compares the two. An effect that depends on a
    draw (a probability, a varying count) is left out: how many were asked for is then read from the rows.
    """
    operations = operations_of(scenario)
    edges = {address: list(_edges(scenario, operation.steps)) for address, operation in operations.items()}
    effects = {address for address, operation in operations.items() if operation.effect}
    return {entry: _asked_by(entry, edges, effects) for entry in scenario.load.mix}


def compensations_of(scenario: Scenario) -> set[str]:
    """Operations that nothing but the undo of a saga makes run, by itself or through what it calls: they take others back."""
    edges = {address: list(_edges(scenario, operation.steps)) for address, operation in operations_of(scenario).items()}
    wanted = _reached(scenario.load.mix, {a: [edge for edge in found if not edge.undoes] for a, found in edges.items()})
    return _reached({edge.target for address in wanted for edge in edges[address] if edge.undoes}, edges) - wanted


def _reached(first: Iterable[str], edges: Mapping[str, list[_Edge]]) -> set[str]:
    found = dict.fromkeys(first)
    for address in (waiting := list(found)):  # grows meanwhile
        new = [edge.target for edge in edges[address] if edge.target not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return set(found)


@dataclass(frozen=True)
class _Edge:
    """A step that makes an operation run: how often, None if that is drawn; whether a message does it, or the undo of a saga."""

    target: str
    count: int | None
    by_message: bool
    undoes: bool = False


def _edges(scenario: Scenario, steps: tuple[Step, ...]) -> Iterator[_Edge]:
    for step in steps:
        match step:
            case Parallel():
                for branch in step.parallel:
                    yield from _edges(scenario, branch)
            case Repeat():
                rounds = _fixed(step.count)
                for edge in _edges(scenario, step.repeat):
                    never = rounds == 0 or edge.count == 0
                    count = 0 if never else None if rounds is None or edge.count is None else rounds * edge.count
                    yield replace(edge, count=count)
            case Saga():
                for part in step.saga:
                    yield from _edges(scenario, part.do)
                    for edge in _edges(scenario, part.undo):
                        yield replace(edge, count=None if edge.count else 0, undoes=True)
            case Call():
                yield _Edge(step.call, _fixed_count(step), by_message=False)
            case Publish():
                for consumer in scenario.consumers(step.publish).values():
                    yield _Edge(consumer, _fixed_count(step), by_message=True)
            case RequestReply():
                yield from _edges(scenario, (step.published,))


def _asked_by(entry: str, edges: Mapping[str, list[_Edge]], effects: Set[str]) -> dict[str, int]:
    """How often one request makes each effect run; whatever comes through a queue is an effect, too."""
    reached = {entry: [edge for edge in edges[entry] if edge.count != 0]}
    for address in (waiting := [entry]):  # grows meanwhile
        for edge in reached[address]:
            if edge.target not in reached:
                reached[edge.target] = [onward for onward in edges[edge.target] if onward.count != 0]
                waiting.append(edge.target)
    # By chance runs what a drawn step reaches, and all below it. Circles have a drawn step: the others were refused.
    drawn = {edge.target for found in reached.values() for edge in found if edge.count is None}
    for address in (waiting := list(drawn)):
        below = {edge.target for edge in reached[address]} - drawn
        drawn |= below
        waiting += below
    callers: dict[str, set[str]] = {address: set() for address in reached if address not in drawn}
    for address in callers:
        for edge in reached[address]:
            if edge.target in callers:
                callers[edge.target].add(address)
    runs = Counter({entry: 1})
    by_message: Counter[str] = Counter()
    for address in TopologicalSorter(callers).static_order():
        for edge in reached[address]:
            if edge.count is not None:
                runs[edge.target] += runs[address] * edge.count
                by_message[edge.target] += runs[address] * edge.count if edge.by_message else 0
    # An operation that is no effect by itself is one where messages ask for it; calls by chance do not blur their number.
    unsure = {edge.target for a, found in reached.items() for edge in found if edge.by_message and (a in drawn or not edge.count)}
    found = {a: runs[a] for a in reached if a in effects and a not in drawn}
    found |= {a: by_message[a] for a in reached if a not in effects and a not in unsure}
    return {address: count for address, count in found.items() if count > 0}


def _fixed_count(step: Call | Publish) -> int | None:
    """How often a step runs its target, None if that is drawn."""
    if step.probability == 0:
        return 0
    if step.probability != 1:
        return None
    return _fixed(step.count) if isinstance(step, Call) else 1


def _fixed(times: int | dict[int, float]) -> int | None:
    if isinstance(times, int):
        return times
    possible = [number for number, weight in times.items() if weight > 0]
    return possible[0] if len(possible) == 1 else None
