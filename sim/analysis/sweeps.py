"""The numbers of a sweep: one row per point and replication, and means with intervals per point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from sim.analysis.intervals import CONFIDENCE, interval_of, possible
from sim.errors import ScenarioError

#: What tells the runs of a sweep apart, besides the settings between `LABELS` and `RUN_LABELS`.
LABELS: Final = ("point", "candidate", "condition")
RUN_LABELS: Final = ("replication", "seed", "scenario")
_ROWS_AT_ONCE: Final = 100_000
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
    metrics = _metric_columns(points.columns, settings)
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


def summarise_file(
    file: str | Path, settings: Sequence[str], *, metrics: Sequence[str] = (), confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """What `summarise_points` makes of a `points.parquet` that need not fit into memory: it is read piece by piece.

    The rows of a point stand together, as a sweep writes them. What grows with the file is the result alone: one row per
    point and metric.

    Args:
        file: as a sweep writes it.
        settings: names of the columns of settings.
        metrics: only these columns (`p99_s`, `p99_s [shop.buy]`); absent: all.
        confidence: coverage of the intervals, each by itself.

    Raises:
        ScenarioError: there is no such column.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as source:
        known = _metric_columns(source.schema_arrow.names, settings)
        for name in metrics:
            if name not in known:
                raise ScenarioError(f"{file}: no metric {name!r} in it; it has {', '.join(known) or 'none'}")
        parts, rest = [], pd.DataFrame()
        for batch in source.iter_batches(_ROWS_AT_ONCE, columns=[*LABELS, *settings, *(metrics or known)]):
            read = batch.to_pandas()
            rows = pd.concat([rest, read], ignore_index=True) if len(rest) else read
            last = rows["point"] == rows["point"].iloc[-1]  # may go on in the next piece
            rest = rows[last]
            parts.append(summarise_points(rows[~last], settings, confidence=confidence))
        parts.append(summarise_points(rest, settings, confidence=confidence))
    some = [part for part in parts if len(part)]
    return pd.concat(some, ignore_index=True) if some else parts[-1]


def _metric_columns(columns: Iterable[str], settings: Sequence[str]) -> list[str]:
    return [column for column in columns if column not in (*LABELS, *settings, *RUN_LABELS)]
