"""Commands about results: reasons, single requests, spans, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.commands.options import Candidate, Condition, NoCharts, Output, Quiet, ResultsDir
from sim.cli.terminal import Format, ReportFormat, TraceFormat, explained

commands = typer.Typer()


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim report results/retries --out report.html\n\n"
    "  sim report results/retries --format md > decision.md\n\n"
    "  sim report results/shop --no-charts",
)
@explained
def report(
    results: ResultsDir,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write; absent: report.html in RESULTS, or standard output.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        ReportFormat | None, typer.Option("--format", "-f", help="html or md; absent: as the file's name ends, else html.")
    ] = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Write the decision as one file: question, verdict, what differs, assumptions, results, reasons, doubts, how to reproduce.

    The HTML opens from disk and needs no network; its charts answer to pointer and keyboard. Markdown has tables and Mermaid
    diagrams, and goes to standard output unless --out names a file.
    """
    from sim.cli.reporting import write_report

    write_report(results, target, output, charts=not no_charts, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim explain results/shop\n\n"
    "  sim explain results/retries --at p99.9 --candidate today --condition crash\n\n"
    "  sim explain results/retries --at failed --format json",
)
@explained
def explain(
    results: ResultsDir,
    at: Annotated[str, typer.Option(metavar="PERCENTILE", help="Which requests are slow: p99 and beyond, …; or failed.")] = "p99",
    candidate: Candidate = None,
    condition: Condition = None,
    output: Output = Format.TABLE,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Say what slow requests spent their time on, against typical ones: services, queues, pauses, handshakes, lost answers.

    The latency of each request is divided along its critical path: of calls made at the same time, the one that ended last
    counts. Needs the rows of requests and attempts. A chart goes to RESULTS/charts.
    """
    from sim.cli.explaining import explain_results

    explain_results(results, at, candidate, condition, output, charts=not no_charts, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim regret results/rivals\n\n  sim regret results/rivals --metric p99_s\n\n"
    "  sim regret results/rivals --weight normal=0.99 --weight crash=0.01",
)
@explained
def regret(
    results: ResultsDir,
    metric: Annotated[
        str | None, typer.Option(metavar="METRIC", help="In what; absent: success if it differs anywhere, else p99_s.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION=NUMBER", help="How likely a condition is, for the expectation; absent: all alike."),
    ] = None,
    output: Output = Format.TABLE,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Say how far each candidate is from the best of each condition, and which one is never far: good in more than one world.

    Nothing is simulated again. The chart goes to RESULTS/charts.
    """
    from sim.cli.regretting import show_regret

    show_regret(results, metric, weight or [], output, charts=not no_charts, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim waterfall results/shop\n\n  sim waterfall results/shop --at p99.9 --mermaid\n\n"
    "  sim waterfall results/retries --at failed --candidate today --condition crash\n\n  sim waterfall results/shop --at 4711",
)
@explained
def waterfall(
    results: ResultsDir,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="WHICH", help="median, p99, failed, or a number; may be repeated. Absent: those three."),
    ] = None,
    candidate: Candidate = None,
    condition: Condition = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Write Mermaid sequence diagrams instead of tables.")] = False,
    output: Output = Format.TABLE,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Show single requests from first call to answer, with attempts, waits and pauses: the median one, the p99 one, a failed one.

    They are from the first run of a candidate under a condition, by default the first ones. Charts go to RESULTS/charts.
    """
    from sim.cli.explaining import show_requests

    show_requests(results, at or [], candidate, condition, output, mermaid=mermaid, charts=not no_charts, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim traces results/shop --out shop.json\n\n"
    "  sim traces results/shop --format perfetto --at p99\n\n"
    "  sim traces results/retries --format jaeger --at failed --candidate today --condition crash\n\n"
    "  sim traces results/shop --inside --out spans.json  (then: sim calibrate spans.json --out again.yaml)\n\n"
    "  sim traces results/shop --format openmetrics",
)
@explained
def traces(
    results: ResultsDir,
    output: Annotated[TraceFormat, typer.Option("--format", "-f", help="Spans, or metrics as text.")] = TraceFormat.OTLP,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; absent: standard output.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="PERCENTILE", help="Only requests at p99 (…) and beyond, or failed ones."),
    ] = None,
    first: Annotated[int, typer.Option("--first", min=1, help="Requests, at most.")] = 1000,
    inside: Annotated[
        bool, typer.Option("--inside", help="As recorded inside of the system: without clients and consumers, for sim calibrate.")
    ] = False,
    candidate: Candidate = None,
    condition: Condition = None,
    quiet: Quiet = False,
) -> None:
    """Write simulated requests as spans, as if they had been recorded: for OpenTelemetry, Jaeger's UI, Perfetto, sim calibrate.

    They are of the first run of a candidate under a condition, by default the first ones, and arrived after the warm-up.
    OpenMetrics has all requests of that run.
    """
    from sim.cli.tracing import write_traces

    write_traces(results, output, target, at, first, candidate, condition, inside=inside, quiet=quiet)
