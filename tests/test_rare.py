"""Rare events: said before the first run, and read from all runs together where each alone has too few."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from frames import requests_of
from studies import comparison, fake, scenario
from typer.testing import CliRunner

import sim
from sim.cli import app
from sim.scenario.model import Scenario
from sim.study.rare import pooled_percentiles, rare_percentiles

SHOP = """\
services: {shop: {workers: 2, operations: {buy: [{work: {exponential: 10ms}}]}}}
load: {rate: 50/s, mix: shop.buy}
run: {duration: 20s, replications: 2}
"""


def lasting(duration_s: float, replications: int) -> Scenario:
    """40 requests a second."""
    return scenario(slos=[], run={"duration": duration_s, "warmup": 0.5, "replications": replications})


def test_a_percentile_needs_ten_slower_requests_in_a_run_and_enough_in_all() -> None:
    told = rare_percentiles(lasting(30.0, 10))  # 1,200 in a run: 12 slower than p99, 1.2 than p99.9
    assert told == (
        "few requests for p99.9: a run measures about 1,200 requests, of which 1.2 are slower than p99.9; 10 are with "
        "--duration 250s; how many are slower is right within 20 % with 95,941 requests in all runs together (here 12,000)"
    )
    assert rare_percentiles(lasting(250.0, 10)) is None  # 10,000 in a run, 100,000 in all
    assert "few requests for p99.9: " in str(rare_percentiles(lasting(250.0, 9)))
    assert "--duration" not in str(rare_percentiles(lasting(250.0, 9)))
    assert rare_percentiles(lasting(250.0, 9), 10) is None
    assert str(rare_percentiles(lasting(20.0, 1))).startswith(
        "few requests for p90, p99, p99.9: "
    )  # 800 · 10 % are enough, 865 in all not
    assert "a run measures about 120 requests" in str(rare_percentiles(comparison()))


def test_only_requests_in_focus_count() -> None:
    shop = {"workers": 8, "operations": {"buy": [{"work": 0.01}], "look": [{"work": 0.01}]}}
    load = {"rate": 40, "mix": {"shop.buy": 1, "shop.look": 3}}
    asked = Scenario(services={"shop": shop}, load=load, focus="shop.buy", run={"duration": 30, "replications": 10})
    assert "a run measures about 300 requests" in str(rare_percentiles(asked))
    pooled = pooled_percentiles(sim.replicate(asked, workers=1))  # 3 of 300 are slower than p99 in a run, 30 in all
    assert pooled["metric"].tolist() == ["p99_s"]


def test_a_percentile_that_objectives_ask_for_is_looked_at_too() -> None:
    asked = lasting(250.0, 10).model_copy(update={"slos": scenario(slos=["p99.99 <= 1s"]).slos})
    assert str(rare_percentiles(asked)).startswith("few requests for p99.99: ")


def test_all_runs_together_tell_what_each_alone_cannot() -> None:
    def simulate(given: Scenario, seed: int) -> SimpleNamespace:
        found = fake(given, 7)
        latency_s = np.arange(1, 101) / 100 + (seed - 7) / 1000
        found.requests = requests_of([(1.0, 1.0 + latency, "ok") for latency in latency_s])
        return found

    results = sim.replicate(scenario(), 12, workers=1, simulate=simulate)
    pooled = pooled_percentiles(results)
    assert pooled["metric"].tolist() == ["p95_s", "p99_s"]  # 5 and 1 of a hundred; of 1,200 only one is slower than p99.9
    p99 = pooled.iloc[1]
    values = np.sort((np.arange(1, 101)[:, None] / 100 + np.arange(12) / 1000).ravel())
    assert p99["value"] == pytest.approx(np.quantile(values, 0.99))
    assert p99["low"] < p99["value"] < p99["high"]
    assert pooled_percentiles(sim.replicate(scenario(), 1, workers=1, simulate=simulate)).empty


def test_the_commands_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(SHOP)
    run = ["run", "shop.yaml", "--workers", "1", "--no-charts"]
    many = CliRunner().invoke(app, run, catch_exceptions=False)
    assert many.stderr.startswith("few requests for p99, p99.9: a run measures about 1,000 requests")
    assert "one run" not in many.stderr
    one = CliRunner().invoke(app, [*run, "-r", "1"], catch_exceptions=False)
    assert "one run   mean, from 30 batches of it: " in one.stderr
