"""The numbers of one replication whose requests have no rows: from counts, sums and sketches.

Counts, rates and means are exact, percentiles within `sim.sketch.RELATIVE_ERROR` of the sample's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sim.analysis.metrics import GOOD_OUTCOMES, PERCENTILES, Metric, percentile_name
from sim.records import OUTCOMES
from sim.sketch import BUCKETS, quantiles


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
