"""What goes wrong in a study: interrupts, killed workers, errors, full disks. Nothing is lost or half-written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from studies import assert_same, comparison, fake, scenario

from sim.cli.show import show_results
from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.study import compare, load_results, only_writer, replicate

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_an_interrupt_keeps_what_is_finished_and_says_partial(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, label: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    found = compare(comparison(), workers=1, simulate=fake, on_progress=interrupt, out=tmp_path / "out")
    assert found.partial
    assert len(found.runs) == 5
    assert [run.replication for run in found.runs].count(0) == 4, "the first replication of every case is there"
    assert "partial: 7 more were planned" in repr(found)
    again = load_results(tmp_path / "out")
    assert again.partial
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["stopped_by"] == "interrupted"
    assert_same(found, again)


@pytest.mark.slow
def test_what_is_finished_is_shown_though_a_condition_has_no_run_yet() -> None:
    def interrupt(done: int, total: int, label: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    found = compare(comparison(), 2, workers=1, simulate=fake, on_progress=interrupt)
    assert len(found.conditions) == 2
    console = Console(file=io.StringIO(), width=120)
    show_results(console, found)
    told = console.file.getvalue()
    assert "under quiet\n\n" in told
    assert "under crash\nno run of it is finished\n" in told
    assert "By regret" not in told, "what was not run is not infinitely bad"


def test_an_interrupt_inside_a_run_in_parallel(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, label: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    def slow(given: Scenario, seed: int) -> Any:
        time.sleep(0.05)
        return fake(given, seed)

    found = compare(comparison(), 10, workers=2, simulate=slow, on_progress=interrupt, out=tmp_path / "out")
    assert found.partial
    assert 2 <= len(found.runs) < 40
    assert len(found.rows()) == sum(run.seed for run in found.runs), "every finished run has its rows, no other has"
    whole = replicate(scenario(), workers=2, simulate=fake)
    assert not whole.partial, "the next study gets new workers"


def test_an_interrupt_before_anything_is_finished_leaves_the_old_results(tmp_path: Path) -> None:
    replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")

    def interrupted(given: Scenario, seed: int) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicate(scenario(), workers=1, simulate=interrupted, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not load_results(tmp_path / "out").partial


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_a_terminal(tmp_path: Path, workers: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from studies import fake, scenario
        from sim.study import replicate

        def slow(given, seed):
            time.sleep(0.2)
            return fake(given, seed)

        if __name__ == "__main__":
            found = replicate(scenario(), 200, workers={workers}, simulate=slow, out={str(tmp_path / "out")!r},
                              on_progress=lambda done, total, label: print(done, flush=True))
            print("partial" if found.partial else "whole")
        """)
    )
    started = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    while int(started.stdout.readline()) < 3:
        pass
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the parent and to every worker
    out, err = started.communicate(timeout=60)
    assert started.returncode == 0, err
    assert out.splitlines()[-1] == "partial"
    assert "Traceback" not in err
    found = load_results(tmp_path / "out")
    assert found.partial
    assert 3 <= len(found.runs) < 200
    assert len(found.rows()) == sum(run.seed for run in found.runs)
    assert not list((tmp_path / "out" / "rows").glob("*.part"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "script.py"]


@POSIX
def test_only_the_parent_decides_about_an_interrupt() -> None:
    def nudged(given: Scenario, seed: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
        return fake(given, seed)

    assert not replicate(scenario(), workers=2, simulate=nudged).partial


@POSIX
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_that_is_swallowed_still_ends_the_study(workers: int) -> None:
    def deaf(done: int, total: int, label: str) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in finalizers
            signal.raise_signal(signal.SIGINT)

    found = replicate(scenario(), 50, workers=workers, simulate=fake, on_progress=deaf)
    assert found.partial
    assert 1 <= len(found.runs) < 50


def test_a_second_interrupt_still_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(tasks: Any, work: Any, keep: Any, workers: Any) -> bool:
        for task in tasks[:2]:
            keep(task, work(task))
        raise KeyboardInterrupt  # while the workers of the first one are being stopped

    monkeypatch.setattr("sim.study.experiment.run_tasks", impatient)
    found = replicate(scenario(), simulate=fake, out=tmp_path / "out")
    assert (found.partial, len(found.runs)) == (True, 2)
    assert load_results(tmp_path / "out").partial


@POSIX
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_results_are_written_waits_until_they_are_there(
    kind: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def struck(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), kind)
        return rename(path, target)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        monkeypatch.setattr(Path, "rename", struck)
        with pytest.raises(KeyboardInterrupt) as caught:
            replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.__notes__ == [f"all 3 runs are finished and kept in {tmp_path / 'out'}"]
    assert not load_results(tmp_path / "out").partial
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


WAIT = "from sim.study import only_writer\nwith only_writer({out!r}):\n    print('here', flush=True)\n    input()"


@POSIX
def test_two_processes_do_not_write_one_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = [sys.executable, "-c", WAIT.format(out=str(out))]
    other = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "here\n"
    with pytest.raises(ScenarioError, match=rf"/out: process {other.pid} is writing results there; wait until it has ended, or"):
        replicate(scenario(), workers=1, simulate=fake, out=out)
    replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "another")
    other.kill()  # a lock of the dead locks nobody out
    other.communicate()
    assert not replicate(scenario(), workers=1, simulate=fake, out=out).partial
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "out"]


