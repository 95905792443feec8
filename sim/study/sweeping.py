"""A sweep: one scenario, or the candidates of a comparison, at many points of its settings.

::

    results/NAME-sweep/
        manifest.json                  what was swept, from which scenarios, versions, what failed
        points.csv      .parquet       one row per point and replication: settings, seed, metrics
        summary.csv     .parquet       one row per point and metric: mean with its 95 % interval
        failures.csv                   runs that could not be finished: none, as a rule
    results/.runs/                     all finished runs of all sweeps beside it (`sim.study.archive`)

Every point has the same seeds, so differences between points are those of the settings.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.sweeps import column_of
from sim.compiled import say_if_slow
from sim.errors import ScenarioError
from sim.scenario.doubts import doubts_of_points
from sim.scenario.model import Comparison, Scenario
from sim.scenario.settings import Pair, Template, lasting, templates_of, tidy
from sim.scenario.words import without_numbers
from sim.study import store
from sim.study.archive import Archive, Numbers, code_version, damaged, identity_of, key_of, write_rows
from sim.study.execute import Workers, interrupts_later, places, run_tasks, shares_files
from sim.study.experiment import Simulate, Work, circumstances, known_tables, versions
from sim.study.lock import resolved
from sim.study.points import Given, Settings, axis_in, grid, in_columns, label_of, plainly, sampled, side_by_side, unit_of
from sim.study.swept import Sweep
from sim.study.tasks import Finished, Task, expected_requests, plan

ARCHIVE: Final = ".runs"
#: What a run costs besides its requests, in requests.
_COST_OF_A_RUN: Final = 500.0
#: So many mistakes of points are told.
_MOST: Final = 12


@dataclass(frozen=True)
class Standing:
    """How far a sweep is: what is told before the first run and after each."""

    points: int
    runs: int
    #: Of the runs: finished by an earlier sweep; finished now; given up.
    known: int
    done: int
    #: Requests to be simulated now, roughly.
    requests: float
    #: About how long it still takes; None before the first run is finished.
    left_s: float | None
    label: str = ""
    #: Runs that are made again, because their rows in the archive are damaged.
    damaged: int = 0
    #: What ``sim check`` doubts at the points; told before the first run.
    doubts: tuple[str, ...] = ()


def sweep(
    source: str | Path | Scenario | Comparison,
    settings: Mapping[str, Given] | Sequence[Settings],
    replications: int | None = None,
    workers: Workers = None,
    on_progress: Callable[[Standing], None] | None = None,
    *,
    zipped: bool = False,
    sample: str | None = None,
    seed: int | None = None,
    duration: str | float | None = None,
    out: str | Path | None = None,
    archive: str | Path | None = None,
    rows: Sequence[str] = (),
    simulate: Simulate | None = None,
) -> Sweep:
    """Run a scenario, or every candidate of a comparison, at many points of some settings.

    Runs that an archive has are not simulated again: a sweep that was interrupted or killed goes on where it was, and one
    with more points simulates only those. Without `out` and `archive` nothing is kept.

    Args:
        source: what to simulate; a file, too, whose named laws can then be swept.
        settings: path (as in messages: `calls.shop -> payment.timeout`, `faults[0].for`) → values, or text such as
            ``"50/s..400/s:8"``, ``"10ms..1s:5 log"``, ``"1,2,3"``; or the points themselves: a list of path → value, all with
            the same paths.
        replications: how often each point; absent: `run.replications`.
        workers: see `replicate`.
        on_progress: told how far it is, before the first run and after each, in this process.
        zipped: the first values together, the second ones, …; instead of every value with every other.
        sample: ``"lhs:50"`` or ``"sobol:64"``: so many points of the space that ranges and lists span.
        seed: instead of `run.seed`; replication r has seed + r, at every point. It also draws the sample.
        duration: measured time, instead of `run.duration`.
        out: directory for the tables; an earlier result there becomes NAME.previous.
        archive: directory of finished runs; absent: `.runs` beside `out`.
        rows: tables whose rows are kept in the archive, such as ``("requests",)``; by default the numbers alone.
        simulate: makes one run, instead of `sim.run`; nobody can know what it does, so its runs are not kept.

    Raises:
        ScenarioError: a path that leads nowhere, values that are none, a point that is no valid scenario (which, and why), or
            a directory that cannot be written. All before the first run. A run that fails does not end the sweep: see
            `Sweep.failures`.
    """
    kept = known_tables(rows)
    if kept and (simulate is not None or (out is None and archive is None)):
        raise ScenarioError("rows: they are kept in the archive; give out= or archive=, and no simulate=")
    found, templates = templates_of(source)
    templates = lasting(templates, duration)
    points = _points(templates, settings, zipped, sample, seed)
    runs = _plan(points, templates, replications, seed)
    place = None if simulate is not None else archive or (resolved(out).parent / ARCHIVE if out is not None else None)
    return _Planned(found, templates, points, runs, kept, simulate).carry_out(workers, on_progress, out, place)


@dataclass(frozen=True)
class _Run:
    """One run of a sweep, with its place in the results."""

    point: int
    candidate: str
    condition: str
    task: Task


def _points(
    templates: Mapping[Pair, Template],
    settings: Mapping[str, Given] | Sequence[Settings],
    zipped: bool,
    sample: str | None,
    seed: int | None,
) -> list[Settings]:
    """All points of a sweep, their paths checked against every scenario."""
    if not isinstance(settings, Mapping):
        return _given_points(templates, settings)
    settings = {tidy(path): values for path, values in settings.items()}
    if not settings:
        raise ScenarioError("--set: nothing is swept; write for example --set 'load.rate=50/s..400/s:8'")
    if zipped and sample is not None:
        raise ScenarioError("--zip and --sample are two ways to combine values; take one")
    problems: list[str] = []
    axes = []
    for path, given in settings.items():
        try:
            axes.append(axis_in(templates, path, given, sampled=sample is not None))
        except ScenarioError as error:
            problems += error.messages
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))
    if sample is not None:
        first = next(iter(templates.values())).scenario.run.seed
        drawn = sampled(axes, sample, first if seed is None else seed)
        if all(axis.range is None for axis in axes):
            raise ScenarioError(f"--sample {sample}: there are only lists to draw from; write a range such as 60/s..120/s")
        return drawn
    return side_by_side(axes) if zipped else grid(axes)


def _given_points(templates: Mapping[Pair, Template], points: Sequence[Settings]) -> list[Settings]:
    """Points that were worked out elsewhere."""
    found = [{tidy(path): value for path, value in point.items()} for point in points]
    paths = tuple(found[0]) if found else ()
    if not paths or any(tuple(point) != paths for point in found):
        raise ScenarioError("points: a list of path → value, with the same paths in each; for example [{'load.rate': '50/s'}]")
    for path in paths:
        for template in templates.values():
            template.type_of(path)
    return found


def _plan(
    points: Sequence[Settings], templates: Mapping[Pair, Template], replications: int | None, seed: int | None
) -> list[_Run]:
    """All runs, in the order of the results; nothing has been simulated when a point turns out to be no scenario."""
    places, cases = [], []
    problems: dict[str, list[tuple[str, str]]] = {}
    several = len(templates) > 1
    for number, point in enumerate(points):
        for (candidate, condition), template in templates.items():
            whose = f" of {candidate} under {condition}" if several else ""
            try:
                scenario = template.changed(point)
            except ScenarioError as error:
                for message in error.messages:
                    told = problems.setdefault(without_numbers(message), [])
                    told.append((f"point {number} ({label_of(point)}){whose}", message))
                continue
            places.append((number, candidate, condition))
            cases.append((candidate, f"{condition}, {label_of(point)}" if several else label_of(point), scenario))
    if problems:
        raise ScenarioError(_told(problems, len(points) * len(templates)))
    runs: list[_Run] = []
    version = code_version()
    tasks = iter(plan(cases, replications, seed))
    for place, (_, _, scenario) in zip(places, cases, strict=True):
        identity = identity_of(scenario, version)
        for _ in range(scenario.run.replications if replications is None else replications):
            task = next(tasks)
            runs.append(_Run(*place, dataclasses.replace(task, key=key_of(identity, task.seed))))
    return runs


def _told(problems: Mapping[str, list[tuple[str, str]]], cases: int) -> list[str]:
    """Mistakes of points, each once, whatever its numbers, with the first point that has it."""
    lines = []
    for found in list(problems.values())[:_MOST]:
        where, message = found[0]
        if len(found) == cases and len({text for _, text in found}) == 1:
            lines.append(f"at every point: {message}")
        else:
            lines.append(f"{where}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {message}")
    if len(problems) > _MOST:
        lines.append(f"… and {len(problems) - _MOST} more mistakes")
    return lines


@dataclass(frozen=True)
class _Attempt:
    """What a worker does with one task; an error in it is an answer, for the others shall go on."""

    work: Work
    archive: Path | None

    def __call__(self, task: Task) -> Finished:
        started = time.perf_counter()
        try:
            finished = self.work(task)
        except Exception as exc:
            said = " ".join(f"{type(exc).__name__}: {exc}".split())
            return Finished(task.index, pd.DataFrame(), None, time.perf_counter() - started, said)
        if self.archive is None or not finished.rows:
            return finished
        write_rows(self.archive, task.key, finished.rows)
        return dataclasses.replace(finished, rows=None)


class _Course:
    """The course of a sweep: what is finished, what has failed, how long it still takes."""

    def __init__(self, runs: Sequence[_Run], points: int, workers: Workers, tell: Callable[[Standing], None] | None) -> None:
        self.finished: dict[str, Numbers] = {}
        self.failed: dict[str, str] = {}
        #: How many of the finished ones were known at the beginning.
        self.known = 0
        self._runs, self._points, self._workers, self._tell = runs, points, workers, tell
        self._places = 1
        self._uses: dict[str, int] = {}
        for run in runs:
            self._uses[run.task.key] = self._uses.get(run.task.key, 0) + 1
        self._known, self._damaged, self._done, self._requests, self._cost_left = 0, 0, 0, 0.0, 0.0
        # Cost and seconds of what is finished; without the first runs, which import what they need, as soon as there are others.
        self._cost, self._took_s, self._finished_now = 0.0, 0.0, 0

    def begin(self, known: Mapping[str, Numbers], damaged: int) -> list[Task]:
        """What has to be simulated: one task for each run that is not known, however often it is used."""
        self._damaged = damaged
        self.finished.update(known)
        self.known, self._known = len(known), sum(self._uses[key] for key in known)
        missing = {run.task.key: run.task for run in self._runs if run.task.key not in known}
        self._requests = sum(expected_requests(task.scenario) for task in missing.values())
        self._cost_left = self._requests + _COST_OF_A_RUN * len(missing)
        if missing:
            self._places = places(self._workers)
        self._say("", self._doubts() if self._tell is not None else ())
        return list(missing.values())

    def keep(self, task: Task, numbers: Numbers) -> None:
        """A run is finished."""
        self.finished[task.key] = numbers
        self._count(task, numbers.elapsed_s)

    def give_up(self, task: Task, why: str) -> None:
        """A run cannot be finished."""
        self.failed[task.key] = why
        self._count(task, 0.0)

    def _count(self, task: Task, took_s: float) -> None:
        cost = expected_requests(task.scenario) + _COST_OF_A_RUN
        self._done += self._uses[task.key]
        self._cost_left -= cost
        if self._finished_now == self._places:
            self._cost, self._took_s = 0.0, 0.0
        if took_s:
            self._finished_now += 1
            self._cost, self._took_s = self._cost + cost, self._took_s + took_s
        self._say(task.label)

    def _doubts(self) -> tuple[str, ...]:
        several = len({run.candidate for run in self._runs}) > 1
        cases = {(run.point, run.candidate, run.condition): run.task for run in self._runs}
        points = []
        for (point, candidate, _), task in cases.items():
            points.append((f"{f'{candidate}, ' if several else ''}point {point} ({task.condition})", task.scenario))
        return tuple(doubts_of_points(points))

    def _say(self, label: str, doubts: tuple[str, ...] = ()) -> None:
        if self._tell is None:
            return
        left_s = self._took_s * self._cost_left / self._cost / self._places if self._cost else None
        counts = (self._points, len(self._runs), self._known, self._done)
        self._tell(Standing(*counts, self._requests, left_s, label, self._damaged, doubts))


@dataclass(frozen=True)
class _Planned:
    """A sweep that can begin: everything about it has been checked."""

    found: Scenario | Comparison
    templates: Mapping[Pair, Template]
    points: Sequence[Settings]
    runs: Sequence[_Run]
    rows: tuple[str, ...]
    simulate: Simulate | None

    def carry_out(
        self,
        workers: Workers,
        on_progress: Callable[[Standing], None] | None,
        out: str | Path | None,
        archive_in: str | Path | None,
    ) -> Sweep:
        """Simulate what is missing, gather everything, write it down."""
        say_if_slow()
        started = datetime.now().astimezone()
        writer = store.Writer(out) if out is not None else None
        try:
            archive = Archive(archive_in) if archive_in is not None else None
            course = _Course(self.runs, len(self.points), workers, on_progress)
            try:
                complete = self._simulate(course, archive, workers)
            finally:
                if archive is not None:
                    archive.close()
            if not complete and not course.finished:
                raise KeyboardInterrupt
            with interrupts_later(forget=not complete):
                found = self._gathered(course, archive)
                if writer is not None:
                    found = dataclasses.replace(found, directory=self._stored(found, writer, started, workers))
        finally:
            if writer is not None:
                writer.discard()  # nothing, after it has finished
        return found

    def _simulate(self, course: _Course, archive: Archive | None, workers: Workers) -> bool:
        keys = [run.task.key for run in self.runs]
        known = archive.found(keys, self.rows) if archive is not None else {}
        again = damaged(archive.directory, set(keys) - set(known), self.rows) if archive is not None else ()
        tasks = course.begin(known, len(again))
        version = code_version()

        def keep(task: Task, finished: Finished) -> None:
            if finished.error is not None:
                course.give_up(task, finished.error)
                return
            numbers = Numbers.of(finished.metrics, finished.elapsed_s)
            if archive is not None:
                if finished.rows:  # made where our files are not seen
                    write_rows(archive.directory, task.key, finished.rows)
                archive.keep(task.key, task.scenario, task.seed, version, numbers, self.rows)
            course.keep(task, numbers)

        place = archive.directory if archive is not None and shares_files(workers) else None
        work = _Attempt(Work(self.simulate, self.rows, None), place)
        try:
            return run_tasks(tasks, work, keep, workers, course.give_up)
        except KeyboardInterrupt:  # the second one, while the workers were being stopped
            return False

    def _gathered(self, course: _Course, archive: Archive | None) -> Sweep:
        paths = tuple(self.points[0]) if self.points else ()
        columns = {path: in_columns([point[path] for point in self.points]) for path in paths}
        done = [run for run in self.runs if run.task.key in course.finished]
        failed = [run for run in self.runs if run.task.key in course.failed]
        points = _labelled(done, columns)
        hashes = {id(run.task.scenario): "" for run in done}
        for run in done:
            hashes[id(run.task.scenario)] = hashes[id(run.task.scenario)] or run.task.scenario.hash
        points["scenario"] = pd.Series([hashes[id(run.task.scenario)] for run in done], dtype=object)
        points = pd.concat([points, _metrics([course.finished[run.task.key] for run in done])], axis=1)
        failures = _labelled(failed, columns)
        failures["error"] = pd.Series([course.failed[run.task.key] for run in failed], dtype=object)
        simulated = len(course.finished) - course.known
        where = None if archive is None else archive.directory
        name, question = self.found.name, self.found.question
        units = {path: unit_of([point[path] for point in self.points]) for path in paths}
        keys = tuple(run.task.key for run in done)
        windows = tuple((run.task.scenario.run.warmup, run.task.scenario.run.end) for run in done)
        return Sweep(name, question, paths, points, failures, len(self.runs), simulated, units, None, where, keys, windows)

    def _stored(self, found: Sweep, writer: store.Writer, started: datetime, workers: Workers) -> Path:
        manifest = {
            "format": store.FORMAT,
            "kind": "sweep",
            **circumstances(found.name, found.question, started),
            "versions": {**versions(), "code": code_version()},
            "workers": workers,
            "partial": found.partial,
            "settings": list(found.settings),
            "units": dict(found.units),
            "points": [{path: plainly(value) for path, value in point.items()} for point in self.points],
            "seeds": sorted({run.task.seed for run in self.runs}),
            "planned_runs": found.planned,
            "simulated_runs": found.simulated,
            "failed_runs": len(found.failures),
            "archive": None if found.archive is None else str(found.archive),
            "keys": list(found.keys),
            "windows": list(found.windows),
            "cases": [
                {"candidate": candidate, "condition": condition, "scenario": template.scenario.as_data()}
                for (candidate, condition), template in self.templates.items()
            ],
        }
        tables = {"points": found.points, "summary": found.summary, "failures": found.failures}
        return writer.finish(manifest, tables, parquet=tables)


def _labelled(runs: Sequence[_Run], columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """What tells runs apart, as columns."""
    labels = {
        "point": np.array([run.point for run in runs], dtype=np.int64),
        "candidate": pd.Series([run.candidate for run in runs], dtype=object),
        "condition": pd.Series([run.condition for run in runs], dtype=object),
        **{path: pd.Series([values[run.point] for run in runs], dtype=_dtype(values)) for path, values in columns.items()},
        "replication": np.array([run.task.replication for run in runs], dtype=np.int64),
        "seed": np.array([run.task.seed for run in runs], dtype=np.int64),
    }
    return pd.DataFrame(labels)


def _dtype(values: Sequence[Any]) -> Any:
    return object if any(isinstance(value, str) for value in values) else np.asarray(values).dtype


def _metrics(numbers: Sequence[Numbers]) -> pd.DataFrame:
    """One row per run, one column per metric, in the order in which they first come; NaN where a run has none."""
    names = dict.fromkeys(name for layout in dict.fromkeys(one.names for one in numbers) for name in layout)
    place = {name: i for i, name in enumerate(names)}
    values = np.full((len(numbers), len(names)), np.nan)
    wheres: dict[Any, list[int]] = {}
    for row, one in enumerate(numbers):
        where = wheres.setdefault(one.names, [place[name] for name in one.names])
        values[row, where] = one.values
    return pd.DataFrame(values, columns=[column_of(metric, of) for metric, of in names])
