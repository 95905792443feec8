"""Small tables for the tests of reading, written as one would on paper."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis import run_metrics
from sim.records import FATES, OUTCOMES, PARTS, STATES

NAN = math.nan


def requests_of(rows: list[tuple[Any, ...]], **more: Any) -> pd.DataFrame:
    """Requests from (arrived_s, ended_s, outcome) or (arrived_s, ended_s, outcome, entry); all time in the queue."""
    full = [row if len(row) == 4 else (*row, "shop.buy") for row in rows]
    arrived, ended, outcome, entry = (list(column) for column in zip(*full, strict=True)) if full else ([], [], [], [])
    table = pd.DataFrame(
        {
            "request": np.arange(len(full), dtype=np.int64),
            "entry": pd.Categorical(entry, categories=["shop.buy", "shop.look", "never.used"]),
            "arrived_s": np.asarray(arrived, dtype=float),
            "ended_s": np.asarray(ended, dtype=float),
            "outcome": pd.Categorical(outcome, categories=OUTCOMES),
            "attempts": np.full(len(full), 2, dtype=np.int32),
        }
    )
    for part in PARTS:
        table[part] = 0.0
    table["queue_s"] = table["ended_s"] - table["arrived_s"]
    return table.assign(**more)


def attempts_of(rows: list[tuple[int, int]]) -> pd.DataFrame:
    """Attempts at shop.buy from (request, number)."""
    return pd.DataFrame(rows, columns=["request", "number"]).assign(target="shop.buy")


def effects_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Effects from (effect, request, queue, arrived_s, published_s, acked_s, done_s, deliveries, fate)."""
    columns = ["effect", "request", "queue", "arrived_s", "published_s", "acked_s", "done_s", "deliveries", "fate"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:7], float))
    return table.assign(
        effect=pd.Categorical(table["effect"]),
        queue=pd.Categorical(table["queue"]),
        fate=pd.Categorical(table["fate"], categories=FATES),
    )


def changes_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Changes of state from (time_s, caller, process, target, endpoint, state)."""
    table = pd.DataFrame(rows, columns=["time_s", "caller", "process", "target", "endpoint", "state"]).astype({"time_s": float})
    names = {name: pd.Categorical(table[name]) for name in ("caller", "target")}
    return table.assign(**names, state=pd.Categorical(table["state"], categories=STATES))


def totals_of(*busy_worker_s: float) -> pd.DataFrame:
    names = [f"service{i}" for i in range(len(busy_worker_s))]
    return pd.DataFrame({"name": names, "busy_worker_s": busy_worker_s, "served": 1})


def numbers(
    requests: pd.DataFrame,
    attempts: pd.DataFrame | None = None,
    effects: pd.DataFrame | None = None,
    totals: pd.DataFrame | None = None,
    **window: Any,
) -> dict[tuple[str, str], float]:
    table = run_metrics(
        requests,
        attempts_of([]) if attempts is None else attempts,
        effects_of([]) if effects is None else effects,
        totals_of(0.0) if totals is None else totals,
        **({"start_s": 0.0, "end_s": 10.0} | window),
    )
    assert list(table.columns) == ["metric", "of", "value"]
    assert not table.duplicated(["metric", "of"]).any()
    return {(metric, of): value for metric, of, value in table.itertuples(index=False)}


def replications(values: dict[str, list[float]], metric: str = "p99_s", condition: str = "base", of: str = "all") -> pd.DataFrame:
    """Numbers per replication from {candidate: one value for each replication}."""
    rows = [
        (candidate, condition, r, metric, of, value) for candidate, column in values.items() for r, value in enumerate(column)
    ]
    return pd.DataFrame(rows, columns=["candidate", "condition", "replication", "metric", "of", "value"])
