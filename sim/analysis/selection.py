"""Ranking and selection: which of several candidates is best, with a promised probability of being right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Final

import numpy as np

from sim.analysis.metrics import Floats
from sim.errors import ScenarioError

#: The spread of fewer replications is not known well enough to drop anybody by it.
FEWEST: Final = 5


@dataclass(frozen=True)
class Selection:
    """What a selection has come to: who is left, the best of them so far, and after how many replications who was dropped."""

    best: str
    left: tuple[str, ...]
    replications: int
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether one is left."""
        return len(self.left) == 1


def kim_nelson(
    values: Mapping[str, Sequence[float]],
    indifference: float,
    *,
    first: int,
    confidence: float = 0.95,
    lower_is_better: bool = True,
) -> Selection:
    """Drop candidates as soon as they are surely not the best, replication by replication (the KN procedure).

    ::

        sum of differences                 ______  dropped: worse by more than the boundary allows
             to a rival           ____----'
                          ___----'          \\____
                      ---'------------------------\\___  boundary: it closes as replications come in

    With the promised probability the one that is left is the best, if it is better than every other by at least the
    *indifference zone*; within that zone any of them will do. Differences are taken replication by replication, so the same seeds
    for all make it as much faster as they make differences sharper. The promise assumes normal numbers, which means and ratios
    of long runs nearly are, and one metric: it says nothing of others.

    Source: S.-H. Kim and B. L. Nelson, "A fully sequential procedure for indifference-zone selection in simulation",
    TOMACS 11 (2001), with c = 1.

    Args:
        values: of each candidate, replication by replication under the same seeds; of one that was dropped, those until then.
        indifference: the smallest difference that matters, in the metric's unit.
        first: how many replications tell the spread of the differences; later ones do not.
        confidence: the probability of a correct selection.
        lower_is_better: for a latency; False for success and goodput.

    Raises:
        ScenarioError: no indifference zone, too few replications, or replications without a value.
    """
    names = list(values)
    if not indifference > 0:
        raise ScenarioError(f"indifference = {indifference:g}: which difference does not matter? write one above zero")
    if len(names) < 2:
        raise ScenarioError("there is one candidate; a selection needs at least two")
    sign = 1.0 if lower_is_better else -1.0
    series = {name: sign * np.asarray(mine, dtype=float) for name, mine in values.items()}
    for name, mine in series.items():
        _require_values(name, mine, first)
    spread = {(a, b): float(np.var(series[a][:first] - series[b][:first], ddof=1)) for a, b in permutations(names, 2)}
    reach = _reach(len(names), first, confidence)
    dropped: dict[str, int] = {}
    left, count = names, first
    while len(left) > 1:
        sums = {name: float(series[name][:count].sum()) for name in left}
        losers = [
            a for a in left if any(sums[a] > sums[b] + _room(spread[a, b], reach, indifference, count) for b in left if b != a)
        ]
        dropped |= dict.fromkeys(losers, count)
        left = [name for name in left if name not in losers] or left
        if len(left) == 1 or min(len(series[name]) for name in left) <= count:
            break
        count += 1
    best = min(left, key=lambda name: series[name][:count].mean())
    return Selection(best, tuple(left), count, dropped)


def _require_values(name: str, values: Floats, first: int) -> None:
    if np.isnan(values).any():
        raise ScenarioError(f"{name}: replication {int(np.isnan(values).argmax())} has no value; choose a metric that all have")
    if len(values) < first or first < FEWEST:
        raise ScenarioError(f"{name}: {min(len(values), first)} replications to begin with are too few; take {FEWEST} or more")


def _reach(candidates: int, first: int, confidence: float) -> float:
    """How far the boundary lies from 0 at the beginning, in variances of a difference over the indifference zone: h² of KN."""
    risk: float = (2 * (1 - confidence) / (candidates - 1)) ** (-2 / (first - 1))
    return (risk - 1) * (first - 1)


def _room(variance: float, reach: float, indifference: float, count: int) -> float:
    """By how much the sum of a candidate may be worse than a rival's without being dropped."""
    return max(0.0, indifference / 2 * (reach * variance / indifference**2 - count))


def replications_at_most(variance: float, candidates: int, indifference: float, *, first: int, confidence: float = 0.95) -> int:
    """After how many replications `kim_nelson` has decided at the latest between candidates whose difference has this variance.

    >>> replications_at_most(4.0, 2, 1.0, first=10)
    25
    """
    return max(first, int(_reach(candidates, first, confidence) * variance / indifference**2) + 1)


def probability_of_best(
    values: Mapping[str, Floats], *, lower_is_better: bool = True, draws: int = 20_000, seed: int = 1
) -> dict[str, float]:
    """How probable it is of each candidate that its true mean is the best, given these replications.

    The means of all, replication by replication under the same seeds, are drawn from their posterior (multivariate t: the
    usual reference prior), which keeps that they rise and fall together. A rule of thumb; `kim_nelson` makes a promise.

    Source: Gelman et al., "Bayesian Data Analysis", 3rd ed., 3.6.

    Raises:
        ScenarioError: there are not more replications than candidates.

    >>> probability_of_best({"a": np.arange(9.0), "b": np.arange(9.0) + 1 + np.arange(9) % 2})["a"]
    1.0
    """
    table = np.array([np.asarray(mine, dtype=float) for mine in values.values()])
    table = table[:, ~np.isnan(table).any(axis=0)]
    count, size = table.shape[1], table.shape[0]
    if count <= size + 1:
        raise ScenarioError(f"{count} replications are too few for {size} candidates; take more than {size + 1}")
    degrees = count - size
    spread = np.atleast_2d(np.cov(table)) * (count - 1) / degrees / count
    chance = np.random.default_rng([seed, draws])
    normal = chance.multivariate_normal(np.zeros(size), spread, size=draws, method="eigh")
    drawn = table.mean(axis=1) + normal / np.sqrt(chance.chisquare(degrees, size=(draws, 1)) / degrees)
    winners = np.argmin(drawn if lower_is_better else -drawn, axis=1)
    shares = np.bincount(winners, minlength=size) / draws
    return dict(zip(values, map(float, shares), strict=True))
