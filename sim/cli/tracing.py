"""``sim traces``: simulated requests as spans, and a run as metrics."""

from __future__ import annotations

from pathlib import Path

from sim.cli.terminal import TraceFormat, print_text, say
from sim.errors import ScenarioError


def write_traces(
    directory: Path,
    output: TraceFormat,
    target: Path | None,
    at: str | None,
    first: int,
    candidate: str | None,
    condition: str | None,
    *,
    inside: bool,
    quiet: bool,
) -> None:
    """Write spans, or metrics, of the first run of a case."""
    from sim.study import load_results
    from sim.study.explain import chosen_runs, rows_of

    results = load_results(directory)
    run = chosen_runs(results, candidate or results.candidates[0], condition or results.conditions[0])[0]
    requests, attempts, _ = rows_of(results, run)
    case = f"{run.candidate}, {run.condition}, seed {run.seed}"
    if output is TraceFormat.OPENMETRICS:
        from sim.interop.openmetrics import openmetrics

        labels = {"sim_candidate": run.candidate, "sim_condition": run.condition}
        text = openmetrics(requests, attempts, results.source.read(run.index, "totals"), labels)
        told = f"metrics of {case}"
    else:
        from sim.analysis.explaining import SLOW, slow_and_typical
        from sim.interop.exported import spans_of, written

        times = results.scenarios[run.candidate, run.condition].run
        if at is not None:
            chosen = slow_and_typical(requests, at, start_s=times.warmup, end_s=times.end)[SLOW].sort_values("request")
        else:
            chosen = requests[requests["arrived_s"] >= times.warmup]
        if chosen.empty:
            raise ScenarioError(
                f"{case}: there are no {at or 'measured'} requests; choose others with --at, --candidate, --condition"
            )
        chosen = chosen.head(first)
        effects = results.source.read(run.index, "effects")
        spans = spans_of(chosen, attempts, effects, seed=run.seed, inside=inside)
        text = written(spans, output.value)
        told = f"{len(spans)} spans of {len(chosen)} requests of {case}"
    if target is None:
        print_text(text)
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ScenarioError(f"{target}: cannot be written: {exc.strerror}") from exc
    if not quiet:
        say(f"wrote     {target} ({told})")
