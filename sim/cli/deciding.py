"""``sim warmup`` and ``sim select``: carry them out and say what they found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.files import comparison, one_scenario
from sim.cli.terminal import Format, answer, out, progress, resumable, say
from sim.errors import ScenarioError
from sim.units import format_duration, parse

if TYPE_CHECKING:
    from sim.analysis.steady import Warmup
    from sim.study.execute import Workers
    from sim.study.selecting import Selected


def show_warmup(
    file: Path,
    candidate: str | None,
    condition: str | None,
    *,
    duration: str | None,
    replications: int | None,
    seed: int | None,
    workers: Workers,
    output: Format,
    directory: Path | None,
    charts: bool,
    quiet: bool,
) -> None:
    """Do what ``sim warmup`` does."""
    from sim.cli.files import lasting
    from sim.study import default_directory
    from sim.study.settling import find_warmup

    scenario = lasting(one_scenario(file, candidate, condition), duration)
    if scenario.faults and not quiet:
        say("faults are left out: what they do is no warm-up")
    with progress(scenario.name, quiet=quiet) as tell:
        found = find_warmup(scenario, replications, workers, tell, seed=seed)
    answer(
        output,
        table=lambda: found.series,
        data=lambda: {
            "end_s": found.end_s,
            "settled": found.settled,
            "replications": found.replications,
            "run_warmup_s": scenario.run.warmup,
            "series": found.series.to_dict("records"),
        },
        show=lambda: out().print(warmup_in_words(found, scenario.run.warmup), soft_wrap=True),
    )
    if charts:
        target = directory or default_directory(f"{scenario.name}-warmup")
        paths = _draw_warmup(found, target, scenario.name)
        if not quiet:
            say(f"chart     {paths[0]} (and SVG)")


def warmup_in_words(found: Warmup, given_s: float) -> str:
    """What a warm-up comes to, beside what the scenario says.

    >>> import pandas as pd
    >>> from sim.analysis.steady import Warmup
    >>> warmup_in_words(Warmup(12.0, True, 10, pd.DataFrame(), pd.DataFrame()), 5.0)
    'latency settles after 12 s (MSER-5 over 10 replications); run.warmup: 5 s is too short, write 12 s or more'
    """
    how = f"(MSER-5 over {found.replications} replications)"
    if not found.settled:
        return f"latency has not settled in the first half of the run {how}: make it longer; what never settles is overloaded"
    told = f"latency settles after {format_duration(found.end_s)} {how}; run.warmup: {format_duration(given_s)}"
    if given_s >= found.end_s:
        return f"{told} is long enough"
    return f"{told} is too short, write {format_duration(found.end_s)} or more"


def _draw_warmup(found: Warmup, target: Path, name: str) -> list[Path]:
    from sim.plots.files import save_axes
    from sim.plots.settling import warmup_over_time

    ax = warmup_over_time(found.series, end_s=found.end_s, title=f"{name}: where latency settles")
    return save_axes(ax, target / "warmup", ("png", "svg"))


@dataclass(frozen=True)
class Wanted:
    """What the options of ``sim select`` say."""

    file: Path
    metric: str
    indifference: str
    condition: str | None
    of: str
    confidence: float
    first: int
    budget: int


def show_selection(
    wanted: Wanted, *, duration: str | None, seed: int | None, workers: Workers, output: Format, quiet: bool
) -> None:
    """Do what ``sim select`` does."""
    from sim.cli.files import all_lasting
    from sim.study.selecting import select

    found = all_lasting(comparison(wanted.file), duration)
    smallest = _amount(wanted.metric, wanted.indifference)
    nothing = "interrupted before every candidate was run a few times; nothing is selected"
    with resumable(nothing), progress(found.name, quiet=quiet) as tell:
        selected = select(
            found, wanted.metric, smallest, condition=wanted.condition, of=wanted.of, confidence=wanted.confidence,
            first=wanted.first, budget=wanted.budget, workers=workers, on_progress=tell, seed=seed,
        )  # fmt: skip
    answer(
        output,
        table=lambda: selected.table,
        data=lambda: {
            "best": selected.selection.best,
            "decided": selected.decided,
            "runs": selected.runs,
            "condition": selected.condition,
            "metric": selected.metric,
            "table": selected.table.to_dict("records"),
        },
        show=lambda: _show_selected(selected, wanted),
    )


def _amount(metric: str, text: str) -> float:
    from sim.analysis.metrics import is_ratio

    kind = "ratio" if is_ratio(metric) else "duration" if metric.endswith("_s") else "rate" if metric.endswith("_rps") else None
    try:
        return parse(text, kind, bare_numbers=False) if kind is not None else float(text)
    except ValueError as exc:
        raise ScenarioError(f"--indifference: {exc}; it is in the unit of {metric}") from exc


def _show_selected(found: Selected, wanted: Wanted) -> None:
    from rich.table import Table

    from sim.analysis import words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    chances = [] if found.decided else ["best with probability"]
    for title in ("candidate", "runs", words.metric_words(found.metric), "dropped after", *chances):
        table.add_column(title)
    for row in found.table.to_dict("records"):
        value = words.with_interval(found.metric, row["mean"], row["low"], row["high"])
        dropped = "" if row["dropped_after"] != row["dropped_after"] else f"{row['dropped_after']:.0f} runs"
        chance = "" if row["probability_of_best"] != row["probability_of_best"] else f"{100 * row['probability_of_best']:.0f} %"
        table.add_row(str(row["candidate"]), str(row["replications"]), value, dropped, *([chance] if chances else []))
    out().print(table)
    zone = f"{wanted.indifference} ({wanted.metric} under {found.condition})"
    if found.decided:
        promise = f"with {100 * wanted.confidence:g} % it is the best, or within {zone} of it"
        out().print(f"[bold]{found.selection.best}[/] is selected after {found.runs} runs: {promise}", soft_wrap=True)
    else:
        left = words.listing(list(found.selection.left))
        said = f"{found.runs} runs leave {left}; none is surely the best by {zone}: raise --budget"
        out().print(said, soft_wrap=True, highlight=False)
