"""Probability laws of durations: frozen values that turn 64 random bits into seconds.

Every law inverts its distribution function where it can, so a larger uniform is a longer time. Two candidates
whose laws differ only in scale then stay perfectly paired.

A new law: one frozen dataclass with `mean`, `variance` and `draw`; the scenario language finds it in `LAWS`
under its lower-case name, with its fields as keys.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sim.streams import child, uniform

if TYPE_CHECKING:
    import cython

_NORMAL = NormalDist()


@runtime_checkable
class Law(Protocol):
    """A distribution of a non-negative duration, in seconds."""

    @property
    def mean(self) -> float:
        """Expected value, in seconds."""

    @property
    def variance(self) -> float:
        """Variance, in seconds squared."""

    def draw(self, bits: cython.ulonglong) -> float:
        """Turn 64 random bits into a duration in seconds: the same bits, the same duration."""


class Sampler:
    """What the simulator draws from: the base of all laws, so that a draw is one C call where the package was compiled."""

    def draw(self, bits: cython.ulonglong) -> float:
        """Turn 64 random bits into a duration in seconds."""
        raise NotImplementedError


class _Foreign(Sampler):
    """A law of somebody else's class."""

    def __init__(self, law: Law) -> None:
        self._law = law

    def draw(self, bits: cython.ulonglong) -> float:
        return self._law.draw(bits)


def sampler(law: Law) -> Sampler:
    """The law itself, or a law of a class that does not derive from `Sampler`, made to fit."""
    return law if isinstance(law, Sampler) else _Foreign(law)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_mean(mean: float) -> None:
    _require(math.isfinite(mean) and mean > 0, f"mean = {mean:g} must be positive and finite")


@dataclass(frozen=True)
class Constant(Sampler):
    """Always `value` seconds.

    >>> Constant(0.02).draw(123)
    0.02
    """

    value: float

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.value) and self.value >= 0,
            f"a duration of {self.value:g} s must be finite and not negative",
        )

    @property
    def mean(self) -> float:
        """The value itself, in seconds."""
        return self.value

    @property
    def variance(self) -> float:
        """Zero."""
        return 0.0

    def draw(self, bits: cython.ulonglong) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Uniform(Sampler):
    """Evenly spread between `low` and `high` seconds."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require(
            0 <= self.low <= self.high < math.inf,
            f"uniform needs 0 ≤ low ≤ high, got low = {self.low:g}, high = {self.high:g}",
        )

    @property
    def mean(self) -> float:
        """(low + high) / 2, in seconds."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        """(high - low)² / 12."""
        return (self.high - self.low) ** 2 / 12

    def draw(self, bits: cython.ulonglong) -> float:
        """Invert F(x) = (x - low) / (high - low)."""
        return self.low + (self.high - self.low) * uniform(bits)


@dataclass(frozen=True)
class Exponential(Sampler):
    """Memoryless with the given mean: P(T > t) = e^(-t/mean).

    The law of most textbook queues, and rarely of real work: real service times have a floor and a heavier tail.
    """

    mean: float

    def __post_init__(self) -> None:
        _require_mean(self.mean)

    @property
    def variance(self) -> float:
        """mean²."""
        return self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Invert F(t) = 1 - e^(-t/mean)."""
        return -self.mean * math.log1p(-uniform(bits))


@dataclass(frozen=True)
class Lognormal(Sampler):
    """The exponential of a normal variable, by its mean and coefficient of variation cv = deviation / mean.

    Use `Lognormal.from_percentiles` when two percentiles are known instead.
    """

    mean: float
    cv: float
    _mu: float = field(init=False, repr=False, compare=False)
    _sigma: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_mean(self.mean)
        _require(math.isfinite(self.cv) and self.cv > 0, f"cv = {self.cv:g} must be positive and finite")
        sigma2 = math.log1p(self.cv**2)
        object.__setattr__(self, "_sigma", math.sqrt(sigma2))
        object.__setattr__(self, "_mu", math.log(self.mean) - sigma2 / 2)

    @classmethod
    def from_percentiles(cls, percentiles: dict[float, float]) -> Lognormal:
        """Fit exactly through two percentiles, given as {probability: seconds}.

        >>> law = Lognormal.from_percentiles({0.5: 0.010, 0.99: 0.050})
        >>> round(law.quantile(0.99), 12)
        0.05
        """
        _require(len(percentiles) == 2, f"a lognormal law needs exactly two percentiles, got {len(percentiles)}")
        (p1, x1), (p2, x2) = sorted(percentiles.items())
        _require(0 < p1 < p2 < 1, f"percentiles must lie between 0 and 100 %, got {p1!r} and {p2!r}")
        _require(
            0 < x1 < x2,
            f"the value at {p2:.1%} ({x2!r} s) must be larger than the one at {p1:.1%} ({x1!r} s)",
        )
        z1, z2 = _NORMAL.inv_cdf(p1), _NORMAL.inv_cdf(p2)
        sigma = math.log(x2 / x1) / (z2 - z1)
        mu = math.log(x1) - sigma * z1
        return cls(mean=math.exp(mu + sigma**2 / 2), cv=math.sqrt(math.expm1(sigma**2)))

    @property
    def variance(self) -> float:
        """(cv · mean)²."""
        return (self.cv * self.mean) ** 2

    def quantile(self, probability: float) -> float:
        """The duration that is exceeded with probability 1 - `probability`, in seconds."""
        return math.exp(self._mu + self._sigma * _NORMAL.inv_cdf(probability))

    def draw(self, bits: cython.ulonglong) -> float:
        """Invert the normal law (Wichura's AS 241) and take the exponential."""
        return math.exp(self._mu + self._sigma * _NORMAL.inv_cdf(uniform(bits)))


