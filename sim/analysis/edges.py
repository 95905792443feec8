"""Who calls whom, how often, how often again, and how often in vain: one row per edge, from the rows of attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from sim.analysis.curves import of_each_run
from sim.analysis.intervals import CONFIDENCE, interval_of
from sim.analysis.messages import times_done
from sim.analysis.metrics import GOOD_OUTCOMES

_NUMBERS: Final = ("attempts_rps", "retries_rps", "failed")
#: The last delivery of these was not in vain, even if no effect came of it, or may still come to something.
_NOT_IN_VAIN: Final = ("duplicate", "in_flight", "failed")
_EDGE: Final = ["candidate", "condition", "caller", "target"]


def edges_of_run(attempts: pd.DataFrame, *, start_s: float, end_s: float) -> pd.DataFrame:
    """Each edge of one replication: caller, target, attempts_rps, retries_rps, failed.

    Attempts that began in the window, per second; those of them that were not the first try; and the share that did not end
    well (an attempt that was called off has no end, and is none of them).

    Args:
        attempts: one replication, decoded; caller, target, number, started_s and outcome are read.
        start_s: where the window begins, clock time.
        end_s: where it ends.

    >>> rows = pd.DataFrame({"caller": ["shop"] * 3, "target": ["bank.pay"] * 3, "number": [1, 2, 1],
    ...                      "started_s": [0.5, 0.7, 1.5], "outcome": ["error", "ok", "ok"]})
    >>> edges_of_run(rows, start_s=0, end_s=2).round(3).to_dict("records")
    [{'caller': 'shop', 'target': 'bank.pay', 'attempts_rps': 1.5, 'retries_rps': 0.5, 'failed': 0.333}]
    """
    inside = attempts[(attempts["started_s"] >= start_s) & (attempts["started_s"] < end_s)]
    ended_badly = ~inside["outcome"].isin((*GOOD_OUTCOMES, "in_flight"))
    rows = pd.DataFrame(
        {
            "caller": inside["caller"].astype(str),
            "target": inside["target"].astype(str),
            "attempts_rps": 1.0 / (end_s - start_s),
            "retries_rps": (inside["number"] > 1) / (end_s - start_s),
            "failed": ended_badly.astype(float),
        }
    )
    groups = rows.groupby(["caller", "target"], sort=False)
    found = groups[["attempts_rps", "retries_rps"]].sum().assign(failed=groups["failed"].mean())
    return found.reset_index()


def deliveries_of_run(effects: pd.DataFrame, *, start_s: float, end_s: float) -> pd.DataFrame:
    """The same of what queues and groups of logs hand to their consumers: deliveries of the messages of requests that arrived in
    the window, redeliveries, and the share of all deliveries by which nothing was done.

    Args:
        effects: one replication, decoded; effect, queue, arrived_s, deliveries, times_done and fate are read.
        start_s: where the window begins, clock time.
        end_s: where it ends.

    >>> rows = pd.DataFrame({"effect": ["mail.send"] * 2, "queue": ["mails"] * 2, "arrived_s": [0.5, 1.0], "deliveries": [3, 1],
    ...                      "times_done": [1, 1], "fate": ["done", "done"]})
    >>> deliveries_of_run(rows, start_s=0, end_s=2).to_dict("records")
    [{'caller': 'mails', 'target': 'mail.send', 'attempts_rps': 2.0, 'retries_rps': 1.0, 'failed': 0.5}]
    """
    inside = effects[(effects["arrived_s"] >= start_s) & (effects["arrived_s"] < end_s) & (effects["deliveries"] > 0)]
    inside = inside[inside["effect"].notna() & inside["queue"].notna()]
    useful = times_done(inside).clip(lower=inside["fate"].astype(str).isin(_NOT_IN_VAIN).astype(int))
    rows = pd.DataFrame(
        {
            "caller": inside["queue"].astype(str),
            "target": inside["effect"].astype(str),
            "deliveries": inside["deliveries"],
            "again": inside["deliveries"] - 1,
            "in_vain": (inside["deliveries"] - useful).clip(lower=0),
        }
    )
    sums = rows.groupby(["caller", "target"], sort=False)[["deliveries", "again", "in_vain"]].sum()
    rates = sums[["deliveries", "again"]] / (end_s - start_s)
    found = rates.set_axis(["attempts_rps", "retries_rps"], axis=1).assign(failed=sums["in_vain"] / sums["deliveries"])
    return found.reset_index()


def edges(attempts: pd.DataFrame, *, start_s: float, end_s: float, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Each edge, with means over replications, told apart by candidate, condition and replication.

    Returns candidate, condition, caller, target, attempts_rps, retries_rps, failed, each with NAME_low and NAME_high.
    """
    return edge_bands(of_each_run(attempts, lambda rows: edges_of_run(rows, start_s=start_s, end_s=end_s)), confidence=confidence)


