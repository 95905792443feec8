"""What all commands do at the terminal: print data, say notes and errors, show progress, end with the right code."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import typer

from sim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

GATE_FAILED: Final = 1
RUNS_FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

#: What Ctrl-C leaves behind where runs are archived as they finish.
KEPT: Final = "interrupted; finished runs are kept, the same command goes on"

#: Width of tables that go into a file or a pipe, in characters.
_WIDTH_OF_FILES: Final = 130
#: More doubts about points than these nobody reads.
_MOST_DOUBTS: Final = 5

P = ParamSpec("P")
R = TypeVar("R")


class Format(StrEnum):
    """How data is written: for people, or for programs."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"


class Method(StrEnum):
    """How inputs are moved."""

    ONE_AT_A_TIME = "one-at-a-time"
    MORRIS = "morris"
    SOBOL = "sobol"


class TraceFormat(StrEnum):
    """What simulated requests are written as."""

    OTLP = "otlp"
    JAEGER = "jaeger"
    PERFETTO = "perfetto"
    CSV = "csv"
    OPENMETRICS = "openmetrics"


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """End a command that meets bad input or Ctrl-C with a message and its exit code instead of a traceback."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ScenarioError as error:
            for message in error.messages:
                say(message, style="red")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _hang_up()
            raise typer.Exit(0) from None

    return guarded


def crew(workers: int | None, scheduler: str | None) -> int | str | None:
    """Who runs a study, from --workers and --scheduler.

    Raises:
        ScenarioError: both are given.
    """
    if workers is not None and scheduler is not None:
        raise ScenarioError("--workers and --scheduler: one of them; a cluster's workers are as many as were started there")
    return workers if scheduler is None else scheduler


def out() -> Console:
    """The console for data: as wide as the terminal, or wide enough for tables in a file."""
    from rich.console import Console

    class Data(Console):
        def on_broken_pipe(self) -> None:
            # The reader has seen enough (| head). What follows, such as the gate, still counts.
            self.quiet = True
            _hang_up()

    return Data(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def _hang_up() -> None:
    # Python would complain once more about the broken pipe when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str, *, style: str | None = None) -> None:
    """Say something to the person, not to the program that reads our output."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(message, style=style)


def say_doubts(doubts: Sequence[str]) -> None:
    """Say the first doubts about points of some settings, and how many more there are."""
    for doubt in doubts[:_MOST_DOUBTS]:
        say(f"doubt: {doubt}", style="yellow")
    if len(doubts) > _MOST_DOUBTS:
        say(f"… and {len(doubts) - _MOST_DOUBTS} more doubts; sim check tells those of a single scenario", style="yellow")


def print_text(text: str) -> None:
    """Write data that is text already."""
    sys.stdout.write(text)
    sys.stdout.flush()  # here, where a broken pipe is caught


def print_json(data: Any) -> None:
    """Write data as JSON; what is not a number becomes null."""
    print_text(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def answer(output: Format, *, table: Callable[[], pd.DataFrame], data: Callable[[], Any], show: Callable[[], None]) -> None:
    """Write what a command found: its main table as CSV, all of it as JSON, or what people read."""
    if output is Format.CSV:
        print_text(table().to_csv(index=False))
    elif output is Format.JSON:
        print_json(data())
    else:
        show()


@contextmanager
def resumable(told: str = KEPT) -> Iterator[None]:
    """Ctrl-C that comes before there is anything to show: say what is kept, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        say(told, style="yellow")
        raise typer.Exit(INTERRUPTED) from None


def end_if_partial(partial: bool, told: str = KEPT) -> None:
    """End with the exit code of Ctrl-C if what was shown is a part."""
    if partial:
        say(told, style="yellow")
        raise typer.Exit(INTERRUPTED)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the time that is left, on standard error and only where somebody watches it."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, label: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs ·"),
        TimeElapsedColumn(),
        TextColumn("gone ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, label: bar.update(task, completed=done, total=total)
