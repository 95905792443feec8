"""The archive of finished runs: many writers, full disks, damaged files; and rows that need not fit into memory."""

from __future__ import annotations

import errno
import resource
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies import scenario
from typer.testing import CliRunner

import sim
from sim.analysis.sketched import Pool
from sim.cli import app
from sim.errors import ScenarioError
from sim.sketch import RELATIVE_ERROR, Sketch, counts_of
from sim.study import Standing, archive, load_sweep
from sim.study.archive import FILE, Archive, Numbers, pieces_of, write_rows
from sim.study.execute import run_tasks
from sim.study.lock import unwritable
from sim.study.tasks import plan

RATES = {"load.rate": [20, 40]}


def kept(place: Archive, key: str, values: int = 1) -> None:
    place.keep(key, scenario(), 1, "1.0", Numbers((("mean_s", "all"),) * values, np.full(values, 0.25), 0.1))


# --- others write, too ------------------------------------------------------------------------------------------------


def test_who_opens_a_new_archive_waits_for_whoever_makes_it(tmp_path: Path) -> None:
    maker = sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)
    maker.execute("begin immediate")
    leave = threading.Timer(0.2, lambda: maker.execute("rollback"))
    leave.start()
    kept(Archive(tmp_path), "one")
    leave.join()
    assert list(Archive(tmp_path).found(["one"])) == ["one"]


def test_who_never_gets_a_turn_is_told_who_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_PATIENCE_S", 0.02)
    mine = Archive(tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(ScenarioError, match=r"another process has kept it locked for 0\.02 s .*; wait until that has ended"):
        kept(mine, "one")
    other.execute("rollback")
    kept(mine, "one")


# --- what cannot be written or read -----------------------------------------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_finished_runs_are_kept(tmp_path: Path) -> None:
    place = Archive(tmp_path)
    kept(place, "before")
    log = tmp_path / f"{FILE}-wal"
    with room_for(log.stat().st_size), pytest.raises(ScenarioError, match=r"cannot be written .*; free some space"):
        kept(place, "too large", values=5_000)
    kept(place, "after")
    place.close()
    assert set(Archive(tmp_path).found(["before", "too large", "after"])) == {"before", "after"}


def test_rows_on_a_full_disk_leave_no_half_file(tmp_path: Path) -> None:
    rows = pd.DataFrame({"arrived_s": np.random.default_rng(1).random(10_000)})
    with room_for(10_000), pytest.raises(ScenarioError, match=r"cannot write the results .*; raise the limit of file sizes"):
        write_rows(tmp_path, "one", {"requests": rows})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    write_rows(tmp_path, "one", {"requests": rows})
    (file,) = tmp_path.rglob("*.parquet")
    pd.testing.assert_frame_equal(pd.concat(pieces_of(file)), rows)


def test_where_no_directory_can_be_made_the_place_is_told(tmp_path: Path) -> None:
    target = tmp_path / "nothing" / "here"
    (told,) = unwritable(target, OSError(errno.ENOENT, "No such file or directory")).messages
    assert told == f"{target}: cannot write the results: {tmp_path} takes no new directories; choose another directory"


def test_a_read_only_archive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Archive(tmp_path).close()
    connect = sqlite3.connect

    def read_only(file: Path, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{file}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(ScenarioError, match=r"runs\.sqlite: cannot be written .*readonly.*; choose another place with --archive"):
        Archive(tmp_path)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("pragma user_version = 99", "was written by a newer version of sim; update it, or choose another place with --archive"),
        ("create table runs (key text)", "was written by an older version of sim or another program, or choose another place"),
    ],
)
def test_what_another_version_or_program_wrote_is_left_alone(tmp_path: Path, statement: str, said: str) -> None:
    with sqlite3.connect(tmp_path / FILE) as base:
        base.execute(statement)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(ScenarioError, match=said):
        Archive(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_database_that_was_cut_off_ends_with_one_message(tmp_path: Path) -> None:
    place = Archive(tmp_path / ".runs")
    for number in range(50):
        kept(place, f"run {number}", values=100)
    place.close()
    base = tmp_path / ".runs" / FILE
    base.write_bytes(base.read_bytes()[: base.stat().st_size // 2])
    (tmp_path / "shop.yaml").write_text(sim.dumps(scenario()))
    out = ["--out", str(tmp_path / "out")]
    words = ["sweep", str(tmp_path / "shop.yaml"), "--set", "load.rate=10/s", "--workers", "1", *out]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.count("runs.sqlite: is damaged (") == 1
    assert "move it away: its runs are then simulated again" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".runs", "shop.yaml"]


def test_a_run_whose_rows_were_cut_off_is_made_again_and_that_is_said(tmp_path: Path) -> None:
    def swept(told: list[Standing]) -> sim.study.Sweep:
        return sim.sweep(scenario(), RATES, 1, 1, told.append, out=tmp_path / "out", rows=("requests",))

    first = swept([])
    files = sorted(tmp_path.rglob("requests.parquet"))
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-100])
    told: list[Standing] = []
    again = swept(told)
    assert (again.simulated, told[0].known, told[0].damaged) == (1, 1, 1)
    assert files[0].read_bytes() == whole
    pd.testing.assert_frame_equal(again.points, first.points, check_exact=True)
    # What lies between is seen when it is read.
    files[0].write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(ScenarioError, match=r"requests\.parquet: is damaged .*; remove it and run the same sweep again"):
        load_sweep(tmp_path / "out").latencies()


