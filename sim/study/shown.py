"""Which of many metrics people are shown."""

from __future__ import annotations

from typing import Final

import pandas as pd

from sim.analysis.metrics import percentile_name
from sim.analysis.objectives import percentiles_of
from sim.study.results import Results

_OF_PROTOCOLS: Final = ("wire_bytes_per_request", "wire_cpu_s", "new_connections_per_request", "first_message_s")
_OF_EFFECTS: Final = ("completeness", "ack_p99_s", "effect_p50_s", "effect_p99_s")
#: Shown where they are not zero: what went wrong with effects.
_IF_ANY: Final = ("duplicates", "out_of_order", "dead", "expired", "dropped", "unfinished")
_COSTS: Final = ("attempts_per_request", "busy_s_per_good")


def shown_metrics(results: Results, rows: pd.DataFrame) -> list[str]:
    """What of one condition's summary is worth showing, in order: success and times always, troubles where there are any."""
    slos = [slo for scenario in results.scenarios.values() for slo in scenario.slos]
    asked = [f"{percentile_name(percent)}_s" for percent in percentiles_of(slos)]
    times = sorted({"p50_s", "p90_s", "p99_s", "p99.9_s", *asked}, key=lambda name: float(name[1:-2]))
    present = set(rows["metric"])
    not_zero = set(rows.loc[rows["mean"] > 0, "metric"])
    shares = [m for m in rows["metric"].unique() if m.startswith("share_") and m != "share_ok" and m in not_zero]
    wanted = [
        "success",
        *shares,
        "goodput_rps",
        "mean_s",
        *times,
        "recovery_s",
        *_COSTS,
        "cross_zone",
        *_OF_PROTOCOLS,
        *_OF_EFFECTS,
    ]
    return [m for m in wanted if m in present] + [m for m in _IF_ANY if m in not_zero]
