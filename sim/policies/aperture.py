"""Balancing over few endpoints: the first that works, a subset, or as many as the load needs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sim.policies.balancing import Balancer, Indices, TwoDistinct
from sim.policies.balancing_kinds import Balancing
from sim.records import IN_FLIGHT, TIMEOUT, UNREACHABLE
from sim.streams import child, salt

_ORDER, _SUBSET = (salt("aperture", name) for name in ("order", "subset"))


class Subset(Balancer):
    """Some rule over a part of the endpoints: those `size` whose hash with this process's salt is smallest.

    When an endpoint goes, one other takes its place, and the rest stay (rendezvous hashing). It is chosen from what is known, not
    from what is usable: outlier detection and breakers look at the subset only. Each endpoint is used by a binomial number of
    processes: with few processes and small subsets some endpoints get nothing at all. Source: gRFC A68.

    >>> rule = Subset(Balancer(), size=2, process_key=1)
    >>> used = rule.look(0.0, 0, [0, 1, 2, 3])
    >>> len(used), rule.look(0.0, 0, used) == used, rule.look(0.0, 0, [3])
    (2, True, [3])
    """

    learns = True

    def __init__(self, rule: Balancer, size: int, process_key: int) -> None:
        self._rule = rule
        self._size = size
        self._salt = child(process_key, _SUBSET)
        self._known: Indices = []
        self._used: Indices = []
        self.counts = rule.counts
        self.probes_endpoints = rule.probes_endpoints

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """The subset, which is the same list while the endpoints are the same."""
        if known is not self._known:
            self._known = known
            self._used = sorted(sorted(known, key=lambda i: child(self._salt, i))[: self._size])
        return self._rule.look(now_s, key, self._used) if self._rule.learns else self._used

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """As the rule says."""
        return self._rule.pick(endpoints, in_flight, bits)

    def sent(self, endpoint: int, now_s: float) -> None:
        """Pass it on."""
        if self._rule.learns:
            self._rule.sent(endpoint, now_s)

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """Pass it on."""
        if self._rule.learns:
            self._rule.settled(endpoint, now_s, latency_s, outcome, report)

    def probes(self) -> Iterable[int]:
        """Pass it on."""
        found: Iterable[int] = self._rule.probes()
        return found

    def heard(self, endpoint: int, now_s: float, report: object) -> None:
        """Pass it on."""
        if endpoint in self._used:
            self._rule.heard(endpoint, now_s, report)


class PickFirst(Balancer):
    """One endpoint for all calls: the first in the order of the replicas, or in one of the process's own with `shuffle`.

    It stays with that one until it is gone or unreachable, also when one before it comes back; then it tries the others from the
    top, each once. The call that finds it unreachable fails; gRPC, which connects before it sends, would find another first.

    Not for many calls of few processes: without `shuffle` all processes use the same endpoint while the others idle, and a new
    endpoint gets nothing until a process looks for one. Source: gRFC A62; grpc-go@1.7x balancer/pickfirst.

    >>> rule = PickFirst(shuffle=False, process_key=1)
    >>> rule.pick([1, 2], [], 0), rule.pick([0, 1, 2], [], 0)
    (1, 1)
    """

    counts = False
    learns = True

    def __init__(self, shuffle: bool, process_key: int) -> None:
        self._own = child(process_key, _ORDER) if shuffle else None
        self._chosen = -1
        self._failed: set[int] = set()  # since the last one that answered

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """The same as before, if it is still there."""
        if self._chosen not in endpoints:
            left = [i for i in endpoints if i not in self._failed]
            if not left:
                self._failed.clear()
                left = endpoints
            own = self._own
            self._chosen = left[0] if own is None else min(left, key=lambda i: child(own, i))
        return self._chosen

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """Leave it if it could not be reached."""
        if outcome == UNREACHABLE:
            self._failed.add(endpoint)
            if endpoint == self._chosen:
                self._chosen = -1
        elif outcome not in (IN_FLIGHT, TIMEOUT):
            self._failed.clear()


class Aperture(Balancer):
    """Two distinct choices among the first few endpoints of an order of the process's own, as many as the load needs.

    ::

        load = EMA of the calls in flight (mean age `smoothing`) / width
        at each begin and end of a call        load >= high_load: one wider         load <= low_load: one narrower

    So each used endpoint has about one call in flight, and a process of small load uses few: fewer connections, warmer servers.
    The EMA is looked at with each call, so many calls let it grow fast. Not for few processes of small load: their apertures may
    lie on the same endpoints, which `deterministic_aperture` avoids. Source: finagle@24 aperture/LoadBand.scala,
    RandomAperture.scala, util/Ema.scala.
    """

    learns = True

    def __init__(self, spec: Balancing, process_key: int) -> None:
        self._order_key = child(process_key, _ORDER)
        self._low, self._high = spec.low_load, spec.high_load
        self._smoothing_s = spec.smoothing
        self._least = self.width = spec.min_aperture or 1
        self._rule = TwoDistinct()
        self._count = 0  # of endpoints that are known
        self._known: Indices = []
        self._endpoints: Indices = []
        self._order: Indices = []
        self._calls = 0
        self._ema, self._ema_s = 0.0, -1.0

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """How wide it may get is how many there are."""
        if known is not self._known:
            self._known = known
            self._count = len(known)
            self.width = self._within(self.width)
        return known

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Two choices among the first that are usable."""
        if endpoints is not self._endpoints:
            self._endpoints = endpoints
            self._order = sorted(endpoints, key=lambda i: child(self._order_key, i))
        return self._rule.pick(self._order[: self.width], in_flight, bits)

    def sent(self, endpoint: int, now_s: float) -> None:
        """One call more."""
        self._adjust(1, now_s)

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """One call less."""
        self._adjust(-1, now_s)

    def _adjust(self, calls: int, now_s: float) -> None:
        self._calls += calls
        if self._ema_s < 0:
            self._ema = float(self._calls)
        else:
            w = math.exp((self._ema_s - now_s) / self._smoothing_s) if self._smoothing_s > 0 else 0.0
            self._ema = self._calls * (1 - w) + self._ema * w
        self._ema_s = now_s
        load = self._ema / self.width
        if load >= self._high:
            self.width = self._within(self.width + 1)
        elif load <= self._low:
            self.width = self._within(self.width - 1)

    def _within(self, width: int) -> int:
        return max(min(self._least, self._count), min(self._count, width))
