"""The commands and their options; what they do is in the modules beside this one."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.terminal import Format, ReportFormat, TraceFormat, explained, out, print_json, say

app = typer.Typer(
    name="sim",
    help="Simulate how services talk to each other, and decide with intervals.",
    epilog="Exit codes: 0 all right, 1 the gate or runs of a sweep failed, 2 bad input or usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
Duration = Annotated[str | None, typer.Option("--duration", "-d", help="Measured time, such as 60s, instead of run.duration.")]
Output = Annotated[Format, typer.Option("--format", "-f", help="How results are written to standard output.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Directory for the results; absent: results/NAME.")]
NoCharts = Annotated[bool, typer.Option("--no-charts", help="Draw no charts.")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="'METRIC ± WIDTH'", help="Add replications until a number is precise: 'p99 ± 2 %'."),
]
AtMost = Annotated[int, typer.Option("--at-most", min=2, help="With --until: no more replications than these.")]
Gate = Annotated[bool, typer.Option("--gate", help="End with code 1 if an objective fails.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


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


@app.command(
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


@app.command(
    epilog="[bold]Examples[/]\n\n  sim check shop.yaml\n\n  sim check shop.yaml --format json",
)
@explained
def check(file: File, output: Output = Format.TABLE) -> None:
    """Check a file, and say what arithmetic alone says: sizes, utilisation, doubtful settings.

    Every mistake is told with its line and its cure. Utilisation counts mean work and waiting for calls, without queues,
    failures and retries: a lower bound.
    """
    from sim.cli import check as checking
    from sim.cli.show import show_check
    from sim.errors import ScenarioError
    from sim.scenario.yaml import load

    found = load(file)
    if output is Format.CSV:
        raise ScenarioError("--format csv: a check is no table; use table or json")
    if output is Format.JSON:
        print_json(checking.summary(found))
    else:
        show_check(out(), found)


@app.command(
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


@app.command(
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


@app.command(epilog="[bold]Examples[/]\n\n  sim protocols\n\n  sim protocols tls-1.3\n\n  sim protocols --format json")
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


@app.command(epilog="[bold]Examples[/]\n\n  sim measure-codecs --base shop.yaml -o measured.yaml\n\n  sim run measured.yaml")
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


@app.command(
    epilog="[bold]Examples[/]\n\n  sim run shop.yaml\n\n  sim run shop.yaml --duration 5min --replications 20 --gate\n\n"
    "  sim run retries.yaml --candidate today --condition crash --format json",
)
@explained
def run(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Out = None,
    candidate: Candidate = None,
    condition: Condition = None,
    until: Until = None,
    at_most: AtMost = 200,
    no_charts: NoCharts = False,
    gate: Gate = False,
    quiet: Quiet = False,
) -> None:
    """Run one scenario many times, on all cores, and give its numbers with 95 % intervals.

    Rows, numbers and charts go to results/NAME; what was there becomes results/NAME.previous. Ctrl-C keeps what is
    finished, marked partial.
    """
    from sim.cli.files import lasting, one_scenario
    from sim.cli.work import Study, finish
    from sim.study import replicate

    scenario = lasting(one_scenario(file, candidate, condition), duration)
    study = Study(scenario.name, directory, output, not no_charts, quiet)
    with study.alone():
        results = study.carry_out(
            lambda target, tell: replicate(
                scenario, replications, workers, tell, seed=seed, out=target, until=until, at_most=at_most
            ),
            scenario,
        )
        finish(results, study, gate=gate, choose=None, until=until)


@app.command(
    epilog="[bold]Examples[/]\n\n  sim compare retries.yaml\n\n  sim compare retries.yaml --baseline today --replications 30\n\n"
    "  sim compare retries.yaml --gate --choose 'three tries'",
)
@explained
def compare(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Out = None,
    baseline: Annotated[
        str | None, typer.Option(help="The candidate that the others are compared with; absent: the first.")
    ] = None,
    choose: Annotated[str | None, typer.Option(help="The candidate that the gate is about; absent: the verdict's.")] = None,
    until: Until = None,
    at_most: AtMost = 200,
    no_charts: NoCharts = False,
    gate: Gate = False,
    quiet: Quiet = False,
) -> None:
    """Run every candidate under every condition with the same seeds, and say which one to choose.

    Candidates see the same arrivals, work and faults, so their differences are told apart run by run. Rows, numbers and
    charts go to results/NAME; Ctrl-C keeps what is finished, marked partial.
    """
    from sim.cli.files import all_lasting, comparison, known_candidate
    from sim.cli.work import Study, finish
    from sim.study import compare as compare_all

    found = all_lasting(comparison(file), duration)
    known_candidate("--choose", choose, found)
    known_candidate("--baseline", baseline, found)
    study = Study(found.name, directory, output, not no_charts, quiet)
    with study.alone():
        results = study.carry_out(
            lambda target, tell: compare_all(
                found, replications, workers, tell, seed=seed, baseline=baseline, out=target, until=until, at_most=at_most
            ),
            found,
        )
        finish(results, study, gate=gate, choose=choose, until=until)


@app.command(
    epilog="[bold]Examples[/]\n\n  sim warmup shop.yaml\n\n  sim warmup shop.yaml --duration 10min --replications 30",
)
@explained
def warmup(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory for the chart; absent: results/NAME-warmup.")
    ] = None,
    candidate: Candidate = None,
    condition: Condition = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Say how long a scenario takes to settle from empty (MSER-5), beside its run.warmup, and draw it."""
    from sim.cli.deciding import show_warmup

    show_warmup(
        file, candidate, condition, duration=duration, replications=replications, seed=seed, workers=workers, output=output,
        directory=directory, charts=not no_charts, quiet=quiet,
    )  # fmt: skip


