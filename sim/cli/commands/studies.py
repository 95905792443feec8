"""Commands that simulate: run, compare, sweep, search, and what serves them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.commands.options import (
    Archive,
    AtMost,
    Candidate,
    Condition,
    Duration,
    File,
    Gate,
    NoCharts,
    Output,
    Quiet,
    Replications,
    Scheduler,
    Seed,
    Until,
    Workers,
    directory,
)
from sim.cli.terminal import Format, Method, crew, explained

commands = typer.Typer()


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim run shop.yaml\n\n  sim run shop.yaml --duration 5min --replications 20 --gate\n\n"
    "  sim run retries.yaml --candidate today --condition crash --format json",
)
@explained
def run(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("results", "NAME")] = None,
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
                scenario, replications, crew(workers, scheduler), tell, seed=seed, out=target, until=until, at_most=at_most
            ),
            scenario,
            replications,
        )
        finish(results, study, gate=gate, choose=None, until=until)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim compare retries.yaml\n\n  sim compare retries.yaml --baseline today --replications 30\n\n"
    "  sim compare retries.yaml --gate --choose 'three tries'",
)
@explained
def compare(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("results", "NAME")] = None,
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
                found, replications, crew(workers, scheduler), tell, seed=seed, baseline=baseline, out=target, until=until,
                at_most=at_most,
            ),
            found,
            replications,
        )  # fmt: skip
        finish(results, study, gate=gate, choose=choose, until=until)


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim warmup shop.yaml\n\n  sim warmup shop.yaml --duration 10min --replications 30",
)
@explained
def warmup(
    file: File,
    replications: Replications = None,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("chart", "NAME-warmup")] = None,
    candidate: Candidate = None,
    condition: Condition = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Say how long a scenario takes to settle from empty (MSER-5), beside its run.warmup, and draw it."""
    from sim.cli.deciding import show_warmup

    show_warmup(
        file, candidate, condition, duration=duration, replications=replications, seed=seed, workers=crew(workers, scheduler),
        output=output, directory=directory, charts=not no_charts, quiet=quiet,
    )  # fmt: skip


@commands.command(
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
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Find the best candidate of a comparison by one metric, with a promised probability and as few runs as that takes.

    Candidates are dropped as soon as they surely are not the best (Kim and Nelson); the same seeds for all make that sooner.
    """
    from sim.cli.deciding import Wanted, show_selection

    wanted = Wanted(file, metric, indifference, condition, of, confidence, first, budget)
    show_selection(wanted, duration=duration, seed=seed, workers=crew(workers, scheduler), output=output, quiet=quiet)


@commands.command(
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
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("tables", "NAME-search")] = None,
    archive: Archive = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Find how far a setting can go: the largest load, the smallest fleet, the longest outage, by halving a range.

    Of a comparison, for each candidate, under all conditions together. Every probe has the same seeds, and gets more runs while
    its intervals leave an objective open.
    """
    from sim.cli.searching import Sought, carry_out

    sought = Sought(file, largest, smallest, over, recovers, tolerance, duration, directory, archive)
    carry_out(
        sought, replications=replications, at_most=at_most, seed=seed, workers=crew(workers, scheduler), output=output,
        charts=not no_charts,
        quiet=quiet,
    )  # fmt: skip


@commands.command(
    epilog="[bold]Examples[/]\n\n"
    "  sim optimise shop.yaml --minimise p99_s --set 'calls.shop -> payment.per_try_timeout=50ms..800ms log'\n\n"
    "  sim optimise shop.yaml --minimise busy_s_per_good --set services.payment.workers=4..32 --budget 20\n\n"
    "  sim optimise rivals.yaml --candidate 'three tries' --condition crash --maximise success --budget 60 --ignore-objectives "
    "--set 'calls.shop -> payment.retry.max_attempts=1..6'",
)
@explained
def optimise(
    file: File,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="PATH=RANGE", help="A setting and its range 4..64, or values; repeated.", show_default=False
        ),
    ],
    minimise: Annotated[str | None, typer.Option(metavar="METRIC", help="What is to be small: p99_s, busy_s_per_good, …")] = None,
    maximise: Annotated[str | None, typer.Option(metavar="METRIC", help="Or what is to be large: success, …")] = None,
    candidate: Candidate = None,
    condition: Condition = None,
    of: Annotated[str, typer.Option(help="All requests, or one operation.")] = "all",
    ignore_objectives: Annotated[
        bool, typer.Option("--ignore-objectives", help="Trials need not meet the scenario's slos.")
    ] = False,
    budget: Annotated[int, typer.Option(min=2, help="Trials.")] = 30,
    replications: Annotated[int, typer.Option("--replications", "-r", min=1, help="Runs of each trial.")] = 5,
    fresh: Annotated[int, typer.Option(min=2, help="Runs of the final check, over seeds that no trial has seen.")] = 20,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("tables", "NAME-optimise")] = None,
    archive: Archive = None,
    quiet: Quiet = False,
) -> None:
    """Find settings with which a metric is best and all objectives are met, and check the best over fresh seeds.

    Trials share their seeds and are chosen by what earlier ones have shown (optuna). The best of many noisy trials looks better
    than it is, so what is told is its difference to the scenario as written over seeds that no trial has seen.
    """
    from sim.cli.optimising import Goal, carry_out

    goal = Goal(
        file, tuple(settings), minimise, maximise, candidate, condition, of, not ignore_objectives, budget, fresh, duration,
        directory, archive,
    )  # fmt: skip
    carry_out(goal, replications=replications, seed=seed, workers=crew(workers, scheduler), output=output, quiet=quiet)


