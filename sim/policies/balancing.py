"""Balancing: which endpoint a caller process chooses. State is per client process, as in real systems.

This file has the plain rules, which look at the calls in flight at most; `weights`, `latency`, `hashing`, `aperture` and
`reported` have those that learn. A new rule: one class with `pick`, a name in `balancing_kinds`, a line in `balancers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.streams import child, uniform

if TYPE_CHECKING:
    import cython

#: Replicas by index, or one number for each of them.
Indices = list[int]


class Balancer:
    """One caller process's chooser among the endpoints of one target; `start` is a place of its own to begin at.

    ::

        look      the time, the call, the endpoints that are known      -> those that are used      (only if it `learns`)
        pick      those of them that are usable now, calls in flight    -> one
        sent      an attempt went to it                                                             (only if it `learns`)
        settled   and is over                                                                       (only if it `learns`)
        probes    whom to ask how busy it is; `heard`: the answer                         (only if it `probes_endpoints`)

    `counts` tells whether the rule looks at `in_flight`; the list is empty if it does not. A rule that does not learn is told
    nothing but `pick`, so that it costs nothing.
    """

    counts = True
    learns = False
    probes_endpoints = False

    def __init__(self, start: int = 0) -> None:
        pass

    def look(self, now_s: float, key: cython.ulonglong, known: Indices) -> Indices:
        """An attempt will be made: which of the `known` endpoints (never empty) this process uses at all, at least one.

        `key` names the random draws of the call: all its attempts have the same. `known` is another list whenever it has other
        endpoints than the last time.
        """
        return known

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Choose one of `endpoints` (indices of replicas, never empty).

        `in_flight[i]` is how many calls of this caller process are open at replica i; `bits` are 64 random bits of this attempt.
        """
        raise NotImplementedError

    def sent(self, endpoint: cython.long, now_s: float) -> None:
        """An attempt goes to an endpoint."""

    def settled(self, endpoint: cython.long, now_s: float, latency_s: float, outcome: cython.int, report: Any) -> None:
        """An attempt is over, also one that was called off (outcome `in_flight`); `report` is what the server said of itself."""

    def probes(self) -> Any:
        """The endpoints to ask how busy they are, after `sent`; only if the rule `probes_endpoints`."""
        return ()

    def heard(self, endpoint: cython.long, now_s: float, report: Any) -> None:
        """An endpoint has answered a probe, or said of itself that it is idle."""


class RoundRobin(Balancer):
    """Each endpoint in turn, from a starting place of the caller's own.

    With one caller, n FIFO servers under Poisson load become n queues E_n/M/1. Many callers with their own turns
    come near to random choice. Not for endpoints that differ in speed, or calls that differ much in work: it looks at neither.
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
    """Each endpoint with the same probability, whatever its state.

    Not for few busy endpoints: by chance one has a long line while another is idle.
    """

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


class TwoDistinct(Balancer):
    """Draw two different endpoints and take the one with fewer calls of this caller in flight: the busiest one of all never.

    Source: finagle@24 `P2CPick`, which takes the second one on a tie.
    """

    def pick(self, endpoints: Indices, in_flight: Indices, bits: cython.ulonglong) -> cython.long:
        """Draw two, take the less loaded; the second on a tie."""
        first, second = two_distinct(endpoints, bits)
        return first if in_flight[first] < in_flight[second] else second


def two_distinct(endpoints: Indices, bits: cython.ulonglong) -> tuple[cython.long, cython.long]:
    """Two different ones of them, each pair with the same probability; the same one twice where there is no other."""
    count = len(endpoints)
    first = int(uniform(bits) * count)
    if count == 1:
        return endpoints[first], endpoints[first]
    second = int(uniform(child(bits, 1)) * (count - 1))
    if second >= first:
        second += 1
    return endpoints[first], endpoints[second]
