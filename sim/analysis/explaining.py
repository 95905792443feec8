"""Slow requests against typical ones: where the difference comes from, as a table and in words."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from sim.analysis.critical import BACKOFF, HANDSHAKE, LOST, NETWORK, QUEUE, SERVICE, time_spent
from sim.analysis.intervals import CONFIDENCE, interval_of
from sim.analysis.metrics import GOOD_OUTCOMES
from sim.analysis.words import listing
from sim.errors import ScenarioError
from sim.units import format_duration

SLOW: Final = "slow"
TYPICAL: Final = "typical"
FAILED: Final = "failed"
#: Typical is between these percentiles of the good answers.
TYPICAL_BETWEEN: Final = (0.25, 0.75)
#: More requests of a group and replication than this are not looked at: evenly spaced ones stand for all.
MOST_REQUESTS: Final = 2000
#: Sums of times that differ by less than this share of them are the same.
_ROUNDING: Final = 1e-9
#: A difference is divided into shares while it is at least this much of all that took longer.
_NOT_CANCELLED: Final = 0.9
#: A place is told by itself when its difference is at least this share of the whole time.
_TOLD_ALONE: Final = 0.1
_KEYS: Final = ["where", "part", "retry"]
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
#: What a part is called in a sentence, around where it is.
_PHRASES: Final = {
    QUEUE: "waiting for a worker of {}, or a connection or batch to it",
    SERVICE: "work of {}",
    NETWORK: "the network at {}",
    HANDSHAKE: "handshakes at {}",
    BACKOFF: "pauses before retries at {}",
    LOST: "waiting for answers of {} that never came",
}


def level_of(at: str) -> float | None:
    """The probability that a percentile's name says, or None for `failed`.

    >>> level_of("p99"), level_of("p99.9"), level_of("failed")
    (0.99, 0.999, None)

    Raises:
        ScenarioError: it is neither.
    """
    if at == FAILED:
        return None
    found = _PERCENTILE.fullmatch(at)
    if found is None or float(found[1]) <= 0:
        raise ScenarioError(f"at: {at!r} is no percentile; write p50, p99, p99.9, or failed for requests that got no good answer")
    return round(float(found[1]) / 100, 12)


def slow_and_typical(requests: pd.DataFrame, at: str, *, start_s: float, end_s: float) -> dict[str, pd.DataFrame]:
    """Choose the requests of one run to be explained: those at a percentile and beyond (or failed ones), and typical ones.

    Typical are good answers whose latency lies between the quartiles. Slow is at least one request where there are any. Both
    are cut to `MOST_REQUESTS`, evenly spaced by latency.

    Args:
        requests: rows of one replication, decoded.
        at: p99, p99.9, …, or failed.
        start_s: where the measured window begins, clock time of arrival.
        end_s: where it ends.

    Raises:
        ScenarioError: `at` is no percentile.
    """
    level = level_of(at)
    inside = by_latency(requests, start_s=start_s, end_s=end_s)
    is_good = inside["outcome"].isin(GOOD_OUTCOMES).to_numpy(dtype=bool)
    good = inside[is_good]
    first, last = (math.floor(share * len(good)) for share in TYPICAL_BETWEEN)
    typical = good.iloc[first : max(last, first + 1)]
    if level is None:
        slow = inside[~is_good]
    else:
        slow = good.iloc[len(good) - math.ceil((1 - level) * len(good) - 1e-9) if len(good) else 0 :]
    return {SLOW: _spaced(slow), TYPICAL: _spaced(typical)}


def by_latency(requests: pd.DataFrame, *, start_s: float, end_s: float) -> pd.DataFrame:
    """The requests that arrived in [start_s, end_s) and have ended, the fastest first."""
    inside = requests[(requests["arrived_s"] >= start_s) & (requests["arrived_s"] < end_s) & requests["ended_s"].notna()]
    return inside.assign(latency_s=inside["ended_s"] - inside["arrived_s"]).sort_values(["latency_s", "request"])


def _spaced(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= MOST_REQUESTS:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, MOST_REQUESTS).round().astype(int)]


def explained_of_run(
    requests: pd.DataFrame, attempts: pd.DataFrame, changes: pd.DataFrame | None, at: str, *, start_s: float, end_s: float
) -> pd.DataFrame:
    """Mean seconds of slow and of typical requests of one run by where, part and retry: group, where, part, retry, mean_s.

    The seconds of a group add up to its mean latency. A group without requests has no rows.
    """
    found = []
    for group, chosen in slow_and_typical(requests, at, start_s=start_s, end_s=end_s).items():
        spent = time_spent(chosen, attempts, changes)
        sums = spent.groupby(_KEYS, sort=False)["seconds"].sum() / max(len(chosen), 1)
        found.append(sums.reset_index().rename(columns={"seconds": "mean_s"}).assign(group=group))
    return pd.concat(found, ignore_index=True)[["group", *_KEYS, "mean_s"]]


def explained(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Means over replications of many `explained_of_run`: candidate, condition, group, where, part, retry, mean_s, low, high, n.

    What a replication does not have took no time there. Replications without any request of a group are left out of it.
    Rows are in order of how much more slow requests spent there.
    """
    keys = ["candidate", "condition", "group", *_KEYS]
    if per_run.empty:
        return pd.DataFrame(columns=[*keys, "mean_s", "low", "high", "n"])
    frames = []
    for (candidate, condition, group), rows in per_run.groupby(keys[:3], sort=False, observed=True):
        wide = rows.pivot_table(index="replication", columns=_KEYS, values="mean_s", aggfunc="sum", fill_value=0.0)
        long = cast("pd.Series[float]", wide.stack(_KEYS, future_stack=True)).rename("mean_s").reset_index()
        frames.append(long.assign(candidate=str(candidate), condition=str(condition), group=str(group)))
    whole = pd.concat(frames, ignore_index=True)
    found = interval_of(whole.groupby(keys, sort=False, observed=True)["mean_s"], confidence).reset_index()
    found["low"] = found["low"].clip(lower=0.0)
    return found.rename(columns={"mean": "mean_s"})[[*keys, "mean_s", "low", "high", "n"]]


