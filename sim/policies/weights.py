"""Balancing by weights: smooth weighted round robin, the earliest deadline first, and shares that grow slowly."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from sim.policies.balancing import Balancer, Indices
from sim.policies.balancing_kinds import SlowStart
from sim.streams import child, uniform

#: Envoy measures the age of an endpoint in milliseconds, and counts from one.
_YOUNGEST_S: Final = 0.001


def weight_of(weights: tuple[float, ...], endpoint: int) -> float:
    """The weight of an endpoint: the list begins anew after its last.

    >>> [weight_of((3.0, 1.0), endpoint) for endpoint in range(3)], weight_of((), 7)
    ([3.0, 1.0, 3.0], 1.0)
    """
    return weights[endpoint % len(weights)] if weights else 1.0


class Acquaintance(Balancer):
    """A rule that sees which endpoints come and go."""

    learns = True

    def __init__(self) -> None:
        self.now_s = 0.0
        self._known: Indices = []

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """Remember the time, and meet those that were not known the last time."""
        self.now_s = now_s
        if known is not self._known:
            before = set(self._known)
            for endpoint in known:
                if endpoint not in before:
                    self.met(endpoint, now_s)
            self._known = known
        return known

    def met(self, endpoint: int, now_s: float) -> None:
        """An endpoint has come, or come back: nothing is known about it."""


class Weighted(Acquaintance):
    """A rule with a weight for each endpoint, which a slow start scales."""

    def __init__(self, weights: tuple[float, ...], slow_start: SlowStart | None) -> None:
        super().__init__()
        self._weights = weights
        self._slow_start = slow_start
        self._since_s: dict[int, float] = {}
        self._newest_s = -1.0  # when the last one came
        self.learns = slow_start is not None

    def met(self, endpoint: int, now_s: float) -> None:
        """It is new from now on."""
        self._since_s[endpoint] = self._newest_s = now_s

    def weight(self, endpoint: int) -> float:
        """The weight that an endpoint has now."""
        weight = weight_of(self._weights, endpoint)
        slow = self._slow_start
        if slow is None:
            return weight
        age_s = self.now_s - self._since_s.get(endpoint, -slow.window)
        if age_s >= slow.window:
            return weight
        grown: float = (max(_YOUNGEST_S, age_s) / slow.window) ** (1 / slow.aggression)
        return weight * max(slow.min_weight_ratio, grown)

    def someone_is_new(self) -> bool:
        """Whether a slow start is under way."""
        return self._slow_start is not None and self.now_s - self._newest_s <= self._slow_start.window


class WeightedRoundRobin(Weighted):
    """Smooth weighted round robin: shares in proportion to the weights, and no endpoint several times in a row without need.

    ::

        at each pick    current += weight, for all; the largest current is chosen; its current -= the sum of all weights

    Over a period (the sum of whole weights) each endpoint is chosen exactly as often as its weight says: weights 5, 1, 1 give
    a a b a c a a. With equal weights it is round robin, from a starting place of the caller's own.

    Not for weights that are guesses: an endpoint with too much weight is overloaded all the time. Source: nginx@1.29
    ngx_http_upstream_round_robin.c, where all processes begin with the first. A `slow_start` scales the weights as in Envoy.

    >>> rule = WeightedRoundRobin((5.0, 1.0, 1.0), None)
    >>> "".join("abc"[rule.pick([0, 1, 2], [], 0)] for _ in range(7))
    'aabacaa'
    """

    counts = False

    def __init__(self, weights: tuple[float, ...], slow_start: SlowStart | None, start: int = 0) -> None:
        super().__init__(weights, slow_start)
        self._start = start
        self._current: dict[int, float] = {}

    def met(self, endpoint: int, now_s: float) -> None:
        """It has had no turn yet."""
        super().met(endpoint, now_s)
        self._current[endpoint] = 0.0

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Raise all, take the highest."""
        current, total, count = self._current, 0.0, len(endpoints)
        best, highest = -1, 0.0
        for place in range(self._start, self._start + count):
            endpoint = endpoints[place % count]
            weight = self.weight(endpoint)
            total += weight
            raised = current[endpoint] = current.get(endpoint, 0.0) + weight
            if best < 0 or raised > highest:
                best, highest = endpoint, raised
        current[best] -= total
        return best


class Deadlines:
    """The earliest deadline first: who was chosen is due again after 1 / weight.

    ::

        deadline = (the moment it was chosen) + 1 / weight            the moment is the deadline of who is chosen

    Deadlines begin at random places of a period (gRFC A58), so that processes do not march in step. Who comes later, or comes
    back, is not owed what it has missed.
    """

    __slots__ = ("_heap", "_key", "_moment", "_since", "_there")

    def __init__(self, key: int) -> None:
        self._key = key
        self._heap: list[tuple[float, int, int]] = []  # deadline, order of entry, endpoint
        self._there: set[int] = set()
        self._moment = 0.0
        self._since = 0

    def pick(self, endpoints: Indices, weight: Callable[[int], float]) -> int:
        """Who of them is due first; its weight now says when it is due again."""
        for endpoint in endpoints:
            if endpoint not in self._there:
                self._there.add(endpoint)
                self._enter(endpoint, uniform(child(self._key, endpoint)) / weight(endpoint))
        skipped = []
        while True:
            deadline, since, endpoint = heappop(self._heap)
            if endpoint in endpoints:
                break
            skipped.append((deadline, since, endpoint))
        for entry in skipped:
            heappush(self._heap, entry)
        self._moment = max(self._moment, deadline)
        self._enter(endpoint, 1 / weight(endpoint))
        return endpoint

    def _enter(self, endpoint: int, period: float) -> None:
        self._since += 1
        heappush(self._heap, (self._moment + period, self._since, endpoint))


class WeightedRequests(Weighted):
    """Envoy's least request where weights differ: a weighted round robin that calls in flight make lighter.

    ::

        weight / (calls in flight + 1)^bias            looked at when the endpoint is chosen, for its next turn

    While all weights are equal, no `active_request_bias` is set and nobody is new, it is the rule that it is given: a full scan,
    or two choices. Not where few calls are in flight: then it is a plain weighted round robin. Source: envoy@1.40
    least_request_lb.cc, load_balancer_impl.cc.
    """

    def __init__(
        self, equal: Balancer, weights: tuple[float, ...], bias: float | None, slow_start: SlowStart | None, key: int
    ) -> None:
        super().__init__(weights, slow_start)
        self._equal = equal
        self._differ = bias is not None or len(set(weights)) > 1
        self._bias = 1.0 if bias is None else bias
        self._deadlines = Deadlines(key)

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Who is due first, or whom the rule for equal weights picks."""
        if not self._differ and not self.someone_is_new():
            return self._equal.pick(endpoints, in_flight, bits)

        def weight(endpoint: int) -> float:
            lighter: float = float(in_flight[endpoint] + 1) ** self._bias
            return self.weight(endpoint) / lighter

        return self._deadlines.pick(endpoints, weight)
