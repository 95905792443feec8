"""Which endpoint a guarded caller uses: those that it believes to be alive, less those that it has learned to avoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.policies.balancing import Balancer
from sim.policies.breaker import STATES, BreakerGate, breaker_gate
from sim.policies.outlier import EndpointGate
from sim.policies.zones import Zoned
from sim.streams import child

if TYPE_CHECKING:
    import cython

    from sim.scenario.calls import CallPolicy

#: What `choose` answers when callers believe that nothing is alive, and when the breakers of all endpoints refuse.
NONE_ALIVE, ALL_REFUSE = -1, -2


class Choice:
    """One caller process's knowledge of one target's endpoints.

    ::

        believed alive -> not ejected -> breaker of the endpoint lets through -> in the zone -> not tried before -> balancing
                          (or panic)     (none does: ALL_REFUSE)             (if chosen)     (all tried: any)
    """

    __slots__ = ("_balancer", "_breakers", "_health", "_zoned")

    def __init__(
        self,
        policy: CallPolicy,
        balancer: Balancer,
        endpoints: int,
        process_key: cython.ulonglong,
        now_s: float,
        active: EndpointGate | None = None,
    ) -> None:
        self._balancer = balancer
        self._zoned = balancer if isinstance(balancer, Zoned) else None
        spec = policy.circuit_breaker
        self._breakers: list[BreakerGate] = []
        if spec is not None and spec.scope == "per_client_x_endpoint":
            self._breakers = [breaker_gate(spec, child(process_key, i), now_s) for i in range(endpoints)]
        specs = (policy.outlier_detection, policy.passive_health)
        self._health: list[EndpointGate] = [spec.gate(endpoints, process_key, now_s) for spec in specs if spec is not None]
        if active is not None:
            self._health.insert(0, active)

    def choose(self, alive: list[int], in_flight: list[int], tried: list[int], bits: cython.ulonglong, now_s: float) -> int:
        """Index of an endpoint, or NONE_ALIVE, or ALL_REFUSE."""
        if not alive:
            return NONE_ALIVE
        candidates = self.usable(alive, now_s)
        if not candidates:
            return NONE_ALIVE
        if self._breakers:
            candidates = [i for i in candidates if self._breakers[i].lets_through(now_s)]
            if not candidates:
                return ALL_REFUSE
        zoned = self._zoned
        if zoned is not None:
            candidates = zoned.narrow(candidates, any(gate.panics for gate in self._health), bits)
        if tried:
            candidates = [i for i in candidates if i not in tried] or candidates
        return self._balancer.pick(candidates, in_flight, bits) if zoned is None else zoned.pick_in(candidates, in_flight, bits)

    def usable(self, alive: list[int], now_s: float) -> list[int]:
        """Those that are not left out for what was learned of them."""
        for gate in self._health:
            alive = gate.usable(now_s, alive)
        return alive

    def permit(self, endpoint: int, now_s: float) -> int:
        """An attempt goes to this endpoint: the permit of its breaker for it; 0 without breakers."""
        for gate in self._health:
            gate.picked(endpoint, now_s)
        return self._breakers[endpoint].permit(now_s) if self._breakers else 0

    def settle(self, endpoint: int, permit: int, outcome: int, now_s: float, sent_s: float) -> None:
        """Learn how an attempt ended."""
        if self._breakers:
            self._breakers[endpoint].finish(permit, outcome, now_s, now_s - sent_s)
        for gate in self._health:
            gate.settle(endpoint, outcome, now_s)

    def changes(self, now_s: float) -> list[tuple[float, int, str]]:
        """When an endpoint's breaker changed its state, or the endpoint was ejected or let back: clock time, endpoint, state."""
        found = []
        for i, breaker in enumerate(self._breakers):
            breaker.state(now_s)
            found += [(time_s, i, STATES[state]) for time_s, state in breaker.changes]
        for gate in self._health:
            gate.advance(now_s)
            found += [(time_s, i, "ejected" if out else "returned") for time_s, i, out in gate.changes]
        return found
