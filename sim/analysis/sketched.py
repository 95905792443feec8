"""Numbers of requests that are not held together: of a replication without rows, or of rows that come piece by piece.

Counts, rates and means are exact, percentiles within `sim.sketch.RELATIVE_ERROR` of the sample's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.metrics import GOOD_OUTCOMES, PERCENTILES, Floats, Metric, percentile_name
from sim.records import OUTCOMES
from sim.sketch import BUCKETS, counts_of, quantiles


def sketched_metrics(
    outcomes: pd.DataFrame,
    entries: pd.DataFrame,
    sketches: pd.DataFrame,
    totals: pd.DataFrame,
    *,
    window_s: float,
    percentiles: Iterable[float] = (),
) -> pd.DataFrame:
    """The same table as `run_metrics` makes of rows: metric, of, value; `tries_per_call` is NaN, effects are not there.

    Args:
        outcomes: the table of `sim.records`, decoded.
        entries: the same.
        sketches: the same.
        totals: the same.
        window_s: length of the measured window.
        percentiles: further ones, in percent, beside `PERCENTILES`.
    """
    wanted = tuple(sorted({*PERCENTILES, *percentiles}))
    rows: list[Metric] = []
    for of in ("all", *sorted(outcomes["entry"].astype(str).unique())):
        mine = [table if of == "all" else table[table["entry"] == of] for table in (outcomes, entries, sketches)]
        numbers = _numbers(mine[0], float(mine[1]["attempts"].sum()), mine[2], window_s, wanted)
        rows += ((metric, of, value) for metric, value in numbers.items())
        rows.append(("tries_per_call", of, math.nan))
        if of == "all":
            good = outcomes.loc[outcomes["outcome"].isin(GOOD_OUTCOMES), "measured"].sum()
            rows.append(("busy_s_per_good", of, _ratio(float(totals["busy_worker_s"].sum()), int(good))))
    return pd.DataFrame(rows, columns=["metric", "of", "value"]).astype({"value": float})


class Pool:
    """Durations that come piece by piece: how many, mean, percentiles and the largest, in memory that does not grow.

    >>> pool = Pool()
    >>> pool.add(np.array([0.1, 0.3]))
    >>> pool.add(np.array([0.2]))
    >>> found = pool.numbers([50.0])
    >>> round(found["mean_s"], 3), found["max_s"]
    (0.2, 0.3)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        self._sum_s, self._largest_s = 0.0, math.nan

    def add(self, durations_s: Floats) -> None:
        """Count some more, in seconds, 0 or more."""
        if len(durations_s):
            self._counts += counts_of(durations_s)
            self._sum_s += float(durations_s.sum())
            self._largest_s = float(np.fmax(self._largest_s, durations_s.max()))

    def numbers(self, percentiles: Sequence[float]) -> dict[str, float]:
        """`n`, `mean_s`, the percentiles such as `p99_s`, `max_s`; NaN without any duration."""
        count = int(self._counts.sum())
        names = [f"{percentile_name(percent)}_s" for percent in percentiles]
        found = dict(zip(names, map(float, quantiles(self._counts, np.asarray(percentiles) / 100)), strict=True))
        return {"n": count, "mean_s": _ratio(self._sum_s, count), **found, "max_s": self._largest_s}


def good_latencies(
    requests: pd.DataFrame, *, start_s: float, end_s: float, by: Sequence[str] = ()
) -> Iterator[tuple[tuple[str, ...], Floats]]:
    """Latencies of the requests that arrived in [start_s, end_s) and were answered well, apart by the columns `by`."""
    measured = (requests["arrived_s"] >= start_s) & (requests["arrived_s"] < end_s)
    good = requests[measured & requests["outcome"].isin(GOOD_OUTCOMES)]
    groups: Iterable[tuple[Any, pd.DataFrame]] = good.groupby(list(by), sort=False, observed=True) if by else [((), good)]
    for key, rows in groups:
        yield tuple(map(str, key)), (rows["ended_s"] - rows["arrived_s"]).to_numpy(dtype=np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _numbers(
    outcomes: pd.DataFrame, attempts: float, sketches: pd.DataFrame, window_s: float, percentiles: tuple[float, ...]
) -> dict[str, float]:
    good = outcomes[outcomes["outcome"].isin(GOOD_OUTCOMES)]
    count, good_count = int(outcomes["measured"].sum()), int(good["measured"].sum())
    latencies = sketches[sketches["outcome"].isin(GOOD_OUTCOMES) & (sketches["part"] == "latency_s")]
    in_buckets = np.bincount(latencies["bucket"], weights=latencies["count"], minlength=BUCKETS).astype(np.int64)
    names = [f"{percentile_name(percent)}_s" for percent in percentiles]
    measured = outcomes.groupby(outcomes["outcome"].astype(str))["measured"].sum()
    return {
        "success": _ratio(good_count, count),
        "offered_rps": count / window_s,
        "throughput_rps": int(outcomes["ended"].sum()) / window_s,
        "goodput_rps": int(good["ended"].sum()) / window_s,
        "mean_s": _ratio(float(good["latency_s"].sum()), good_count),
        **dict(zip(names, map(float, quantiles(in_buckets, np.asarray(percentiles) / 100)), strict=True)),
        **{f"share_{name}": _ratio(int(measured.get(name, 0)), count) for name in OUTCOMES},
        "attempts_per_request": _ratio(attempts, count),
    }
