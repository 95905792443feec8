"""Runs a case under many seeds and compares what was simulated with what others say.

A case passes when the mean over its seeds, at least 20 where anything is left to chance, lies within the band around the
expected value, and its 99 % interval is at most twice as wide as the band: a case that could not notice an error of three
tolerances is refused, not passed. Where the expected value is itself an estimate, the interval need only touch the band.

Queues at high load have long memories: at ρ = .9 the mean of n times in system has a variance of about 35,900/n, so a plain mean
needs millions of requests. But most of that noise is luck that can be seen and whose true mean is known to be zero: how far the
gaps and the work of this run were from their means, also weighted with the line they met (a gap and a service time do not know
how long the line is). Those *controls* are removed by regression over the seeds (control variates: Lavenberg and Welch 1981;
the weighted ones are martingales: Henderson and Glynn 2002), which leaves a hundredth of the variance.

A control must be luck and nothing else: if service were 5 % longer than described, the regression would explain the error
away. So every control is itself tested to have mean zero, and that is a sharp test: it fails if the work has another mean, if
the work depends on the wait, or if a request's time depends on later arrivals, as it does in any order but FIFO.

A percentile of one run is biased when the run holds few busy periods, so percentiles are taken from all seeds together; their
interval comes from how much each seed's share beyond that value differs (Bahadur's representation, in sections).

Seeds are fixed, so every result is repeatable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.single import simulate
from sim.validation.case import Case, Expected, Reading, Sample

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Finding:
    """One number of a case: expected and simulated.

    Attributes:
        what: the number, such as ``p99 of time``.
        expected: what others say.
        band: how far from it is near enough.
        simulated: what came out.
        half_width: of its 99 % interval.
        doubt: why it does not pass; empty if it does.
    """

    what: str
    expected: float
    band: float
    simulated: float
    half_width: float
    doubt: str = ""

    @property
    def passed(self) -> bool:
        """Whether the simulated number is near enough, and known well enough."""
        return not self.doubt

    def __str__(self) -> str:
        told = f"{self.what} = {self.simulated:.6g} ± {self.half_width:.2g}, expected {self.expected:.6g} ± {self.band:.2g}"
        return f"{told}: {self.doubt}" if self.doubt else told


def judge(case: Case) -> list[Finding]:
    """Run a case under all its seeds: one finding per expected number, and one per control that is not luck."""
    readings = [case.read(simulate(case.scenario, seed)) for seed in range(1, case.seeds + 1)]
    return judge_readings(readings, case.expected)


def judge_readings(readings: Sequence[Reading], expected: Mapping[str, Expected]) -> list[Finding]:
    """Compare what was read from each run with what is expected."""
    lucks = {name: np.array([luck[name] for _, luck in readings]) for name in readings[0][1]}
    controls = np.column_stack([*lucks.values()]) if lucks else None
    findings = []
    for what, theirs in expected.items():
        statistic, _, name = what.partition(" of ")
        values = by_seed(statistic, [samples[name] for samples, _ in readings])
        findings.append(_compared(what, theirs, values, *estimate(values, controls)))
    return findings + [finding for name, control in lucks.items() if (finding := _not_luck(name, control))]


def _compared(what: str, theirs: Expected, values: Values, found: float, half_width: float) -> Finding:
    band = theirs.band
    if theirs.runs:
        band = 2 * max(float(np.std(theirs.runs, ddof=1)), float(values.std(ddof=1))) / len(theirs.runs) ** 0.5
    doubt = ""
    if not abs(found - theirs.value) <= band + (half_width if theirs.estimated else 0.0):
        doubt = "too far"
    elif not half_width <= 2 * band:
        doubt = "too few requests to tell"
    return Finding(what, theirs.value, band, found, half_width, doubt)


def _not_luck(name: str, control: Values) -> Finding | None:
    """A control has mean zero, or the model is not the one it claims to be."""
    error = float(control.std(ddof=1)) / len(control) ** 0.5
    # Constant work is exactly its mean: then there is no luck, and nothing but rounding.
    band = 4.5 * error + 1e-12
    mean = float(control.mean())
    return None if abs(mean) <= band else Finding(f"luck: {name}", 0.0, band, mean, error, "not luck")


def estimate(values: Values, controls: Values | None = None) -> tuple[float, float]:
    """Mean over the seeds less what the controls explain, and half-width of its 99 % interval; of one seed that is zero."""
    from scipy import stats

    n = len(values)
    if n == 1:
        return float(values[0]), 0.0
    controls = np.empty((n, 0)) if controls is None else controls
    spread = controls.std(axis=0)
    design = np.column_stack((np.ones(n), controls[:, spread > 0] / spread[spread > 0]))
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    residual = values - design @ coefficients
    freedom = n - design.shape[1]
    variance = residual @ residual / freedom * np.linalg.inv(design.T @ design)[0, 0]
    return float(coefficients[0]), float(stats.t.ppf(0.995, freedom) * np.sqrt(variance))


def by_seed(statistic: str, samples: Sequence[Sample]) -> Values:
    """One number per seed whose mean is the statistic.

    ``mean``; ``max``, the largest of all, as the same number for each; or for ``p99`` Bahadur's representation of the percentile.
    """
    if statistic == "mean":
        return np.array([np.mean(sample) for sample in samples], dtype=float)
    pooled = np.concatenate([np.atleast_1d(sample) for sample in samples])
    if statistic == "max":
        return np.full(len(samples), pooled.max(), dtype=float)
    share = float(statistic[1:]) / 100
    value, (low, high) = np.quantile(pooled, share), np.quantile(pooled, [1.5 * share - 0.5, (1 + share) / 2])
    beyond = np.array([np.mean(sample > value) for sample in samples])
    # The slope of the distribution there, from half of the tail to one and a half times the tail.
    slope = (1 - share) / (high - low) if high > low else np.inf
    return np.asarray(value + (beyond - (1 - share)) / slope, dtype=float)
