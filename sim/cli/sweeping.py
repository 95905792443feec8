"""``sim sweep``: say what it will cost, carry it out, show the table, end with the right code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from sim.cli.terminal import RUNS_FAILED, Format, answer, end_if_partial, out, resumable, say, say_doubts
from sim.scenario.yaml import load

if TYPE_CHECKING:
    import pandas as pd

    from sim.study import Standing, Sweep
    from sim.study.execute import Workers

#: What is shown when nobody asks for other metrics.
_SHOWN: Final = ("success", "p99_s")
#: More failures and points than these are in the files only.
_MOST_FAILURES: Final = 10
_MOST_POINTS: Final = 60
_LOAD: Final = "load.rate"


@dataclass(frozen=True)
class Swept:
    """What the options say about a sweep."""

    file: Path
    settings: tuple[str, ...]
    zipped: bool
    sample: str | None
    duration: str | None
    directory: Path | None
    archive: Path | None
    rows: tuple[str, ...]
    metrics: tuple[str, ...]


def carry_out(
    swept: Swept,
    *,
    replications: int | None,
    seed: int | None,
    workers: Workers,
    output: Format,
    charts: bool,
    quiet: bool,
) -> None:
    """Do what ``sim sweep`` does."""
    from sim.study import default_directory, sweep
    from sim.study.measure import require_metrics
    from sim.study.points import settings_from_text

    settings = settings_from_text(swept.settings)
    source = load(swept.file)
    require_metrics(source, swept.metrics)
    target = swept.directory or default_directory(f"{source.name}-sweep")
    with resumable("interrupted; no run was finished"), standing(quiet) as tell:
        found = sweep(
            swept.file, settings, replications, workers, tell, zipped=swept.zipped, sample=swept.sample, seed=seed,
            duration=swept.duration, out=target, archive=swept.archive, rows=swept.rows,
        )  # fmt: skip
    metrics = _known_metrics(found, swept.metrics)
    drawn = _draw(found, metrics) if charts else []
    answer(output, table=lambda: found.points, data=lambda: as_data(found), show=lambda: _show(found, metrics))
    _end(found, drawn, quiet)


def _draw(found: Sweep, metrics: Sequence[str]) -> list[Path]:
    """Charts of the metrics over one or two settings, beside the tables."""
    if found.directory is None or not 1 <= len(found.settings) <= 2:
        return []
    from sim.plots import sweep_charts

    return sweep_charts(
        found.summary,
        found.directory / "charts",
        settings=found.settings,
        metrics=metrics,
        units=found.units,
        name=found.name,
        question=found.question,
    )


def _known_metrics(found: Sweep, asked: Sequence[str]) -> list[str]:
    """The metrics to show: those that were asked for, or the usual ones; of them what is there."""
    known = {str(name) for name in found.summary["metric"].unique()}
    for name in asked if known else ():
        if name not in known:
            say(f"--metric {name}: no run has a value of it", style="yellow")
    return [name for name in asked or _SHOWN if name in known]


def _end(found: Sweep, charts: Sequence[Path], quiet: bool) -> None:
    if not quiet and found.directory is not None:
        say(f"results   {_shown(found.directory)}/ (points.csv, summary.csv, both as .parquet, too; manifest.json)")
    if not quiet and charts:
        say(f"charts    {_shown(charts[0].parent)}/ ({', '.join(dict.fromkeys(path.stem for path in charts))}; PNG and SVG)")
    for row in found.failures.head(_MOST_FAILURES).to_dict("records"):
        at = ", ".join(f"{path} = {row[path]}" for path in found.settings)
        who = f"{row['candidate']} under {row['condition']}, " if found.failures["candidate"].nunique() > 1 else ""
        which = f"point {row['point']} ({at}), {who}replication {row['replication']} (seed {row['seed']})"
        say(f"failed: {which}: {row['error']}", style="red")
    reached = len(found.points) + len(found.failures)
    end_if_partial(
        found.partial, f"interrupted: {reached} of {found.planned} runs are finished and kept; the same command goes on"
    )
    if len(found.failures):
        more = f"; all of them are in {_shown(found.directory)}/failures.csv" if found.directory is not None else ""
        say(f"{len(found.failures)} of {found.planned} runs failed{more}", style="red")
        raise typer.Exit(RUNS_FAILED)


def _shown(directory: Path) -> Path:
    return directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory


# --- before and meanwhile ---------------------------------------------------------------------------------------------


@contextmanager
def standing(quiet: bool) -> Iterator[Callable[[Standing], None]]:
    """Say what it will cost; then a bar with the time that is left where somebody watches, else one line after the first runs."""
    if quiet:
        yield lambda standing: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    left = TextColumn("gone · {task.fields[left]} left")
    columns = (BarColumn(), TextColumn("{task.fields[runs]} runs ·"), TimeElapsedColumn(), left)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, runs="", left="?")

        def tell(standing: Standing) -> None:
            if not standing.done:
                bar.console.print(cost_in_words(standing), highlight=False)
                say_doubts(standing.doubts)
            finished = standing.known + standing.done
            left = "?" if standing.left_s is None else _time(standing.left_s)
            bar.update(task, completed=finished, total=standing.runs, runs=f"{finished}/{standing.runs}", left=left)

        yield tell


class _Lines:
    """What is told where nobody watches a bar: the cost, and once how long it takes."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, standing: Standing) -> None:
        if self._said == 0:
            say(cost_in_words(standing))
            say_doubts(standing.doubts)
            self._said = 1
        elif self._said == 1 and standing.left_s is not None and standing.done >= min(4, standing.runs):
            say(f"about {_time(standing.left_s)} left")
            self._said = 2


