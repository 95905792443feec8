"""``sim validate``: run what others have proved or measured, and set the two beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from sim.cli.terminal import GATE_FAILED, Format, answer, out, print_json, progress, say
from sim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

REPRODUCED: Final = "reproduced"


def show_cases(output: Format) -> None:
    """List the cases without running any."""
    from rich.table import Table

    from sim.validation import ALSO_TESTED, all_cases

    if output is Format.CSV:
        raise ScenarioError("--list --format csv: a list is no table of numbers; use table or json")
    if output is Format.JSON:
        print_json([{"id": one.id, "case": one.title, "group": one.group, "source": one.source} for one in all_cases()])
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("id", "case", "group", "source"):
        table.add_column(title, overflow="fold")
    for one in all_cases():
        table.add_row(one.id, one.title, one.group, one.source)
    out().print(table)
    out().print("\nOnly in the tests:")
    for name, what in ALSO_TESTED.items():
        out().print(f"  {name}: {what}")


def carry_out(words: Sequence[str], *, workers: int | None, output: Format, quiet: bool) -> None:
    """Do what ``sim validate`` does; the process ends with 1 if a number is not reproduced."""
    from sim.validation import chosen, validate

    cases = chosen(words)
    with progress("validate", quiet=quiet) as tell:
        found = validate(cases, workers, tell)
    missed = found[found["verdict"] != REPRODUCED]
    answer(output, table=lambda: found, data=lambda: found.to_dict("records"), show=lambda: _show(found))
    if not quiet:
        told = f"{len(found) - len(missed)} of {len(found)} numbers of {len(cases)} cases are reproduced"
        say(told, style="red" if len(missed) else "green")
    if len(missed):
        raise typer.Exit(GATE_FAILED)


def _show(found: pd.DataFrame) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("case", "what", "expected", "simulated", "tolerance", "verdict", "source"):
        table.add_column(title, justify="right" if title in ("expected", "simulated", "tolerance") else "left", overflow="fold")
    before = ""
    for row in found.to_dict("records"):
        name = f"{row['id']} {row['case']}"
        style = "" if row["verdict"] == REPRODUCED else "red"
        table.add_row(
            "" if name == before else name, row["what"], f"{row['expected']:.6g}",
            f"{row['simulated'] + 0.0:.6g} ± {row['half_width']:.2g}", f"{row['tolerance']:.2g}", row["verdict"],
            "" if name == before else row["source"], style=style,
        )  # fmt: skip
        before = name
    out().print(table)
