"""What a replica refuses before it lets a visit in: rate limits, load shedding, a concurrency limit that follows the latency."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.policies.adaptive import adaptive_gate
from sim.policies.rate import rate_gate
from sim.policies.shedding import shedding_gate
from sim.records import IN_FLIGHT, REJECTED
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.kernel.tasks import Pool
    from sim.runtime.visit import Visit
    from sim.scenario.services import Service

_SHED, _ADAPT = salt("replica", "shed"), salt("replica", "adapt")


class Gatehouse:
    """The server-side limits of one replica. What it refuses costs no worker; the answer may say when to come back."""

    __slots__ = ("_adaptive", "_inside", "_pool", "_rate", "_shedding")

    def __init__(self, spec: Service, pool: Pool, process_key: int, now_s: float) -> None:
        self._pool = pool
        workers = inf if spec.workers == "unlimited" else spec.workers
        self._rate = None if spec.rate_limit is None else rate_gate(spec.rate_limit, now_s)
        self._shedding = None if spec.shedding is None else shedding_gate(spec.shedding, workers)
        adaptive = spec.adaptive_concurrency
        self._adaptive = None if adaptive is None else adaptive_gate(adaptive, now_s, uniform(child(process_key, _ADAPT)))
        self._inside = 0

    def admits(self, visit: Visit, now_s: float) -> bool:
        """Whether a visit may come in; if not, `visit.retry_after_s` may say when it may."""
        pool = self._pool
        if self._adaptive is not None and self._inside >= self._adaptive.limit(now_s):
            return False
        if self._shedding is not None:
            u = uniform(child(visit.key, _SHED))
            if not self._shedding.admits(now_s, visit.plan.priority, pool.waiting, pool.busy / pool.workers, u):
                return False
        if self._rate is not None and self._rate.ask(now_s) != 0:
            visit.retry_after_s = self._rate.retry_after_s(now_s)
            return False
        self._inside += 1
        visit.inside = self._inside
        return True

    def started(self, waited_s: float) -> None:
        """A visit got its worker, after a wait."""
        if self._shedding is not None:
            self._shedding.started(waited_s)

    def left(self, visit: Visit, outcome: int, now_s: float) -> None:
        """A visit that was let in is over, with an outcome; in_flight if it was killed."""
        self._inside -= 1
        if outcome == IN_FLIGHT:
            return
        if self._shedding is not None and visit.working:
            self._shedding.served(now_s - visit.started_s)
        if self._adaptive is not None:
            u = uniform(child(visit.key, _ADAPT))
            self._adaptive.sample(now_s, now_s - visit.received_s, visit.inside, outcome == REJECTED, u)
