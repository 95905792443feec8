"""``sim sensitivity``: move uncertain inputs, say what matters and what flips the recommendation, draw the tornado."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.files import share_of, write_tables
from sim.cli.terminal import KEPT, Format, Method, answer, end_if_partial, out, progress, resumable, say
from sim.errors import ScenarioError
from sim.scenario.yaml import load

if TYPE_CHECKING:
    from sim.study import Sensitivity, Together
    from sim.study.execute import Workers


@dataclass(frozen=True)
class Asked:
    """What the options say about a sensitivity."""

    file: Path
    inputs: tuple[str, ...]
    method: Method
    metric: str
    of: str
    baseline: str | None
    condition: str | None
    size: int | None
    tolerance: str
    duration: str | None
    directory: Path | None
    archive: Path | None


def carry_out(
    asked: Asked,
    *,
    replications: int,
    seed: int | None,
    workers: Workers,
    output: Format,
    charts: bool,
    quiet: bool,
) -> None:
    """Do what ``sim sensitivity`` does."""
    from sim.study import default_directory
    from sim.study.points import settings_from_text

    inputs = settings_from_text(asked.inputs, "--input")
    target = asked.directory or default_directory(f"{load(asked.file).name}-sensitivity")
    shared: dict[str, Any] = {"seed": seed, "workers": workers, "duration": asked.duration, "replications": replications}
    shared["archive"] = asked.archive or target.parent / ".runs"
    if asked.method is Method.ONE_AT_A_TIME:
        _one_at_a_time(asked, inputs, target, shared, output, charts, quiet)
    else:
        _together(asked, inputs, target, shared, output, quiet)


def _one_at_a_time(
    asked: Asked,
    inputs: Mapping[str, str],
    target: Path,
    shared: Mapping[str, Any],
    output: Format,
    charts: bool,
    quiet: bool,
) -> None:
    from sim.study import sensitivity

    if asked.size is not None:
        raise ScenarioError("--size: is of morris and sobol; add --method, or leave it away")
    tolerance = share_of("--tolerance", asked.tolerance)
    with resumable(), progress("inputs", quiet=quiet) as tell:
        found = sensitivity(
            asked.file, inputs, metric=asked.metric, of=asked.of, baseline=asked.baseline, condition=asked.condition,
            tolerance=tolerance, on_progress=tell, **shared,
        )  # fmt: skip
    write_tables(target, {"ends": found.ends, "flips": found.flips})
    drawn = _draw(found, target) if charts else []
    answer(output, table=lambda: found.ends, data=lambda: as_data(found), show=lambda: _show(found))
    if not quiet:
        say(f"results   {target}/ (ends.csv, flips.csv)")
        if drawn:
            say(f"charts    {drawn[0]} (and SVG)")
    end_if_partial(found.partial, f"{KEPT}; some flips are not found yet")


def as_data(found: Sensitivity) -> dict[str, Any]:
    """Everything that moving one input at a time found, as data."""
    return {
        "name": found.name,
        "metric": found.metric,
        "baseline": found.baseline,
        "chosen": found.chosen,
        "simulated_runs": found.simulated,
        "partial": found.partial,
        "ends": found.ends.to_dict("records"),
        "flips": found.flips.to_dict("records"),
    }


def _show(found: Sensitivity) -> None:
    from rich.table import Table

    from sim.analysis import words

    several = [name for name in ("candidate", "condition") if found.ends[name].nunique() > 1]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    against = "" if found.baseline is None else f", difference to {found.baseline}"
    for title in (*several, "input", "value", f"{words.metric_words(found.metric)}{against}", "change"):
        table.add_column(title, overflow="fold")
    last = None
    for row in found.ends.to_dict("records"):
        value, change = _cells(found, row)
        name, last = (row["input"] if row["input"] != last else ""), row["input"]
        table.add_row(*(str(row[name]) for name in several), name, str(row["written"]), value, change)
    out().print(table)
    if found.baseline is not None:
        out().print()
        for sentence in flips_in_words(found):
            out().print(sentence, soft_wrap=True, markup=False)


def _cells(found: Sensitivity, row: Mapping[Any, Any]) -> tuple[str, str]:
    """The metric at one end of an input, and how far that is from as written."""
    from sim.analysis import words

    told = words.with_interval if found.baseline is None else words.difference
    value = told(found.metric, row["mean"], row["low"], row["high"])
    if row["mean"] != row["mean"]:
        who = "nobody" if found.baseline is None else "with one of the two nobody"
        return (f"none: {who} is answered well" if words.is_latency(found.metric) else value), "–"
    if row["end"] == "written":
        return value, "as written"
    return value, words.difference(found.metric, row["change"], row["change_low"], row["change_high"])


def flips_in_words(found: Sensitivity) -> list[str]:
    """What each input does to the recommendation."""
    from sim.analysis.words import with_unit

    told = [f"As written: {_choice(found.chosen)}."]
    if found.flips["changes_at"].notna().any():
        told.append("Flips hold for these seeds; other seeds may put them beyond these ends (try --seed).")
    for path, rows in found.flips.groupby("input", sort=False):
        unit = found.units.get(str(path), "")
        flips = rows[rows["changes_at"].notna()]
        if not len(flips):
            told.append(f"{path}: no flip between its bounds.")
        for row in flips.to_dict("records"):
            keeps, changes, surely = (with_unit(row[name], unit) for name in ("keeps_until", "changes_at", "settled_from"))
            way = _way(row)
            bound = f" At {with_unit(row['bound'], unit)}: {row['why']}"
            if row["chosen"] != row["chosen"] or row["chosen"] is None:  # pandas has either for nobody
                told.append(f"{path}: {way} to {keeps} the choice stays; from {changes} on nobody is surely the best.{bound}")
            elif surely == changes:
                told.append(f"{path}: flips between {keeps} and {changes}: from there {_choice(row['chosen'])}.{bound}")
            else:
                there = f"from {surely} on {_choice(row['chosen'])}; between, noise decides"
                told.append(f"{path}: {way} to {keeps} the choice stays; {there}.{bound}")
    return told


def _way(row: Mapping[Any, Any]) -> str:
    return "down" if row["end"] == "low" else "up"


def _choice(name: str | None) -> str:
    return "no candidate is surely the best" if name is None else f"{name!r} is chosen"


def _draw(found: Sensitivity, target: Path) -> list[Path]:
    """One panel for each candidate and condition."""
    from sim.analysis.words import with_unit
    from sim.plots import small_multiples, tornado
    from sim.plots.files import save
    from sim.plots.words import capital, of_metric

    several = [name for name in ("candidate", "condition") if found.ends[name].nunique() > 1]
    cases = found.ends[several].astype(str).agg(" under ".join, axis=1) if several else found.name
    against = "" if found.baseline is None else f", difference to {found.baseline}"
    flips = found.flips[found.flips["changes_at"].notna()].to_dict("records")
    notes = {
        row["input"]: f"flips from {with_unit(row['changes_at'], found.units.get(row['input'], ''))} {_way(row)}" for row in flips
    }
    figure = small_multiples(
        tornado, found.ends.assign(case=cases), over="case", columns=1, share=False, metric=found.metric, baseline=found.baseline,
        notes=notes, panel=(9.5, 1.0 + 0.62 * min(12, found.ends["input"].nunique())), question=found.question,
        title=capital(f"{of_metric(found.metric).text}{against}: what moves it, one input at a time"),
    )  # fmt: skip
    return save(figure, target / "tornado", ("png", "svg"))


def _together(
    asked: Asked, inputs: Mapping[str, str], target: Path, shared: Mapping[str, Any], output: Format, quiet: bool
) -> None:
    from sim.cli.sweeping import standing
    from sim.study import together

    if asked.condition is not None or asked.baseline is not None:
        raise ScenarioError(
            f"--method {asked.method.value}: has no --condition and no --baseline; each candidate stands by itself"
        )
    with resumable(), standing(quiet) as tell:
        found = together(
            asked.file, inputs, asked.method.value, metric=asked.metric, of=asked.of, size=asked.size, on_progress=tell,
            out=target, **shared,
        )  # fmt: skip
    write_tables(target, {"indices": found.indices})
    answer(
        output,
        table=lambda: found.indices,
        data=lambda: {"method": found.method, "metric": found.metric, "indices": found.indices.to_dict("records")},
        show=lambda: _show_indices(found),
    )
    if not quiet:
        say(f"results   {target}/ (indices.csv; points.csv and what a sweep has)")


def _show_indices(found: Together) -> None:
    from rich.table import Table

    from sim.analysis import words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    several = [name for name in ("candidate", "condition") if found.indices[name].nunique() > 1]
    told = words.metric_words(found.metric)
    morris = "effect" in found.indices
    titles = (f"change of {told} (mean size)", "its spread") if morris else (f"share of variance of {told}, alone", "with others")
    for title in (*several, "input", *titles):
        table.add_column(title, overflow="fold")
    for row in found.indices.to_dict("records"):
        table.add_row(*(str(row[name]) for name in several), str(row["input"]), *_figures(row, found.metric))
    out().print(table)


def _figures(row: Mapping[Any, Any], metric: str) -> Sequence[str]:
    from sim.analysis import words

    if "effect" in row:
        return f"{words.amount(metric, row['effect'])} ± {words.amount(metric, row['effect_half'])}", words.amount(
            metric, row["spread"]
        )
    return [f"{100 * row[name]:.0f} % ± {100 * row[f'{name}_half']:.0f}" for name in ("first", "total")]