@app.command(
    epilog="[bold]Examples[/]\n\n  sim select rivals.yaml --metric p99_s --indifference 5ms --condition crash\n\n"
    "  sim select rivals.yaml --metric success --indifference '0.1 %' --confidence 0.99 --budget 500",
)
@explained
def select(
    file: File,
    metric: Annotated[str, typer.Option(metavar="METRIC", help="What is to be best: p99_s, mean_s, success, …")] = "p99_s",
    indifference: Annotated[
        str, typer.Option(metavar="WIDTH", help="The smallest difference that matters, such as 5ms or '0.1 %'.")
    ] = "",
    condition: Condition = None,
    of: Annotated[str, typer.Option(help="All requests, or one operation.")] = "all",
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Probability of a correct selection.")] = 0.95,
    first: Annotated[int, typer.Option(min=5, help="Runs of each candidate to begin with.")] = 10,
    budget: Annotated[int, typer.Option(min=10, help="Runs of all candidates together, at most.")] = 1000,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Find the best candidate of a comparison by one metric, with a promised probability and as few runs as that takes.

    Candidates are dropped as soon as they surely are not the best (Kim and Nelson); the same seeds for all make that sooner.
    """
    from sim.cli.deciding import Wanted, show_selection

    wanted = Wanted(file, metric, indifference, condition, of, confidence, first, budget)
    show_selection(wanted, duration=duration, seed=seed, workers=workers, output=output, quiet=quiet)


@app.command(
    epilog="[bold]Examples[/]\n\n  sim search shop.yaml --largest load.rate=50/s..400/s\n\n"
    "  sim search shop.yaml --smallest services.shop.replicas=1..20 --over load.rate=100/s,200/s,400/s\n\n"
    "  sim search outage.yaml --recovers --largest 'faults[0].for=0.5s..20s log' --over load.rate=100/s..280/s:10",
)
@explained
def search(
    file: File,
    largest: Annotated[
        str | None, typer.Option(metavar="PATH=RANGE", help="Find the largest value that meets all objectives.")
    ] = None,
    smallest: Annotated[
        str | None, typer.Option(metavar="PATH=RANGE", help="Find the smallest value that meets all objectives.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="PATH=VALUES", help="Another setting: a search for each of its values.")
    ] = None,
    recovers: Annotated[
        bool, typer.Option("--recovers", help="Instead of the objectives: all is well again after the last fault.")
    ] = False,
    tolerance: Annotated[str, typer.Option(help="How close the border is approached.")] = "2 %",
    replications: Annotated[int, typer.Option("--replications", "-r", min=2, help="Runs of a probe to begin with.")] = 5,
    at_most: Annotated[int, typer.Option("--at-most", min=2, help="Runs of a probe that stays unclear.")] = 40,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory for the tables; absent: results/NAME-search.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Directory of finished runs; absent: .runs beside the tables.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Find how far a setting can go: the largest load, the smallest fleet, the longest outage, by halving a range.

    Of a comparison, for each candidate, under all conditions together. Every probe has the same seeds, and gets more runs while
    its intervals leave an objective open.
    """
    from sim.cli.searching import Sought, carry_out

    sought = Sought(file, largest, smallest, over, recovers, tolerance, duration, directory, archive)
    carry_out(
        sought, replications=replications, at_most=at_most, seed=seed, workers=workers, output=output, quiet=quiet
    )  # fmt: skip


@app.command(
    epilog="[bold]Examples[/]\n\n  sim sweep shop.yaml --set 'load.rate=50/s..400/s:8'\n\n"
    "  sim sweep shop.yaml --set 'calls.shop -> payment.retry.max_attempts=1,2,3' --set 'load.rate=50/s..200/s:4' -r 5\n\n"
    "  sim sweep shop.yaml --zip --set services.shop.replicas=1,2,4 --set load.rate=100/s,200/s,400/s\n\n"
    "  sim sweep rivals.yaml --sample lhs:50 --set 'load.rate=50/s..400/s' --set 'faults[0].for=1s..60s log'",
)
@explained
def sweep(
    file: File,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="PATH=VALUES",
            help="A setting and its values: 1,2,3 or 50/s..400/s:8 or '10ms..1s:5 log'; may be repeated.",
            show_default=False,
        ),
    ],
    zipped: Annotated[
        bool, typer.Option("--zip", help="First values together, second ones together, …; absent: every value with every other.")
    ] = False,
    sample: Annotated[
        str | None,
        typer.Option(metavar="KIND:N", help="N points drawn from ranges (a..b): lhs:50 (Latin hypercube) or sobol:64."),
    ] = None,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory for the tables; absent: results/NAME-sweep.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Directory of finished runs; absent: .runs beside the tables.")
    ] = None,
    rows: Annotated[
        list[str] | None, typer.Option(metavar="TABLE", help="Keep the rows of this table, too; may be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="What tables and charts show; absent: success and p99_s.")
    ] = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Run a scenario, or all candidates of a comparison, at many points of its settings: one table, one row per point and run.

    A path is written as in messages: services.shop.replicas, 'faults[0].for', 'calls.shop -> payment.timeout'. Everything is
    checked before the first run. Finished runs are kept and never simulated again: after Ctrl-C, a kill or a change of the
    points, the same command goes on. A run that fails does not stop the others; then the exit code is 1.
    """
    from sim.cli.sweeping import Swept, carry_out

    swept = Swept(file, tuple(settings), zipped, sample, duration, directory, archive, tuple(rows or ()), tuple(metric or ()))
    carry_out(swept, replications=replications, seed=seed, workers=workers, output=output, charts=not no_charts, quiet=quiet)


@app.command(
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


@app.command(
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


@app.command(
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


@app.command(
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


@app.command(
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


def main() -> None:
    """Run the command line; it ends the process. SIGTERM is obeyed like Ctrl-C: what is finished is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × shows a question mark, and goes on
    app()
