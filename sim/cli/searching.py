"""``sim search``: look for the border, say where it is, keep what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sim.cli.files import share_of, write_tables
from sim.cli.terminal import Format, answer, end_if_partial, out, resumable, say, say_doubts
from sim.scenario.yaml import load

if TYPE_CHECKING:
    from sim.study import Search
    from sim.study.execute import Workers

_FILES: Final = ("borders", "probes")


@dataclass(frozen=True)
class Sought:
    """What the options say about a search."""

    file: Path
    largest: str | None
    smallest: str | None
    over: str | None
    recovers: bool
    tolerance: str
    duration: str | None
    directory: Path | None
    archive: Path | None


def carry_out(
    sought: Sought,
    *,
    replications: int,
    at_most: int,
    seed: int | None,
    workers: Workers,
    output: Format,
    charts: bool,
    quiet: bool,
) -> None:
    """Do what ``sim search`` does."""
    from sim.study import default_directory, search
    from sim.study.points import settings_from_text

    one, other, over = (
        settings_from_text([text], option) if text is not None else None
        for text, option in ((sought.largest, "--largest"), (sought.smallest, "--smallest"), (sought.over, "--over"))
    )
    target = sought.directory or default_directory(f"{load(sought.file).name}-search")
    share = share_of("--tolerance", sought.tolerance)
    with resumable():
        found = search(
            sought.file, largest=one, smallest=other, over=over, recovers=sought.recovers, replications=replications,
            at_most=at_most, tolerance=share, workers=workers, seed=seed, duration=sought.duration,
            archive=sought.archive or target.parent / ".runs",
            on_probe=None if quiet else lambda asked, runs: say(asked),
        )  # fmt: skip
    write_tables(target, {name: getattr(found, name) for name in _FILES})
    drawn = _draw(found, target) if charts else []
    answer(output, table=lambda: found.borders, data=lambda: as_data(found), show=lambda: _show(found))
    if not quiet:
        say_doubts(found.doubts)
        say(f"results   {target}/ (borders.csv, probes.csv)")
        if drawn:
            say(f"chart     {drawn[0]} (and SVG)")
    end_if_partial(found.partial, "interrupted: what is shown is finished; the same command goes on")


def _draw(found: Search, target: Path) -> list[Path]:
    """The border over another setting; of a single one there is nothing to draw, nor over names."""
    from sim.plots import borders
    from sim.plots.files import save_axes

    if found.over is None or found.borders[found.over].nunique() < 2 or found.borders[found.over].dtype == object:
        return []
    ax = borders(found.borders, path=found.path, over=found.over, largest=found.largest, units=found.units)
    return save_axes(ax, target / "borders", ("png", "svg"))


def as_data(found: Search) -> dict[str, Any]:
    """Everything that a search found, as data."""
    return {
        "name": found.name,
        "path": found.path,
        "largest": found.largest,
        "over": found.over,
        "simulated_runs": found.simulated,
        "partial": found.partial,
        "doubts": list(found.doubts),
        "borders": found.borders.to_dict("records"),
        "probes": found.probes.to_dict("records"),
    }


def _show(found: Search) -> None:
    from rich.table import Table

    from sim.analysis.words import with_unit

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    over = [] if found.over is None else [found.over]
    sought = f"{'largest' if found.largest else 'smallest'} {found.path}"
    for title in ("candidate", *over, sought, "", "what fails there", "probes"):
        # The path is not folded within: what stands in the other columns can be.
        table.add_column(title, overflow="fold", min_width=max(map(len, title.split())) if title == sought else None)
    for row in found.borders.to_dict("records"):
        beside = [row[name] if isinstance(row[name], str) else with_unit(row[name], found.units.get(name, "")) for name in over]
        told = border_in_words(row, found.units.get(found.path, ""))
        table.add_row(row["candidate"], *beside, *told, row["limit"] or "–", str(row["probes"]))
    out().print(table)


def border_in_words(row: Mapping[Any, Any], unit: str) -> tuple[str, str]:
    """A border, whose unit is s, /s, B or none, and what is to be known about it.

    >>> border_in_words({"best": 91.0, "fails_at": 92.5, "best_written": "91/s", "sure": True}, "/s")
    ('91/s', 'fails at 92.5/s')
    >>> border_in_words({"best": float("nan"), "fails_at": 0.05, "best_written": None, "sure": True}, "s")
    ('none', 'already 50 ms fails')
    """
    from sim.analysis.words import with_unit

    fails = "" if row["fails_at"] != row["fails_at"] else with_unit(row["fails_at"], unit)
    if row["best"] != row["best"]:
        return "none", f"already {fails} fails"
    if not fails:
        return str(row["best_written"]), "the end of the range: it may be farther"
    doubt = "" if row["sure"] else "; by the means, not surely"
    return str(row["best_written"]), f"fails at {fails}{doubt}"
