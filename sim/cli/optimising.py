"""``sim optimise``: try settings, check the best over fresh seeds, say what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.files import write_tables
from sim.cli.terminal import Format, answer, end_if_partial, out, progress, resumable, say
from sim.scenario.yaml import load

if TYPE_CHECKING:
    from sim.study.execute import Workers
    from sim.study.optimising import Optimised


@dataclass(frozen=True)
class Goal:
    """What the options say about an optimisation."""

    file: Path
    settings: tuple[str, ...]
    minimise: str | None
    maximise: str | None
    candidate: str | None
    condition: str | None
    of: str
    objectives: bool
    budget: int
    fresh: int
    duration: str | None
    directory: Path | None
    archive: Path | None


def carry_out(goal: Goal, *, replications: int, seed: int | None, workers: Workers, output: Format, quiet: bool) -> None:
    """Do what ``sim optimise`` does."""
    from sim.study import default_directory, optimise
    from sim.study.points import settings_from_text

    target = goal.directory or default_directory(f"{load(goal.file).name}-optimise")
    with resumable(), progress("trials", quiet=quiet) as tell:
        found = optimise(
            goal.file, settings_from_text(goal.settings), minimise=goal.minimise, maximise=goal.maximise,
            candidate=goal.candidate, condition=goal.condition, of=goal.of, objectives=goal.objectives, budget=goal.budget,
            fresh=goal.fresh, replications=replications, seed=seed, workers=workers, duration=goal.duration,
            archive=goal.archive or target.parent / ".runs", on_progress=tell,
        )  # fmt: skip
    write_tables(target, {"trials": found.trials, "check": found.check})
    answer(
        output,
        table=lambda: found.trials,
        data=lambda: as_data(found),
        show=lambda: out().print("\n".join(in_words(found, goal.fresh)), soft_wrap=True, markup=False),
    )
    if not quiet:
        say(f"results   {target}/ (trials.csv, check.csv)")
    end_if_partial(found.partial)


def as_data(found: Optimised) -> dict[str, Any]:
    """Everything that an optimisation found, as data."""
    return {
        "name": found.name,
        "metric": found.metric,
        "best": dict(found.best),
        "simulated_runs": found.simulated,
        "partial": found.partial,
        "trials": found.trials.to_dict("records"),
        "check": found.check.to_dict("records"),
        "objectives": found.objectives.to_dict("records"),
    }


def in_words(found: Optimised, fresh: int) -> list[str]:
    """What an optimisation comes to."""
    from sim.analysis import words
    from sim.study.bench import AS_WRITTEN
    from sim.study.optimising import BEST, judged_as
    from sim.study.points import plainly

    meet = int(found.trials["meets"].iloc[1:].sum())
    told = [f"{len(found.trials) - 1} trials, of which {meet} meet all objectives by their means"]
    if not found.best:
        return [*told, "none is better than the scenario as written", *_nearest(found)]
    told += [f"  {path} = {plainly(value)}" for path, value in found.best.items()]
    if found.check.empty:
        return [*told, "not checked yet over fresh seeds"]
    row = found.check.iloc[0]
    change = words.difference(found.metric, row["difference"], row["low"], row["high"])
    told.append(f"over {fresh} fresh seeds, {words.metric_words(found.metric)} against as written: {change}, {row['verdict']}")
    for name in (AS_WRITTEN, BEST):
        for verdict, said in (("fail", "misses"), ("uncertain", "may or may not meet")):
            if slos := judged_as(found, name, verdict):
                told.append(f"{name}: {said} {words.listing(slos)}")
    return told


def _nearest(found: Optimised) -> list[str]:
    """The best trial where none is better than what is written, and what it misses by."""
    from sim.analysis import words
    from sim.study.points import label_of

    if found.nearest is None:
        return []
    trial, written = found.nearest, float(found.trials["value"].iloc[0])
    told = f"the best of them ({label_of(trial.settings)}) has {words.metric_words(found.metric)} "
    told += f"{words.amount(found.metric, trial.value)}, as written it is {words.amount(found.metric, written)}"
    return [told + (f"; it misses {words.listing(trial.missed.split('; '))}" if trial.missed else "")]
