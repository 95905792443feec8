"""Balancing by what servers announce or answer to probes: join the idle queue, and Prequal."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Final, NamedTuple

from sim.policies.balancing import Indices
from sim.policies.balancing_kinds import Balancing
from sim.policies.weights import Acquaintance
from sim.streams import child, uniform

#: Answers from which the distribution of calls inside is estimated.
_REMEMBERED: Final = 64
#: With fewer usable probes than this, an endpoint is drawn at random.
_FEWEST: Final = 2
#: Latencies that a server remembers for each number of calls inside.
_LATENCIES: Final = 16
_ROUNDING, _RANDOM, _PROBED = 1, 2, 3  # draws of one attempt


class JoinIdleQueue(Acquaintance):
    """The endpoint that has announced longest ago that it is idle; any at random when none has.

    ::

        server becomes idle --> one process, drawn at random among those that call it --> its list of idle ones
        attempt             --> the first of the list, which leaves it; or any

    Nothing is asked when a call is made, and the announcement costs a message. An endpoint that got a call from elsewhere since
    is not idle any more, and stays on the list. In the beginning nobody has announced anything. Not for endpoints that are never
    without work: at high load nearly all calls are sent at random. Source: Lu et al., "Join-Idle-Queue", Performance 2011.

    >>> rule = JoinIdleQueue()
    >>> rule.heard(2, 0.0, None)
    >>> rule.pick([0, 1, 2], [], 0), rule.pick([0, 1, 2], [], 0)
    (2, 0)
    """

    counts = False

    def __init__(self) -> None:
        super().__init__()
        self._idle: dict[int, None] = {}  # in the order in which they said so

    def met(self, endpoint: int, now_s: float) -> None:
        """What it said in an earlier life is not true any more."""
        self._idle.pop(endpoint, None)

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """The first that is idle and usable."""
        for endpoint in self._idle:
            if endpoint in endpoints:
                del self._idle[endpoint]
                return endpoint
        return endpoints[int(uniform(bits) * len(endpoints))]

    def heard(self, endpoint: int, now_s: float, report: object) -> None:
        """An endpoint says that it is idle."""
        self._idle.setdefault(endpoint)


class ProbeReport(NamedTuple):
    """A server's answer to a probe."""

    calls: int  # inside: worked on or waiting
    latency_s: float  # the usual one with so many inside


class LatencyMemory:
    """A server's own latencies, by how many calls each has found inside.

    >>> memory = LatencyMemory()
    >>> for calls, latency_s in ((0, 0.1), (0, 0.3), (0, 0.2), (4, 0.9)):
    ...     memory.add(calls, latency_s)
    >>> memory.median_s(0), memory.median_s(1), memory.median_s(3), LatencyMemory().median_s(1)
    (0.2, 0.2, 0.9, 0.0)
    """

    __slots__ = ("_by_calls",)

    def __init__(self) -> None:
        self._by_calls: dict[int, deque[float]] = {}

    def add(self, calls: int, latency_s: float) -> None:
        """A call that had found so many inside took so long."""
        self._by_calls.setdefault(calls, deque(maxlen=_LATENCIES)).append(latency_s)

    def median_s(self, calls: int) -> float:
        """The median of the latest with so many, or with a number next to it; 0 if there is none."""
        if not self._by_calls:
            return 0.0
        nearest = min(self._by_calls, key=lambda found: (abs(found - calls), found))
        return median(self._by_calls[nearest])


class _Probe:
    __slots__ = ("at_s", "calls", "endpoint", "latency_s", "uses")

    def __init__(self, endpoint: int, at_s: float, report: ProbeReport, uses: int) -> None:
        self.endpoint = endpoint
        self.at_s = at_s
        self.calls = report.calls
        self.latency_s = report.latency_s
        self.uses = uses