@POSIX
def test_two_threads_do_not_write_one_directory_and_one_may_nest(tmp_path: Path) -> None:
    def write() -> str:
        try:
            with only_writer(tmp_path / "out"):
                return "written"
        except ScenarioError as error:
            return str(error)

    with ThreadPoolExecutor(1) as other, only_writer(tmp_path / "out") as locked:
        assert locked
        with only_writer(tmp_path / "." / "out"):
            assert not replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out").partial
        assert f"process {os.getpid()} is writing" in other.submit(write).result()
    assert write() == "written"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
@POSIX
def test_the_tasks_of_a_killed_worker_run_again(tmp_path: Path) -> None:
    mark = tmp_path / "killed"

    def murdered(given: Scenario, seed: int) -> Any:
        if seed == 9 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return fake(given, seed)

    found = compare(comparison(), 4, workers=2, simulate=murdered, out=tmp_path / "out")
    assert mark.exists()
    assert not found.partial
    assert_same(found, compare(comparison(), 4, workers=1, simulate=fake))


@POSIX
@pytest.mark.slow
def test_a_run_that_always_kills_its_worker_is_given_up_with_advice(tmp_path: Path) -> None:
    def deadly(given: Scenario, seed: int) -> Any:
        if seed == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake(given, seed)

    with pytest.raises(ScenarioError, match=r"died 3 times in a row and .*seed 8.* use fewer workers") as caught:
        replicate(scenario(), workers=2, simulate=deadly, out=tmp_path / "out")
    assert "2 runs that were finished before are in" in caught.value.__notes__[0]
    assert [run.seed for run in load_results(tmp_path / "out").runs] == [7, 9]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize(
    ("start", "run"),
    [("go()", "busy"), ("one = threading.Thread(target=go); one.start(); one.join()", "idle")],
    ids=["in compiled code", "from a thread"],
)
def test_nothing_is_left_of_a_study_whose_parent_was_killed(tmp_path: Path, start: str, run: str) -> None:
    program = f"""
        import os, pathlib, threading, time, sim
        from studies import fake, scenario

        def work(given, seed):
            pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch()
            if {run!r} == "busy":
                sim.run(given, seed=seed)
            time.sleep(60)

        def go():
            sim.replicate(scenario(run={{"duration": 1e4, "replications": 2}}), workers=2, simulate=work)

        {start}
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both workers begin", at_most_s=120.0)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    try:
        wait_until(lambda: not any(map(is_running, workers)), "the workers end with their parent")
        wait_until(lambda: not list(Path("/dev/shm").glob(f"sem.loky-{parent.pid}-*")), "and their semaphores are gone")
    finally:
        for pid in filter(is_running, workers):
            os.kill(pid, signal.SIGKILL)


def wait_until(holds: Callable[[], bool], what: str, at_most_s: float = 40.0) -> None:
    end_s = time.monotonic() + at_most_s
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended and was not asked for by its parent does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith("Z")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_run_names_the_run(tmp_path: Path, workers: int) -> None:
    def broken(given: Scenario, seed: int) -> Any:
        if seed == 9:
            raise ZeroDivisionError("a user's process")
        return fake(given, seed)

    with pytest.raises(ZeroDivisionError, match="a user's process") as caught:
        replicate(scenario(), workers=workers, simulate=broken, out=tmp_path / "out")
    assert caught.value.__notes__[0].startswith("in shop · base · replication 2 (seed 9) of scenario 'shop'")
    found = load_results(tmp_path / "out")
    assert found.partial
    # The run with the error starts when one of the others has ended; the third may still be on its way.
    seeds = [run.seed for run in found.runs]
    assert seeds == [7, 8] if workers == 1 else seeds in ([7], [8], [7, 8])


def test_an_error_in_the_first_run_leaves_nothing(tmp_path: Path) -> None:
    def broken(given: Scenario, seed: int) -> Any:
        raise ScenarioError("shop.yaml:3: no")

    with pytest.raises(ScenarioError, match=r"shop\.yaml:3: no"):
        replicate(scenario(), workers=1, simulate=broken, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_the_old_results_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(ScenarioError, match=r"No space left on device.*choose another directory"):
        replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(ScenarioError, match="No space left on device"):
        replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not load_results(tmp_path / "out").partial