def test_workers_stop_when_nothing_can_be_kept_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[dict[str, bool]] = []

    class Crew:
        def submit(self, work: Any, task: Any) -> Future[Any]:
            made: Future[Any] = Future()
            made.set_result(work(task))
            return made

        def shutdown(self, **how: bool) -> None:
            stopped.append(how)

    def full(*_: Any) -> None:
        raise ScenarioError("no space")

    monkeypatch.setattr("loky.get_reusable_executor", lambda **_: Crew())
    with pytest.raises(ScenarioError, match="no space"):
        run_tasks(plan([("shop", "base", scenario())], 4), lambda task: task, full, workers=2)
    assert stopped == [{"wait": True, "kill_workers": True}]


# --- more rows than fit into memory -----------------------------------------------------------------------------------


def test_counts_of_many_are_those_of_each() -> None:
    durations_s = np.exp(np.random.default_rng(2).uniform(-25, 25, 2_000))
    sketch = Sketch()
    for duration_s in durations_s:
        sketch.add(float(duration_s))
    assert counts_of(durations_s).tolist() == sketch.counts().tolist()


def test_latencies_of_all_replications_are_counted_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sim.sweep(scenario(), RATES, 2, workers=1, out=tmp_path / "out", rows=("requests",))
    monkeypatch.setattr(archive, "_ROWS_AT_ONCE", 7)
    largest: list[int] = []
    add = Pool.add

    def watched(pool: Pool, durations_s: Any) -> None:
        largest.append(len(durations_s))
        add(pool, durations_s)

    monkeypatch.setattr(Pool, "add", watched)
    pooled = load_sweep(tmp_path / "out").latencies([50.0, 99.0])
    assert len(largest) > 20
    assert max(largest) <= 7, "more rows than a piece were held at once"
    assert pooled.columns.tolist() == ["point", "candidate", "condition", "load.rate", "n", "mean_s", "p50_s", "p99_s", "max_s"]
    for row in pooled.to_dict("records"):
        rows = found.rows(point=row["point"]).query("0.5 <= arrived_s < 3.5 and outcome == 'ok'")
        exact_s = (rows["ended_s"] - rows["arrived_s"]).to_numpy()
        assert (row["n"], row["max_s"]) == (len(exact_s), exact_s.max())
        assert row["mean_s"] == pytest.approx(exact_s.mean(), rel=1e-12)
        assert [row["p50_s"], row["p99_s"]] == pytest.approx(np.quantile(exact_s, [0.5, 0.99]), rel=RELATIVE_ERROR)


def test_latencies_can_be_told_apart_and_chosen(tmp_path: Path) -> None:
    found = sim.sweep(scenario(), RATES, 1, workers=1, out=tmp_path / "out", rows=("requests",))
    (row,) = found.latencies([99.9], by=("entry",), point=1).to_dict("records")
    assert (row["point"], row["load.rate"], row["entry"]) == (1, 40, "shop.buy")
    assert found.latencies(point=7).empty
    with pytest.raises(ScenarioError, match="requests have no column 'entri'; did you mean 'entry'"):
        found.latencies(by=("entri",))
    with pytest.raises(ScenarioError, match="has no column 'arived_s'; did you mean 'arrived_s'"):
        found.rows(columns=["arived_s"])
