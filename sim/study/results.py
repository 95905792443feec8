"""What a study found: numbers per replication, and everything that is read from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd

from sim.analysis import curves
from sim.analysis.decision import Decision, verdict
from sim.analysis.edges import deliveries_of_run, edge_bands, edges_of_run
from sim.analysis.intervals import headline, paired_differences, summarise
from sim.analysis.objectives import slo_verdicts
from sim.analysis.regret import Regret, regret
from sim.analysis.states import CALLS_STATES, staleness, state_spells
from sim.analysis.words import listing
from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.scenario.words import nearest
from sim.study import store
from sim.study.measure import TABLES

Pair = tuple[str, str]
#: How the curves of many runs become one table each, by the name of the table.
_BANDS: Final[Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "over_time": curves.over_time_bands,
    "attempts_over_time": curves.attempts_over_time_bands,
    "backlog_over_time": curves.backlog_over_time_bands,
    "gauges_over_time": curves.gauges_over_time_bands,
    "edges": edge_bands,
    "latency_cdf": curves.latency_cdf_bands,
    "time_parts": curves.time_parts_bands,
}
#: Name of the one condition of a study that has no others.
ONLY_CONDITION: Final = "base"


@dataclass(frozen=True)
class RunInfo:
    """One finished run of a study."""

    index: int
    candidate: str
    condition: str
    replication: int
    seed: int
    elapsed_s: float

    @property
    def labels(self) -> tuple[str, str, int]:
        """Its candidate, condition and replication."""
        return self.candidate, self.condition, self.replication


class RowSource(Protocol):
    """Where the rows of finished runs are."""

    def read(self, index: int, table: str, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows of one run and table."""