def edge_bands(per_run: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Put intervals around many `edges_of_run`."""
    groups = per_run.groupby(_EDGE, sort=False, observed=True)
    columns: dict[str, pd.Series[float]] = {}
    for name in _NUMBERS:
        found = interval_of(groups[name], confidence)
        columns |= {name: found["mean"], f"{name}_low": found["low"].clip(lower=0.0), f"{name}_high": found["high"]}
    return pd.DataFrame(columns).reset_index()


def layers(edges: Iterable[tuple[str, str]], first: str) -> dict[str, int]:
    """How far each node is from the first one, at most; circles are cut where they close.

    >>> layers([("client", "shop"), ("shop", "bank"), ("client", "bank"), ("bank", "shop")], "client")
    {'client': 0, 'shop': 1, 'bank': 2}
    """
    below: dict[str, list[str]] = {}
    for one, other in edges:
        below.setdefault(one, []).append(other)
    names = [first, *below, *(name for others in below.values() for name in others)]
    depth = dict.fromkeys(names, 0)

    def walk(name: str, at: int, trail: tuple[str, ...]) -> None:
        depth[name] = max(depth[name], at)
        for other in below.get(name, ()):
            if other not in trail and depth[other] < at + 1:
                walk(other, at + 1, (*trail, other))

    walk(first, 0, (first,))
    return depth


#: A place in a column of a drawing: a node, or (True) where the calls of a node pass by on their way to farther columns.
Slot = tuple[str, bool]


def arranged(edges: Iterable[tuple[str, str]], first: str) -> list[list[Slot]]:
    """Nodes in columns by `layers`, each as near as can be to who calls it, with room for calls that pass a column by.

    >>> arranged([("client", "shop"), ("shop", "bank"), ("client", "bank")], "client")
    [[('client', False)], [('shop', False), ('client', True)], [('bank', False)]]
    """
    pairs = list(dict.fromkeys(edges))
    depth = layers(pairs, first)
    columns: list[list[Slot]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, at in depth.items():
        columns[at].append((name, False))
    for one, other in pairs:
        for at in range(depth[one] + 1, depth[other]):
            if (one, True) not in columns[at]:
                columns[at].append((one, True))
    for at in range(1, len(columns)):
        heights = {slot: (row + 0.5) / len(columns[at - 1]) for row, slot in enumerate(columns[at - 1])}

        def height(slot: Slot, at: int = at, heights: dict[Slot, float] = heights) -> float:
            """The mean height of those slots in the column before from which calls come."""
            name, passing = slot
            callers = [name] if passing else [one for one, other in pairs if other == name and depth[one] < at]
            found = [heights[one, depth[one] < at - 1] for one in callers]
            return sum(found) / len(found) if found else 1.0

        columns[at].sort(key=height)
    return columns


def column_of(columns: Sequence[Sequence[Slot]]) -> dict[str, int]:
    """In which column of `arranged` each node stands.

    >>> column_of([[("client", False)], [("shop", False), ("client", True)]])
    {'client': 0, 'shop': 1}
    """
    return {name: at for at, slots in enumerate(columns) for name, passing in slots if not passing}


def stacked(columns: Sequence[Sequence[Slot]], node: float, passage: float) -> tuple[dict[tuple[str, int], float], float]:
    """The height at which the middle of each slot stands, by its name and column; and that of the tallest column.

    Args:
        columns: of `arranged`.
        node: how much room a node takes, with what is between it and the next one.
        passage: how much calls take that pass by.
    """
    sizes = [[passage if passing else node for _, passing in column] for column in columns]
    tallest = max(map(sum, sizes))
    middles = {
        (name, at): (tallest - sum(mine)) / 2 + sum(mine[:row]) + mine[row] / 2
        for at, (column, mine) in enumerate(zip(columns, sizes, strict=True))
        for row, (name, _) in enumerate(column)
    }
    return middles, tallest