class Prequal(Acquaintance):
    """Probes are sent with each attempt and answered meanwhile; the next attempts choose among the answers.

    ::

        hot     calls inside > the `hot_quantile` of those that were reported lately
        chosen  the cold one with the least latency; if all are hot, the one with the fewest calls inside
        then    its calls + 1; after b uses it is dropped;  of the rest `removes` are dropped per attempt: in turn the oldest, and
                the worst (the hot one with the most calls; if all are cold, the slowest)
        b       max(1, (1 + reuse_delta) / ((1 - pool_size / endpoints) · probes - removes)), rounded at random

    Answers live for `max_age` and one for each endpoint, the newest. With fewer than two, any endpoint is taken. A probe takes a
    message there and one back and costs the server nothing; it answers with its calls inside and the median of its latest
    latencies with about as many. An endpoint that fails fast looks idle: combine it with `outlier_detection`.

    Not for few calls per process: answers are old before they are used, and all processes run to the one that was idle a while
    ago. Source: Wydrowski et al., "Load is not what you should balance", NSDI 2024. Left out: probes of an idle client.
    """

    counts = False
    probes_endpoints = True

    def __init__(self, spec: Balancing) -> None:
        super().__init__()
        self._spec = spec
        self._pool: list[_Probe] = []  # the oldest first
        self._reported: deque[int] = deque(maxlen=_REMEMBERED)
        self._due = 0.0  # probes that have not been sent yet
        self._to_remove = 0.0
        self._worst_next = False
        self._bits = 0
        self._limit = 0  # more calls inside are hot

    def met(self, endpoint: int, now_s: float) -> None:
        """What it answered in an earlier life is not true any more."""
        self._pool = [probe for probe in self._pool if probe.endpoint != endpoint]

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """The best of what is known."""
        self._bits = bits
        self._pool = [probe for probe in self._pool if self.now_s - probe.at_s <= self._spec.max_age]
        usable = [probe for probe in self._pool if probe.endpoint in endpoints]
        drawn = endpoints[int(uniform(child(bits, _RANDOM)) * len(endpoints))]
        chosen = drawn if len(usable) < _FEWEST else self._use(usable)
        self._to_remove += self._spec.removes
        while self._to_remove >= 1:
            self._to_remove -= 1
            self._remove()
        return chosen

    def probes(self) -> Iterator[int]:
        """Which endpoints to ask now, after an attempt was sent: each another one."""
        self._due += self._spec.probes
        left = list(self._known)
        bits = child(self._bits, _PROBED)
        while self._due >= 1 and left:
            self._due -= 1
            bits = child(bits, 1)
            yield left.pop(int(uniform(bits) * len(left)))
        self._due = min(self._due, 1.0)

    def heard(self, endpoint: int, now_s: float, report: object) -> None:
        """An answer to a probe."""
        assert isinstance(report, ProbeReport)
        self._reported.append(report.calls)
        ordered = sorted(self._reported)
        self._limit = ordered[min(len(ordered) - 1, int(self._spec.hot_quantile * len(ordered)))]
        self._pool = [probe for probe in self._pool if probe.endpoint != endpoint]
        self._pool.append(_Probe(endpoint, now_s, report, self._uses(child(self._bits, endpoint))))
        if len(self._pool) > self._spec.pool_size:
            del self._pool[0]

    def _use(self, usable: list[_Probe]) -> int:
        cold = [probe for probe in usable if probe.calls <= self._limit]
        if cold:
            best = min(cold, key=lambda probe: (probe.latency_s, probe.calls, -probe.at_s))
        else:  # equals: the newest, here and above
            best = min(usable, key=lambda probe: (probe.calls, probe.latency_s, -probe.at_s))
        best.calls += 1
        best.uses -= 1
        if best.uses <= 0:
            self._pool.remove(best)
        return best.endpoint

    def _remove(self) -> None:
        if not self._pool:
            return
        if self._worst_next:
            hot = [probe for probe in self._pool if probe.calls > self._limit]
            worst = max(hot, key=lambda probe: probe.calls) if hot else max(self._pool, key=lambda probe: probe.latency_s)
            self._pool.remove(worst)
        else:
            del self._pool[0]
        self._worst_next = not self._worst_next

    def _uses(self, bits: int) -> int:
        spec, count = self._spec, max(1, len(self._known))
        fresh = (1 - spec.pool_size / count) * spec.probes - spec.removes
        if fresh <= 0:
            return spec.pool_size  # too few endpoints for the formula: age alone decides, or nearly so
        budget = max(1.0, (1 + spec.reuse_delta) / fresh)
        return math.floor(min(budget, spec.pool_size) + uniform(child(bits, _ROUNDING)))
