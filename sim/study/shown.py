"""Which of many metrics people are shown, and results as notebooks show them."""

from __future__ import annotations

from typing import Final

import pandas as pd

from sim.analysis import words
from sim.analysis.intervals import each_effect
from sim.analysis.metrics import COSTS, effects_in, is_of_effects, percentile_name
from sim.analysis.objectives import percentiles_of
from sim.cards import card
from sim.study.results import Results

_OF_PROTOCOLS: Final = ("wire_bytes_per_request", "wire_cpu_s", "new_connections_per_request", "first_message_s")
_OF_EFFECTS: Final = ("completeness", "ack_p99_s", "effect_p50_s", "effect_p99_s", "effect_recovery_s")
#: Shown where they are not zero: what went wrong with effects, or was put right.
_IF_ANY: Final = (
    "done_though_failed", "duplicates", "discarded", "out_of_order", "dead", "expired", "dropped", "unfinished", "compensations",
)  # fmt: skip


def shown_numbers(results: Results, condition: str) -> list[tuple[str, pd.DataFrame]]:
    """What of one condition's summary is worth showing, in order, each with its name and the rows of all candidates.

    Success and times always, troubles where there are any; effects one after the other, for a mixture of them is nobody's.
    """
    summary = results.summary
    here = summary[(summary["condition"] == condition) & each_effect(summary, results.focus)]
    of_effects = here["metric"].map(is_of_effects).astype(bool)
    plain = here[~of_effects]
    shown = [
        (words.metric_words(metric) + words.of_whom(metric, results.focus), plain[plain["metric"] == metric])
        for metric in _of_requests(results, plain)
    ]
    for effect in effects_in(here):
        mine = here[of_effects & (here["of"] == effect)]
        not_zero = set(mine.loc[mine["mean"] > 0, "metric"])
        for metric in [*(m for m in _OF_EFFECTS if (mine["metric"] == m).any()), *(m for m in _IF_ANY if m in not_zero)]:
            shown.append((words.metric_words(metric, effect), mine[mine["metric"] == metric]))
    return shown


def _of_requests(results: Results, rows: pd.DataFrame) -> list[str]:
    slos = [slo for scenario in results.scenarios.values() for slo in scenario.slos]
    asked = [f"{percentile_name(percent)}_s" for percent in percentiles_of(slos)]
    times = sorted({"p50_s", "p90_s", "p99_s", "p99.9_s", *asked}, key=lambda name: float(name[1:-2]))
    present = set(rows["metric"])
    not_zero = set(rows.loc[rows["mean"] > 0, "metric"])
    shares = [m for m in rows["metric"].unique() if m.startswith("share_") and m != "share_ok" and m in not_zero]
    late = [m for m in ("late_replies",) if m in not_zero]
    wanted = ["success", *shares, *late, "goodput_rps", "mean_s", *times, "recovery_s", *COSTS, "cross_zone", *_OF_PROTOCOLS]
    return [m for m in wanted if m in present]


def results_card(results: Results) -> str:
    """Results: the verdict, and under each condition what is worth showing of each candidate, with intervals."""
    tables = []
    for condition in results.conditions:
        rows = [
            [label, *(_told(found, candidate) for candidate in results.candidates)]
            for label, found in shown_numbers(results, condition)
        ]
        tables.append((f"under {condition}" if len(results.conditions) > 1 else "", ["", *results.candidates], rows))
    decided = results.verdict().reasons[0] if len(results.candidates) > 1 else ""
    return card(repr(results).strip("<>"), " ".join(filter(None, [results.question, decided])), tables)


def _told(rows: pd.DataFrame, candidate: str) -> str:
    found = rows[rows["candidate"] == candidate]
    if not len(found):
        return "–"
    row = found.iloc[0]
    return words.with_interval(str(row["metric"]), *(float(row[column]) for column in ("mean", "low", "high")))
