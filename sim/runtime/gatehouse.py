"""What a replica refuses before it lets a visit in: rate limits, load shedding, a concurrency limit that follows the latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.policies.adaptive import adaptive_gate
from sim.policies.rate import rate_gate
from sim.policies.shedding import SheddingGate
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.kernel.tasks import Pool
    from sim.runtime.visit import Visit
    from sim.scenario.services import Service

_SHED = salt("replica", "shed")


class Gatehouse:
    """The server-side limits of one replica. What it refuses costs no worker; the answer may say when to come back."""

    __slots__ = ("_adaptive", "_inside", "_pool", "_rate", "_shedding")

    def __init__(self, spec: Service, pool: Pool, now_s: float) -> None:
        self._pool = pool
        self._rate = None if spec.rate_limit is None else rate_gate(spec.rate_limit, now_s)
        self._shedding = None if spec.shedding is None else SheddingGate(spec.shedding)
        self._adaptive = None if spec.adaptive_concurrency is None else adaptive_gate(spec.adaptive_concurrency, now_s)
        self._inside = 0

    def admits(self, visit: Visit, now_s: float) -> bool:
        """Whether a visit may come in; if not, `visit.retry_after_s` may say when it may."""
        pool = self._pool
        if self._adaptive is not None and not self._adaptive.admits(now_s, self._inside):
            return False
        if self._shedding is not None:
            u = uniform(child(visit.key, _SHED))
            if not self._shedding.admits(now_s, visit.priority, pool.waiting, pool.busy / pool.workers, u):
                return False
        if self._rate is not None and self._rate.ask(now_s) != 0:
            visit.retry_after_s = self._rate.retry_after_s(now_s)
            return False
        self._inside += 1
        return True

    def left(self, now_s: float, received_s: float, dropped: bool) -> None:
        """A visit that was let in is over; `dropped` if it waited in vain or was abandoned."""
        if self._adaptive is not None:
            self._adaptive.sample(now_s, now_s - received_s, self._inside, dropped)
        self._inside -= 1
