"""What uncertain inputs do to a metric: its change at both ends of each input, and shares of variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from sim.analysis.intervals import CONFIDENCE, interval_of
from sim.errors import optional

#: Where an input stands: at the low end of its range, as it is written, at the high end.
LOW, WRITTEN, HIGH = "low", "written", "high"
ENDS: Final = (LOW, WRITTEN, HIGH)

_CASE: Final = ["candidate", "condition"]


def swings(values: pd.DataFrame, baseline: str | None = None, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """What each input does to a metric, or to the difference of two candidates, while the others stay as written.

    ::

        work       ├────────────────●──────────┤         the widest swing first
        latency              ├──────●───┤
        queue                       ●                    does nothing

    With a baseline, `mean` is the difference of a candidate to it, paired by seed; else the candidate's own metric. `change` is
    how far it lies from where it is with everything as written, paired by seed, too, so that chance largely cancels.
    An end at which no replication has a value has n = 0 and NaN.

    Args:
        values: input, end (low, written or high), candidate, condition, replication, value.
        baseline: the candidate that others are compared with.
        confidence: coverage of each interval, by itself.

    Returns:
        candidate, condition, input, end, mean, low, high, change, change_low, change_high, n; for each candidate and condition
        the inputs with the widest swing first.
    """
    keys = ["input", *_CASE, "replication"]
    if baseline is not None:
        own = values[values["candidate"] == baseline].drop(columns="candidate")
        values = values[values["candidate"] != baseline].merge(
            own, on=["input", "end", "condition", "replication"], how="left", suffixes=("", "_base")
        )
        values = values.assign(value=values["value"] - values["value_base"]).drop(columns="value_base")
    written = values[values["end"] == WRITTEN].drop(columns="end")
    paired = values.merge(written, on=keys, how="left", suffixes=("", "_written"))
    paired["change"] = paired["value"] - paired["value_written"]
    groups = paired.groupby([*_CASE, "input", "end"], sort=False, observed=True)
    found = interval_of(groups["value"], confidence)[["mean", "low", "high", "n"]]
    change = interval_of(groups["change"], confidence)
    for name, column in (("change", "mean"), ("change_low", "low"), ("change_high", "high")):
        found[name] = change[column]
    return _widest_first(found.reset_index())


def _widest_first(found: pd.DataFrame) -> pd.DataFrame:
    """Sorted within each candidate and condition by how far an input moves it."""
    case = found.groupby(_CASE, sort=False, observed=True).ngroup()
    widest = found.groupby([*_CASE, "input"], sort=False, observed=True)["mean"].transform(lambda ends: ends.max() - ends.min())
    end = found["end"].map(ENDS.index)
    ordered = found.assign(_case=case, _widest=-widest.fillna(0.0), _input=found["input"].map(_places(found["input"])), _end=end)
    ordered = ordered.sort_values(["_case", "_widest", "_input", "_end"], kind="stable", ignore_index=True)
    columns = [*_CASE, "input", "end", "mean", "low", "high", "change", "change_low", "change_high", "n"]
    return ordered[columns]


def _places(names: pd.Series) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


#: How inputs are judged together, all moved at once.
MORRIS, SOBOL = "morris", "sobol"
METHODS: Final = (MORRIS, SOBOL)
_LEVELS: Final = 4
_EXTRA: Final = "sensitivity"

Shares = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def sample_of(method: str, inputs: int, size: int, seed: int) -> Shares:
    """Points of the unit cube at which a method asks: one row per point, one column per input.

    Morris: `size` trajectories of inputs + 1 points. Sobol: size · (inputs + 2) points; `size` is a power of two.

    Raises:
        ScenarioError: SALib is not installed.
    """
    problem = _problem([f"input {i}" for i in range(inputs)])
    if method == MORRIS:
        sample = optional("SALib.sample.morris", _EXTRA).sample(problem, size, num_levels=_LEVELS, seed=seed)
    else:
        sample = optional("SALib.sample.sobol", _EXTRA).sample(problem, size, calc_second_order=False, seed=seed)
    return np.asarray(sample, dtype=np.float64)


def indices_of(method: str, names: Sequence[str], shares: Shares, values: Sequence[float], seed: int) -> pd.DataFrame:
    """How much each input matters when all move at once.

    Morris (elementary effects): `effect` is the mean size of the change that one input makes on its whole range (mu*), `spread`
    the standard deviation of that change: as large as the effect where the input acts differently in different places, or with
    others. Sobol: `first` is the share of the variance that goes away once the input is known, `total` the share that stays
    while it alone is unknown; the difference is what it does together with others. Few points make these shares rough: read
    their half widths, and take more.

    Source: M. Morris, Technometrics 33 (1991); A. Saltelli et al., Computer Physics Communications 181 (2010); SALib.

    Args:
        method: morris or sobol.
        names: of the inputs, in the order of the columns of `shares`.
        shares: the points, as `sample_of` gave them.
        values: the metric at each point.
        seed: of the bootstrap.

    Returns:
        input, and effect, effect_half, spread (Morris), or first, first_half, total, total_half (Sobol); what matters most
        stands first.

    Raises:
        ScenarioError: SALib is not installed.
    """
    problem, measured = _problem(names), np.asarray(values, dtype=np.float64)
    if method == MORRIS:
        found = optional("SALib.analyze.morris", _EXTRA).analyze(problem, shares, measured, num_levels=_LEVELS, seed=seed)
        columns = {"effect": "mu_star", "effect_half": "mu_star_conf", "spread": "sigma"}
    else:
        if np.ptp(measured) == 0:  # nothing varies, so there are no shares of it
            measured = np.full(len(measured), np.nan)
        found = optional("SALib.analyze.sobol", _EXTRA).analyze(problem, measured, calc_second_order=False, seed=seed)
        columns = {"first": "S1", "first_half": "S1_conf", "total": "ST", "total_half": "ST_conf"}
    table = pd.DataFrame({"input": list(names)} | {name: np.asarray(found[of], dtype=float) for name, of in columns.items()})
    by = "effect" if method == MORRIS else "total"
    return table.sort_values(by, ascending=False, kind="stable", ignore_index=True)


def _problem(names: Sequence[str]) -> dict[str, object]:
    return {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
