"""Balancing by latency: two choices over a moving average that jumps up at once and comes down slowly."""

from __future__ import annotations

import math
from typing import Final

from sim.policies.balancing import Indices, two_distinct
from sim.policies.weights import Acquaintance

#: What an endpoint without an answer costs while a call to it waits: more than any latency.
_PENALTY: Final = float(2**47)


class PeakEwma(Acquaintance):
    """Of two different endpoints at random, the one with the lower cost.

    ::

        cost · (calls in flight + 1)
        at an answer      rtt > cost: cost = rtt;  else cost = cost · w + rtt · (1 - w),  w = e^(-Δt / decay)
        at each look      the same with an rtt of 0: what is not asked for long becomes attractive

    Δt is the time since the last answer *or look*, so an endpoint that is looked at often keeps its peak although its answers
    are fast; a slow answer counts in full at once. An endpoint that has never answered costs nothing while no call to it waits,
    and more than any other while one does; or it begins with `default_rtt`, from the moment when it was met.

    Every answer counts, failures too: who fails fast looks fast. Not for calls that are slow by nature, such as long polling, or
    where a few slow answers are no sign of the endpoint. Source: finagle@24 PeakEwma.scala; tower@0.5 load/peak_ewma.rs and
    linkerd for `default_rtt`.

    >>> rule = PeakEwma(decay_s=10.0, default_rtt_s=0.03)
    >>> _ = rule.look(0.0, 0, [0, 1])
    >>> rule.settled(0, 0.2, 0.2, 1, None)
    >>> rule.cost(0, 0), rule.cost(1, 9)
    (0.2, 0.3)
    """

    def __init__(self, decay_s: float, default_rtt_s: float | None) -> None:
        super().__init__()
        self._decay_s = decay_s
        self._first_s = 0.0 if default_rtt_s is None else default_rtt_s
        self._cost_s: dict[int, float] = {}
        self._stamp_s: dict[int, float] = {}

    def met(self, endpoint: int, now_s: float) -> None:
        """It has not answered yet."""
        self._cost_s[endpoint] = self._first_s
        self._stamp_s[endpoint] = now_s

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Draw two, take the cheaper one; the second on a tie."""
        first, second = two_distinct(endpoints, bits)
        if first == second:
            return first
        for endpoint in (first, second):
            self._observe(endpoint, 0.0, self.now_s)
        return first if self.cost(first, in_flight[first]) < self.cost(second, in_flight[second]) else second

    def cost(self, endpoint: int, calls: int) -> float:
        """What another call would cost at an endpoint where so many are in flight, as of the last look at it, in seconds."""
        cost_s = self._cost_s[endpoint]
        return _PENALTY + calls if cost_s == 0 and calls else cost_s * (calls + 1)

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """Count how long it took, whatever came out."""
        if endpoint in self._cost_s:
            self._observe(endpoint, latency_s, now_s)

    def _observe(self, endpoint: int, rtt_s: float, now_s: float) -> None:
        cost_s = self._cost_s[endpoint]
        if rtt_s > cost_s:
            cost_s = rtt_s
        else:
            w = math.exp((self._stamp_s[endpoint] - now_s) / self._decay_s)
            cost_s = cost_s * w + rtt_s * (1 - w)
        self._cost_s[endpoint] = cost_s
        self._stamp_s[endpoint] = now_s
