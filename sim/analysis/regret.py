"""Robustness: how much worse each candidate is than the best one of each condition, and who is least so in the worst case.

::

                     normal   crash   slow     worst case
    no retries            0     4.0    0.1            4.0
    three tries         0.2       0    2.5            2.5   <- minimax regret: never far from the best
    breaker             0.3     0.6    3.0            3.0

A choice by regret needs no probabilities of the conditions; an expected regret needs them (weights).

Source: L. J. Savage, "The theory of statistical decision", JASA 46 (1951).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis import words
from sim.analysis.intervals import CONFIDENCE, HIGHER, LOWER, headline, paired_differences, t_factor
from sim.analysis.metrics import Floats, is_ratio, more_is_better
from sim.errors import ScenarioError


@dataclass(frozen=True, eq=False)
class Regret:
    """How much worse candidates are than the best of each condition.

    `table` has one row per candidate and condition: candidate, condition, best (who that is), mean (of the metric), regret, low,
    high (95 %, paired by seed with the best; 0 for the best itself) and n. Regret is infinite where a candidate has no value in a
    replication: nobody was answered well, or it never recovered. `totals` has one row per candidate, the smallest worst case
    first: candidate, worst, worst_low, worst_high (the largest ends of t intervals that hold for all conditions at once),
    condition (in which it is worst), expected, expected_low, expected_high (t, of the weighted regrets of each seed).
    """

    metric: str
    table: pd.DataFrame
    totals: pd.DataFrame
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def minimax(self) -> str:
        """The candidate whose worst regret is the smallest."""
        return str(self.totals["candidate"].iloc[0])

    @property
    def alike(self) -> bool:
        """Whether all candidates have the same worst case and the same expected regret, so that regret names nobody."""
        return bool((self.totals[["worst", "expected"]].nunique() == 1).all())

    @property
    def sure(self) -> bool:
        """Whether its worst case lies below those of all others, intervals and all; never of one replication."""
        others = self.totals["worst_low"].iloc[1:]
        return bool((self.totals["worst_high"].iloc[0] < others).all())

    @property
    def least_expected(self) -> str:
        """The candidate whose expected regret is the smallest."""
        return str(self.totals.sort_values("expected", kind="stable")["candidate"].iloc[0])

    def sentences(self, chosen: str | None) -> list[str]:
        """What there is to know beside a verdict: nothing, where it names the same candidate.

        Args:
            chosen: by the verdict; None: nobody.
        """
        totals = {str(row["candidate"]): row for row in self.totals.to_dict("records")}
        name = self.minimax
        if self.alike:
            return []
        if chosen is not None and totals[chosen]["worst"] <= totals[name]["worst"]:
            return []
        doubt = "" if self.sure else " (with other seeds it might be another)"
        what = words.metric_words(self.metric)
        told = [f"By regret in {what} it is {name}{doubt}: {_at_worst(self.metric, totals[name])}."]
        if chosen is not None:
            told.append(f"The verdict's {chosen} is {_at_worst(self.metric, totals[chosen])}.")
        return told


def _at_worst(metric: str, row: Mapping[Any, Any]) -> str:
    if row["worst"] == 0:
        return "the best under every condition"
    return f"at worst {regret_in_words(metric, row['worst'])} from the best, under {row['condition']}"


def regret_in_words(metric: str, regret: float) -> str:
    """A regret with its unit.

    >>> regret_in_words("success", 0.0412), regret_in_words("p99_s", 0.02), regret_in_words("p99_s", float("inf"))
    ('4.12 percentage points', '20 ms', 'without bound')
    """
    if math.isinf(regret):
        return "without bound"
    return f"{100 * regret:.3g} percentage points" if is_ratio(metric) else words.amount(metric, regret)


def regret_with_interval(metric: str, regret: float, low: float, high: float) -> str:
    """A regret in a table, with its interval.

    >>> regret_with_interval("success", 0.0, 0.0, 0.0), regret_with_interval("success", 0.041, 0.03, 0.052)
    ('best', '+4.1 [+3.0, +5.2] pp')
    """
    if regret == low == high == 0:
        return "best"
    if math.isinf(regret):
        return "without bound"
    return words.difference(metric, regret, low, high).replace("percentage points", "pp")


def deciding_metric(per_replication: pd.DataFrame, focus: str | None, latency: str = "p99_s") -> str:
    """By what candidates differ first, as in the verdict: success if it differs detectably anywhere, else a latency."""
    rows = per_replication[(per_replication["metric"] == "success") & headline(per_replication, focus)]
    for name in rows["candidate"].unique()[:-1]:
        if paired_differences(rows, str(name))["verdict"].isin([LOWER, HIGHER]).any():
            return "success"
    return latency if (per_replication["metric"] == latency).any() else "success"


def regret(
    per_replication: pd.DataFrame,
    metric: str | None = None,
    *,
    focus: str | None = None,
    weights: Mapping[str, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Regret:
    """Regret of every candidate under every condition.

    Which one is best is taken from the means and counts as known. All intervals are Student's t of the regrets of each seed, so
    they are wide with few replications; those of the worst case hold for all conditions at once (Bonferroni).

    Args:
        per_replication: columns candidate, condition, replication, metric, of, value.
        metric: in what; absent: see `deciding_metric`.
        focus: the entry operation that counts; absent: all requests.
        weights: how likely the conditions are, for the expected regret; absent: all alike.
        confidence: coverage of the intervals.

    Raises:
        ScenarioError: no such metric, or weights that name no condition or are not positive.
    """
    by = metric or deciding_metric(per_replication, focus)
    mine = per_replication[(per_replication["metric"] == by) & headline(per_replication, focus)]
    if mine.empty:
        raise ScenarioError(f"--metric: no run has a {by}")
    names, conditions = ([str(name) for name in mine[column].unique()] for column in ("candidate", "condition"))
    chances = _chances(conditions, weights)
    values = _cube(mine, names, conditions)
    loss = np.where(np.isnan(values), np.inf, -values if more_is_better(by) else values)
    with np.errstate(invalid="ignore"):
        centre = _regrets(loss.mean(axis=2))
        table = _table(mine, names, conditions, values, centre, loss, confidence)
        totals = _totals(names, conditions, centre, _excess(loss), chances, confidence)
    return Regret(by, table, totals, dict(zip(conditions, map(float, chances), strict=True)))


def _chances(conditions: Sequence[str], weights: Mapping[str, float] | None) -> Floats:
    for name in weights or ():
        if name not in conditions:
            raise ScenarioError(f"--weight: no condition {name!r}; there are {', '.join(conditions)}")
    found = np.array([(weights or {}).get(name, 1.0) for name in conditions], dtype=np.float64)
    if not (found >= 0).all() or not found.sum() > 0:
        raise ScenarioError("--weight: weights are zero or more, and not all of them zero")
    shares: Floats = found / found.sum()
    return shares


def _cube(rows: pd.DataFrame, names: Sequence[str], conditions: Sequence[str]) -> Floats:
    """Values by candidate, condition and replication; NaN where there is none."""
    replications = sorted(rows["replication"].unique())
    wide = rows.astype({"candidate": str, "condition": str}).set_index(["candidate", "condition", "replication"])["value"]
    whole = wide.reindex(pd.MultiIndex.from_product([names, conditions, replications]))
    return whole.to_numpy(dtype=np.float64).reshape(len(names), len(conditions), len(replications))


def _regrets(loss: Floats) -> Floats:
    """Mean losses by candidate and condition, above the smallest of the condition."""
    best = loss.min(axis=0)
    found: Floats = np.where(np.isinf(loss), np.where(np.isinf(best), 0.0, np.inf), loss - np.where(np.isinf(best), 0.0, best))
    return found


def _table(
    rows: pd.DataFrame,
    names: Sequence[str],
    conditions: Sequence[str],
    values: Floats,
    centre: Floats,
    loss: Floats,
    confidence: float,
) -> pd.DataFrame:
    sign = -1.0 if more_is_better(str(rows["metric"].iloc[0])) else 1.0
    found = []
    for j, condition in enumerate(conditions):
        best = names[int(loss.mean(axis=2)[:, j].argmin())]
        paired = paired_differences(rows[rows["condition"] == condition], best, confidence=confidence)
        others = {str(row["candidate"]): row for row in paired.to_dict("records")}
        for i, name in enumerate(names):
            ends = [0.0, 0.0]
            if name != best:
                ends = sorted(sign * float(others[name][column]) for column in ("low", "high"))
            mean = float(np.nanmean(values[i, j])) if np.isfinite(values[i, j]).any() else math.nan
            ends = ends if np.isfinite(centre[i, j]) else [math.nan, math.nan]
            found.append((name, condition, best, mean, float(centre[i, j]), *ends, int(np.isfinite(values[i, j]).sum())))
    return pd.DataFrame(found, columns=["candidate", "condition", "best", "mean", "regret", "low", "high", "n"])


def _excess(loss: Floats) -> Floats:
    """Losses by candidate, condition and replication, above those of the condition's best under the same seed."""
    best = loss.mean(axis=2).argmin(axis=0)
    found: Floats = loss - loss[best, np.arange(loss.shape[1])]
    return found