def against_typical(found: pd.DataFrame) -> pd.DataFrame:
    """Slow beside typical: candidate, condition, where, part, slow_s, typical_s, more_s, share; the largest difference first.

    `share` is that of the whole difference, of which shares add up to 1. It is NaN where there is none to divide: slow ones took
    no longer, or what took longer and what took less time nearly cancel. Retries are not told apart here (`retries`).
    """
    index = ["candidate", "condition", "where", "part"]
    table = _side_by_side(found, index)
    table["more_s"] = _beyond_rounding(table["slow_s"] - table["typical_s"], table["slow_s"] + table["typical_s"])
    sums = table.assign(both_s=table["slow_s"] + table["typical_s"]).groupby(["candidate", "condition"], observed=True)
    whole = _beyond_rounding(sums["more_s"].transform("sum"), sums["both_s"].transform("sum"))
    longer = table["more_s"].clip(lower=0.0).groupby([table["candidate"], table["condition"]], observed=True).transform("sum")
    divisible = (whole > 0) & (whole >= _NOT_CANCELLED * longer)
    table["share"] = np.where(divisible, table["more_s"] / whole.where(divisible, 1.0), np.nan)
    table = table.sort_values(["candidate", "condition", "more_s"], ascending=[True, True, False], kind="stable")
    return table[[*index, "slow_s", "typical_s", "more_s", "share"]].reset_index(drop=True)


def _beyond_rounding(difference: pd.Series[float], of: pd.Series[float]) -> pd.Series[float]:
    """Differences of sums, without what only their rounding makes."""
    return difference.where(difference.abs() > _ROUNDING * of, 0.0)


def retries(found: pd.DataFrame) -> pd.DataFrame:
    """What retries cost, by edge: candidate, condition, retry, slow_s, typical_s: failed tries and the pauses after them."""
    index = ["candidate", "condition", "retry"]
    table = _side_by_side(found[found["retry"] != ""], index)
    return table.sort_values("slow_s", ascending=False, kind="stable")[[*index, "slow_s", "typical_s"]].reset_index(drop=True)


