"""Commands about scenario files: begin one, check it, show it, and what it may name; derive one from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.commands.options import Candidate, Condition, File, Output, Quiet, Seed, Workers
from sim.cli.terminal import Format, explained, out, print_json, say

commands = typer.Typer()


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim new shop.yaml\n\n  sim new shop.yaml --rivals",
)
@explained
def new(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The scenario to write, such as shop.yaml.", show_default=False)],
    rivals: Annotated[bool, typer.Option("--rivals", help="Write a comparison, too, beside it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented scenario to begin with: services, a queue, calls, load, a fault and objectives."""
    from sim.cli.starting import start

    start(target, rivals=rivals, force=force, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim check shop.yaml\n\n  sim check shop.yaml --format json",
)
@explained
def check(file: File, output: Output = Format.TABLE) -> None:
    """Check a file, and say what arithmetic alone says: sizes, utilisation, doubtful settings.

    Every mistake is told with its line and its cure. Utilisation counts mean work and waiting for calls, without queues,
    failures and retries: a lower bound, where no cache or batch saves work.
    """
    from sim.cli import check as checking
    from sim.cli.show import show_check
    from sim.errors import ScenarioError
    from sim.scenario.model import Scenario
    from sim.scenario.yaml import load

    found = load(file)
    if output is Format.CSV:
        raise ScenarioError("--format csv: a check is no table; use table or json")
    scenarios = [found] if isinstance(found, Scenario) else [scenario for _, _, scenario in found.scenarios()]
    if any(scenario.guesses for scenario in scenarios):
        from sim.study.sensing import require_guesses  # only here: it takes longer than all the rest

        require_guesses(file)
    if output is Format.JSON:
        print_json(checking.summary(found))
    else:
        show_check(out(), found)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim show shop.yaml\n\n  sim show retries.yaml --candidate today --condition crash",
)
@explained
def show(file: File, candidate: Candidate = None, condition: Condition = None) -> None:
    """Print a scenario as YAML, as the simulator has understood it: bases and overlays merged, defaults left out.

    Of a comparison all scenarios, one after the other, or the chosen ones.
    """
    from sim.cli.files import chosen_cases
    from sim.scenario.yaml import dumps

    cases = chosen_cases(file, candidate, condition)
    for i, (title, scenario) in enumerate(cases):
        if len(cases) > 1:
            typer.echo(f"{'---' + chr(10) if i else ''}# {title}")
        typer.echo(dumps(scenario), nl=False)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim presets\n\n  sim presets envoy@1.40\n\n  sim presets eureka@2\n\n"
    "  sim presets resilience4j@2 --format json",
)
@explained
def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A preset, such as envoy@1.40; absent: all.", show_default=False)
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """List the presets, or show those of a name: every number of a real system's rules, and where it comes from.

    A preset lies below what a scenario says: of calls, of registries, of discovery or of health checks.
    """
    from sim.cli import presets as showing
    from sim.errors import ScenarioError

    found = None if name is None else showing.chosen(name)
    if output is Format.CSV:
        raise ScenarioError("--format csv: presets are no table; use table or json")
    if output is Format.JSON:
        print_json(showing.list_as_data() if found is None else showing.as_data(found))
    elif found is None:
        showing.show_list(out())
    else:
        showing.show_some(out(), found)


@commands.command(epilog="[bold]Examples[/]\n\n  sim protocols\n\n  sim protocols tls-1.3\n\n  sim protocols --format json")
@explained
def protocols(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A layer, such as tls-1.3 or grpc; absent: all.", show_default=False)
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what protocols cost: every number, where it comes from, and how a scenario says otherwise."""
    from sim.cli import protocols as showing
    from sim.errors import ScenarioError

    found = list(showing.ALL.values()) if name is None else [showing.chosen(name)]
    if output is Format.CSV:
        raise ScenarioError("--format csv: protocols are no table; use table or json")
    if output is Format.JSON:
        print_json(showing.as_data(found))
    else:
        showing.show(out(), found)


@commands.command(epilog="[bold]Examples[/]\n\n  sim measure-codecs --base shop.yaml -o measured.yaml\n\n  sim run measured.yaml")
@explained
def measure_codecs(
    target: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; absent: standard output.")] = None,
    base: Annotated[str | None, typer.Option(help="A scenario that the file is to lie over.", show_default=False)] = None,
    seconds: Annotated[float, typer.Option(min=0.001, max=60, help="Processor time for each measurement.")] = 0.2,
    orjson: Annotated[bool, typer.Option("--orjson", help="Measure orjson in the place of Python's json.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure what writing, reading and compressing costs on this machine, as `codecs` and `compressions` of a scenario."""
    from sim.interop.codecs import lines, measure

    found = measure(seconds, orjson)
    for missing in () if quiet else found.missing:
        say(f"note: {missing} is not installed and not measured", style="yellow")
    text = "\n".join(lines(found, base)) + "\n"
    if target is None:
        typer.echo(text, nl=False)
    else:
        target.write_text(text, encoding="utf-8")
        if not quiet:
            say(f"wrote {target}")


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim calibrate spans.csv.gz --out shop.yaml\n\n"
    "  sim calibrate spans.csv --out shop.yaml --page list_products=home --page place_order=checkout\n\n"
    "  sim calibrate spans.csv --out shop.yaml --replications 20 --force\n\n"
    "  sim calibrate spans.csv --think '{uniform: {low: 1s, high: 10s}}' --base shop.yaml --out users.yaml",
)
@explained
def calibrate(
    spans: Annotated[
        Path, typer.Argument(metavar="SPANS", help="Recorded spans, CSV or OTLP/JSON, gzip or not.", show_default=False)
    ],
    target: Annotated[Path, typer.Option("--out", "-o", help="The scenario file to write.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the scenario; absent: of the recording.")] = None,
    replications: Annotated[int, typer.Option("--replications", "-r", min=1, help="Runs for the table at the end.")] = 10,
    page: Annotated[
        list[str] | None, typer.Option("--page", metavar="FOUND=NAME", help="A better name for a page; may be repeated.")
    ] = None,
    unrecorded: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE.SPAN=SERVICE.OPERATION", help="Calls whose callee left no spans; may be repeated."),
    ] = None,
    think: Annotated[
        str | None,
        typer.Option(metavar="LAW", help="Pauses of the users between an answer and what they do next; makes the load closed."),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A scenario of the same recording: write only the load, as its change.")
    ] = None,
    seed: Seed = None,
    workers: Workers = None,
    duration: Annotated[str, typer.Option("--duration", "-d", help="Measured time of the scenario's runs.")] = "5min",
    output: Output = Format.TABLE,
    force: Annotated[bool, typer.Option("--force", help="Replace the scenario file if it exists.")] = False,
    quiet: Quiet = False,
) -> None:
    """Derive a scenario from recorded spans, and compare what it simulates with what was recorded.

    Services, calls, laws, network, rate and mix are measured; what is assumed stands in the file's comments.
    """
    from sim.cli.calibrating import calibrate_file, law, pairs, print_pages

    calibration = calibrate_file(
        spans,
        target,
        name=name,
        duration=duration,
        page_names=pairs("--page", page or []),
        unrecorded=pairs("--unrecorded", unrecorded or []),
        think=None if think is None else law("--think", think),
        base=base,
        force=force,
    )
    for warning in () if quiet else calibration.warnings:
        say(f"note: {warning}", style="yellow")
    if not quiet:
        say(f"wrote {target}")
    print_pages(calibration, output, replications=replications, seed=seed, workers=workers, quiet=quiet)
