"""The arguments and options that several commands share: one name, one help, one default for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.terminal import Format

File = Annotated[Path, typer.Argument(metavar="FILE", help="A scenario or comparison in YAML.", show_default=False)]
ResultsDir = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="A directory of results, such as results/shop.", show_default=False)
]
Candidate = Annotated[str | None, typer.Option(help="Of a comparison: this candidate.", show_default=False)]
Condition = Annotated[str | None, typer.Option(help="Of a comparison: this condition.", show_default=False)]
Replications = Annotated[
    int | None, typer.Option("--replications", "-r", min=1, help="Runs of each scenario, instead of run.replications.")
]
Seed = Annotated[int | None, typer.Option("--seed", "-s", min=0, help="First seed, instead of run.seed.")]
Workers = Annotated[int | None, typer.Option("--workers", "-w", min=1, help="Processes; absent: one per core.")]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Run on a Dask cluster, such as tcp://10.0.0.5:8786.")
]
Duration = Annotated[str | None, typer.Option("--duration", "-d", help="Measured time, such as 60s, instead of run.duration.")]
Output = Annotated[Format, typer.Option("--format", "-f", help="How results are written to standard output.")]


def directory(what: str, name: str) -> Any:
    """Give the option --out of a command that fills a directory."""
    return typer.Option("--out", "-o", help=f"Directory for the {what}; absent: results/{name}.")


Archive = Annotated[Path | None, typer.Option("--archive", help="Directory of finished runs; absent: .runs beside the tables.")]
NoCharts = Annotated[bool, typer.Option("--no-charts", help="Draw no charts.")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="'METRIC ± WIDTH'", help="Add replications until a number is precise: 'p99 ± 2 %'."),
]
AtMost = Annotated[int, typer.Option("--at-most", min=2, help="With --until: no more replications than these.")]
Gate = Annotated[bool, typer.Option("--gate", help="End with code 1 if an objective fails.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
