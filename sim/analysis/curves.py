"""Tables for charts: success and attempts over time, the latency curve, where the time went, with bands over replications.

Every table is made in two steps, so that a long study never has to hold all its rows: a `…_of_run` reduces one
replication to a few rows, and the function without the suffix puts a band around many of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.intervals import CONFIDENCE, interval_of
from sim.analysis.metrics import GOOD_OUTCOMES, Floats
from sim.records import PARTS

#: Probabilities at which the latency curve is read: even steps, then finer towards the tail.
PROBABILITIES: Final[tuple[float, ...]] = (
    0.001,
    *(round(0.01 * i, 2) for i in range(1, 100)),
    *(round(0.99 + 0.001 * i, 3) for i in range(1, 10)),
    *(round(0.999 + 0.0001 * i, 4) for i in range(1, 10)),
)
#: Columns that tell one replication of a table of many from the others.
RUN: Final = ["candidate", "condition", "replication"]
#: What is sampled: workers held, who waits for one, replicas that are up.
GAUGES: Final = ("busy", "queued", "alive")
ALL: Final = "all"
SLOWEST: Final = "slowest 1 %"


def over_time_of_run(requests: pd.DataFrame, bin_s: float, *, end_s: float, start_s: float = 0.0) -> pd.DataFrame:
    """Success and goodput of one replication in time bins: time_s (start of the bin), success, goodput_rps.

    Success belongs to the requests that *arrived* in the bin (NaN where none did); goodput counts the good answers that
    *came* in it, per second, so a backlog that drains after a failure shows as a burst. A last bin that reaches
    beyond end_s is cut there.

    Args:
        requests: one replication, decoded, with the warm-up.
        bin_s: width of a bin, in seconds.
        end_s: where the last bin ends, clock time.
        start_s: where the first bin starts.

    Raises:
        ValueError: bin_s is not positive, or the window is empty.
    """
    edges = bins(bin_s, start_s, end_s)
    good = requests["outcome"].isin(GOOD_OUTCOMES).to_numpy(dtype=bool)
    arrived = requests["arrived_s"].to_numpy(dtype=float)
    all_arrived = counts(arrived, edges)
    with np.errstate(invalid="ignore"):
        success = np.where(all_arrived > 0, counts(arrived[good], edges) / all_arrived, np.nan)
    ended = requests["ended_s"].to_numpy(dtype=float)[good]
    return pd.DataFrame({"time_s": edges[:-1], "success": success, "goodput_rps": counts(ended, edges) / np.diff(edges)})


def bins(bin_s: float, start_s: float, end_s: float) -> Floats:
    """Edges of time bins; the last one is cut at the end.

    >>> bins(2.0, 0.0, 5.0).tolist()
    [0.0, 2.0, 4.0, 5.0]

    Raises:
        ValueError: bin_s is not positive, or the window is empty.
    """
    if not bin_s > 0 or not end_s > start_s:
        raise ValueError(f"bin_s = {bin_s:g} must be positive and the window from {start_s:g} s to {end_s:g} s not empty")
    count = max(1, math.ceil((end_s - start_s) / bin_s - 1e-9))
    return np.append(start_s + bin_s * np.arange(count), end_s)


def counts(times_s: Floats, edges: Floats) -> Floats:
    """How many times fall into each half-open bin; numpy's histogram would close the last one."""
    inside = times_s[(times_s >= edges[0]) & (times_s < edges[-1])]
    place = np.searchsorted(edges, inside, side="right") - 1
    return np.bincount(place, minlength=len(edges) - 1).astype(float)


