"""Optimisation of a few settings under noise: points that look promising are tried, the best is checked over fresh seeds.

The best of many noisy trials looks better than it is (the winner's curse): it was lucky with its seeds, too. So it is run again,
beside the scenario as written, with seeds that no trial has seen, and only that difference is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sim.analysis.intervals import paired_differences, summarise
from sim.analysis.objectives import slo_verdicts
from sim.compiled import say_if_slow
from sim.errors import ScenarioError, optional
from sim.scenario.model import Comparison, Scenario
from sim.scenario.settings import Pair, Template, templates_of, tidy
from sim.scenario.words import nearest
from sim.study.bench import AS_WRITTEN, Bench
from sim.study.execute import Workers
from sim.study.experiment import Simulate
from sim.study.measure import require_metrics
from sim.study.points import Axis, Given, Settings, axis_of, in_columns, label_of
from sim.study.sensing import Tell

BUDGET: Final = 30
REPLICATIONS: Final = 5
FRESH: Final = 20
BEST: Final = "best found"
#: Points drawn at random before the sampler begins to learn, as a share of the budget.
_RANDOM: Final = 0.3


@dataclass(frozen=True)
class Trial:
    """What one point came to: its settings as they would be written, the mean of the metric, and what it misses."""

    settings: Settings
    value: float
    #: How far objectives are missed by the means, relative to their bounds; 0 or less: all are met.
    violation: float
    missed: str


@dataclass(frozen=True, eq=False)
class Optimised:
    """What an optimisation found.

    `trials` has one row per point, the scenario as written first: trial (0: as written), the settings (numbers in base units, or
    text; missing as written), value (mean of the metric), meets (whether the means meet all objectives), missed (which do not).
    `check` is the paired difference of the best to as written over fresh seeds (`paired_differences`), `summary` both with their
    intervals, `objectives` theirs judged; all empty after an interrupt, or where nothing was better than as written.
    """

    name: str
    metric: str
    #: Settings of the best trial, as they would be written; empty: nothing was better.
    best: Mapping[str, Any]
    trials: pd.DataFrame
    check: pd.DataFrame
    summary: pd.DataFrame
    objectives: pd.DataFrame
    simulated: int
    #: The best of the trials, as written not counted; None: there is none yet.
    nearest: Trial | None = None
    partial: bool = False


def optimise(
    source: str | Path | Scenario | Comparison,
    settings: Mapping[str, Given],
    *,
    minimise: str | None = None,
    maximise: str | None = None,
    candidate: str | None = None,
    condition: str | None = None,
    of: str = "all",
    budget: int = BUDGET,
    replications: int = REPLICATIONS,
    fresh: int = FRESH,
    objectives: bool = True,
    workers: Workers = None,
    on_progress: Tell | None = None,
    seed: int | None = None,
    duration: str | float | None = None,
    archive: str | Path | None = None,
    simulate: Simulate | None = None,
) -> Optimised:
    """Find settings with which a metric is best and all objectives are met, in a number of trials.

    Trials are chosen by optuna's TPE sampler (the first third at random), all with the same seeds, so the same question asks for
    the same trials, and an archive answers them. A few settings, some ten trials for each: it finds good ones, not surely the
    best. For one setting with one border use `search`, for a handful of candidates `select`.

    Args:
        source: a scenario, or one candidate of a comparison under one condition; a value or a file.
        settings: path → range such as ``"50ms..2s log"``, or values to choose from.
        minimise: the metric that is to be small: `p99_s`, `busy_s_per_good`, …
        maximise: or the one that is to be large: `success`, `goodput_rps`, …
        candidate: of a comparison.
        condition: of a comparison.
        of: all requests, or one operation.
        budget: trials.
        replications: runs of each trial.
        fresh: runs of the final check, of the best and of the scenario as written.
        objectives: whether a trial has to meet the scenario's objectives (by its means).
        workers: see `replicate`.
        on_progress: told after each run.
        seed: instead of `run.seed`; it also draws the trials.
        duration: measured time, instead of `run.duration`.
        archive: directory of finished runs; absent: nothing is kept.
        simulate: makes one run, instead of `sim.run`; nothing is kept then.

    Raises:
        ScenarioError: optuna is not installed (``pip install 'sim[optimise]'``), a path leads nowhere, there is nothing to
            choose, or not one metric.
    """
    optional("optuna", "optimise")
    say_if_slow()
    if budget < 2 or replications < 1 or fresh < 2:
        least = "at least 2 trials, 1 run of each, 2 fresh ones"
        raise ScenarioError(f"--budget {budget}, --replications {replications}, --fresh {fresh}: {least}")
    if (minimise is None) == (maximise is None):
        raise ScenarioError("--minimise or --maximise: name one metric, for example --minimise p99_s")
    metric = str(minimise or maximise)
    found, templates = templates_of(source)
    require_metrics(found, (metric,), "--minimise" if maximise is None else "--maximise")
    pair, template = _one(templates, candidate, condition)
    if duration is not None:
        template = template.rebased({"run.duration": duration})
    axes = [axis_of(tidy(path), given, template.type_of(path), sampled=True) for path, given in settings.items()]
    if not axes:
        raise ScenarioError("--set: nothing to choose; write for example --set 'services.shop.workers=4..64'")
    bench = Bench({pair: template}, archive, workers, seed, simulate, on_progress)
    first_seed = template.scenario.run.seed if seed is None else seed
    try:
        course = _Course(bench, pair, axes, metric, of, maximise is not None, objectives)
        return course.carry_out(found.name, budget, replications, fresh, first_seed)
    finally:
        bench.close()


def _one(templates: Mapping[Pair, Template], candidate: str | None, condition: str | None) -> tuple[Pair, Template]:
    """The one scenario that is to be improved."""
    left = dict(templates)
    for place, what, wanted in ((0, "candidate", candidate), (1, "condition", condition)):
        known = list(dict.fromkeys(pair[place] for pair in left))
        if wanted is not None and wanted not in known:
            raise ScenarioError(f"--{what}: no {what} {wanted!r}; {nearest(wanted, known)}")
        if wanted is None and len(known) > 1:
            raise ScenarioError(f"--{what}: one scenario can be improved at a time; name one of {', '.join(map(repr, known))}")
        left = {pair: template for pair, template in left.items() if wanted in (None, pair[place])}
    return next(iter(left.items()))


class _Course:
    """The course of an optimisation."""

    def __init__(self, bench: Bench, pair: Pair, axes: list[Axis], metric: str, of: str, larger: bool, objectives: bool) -> None:
        self._bench, self._pair, self._axes, self._metric, self._of = bench, pair, axes, metric, of
        slos = bench.templates[pair].scenario.slos
        self._slos = slos if objectives else ()
        self._sign = -1.0 if larger else 1.0

    def carry_out(self, name: str, budget: int, replications: int, fresh: int, seed: int) -> Optimised:
        trials, partial = [self._try({}, replications)], False
        try:
            self._search(trials, budget, replications, seed)
        except KeyboardInterrupt:
            partial = True
        best = min(trials, key=self._rank)
        nearest = min(trials[1:], key=self._rank, default=None)
        check = summary = judged = pd.DataFrame()
        if best.settings and not partial:
            try:
                check, summary, judged = self._check(best.settings, replications, fresh)
            except KeyboardInterrupt:
                partial = True
        table = self._table(trials)
        return Optimised(
            name, self._metric, best.settings, table, check, summary, judged, self._bench.simulated, nearest, partial
        )

    def _rank(self, trial: Trial) -> tuple[float, float]:
        """What makes a trial better: to miss objectives by less, and then the metric."""
        return max(0.0, trial.violation), self._sign * _worst_if_nan(trial.value, self._sign)

    def _search(self, trials: list[Trial], budget: int, replications: int, seed: int) -> None:
        optuna = optional("optuna", "optimise")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=max(2, round(_RANDOM * budget)),
        )  # fmt: skip
        study = optuna.create_study(sampler=sampler)
        for _ in range(budget):
            asked = study.ask()
            settings = {axis.path: self._suggested(asked, axis) for axis in self._axes}
            found = self._try(settings, replications)
            asked.set_constraint("objectives", found.violation)
            study.tell(asked, self._sign * _worst_if_nan(found.value, self._sign))
            trials.append(found)

    @staticmethod
    def _suggested(asked: Any, axis: Axis) -> Any:
        """What the sampler takes for a setting: a share of its range, or one of its values."""
        if axis.range is not None:
            return axis.range.at(asked.suggest_float(axis.path, 0.0, 1.0))
        return axis.values[asked.suggest_categorical(axis.path, range(len(axis.values)))]

    def _try(self, settings: Settings, replications: int) -> Trial:
        summary = summarise(self._bench.measured(self._bench.scenarios(settings), label_of(settings) or AS_WRITTEN, replications))
        row = summary[(summary["metric"] == self._metric) & (summary["of"] == self._of)]
        if row.empty:
            raise ScenarioError(f"--of: no run has a {self._metric} of {self._of!r}")
        violation, missed = self._violation(summary)
        return Trial(settings, float(row["mean"].iloc[0]), violation, missed)

    def _violation(self, summary: pd.DataFrame) -> tuple[float, str]:
        worst, missed = -math.inf, []
        judged = slo_verdicts(summary, self._slos)
        bounds = {slo.text: slo for slo in self._slos}
        for row in judged.to_dict("records"):
            value, bound = float(row["value"]), float(row["bound"])
            over = 1.0 if math.isnan(value) else abs(value - bound) / (abs(bound) or 1.0)
            met = not math.isnan(value) and bounds[row["slo"]].met(value)
            worst = max(worst, -over if met else over)
            if not met:
                missed.append(str(row["slo"]))
        return (worst if len(judged) else -1.0), "; ".join(missed)

    def _check(self, settings: Settings, replications: int, fresh: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The best beside as written, over seeds that no trial has seen."""
        questions = [(self._bench.scenarios({}), AS_WRITTEN), (self._bench.scenarios(settings), label_of(settings))]
        tables = self._bench.measured_all(questions, fresh, first=replications)
        rows = pd.concat([table.assign(candidate=name) for table, name in zip(tables, (AS_WRITTEN, BEST), strict=True)])
        summary = summarise(rows)
        mine = (rows["metric"] == self._metric) & (rows["of"] == self._of)
        return (
            paired_differences(rows[mine], AS_WRITTEN),
            summary,
            slo_verdicts(summary, self._bench.templates[self._pair].scenario.slos),
        )

    def _table(self, trials: list[Trial]) -> pd.DataFrame:
        columns: dict[str, list[Any]] = {"trial": list(range(len(trials)))}
        for axis in self._axes:
            columns[axis.path] = [None, *in_columns([trial.settings[axis.path] for trial in trials[1:]])]
        columns["value"] = [trial.value for trial in trials]
        columns["meets"] = [trial.violation <= 0 for trial in trials]
        columns["missed"] = [trial.missed for trial in trials]
        return pd.DataFrame(columns)


def _worst_if_nan(value: float, sign: float) -> float:
    """A trial without a value is as bad as can be."""
    return sign * math.inf if math.isnan(value) else value


def judged_as(found: Optimised, name: str, verdict: str) -> list[str]:
    """The objectives that the final check judges so, of `BEST` or as written."""
    judged = found.objectives
    if judged.empty:
        return []
    return [str(slo) for slo in judged[(judged["candidate"] == name) & (judged["verdict"] == verdict)]["slo"]]