@dataclass(frozen=True)
class Normal(Sampler):
    """The absolute value of a normal variable with mean `center` and standard deviation `sd`, in seconds.

    Folded, because a duration is not negative; far from zero (center of several sd) that changes nothing. Real latencies are
    skewed: use lognormal for them.

    >>> law = Normal(center=0.010, sd=0.002)
    >>> round(law.mean, 6), round(law.variance**0.5, 6)
    (0.01, 0.002)
    """

    center: float
    sd: float

    def __post_init__(self) -> None:
        _require(math.isfinite(self.center) and self.center >= 0, f"center = {self.center:g} must be finite and not negative")
        _require(math.isfinite(self.sd) and self.sd > 0, f"sd = {self.sd:g} must be positive and finite")

    @property
    def mean(self) -> float:
        """sd · √(2/π) · e^(-center²/2sd²) + center · (1 - 2Φ(-center/sd)), in seconds."""
        z = self.center / self.sd
        return self.sd * math.sqrt(2 / math.pi) * math.exp(-z * z / 2) + self.center * (1 - 2 * _NORMAL.cdf(-z))

    @property
    def variance(self) -> float:
        """center² + sd² - mean²."""
        return self.center**2 + self.sd**2 - self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Invert the normal law, and drop the sign."""
        return abs(self.center + self.sd * _NORMAL.inv_cdf(uniform(bits)))


@dataclass(frozen=True)
class Erlang(Sampler):
    """The sum of k exponential stages, with the given total mean: cv² = 1/k, between constant and exponential."""

    k: int
    mean: float

    def __post_init__(self) -> None:
        _require_mean(self.mean)
        _require(
            isinstance(self.k, int) and 1 <= self.k <= 1000,
            f"k = {self.k!r} must be a whole number from 1 to 1000",
        )

    @property
    def variance(self) -> float:
        """mean² / k."""
        return self.mean**2 / self.k

    def draw(self, bits: cython.ulonglong) -> float:
        """Add k exponential stages, each from its own child of the bits."""
        total = 0.0
        stage: cython.long
        for stage in range(self.k):
            total -= math.log1p(-uniform(child(bits, stage)))
        return total * self.mean / self.k


@dataclass(frozen=True)
class Hyperexponential(Sampler):
    """Exponential with mean `means[i]` with probability `probabilities[i]`: cv ≥ 1, many short and a few long."""

    probabilities: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(
            len(self.probabilities) == len(self.means) > 0,
            "probabilities and means must have the same length, at least 1",
        )
        _require(all(p > 0 for p in self.probabilities), f"probabilities {self.probabilities} must be positive")
        _require(
            abs(sum(self.probabilities) - 1) < 1e-9,
            f"probabilities {self.probabilities} add up to {sum(self.probabilities):g}, not 1",
        )
        for mean in self.means:
            _require_mean(mean)

    @classmethod
    def from_mean(cls, mean: float, cv: float) -> Hyperexponential:
        """Two branches with balanced means (each carries half of the work), for a given mean and cv ≥ 1.

        >>> law = Hyperexponential.from_mean(1.0, cv=2.0)
        >>> round(law.mean, 12), round(law.variance, 12)
        (1.0, 4.0)
        """
        _require_mean(mean)
        _require(math.isfinite(cv) and cv >= 1, f"cv = {cv:g} must be at least 1; below 1 use erlang or lognormal")
        p = (1 + math.sqrt((cv**2 - 1) / (cv**2 + 1))) / 2
        return cls((p, 1 - p), (mean / (2 * p), mean / (2 * (1 - p))))

    @property
    def mean(self) -> float:
        """Σ pᵢ · meanᵢ, in seconds."""
        return sum(p * m for p, m in zip(self.probabilities, self.means, strict=True))

    @property
    def variance(self) -> float:
        """Σ pᵢ · 2 · meanᵢ² - mean²."""
        return sum(2 * p * m**2 for p, m in zip(self.probabilities, self.means, strict=True)) - self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Choose the branch, then invert its exponential."""
        u = uniform(bits)
        for probability, mean in zip(self.probabilities, self.means, strict=True):
            if u < probability:
                break
            u -= probability
        return -mean * math.log1p(-uniform(child(bits, 1)))


