"""Replicate one scenario, or compare candidates under conditions, on all cores."""

from __future__ import annotations

import functools
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sim.analysis.curves import label_run
from sim.analysis.precision import Precision, precision_of, replications_needed
from sim.compiled import say_if_slow
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.scenario.words import nearest
from sim.study import store
from sim.study.execute import Workers, interrupts_later, run_tasks, shares_files
from sim.study.lock import resolved
from sim.study.measure import TABLES, Tables, measure, require_metrics
from sim.study.results import ONLY_CONDITION, Results, RowsInMemory, RowsOnDisk, RowSource, RunInfo
from sim.study.tasks import Case, Finished, Task, plan

#: How one run is made: scenario and seed in, tables out; `sim.run` unless you bring your own.
Simulate = Callable[[Scenario, int], Tables]
#: Told after each run: how many are done, how many there are, which one it was.
Progress = Callable[[int, int, str], None]
#: With `until`: replications at most, and to begin with: the spread of fewer is not known well enough to stop by it.
AT_MOST: Final = 200
_TO_BEGIN_WITH: Final = 10


def replicate(
    scenario: Scenario,
    replications: int | None = None,
    workers: Workers = None,
    on_progress: Progress | None = None,
    *,
    seed: int | None = None,
    out: str | Path | None = None,
    rows: Sequence[str] = TABLES,
    simulate: Simulate | None = None,
    until: str | None = None,
    at_most: int = AT_MOST,
) -> Results:
    """Run a scenario with several seeds and give its numbers intervals.

    Replication r uses seed + r. The results do not depend on the number of workers. Ctrl-C ends the study and keeps
    what is finished (`Results.partial`); pressed before the first run is finished, it is a KeyboardInterrupt.

    Args:
        scenario: what to simulate.
        replications: how often; absent: `run.replications`.
        workers: processes; 1 stays in this one; absent: one per core; ``"tcp://10.0.0.5:8786"``: a Dask cluster
            (`sim.study.cluster`).
        on_progress: called with (done, total, label) after each run, in this process.
        seed: instead of `run.seed`.
        out: directory for the results (see `sim.study.store`); rows are then written run by run and never held
            together. An earlier result there becomes NAME.previous. Absent: everything stays in memory.
        rows: which tables to keep; () for the numbers alone.
        simulate: makes one run, instead of `sim.run`: for example with your own SimPy processes.
        until: how precise a number shall be, such as ``"p99 ± 2 %"`` (`sim.analysis.precision_of`): replications are added
            until its 95 % interval is as narrow, beginning with `replications` (absent: `run.replications`, at least ten).
        at_most: with `until`: no more replications than these.

    Raises:
        ScenarioError: an impossible request, or a directory that cannot be written. Errors of a run pass through,
            with a note which run it was; what was finished before is then kept on disk, marked partial.
    """
    cases = [(scenario.name, ONLY_CONDITION, scenario)]
    study = _Study(scenario.name, scenario.question, cases, scenario.name, simulate, known_tables(rows))
    return study.carry_out(*_begun(cases, replications, seed, until, at_most), workers, on_progress, out)


def compare(
    comparison: Comparison,
    replications: int | None = None,
    workers: Workers = None,
    on_progress: Progress | None = None,
    *,
    seed: int | None = None,
    baseline: str | None = None,
    out: str | Path | None = None,
    rows: Sequence[str] = TABLES,
    simulate: Simulate | None = None,
    until: str | None = None,
    at_most: int = AT_MOST,
) -> Results:
    """Run every candidate under every condition with the same seeds, so that they can be compared run by run.

    Arguments and errors are those of `replicate`, and:

    Args:
        comparison: the candidates and conditions.
        replications: how often each; absent: `run.replications` of each scenario.
        workers: see `replicate`.
        on_progress: see `replicate`.
        seed: see `replicate`.
        baseline: the candidate that the others are compared with; absent: the first.
        out: see `replicate`.
        rows: see `replicate`.
        simulate: see `replicate`.
        until: see `replicate`; of every candidate under every condition.
        at_most: see `replicate`.

    Raises:
        ScenarioError: see `replicate`; or the baseline is no candidate, or scenarios differ in their conditions or seed.
    """
    names = list(comparison.candidates)
    if baseline is not None and baseline not in names:
        raise ScenarioError(f"baseline: no candidate {baseline!r}; {nearest(baseline, names)}")
    cases = list(comparison.scenarios())
    study = _Study(comparison.name, comparison.question, cases, baseline or names[0], simulate, known_tables(rows))
    return study.carry_out(*_begun(cases, replications, seed, until, at_most), workers, on_progress, out)


