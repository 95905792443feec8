"""Numbers of the charts that a reader of the page may look closer at: as the page's script reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd


@dataclass(frozen=True)
class _Curve:
    """Which columns of which table a chart is of, and its axes: quantity and how numbers are written."""

    table: str
    x: str
    y: str
    low: str
    high: str
    across: tuple[str, str]
    up: tuple[str, str]
    log: bool = False


#: Charts with curves, by name. Numbers are written as seconds, percent, or plainly.
CURVES: Final[Mapping[str, _Curve]] = {
    "latency_percentiles": _Curve(
        "latency_cdf", "probability", "latency_s", "low", "high", ("percentile", "tail"), ("latency", "s"), log=True
    ),
    "success_over_time": _Curve(
        "over_time", "time_s", "success", "success_low", "success_high", ("time", "s"), ("answered well", "%")
    ),
    "goodput_over_time": _Curve(
        "over_time", "time_s", "goodput_rps", "goodput_low", "goodput_high", ("time", "s"), ("good answers per second", "")
    ),
    "attempts_over_time": _Curve(
        "attempts_over_time",
        "time_s",
        "attempts_rps",
        "attempts_low",
        "attempts_high",
        ("time", "s"),
        ("attempts per second", ""),
    ),
    "backlog_over_time": _Curve(
        "backlog_over_time", "time_s", "backlog", "backlog_low", "backlog_high", ("time", "s"), ("messages that wait", "")
    ),
}


def curve(name: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """One chart's numbers: a panel for each condition, a series for each candidate, points of x, y, low and high; NaN is null."""
    spec = CURVES[name]
    table = tables[spec.table]
    faults = tables.get("faults", pd.DataFrame(columns=["condition", "label", "start_s", "end_s"]))
    panels = []
    for condition, rows in table.groupby("condition", sort=False, observed=True):
        series = {
            str(candidate): [
                [_number(value) for value in point] for point in mine[[spec.x, spec.y, spec.low, spec.high]].to_numpy()
            ]
            for candidate, mine in rows.groupby("candidate", sort=False, observed=True)
        }
        bands = []
        if spec.x == "time_s":
            mine = faults[faults["condition"].astype(str) == str(condition)]
            bands = [[row.label, _number(row.start_s), _number(row.end_s)] for row in mine.itertuples()]
        panels.append({"name": str(condition), "series": series, "bands": bands})
    axes = {"x": dict(zip(("name", "unit"), spec.across, strict=True)), "y": dict(zip(("name", "unit"), spec.up, strict=True))}
    return {"panels": panels, "log": spec.log, **axes}


def _number(value: Any) -> float | None:
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
