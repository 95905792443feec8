"""Loads that go up and down again, and the knee of a curve: numbers that can be worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from sim.analysis import knee, trap_between, up_and_down
from sim.cli.sweeping import knees_in_words
from sim.errors import ScenarioError
from sim.plots import hysteresis


def test_requests_are_counted_by_the_load_at_which_they_came() -> None:
    requests = pd.DataFrame({"arrived_s": [1.0, 6.0, 7.0, 12.0, 19.0], "outcome": ["ok", "ok", "timeout", "timeout", "ok"]})
    found = up_and_down(requests, [(0, 10), (10, 30), (20, 10)], bins=2)
    assert found["branch"].tolist() == ["up", "up", "down", "down"]
    assert found["load_rps"].tolist() == [15, 25, 25, 15]
    assert found["asked"].tolist() == [1, 2, 1, 1]
    assert found["success"].tolist() == [1, 0.5, 0, 1]
    with pytest.raises(ScenarioError, match="the load never changes"):
        up_and_down(requests, [(0, 10), (10, 10)])


def ways(up: list[float], down: list[float]) -> pd.DataFrame:
    """Success at loads 1, 2, 3, 4, going up, and then going down from 4 to 1."""
    loads = [1.0, 2.0, 3.0, 4.0]
    return pd.DataFrame({"branch": ["up"] * 4 + ["down"] * 4, "load_rps": loads + loads[::-1], "success": up + down[::-1]})


def test_a_trap_lies_between_where_it_returns_and_where_it_breaks() -> None:
    assert trap_between(ways([1, 1, 1, 0], [1, 0, 0, 0])) == (1, 4)
    assert trap_between(ways([1, 1, 1, 0], [1, 1, 1, 0])) == (3, 4), "neighbours: no trap"
    returns, breaks = trap_between(ways([1, 1, 1, 1], [1, 1, 1, 1]))
    assert (math.isnan(returns), math.isnan(breaks)) == (True, True), "it never broke"
    returns, breaks = trap_between(ways([1, 1, 0, 0], [0, 0, 0, 0]))
    assert (math.isnan(returns), breaks) == (True, 3), "it never came back"


def test_the_trap_is_shaded() -> None:
    ax = hysteresis(ways([1, 1, 1, 0], [1, 0, 0, 0]))
    assert [line.get_label() for line in ax.lines] == ["on the way up", "on the way down"]
    (shade,) = [one for one in ax.collections if len(one.get_paths())]
    edges = shade.get_paths()[0].vertices[:, 0]
    assert (edges.min(), edges.max()) == (2, 3)


def test_the_knee_of_one_server_is_half_of_its_capacity() -> None:
    """M/M/1 with mu = 100/s: T = 1 / (100 - load), and every percentile is a multiple of it."""
    loads = [10.0 * i for i in range(1, 10)]
    rows = [(load, r, factor / (100 - load)) for load in loads for r, factor in enumerate((1.0, math.log(100)))]
    table = pd.DataFrame(rows, columns=["load.rate", "replication", "p99_s"])
    found = knee(table, "load.rate", "p99_s")
    assert found is not None
    assert (found.load_rps, found.low, found.high, found.at_end) == (50, 50, 50, False)
    short = knee(table[table["load.rate"] <= 40], "load.rate", "p99_s")
    assert short is not None
    assert (short.load_rps, short.at_end) == (40, True)
    assert knee(table[table["load.rate"] <= 10], "load.rate", "p99_s") is None


def test_a_sweep_of_loads_tells_the_knees() -> None:
    loads = [10.0 * i for i in range(1, 10)]
    rows = [("one", "base", load, 0, 1 / (peak - load)) for peak in (100, 120) for load in loads]
    points = pd.DataFrame(rows, columns=["candidate", "condition", "load.rate", "replication", "p99_s"])
    points["candidate"] = ["one"] * 9 + ["two"] * 9
    found: Any = SimpleNamespace(settings=("load.rate",), points=points)
    assert knees_in_words(found, ["success", "p99_s"]) == ["knee of p99 (one): 50/s", "knee of p99 (two): 60/s"]
