"""A sketch of durations: counts in buckets that widen with the value, so that a percentile has a bounded relative error.

::

    bucket 0: up to 1 ns        bucket k: 1 ns · γ^(k-1) up to 1 ns · γ^k        γ = 1.01 / 0.99

Every value of a bucket lies within 1 % of what stands for it, 2γ^k / (γ + 1) nanoseconds, and so does every order statistic. The
memory is the same for a thousand durations and a thousand million. Sketches are merged by adding their counts. Not for single
outliers beyond 10^9 s (all of them share the last bucket), and not where a few thousand exact rows do.

Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019, with
fixed buckets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import cython

#: Largest relative deviation of what stands for a bucket from any value in it.
RELATIVE_ERROR: Final = 0.01

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_WIDTH: Final = math.log(_GAMMA)
_SMALLEST_S: Final = 1e-9
_LARGEST_S: Final = 1e9
_LAST: Final = int(math.log(_LARGEST_S / _SMALLEST_S) / _WIDTH) + 1
#: How many buckets there are.
BUCKETS: Final = _LAST + 1

Counts = np.ndarray[Any, np.dtype[np.int64]]


class Sketch:
    """Counts of durations, in seconds.

    >>> sketch = Sketch()
    >>> for millisecond in range(1, 1001):
    ...     sketch.add(millisecond / 1000)
    >>> bool(abs(quantiles(sketch.counts(), [0.99])[0] / 0.99 - 1) < RELATIVE_ERROR)
    True
    """

    __slots__ = ("_counts", "_view")

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        self._view = memoryview(self._counts.data)

    def add(self, value_s: float) -> None:
        """Count one duration, 0 or more; NaN is nobody's duration and goes to bucket 0."""
        bucket: cython.long = 0
        if value_s >= _LARGEST_S:
            bucket = _LAST
        elif value_s > _SMALLEST_S:
            bucket = int(math.ceil(math.log(value_s / _SMALLEST_S) / _WIDTH))  # noqa: RUF046 - compiled, ceil gives a float
        self._view[bucket] += 1

    def counts(self) -> Counts:
        """How many durations are in each bucket."""
        return self._counts


def counts_of(durations_s: Any) -> Counts:
    """How many of some durations are in each bucket: what `Sketch.add` counts one by one.

    >>> one_by_one = Sketch()
    >>> for duration_s in (0.0, 0.02, 0.02, 2e9):
    ...     one_by_one.add(duration_s)
    >>> bool((counts_of([0.0, 0.02, 0.02, 2e9]) == one_by_one.counts()).all())
    True
    """
    durations_s = np.clip(np.asarray(durations_s, dtype=np.float64), _SMALLEST_S, _LARGEST_S)
    buckets = np.ceil(np.log(durations_s / _SMALLEST_S) / _WIDTH).astype(np.int64)
    return np.bincount(np.where(durations_s >= _LARGEST_S, _LAST, buckets), minlength=BUCKETS).astype(np.int64)


def values_s(buckets: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What stands for each bucket, in seconds.

    >>> values_s([0]).tolist()
    [0.0]
    """
    buckets = np.asarray(buckets)
    found: np.ndarray[Any, np.dtype[np.float64]] = np.where(buckets > 0, _SMALLEST_S * 2 * _GAMMA**buckets / (_GAMMA + 1), 0.0)
    return found


def quantiles(counts: Any, probabilities: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Quantiles in seconds, from the counts of all buckets; as `numpy.quantile` of the durations, within `RELATIVE_ERROR`.

    NaN without any duration.
    """
    counts, probabilities = np.asarray(counts), np.asarray(probabilities, dtype=float)
    total = int(counts.sum())
    if not total:
        return np.full(probabilities.shape, np.nan)
    until = np.cumsum(counts)
    rank = probabilities * (total - 1)
    below = values_s(np.searchsorted(until, np.floor(rank), side="right"))
    above = values_s(np.searchsorted(until, np.ceil(rank), side="right"))
    found: np.ndarray[Any, np.dtype[np.float64]] = below + (above - below) * (rank - np.floor(rank))
    return found
