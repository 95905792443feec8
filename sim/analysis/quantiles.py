"""Intervals for percentiles, and how many requests a rare one needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from sim.analysis.intervals import CONFIDENCE, t_factor
from sim.analysis.metrics import Floats
from sim.errors import ScenarioError

#: From how many values above it a percentile can be read at all.
VALUES_ABOVE: Final = 10


def quantile_interval(values: Floats, share: float, *, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """A quantile of *independent* values with an interval that assumes nothing of their law: (value, low, high).

    The number of values below the true quantile is binomial, so two of the sorted values enclose it with at least the wanted
    probability. An end that no value can be is infinite: too few values. Requests of one run are not independent: take
    `pooled_quantile` over replications.

    Source: David and Nagaraja, "Order Statistics", 3rd ed., 7.1.

    >>> quantile_interval(np.arange(1.0, 101.0), 0.5)
    (50.5, 40.0, 61.0)
    """
    from scipy.stats import binom

    _require_share(share)
    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    if not count:
        return math.nan, -math.inf, math.inf
    half = (1 - confidence) / 2
    below = int(binom.ppf(half, count, share))  # so many are below it, or more, with all but half the error
    above = int(binom.isf(half, count, share)) + 1
    low = float(ordered[below - 1]) if below >= 1 else -math.inf
    high = float(ordered[above - 1]) if above <= count else math.inf
    return float(np.quantile(ordered, share)), low, high


def pooled_quantile(samples: Sequence[Floats], share: float, *, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """A quantile of all replications together, with an interval from their differences: (value, low, high).

    The quantile of each short replication is biased (a p99 of a hundred values is nearly their largest), and so is the mean of
    these; that of all values together is so far less. The replications' own quantiles say how far it scatters (*sectioning*).

    Source: Asmussen and Glynn, "Stochastic Simulation", III.5a (sectioning); Nakayama, TOMACS 24 (2014).

    Args:
        samples: values of each replication.
        share: 0.99 for p99.
        confidence: coverage.

    Raises:
        ScenarioError: fewer than two replications with values.
    """
    _require_share(share)
    filled = [np.asarray(sample, dtype=float) for sample in samples if len(sample)]
    if len(filled) < 2:
        raise ScenarioError(f"{len(filled)} replications with values: an interval needs at least two, better ten")
    value = float(np.quantile(np.concatenate(filled), share))
    each = np.array([np.quantile(sample, share) for sample in filled])
    spread = math.sqrt(float(((each - value) ** 2).sum()) / (len(each) - 1))
    half = float(t_factor(len(each), confidence)) * spread / math.sqrt(len(each))
    return value, value - half, value + half


def requests_for(share: float, precision: float = 0.2, *, confidence: float = CONFIDENCE) -> int:
    """How many independent requests it takes until a quantile's share of slower ones is right within a precision.

    ::

        z² share / ((1 - share) precision²)          at least ten of them slower than it

    Read: of 95,941 requests 96 are slower than the true p99.9, give or take 20 %, so what is found lies between the
    true p99.88 and p99.92. Requests of one run hang together, the more the busier it is, so this is the least; at 90 %
    utilisation it can take a hundred times as many.

    >>> requests_for(0.99), requests_for(0.999)
    (9508, 95941)
    """
    from scipy.special import ndtri

    _require_share(share)
    z = float(ndtri(0.5 + confidence / 2))
    return max(math.ceil(VALUES_ABOVE / (1 - share)), math.ceil(z**2 * share / ((1 - share) * precision**2)))


def _require_share(share: float) -> None:
    if not 0 < share < 1:
        raise ScenarioError(f"a quantile of {share:g}: write 0.99 for p99")