@dataclass(frozen=True)
class RowsInMemory:
    """Rows that came back from the workers."""

    tables: Mapping[int, Mapping[str, pd.DataFrame]]

    def read(self, index: int, table: str, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows of one run and table.

        Raises:
            ScenarioError: the table was not kept.
        """
        found = self.tables.get(index, {}).get(table)
        if found is None:
            raise ScenarioError(f"rows: the table {table!r} was not kept; ask for it with rows=({table!r},) or give out=")
        return found if columns is None else found[columns]


@dataclass(frozen=True)
class RowsOnDisk:
    """Rows in the Parquet files of a results directory, of the study that was written there with this `run_id`."""

    directory: Path
    run_id: str = ""
    _seen: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    def read(self, index: int, table: str, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows of one run and table.

        Raises:
            ScenarioError: they cannot be read, or another study was written there meanwhile.
        """
        try:
            rows = store.read_rows(self.directory, index, table, columns)
        finally:
            # Afterwards, for a later study could come in between; what has been ours until now was ours when it was read.
            self.check()
        return rows

    def check(self) -> None:
        """Make sure that the directory still holds these results.

        Raises:
            ScenarioError: another study was written there meanwhile.
        """
        found = store.stamp(self.directory)
        if found is None or self._seen.get("stamp") != found:
            store.require_run(self.directory, self.run_id)
            self._seen["stamp"] = found


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The results of `replicate` or `compare`.

    `metrics` holds one value per candidate, condition, replication, metric and of; everything else is read from it
    (`summary`, `differences`, `objectives`, `verdict`) or from the rows (`rows`, `tables`), which stay on disk if the
    study was given a directory.
    """

    name: str
    question: str
    baseline: str
    scenarios: Mapping[Pair, Scenario]
    metrics: pd.DataFrame
    runs: tuple[RunInfo, ...]
    #: How many runs were asked for; more than there are after an interrupt.
    planned: int
    source: RowSource
    directory: Path | None = None

    @property
    def partial(self) -> bool:
        """Whether some of the planned runs are missing."""
        return len(self.runs) < self.planned

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the candidates, in order."""
        return tuple(dict.fromkeys(candidate for candidate, _ in self.scenarios))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions, in order."""
        return tuple(dict.fromkeys(condition for _, condition in self.scenarios))

    @property
    def focus(self) -> str | None:
        """The entry operation that the story is about; None: all requests."""
        return next((scenario.focus for scenario in self.scenarios.values()), None)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means with 95 % intervals: candidate, condition, metric, of, mean, low, high, n."""
        return summarise(self.metrics)

    @property
    def baseline_or_first(self) -> str:
        """The candidate that the others are compared with; the first one where the baseline's name is not a candidate's."""
        return self.baseline if self.baseline in self.candidates else self.candidates[0]

    def differences(self, baseline: str | None = None) -> pd.DataFrame:
        """Paired differences of every other candidate to a baseline, by default the study's own.

        Raises:
            ScenarioError: the baseline is not a candidate with results.
        """
        if baseline is None and self.baseline in set(self.metrics["candidate"]):
            baseline = self.baseline  # after an early interrupt it may have no run; then the first that has
        return paired_differences(self.metrics, baseline)

    def objectives(self) -> pd.DataFrame:
        """Every objective judged: pass, fail or uncertain, with value and interval."""
        return slo_verdicts(self.summary, self._slos())

    def verdict(self, latency: str = "p99_s") -> Decision:
        """Which candidate to choose, and why, in words; see `sim.analysis.verdict`. It says which faults it does not hold for."""
        found = verdict(self.metrics, self._slos(), latency=latency, focus=self.focus)
        if not found.reasons or not (reserve := self.reserve()):
            return found
        first, *others = found.reasons
        return dataclasses.replace(found, reasons=[f"{first} {reserve}", *others])

    def late_faults(self) -> pd.DataFrame:
        """The rows of `faults` that begin after the last arrival of every candidate: nothing is seen of them."""
        found = self.faults()
        ends_s = {name: max(self.scenarios[one, name].run.end for one in self.candidates) for name in self.conditions}
        return found[found["start_s"] >= found["condition"].map(ends_s)]

    def reserve(self) -> str:
        """Which faults a verdict says nothing about, as they did not happen in the run; empty where there are none."""
        where = " under {}" if len(self.conditions) > 1 else ""
        told = [
            f"{row['label']}{where.format(row['condition'])} (at {row['start_s']:g} s)"
            for row in self.late_faults().to_dict("records")
        ]
        return f"But faults did not happen in the run, as they begin after its last arrival: {listing(told)}." if told else ""

    def regret(self, metric: str | None = None, weights: Mapping[str, float] | None = None) -> Regret:
        """How much worse each candidate is than the best one of each condition; see `sim.analysis.regret`."""
        return regret(self.metrics, metric, focus=self.focus, weights=weights)

    def rows(
        self,
        table: str = "requests",
        *,
        candidate: str | None = None,
        condition: str | None = None,
        replication: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """The raw rows of one table, of all runs or the chosen ones, with candidate, condition and replication in front.

        All rows of a long study may not fit into memory: choose.

        Args:
            table: requests, attempts, effects, gauges or totals; their columns are those of `sim.records`.
            candidate: only this one.
            condition: only this one.
            replication: only this one, from 0.
            columns: only these.

        Raises:
            ScenarioError: the table, candidate or condition does not exist, or the table was not kept.
        """
        for what, wanted, known in (
            ("table", table, TABLES),
            ("candidate", candidate, self.candidates),
            ("condition", condition, self.conditions),
        ):
            if wanted is not None and wanted not in known:
                raise ScenarioError(f"rows: no {what} {wanted!r}; {nearest(wanted, list(known))}")
        only = list(columns) if columns is not None else None
        found = []
        for run in self.runs:
            if all(wanted in (None, here) for wanted, here in zip((candidate, condition, replication), run.labels, strict=True)):
                found.append(store.label_rows(self.source.read(run.index, table, only), *run.labels))
        return store.stack_rows(found)

    def tables(self, bin_s: float | None = None) -> dict[str, pd.DataFrame]:
        """Every table that charts are drawn from: summary, differences, curves (`_BANDS`), faults, warmup, `states` where
        breakers or endpoints changed theirs (spells of the first run of each case), and `staleness` where replicas went.

        Runs are read one after the other, so this needs no more memory than one of them. The one condition of a study that
        has no others is called like the study here, for that is what a chart is about.

        Args:
            bin_s: width of the time bins, in seconds; absent: about a sixtieth of the longest run.
        """
        width_s = bin_s or _round_number(max((scenario.run.end for scenario in self.scenarios.values()), default=60.0) / 60)
        found: dict[str, list[pd.DataFrame]] = {name: [] for name in _BANDS}
        for run in self.runs:
            times = self.scenarios[run.candidate, run.condition].run
            rows = self.source.read(run.index, "requests")
            if self.focus is not None:
                rows = rows[rows["entry"] == self.focus]
            reduced = self._of_attempts(run, rows, width_s) if times.record_attempts else {}
            gauges = self._if_kept(run, "gauges", ["time_s", "name", *curves.GAUGES])
            scenario = self.scenarios[run.candidate, run.condition]
            consumed = scenario.consumed()
            if gauges is not None:
                used = _without(gauges, scenario.queues.keys() - consumed.keys())
                reduced["gauges_over_time"] = curves.gauges_over_time_of_run(used, end_s=times.end)
            if gauges is not None and consumed:
                reduced["backlog_over_time"] = curves.backlog_over_time_of_run(gauges, consumed, end_s=times.end)
            reduced |= {
                "over_time": curves.over_time_of_run(rows, width_s, end_s=times.end),
                "latency_cdf": curves.latency_cdf_of_run(rows, start_s=times.warmup, end_s=times.end),
                "time_parts": curves.time_parts_of_run(rows, start_s=times.warmup, end_s=times.end),
            }
            for name, table in reduced.items():
                found[name].append(curves.label_run(table, *run.labels))
        made = {name: _BANDS[name](pd.concat(parts, ignore_index=True)) for name, parts in found.items() if parts}
        if "gauges_over_time" in made:
            queues = {name for scenario in self.scenarios.values() for name in (*scenario.queues, *scenario.consumed())}
            names = made["gauges_over_time"]["name"].astype(str).str.split("/").str[0]  # a partition is called LOG.GROUP/0
            made["gauges_over_time"]["is_queue"] = names.isin(queues)
        told = {"summary": self._told(self.summary), "differences": self._told(self.differences())}
        tables = {**told, **made, "faults": self.faults(deployments=True), "warmup": self._warmup()}
        if (states := self._states()) is not None:
            tables["states"] = states
        if (stale := self._staleness()) is not None:
            tables["staleness"] = stale
        if self.conditions == (ONLY_CONDITION,):
            tables = {name: table.assign(condition=self.name) for name, table in tables.items()}
        return tables

    def changes_of(self, run: RunInfo) -> pd.DataFrame | None:
        """The changes of state in one run; None where the numbers and the other rows were kept without them."""
        return self._if_kept(run, "changes")

    def _if_kept(self, run: RunInfo, table: str, columns: list[str] | None = None) -> pd.DataFrame | None:
        try:
            return self.source.read(run.index, table, columns)
        except ScenarioError:
            return None

    def _of_attempts(self, run: RunInfo, requests: pd.DataFrame, bin_s: float) -> dict[str, pd.DataFrame]:
        """Attempts per second of the requests in focus over time, and those of all on every edge, of one run."""
        times = self.scenarios[run.candidate, run.condition].run
        attempts = self.source.read(run.index, "attempts", ["request", "caller", "target", "number", "started_s", "outcome"])
        window = {"start_s": times.warmup, "end_s": times.end}
        edges = [edges_of_run(attempts, **window)]
        if (effects := self._if_kept(run, "effects")) is not None and len(effects):
            edges.append(deliveries_of_run(effects, **window))
        if self.focus is not None:
            attempts = attempts[attempts["request"].isin(requests["request"])]
        return {
            "attempts_over_time": curves.attempts_over_time_of_run(attempts, bin_s, end_s=times.end),
            "edges": pd.concat(edges),
        }

    def _staleness(self) -> pd.DataFrame | None:
        """How long callers chose from replicas that were gone, a row per death and process of all runs; None without any."""
        found: list[pd.DataFrame] = []
        for run in self.runs:
            if not self.scenarios[run.candidate, run.condition].registries:
                continue
            changes = self.changes_of(run)
            if changes is None:
                return None
            found.append(curves.label_run(staleness(changes), *run.labels))
        some = [rows for rows in found if len(rows)]
        return pd.concat(some, ignore_index=True) if some else None

    def _states(self) -> pd.DataFrame | None:
        """Spells of breakers and ejected endpoints in the first run of each candidate and condition; None without any."""
        found: dict[Pair, pd.DataFrame] = {}
        for run in self.runs:
            pair = (run.candidate, run.condition)
            if pair in found:
                continue
            changes = self.changes_of(run)
            if changes is None:
                return None
            spells = state_spells(changes[changes["state"].isin(CALLS_STATES)], end_s=self.scenarios[pair].run.end)
            found[pair] = spells.assign(candidate=run.candidate, condition=run.condition, seed=run.seed)
        some = [spells for spells in found.values() if len(spells)]
        return pd.concat(some, ignore_index=True) if some else None

    def _warmup(self) -> pd.DataFrame:
        """When the measured window begins, for marking: condition, end_s (of the candidate that takes longest)."""
        ends_s = {
            condition: max(self.scenarios[candidate, condition].run.warmup for candidate in self.candidates)
            for condition in self.conditions
        }
        return pd.DataFrame({"condition": list(ends_s), "end_s": list(ends_s.values())})

    def _told(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table as charts want it: the rows of the focus stand for all."""
        mine = headline(table, self.focus)
        effects = table[~mine & ~table["of"].isin(["all", *_entries(self.scenarios.values())])]
        return pd.concat([table[mine].assign(of="all"), effects], ignore_index=True)

    def faults(self, deployments: bool = False) -> pd.DataFrame:
        """Faults at fixed times, and deployments if wanted, for shading: condition, label, start_s, end_s (NaN: until the end; a
        moment ends when it starts).

        A label names the candidates if not all have the fault. Faults at drawn times (mtbf) differ from seed to seed
        and are not here.
        """
        rows = []
        for condition in self.conditions:
            hit: dict[tuple[str, float, float | None], list[str]] = {}
            for candidate in self.candidates:
                scenario = self.scenarios[candidate, condition]
                for window in (*_fault_windows(scenario), *(_deployments(scenario) if deployments else ())):
                    hit.setdefault(window, []).append(candidate)
            for (label, start_s, end_s), names in hit.items():
                only = "" if len(names) == len(self.candidates) else f" ({', '.join(names)} only)"
                rows.append((condition, label + only, start_s, math.nan if end_s is None else end_s))
        return pd.DataFrame(rows, columns=["condition", "label", "start_s", "end_s"])

    def _slos(self) -> dict[Pair, tuple[Any, ...]]:
        return {pair: scenario.slos for pair, scenario in self.scenarios.items()}

    def __repr__(self) -> str:
        size = f"{len(self.candidates)} candidates × {len(self.conditions)} conditions, {len(self.runs)} runs"
        missing = f", partial: {self.planned - len(self.runs)} more were planned" if self.partial else ""
        seeds = sorted({run.seed for run in self.runs})
        where = self.directory if self.directory is not None else "in memory"
        return f"<Results {self.name}: {size}{_seed_words(seeds)}{missing}; {where}>"

    def _repr_html_(self) -> str:
        from sim.study.shown import results_card

        return results_card(self)

    def with_directory(self, directory: Path, run_id: str) -> Results:
        """The same results, read from where they were stored under that id."""
        return dataclasses.replace(self, directory=directory, source=RowsOnDisk(directory, run_id))


def _without(gauges: pd.DataFrame, queues: Collection[str]) -> pd.DataFrame:
    """The samples without those of queues, of these, in which no message ever was: a candidate may have them and use them not."""
    names = gauges["name"].astype(str)
    filled = names.isin(names[(gauges["busy"] > 0) | (gauges["queued"] > 0)])
    return gauges[filled | ~names.isin(queues)]


def _entries(scenarios: Iterable[Scenario]) -> set[str]:
    return {entry for scenario in scenarios for entry in scenario.load.mix}


def _seed_words(seeds: list[int]) -> str:
    if not seeds:
        return ""
    return f", seed {seeds[0]}" if len(seeds) == 1 else f", seeds {seeds[0]} to {seeds[-1]}"


def _round_number(value: float) -> float:
    """The nearest larger of 1, 2 and 5 times a power of ten.

    >>> [_round_number(x) for x in (0.3, 1.0, 6.7)]
    [0.5, 1.0, 10.0]
    """
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * (1 - 1e-9))


#: So many faults of a kind are named with their replica; equal names are written once, and a deployment has many stops.
_NAMED: Final = 3


def _fault_windows(scenario: Scenario) -> Iterator[tuple[str, float, float | None]]:
    for fault in scenario.faults:
        if fault.at is None:
            continue
        label = fault.label
        replica = getattr(fault, "replica", None)
        if isinstance(replica, int) and sum(type(other) is type(fault) for other in scenario.faults) <= _NAMED:
            label += f", replica {replica}"
        yield label, fault.at, fault.end_s


def _deployments(scenario: Scenario) -> Iterator[tuple[str, float, float | None]]:
    """When somebody begins to change what runs: moments, for the end depends on what happens."""
    for change in scenario.deployments:
        yield change.label, change.at, change.at
