"""``sim sweep`` at the terminal: what it says, writes and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from sim.cli import app
from sim.scenario.model import Scenario

SHOP = """\
services: {shop: {workers: 1, operations: {buy: [{work: {exponential: 10ms}}]}}}
load: {rate: 50/s, mix: shop.buy}
run: {duration: 5s, replications: 2}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(SHOP)
    return tmp_path


def swept(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["sweep", "shop.yaml", "--workers", "1", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "load.rte=1/s"), "load.rte: unknown key 'rte'; did you mean 'rate'?"),
        (("--set", "load.rate=50"), "at every point: load.rate: 50 has no unit; write for example 120/s"),
        (("--set", "load.rate=1..9:5"), "point 0 (load.rate = 1) and 4 more: load.rate: 1 has no unit"),
        (("--set", "load.rate=1/s,fast"), "point 1 (load.rate = fast): load.rate: 'fast' is not a rate"),
        (("--set", "load.rate=1/s..9/s"), "load.rate: 1/s..9/s has no number of steps; write for example 1/s..9/s:5"),
        (("--set", "load.rate"), "--set load.rate: write PATH=VALUES"),
        (("--set", "load.rate=1/s", "--sample", "lhs"), "--sample lhs: how many points?"),
        (("--set", "load.rate=1/s,2/s", "--sample", "lhs:3"), "--sample lhs:3: there are only lists to draw from"),
        (("--set", "load.rate=1/s", "--sample", "lhs:3", "--zip"), "--zip and --sample are two ways to combine values"),
        (("--set", "load.rate=1/s,2/s", "--zip", "--set", "services.shop.workers=1"), "load.rate has 2, services.shop.workers"),
        (("--set", "load.rate=1/s", "--metric", "p99"), "--metric: no metric 'p99'; did you mean 'p99_s'?"),
        (("--set", "load.rate=1/s", "--metric", "p97_s"), "or add an objective with this percentile to slos"),
        (("--set", "load.rate=1/s", "--rows", "request"), "rows: no table 'request'; did you mean 'requests'?"),
        (("--set", "load.rate=1/s", "--duration", "5"), "run.duration: 5 has no unit"),
        (("--set", "run.seed=1,2"), "every point has the same seeds"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(place: Path, arguments: tuple[str, ...], said: str) -> None:
    result = swept(*arguments, code=2)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert [path.name for path in place.iterdir()] == ["shop.yaml"]


def test_it_says_what_it_costs_and_where_everything_is(place: Path) -> None:
    result = swept("--set", "load.rate=20/s,40/s", "--set", "services.shop.workers=1,2")
    assert result.stderr.startswith("4 points, 8 runs; some 1,200 requests to simulate\n")
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["0", "20", "1"], ["1", "20", "2"], ["2", "40", "1"], ["3", "40", "2"],
    ]  # fmt: skip
    points = pd.read_csv(place / "results" / "shop-sweep" / "points.csv")
    assert points["services.shop.workers"].tolist() == [1, 1, 2, 2, 1, 1, 2, 2]
    assert sorted(path.name for path in (place / "results" / "shop-sweep" / "charts").iterdir()) == [
        f"{metric}_by_load_rate.{kind}" for metric in ("p99_s", "success") for kind in ("png", "svg")
    ]
    again = swept("--set", "load.rate=20/s,40/s", "--set", "services.shop.workers=1,2", "--no-charts", "--format", "json")
    assert "4 points, 8 runs: all of them are finished already" in again.stderr
    assert json.loads(again.stdout)["simulated_runs"] == 0


def test_failed_runs_end_with_1_and_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.study import experiment

    simulate = experiment._run

    def broken(given: Scenario, seed: int) -> Any:
        if given.load.rate == 20 and seed == 2:
            raise ArithmeticError("too much")
        return simulate(given, seed)

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "_run", broken)
        result = swept("--set", "load.rate=10/s,20/s", code=1)
    assert "failed: point 1 (load.rate = 20.0), replication 1 (seed 2): ArithmeticError: too much" in result.stderr
    assert "1 of 4 runs failed; all of them are in results/shop-sweep/failures.csv" in result.stderr
    assert "4 runs, of which 3 are finished already" in swept("--set", "load.rate=10/s,20/s").stderr
