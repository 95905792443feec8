"""A Dask cluster gives the same rows as one process, whoever is killed; what is wrong with it is told in one message."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies import assert_same, scenario
from typer.testing import CliRunner

import sim
from sim.cli import app
from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.study import cluster, load_sweep

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="forks, and kills"), pytest.mark.slow]
SETTINGS = {"load.rate": [10, 20, 40], "services.shop.workers": "1,2"}


@pytest.fixture(scope="module")
def addresses() -> Iterator[tuple[str, str]]:
    """A cluster of two workers, and one without any."""
    here = Path(__file__).parent
    program = [sys.executable, str(here / "dask_cluster.py")]
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    process = subprocess.Popen(
        program, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        full, empty = json.loads(process.stdout.readline())
        yield full, empty
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_serial_equals_dask_row_for_row_although_a_worker_is_killed(addresses: tuple[str, str], tmp_path: Path) -> None:
    marker = tmp_path / "killed"

    def struck(given: Scenario, seed: int) -> Any:
        from sim.single import simulate

        if given.load.rate == 20 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return simulate(given, seed)

    here = sim.sweep(scenario(), SETTINGS, 1, workers=1)
    there = sim.sweep(scenario(), SETTINGS, 1, workers=addresses[0], simulate=struck)
    assert marker.exists(), "a worker was killed in the middle of a run"
    pd.testing.assert_frame_equal(here.points, there.points, check_exact=True)
    pd.testing.assert_frame_equal(here.summary, there.summary, check_exact=True)


def test_a_run_that_always_kills_its_worker_is_given_up_alone(addresses: tuple[str, str]) -> None:
    def deadly(given: Scenario, seed: int) -> Any:
        from sim.single import simulate

        if given.load.rate == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return simulate(given, seed)

    found = sim.sweep(scenario(), {"load.rate": [10, 20, 40, 80]}, 1, workers=addresses[0], simulate=deadly)
    assert found.points["load.rate"].tolist() == [10, 40, 80]
    assert found.failures["load.rate"].tolist() == [20]
    assert "workers of the cluster died again and again" in found.failures["error"].item()


def test_rows_come_from_a_cluster_that_does_not_see_our_files(addresses: tuple[str, str], tmp_path: Path) -> None:
    assert_same(sim.replicate(scenario(), 2, workers=1), sim.replicate(scenario(), 2, workers=addresses[0], out=tmp_path / "run"))
    settings = {"load.rate": [10, 20]}
    tables = [
        sim.sweep(scenario(), settings, 1, workers=workers, out=tmp_path / name / "out", rows=("requests",)).rows()
        for name, workers in (("here", 1), ("there", addresses[0]))
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    again = sim.sweep(scenario(), settings, 1, workers="tcp://nowhere:1", out=tmp_path / "there" / "out", rows=("requests",))
    assert again.simulated == 0, "who has all runs needs no cluster"
    assert load_sweep(tmp_path / "there" / "out").points.equals(again.points)


def test_what_is_wrong_with_a_cluster(addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    full, empty = addresses
    monkeypatch.setattr(cluster, "_PATIENCE_S", 0.3)
    with pytest.raises(ScenarioError, match="the cluster has had no workers for 0 s; start them: dask scheduler"):
        sim.replicate(scenario(), 1, workers=empty)
    monkeypatch.setattr(cluster, "identity", lambda: "sim 9.9+abc")
    with pytest.raises(
        ScenarioError, match=r"worker tcp://\S+ has sim 0\.\S+ with numpy \S+, this process sim 9.9\+abc; install"
    ):
        sim.replicate(scenario(), 1, workers=full)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "tcp://127.0.0.1:1: nobody answers there"),
        (["--scheduler", "10.0.0.5"], "is no address (missing port number"),
        (["--scheduler", "http://10.0.0.5:80"], "is no address (unknown address scheme 'http'"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "one of them"),
    ],
)
def test_an_address_that_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(sim.dumps(scenario()))
    commands = (
        ["run", "shop.yaml"],
        ["sweep", "shop.yaml", "--set", "load.rate=10/s,20/s"],
        ["sensitivity", "shop.yaml", "--input", "load.rate=10/s..80/s"],
        ["optimise", "shop.yaml", "--minimise", "p95_s", "--set", "load.rate=10/s..80/s"],
    )
    for command in commands:
        result = CliRunner().invoke(app, [*command, *arguments], catch_exceptions=False)
        assert result.exit_code == 2
        assert said in result.stderr
        assert not list(tmp_path.glob("results/*shop*"))


def test_without_dask_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ScenarioError, match=r"Dask is not installed; install it: pip install 'sim\[dask\]'"):
        sim.replicate(scenario(), 1, workers="tcp://127.0.0.1:1")
