"""Which of many metrics people are shown, and results as notebooks show them."""

from __future__ import annotations

from typing import Final

import pandas as pd

from sim.analysis import words
from sim.analysis.intervals import headline
from sim.analysis.metrics import COSTS, effects_in, percentile_name
from sim.analysis.objectives import percentiles_of
from sim.cards import card
from sim.study.results import Results

_OF_PROTOCOLS: Final = ("wire_bytes_per_request", "wire_cpu_s", "new_connections_per_request")
_OF_EFFECTS: Final = ("completeness", "ack_p99_s", "effect_p50_s", "effect_p99_s")
#: Shown where they are not zero: what went wrong with effects.
_IF_ANY: Final = ("duplicates", "out_of_order", "dead", "expired", "dropped", "unfinished")


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
        *COSTS,
        "cross_zone",
        *_OF_PROTOCOLS,
        *_OF_EFFECTS,
    ]
    return [m for m in wanted if m in present] + [m for m in _IF_ANY if m in not_zero]


def results_card(results: Results) -> str:
    """Results: the verdict, and under each condition what is worth showing of each candidate, with intervals."""
    summary = results.summary
    effects, tables = effects_in(summary), []
    for condition in results.conditions:
        here = summary[(summary["condition"] == condition) & headline(summary, results.focus)]
        rows = []
        for metric in shown_metrics(results, here):
            cells = [_told(here, candidate, metric) for candidate in results.candidates]
            rows.append([words.metric_words(metric, effects) + words.of_whom(metric, results.focus), *cells])
        tables.append((f"under {condition}" if len(results.conditions) > 1 else "", ["", *results.candidates], rows))
    decided = results.verdict().reasons[0] if len(results.candidates) > 1 else ""
    return card(repr(results).strip("<>"), " ".join(filter(None, [results.question, decided])), tables)


def _told(rows: pd.DataFrame, candidate: str, metric: str) -> str:
    found = rows[(rows["candidate"] == candidate) & (rows["metric"] == metric)]
    if not len(found):
        return "–"
    return words.with_interval(metric, *(float(found[column].iloc[0]) for column in ("mean", "low", "high")))
