"""One long run: where its warm-up ends, and intervals from its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.intervals import CONFIDENCE, t_factor
from sim.analysis.metrics import GOOD_OUTCOMES, Floats
from sim.errors import ScenarioError

#: Neighbours that are averaged before the rule looks at them: what the 5 in MSER-5 stands for.
BATCH: Final = 5
#: Fewer batches than these are no series.
_FEWEST: Final = 10
_BINS: Final = 1000


@dataclass(frozen=True)
class Truncation:
    """Where a series settles: `dropped` values are to be left out; `settled` is False where it may not have settled at all.

    `curve[d]` is the rule's statistic if the first `d` batches of five are left out; its minimum is what is chosen.
    """

    dropped: int
    settled: bool
    curve: Floats


def mser5(values: Floats) -> Truncation:
    """How many values at the beginning of a series are warm-up: the cut that makes the mean of the rest most precise.

    ::

        statistic(d) = sum of (batch - mean of those from d on)² over batches from d on, divided by (batches from d on)²

        values     ▁▂▄▆▇█▇▇█▆▇█▇█▇▇█          leaving out the rise makes the rest even; leaving out more makes it short
                   ----->| d

    A minimum in the second half means that the series is still moving, or too short to tell: `settled` is False, and the
    run should be longer. The rule looks at one mean: a slow drift smaller than the noise it does not see.

    Source: K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69 (1997);
    with batches of five: White, Cobb, Spratt, "A comparison of five steady-state truncation heuristics", WSC 2000.

    Raises:
        ScenarioError: fewer than 50 values.

    >>> mser5(np.r_[np.linspace(0, 1, 100), np.ones(900)]).dropped
    100
    """
    count = len(values) // BATCH
    if count < _FEWEST:
        raise ScenarioError(f"warm-up: {len(values)} values are too few to see one; {_FEWEST * BATCH} is the least")
    batches = np.asarray(values[: count * BATCH], dtype=float).reshape(count, BATCH).mean(axis=1)
    left = np.arange(count, 0, -1)
    centred = batches - batches.mean()  # or squares of large means would swallow the differences
    sums, squares = np.cumsum(centred[::-1])[::-1], np.cumsum(centred[::-1] ** 2)[::-1]
    curve = np.maximum(squares - sums**2 / left, 0.0) / left.astype(float) ** 2
    curve = curve[: count - BATCH]  # of the last few batches, some are equal by chance
    curve[curve <= 1e-12 * curve.max()] = 0.0  # rounding dust must not decide
    best = int(np.argmin(curve))
    return Truncation(best * BATCH, best <= count // 2, curve)


@dataclass(frozen=True)
class Warmup:
    """The warm-up of some runs: until `end_s`; `settled` is False where they may not have settled.

    `series` has time_s (the start of each bin), latency_s (the mean over replications of the mean of those who arrived then)
    and running_s (the mean from there to the end); `curve` has time_s and statistic (see `mser5`).
    """

    end_s: float
    settled: bool
    replications: int
    series: pd.DataFrame
    curve: pd.DataFrame


def warmup_of(requests: pd.DataFrame, *, end_s: float, bins: int = _BINS) -> Warmup:
    """Where the warm-up of runs ends, by MSER-5 over the latency of good answers, averaged over replications.

    Latency by time of arrival in `bins` equal bins, the mean over replications of each, as in Welch's plot; empty bins take the
    value before. Averaging makes the transient of a rare disturbance invisible: faults belong into no warm-up.

    Args:
        requests: decoded rows of runs from time 0 on: replication (if there are several), arrived_s, ended_s, outcome.
        end_s: when arrivals end.
        bins: into how many the time is cut.

    Raises:
        ScenarioError: there are too few good answers.
    """
    good = requests[requests["outcome"].isin(GOOD_OUTCOMES) & (requests["arrived_s"] < end_s)]
    if len(good) < bins:
        bins = max(_FEWEST * BATCH, len(good) // 2)
    if len(good) < _FEWEST * BATCH:
        raise ScenarioError(f"warm-up: {len(good)} good answers are too few to see one; make the run longer")
    width_s = end_s / bins
    which = np.minimum((good["arrived_s"].to_numpy(dtype=float) / width_s).astype(np.int64), bins - 1)
    latency_s = (good["ended_s"] - good["arrived_s"]).to_numpy(dtype=float)
    runs = good["replication"].to_numpy() if "replication" in good else np.zeros(len(good), dtype=np.int64)
    table = pd.DataFrame({"run": runs, "bin": which, "latency_s": latency_s})
    per_run = table.groupby(["run", "bin"])["latency_s"].mean()
    means = per_run.groupby("bin").mean().reindex(range(bins)).ffill().bfill().to_numpy(dtype=float)
    found = mser5(means)
    times_s = np.arange(bins) * width_s
    running = np.cumsum(means[::-1])[::-1] / np.arange(bins, 0, -1)
    series = pd.DataFrame({"time_s": times_s, "latency_s": means, "running_s": running})
    curve = pd.DataFrame({"time_s": np.arange(len(found.curve)) * BATCH * width_s, "statistic": found.curve})
    return Warmup(found.dropped * width_s, found.settled, len(np.unique(runs)), series, curve)


@dataclass(frozen=True)
class BatchMeans:
    """What one long run says of its mean: the interval, and how far neighbouring batches still hang together.

    `correlation` is that of each batch with the next; `independent` is False where it is more than chance explains, and then
    the interval is too narrow: take fewer batches, a longer run, or replications.
    """

    mean: float
    low: float
    high: float
    batches: int
    correlation: float
    independent: bool


def batch_means(values: Any, batches: int = 30, *, confidence: float = CONFIDENCE) -> BatchMeans:
    """An interval for the mean of one long, correlated series, in order: cut into batches long enough to be independent.

    ::

        |····|····|····|····|        t interval over the means of the batches

    An interval over the values themselves would cover the truth in a third of all cases where it promises 95 % (M/M/1 at 90 %).
    Replications are the safer way; this is for a run that cannot be repeated, such as a recording. Values that do not fill
    the batches evenly are left out at the beginning.

    Source: Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30 (1982): 10 to 30
    batches; von Neumann's ratio of neighbours for their independence.

    Args:
        values: in the order in which they arose, without the warm-up.
        batches: how many.
        confidence: coverage.

    Raises:
        ScenarioError: fewer than two batches, or fewer than two values in each.
    """
    if batches < 2:
        raise ScenarioError(f"batches = {batches}: an interval needs at least 2, better 10 to 30")
    series = np.asarray(values, dtype=float)
    size = len(series) // batches
    if size < 2:
        raise ScenarioError(f"batches: {len(series)} values are too few for {batches} batches")
    means = series[len(series) - size * batches :].reshape(batches, size).mean(axis=1)
    mean = float(means.mean())
    half = float(t_factor(batches, confidence)) * float(means.std(ddof=1)) / math.sqrt(batches)
    centred = means - mean
    total = float((centred**2).sum())
    correlation = float((centred[1:] * centred[:-1]).sum()) / total if total else 0.0
    # Without correlation it is distributed around -1/batches with a standard deviation of about 1/sqrt(batches).
    independent = correlation < -1 / batches + 1.645 / math.sqrt(batches)
    return BatchMeans(mean, mean - half, mean + half, batches, correlation, independent)