@dataclass(frozen=True)
class Pareto(Sampler):
    """Bounded Pareto between `minimum` and `maximum` seconds: P(T > t) ≈ (minimum/t)^shape, cut off at the maximum.

    Shapes near 1 are what heavy-tailed request sizes look like (Harchol-Balter); without the bound the mean of such a
    law would not exist and no simulation would converge.
    """

    shape: float
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        _require(math.isfinite(self.shape) and self.shape > 0, f"shape = {self.shape:g} must be positive")
        _require(
            0 < self.minimum < self.maximum < math.inf,
            f"pareto needs 0 < minimum < maximum, got {self.minimum:g} and {self.maximum:g}",
        )

    def _moment(self, order: float) -> float:
        a, low, high = self.shape, self.minimum, self.maximum
        norm: float = a * low**a / -math.expm1(a * math.log(low / high))
        if math.isclose(a, order):
            return norm * math.log(high / low)
        return float(norm * (high ** (order - a) - low ** (order - a)) / (order - a))

    @property
    def mean(self) -> float:
        """First moment of the bounded law, in seconds."""
        return self._moment(1)

    @property
    def variance(self) -> float:
        """Second central moment of the bounded law."""
        return self._moment(2) - self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Invert F(t) = (1 - (min/t)^shape) / (1 - (min/max)^shape)."""
        reach = -math.expm1(self.shape * math.log(self.minimum / self.maximum))
        return self.minimum * math.exp(-math.log1p(-uniform(bits) * reach) / self.shape)


@dataclass(frozen=True)
class Mixture(Sampler):
    """One of several laws, chosen with probability proportional to its weight: fast path and slow path, hit and miss."""

    weights: tuple[float, ...]
    laws: tuple[Law, ...]

    def __post_init__(self) -> None:
        _require(len(self.weights) == len(self.laws) > 0, "a mixture needs one weight for each law, at least one")
        _require(all(math.isfinite(w) and w > 0 for w in self.weights), f"weights {self.weights} must be positive")

    @property
    def mean(self) -> float:
        """Weighted mean, in seconds."""
        return sum(w * law.mean for w, law in zip(self.weights, self.laws, strict=True)) / sum(self.weights)

    @property
    def variance(self) -> float:
        """Weighted second moment minus mean²."""
        second = sum(w * (law.variance + law.mean**2) for w, law in zip(self.weights, self.laws, strict=True))
        return second / sum(self.weights) - self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Choose a law by one uniform, draw from it with fresh bits."""
        u = uniform(bits) * sum(self.weights)
        for weight, law in zip(self.weights, self.laws, strict=True):
            if u < weight:
                break
            u -= weight
        return law.draw(child(bits, 1))


@dataclass(frozen=True)
class Quantiles(Sampler):
    """An empirical law: straight lines between recorded quantiles, `probabilities[i]` ↦ `values[i]` seconds.

    The first probability is 0 and the last 1, so the law has a smallest and a largest value; it cannot produce a tail that
    the recording did not have.

    >>> Quantiles((0, 0.5, 1), (0.0, 1.0, 4.0)).mean
    1.5
    """

    probabilities: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        p, x = self.probabilities, self.values
        _require(len(p) == len(x) >= 2, "quantiles need at least two points")
        _require(
            p[0] == 0 and p[-1] == 1,
            f"the first quantile must be 0 and the last 1 (100 %), got {p[0]:g} and {p[-1]:g}",
        )
        _require(all(a < b for a, b in zip(p, p[1:], strict=False)), "the probabilities of the quantiles must rise")
        _require(all(a <= b for a, b in zip(x, x[1:], strict=False)), "the values of the quantiles must not fall")
        _require(x[0] >= 0 and math.isfinite(x[-1]), "the values of the quantiles must be finite and not negative")

    @property
    def mean(self) -> float:
        """Area under the quantile function, in seconds."""
        p, x = self.probabilities, self.values
        return sum((b - a) * (u + v) / 2 for a, b, u, v in zip(p, p[1:], x, x[1:], strict=False))

    @property
    def variance(self) -> float:
        """Second moment of the piecewise uniform law minus mean²."""
        p, x = self.probabilities, self.values
        second = sum((b - a) * (u * u + u * v + v * v) / 3 for a, b, u, v in zip(p, p[1:], x, x[1:], strict=False))
        return second - self.mean**2

    def draw(self, bits: cython.ulonglong) -> float:
        """Interpolate the quantile function."""
        u = uniform(bits)
        i = bisect_right(self.probabilities, u) - 1
        p0, p1 = self.probabilities[i], self.probabilities[i + 1]
        x0, x1 = self.values[i], self.values[i + 1]
        return x0 + (x1 - x0) * (u - p0) / (p1 - p0)


#: The laws of the scenario language, by the name they have there.
LAWS: dict[str, type] = {
    cls.__name__.lower(): cls
    for cls in (
        Constant,
        Uniform,
        Exponential,
        Lognormal,
        Normal,
        Erlang,
        Hyperexponential,
        Pareto,
        Mixture,
        Quantiles,
    )
}