def _begun(
    cases: list[Case], replications: int | None, seed: int | None, until: str | None, at_most: int
) -> tuple[list[Task], _Growth | None]:
    """The first tasks of a study, and how it goes on."""
    if until is None:
        return plan(cases, replications, seed), None
    growth = _Growth(cases, precision_of(until), at_most, seed)
    for _, _, scenario in cases:
        require_metrics(scenario, (growth.wanted.metric,), f"--until {until!r}")
    if replications is None:
        replications = max(_TO_BEGIN_WITH, *(scenario.run.replications for _, _, scenario in cases))
    if at_most < replications:
        raise ScenarioError(f"--at-most {at_most}: it begins with {replications} replications; take more, or a smaller -r")
    return plan(cases, replications, seed), growth


@dataclass(frozen=True)
class _Growth:
    """A study that gets more replications until a number is precise."""

    cases: list[Case]
    wanted: Precision
    at_most: int
    seed: int | None

    def more(self, tasks: Sequence[Task], finished: Mapping[int, Finished]) -> list[Task]:
        """What has to be run besides these tasks, which are finished; nothing when it is enough."""
        labelled = [label_run(finished[task.index].metrics, *task.labels) for task in tasks]
        needed, reached = replications_needed(pd.concat(labelled, ignore_index=True), self.wanted)
        if reached:
            return []
        there = {task.labels for task in tasks}
        fresh = [task for task in plan(self.cases, min(needed, self.at_most), self.seed) if task.labels not in there]
        return [replace(task, index=len(tasks) + i) for i, task in enumerate(fresh)]


def load_results(directory: str | Path) -> Results:
    """Read a results directory back; its rows are read from disk when asked for.

    Raises:
        ScenarioError: it is no results directory, or its files cannot be read.
    """
    path = resolved(directory)
    manifest = store.read_manifest(path)
    if manifest.get("kind") == "sweep":
        raise ScenarioError(f"{path}: is a sweep; read it with sim.study.load_sweep")
    try:
        scenarios = {
            (case["candidate"], case["condition"]): Scenario.model_validate(case["scenario"]) for case in manifest["cases"]
        }
        runs = tuple(RunInfo(**run) for run in manifest["runs"])
        name, question = str(manifest["name"]), str(manifest["question"])
        baseline, planned = str(manifest["baseline"]), int(manifest["planned_runs"])
    except (KeyError, TypeError, ValueError) as exc:
        first = str(exc).splitlines()[0]
        raise ScenarioError(
            f"{path / store.MANIFEST}: its scenarios cannot be read back ({first}); the CSV and Parquet files beside it can"
        ) from exc
    source = RowsOnDisk(path, str(manifest.get("run_id", "")))
    metrics = store.read_metrics(path)
    source.check()  # not half of these results and half of later ones
    return Results(name, question, baseline, scenarios, metrics, runs, planned, source, path)


def known_tables(rows: Sequence[str]) -> tuple[str, ...]:
    """Names of tables, all of which exist.

    Raises:
        ScenarioError: one does not.
    """
    for name in rows:
        if name not in TABLES:
            raise ScenarioError(f"rows: no table {name!r}; {nearest(name, list(TABLES))}")
    return tuple(rows)


@dataclass(frozen=True)
class Work:
    """What a worker does with one task; it travels to the worker as a value."""

    simulate: Simulate | None
    rows: tuple[str, ...]
    directory: Path | None

    def __call__(self, task: Task) -> Finished:
        """Make the run, and reduce it to numbers and the wanted rows."""
        started = time.perf_counter()
        result = (self.simulate or _run)(task.scenario, task.seed)
        metrics = measure(result, task.scenario)
        kept = {name: getattr(result, name) for name in self.rows}
        if self.directory is not None:
            _write(self.directory, task, kept)
        return Finished(task.index, metrics, kept if self.directory is None else None, time.perf_counter() - started)


def _write(directory: Path, task: Task, rows: Mapping[str, pd.DataFrame]) -> None:
    store.write_rows(directory, task.index, {name: store.label_rows(table, *task.labels) for name, table in rows.items()})


def _run(scenario: Scenario, seed: int) -> Tables:
    from sim.single import simulate  # lazily: whoever only reads results needs no simulator

    return simulate(scenario, seed)


