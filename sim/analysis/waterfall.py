"""One request from its first call to its answer: its attempts in order, as a table and as a sequence diagram."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.critical import Attempt, critical_path, trees
from sim.analysis.explaining import FAILED, by_latency, level_of
from sim.analysis.metrics import GOOD_OUTCOMES
from sim.errors import ScenarioError
from sim.records import OUTCOMES
from sim.units import format_duration

#: Columns of a waterfall; times are seconds since the request arrived.
COLUMNS: Final = (
    "depth", "attempt", "parent", "caller", "target", "replica", "number", "start_s", "end_s", "outcome", "queue_s", "service_s",
    "network_s", "on_path",
)  # fmt: skip
MEDIAN: Final = "median"
_LOST: Final = ("timeout", "unreachable", "in_flight")


def pick_request(requests: pd.DataFrame, at: str, *, start_s: float, end_s: float) -> int | None:
    """Number of a request that stands for others: the good answer at a percentile, or the failed one of median latency.

    None if there is no such request in the measured window.

    Args:
        requests: rows of one replication, decoded.
        at: median, p99, p99.9, …, failed, or the number of a request.
        start_s: where the measured window begins, clock time of arrival.
        end_s: where it ends.

    Raises:
        ScenarioError: `at` is none of these.
    """
    if at.isdecimal():
        return int(at) if (requests["request"] == int(at)).any() else None
    level = 0.5 if at == MEDIAN else level_of(at)
    inside = by_latency(requests, start_s=start_s, end_s=end_s)
    good = inside["outcome"].isin(GOOD_OUTCOMES)
    chosen = inside[~good] if at == FAILED else inside[good]
    if chosen.empty:
        return None
    place = math.ceil((0.5 if level is None else level) * len(chosen)) - 1
    return int(chosen["request"].iloc[max(place, 0)])


def waterfall(requests: pd.DataFrame, attempts: pd.DataFrame, request: int) -> pd.DataFrame:
    """Every attempt of one request, callers before what they called, by start: the columns are `COLUMNS`.

    The first row is the request itself, at depth 0. `on_path` says whether its answer waited for that attempt. What a caller
    stopped waiting for ends there, as it saw it; an attempt that nobody waited for ends with NaN. Calls of consumers of
    messages are not in it.

    Raises:
        ScenarioError: there is no such request.
    """
    mine = requests[requests["request"] == request]
    if mine.empty:
        raise ScenarioError(f"request {request}: there is none in these rows; they hold 0 to {len(requests) - 1}")
    row = mine.iloc[0]
    arrived_s, ended_s = float(row["arrived_s"]), float(row["ended_s"])
    roots = trees(attempts, [request])[request]
    path = critical_path(roots, arrived_s, ended_s if math.isfinite(ended_s) else math.inf)
    whole = (0, -1, -1, "", str(row["entry"]), -1, 1, 0.0, ended_s - arrived_s, str(row["outcome"]))
    rows: list[tuple[Any, ...]] = [(*whole, *(float(row[part]) for part in ("queue_s", "service_s", "network_s")), True)]

    def add(one: Attempt, parent: int, depth: int) -> None:
        when = (one.started_s - arrived_s, one.ended_s - arrived_s, OUTCOMES[one.outcome])
        who = (depth, one.attempt, parent, one.caller, one.target, one.replica, one.number)
        rows.append((*who, *when, one.queue_s, one.service_s, one.network_s, one.attempt in path))
        for child in sorted(one.children, key=lambda child: (child.started_s, child.attempt)):
            add(child, one.attempt, depth + 1)

    for root in sorted(roots, key=lambda root: (root.started_s, root.attempt)):
        add(root, -1, 1)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sequence_diagram(table: pd.DataFrame, title: str = "") -> str:
    """A waterfall as the text of a Mermaid sequence diagram: calls, waits, answers and silences in order of time.

    A crossed arrow is an answer that did not come. Works in Markdown on most code-hosting sites; beyond some forty attempts
    nobody reads it any more: draw the chart.

    >>> rows = [(0, -1, -1, "", "shop.buy", -1, 1, 0.0, 0.012, "ok", 0.0, 0.01, 0.002, True),
    ...         (1, 0, -1, "client", "shop.buy", 0, 1, 0.0, 0.012, "ok", 0.0, 0.01, 0.002, True)]
    >>> print(sequence_diagram(pd.DataFrame(rows, columns=list(COLUMNS))))
    sequenceDiagram
        participant p0 as client
        participant p1 as shop
        p0->>p1: buy
        p1-->>p0: ok after 12 ms
    """
    calls = table[table["depth"] > 0]
    callers = calls["caller"].astype(str)
    services = calls["target"].astype(str).str.split(".").str[0]
    names: dict[str, str] = {}
    for name in np.ravel(np.column_stack([callers, services])):
        names.setdefault(str(name), f"p{len(names)}")
    lines = ["sequenceDiagram", *([f"    title {_safe(title)}"] if title else [])]
    lines += [f"    participant {alias} as {_safe(name)}" for name, alias in names.items()]
    events: list[tuple[float, int, int, str]] = []
    until: dict[tuple[int, str], float] = {}  # when the last try of a call ended
    for order, (row, service) in enumerate(zip(calls.to_dict("records"), services, strict=True)):
        source, target = names[str(row["caller"])], names[str(service)]
        _pause(events, until, row, order, source)
        events.append((row["start_s"], 1, order, f"{source}->>{target}: {_safe(_asked(row))}"))
        if row["queue_s"] >= 0.01 * (row["end_s"] - row["start_s"]) and row["queue_s"] > 0:
            at_s = row["start_s"] + row["network_s"] / 2
            events.append((at_s, 2, order, f"Note over {target}: waits {format_duration(row['queue_s'])} for a worker"))
        if math.isnan(row["end_s"]):
            continue
        took = format_duration(row["end_s"] - row["start_s"])
        arrow = "--x" if row["outcome"] in _LOST else "-->>"
        # What was called last is answered first.
        events.append((row["end_s"], 0, -order, f"{target}{arrow}{source}: {row['outcome']} after {took}"))
    lines += [f"    {text}" for *_, text in sorted(events)]
    return "\n".join(lines)


def _pause(
    events: list[tuple[float, int, int, str]], until: dict[tuple[int, str], float], row: dict[Any, Any], order: int, source: str
) -> None:
    """Note the time since the try before this one."""
    key = (int(row["parent"]), str(row["target"]))
    if row["number"] > 1 and key in until and row["start_s"] > until[key]:
        pause_s = row["start_s"] - until[key]
        events.append((until[key], 3, order, f"Note over {source}: pauses {format_duration(pause_s)}"))
    until[key] = row["end_s"]


def _asked(row: dict[Any, Any]) -> str:
    operation = str(row["target"]).partition(".")[2] or str(row["target"])
    return operation + (f" (try {row['number']})" if row["number"] > 1 else "")


def _safe(text: str) -> str:
    """Text without what Mermaid reads as its own."""
    return text.replace(";", ",").replace("#", "no. ").replace("\n", " ")
