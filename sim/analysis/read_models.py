"""How old the data is that a reader of a read model sees, and what happened for users who were told that it had not."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from sim.analysis.curves import RUN
from sim.analysis.metrics import GOOD_OUTCOMES, Floats

_COLUMNS: Final = ("updates", "never", "share_stale", "mean_s", "p99_s", "max_s")


def read_staleness(
    requests: pd.DataFrame, effects: pd.DataFrame, effect: str, *, start_s: float = 0.0, end_s: float = math.inf
) -> pd.DataFrame:
    """How old what a reader sees is, at a random moment in [start_s, end_s): a row per run.

    ::

        request answered well at a      effect done at d      the view lacks it in [a, d)
        at t the view lacks some        age = t - the smallest such a       nothing lacks: 0

        age   |      /|    /|
              |     / |   / |  /|
              |____/  |__/  |_/ |____

    A view is a list or a sum over everything, as an order history or a stock count; who reads a single entry sees an age only if
    that entry is the one that lacks. An effect that is there before the user has the answer is never missed: a synchronous write
    has age 0. Updates that never come are counted, and left out of the age, which would grow for ever.

    Columns: `updates` (well answered requests in the window that have this effect), `never` (those of them without it at the
    end), `share_stale` (of the time), `mean_s`, `p99_s`, `max_s` of the age over time; before them candidate, condition,
    replication where the tables have them. Exact, not sampled.

    Args:
        requests: the table of `sim.records`, of one or several replications, decoded: request, outcome, ended_s.
        effects: likewise: effect, request, done_s.
        effect: operation that brings the view up to date, "service.operation".
        start_s, end_s: the window, clock time; the end of the last effect where it is infinite.
    """
    labels = [name for name in RUN if name in requests]
    mine = effects.loc[effects["effect"].astype(str) == effect, [*labels, "request", "done_s"]]
    first = mine.groupby([*labels, "request"], observed=True, sort=False, as_index=False)["done_s"].min()
    good = requests.loc[requests["outcome"].isin(GOOD_OUTCOMES), [*labels, "request", "ended_s"]]
    updates = good.merge(first, on=[*labels, "request"])
    found = []
    for label, rows in updates.groupby(labels, observed=True, sort=False) if labels else [((), updates)]:
        inside = rows[(rows["ended_s"] >= start_s) & (rows["ended_s"] < end_s)]
        found.append((*label, len(inside), int(inside["done_s"].isna().sum()), *_ages(rows.dropna(), start_s, end_s)))
    return pd.DataFrame(found, columns=[*labels, *_COLUMNS])


def _ages(updates: pd.DataFrame, start_s: float, end_s: float) -> tuple[float, float, float, float]:
    """Share of the time with an age above zero, and its mean, 99th percentile and maximum over all of the time."""
    ordered = updates.sort_values("ended_s", kind="stable")
    answered, done = ordered["ended_s"].to_numpy(dtype=float), ordered["done_s"].to_numpy(dtype=float)
    if math.isinf(end_s):
        end_s = float(max(done.max(initial=start_s), answered.max(initial=start_s)))
    # From the first lacking one until it is there, then the next that still lacks: each is a straight line of the age.
    pieces, time_s = [], start_s
    for answered_s, done_s in zip(answered, done, strict=True):
        begins_s, ends_s = max(answered_s, time_s), min(done_s, end_s)
        if ends_s > begins_s:
            pieces.append((begins_s - answered_s, ends_s - answered_s))
            time_s = ends_s
    length_s = end_s - start_s
    if not pieces or length_s <= 0:
        return 0.0, 0.0, 0.0, 0.0
    low, high = np.array(pieces).T
    mean_s = float(((high**2 - low**2) / 2).sum() / length_s)
    return float((high - low).sum() / length_s), mean_s, _quantile(low, high, length_s, 0.99), float(high.max())


def _quantile(low: Floats, high: Floats, length_s: float, probability: float) -> float:
    """Of an age that is spread evenly over each [low, high), as long as they are, and zero for the rest of the time."""
    at = np.sort(np.concatenate([low, high]))
    steps = np.concatenate([np.ones_like(low), -np.ones_like(high)])[np.argsort(np.concatenate([low, high]), kind="stable")]
    slope = np.cumsum(steps)  # how many lines are at this age: the density, times the length
    below = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))]) + length_s - (high - low).sum()
    wanted = probability * length_s
    return float(np.interp(wanted, below, at)) if wanted > below[0] else 0.0


def done_though_failed(
    requests: pd.DataFrame, effects: pd.DataFrame, effect: str, *, undone_by: str | None = None
) -> pd.DataFrame:
    """Requests that failed for the user while the effect happened, as a payment of an order that "failed": a row per run.

    Columns: `failed` (requests with the effect on record, not answered well), `done` (those of them whose effect happened), and
    `requests` (all that have it on record); before them candidate, condition, replication where the tables have them.

    Args:
        requests: the table of `sim.records`, of one or several replications, decoded: request, outcome.
        effects: likewise: effect, request, done_s.
        effect: operation that was done, "service.operation".
        undone_by: operation that undoes it (a saga's compensation); a request counts as undone if its last one came after the
            first of the effect.
    """
    labels = [name for name in RUN if name in requests]
    mine = effects.loc[effects["effect"].astype(str) == effect, [*labels, "request", "done_s"]]
    first = mine.groupby([*labels, "request"], observed=True, sort=False, as_index=False)["done_s"].min()
    if undone_by is not None:
        undo = effects.loc[effects["effect"].astype(str) == undone_by, [*labels, "request", "done_s"]]
        last = undo.groupby([*labels, "request"], observed=True, sort=False)["done_s"].max().rename("undone_s").reset_index()
        first = first.merge(last, on=[*labels, "request"], how="left")
        first["done_s"] = first["done_s"].mask(first["undone_s"] >= first["done_s"])
    told = requests[[*labels, "request", "outcome"]].merge(first, on=[*labels, "request"])
    told = told.assign(failed=~told["outcome"].isin(GOOD_OUTCOMES))
    told = told.assign(done=told["failed"] & told["done_s"].notna())
    if not labels:
        return pd.DataFrame(
            [(int(told["failed"].sum()), int(told["done"].sum()), len(told))], columns=["failed", "done", "requests"]
        )
    groups = told.groupby(labels, observed=True, sort=False)
    return groups.agg(failed=("failed", "sum"), done=("done", "sum"), requests=("request", "size")).reset_index()
