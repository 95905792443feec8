"""The knee of a load-latency curve: from where more load costs more than it brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Knee:
    """The load at which load over latency is largest, and between which loads single replications have theirs."""

    load_rps: float
    low: float
    high: float
    #: Whether it lies at an end of what was simulated: then it may be farther.
    at_end: bool


def knee(points: pd.DataFrame, load: str, latency: str) -> Knee | None:
    """The knee of a curve: the load at which *power*, load over latency, is largest; None without two loads with a value.

    Below it latency grows by a smaller share than load does, above it by a larger one. In M/M/1 it is half of the capacity, for
    the mean and for every percentile::

        latency   |            .
                  |           .
                  |        .
                  | . . x  <- knee
                  +-------------- load

    It is a rule of thumb about efficiency; how much latency is acceptable is another question,
    for which there are objectives. It is only as fine as the loads that were simulated.

    Source: L. Kleinrock, "Power and deterministic rules of thumb for probabilistic problems in computer communications" (1979).

    Args:
        points: one row per load and replication.
        load: the column of loads, in requests per second.
        latency: the column of latencies, in seconds.

    >>> loads = pd.DataFrame({"load": [25.0, 50.0, 75.0], "replication": 0, "mean_s": [1 / 75, 1 / 50, 1 / 25]})
    >>> knee(loads, "load", "mean_s").load_rps
    50.0
    """
    wide = points.pivot_table(index=load, columns="replication", values=latency, aggfunc="mean").sort_index()
    wide = wide[wide.notna().all(axis=1) & (wide > 0).all(axis=1)]
    if len(wide) < 2:
        return None
    loads = wide.index.to_numpy(dtype=float)
    best = int(np.argmax(loads / wide.mean(axis=1).to_numpy(dtype=float)))
    each = loads[np.argmax(loads[:, None] / wide.to_numpy(dtype=float), axis=0)]
    return Knee(float(loads[best]), float(each.min()), float(each.max()), best in (0, len(loads) - 1))


def knees(points: pd.DataFrame, load: str, latency: str, by: Sequence[str] = ("candidate", "condition")) -> pd.DataFrame:
    """The `knee` of every curve of a sweep, those that were not seen as well: the columns of `by`, at, low, high, inside.

    Args:
        points: of a sweep, one row per point and replication.
        load: the column of loads, in requests per second.
        latency: the column of latencies, in seconds.
        by: the columns whose values make curves.
    """
    found = []
    for names, rows in points.groupby(list(by), sort=False, observed=True):
        curve = knee(rows, load, latency)
        if curve is not None:
            found.append((*map(str, names), curve.load_rps, curve.low, curve.high, not curve.at_end))
    return pd.DataFrame(found, columns=[*by, "at", "low", "high", "inside"])
