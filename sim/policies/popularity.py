"""Which of many keys a call is about: all alike, or some more popular than others (Zipf's law)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate


@lru_cache(maxsize=16)
def _up_to(keys: int, zipf: float) -> array[float]:
    """P(key <= k) for each k."""
    weights = array("d", accumulate(k**-zipf for k in range(1, keys + 1)))
    return array("d", (weight / weights[-1] for weight in weights))


class Popularity:
    """Key k of `keys` (from 0) is asked for with probability ∝ 1 / (k + 1)^zipf.

    >>> Popularity(4, 0.0).key_of(0.6), Popularity(4, 1.0).key_of(0.47), Popularity(4, 1.0).key_of(0.49)
    (2, 0, 1)
    """

    __slots__ = ("_keys", "_popular", "_zipf")

    def __init__(self, keys: int, zipf: float) -> None:
        self._keys = keys
        self._zipf = zipf
        self._popular = _up_to(keys, zipf) if zipf > 0 else None

    def key_of(self, u: float) -> int:
        """Which key it is, from a uniform number; 0 is the most popular one."""
        if self._popular is None:
            return min(int(u * self._keys), self._keys - 1)
        return bisect_left(self._popular, u)

    def shares(self) -> Iterator[float]:
        """The probability of each key, from 0 on.

        >>> [round(share, 3) for share in Popularity(3, 1.0).shares()]
        [0.545, 0.273, 0.182]
        """
        total = sum(k**-self._zipf for k in range(1, self._keys + 1))
        return (k**-self._zipf / total for k in range(1, self._keys + 1))
