"""Balancing: which endpoint a caller process chooses. State is per client process, as in real systems.

A new rule: one class with `pick`, entered in `RULES` under its name in the scenario language.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from sim.streams import child, uniform

if TYPE_CHECKING:
    import cython

#: Replicas by index, or one number for each of them.
Indices = list[int]

#: Names of the balancing rules in the scenario language.
BalancingRule = Literal["round_robin", "random", "least_request", "two_choices"]


class Balancer:
    """One caller process's chooser among the endpoints of one target; `start` is a place of its own to begin at.

    `counts` tells whether the rule looks at `in_flight`; the list is empty if it does not.
    """

    counts = True

    def __init__(self, start: int = 0) -> None:
        pass

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Choose one of `endpoints` (indices of replicas, never empty).

        `in_flight[i]` is how many calls of this caller process are open at replica i; `bits` are 64 random bits of this attempt.
        """
        raise NotImplementedError


class RoundRobin(Balancer):
    """Each endpoint in turn, from a starting place of the caller's own.

    With one caller, n FIFO servers under Poisson load become n queues E_n/M/1. Many callers with their own turns
    come near to random choice.
    """

    counts = False

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Take the next endpoint."""
        chosen = endpoints[self._next % len(endpoints)]
        self._next += 1
        return chosen


class Random(Balancer):
    """Each endpoint with the same probability, whatever its state."""

    counts = False

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Draw one endpoint."""
        return endpoints[int(uniform(bits) * len(endpoints))]


class LeastRequest(Balancer):
    """The endpoint with the fewest calls of this caller in flight (full scan); ties are broken at random.

    It sees its own calls only: with many callers it knows little. An endpoint that fails fast looks idle and draws load.
    Envoy's `LEAST_REQUEST` with equal weights is `two_choices`; this is its `FULL_SCAN`.
    """

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Scan all, draw among the least loaded."""
        least = min([in_flight[i] for i in endpoints])
        ties = [i for i in endpoints if in_flight[i] == least]
        return ties[int(uniform(bits) * len(ties))] if len(ties) > 1 else ties[0]


class TwoChoices(Balancer):
    """Draw two endpoints, with replacement, and take the one with fewer calls of this caller in flight.

    With replacement as in Envoy (`choice_count: 2`, equal weights): among two endpoints the busier one still gets a quarter.
    Source: Mitzenmacher, "The power of two choices", TPDS 2001; envoy@1.40 `least_request`.
    """

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Draw two, take the less loaded; the first on a tie."""
        first = endpoints[int(uniform(bits) * len(endpoints))]
        second = endpoints[int(uniform(child(bits, 1)) * len(endpoints))]
        return second if in_flight[second] < in_flight[first] else first


RULES: dict[BalancingRule, Callable[[int], Balancer]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_request": LeastRequest,
    "two_choices": TwoChoices,
}