def _side_by_side(found: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """The seconds of both groups in two columns, slow_s and typical_s, summed by the columns of the index; nothing is 0."""
    wide = found.pivot_table(index=index, columns="group", values="mean_s", aggfunc="sum", observed=True).fillna(0.0)
    for group in (SLOW, TYPICAL):
        if group not in wide:
            wide[group] = 0.0
    return wide.reset_index().rename(columns={SLOW: "slow_s", TYPICAL: "typical_s"})


def phrase(where: str, part: str) -> str:
    """A part and its place in words; the caller's own limits queue on an edge.

    >>> phrase("payment", "queue_s"), phrase("shop -> payment", "queue_s")
    ('waiting for a worker of payment, or a connection or batch to it', 'waiting for a place at shop -> payment')
    """
    if part == QUEUE and " -> " in where:
        return f"waiting for a place at {where}"
    return _PHRASES[part].format(where)


def outcomes_of_failed(requests: pd.DataFrame, *, start_s: float, end_s: float) -> pd.DataFrame:
    """How the requests of one run ended that got no good answer: outcome, count."""
    inside = by_latency(requests, start_s=start_s, end_s=end_s)
    failed = inside.loc[~inside["outcome"].isin(GOOD_OUTCOMES), "outcome"].astype(str)
    return failed.value_counts().rename_axis("outcome").reset_index(name="count")


def in_words(
    found: pd.DataFrame, at: str, *, names: Collection[str] = (), failed: Mapping[str, float] | None = None
) -> list[str]:
    """What an explanation comes to, in sentences, for one candidate under one condition.

    Args:
        found: `explained`, of one candidate and condition.
        at: what the slow requests are: p99, …, or failed.
        names: of candidate and condition, to be said first.
        failed: how the failed ones ended, the shares by outcome.
    """
    title = f"{', '.join(names)}: " if names else ""
    table = against_typical(found)
    slow_s, typical_s = float(table["slow_s"].sum()), float(table["typical_s"].sum())
    groups = set(found["group"].astype(str))
    who = "failed requests" if at == FAILED else f"requests at {at} and beyond"
    if SLOW not in groups:
        return [f"{title}there are no {who}."]
    sentences = [f"{title}{who} took {format_duration(slow_s)} on average, typical ones {_typical(groups, typical_s)}."]
    if failed:
        ends = sorted(failed.items(), key=lambda item: -item[1])
        sentences.append(f"They ended as {', '.join(f'{name} ({percent(share)})' for name, share in ends)}.")
    if slow_s - typical_s > 0.02 * max(slow_s, 1e-12) and table["share"].notna().all():
        sentences.append(f"Of the {format_duration(slow_s - typical_s)} more, {_largest(table)}.")
    else:
        sentences.append(_one_by_one(table, max(slow_s, typical_s)))
    for row in retries(found).to_dict("records"):
        share = row["slow_s"] / slow_s if slow_s else 0.0
        if share >= 0.1:
            sentences.append(
                f"Tries of {row['retry']} that failed, and the pauses after them, are {percent(share)} of their time "
                f"({format_duration(row['slow_s'])}, against {format_duration(row['typical_s'])})."
            )
    return sentences


def _typical(groups: Collection[str], typical_s: float) -> str:
    return format_duration(typical_s) if TYPICAL in groups else "do not exist"


def _largest(table: pd.DataFrame) -> str:
    """The places that make up four fifths of the difference, at most four."""
    told: list[str] = []
    covered = 0.0
    for row in table.to_dict("records"):
        if covered >= 0.8 or len(told) == 4 or row["share"] < 0.03:
            break
        covered += row["share"]
        told.append(f"{percent(row['share'])} is {_with_numbers(row)}")
    return ", ".join(told[:-1]) + (" and " if len(told) > 1 else "") + told[-1] if told else "no place stands out"


def _one_by_one(table: pd.DataFrame, whole_s: float) -> str:
    """Where there was more to spend and where less, of a difference that has no shares; at most four places."""
    far = table[(table["more_s"].abs() >= _TOLD_ALONE * whole_s) & (table["more_s"] != 0)]
    far = far.sort_values("more_s", key=abs, ascending=False, kind="stable").head(4)
    if far.empty:
        return "They spent their time as typical ones do."
    told = [f"{'more' if row['more_s'] > 0 else 'less'} on {_with_numbers(row)}" for row in far.to_dict("records")]
    return f"They spent {listing(told)}."


def _with_numbers(row: dict[Any, Any]) -> str:
    numbers = f"{format_duration(row['slow_s'])} against {format_duration(row['typical_s'])}"
    return f"{phrase(str(row['where']), str(row['part']))} ({numbers})"


def percent(share: float) -> str:
    """A share in whole per cent.

    >>> percent(0.126), percent(-0.001), percent(float("nan"))
    ('13 %', '0 %', '–')
    """
    return "–" if math.isnan(share) else f"{round(100 * share)} %"
