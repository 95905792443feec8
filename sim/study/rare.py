"""Rare events: whether there will be enough requests for a percentile, and what all runs together say of it."""

from __future__ import annotations

from typing import Final

import pandas as pd

from sim.analysis.metrics import GOOD_OUTCOMES, PERCENTILES, Floats, percentile_name
from sim.analysis.objectives import percentiles_of
from sim.analysis.quantiles import VALUES_ABOVE, pooled_quantile, requests_for
from sim.scenario.forecast import entry_weights, forecast
from sim.scenario.model import Comparison, Scenario
from sim.study.results import Results, RunInfo
from sim.units import format_duration

#: How close a percentile's share of slower requests shall be, relative to it.
PRECISION: Final = 0.2


def rare_percentiles(found: Scenario | Comparison, replications: int | None = None) -> str | None:
    """Which percentiles of a study rest on too few requests, and how many it takes; None where all have enough.

    A percentile is read from the requests that are slower: a run needs ten of them, and all runs together as many as
    `sim.analysis.quantiles.requests_for` says. Requests in focus count; of a comparison, the scenario with the fewest.

    Args:
        found: what is to be run.
        replications: how often; absent: `run.replications`.
    """
    scenarios = [found] if isinstance(found, Scenario) else [scenario for _, _, scenario in found.scenarios()]
    rates = [(forecast(one).rate_rps, one) for one in scenarios]
    expected = [(rate * _in_focus(one) * one.run.duration, one) for rate, one in rates if rate is not None]
    if not expected:
        return None
    per_run, scenario = min(expected, key=lambda pair: pair[0])
    runs = scenario.run.replications if replications is None else replications
    wanted = sorted({*PERCENTILES, *percentiles_of(scenario.slos)})
    missed = [percent for percent in wanted if not _enough(percent, per_run, runs)]
    if not missed:
        return None
    share, name, slower = missed[-1] / 100, percentile_name(missed[-1]), _above(missed[-1], per_run)
    longer = format_duration(float(f"{scenario.run.duration * max(1.0, VALUES_ABOVE / slower):.2g}")).replace(" ", "")
    told = f"a run measures about {per_run:,.0f} requests, of which {slower:.2g} are slower than {name}"
    cure = f"; {VALUES_ABOVE} are with --duration {longer}" if slower < VALUES_ABOVE else ""
    names = ", ".join(map(percentile_name, missed))
    return (
        f"few requests for {names}: {told}{cure}; how many are slower is right within {100 * PRECISION:.0f} % with "
        f"{requests_for(share, PRECISION):,} requests in all runs together (here {per_run * runs:,.0f})"
    )


def _in_focus(scenario: Scenario) -> float:
    """The share of requests that the study is about."""
    weights = entry_weights(scenario.load)
    return 1.0 if scenario.focus is None else weights.get(scenario.focus, 0.0) / sum(weights.values())


def pooled_percentiles(results: Results) -> pd.DataFrame:
    """Percentiles for which single runs have too few requests, from those of all runs together (`pooled_quantile`).

    The mean over runs of such a percentile is too low: each run's is nearly its largest value. Columns: candidate, condition,
    metric, value, low, high; a percentile for which all runs together have too few, too, is not there.
    """
    rows = []
    for (candidate, condition), scenario in results.scenarios.items():
        if not scenario.run.record_requests or sum(_is(run, candidate, condition) for run in results.runs) < 2:
            continue
        good = latencies_s(results, candidate, condition)
        smallest, total = min(map(len, good)), sum(map(len, good))
        for percent in sorted({*PERCENTILES, *percentiles_of(scenario.slos)}):
            if _above(percent, smallest) < VALUES_ABOVE <= _above(percent, total):
                metric = f"{percentile_name(percent)}_s"
                rows.append((candidate, condition, metric, *pooled_quantile(good, percent / 100)))
    return pd.DataFrame(rows, columns=["candidate", "condition", "metric", "value", "low", "high"])


def latencies_s(results: Results, candidate: str, condition: str) -> list[Floats]:
    """Seconds that the good answers to measured requests in focus took, of each run by itself, by their time of arrival."""
    times = results.scenarios[candidate, condition].run
    columns = ["entry", "arrived_s", "ended_s", "outcome"]
    found = []
    for run in results.runs:
        if _is(run, candidate, condition):
            rows = results.source.read(run.index, "requests", columns)
            if results.focus is not None:
                rows = rows[rows["entry"] == results.focus]
            measured = rows["arrived_s"].between(times.warmup, times.end, inclusive="left")
            good = rows[measured & rows["outcome"].isin(GOOD_OUTCOMES)]
            found.append((good["ended_s"] - good["arrived_s"]).to_numpy(dtype=float))
    return found


def _is(run: RunInfo, candidate: str, condition: str) -> bool:
    return (run.candidate, run.condition) == (candidate, condition)


def _enough(percent: float, per_run: float, runs: int) -> bool:
    return _above(percent, per_run) >= VALUES_ABOVE and per_run * runs >= requests_for(percent / 100, PRECISION)


def _above(percent: float, requests: float) -> float:
    """How many of some requests are slower than a percentile.

    >>> _above(99.9, 10_000)
    10.0
    """
    return round(requests * (100 - percent) / 100, 6)
