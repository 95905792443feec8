"""What would flip a verdict: objectives that are nearly missed or nearly met, and assumptions that turn the recommendation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from sim.analysis import words
from sim.analysis.explaining import percent
from sim.analysis.objectives import margins
from sim.report.blocks import Block, Bullets, Cell, Heading, Table, Text
from sim.study import Results

#: A margin that a reader should be told of, as a share of the bound.
_THIN: Final = 0.1
#: Margins in the table.
_MOST_MARGINS: Final = 12


def flipping(results: Results) -> Iterator[Block]:
    """How far each objective is from its bound, those first that little would turn; and which inputs turn the recommendation."""
    judged, flips = results.objectives(), _flips(results)
    if not len(judged) and flips is None:
        return
    yield Heading("What would flip it")
    if len(judged):
        yield from _margins(margins(judged))
    if flips is not None:
        yield flips
    else:
        yield Text(
            "Which assumption would make a number so much worse was not asked: sim sensitivity moves assumptions one at a time, "
            "and a report then tells what it found."
        )


def _margins(found: pd.DataFrame) -> Iterator[Block]:
    found = found.sort_values("margin", key=lambda margins: margins >= 0, kind="stable")  # the missed ones first
    thin = found[found["margin"].abs() < _THIN].head(_MOST_MARGINS)
    if len(thin):
        yield Bullets([_in_words(row) for row in thin.to_dict("records")])
    else:
        missed = int((found["margin"] < 0).sum())
        far = (
            f"; {missed} of {len(found)} are missed by more" if missed else ": it would take more than that in a measured number"
        )
        yield Text(f"No objective is within {percent(_THIN)} of its bound{far}.")
    rows: list[list[Cell | str]] = []
    for row in found.head(_MOST_MARGINS).to_dict("records"):
        halves = float(row["in_half_widths"])
        doubt = "–" if halves != halves else "> 100" if halves > 100 else f"{halves:.1f}"
        rows.append(
            [
                str(row["condition"]), str(row["candidate"]), str(row["slo"]),
                Cell(words.amount(row["metric"], row["value"]) if row["value"] == row["value"] else "none", float(row["value"])),
                Cell(_share(float(row["margin"])), float(row["margin"])),
                Cell(doubt, halves),
            ]
        )  # fmt: skip
    columns = ["under", "candidate", "objective", "measured", "margin, of the bound", "margin, in ± of its interval"]
    more = f" ({len(found) - len(rows)} wider ones are left out)" if len(found) > len(rows) else ""
    yield Table(
        columns, rows, f"Margins of the objectives, the missed ones first, then the thinnest; below zero it is missed{more}"
    )
    yield Text(
        "A margin is how much worse the measured number may become, as a share of its bound (of ratios: of what may fail). "
        "In the last column it is in half widths of the number's own 95 % interval: below 1, chance alone may have made it."
    )


def _share(margin: float) -> str:
    """A margin in percent; how far below -100 % it is tells nobody anything."""
    return "–" if margin != margin else "below -100 %" if margin < -1 else f"{100 * margin:+.0f} %"


def _in_words(row: Mapping[Any, Any]) -> str:
    case = f"{row['candidate']} under {row['condition']}: {row['slo']}"
    told = "may become worse by" if row["margin"] >= 0 else "is missed by"
    return f"{case}, {words.amount(row['metric'], row['value'])}, {told} {abs(100 * row['margin']):.2g} %."


def _flips(results: Results) -> Table | None:
    """What `sim sensitivity` found beside these results; None if nobody asked."""
    if results.directory is None:
        return None
    file = results.directory.with_name(f"{results.directory.name}-sensitivity") / "flips.csv"
    if not file.exists():
        return None
    rows = []
    for row in pd.read_csv(file).to_dict("records"):
        turned = row["changes_at"] == row["changes_at"]
        told = f"flips between {row['keeps_until']:.4g} and {row['changes_at']:.4g}" if turned else "changes nothing"
        chosen = row["chosen"] if row["chosen"] == row["chosen"] else "nobody"
        rows.append([str(row["input"]), f"{row['bound']:.4g}", told, f"{chosen} there" if turned else "–"])
    columns = ["input", "moved to", "what that does", "chosen"]
    return Table(columns, rows, f"Assumptions, moved one at a time, in base units (from {file.parent.name}/{file.name})")