def cost_in_words(standing: Standing) -> str:
    """How much a sweep is, before its first run."""
    if standing.known == standing.runs:
        return f"{standing.points:,} points, {standing.runs:,} runs: all of them are finished already"
    known = f", of which {standing.known:,} are finished already" if standing.known else ""
    again = f"; {standing.damaged:,} of them again, as their rows in the archive are damaged" if standing.damaged else ""
    rough = float(f"{standing.requests:.3g}")
    requests = f"{rough:,.0f}" if rough < 1e6 else f"{rough / 1e6:,g} million"
    return f"{standing.points:,} points, {standing.runs:,} runs{known}{again}; some {requests} requests to simulate"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


# --- afterwards -------------------------------------------------------------------------------------------------------


def as_data(found: Sweep) -> dict[str, Any]:
    """Everything that a sweep found, as data."""
    return {
        "name": found.name,
        "question": found.question,
        "settings": list(found.settings),
        "partial": found.partial,
        "planned_runs": found.planned,
        "simulated_runs": found.simulated,
        "points": found.points.to_dict("records"),
        "summary": found.summary.to_dict("records"),
        "failures": found.failures.to_dict("records"),
        "directory": None if found.directory is None else str(found.directory),
    }


def _show(found: Sweep, metrics: Sequence[str]) -> None:
    """One line per point and candidate: settings, and the metrics of all requests with their intervals."""
    from rich.table import Table

    from sim.analysis.words import metric_words

    summary = found.summary[found.summary["of"] == "all"]
    labels = ["point", *(name for name in ("candidate", "condition") if found.points[name].nunique() > 1)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in [*labels, *found.settings, *map(metric_words, metrics)]:
        table.add_column(name, overflow="fold")
    groups = list(summary.groupby(["point", "candidate", "condition"], sort=False, observed=True)) if len(summary) else []
    for _, rows in groups[:_MOST_POINTS]:
        first = rows.iloc[0]
        told = [_figure(rows, metric) for metric in metrics]
        table.add_row(*(str(first[name]) for name in labels), *(_setting(first[path]) for path in found.settings), *told)
    out().print(table)
    if len(groups) > _MOST_POINTS:
        out().print(f"… and {len(groups) - _MOST_POINTS} more, in summary.csv")
    for line in knees_in_words(found, metrics):
        out().print(line, soft_wrap=True, markup=False)


def knees_in_words(found: Sweep, metrics: Sequence[str]) -> list[str]:
    """Where each latency has its knee, if the load was swept: one line for each candidate and value of other settings."""
    from sim.analysis.knee import knees
    from sim.analysis.words import is_latency, metric_words, with_unit

    told: list[str] = []
    latencies = [metric for metric in metrics if is_latency(metric)]
    if _LOAD not in found.settings or found.points.empty:
        return told
    others = ["candidate", "condition", *(path for path in found.settings if path != _LOAD)]
    several = [name for name in others if found.points[name].nunique() > 1]
    for metric in latencies:
        curves = knees(found.points, _LOAD, metric, others)
        for curve in curves[curves["inside"]].to_dict("records"):
            who = ", ".join(curve[name] if name in ("candidate", "condition") else f"{name} = {curve[name]}" for name in several)
            spread = (
                "" if curve["low"] == curve["high"] else f" (single runs: {curve['low']:g} to {with_unit(curve['high'], '/s')})"
            )
            whose = f"{metric_words(metric)}{f' ({who})' if who else ''}"
            told.append(f"knee of {whose}: {with_unit(curve['at'], '/s')}{spread}")
    return told


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figure(rows: pd.DataFrame, metric: str) -> str:
    from sim.analysis.words import amount, with_interval

    mine = rows[rows["metric"] == metric]
    if mine.empty:
        return "–"
    one = mine.iloc[0]
    mean, low, high = float(one["mean"]), float(one["low"]), float(one["high"])
    return amount(metric, mean) if low != low else with_interval(metric, mean, low, high)  # NaN: of one replication