@commands.command(
    epilog="[bold]Examples[/]\n\n"
    "  sim sensitivity rivals.yaml --input 'services.payment.operations.charge[0].work.exponential=5ms..50ms'\n\n"
    "  sim sensitivity rivals.yaml --input load.rate=60/s..200/s --input links.default.latency=0.2ms..5ms --metric success\n\n"
    "  sim sensitivity shop.yaml --method morris --input load.rate=60/s..200/s --input services.payment.workers=4..16",
)
@explained
def sensitivity(
    file: File,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="PATH=RANGE",
            help="An uncertain number and its bounds, 5ms..50ms; repeated. Absent: the scenario's guesses.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="One at a time: a tornado, and what flips the verdict; or all together, by Morris or Sobol.")
    ] = Method.ONE_AT_A_TIME,
    metric: Annotated[str, typer.Option(metavar="METRIC", help="What is looked at: p99_s, mean_s, success, …")] = "p99_s",
    of: Annotated[str, typer.Option(help="All requests, or one operation.")] = "all",
    baseline: Annotated[str | None, typer.Option(help="The candidate that others are compared with; absent: the first.")] = None,
    condition: Condition = None,
    size: Annotated[
        int | None, typer.Option(min=2, help="Trajectories of Morris (absent: 10); base points of Sobol (64).")
    ] = None,
    tolerance: Annotated[str, typer.Option(help="How close a flip is approached, relative to the way to the bound.")] = "5 %",
    replications: Annotated[int, typer.Option("--replications", "-r", min=2, help="Runs of each point.")] = 10,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("tables", "NAME-sensitivity")] = None,
    archive: Archive = None,
    no_charts: NoCharts = False,
    quiet: Quiet = False,
) -> None:
    """Say which uncertain inputs matter, and which of them flips the recommendation, at what value.

    Each input is moved alone between its bounds, with the same seeds; what that does to a metric is drawn as a tornado. Of a
    comparison, where the verdict changes on the way, the place is found by halving, with the interval that noise leaves.
    """
    from sim.cli.sensing import Asked, carry_out

    asked = Asked(
        file, tuple(inputs or ()), method, metric, of, baseline, condition, size, tolerance, duration, directory, archive
    )  # fmt: skip
    carry_out(
        asked, replications=replications, seed=seed, workers=crew(workers, scheduler), output=output, charts=not no_charts,
        quiet=quiet,
    )  # fmt: skip


@commands.command(
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
    scheduler: Scheduler = None,
    duration: Duration = None,
    output: Output = Format.TABLE,
    directory: Annotated[Path | None, directory("tables", "NAME-sweep")] = None,
    archive: Archive = None,
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
    carry_out(
        swept, replications=replications, seed=seed, workers=crew(workers, scheduler), output=output, charts=not no_charts,
        quiet=quiet,
    )  # fmt: skip


@commands.command(
    epilog="[bold]Examples[/]\n\n  sim validate\n\n  sim validate Q1 LB2\n\n  sim validate 'circuit breakers' --format json\n\n"
    "  sim validate --list",
)
@explained
def validate(
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE]...", help="Ids or groups, such as Q1 or retries; absent: all.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the cases with their sources, and run none.")] = False,
    workers: Workers = None,
    output: Output = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Simulate what others have proved, published or measured, and say whether the same comes out; all takes some minutes.

    Each number with its 99 % interval, the expected one and the tolerance. The exit code is 1 if one is not reproduced. The same
    cases are tests.
    """
    from sim.cli.validating import carry_out, show_cases

    if listed:
        show_cases(output)
    else:
        carry_out(cases or [], workers=workers, output=output, quiet=quiet)
