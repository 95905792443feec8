"""Sensitivity to inputs that all move at once: a sweep over the points of Morris or Sobol, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from sim.analysis.sensitivity import METHODS, MORRIS, SOBOL, indices_of, sample_of
from sim.analysis.sweeps import column_of
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.scenario.settings import Pair
from sim.scenario.words import nearest
from sim.study.execute import Workers
from sim.study.experiment import Simulate
from sim.study.points import Given, label_of
from sim.study.sensing import called, chosen_templates, inputs_or_guesses, range_of
from sim.study.sweeping import Standing, sweep
from sim.study.swept import Sweep

#: Trajectories of Morris, and base points of Sobol, when nobody says.
SIZES: Final[Mapping[str, int]] = {MORRIS: 10, SOBOL: 64}


@dataclass(frozen=True, eq=False)
class Together:
    """What inputs do when all move at once: `indices` (candidate, condition, and what `indices_of` gives) and the points."""

    method: str
    metric: str
    indices: pd.DataFrame
    swept: Sweep


def together(
    source: str | Path | Scenario | Comparison,
    inputs: Mapping[str, Given] | None,
    method: str,
    *,
    metric: str = "p99_s",
    of: str = "all",
    size: int | None = None,
    replications: int | None = None,
    workers: Workers = None,
    on_progress: Callable[[Standing], None] | None = None,
    seed: int | None = None,
    duration: str | float | None = None,
    out: str | Path | None = None,
    archive: str | Path | None = None,
    simulate: Simulate | None = None,
) -> Together:
    """Move all uncertain inputs at once and say which of them matter: a sweep over the points of Morris or Sobol.

    Morris takes size · (inputs + 1) points and tells what matters from what does not; Sobol takes size · (inputs + 2) and gives
    shares of the variance. It goes on where it was, like every sweep. Needs SALib (``pip install 'sim[sensitivity]'``).

    Args:
        source: what to simulate.
        inputs: path → range; None: the `guesses` of the scenarios.
        method: ``"morris"`` or ``"sobol"``.
        metric: which one; it needs a value at every point.
        of: all requests, or one operation.
        size: trajectories of Morris (absent: 10), base points of Sobol (a power of two; absent: 64).
        replications: see `sweep`; their mean counts.
        workers: see `sweep`.
        on_progress: see `sweep`.
        seed: see `sweep`; it also draws the points.
        duration: see `sweep`.
        out: see `sweep`.
        archive: see `sweep`.
        simulate: see `sweep`.

    Raises:
        ScenarioError: SALib is missing, an input is no range, a run failed, or a point has no value of the metric.
        KeyboardInterrupt: before all runs were finished; with an archive they are kept.
    """
    if method not in METHODS:
        raise ScenarioError(f"--method: no method {method!r}; {nearest(method, list(METHODS))}")
    count = SIZES[method] if size is None else size
    if count < 2 or (method != MORRIS and count & (count - 1)):
        raise ScenarioError(f"--size {count}: Morris takes 2 or more trajectories, Sobol a power of two, such as 64")
    _, templates = chosen_templates(source, None, duration, metric)
    ranges = {
        path: range_of(templates, path, given, called(templates, path, inputs))
        for path, given in inputs_or_guesses(templates, inputs).items()
    }
    if len(ranges) < 2:
        raise ScenarioError("--input: to be moved together they have to be several; give two or more")
    drawn_by = seed if seed is not None else next(iter(templates.values())).scenario.run.seed
    shares = sample_of(method, len(ranges), count, drawn_by)
    points = [{path: one.at(float(share)) for (path, one), share in zip(ranges.items(), row, strict=True)} for row in shares]
    swept = sweep(
        source, points, replications, workers, on_progress, seed=seed, duration=duration, out=out, archive=archive,
        simulate=simulate,
    )  # fmt: skip
    if swept.partial:
        raise KeyboardInterrupt
    indices = [
        indices_of(method, list(ranges), shares, _values(swept, pair, metric, of, len(points)), drawn_by).assign(
            candidate=pair[0], condition=pair[1]
        )
        for pair in templates
    ]
    table = pd.concat(indices, ignore_index=True)
    return Together(
        method, metric, table[["candidate", "condition", *(c for c in table if c not in ("candidate", "condition"))]], swept
    )


def _values(swept: Sweep, pair: Pair, metric: str, of: str, count: int) -> list[float]:
    """The mean of a metric at each point."""
    if len(swept.failures):
        first = swept.failures.iloc[0]
        raise ScenarioError(f"point {first['point']} failed: {first['error']}; all points are needed, choose other ranges")
    runs, column = swept.points, column_of(metric, of)
    if column not in runs:
        raise ScenarioError(f"--metric: no run has a {metric} of {of!r}")
    mine = runs[(runs["candidate"] == pair[0]) & (runs["condition"] == pair[1])]
    values = mine.groupby("point", sort=True)[column].mean()
    without = values.index[values.isna()]
    if len(values) < count or len(without):
        point = label_of(dict(mine[mine["point"] == without[0]].iloc[0][list(swept.settings)]))
        raise ScenarioError(f"--metric {metric}: no run has a value of it at {point}; take another metric, or narrower ranges")
    return [float(value) for value in values]