def over_time(
    requests: pd.DataFrame, bin_s: float, *, end_s: float, start_s: float = 0.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Success ratio and goodput per time bin, with a band over replications (Student t, point by point).

    Returns candidate, condition, time_s, success, success_low, success_high, goodput_rps, goodput_low, goodput_high, n.
    `requests` holds many replications, told apart by the columns candidate, condition and replication.
    """
    per_run = of_each_run(requests, lambda rows: over_time_of_run(rows, bin_s, start_s=start_s, end_s=end_s))
    return over_time_bands(per_run, confidence=confidence)


def over_time_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put bands around many `over_time_of_run`, told apart by candidate, condition and replication."""
    groups = per_run.groupby(["candidate", "condition", "time_s"], sort=False, observed=True)
    success = interval_of(groups["success"], confidence)
    goodput = interval_of(groups["goodput_rps"], confidence)
    found = pd.DataFrame(
        {
            "success": success["mean"],
            "success_low": success["low"].clip(0.0, 1.0),
            "success_high": success["high"].clip(0.0, 1.0),
            "goodput_rps": goodput["mean"],
            "goodput_low": goodput["low"].clip(lower=0.0),
            "goodput_high": goodput["high"],
            "n": goodput["n"],
        }
    )
    return found.reset_index()


def attempts_over_time_of_run(attempts: pd.DataFrame, bin_s: float, *, end_s: float, start_s: float = 0.0) -> pd.DataFrame:
    """Attempts that began in time bins of one replication: time_s (start of the bin), attempts_rps (per second).

    Calls and publishes of all tiers, first tries included, as far as they are among the rows: choose a target first
    to see what one service is asked. What a fault or a refusal adds or takes away stands out against the bins before it.

    Args:
        attempts: one replication; only started_s is read.
        bin_s: width of a bin, in seconds.
        end_s: where the last bin ends, clock time.
        start_s: where the first bin starts.

    Raises:
        ValueError: bin_s is not positive, or the window is empty.
    """
    edges = bins(bin_s, start_s, end_s)
    started = attempts["started_s"].to_numpy(dtype=float)
    return pd.DataFrame({"time_s": edges[:-1], "attempts_rps": counts(started, edges) / np.diff(edges)})


def attempts_over_time(
    attempts: pd.DataFrame, bin_s: float, *, end_s: float, start_s: float = 0.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Attempts per second per time bin, with a band over replications, told apart by candidate, condition and replication.

    Returns candidate, condition, time_s, attempts_rps, attempts_low, attempts_high, n.
    """
    per_run = of_each_run(attempts, lambda rows: attempts_over_time_of_run(rows, bin_s, start_s=start_s, end_s=end_s))
    return attempts_over_time_bands(per_run, confidence=confidence)


def attempts_over_time_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put bands around many `attempts_over_time_of_run`: candidate, condition, time_s, attempts_rps and its band."""
    return _bands(per_run, "attempts_rps", "attempts", confidence)


def _bands(
    per_run: pd.DataFrame, column: str, short: str, confidence: float, by: Sequence[str] = ("candidate", "condition", "time_s")
) -> pd.DataFrame:
    """Mean and band, not below zero, of what cannot be negative at each time."""
    groups = per_run.groupby(list(by), sort=False, observed=True)[column]
    found = interval_of(groups, confidence).reset_index()
    found["low"] = found["low"].clip(lower=0.0)
    names = {"mean": column, "low": f"{short}_low", "high": f"{short}_high"}
    return found.rename(columns=names)[[*by, *names.values(), "n"]]


def backlog_over_time_of_run(gauges: pd.DataFrame, queues: Collection[str], *, end_s: float = math.inf) -> pd.DataFrame:
    """Messages in queues at every sample of one replication: time_s, backlog (waiting or at consumers, all queues together).

    Args:
        gauges: one replication; time_s, name, busy and queued are read.
        queues: their names; leave out those that nobody consumes, whose messages wait for nothing.
        end_s: where it ends, clock time; replications end at times of their own after the last arrival.
    """
    mine = gauges[gauges["name"].astype(str).isin(list(queues)) & (gauges["time_s"] <= end_s)]
    sums = (mine["busy"] + mine["queued"]).groupby(mine["time_s"], sort=True).sum()
    return pd.DataFrame({"time_s": sums.index.to_numpy(dtype=float), "backlog": sums.to_numpy(dtype=float)})


def backlog_over_time(
    gauges: pd.DataFrame, queues: Sequence[str], *, end_s: float = math.inf, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Messages in queues over time, with a band over replications, told apart by candidate, condition and replication.

    Returns candidate, condition, time_s, backlog, backlog_low, backlog_high, n: as fine as the gauges (`run.sample_every`).
    """
    per_run = of_each_run(gauges, lambda rows: backlog_over_time_of_run(rows, queues, end_s=end_s))
    return backlog_over_time_bands(per_run, confidence=confidence)


def backlog_over_time_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put bands around many `backlog_over_time_of_run`: candidate, condition, time_s, backlog and its band."""
    return _bands(per_run, "backlog", "backlog", confidence)


def gauges_over_time_of_run(gauges: pd.DataFrame, *, end_s: float = math.inf) -> pd.DataFrame:
    """What one replication sampled of each service, queue and broker: name, time_s, busy, queued, alive (see `sim.records`).

    Args:
        gauges: one replication, decoded.
        end_s: where it ends, clock time; replications end at times of their own after the last arrival.
    """
    mine = gauges[gauges["time_s"] <= end_s]
    return mine[["name", "time_s", *GAUGES]].astype({"name": str, **dict.fromkeys(GAUGES, float)}).reset_index(drop=True)


def gauges_over_time(gauges: pd.DataFrame, *, end_s: float = math.inf, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Workers held, lines and living replicas over time, with bands over replications.

    Returns candidate, condition, name, time_s, n, and busy, queued and alive, each with NAME_low and NAME_high: as fine as the
    gauges (`run.sample_every`). What happens between two samples is not seen.
    """
    return gauges_over_time_bands(
        of_each_run(gauges, lambda rows: gauges_over_time_of_run(rows, end_s=end_s)), confidence=confidence
    )


def gauges_over_time_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put bands around many `gauges_over_time_of_run`."""
    by = ["candidate", "condition", "name", "time_s"]
    found = [_bands(per_run, name, name, confidence, by).set_index([*by, "n"]) for name in GAUGES]
    return pd.concat(found, axis=1).reset_index()


def latency_cdf_of_run(
    requests: pd.DataFrame, *, start_s: float, end_s: float, probabilities: Sequence[float] = PROBABILITIES
) -> pd.DataFrame:
    """Latency curve of one replication: probability, latency_s of good answers to requests that arrived in the window.

    A probability that the sample cannot resolve (fewer than one answer above it) is NaN: with 500 answers
    nothing can be said about p99.9.
    """
    latencies = _good_answers(requests, start_s, end_s)["latency_s"].to_numpy(dtype=float)
    levels = np.asarray(probabilities, dtype=float)
    values = np.full(len(levels), np.nan)
    if len(latencies):
        reached = (1 - levels) * len(latencies) >= 1 - 1e-9
        values[reached] = np.quantile(latencies, levels[reached])
    return pd.DataFrame({"probability": levels, "latency_s": values})


def latency_cdf(
    requests: pd.DataFrame,
    *,
    start_s: float,
    end_s: float,
    probabilities: Sequence[float] = PROBABILITIES,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Latency by probability with a band over replications: candidate, condition, probability, latency_s, low, high, n.

    The same table draws the distribution (probability over latency) and the percentile curve (latency over probability).
    """
    per_run = of_each_run(
        requests, lambda rows: latency_cdf_of_run(rows, start_s=start_s, end_s=end_s, probabilities=probabilities)
    )
    return latency_cdf_bands(per_run, confidence=confidence)


def latency_cdf_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put bands around many `latency_cdf_of_run`.

    Where only some replications have an answer far enough out, there is none: the mean over the long ones
    alone would bend the curve.
    """
    groups = per_run.groupby(["candidate", "condition", "probability"], sort=False, observed=True)["latency_s"]
    found = interval_of(groups, confidence).reset_index().rename(columns={"mean": "latency_s"})
    found["low"] = found["low"].clip(lower=0.0)
    complete = found["n"] == found.groupby(["candidate", "condition"], observed=True)["n"].transform("max")
    found[["latency_s", "low", "high"]] = found[["latency_s", "low", "high"]].where(complete)
    return found[["candidate", "condition", "probability", "latency_s", "low", "high", "n"]]


def time_parts_of_run(requests: pd.DataFrame, *, start_s: float, end_s: float) -> pd.DataFrame:
    """Where the time of one replication's good answers went: group ("all", "slowest 1 %"), part, mean_s.

    The means of a group add up to its mean latency. The slowest 1 % are at least one request. NaN without good answers.
    """
    good = _good_answers(requests, start_s, end_s)
    slowest = good.nlargest(max(1, math.ceil(len(good) / 100)), "latency_s")
    rows = [
        (name, part, float(group[part].mean()) if len(group) else math.nan)
        for name, group in ((ALL, good), (SLOWEST, slowest))
        for part in PARTS
    ]
    return pd.DataFrame(rows, columns=["group", "part", "mean_s"])


def time_parts(requests: pd.DataFrame, *, start_s: float, end_s: float, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Where the time went, averaged over replications: candidate, condition, group, part, mean_s, low, high, n."""
    per_run = of_each_run(requests, lambda rows: time_parts_of_run(rows, start_s=start_s, end_s=end_s))
    return time_parts_bands(per_run, confidence=confidence)


def time_parts_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put intervals around many `time_parts_of_run`."""
    groups = per_run.groupby(["candidate", "condition", "group", "part"], sort=False, observed=True)["mean_s"]
    found = interval_of(groups, confidence).reset_index().rename(columns={"mean": "mean_s"})
    found["low"] = found["low"].clip(lower=0.0)
    return found[["candidate", "condition", "group", "part", "mean_s", "low", "high", "n"]]


def of_each_run(rows: pd.DataFrame, reduce: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """Apply a reduction to every replication of a table and stack the results, with the columns of `RUN` in front."""
    found = []
    for labels, group in rows.groupby(RUN, sort=False, observed=True):
        found.append(label_run(reduce(group), *labels))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=RUN)


def label_run(frame: pd.DataFrame, candidate: Any, condition: Any, replication: Any) -> pd.DataFrame:
    """The same table with candidate, condition and replication as its first columns."""
    labels = {"candidate": candidate, "condition": condition, "replication": replication}
    return frame.assign(**labels)[[*RUN, *frame.columns]]


def _good_answers(requests: pd.DataFrame, start_s: float, end_s: float) -> pd.DataFrame:
    inside = (requests["arrived_s"] >= start_s) & (requests["arrived_s"] < end_s)
    good = requests[inside & requests["outcome"].isin(GOOD_OUTCOMES)]
    return good.assign(latency_s=good["ended_s"] - good["arrived_s"])