def _ends(means: Floats, each: Floats, confidence: float) -> tuple[Floats, Floats]:
    """t intervals of means over the last axis; no regret is below 0, and what is infinite is surely so."""
    count = each.shape[-1]
    deviation = each.std(axis=-1, ddof=1) if count > 1 else np.full(means.shape, np.nan)
    half = t_factor(count, confidence) * deviation / math.sqrt(count)
    low, high = (np.where(np.isinf(means), means, end) for end in (np.maximum(means - half, 0.0), means + half))
    return low, high


def _totals(
    names: Sequence[str], conditions: Sequence[str], centre: Floats, excess: Floats, chances: Floats, confidence: float
) -> pd.DataFrame:
    jointly = 1 - (1 - confidence) / len(conditions)
    worst = [cells.max(axis=1) for cells in (centre, *_ends(centre, excess, jointly))]
    means = _weighable(centre, chances) @ chances
    expected = [means, *_ends(means, np.einsum("c,ncr->nr", chances, _weighable(excess, chances)), confidence)]
    found = [
        (name, *(float(one[i]) for one in worst), conditions[int(centre[i].argmax())], *(float(one[i]) for one in expected))
        for i, name in enumerate(names)
    ]
    columns = ["candidate", "worst", "worst_low", "worst_high", "condition", "expected", "expected_low", "expected_high"]
    return pd.DataFrame(found, columns=columns).sort_values("worst", kind="stable", ignore_index=True)


def _weighable(regrets: Floats, chances: Floats) -> Floats:
    """Regrets of which those under conditions that never come count nothing, also where they are infinite."""
    never = (chances == 0).reshape((1, -1) + (1,) * (regrets.ndim - 2))
    return np.where(never, 0.0, regrets)
