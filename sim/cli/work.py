"""``sim run`` and ``sim compare``: carry a study out, write what it found, and end with the right code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from sim.cli.terminal import GATE_FAILED, INTERRUPTED, Format, answer, end_if_partial, out, progress, say
from sim.errors import ScenarioError
from sim.scenario.doubts import doubts_of
from sim.scenario.model import Comparison, Scenario

if TYPE_CHECKING:
    from sim.study import Results

Tell = Callable[[int, int, str], None]
#: Into how many batches a run is cut that is all there is.
BATCHES: Final = 30
#: Where the verdict's reasons are kept, in the directory of the results.
VERDICT: Final = "verdict.txt"
#: Charts that are named at the end, of all that were drawn.
_FIRST_CHARTS: Final = 3


@dataclass(frozen=True)
class Study:
    """What the options say about a study: where it goes, how it is written, how much is said."""

    name: str
    directory: Path | None
    output: Format
    with_charts: bool
    quiet: bool

    @property
    def target(self) -> Path:
        """Where the results go."""
        from sim.study import default_directory

        return self.directory if self.directory is not None else default_directory(self.name)

    def alone(self) -> AbstractContextManager[bool]:
        """Keep other studies out of the directory from the first run until the charts are drawn."""
        from sim.study import only_writer

        return only_writer(self.target)

    def carry_out(
        self, work: Callable[[Path, Tell], Results], found: Scenario | Comparison, replications: int | None = None
    ) -> Results:
        """Do the work with a progress bar, after the doubts about it have been told."""
        from sim.study.rare import rare_percentiles

        try:
            if not self.quiet:
                for doubt in doubts_of(found):
                    say(f"doubt: {doubt}", style="yellow")
                if (few := rare_percentiles(found, replications)) is not None:
                    say(few)
            with progress(self.name, quiet=self.quiet) as tell:
                return work(self.target, tell)
        except KeyboardInterrupt as interrupt:
            kept = getattr(interrupt, "__notes__", ["nothing is kept: no run was finished"])
            say(f"interrupted; {'; '.join(kept)}", style="yellow")
            raise typer.Exit(INTERRUPTED) from None


def finish(results: Results, study: Study, *, gate: bool, choose: str | None, until: str | None = None) -> None:
    """Write what was found, and end with the code that says how it went."""
    try:
        charts = _charts(results, study)
        _keep_verdict(results)
    except KeyboardInterrupt:
        runs = f"{len(results.runs)} of {results.planned} runs" if results.partial else "all runs"
        say(
            f"interrupted while drawing charts: {runs} are finished and kept in {_shown(results)}/, charts are missing",
            style="yellow",
        )
        raise typer.Exit(INTERRUPTED) from None
    write(results, study.output, charts)
    if not study.quiet:
        if until is not None:
            _tell_precision(results, until)
        _tell_pooled(results)
        _tell_one_run(results)
        _tell_where(results, charts)
    end_if_partial(
        results.partial, f"interrupted: {len(results.runs)} of {results.planned} runs are finished and kept, marked partial"
    )
    if gate:
        reason = gate_reason(results, choose)
        if reason is not None:
            say(f"gate: {reason}", style="red")
            raise typer.Exit(GATE_FAILED)
        if not study.quiet:
            say("gate: passed", style="green")


def _tell_precision(results: Results, until: str) -> None:
    """Whether a number is as precise as it was to be."""
    from sim.analysis.precision import precision_of, replications_needed

    _, reached = replications_needed(results.metrics, precision_of(until))
    count = 1 + max(run.replication for run in results.runs)
    if reached:
        say(f"until     {until}: reached with {count} replications")
    else:
        say(f"until     {until}: not reached with {count} replications; allow more with --at-most", style="yellow")


def _tell_pooled(results: Results) -> None:
    """Percentiles for which each run alone has too few requests, from all runs together."""
    from sim.analysis.words import metric_words, with_interval
    from sim.study.rare import pooled_percentiles

    for row in pooled_percentiles(results).to_dict("records"):
        value = with_interval(row["metric"], row["value"], row["low"], row["high"])
        whose = _whose(results, row["candidate"], row["condition"])
        say(f"together  {metric_words(row['metric'])}{whose}, of the requests of all runs together: {value}")


def _tell_one_run(results: Results) -> None:
    """Where one run is all there is: how sure it is of its mean."""
    from sim.analysis.steady import batch_means
    from sim.analysis.words import with_interval
    from sim.study.rare import latencies_s

    if len(results.runs) > len(results.scenarios):
        return
    for (candidate, condition), scenario in results.scenarios.items():
        good = latencies_s(results, candidate, condition) if scenario.run.record_requests else []
        if not good or len(good[0]) < 2 * BATCHES:
            continue
        found = batch_means(good[0], BATCHES)
        value = with_interval("mean_s", found.mean, found.low, found.high)
        doubt = "" if found.independent else "; they hang together, so it is wider in truth: take a longer run, or replications"
        say(f"one run   mean{_whose(results, candidate, condition)}, from {BATCHES} batches of it: {value}{doubt}")


def _whose(results: Results, candidate: str, condition: str) -> str:
    several = len(results.candidates) > 1, len(results.conditions) > 1
    return "".join(
        f" {word} {name}" for more, word, name in zip(several, ("of", "under"), (candidate, condition), strict=True) if more
    )


def _keep_verdict(results: Results) -> None:
    """All reasons of the verdict beside the numbers; the terminal shows what they come to."""
    if results.directory is not None and len(results.candidates) > 1:
        try:
            (results.directory / VERDICT).write_text(f"{results.verdict()}\n", encoding="utf-8")
        except OSError as exc:
            raise ScenarioError(f"{results.directory / VERDICT}: cannot be written: {exc.strerror}") from exc


def _charts(results: Results, study: Study) -> list[Path]:
    if not study.with_charts or results.directory is None:
        return []
    from sim.plots import charts

    return charts(results.tables(), results.directory / "charts", results.question, focus=results.focus)


def _tell_where(results: Results, charts: Sequence[Path]) -> None:
    if results.directory is None:
        return
    shown = _shown(results)
    say(f"results   {shown}/ (rows/*.parquet, metrics.csv, summary.csv, differences.csv, manifest.json)")
    if len(results.candidates) > 1:
        say(f"reasons   {shown}/{VERDICT}")
    if charts:
        stems = list(dict.fromkeys(path.stem for path in charts))
        first = ", ".join(stems[:_FIRST_CHARTS])
        say(f"charts    {shown}/charts/ ({len(stems)} charts, PNG and SVG; begin with {first})")


def _shown(results: Results) -> Path | None:
    """The directory of the results as it is seen from here."""
    directory = results.directory
    return directory.relative_to(Path.cwd()) if directory is not None and directory.is_relative_to(Path.cwd()) else directory


def write(results: Results, output: Format, charts: Sequence[Path]) -> None:
    """Write the results to standard output: tables for people, JSON with everything, or the summary as CSV."""
    from sim.cli.show import show_results

    answer(
        output,
        table=lambda: results.summary,
        data=lambda: as_data(results, charts),
        show=lambda: show_results(out(), results),
    )


def as_data(results: Results, charts: Sequence[Path]) -> dict[str, Any]:
    """Everything that a study found, as data: numbers in base units, names as in the tables."""
    decision = results.verdict()
    return {
        "name": results.name,
        "question": results.question,
        "partial": results.partial,
        "runs": len(results.runs),
        "seeds": sorted({run.seed for run in results.runs}),
        "baseline": results.baseline,
        "scenarios": [
            {"candidate": candidate, "condition": condition, "hash": scenario.hash}
            for (candidate, condition), scenario in results.scenarios.items()
        ],
        "summary": results.summary.to_dict("records"),
        "differences": results.differences().to_dict("records"),
        "objectives": results.objectives().to_dict("records"),
        "verdict": {
            "chosen": decision.chosen,
            "by_condition": decision.by_condition,
            "ties": decision.ties,
            "meets_objectives": decision.meets_objectives,
            "reasons": decision.reasons,
        },
        "directory": None if results.directory is None else str(results.directory),
        "charts": [str(path) for path in charts],
    }


def gate_reason(results: Results, choose: str | None) -> str | None:
    """Why the gate stays shut, or None: an objective of the chosen candidate fails, or nothing can be chosen.

    An *uncertain* objective does not shut the gate, but is told: more replications decide it.

    Raises:
        ScenarioError: there are no objectives to hold anything against.
    """
    judged = results.objectives()
    if judged.empty:
        raise ScenarioError("--gate: the scenario has no slos; add some, for example slos: [success >= 99.9 %]")
    chosen = choose or (results.candidates[0] if len(results.candidates) == 1 else results.verdict().chosen)
    if chosen is None:
        if results.verdict().meets_objectives:
            return None  # whichever is taken
        return "no candidate is chosen, and not all of the best meet every objective; name one: --choose NAME"
    mine = judged[judged["candidate"] == chosen]
    for row in mine[mine["verdict"] == "uncertain"].itertuples():
        say(f"gate: {chosen} under {row.condition}: {row.slo} is uncertain; more replications decide it", style="yellow")
    failed = mine[mine["verdict"] == "fail"]
    if failed.empty:
        return None
    several = len(results.conditions) > 1
    missed = [f"{row.slo}{f' under {row.condition}' if several else ''}" for row in failed.itertuples()]
    return f"{chosen} misses {'; '.join(missed)}"
