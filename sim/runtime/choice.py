"""Which endpoint a guarded caller uses: those that it believes to be alive, less those that it has learned to avoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.policies.balancing import Balancer
from sim.policies.breaker import STATES, BreakerGate, breaker_gate
from sim.policies.outlier import OutlierGate
from sim.records import IN_FLIGHT, OUTCOMES
from sim.streams import child

if TYPE_CHECKING:
    import cython

    from sim.scenario.calls import CallPolicy

#: What `choose` answers when callers believe that nothing is alive, and when the breakers of all endpoints refuse.
NONE_ALIVE, ALL_REFUSE = -1, -2


class Choice:
    """One caller process's knowledge of one target's endpoints.

    ::

        believed alive -> not ejected -> breaker of the endpoint lets through -> not tried before -> balancing
                          (or panic)     (none does: ALL_REFUSE)                (all tried: any)
    """

    __slots__ = ("_balancer", "_breakers", "_outliers")

    def __init__(
        self, policy: CallPolicy, balancer: Balancer, endpoints: int, process_key: cython.ulonglong, now_s: float
    ) -> None:
        self._balancer = balancer
        spec = policy.circuit_breaker
        each = spec is not None and spec.scope == "per_client_x_endpoint"
        self._breakers: list[BreakerGate] = [breaker_gate(spec, child(process_key, i), now_s) for i in range(endpoints)] if each else []
        outliers = policy.outlier_detection
        self._outliers = None if outliers is None else OutlierGate(outliers, endpoints, now_s)

    def choose(self, alive: list[int], in_flight: list[int], tried: list[int], bits: cython.ulonglong, now_s: float) -> int:
        """Index of an endpoint, or NONE_ALIVE, or ALL_REFUSE."""
        if not alive:
            return NONE_ALIVE
        candidates = alive if self._outliers is None else self._outliers.usable(now_s, alive)
        if self._breakers:
            candidates = [i for i in candidates if self._breakers[i].lets_through(now_s)]
            if not candidates:
                return ALL_REFUSE
        if tried:
            candidates = [i for i in candidates if i not in tried] or candidates
        return self._balancer.pick(candidates, in_flight, bits)

    def permit(self, endpoint: int, now_s: float) -> int:
        """The permit of the endpoint's breaker for one attempt; 0 without breakers."""
        return self._breakers[endpoint].permit(now_s) if self._breakers else 0

    def settle(self, endpoint: int, permit: int, outcome: int, now_s: float, sent_s: float, u: float) -> None:
        """Learn how an attempt ended; `u` is a uniform number for rules that act by chance."""
        if self._breakers:
            self._breakers[endpoint].finish(permit, outcome, now_s, now_s - sent_s)
        if self._outliers is not None and outcome != IN_FLIGHT:
            self._outliers.settle(endpoint, OUTCOMES[outcome], now_s, u)

    def changes(self) -> list[tuple[float, int, str]]:
        """When an endpoint's breaker changed its state, or the endpoint was ejected or let back: clock time, endpoint, state."""
        found = [(time_s, i, STATES[state]) for i, gate in enumerate(self._breakers) for time_s, state in gate.changes]
        if self._outliers is not None:
            found += [(time_s, i, "ejected" if out else "returned") for time_s, i, out in self._outliers.changes]
        return found
