"""Service level objectives against measured intervals: pass, fail, or not yet known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import pandas as pd

from sim.analysis.metrics import is_ratio, percentile_name

PASS: Final = "pass"
FAIL: Final = "fail"
UNCERTAIN: Final = "uncertain"
#: The better the verdict, the lower.
RANK: Final = {PASS: 0, UNCERTAIN: 1, FAIL: 2}


class Objective(Protocol):
    """The plain fields of an objective; `sim.scenario.slo.Slo` has them."""

    @property
    def text(self) -> str:
        """The sentence it was written as."""

    @property
    def effect(self) -> bool:
        """Whether it speaks of effects."""

    @property
    def metric(self) -> str:
        """`success`, `goodput`, `completeness`, `mean` or `pNN`."""

    @property
    def of(self) -> str | None:
        """An operation, or None for all."""

    @property
    def sign(self) -> str:
        """One of <, <=, >, >=."""

    @property
    def bound(self) -> float:
        """In base units."""

    def met(self, value: float) -> bool:
        """Whether a value meets it."""


#: The same objectives for all, or those of each (candidate, condition).
Objectives = Sequence[Objective] | Mapping[tuple[str, str], Sequence[Objective]]


def metric_of(objective: Objective) -> str:
    """The name that an objective's metric has in the tables.

    >>> from types import SimpleNamespace
    >>> metric_of(SimpleNamespace(effect=True, metric="p99.50"))
    'effect_p99.5_s'
    """
    name = objective.metric
    if name in ("success", "completeness"):
        return name
    if name == "goodput":
        return "goodput_rps"
    word = name if name == "mean" else percentile_name(float(name[1:]))
    return f"{'effect_' if objective.effect else ''}{word}_s"


def percentiles_of(objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The percentiles that objectives speak of, in percent, to be measured.

    >>> from types import SimpleNamespace
    >>> percentiles_of([SimpleNamespace(metric="p95"), SimpleNamespace(metric="success")])
    (95.0,)
    """
    names = {objective.metric for objective in objectives}
    return tuple(sorted({float(name[1:]) for name in names if name[0] == "p"}))


def slo_verdicts(summary: pd.DataFrame, objectives: Objectives) -> pd.DataFrame:
    """Judge every objective for every candidate under every condition.

    *pass* or *fail* when the whole 95 % interval lies on one side of the bound; *uncertain* when the bound lies inside
    it, when one replication gives no interval, or when some replications had no value at all (no good answer, so no
    latency) and the others would pass. Without any value it is a *fail*: who answers nobody meets no objective.

    Args:
        summary: from `summarise`.
        objectives: one sequence for all, or a mapping from (candidate, condition) to its own.

    Returns:
        candidate, condition, slo (the sentence), metric, of, sign, bound, value, low, high, verdict.
    """
    rows = []
    for labels, group in summary.groupby(["candidate", "condition"], sort=False, observed=True):
        pair = (str(labels[0]), str(labels[1]))
        mine = objectives.get(pair, ()) if isinstance(objectives, Mapping) else objectives
        # Rates have a value in every replication, so the largest n is the number of replications.
        replications = int(group["n"].max())
        rows += [(*pair, *_judge(objective, group, replications)) for objective in mine]
    columns = ["candidate", "condition", "slo", "metric", "of", "sign", "bound", "value", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def margins(judged: pd.DataFrame) -> pd.DataFrame:
    """How far objectives are from being met or missed, the nearest first.

    ::

        p99 <= 300 ms, measured 240 ms      margin 20 %: so much of the bound is left
        success >= 99 %, measured 98.5 %    margin -50 %: of the 1 % that may fail it is half as much too much

    Columns of `slo_verdicts`, and margin (a share of the bound; of ratios a share of what may be missing; below zero: missed;
    NaN: no value) and in_half_widths (the margin in half widths of the measured interval; below 1: chance may have decided).

    Args:
        judged: as `slo_verdicts` makes it.
    """
    ratio = judged["metric"].map(is_ratio).to_numpy(dtype=bool)
    above = judged["sign"].str.startswith(">").to_numpy(dtype=bool)
    room = np.where(above, judged["value"] - judged["bound"], judged["bound"] - judged["value"])
    whole = np.where(ratio, 1 - judged["bound"], judged["bound"]).astype(float)
    half = ((judged["high"] - judged["low"]) / 2).to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = judged.assign(margin=room / np.where(whole > 0, whole, np.nan), in_half_widths=np.abs(room) / half)
    found["in_half_widths"] = found["in_half_widths"].where(np.isfinite(found["in_half_widths"]))
    return found.sort_values("margin", key=abs, kind="stable", ignore_index=True)


def _judge(objective: Objective, summary: pd.DataFrame, replications: int) -> tuple[object, ...]:
    metric, of = metric_of(objective), objective.of or "all"
    found = summary[(summary["metric"] == metric) & (summary["of"] == of)]
    value, low, high, n = math.nan, math.nan, math.nan, 0
    if len(found):
        value, low, high = (float(found[column].iloc[0]) for column in ("mean", "low", "high"))
        n = int(found["n"].iloc[0])
    verdict = _verdict(objective, value, low, high, complete=n == replications)
    return objective.text, metric, of, objective.sign, objective.bound, value, low, high, verdict


def _verdict(objective: Objective, value: float, low: float, high: float, *, complete: bool) -> str:
    if math.isnan(value):
        return FAIL
    if math.isnan(low) or math.isnan(high):
        return UNCERTAIN
    at_low, at_high = (objective.met(_onto(end, objective.bound)) for end in (low, high))
    if at_low != at_high:
        return UNCERTAIN
    if not at_low:
        return FAIL
    return PASS if complete else UNCERTAIN


def _onto(value: float, bound: float) -> float:
    # A mean over replications carries rounding dust, which must not decide: 0.3 + 0.6 is less than 0.9.
    return bound if bool(np.isclose(value, bound, rtol=1e-12, atol=0.0)) else value
