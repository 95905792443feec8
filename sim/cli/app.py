"""The command line as a whole: its groups of commands, what stands in front of them, and how a process ends."""

from __future__ import annotations

import io
import signal
import sys
from typing import Annotated

import typer

from sim.cli.commands import results, scenarios, studies

app = typer.Typer(
    name="sim",
    help="Simulate how services talk to each other, and decide with intervals.",
    epilog="Exit codes: 0 all right, 1 the gate, a run of a sweep or a case failed, 2 bad input or usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, group in (("Scenarios", scenarios), ("Simulation", studies), ("Results", results)):
    for command in group.commands.registered_commands:
        command.rich_help_panel = panel
    app.add_typer(group.commands)


def _version(wanted: bool) -> None:
    if wanted:
        from sim import __version__

        typer.echo(f"sim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand in front of any command."""


def main() -> None:
    """Run the command line; it ends the process. SIGTERM is obeyed like Ctrl-C: what is finished is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × shows a question mark, and goes on
    app()
