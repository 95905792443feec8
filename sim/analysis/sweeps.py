"""The numbers of a sweep: one row per point and replication, and means with intervals per point."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

from sim.analysis.intervals import CONFIDENCE, interval_of, possible

#: What tells the runs of a sweep apart, besides the settings between `LABELS` and `RUN_LABELS`.
LABELS: Final = ("point", "candidate", "condition")
RUN_LABELS: Final = ("replication", "seed", "scenario")
_COLUMN: Final = re.compile(r"(.+) \[(.+)\]")


def column_of(metric: str, of: str) -> str:
    """The column of a metric in a table of points.

    >>> column_of("p99_s", "all"), column_of("p99_s", "shop.buy")
    ('p99_s', 'p99_s [shop.buy]')
    """
    return metric if of == "all" else f"{metric} [{of}]"


def metric_of(column: str) -> tuple[str, str]:
    """What a column of metrics holds: (metric, of).

    >>> metric_of("p99_s [shop.buy]")
    ('p99_s', 'shop.buy')
    """
    found = _COLUMN.fullmatch(column)
    return (found[1], found[2]) if found else (column, "all")


def summarise_points(points: pd.DataFrame, settings: Sequence[str], *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Means over replications with Student t intervals.

    Columns: point, candidate, condition, the settings, metric, of, mean, low, high, n.
    What `summarise` says of intervals holds here. A metric that no replication of a point has a value of is NaN with n = 0.

    Args:
        points: one row per point, candidate, condition and replication: `LABELS`, the settings, `RUN_LABELS`, metrics.
        settings: names of the columns of settings.
        confidence: coverage of the intervals, each by itself.
    """
    labels = [*LABELS, *settings]
    metrics = [column for column in points.columns if column not in (*labels, *RUN_LABELS)]
    columns = [*labels, "metric", "of", "mean", "low", "high", "n"]
    if points.empty or not metrics:
        return pd.DataFrame(columns=columns)
    heads = points.drop_duplicates(list(LABELS))[labels].reset_index(drop=True)
    groups = points.groupby(list(LABELS), sort=False, observed=True)
    parts = []
    for number, column in enumerate(metrics):
        metric, of = metric_of(column)
        found = interval_of(groups[column], confidence).reset_index(drop=True)
        parts.append(pd.concat([heads, found], axis=1).assign(metric=metric, of=of, _order=number))
    whole = pd.concat(parts, ignore_index=True)
    whole = whole.assign(_place=list(range(len(heads))) * len(metrics))
    ordered = whole.sort_values(["_place", "_order"], kind="stable", ignore_index=True)
    return possible(ordered)[columns]
