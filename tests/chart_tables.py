"""Small tables, as `sim.analysis` makes them, for the tests of the charts; and the bars that came of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.patches import Patch, Rectangle

from sim.records import OUTCOMES, PARTS

NAN = math.nan
CANDIDATES = ("sync", "queue", "hedged")
CONDITIONS = ("normal", "crash")
_ATTEMPTS = ["attempts_rps", "attempts_low", "attempts_high"]
LEVELS = (0.1, 0.5, 0.9, 0.95, 0.99, 0.999)


def curve_table(scale: float = 1.0) -> pd.DataFrame:
    rows = [
        (a, c, p, s := scale * (0.1 + 0.1 * i + 0.4 * j) * p, 0.9 * s, 1.1 * s, 10)
        for j, c in enumerate(CONDITIONS)
        for i, a in enumerate(CANDIDATES)
        for p in LEVELS
    ]
    return pd.DataFrame(rows, columns=["candidate", "condition", "probability", "latency_s", "low", "high", "n"])


def over_time_table(lowest: float = 0.5, bin_s: int = 5) -> pd.DataFrame:
    """A minute in which nothing stays quite the same, and the crash of the condition with that name from 20 s to 40 s."""
    rows = []
    for c in CONDITIONS:
        for i, a in enumerate(CANDIDATES):
            for t in range(0, 60, bin_s):
                success = lowest + 0.01 * i if c == "crash" and 20 <= t < 40 else 1.0 - 0.0001 * t
                band = (success, success - 0.01, min(1.0, success + 0.01))
                rows.append((a, c, float(t), *band, 100 * success, 90 * success, 105 * success, 10))
    numbers = ["success", "success_low", "success_high", "goodput_rps", "goodput_low", "goodput_high"]
    return pd.DataFrame(rows, columns=["candidate", "condition", "time_s", *numbers, "n"])


def attempts_table() -> pd.DataFrame:
    """The same minute; under the crash every candidate tries more often than the one before it."""
    table = over_time_table().rename(columns={"goodput_low": "attempts_low", "goodput_high": "attempts_high"})
    return table.assign(attempts_rps=table["goodput_rps"])[["candidate", "condition", "time_s", *_ATTEMPTS, "n"]]


def backlog_table() -> pd.DataFrame:
    """The same minute; the first candidate has no queue."""
    names = {"goodput_rps": "backlog", "goodput_low": "backlog_low", "goodput_high": "backlog_high"}
    table = over_time_table().rename(columns=names)
    table = table[table["candidate"] != table["candidate"].iloc[0]]
    return table[["candidate", "condition", "time_s", *names.values(), "n"]].reset_index(drop=True)


def gauges_table() -> pd.DataFrame:
    """The same minute of two services: `bank` has a line while it is down, and one replica more after it."""
    columns = [f"{name}{end}" for name in ("busy", "queued", "alive") for end in ("", "_low", "_high")]
    rows = []
    for c in CONDITIONS:
        for i, a in enumerate(CANDIDATES):
            for t in range(0, 60, 5):
                down = c == "crash" and 20 <= t < 40
                for service, queued, alive in (
                    ("shop", 0.0, 2.0),
                    ("bank", 10.0 * (i + 1) if down else 0.0, 3.0 if t >= 40 else 2.0),
                ):
                    rows.append((a, c, service, float(t), 4.0, 3.0, 5.0, queued, queued, queued, alive, alive, alive))
    return pd.DataFrame(rows, columns=["candidate", "condition", "name", "time_s", *columns])


def edges_table() -> pd.DataFrame:
    """Clients ask the shop, the shop the bank; `queue` tries half as often again, `hedged` as often again."""
    rows = []
    for c in CONDITIONS:
        for i, a in enumerate(CANDIDATES):
            rows.append((a, c, "client", "shop.buy", 100.0, 0.0, 0.0))
            rows.append((a, c, "shop", "bank.pay", 100.0 + 50 * i, 50.0 * i, 0.2 if c == "crash" else 0.001))
    return pd.DataFrame(rows, columns=["candidate", "condition", "caller", "target", "attempts_rps", "retries_rps", "failed"])


def swept_table() -> pd.DataFrame:
    """Latency of M/M/1 for each candidate, whose servers are 1, 2 and 3 times as fast, and success, over load and places."""
    rows = []
    for c in CONDITIONS:
        for i, a in enumerate(CANDIDATES):
            for load in (0.2, 0.4, 0.5, 0.6, 0.8):
                for places in (1, 2):
                    mean = 1 / (i + 1 - load)
                    rows.append((a, c, load, places, "mean_s", "all", mean, 0.9 * mean, 1.1 * mean))
                    rows.append((a, c, load, places, "success", "all", 1 - load / 10 / places, NAN, NAN))
    columns = ["candidate", "condition", "load", "places", "metric", "of", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def spells_table() -> pd.DataFrame:
    """One breaker that opened and was half-open, and one endpoint that was ejected until the end."""
    rows = [
        ("shop", 0, "stock.get", -1, "open", 2.0, 7.0),
        ("shop", 0, "stock.get", -1, "half_open", 7.0, 7.5),
        ("shop", 0, "stock.get", -1, "closed", 7.5, 20.0),
        ("shop", 1, "stock.get", 3, "ejected", 5.0, 20.0),
    ]
    return pd.DataFrame(rows, columns=["caller", "process", "target", "endpoint", "state", "start_s", "end_s"])


def stale_table() -> pd.DataFrame:
    """Four deaths for each: `sync` learns them late and one never, `queue` sooner, `hedged` before they are over."""
    found = {"sync": (200.0, 240.0, 300.0, NAN), "queue": (4.0, 5.0, 6.0, 10.0), "hedged": (0.0, 0.0, 0.0, 1.0)}
    rows = [(a, c, seconds) for c in CONDITIONS for a, cases in found.items() for seconds in cases]
    return pd.DataFrame(rows, columns=["candidate", "condition", "stale_s"])


def parts_table() -> pd.DataFrame:
    rows = [
        (a, c, g, part, 0.01 * (k + 1) * (i + 1) * (20 if g != "all" else 1))
        for c in CONDITIONS
        for i, a in enumerate(CANDIDATES)
        for g in ("all", "slowest 1 %")
        for k, part in enumerate(PARTS)
    ]
    return pd.DataFrame(rows, columns=["candidate", "condition", "group", "part", "mean_s"])


def explained_table() -> pd.DataFrame:
    places = [("bank", "queue_s"), ("shop -> bank", "backoff_s"), ("shop", "service_s")]
    rows = [
        (a, c, g, where, part, "", 0.01 * (k + 1) * (i + 1) * (20 if g == "slow" else 1))
        for c in CONDITIONS
        for i, a in enumerate(CANDIDATES)
        for g in ("slow", "typical")
        for k, (where, part) in enumerate(places)
    ]
    return pd.DataFrame(rows, columns=["candidate", "condition", "group", "where", "part", "retry", "mean_s"])


def summary_table() -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []

    def add(a: str, c: str, metric: str, of: str, value: float) -> None:
        rows.append((a, c, metric, of, value, 0.9 * value, 1.1 * value, 10))

    for c in CONDITIONS:
        for i, a in enumerate(CANDIDATES):
            bad = {"error": 0.01, "timeout": 0.02 * (i + 1), "rejected": 0.005, "degraded": 0.01}
            for outcome in OUTCOMES:
                add(a, c, f"share_{outcome}", "all", bad.get(outcome, 0.0) if outcome != "ok" else 1 - sum(bad.values()))
            add(a, c, "success", "all", 1 - sum(bad.values()) + bad["degraded"])
            add(a, c, "attempts_per_request", "all", 9.0 + i)
            add(a, c, "busy_s_per_good", "all", 0.08)
            for of in ("all", "email.send"):
                add(a, c, "completeness", of, 0.99)
                for percentile, factor in (("p50", 1), ("p99", 5)):
                    add(a, c, f"ack_{percentile}_s", of, NAN if a == "sync" else 0.004 * factor)
                    add(a, c, f"effect_{percentile}_s", of, 0.1 * factor * (i + 1))
    return pd.DataFrame(rows, columns=["candidate", "condition", "metric", "of", "mean", "low", "high", "n"])


def differences_table() -> pd.DataFrame:
    columns = ["condition", "metric", "of", "candidate", "baseline", "difference", "low", "high", "verdict"]
    rows = [
        (c, metric, "all", a, "sync", d, d - 0.5 * abs(scale), d + 0.5 * abs(scale), verdict)
        for metric, scale in (("success", 0.01), ("p99_s", 0.02))
        for c in CONDITIONS
        for a, d, verdict in (("queue", scale, "higher"), ("hedged", 0.1 * scale, "no detectable difference"))
    ]
    return pd.DataFrame(rows, columns=columns)


def effect_differences_table() -> pd.DataFrame:
    """Of one effect: none under normal load; under the crash one that is told from zero, and one that is not."""
    columns = ["condition", "metric", "of", "candidate", "baseline", "difference", "low", "high", "verdict"]
    rows = [
        ("normal", "queue", 0.0, 0.0, 0.0, "no detectable difference"),
        ("normal", "hedged", 0.0, 0.0, 0.0, "no detectable difference"),
        ("crash", "queue", 4.0, 3.0, 5.0, "higher"),
        ("crash", "hedged", 0.5, -1.0, 2.0, "no detectable difference"),
    ]
    whole = [(c, "effect_p99_s", "email.send", a, "sync", *numbers) for c, a, *numbers in rows]
    return pd.DataFrame(whole, columns=columns)


def all_tables() -> dict[str, pd.DataFrame]:
    faults = pd.DataFrame([("crash", "crash of email", 20.0, 40.0)], columns=["condition", "label", "start_s", "end_s"])
    return {
        "summary": summary_table(),
        "differences": differences_table(),
        "over_time": over_time_table(),
        "attempts_over_time": attempts_table(),
        "backlog_over_time": backlog_table(),
        "gauges_over_time": gauges_table(),
        "edges": edges_table(),
        "latency_cdf": curve_table(),
        "time_parts": parts_table(),
        "states": spells_table().assign(candidate="hedged", condition="crash", seed=1),
        "staleness": stale_table(),
        "faults": faults,
    }


def bars_of(patches: Sequence[Patch]) -> list[Rectangle]:
    """The rectangles among the patches: bars and shades."""
    return [patch for patch in patches if isinstance(patch, Rectangle)]
