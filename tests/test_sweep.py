"""Sweeps: the same table however it was made, and no finished run made twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies import comparison, fake, scenario

import sim
from sim.analysis.sweeps import summarise_file, summarise_points
from sim.errors import ScenarioError
from sim.laws import Exponential
from sim.scenario import doubts
from sim.scenario.model import Scenario
from sim.study import Standing, load_sweep
from sim.study.archive import Archive, Numbers, code_version, identity_of, key_of

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
SETTINGS = {"load.rate": [10, 20, 40], "services.shop.workers": "1,2"}
METRICS = ["success", "mean_s", "p99_s", "offered_rps"]


def same(one: sim.study.Sweep, other: sim.study.Sweep) -> None:
    pd.testing.assert_frame_equal(one.points, other.points, check_exact=True)
    pd.testing.assert_frame_equal(one.summary, other.summary, check_exact=True)


def test_one_row_per_point_and_replication_with_the_same_seeds() -> None:
    found = sim.sweep(scenario(), SETTINGS, 2, workers=1, simulate=fake)
    assert list(found.points.columns[:8]) == [
        "point", "candidate", "condition", "load.rate", "services.shop.workers", "replication", "seed", "scenario",
    ]  # fmt: skip
    assert found.points["point"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert found.points["load.rate"].tolist() == [10] * 4 + [20] * 4 + [40] * 4
    assert found.points["seed"].tolist() == [7, 8] * 6
    # 7 and 8 requests of as many milliseconds, divided by the workers
    assert found.points["mean_s"].tolist() == pytest.approx([0.007, 0.008, 0.0035, 0.004] * 3)
    means = found.summary[(found.summary["metric"] == "mean_s") & (found.summary["of"] == "all")]
    assert means["mean"].tolist() == pytest.approx([0.0075, 0.00375] * 3)
    assert means["n"].tolist() == [2] * 6
    assert (means["low"] < means["mean"]).all()


def test_doubts_are_told_by_point_before_the_first_run() -> None:
    told: list[Any] = []
    loads = ["20/s", "150/s", "200/s"]  # payment carries 100/s
    sim.sweep(scenario(), {"load.rate": loads}, 1, 1, told.append, simulate=fake, duration=0.5)
    doubts = told[0].doubts
    assert [one.split(":")[0] for one in doubts if "payment cannot keep up" in one] == ["point 1 (load.rate = 150/s) and 1 more"]
    assert not any(standing.doubts for standing in told[1:])


def test_a_doubt_is_told_once_with_its_first_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*points: tuple[str, float]) -> list[str]:
        at = [(name, scenario(load={"rate": rate, "mix": "shop.buy"})) for name, rate in points]
        return [one.split(":")[0] for one in doubts.doubts_of_points(at) if "payment cannot keep up" in one]

    assert told(("a", 150.0), ("b", 150.0)) == ["payment cannot keep up"], "the same everywhere"
    assert told(("a", 150.0), ("b", 200.0), ("c", 20.0)) == ["a and 1 more"], "whatever its numbers"
    assert told(("a", 150.0), ("b", 200.0)) == ["a and 1 more"], "everywhere, but not with the same numbers"
    assert told(("a", 20.0), ("b", 150.0)) == ["b"]
    monkeypatch.setattr(doubts, "_MOST_POINTS", 2)
    assert told(("a", 20.0), ("b", 150.0), ("c", 20.0), ("d", 20.0)) == [], "of many points some are asked: a and c"


def test_points_may_be_given_and_may_be_there_twice() -> None:
    given = [{"load.rate": 10, "services.shop.workers": 2}, {"load.rate": 40, "services.shop.workers": 1}]
    found = sim.sweep(scenario(), [*given, given[0]], 1, workers=1, simulate=fake)
    assert found.points["load.rate"].tolist() == [10, 40, 10]
    assert found.points["mean_s"].tolist() == pytest.approx([0.0035, 0.007, 0.0035])
    assert found.simulated == 2
    with pytest.raises(ScenarioError, match="with the same paths in each"):
        sim.sweep(scenario(), [*given, {"load.rate": 10}], 1)


def test_candidates_meet_every_point() -> None:
    found = sim.sweep(comparison(), {"load.rate": [10, 20]}, 1, workers=1, simulate=fake)
    assert list(zip(found.points["point"], found.points["candidate"], found.points["condition"], strict=True)) == [
        (point, candidate, condition) for point in (0, 1) for condition in ("quiet", "crash") for candidate in ("few", "many")
    ]


def test_a_point_is_the_scenario_that_one_would_write_oneself() -> None:
    found = sim.sweep(scenario(), {"load.rate": [10, 25]}, 1, workers=1)
    data = scenario().as_data()
    own = Scenario.model_validate(data | {"load": data["load"] | {"rate": 25}})
    alone = sim.replicate(own, 1, workers=1).metrics.set_index(["metric", "of"])["value"]
    row = found.points.iloc[1]
    assert [row[metric] for metric in METRICS] == [alone[metric, "all"] for metric in METRICS]
    assert row["p99_s [shop.buy]"] == alone["p99_s", "shop.buy"]
    assert row["scenario"] == own.hash


@pytest.mark.slow
def test_serial_equals_parallel_row_for_row(tmp_path: Path) -> None:
    here = sim.sweep(scenario(), SETTINGS, 2, workers=1)
    spread = sim.sweep(scenario(), SETTINGS, 2, workers=2, out=tmp_path / "out")
    same(here, spread)
    same(here, load_sweep(tmp_path / "out"))
    text = pd.read_csv(tmp_path / "out" / "points.csv")
    assert text[METRICS].equals(here.points[METRICS])


def test_finished_runs_are_not_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = sim.sweep(scenario(), {"load.rate": [10, 20]}, 2, workers=1, out=out)
    assert first.simulated == 4
    told: list[Standing] = []
    again = sim.sweep(scenario(), {"load.rate": [10, 20]}, 2, workers=1, out=out, on_progress=told.append)
    assert (again.simulated, told[0].known, told[0].requests) == (0, 4, 0.0)
    same(first, again)
    grown = sim.sweep(scenario(), {"load.rate": [5, 10, 20]}, 3, workers=1, out=tmp_path / "other")
    assert grown.simulated == 9 - 4
    same(grown, sim.sweep(scenario(), {"load.rate": [5, 10, 20]}, 3, workers=1))
    # The question changes no number; a percentile that is measured does.
    assert sim.sweep(scenario(question="?"), {"load.rate": [10, 20]}, 2, workers=1, out=out).simulated == 0
    assert sim.sweep(scenario(slos=["p97 <= 1s"]), {"load.rate": [10]}, 2, workers=1, out=out).simulated == 2
    assert sim.sweep(scenario(), {"load.rate": [10]}, 3, workers=1, out=out, seed=8).simulated == 1  # 8 and 9 are there


def test_another_version_makes_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.sweep(scenario(), {"load.rate": [10]}, 1, workers=1, out=tmp_path / "out")
    monkeypatch.setattr("sim.study.sweeping.code_version", lambda: "9.9")
    assert sim.sweep(scenario(), {"load.rate": [10]}, 1, workers=1, out=tmp_path / "out").simulated == 1
    assert code_version().startswith(sim.__version__)


def test_equal_points_are_simulated_once() -> None:
    calls: list[int] = []

    def counted(given: Scenario, seed: int) -> Any:
        calls.append(seed)
        return fake(given, seed)

    found = sim.sweep(scenario(), {"load.rate": ["10/s", "600/min"]}, 2, workers=1, simulate=counted)
    assert calls == [7, 8]
    assert len(found.points) == 4


def test_rows_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    settings = {"load.rate": [10]}
    assert sim.sweep(scenario(), settings, 1, workers=1, out=tmp_path / "out").simulated == 1
    found = sim.sweep(scenario(), settings, 1, workers=1, out=tmp_path / "out", rows=("requests",))
    assert found.simulated == 1, "the numbers alone are not enough"
    assert sim.sweep(scenario(), settings, 1, workers=1, out=tmp_path / "out", rows=("requests",)).simulated == 0
    (file,) = (tmp_path / ".runs" / "rows").glob("*/requests.parquet")
    measured = pd.read_parquet(file).query("0.5 <= arrived_s < 3.5")
    assert len(measured) / 3.0 == found.points["offered_rps"].item()
    rows = load_sweep(tmp_path / "out").rows("requests", point=0, columns=["arrived_s"])
    assert rows.columns.tolist() == ["point", "candidate", "condition", "load.rate", "replication", "arrived_s"]
    assert rows["arrived_s"].tolist() == pd.read_parquet(file)["arrived_s"].tolist()
    assert found.rows(**{"load.rate": 11}).empty
    with pytest.raises(ScenarioError, match="no label 'pont'; did you mean 'point'"):
        found.rows(pont=1)
    with pytest.raises(ScenarioError, match="those of 'effects' were not kept; sweep again with --rows effects"):
        found.rows("effects")
    with pytest.raises(ScenarioError, match="kept in the archive"):
        sim.sweep(scenario(), settings, 1, rows=("requests",))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_fails_is_told_and_does_not_stop_the_others(tmp_path: Path, workers: int) -> None:
    def broken(given: Scenario, seed: int) -> Any:
        if given.load.rate == 20 and seed == 8:
            raise ZeroDivisionError("a user's process")
        return fake(given, seed)

    found = sim.sweep(scenario(), {"load.rate": [10, 20, 40]}, 2, workers=workers, simulate=broken, out=tmp_path / "out")
    assert len(found.points) == 5
    assert not found.partial
    failure = found.failures.iloc[0]
    assert (failure["point"], failure["load.rate"], failure["seed"]) == (1, 20, 8)
    assert failure["error"] == "ZeroDivisionError: a user's process"
    assert load_sweep(tmp_path / "out").failures.equals(found.failures)


@POSIX
@pytest.mark.slow
def test_a_run_that_always_kills_its_worker_is_given_up_alone() -> None:
    def deadly(given: Scenario, seed: int) -> Any:
        if given.load.rate == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake(given, seed)

    found = sim.sweep(scenario(), {"load.rate": [10, 20, 40, 80]}, 1, workers=2, simulate=deadly)
    assert found.points["load.rate"].tolist() == [10, 40, 80]
    assert found.failures["load.rate"].tolist() == [20]
    assert "worker processes died 3 times in a row" in found.failures["error"].item()


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.study import experiment

    simulate = experiment._run

    def struck(given: Scenario, seed: int) -> Any:
        if given.load.rate == 40:
            raise KeyboardInterrupt
        return simulate(given, seed)

    monkeypatch.setattr(experiment, "_run", struck)
    rates = {"load.rate": [40, 80, 20]}  # the longest first: 80
    found = sim.sweep(scenario(), rates, 1, workers=1, out=tmp_path / "out")
    assert found.points["load.rate"].tolist() == [80]
    assert found.partial
    monkeypatch.undo()
    whole = sim.sweep(scenario(), rates, 1, workers=1, out=tmp_path / "out")
    assert whole.points["load.rate"].tolist() == [40, 80, 20]
    assert (whole.simulated, whole.partial) == (2, False)


# --- killed at any moment ---------------------------------------------------------------------------------------------

KILLED = """\
services: {shop: {workers: 4, operations: {buy: [{work: {exponential: 20ms}}]}}}
load: {rate: 100/s, mix: shop.buy}
run: {duration: 200ms}
"""
MANY = {"load.rate": "10/s..180/s:250", "services.shop.workers": "2,4"}


@POSIX
@pytest.mark.slow
def test_a_sweep_of_500_points_that_is_killed_five_times_and_resumed_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    file, out = tmp_path / "shop.yaml", tmp_path / "results" / "shop-sweep"
    file.write_text(KILLED)
    chance = random.Random(20261128)
    before = 0
    for begin in (_command, _fork, _fork, _fork, _fork):
        enough = before + chance.randrange(1, 90)
        process = begin(file, out)
        while finished_in(tmp_path) < enough:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        now = finished_in(tmp_path)
        assert before < now < 500, "what was finished is still there"
        before = now
    resumed = sim.sweep(file, MANY, 1, workers=1, out=out)
    assert resumed.simulated == 500 - before
    same(resumed, sim.sweep(file, MANY, 1, workers=1))
    assert sorted(path.name for path in out.parent.iterdir()) == [".runs", "shop-sweep"]


def _command(file: Path, out: Path) -> int:
    """The command with two workers, in a process group of its own."""
    settings = [word for path, values in MANY.items() for word in ("--set", f"{path}={values}")]
    program = [sys.executable, "-m", "sim", "sweep", str(file), *settings, "-r", "1", "--workers", "2", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        program, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).pid


def _fork(file: Path, out: Path) -> int:
    """The same in Python without workers; a fork, for imports are most of what a command costs."""
    process = os.fork()
    if not process:
        os.setsid()
        sim.sweep(file, MANY, 1, workers=1, out=out)
        os._exit(0)
    return process


def finished_in(place: Path) -> int:
    file = place / "results" / ".runs" / "runs.sqlite"
    if not file.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as base:
            return int(base.execute("select count(*) from runs").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


# --- many rows --------------------------------------------------------------------------------------------------------


def test_a_table_that_is_read_piece_by_piece_has_the_same_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.analysis.sweeps._ROWS_AT_ONCE", 5)  # points of 2 runs: pieces end inside of points
    found = sim.sweep(scenario(), SETTINGS, 2, workers=1, simulate=fake, out=tmp_path / "out")
    file = tmp_path / "out" / "points.parquet"
    whole = summarise_file(file, found.settings)
    pd.testing.assert_frame_equal(whole, found.summary, check_dtype=False)
    one = summarise_file(file, found.settings, metrics=["mean_s"])
    assert one["mean"].tolist() == whole.loc[(whole["metric"] == "mean_s") & (whole["of"] == "all"), "mean"].tolist()
    with pytest.raises(ScenarioError, match="no metric 'men_s'"):
        summarise_file(file, found.settings, metrics=["men_s"])


# --- the archive ------------------------------------------------------------------------------------------------------


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    given = scenario()

    def write(writer: int) -> None:
        archive = Archive(tmp_path / "runs")
        for seed in range(50):
            numbers = Numbers((("mean_s", "all"), (f"of {writer}", "all")), pd.Series([seed / 7, writer]).to_numpy(), 0.1)
            archive.keep(key_of(identity_of(given, f"version {writer}"), seed), given, seed, f"version {writer}", numbers)
        archive.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    archive = Archive(tmp_path / "runs")
    for writer in range(8):
        keys = [key_of(identity_of(given, f"version {writer}"), seed) for seed in range(50)]
        found = archive.found(keys)
        assert [found[key].values.tolist() for key in keys] == [[seed / 7, writer] for seed in range(50)]
        assert found[keys[0]].names[1] == (f"of {writer}", "all")


def test_an_archive_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / ".runs").mkdir()
    (tmp_path / ".runs" / "runs.sqlite").write_text("no database at all, but a text that is long enough\n" * 100)
    with pytest.raises(ScenarioError, match=r"runs\.sqlite: is damaged \(.*\); move it away: .* with --archive"):
        sim.sweep(scenario(), {"load.rate": [10]}, 1, workers=1, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [".runs"]


# --- theory -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_worker_swept_over_its_utilisation_waits_as_theory_says() -> None:
    one = Scenario(
        services={"shop": {"workers": 1, "operations": {"buy": [{"work": Exponential(0.01)}]}}},
        load={"rate": 10.0, "mix": "shop.buy"},
        run={"duration": 200.0, "warmup": 20.0},
    )
    found = sim.sweep(one, {"load.rate": "20..80:4"}, 10)
    told = summarise_points(found.points, found.settings, confidence=0.999)
    means = told[(told["metric"] == "mean_s") & (told["of"] == "all")]
    assert means["load.rate"].tolist() == [20, 40, 60, 80]
    for row in means.to_dict("records"):
        sojourn_s = 1 / (100 - row["load.rate"])
        assert row["low"] <= sojourn_s <= row["high"], row
        assert row["high"] - row["low"] < 0.3 * sojourn_s
