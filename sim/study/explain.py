"""Why are the slow ones slow? The rows of a study, divided among services and edges, slow requests against typical ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from sim.analysis.curves import label_run
from sim.analysis.explaining import against_typical, explained, explained_of_run, in_words, level_of, outcomes_of_failed, retries
from sim.analysis.waterfall import pick_request, sequence_diagram, waterfall
from sim.errors import ScenarioError
from sim.scenario.words import nearest
from sim.study.results import Results, RunInfo
from sim.units import format_duration


@dataclass(frozen=True, eq=False)
class Explanation:
    """What slow requests spent their time on, against typical ones.

    Attributes:
        at: which ones are slow: a percentile, p99, and what lies beyond it; or failed.
        parts: candidate, condition, group (slow, typical), where, part, retry, mean_s, low, high, n: seconds per request with
            95 % intervals over replications; those of a group add up to its mean latency.
        outcomes: of failed ones candidate, condition, outcome, count: how they ended, in all replications.
    """

    at: str
    parts: pd.DataFrame
    outcomes: pd.DataFrame

    @property
    def differences(self) -> pd.DataFrame:
        """Slow beside typical, largest difference first: candidate, condition, where, part, slow_s, typical_s, more_s, share."""
        return against_typical(self.parts)

    @property
    def retries(self) -> pd.DataFrame:
        """What failed tries and the pauses after them cost, by edge: candidate, condition, retry, slow_s, typical_s."""
        return retries(self.parts)

    def sentences(self) -> list[str]:
        """In words, case by case."""
        cases = list(self.parts.groupby(["candidate", "condition"], sort=False, observed=True))
        several = len(cases) > 1
        found = []
        for names, rows in cases:
            ends = self.outcomes[(self.outcomes["candidate"] == names[0]) & (self.outcomes["condition"] == names[1])]
            counts = ends.groupby("outcome")["count"].sum()
            shares = {str(outcome): float(count) / counts.sum() for outcome, count in counts.items()}
            found += in_words(rows, self.at, names=[*map(str, names)] if several else (), failed=shares)
        return found

    def __repr__(self) -> str:
        return "\n".join(self.sentences())


def explain(results: Results, at: str = "p99", *, candidate: str | None = None, condition: str | None = None) -> Explanation:
    """Divide the latency of slow requests, and of typical ones, among the services and edges on their critical paths.

    Requests in focus, all replications of each candidate and condition, or of the chosen ones; runs are read one after the
    other. How a latency is divided says `sim.analysis.critical.time_spent`.

    Args:
        results: of a study that kept the rows of requests and attempts, as those on disk do.
        at: p99 (the slowest hundredth), p50, p99.9, …; failed: requests without a good answer.
        candidate: only this one.
        condition: only this one.

    Raises:
        ScenarioError: no such candidate or condition, `at` is no percentile, or the rows were not kept.
    """
    level = level_of(at)
    found, ends = [], []
    for run in chosen_runs(results, candidate, condition):
        requests, attempts, changes = rows_of(results, run)
        times = results.scenarios[run.candidate, run.condition].run
        one = explained_of_run(requests, attempts, changes, at, start_s=times.warmup, end_s=times.end)
        found.append(label_run(one, *run.labels))
        failed = outcomes_of_failed(requests if level is None else requests.head(0), start_s=times.warmup, end_s=times.end)
        ends.append(failed.assign(candidate=run.candidate, condition=run.condition))
    return Explanation(at, explained(pd.concat(found, ignore_index=True)), pd.concat(ends, ignore_index=True))


@dataclass(frozen=True, eq=False)
class SingleRequest:
    """One request of a study, and which one it is.

    Attributes:
        at: what it was asked for as: median, p99, failed, or its number.
        run: in which it was made.
        request: its number there.
        table: its attempts, see `sim.analysis.waterfall`.
    """

    at: str
    run: RunInfo
    request: int
    table: pd.DataFrame

    @property
    def title(self) -> str:
        """What it is, in words."""
        first = self.table.iloc[0]
        took = "not answered" if math.isnan(first["end_s"]) else f"{first['outcome']} after {format_duration(first['end_s'])}"
        case = f"{self.run.candidate}, {self.run.condition}, seed {self.run.seed}"
        return f"{self.at} request {self.request} of {case}: {first['target']}, {took}"

    @property
    def mermaid(self) -> str:
        """Its sequence diagram."""
        return sequence_diagram(self.table, self.title)


def single_request(
    results: Results, at: str = "p99", *, candidate: str | None = None, condition: str | None = None
) -> SingleRequest:
    """One request of the first run of a candidate under a condition, with all of its attempts.

    Args:
        results: of a study that kept the rows of requests and attempts.
        at: median, p99, …: the good answer there; failed: a failed one of median latency; or the number of a request.
        candidate: absent: the first.
        condition: absent: the first.

    Raises:
        ScenarioError: no such candidate, condition or request, or the rows were not kept.
    """
    run = chosen_runs(results, candidate or results.candidates[0], condition or results.conditions[0])[0]
    requests, attempts, _ = rows_of(results, run)
    times = results.scenarios[run.candidate, run.condition].run
    request = pick_request(requests, at, start_s=times.warmup, end_s=times.end)
    if request is None:
        case = f"{run.candidate}, {run.condition}, seed {run.seed}"
        raise ScenarioError(f"{case}: there is no {at} request; name another one: median, p99, failed, or a number")
    return SingleRequest(at, run, request, waterfall(requests, attempts, request))


def chosen_runs(results: Results, candidate: str | None, condition: str | None) -> list[RunInfo]:
    """The finished runs of a candidate under a condition, or of all.

    Raises:
        ScenarioError: no such candidate or condition, or none of their runs is finished.
    """
    for what, wanted, known in (
        ("candidate", candidate, results.candidates),
        ("condition", condition, results.conditions),
    ):
        if wanted is not None and wanted not in known:
            raise ScenarioError(f"{results.name}: no {what} {wanted!r}; {nearest(wanted, list(known))}")
    runs = [run for run in results.runs if candidate in (None, run.candidate) and condition in (None, run.condition)]
    if not runs:
        raise ScenarioError(f"{results.name}: no run of these is finished; run the study again")
    return runs


def rows_of(results: Results, run: RunInfo) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Requests (those in focus), attempts, and changes of one run; without changes handshakes count as network.

    Raises:
        ScenarioError: the scenario says that requests or attempts have no rows, or they were not kept.
    """
    recorded = results.scenarios[run.candidate, run.condition].run
    for key, recorded_too in (("record_requests", recorded.record_requests), ("record_attempts", recorded.record_attempts)):
        if not recorded_too:
            what = key.removeprefix("record_")
            raise ScenarioError(
                f"run.{key} is false in {run.candidate}, {run.condition}: there are no rows of {what} to explain; "
                "leave it out and run the study again"
            )
    requests = results.source.read(run.index, "requests")
    if results.focus is not None:
        requests = requests[requests["entry"] == results.focus]
    return requests, results.source.read(run.index, "attempts"), results.changes_of(run)