@dataclass(frozen=True)
class _Study:
    """One study: what is fixed before the first run starts."""

    name: str
    question: str
    cases: list[Case]
    baseline: str
    simulate: Simulate | None
    rows: tuple[str, ...]

    def carry_out(
        self,
        tasks: list[Task],
        growth: _Growth | None,
        workers: Workers,
        on_progress: Progress | None,
        out: str | Path | None,
    ) -> Results:
        """Run the tasks, and more if it takes more, and gather their results; on disk, too, if there is a directory for them."""
        say_if_slow()
        writer = store.Writer(out) if out is not None else None
        finished: dict[int, Finished] = {}

        def keep(task: Task, result: Finished) -> None:
            if writer is not None and result.rows is not None:  # made where our files are not seen
                _write(writer.rows, task, result.rows)
                result = replace(result, rows=None)
            finished[task.index] = result
            if on_progress is not None:
                on_progress(len(finished), len(tasks), task.label)

        started = datetime.now().astimezone()
        work = Work(self.simulate, self.rows, writer.rows if writer and shares_files(workers) else None)
        try:
            try:
                complete = run_tasks(tasks, work, keep, workers)
                while complete and growth is not None and (more := growth.more(tasks, finished)):
                    tasks = tasks + more
                    complete = run_tasks(more, work, keep, workers)
            except KeyboardInterrupt:  # the second one, while the workers were being stopped
                complete = False
            if not finished:
                raise KeyboardInterrupt
            with interrupts_later(forget=not complete):
                results = self._gather(tasks, finished)
                if writer is not None:
                    results = self._store(results, writer, started, workers, "interrupted" if not complete else None)
        except BaseException as exc:
            self._rescue(exc, tasks, finished, writer, started, workers)
            raise
        return results

    def _gather(self, tasks: list[Task], finished: Mapping[int, Finished]) -> Results:
        """Put what is finished into the order of the tasks, whenever it came."""
        runs, metrics, kept = [], [], {}
        order = {(candidate, condition): place for place, (candidate, condition, _) in enumerate(self.cases)}
        for task in sorted(tasks, key=lambda task: (order[task.candidate, task.condition], task.replication)):
            if task.index in finished:
                one = finished[task.index]
                runs.append(RunInfo(task.index, *task.labels, task.seed, round(one.elapsed_s, 6)))
                metrics.append(label_run(one.metrics, *task.labels))
                kept[task.index] = one.rows or {}
        table = pd.concat(metrics, ignore_index=True)
        scenarios = {(candidate, condition): scenario for candidate, condition, scenario in self.cases}
        source: RowSource = RowsInMemory(kept)
        return Results(self.name, self.question, self.baseline, scenarios, table, tuple(runs), len(tasks), source)

    def _store(
        self, results: Results, writer: store.Writer, started: datetime, workers: Workers, stopped_by: str | None
    ) -> Results:
        tables = {"metrics": results.metrics, "summary": results.summary, "differences": results.differences()}
        manifest = _manifest(results, self.rows, started, workers, stopped_by)
        return results.with_directory(writer.finish(manifest, tables), writer.run_id)

    def _rescue(
        self,
        exc: BaseException,
        tasks: list[Task],
        finished: Mapping[int, Finished],
        writer: store.Writer | None,
        started: datetime,
        workers: Workers,
    ) -> None:
        """After an error in one run: keep the others if that is possible, else leave no trace."""
        if writer is None:
            return
        try:
            if writer.finished:
                exc.add_note(f"all {len(finished)} runs are finished and kept in {writer.target}")
            elif isinstance(exc, Exception) and finished and len(finished) < len(tasks):
                stopped_by = f"{type(exc).__name__}: {exc}"
                stored = self._store(self._gather(tasks, finished), writer, started, workers, stopped_by)
                exc.add_note(f"the {len(finished)} runs that were finished before are in {stored.directory}, marked partial")
        except Exception:  # the disk is full, most likely: the first error is the one to tell
            pass
        finally:
            writer.discard()


def _manifest(
    results: Results, rows: Sequence[str], started: datetime, workers: Workers, stopped_by: str | None
) -> dict[str, Any]:
    """Everything that is needed to repeat the study, or to doubt it."""
    cases = [
        {
            "candidate": candidate,
            "condition": condition,
            "hash": scenario.hash,
            "replications": [run.replication for run in results.runs if (run.candidate, run.condition) == (candidate, condition)],
            "scenario": scenario.as_data(),
        }
        for (candidate, condition), scenario in results.scenarios.items()
    ]
    return {
        "format": store.FORMAT,
        **circumstances(results.name, results.question, started),
        "versions": versions(),
        "settings": {"workers": workers, "rows": list(rows), "confidence": 0.95},
        "partial": results.partial,
        "stopped_by": stopped_by,
        "baseline": results.baseline,
        "seeds": sorted({run.seed for run in results.runs}),
        "planned_runs": results.planned,
        "cases": cases,
        "runs": [asdict(run) for run in results.runs],
    }


def circumstances(name: str, question: str, started: datetime) -> dict[str, Any]:
    """What a manifest says of how a study came about: when, for how long, and by which command."""
    return {
        "name": name,
        "question": question,
        "date": started.isoformat(timespec="seconds"),
        "took_s": round((datetime.now().astimezone() - started).total_seconds(), 3),
        "command_line": shlex.join([_program(sys.argv[0]), *sys.argv[1:]]),
    }


def _program(path: str) -> str:
    """How a reader starts the same program: `python -m sim` and an installed `sim` are the command sim."""
    started = Path(path)
    ours = started.name == "sim" or (started.name == "__main__.py" and started.parent.name == "sim")
    return "sim" if ours else path


@functools.cache
def versions() -> dict[str, str]:
    """What a study was made with: Python and the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("sim", "numpy", "pandas", "scipy", "simpy", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
