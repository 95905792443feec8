"""Small scenarios and a run without a simulator, for the tests of studies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
from frames import changes_of, effects_of, requests_of, totals_of

from sim.laws import Exponential
from sim.records import TRAFFIC
from sim.scenario.model import Comparison, Scenario
from sim.study import Results
from sim.study.measure import TABLES


def scenario(workers: int = 2, **changes: Any) -> Scenario:
    """A shop that calls payment; small enough for a run in milliseconds."""
    data: dict[str, Any] = {
        "name": "shop",
        "services": {
            "shop": {"workers": workers, "operations": {"buy": [{"work": Exponential(0.01)}, {"call": "payment.charge"}]}},
            "payment": {"workers": 2, "operations": {"charge": {"steps": [{"work": Exponential(0.02)}], "effect": True}}},
        },
        "load": {"rate": 40.0, "mix": "shop.buy"},
        "run": {"duration": 3.0, "warmup": 0.5, "replications": 3, "seed": 7},
        "slos": ["p95 <= 300ms"],
    }
    return Scenario.model_validate(data | changes)


def comparison(**changes: Any) -> Comparison:
    crash = [{"crash": "payment", "at": 1.0, "for": 1.0}]
    return Comparison(
        name="few or many workers?",
        candidates={
            name: {"quiet": scenario(workers, **changes), "crash": scenario(workers, faults=crash, **changes)}
            for name, workers in (("few", 1), ("many", 8))
        },
    )


def fake(given: Scenario, seed: int) -> SimpleNamespace:
    """A run without a simulator: `seed` requests, all good; latency grows with the seed and shrinks with the workers."""
    workers = given.services["shop"].workers
    latency_s = 0.001 * seed / (workers if isinstance(workers, int) else 1)
    requests = requests_of([(1.0 + 0.01 * i, 1.0 + 0.01 * i + latency_s, "ok") for i in range(seed)])
    attempts = pd.DataFrame(
        {
            "request": requests["request"],
            "caller": "client",
            "target": "shop.buy",
            "number": 1,
            "started_s": requests["arrived_s"],
            "outcome": "ok",
        }
    )
    gauges = pd.DataFrame({"time_s": [1.0], "name": ["shop"], "busy": [1], "queued": [0], "alive": [1]})
    rest = {"effects": effects_of([]), "gauges": gauges, "totals": totals_of(1.0), "changes": changes_of([])}
    rest["zone_calls"] = pd.DataFrame(columns=["caller", "target", "from_zone", "to_zone", "troubled", "attempts", "good"])
    rest["traffic"] = pd.DataFrame(columns=[name for name, _ in TRAFFIC.columns])
    return SimpleNamespace(requests=requests, attempts=attempts, **rest)


def assert_same(one: Results, other: Results) -> None:
    pd.testing.assert_frame_equal(one.metrics, other.metrics)
    for table in TABLES:
        pd.testing.assert_frame_equal(one.rows(table), other.rows(table))
    assert [(r.index, r.seed) for r in one.runs] == [(r.index, r.seed) for r in other.runs]
