"""Concurrency limit (bulkhead): how many calls may be out at once, and how many may wait for their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.values import PositiveDuration, Spec

if TYPE_CHECKING:
    import cython

#: What `ConcurrencyGate.enter` answers: the call starts now, waits for its turn, or must not be made.
STARTS: Final = 1
WAITS: Final = 0
REFUSED: Final = -1

_NO_LIMIT: Final = 2**31 - 1  # calls that no run has at once; more may not fit into a C long


class ConcurrencyLimit(Spec):
    """At most `max_concurrent` calls at once; `max_queue` more wait for at most `max_wait`; the rest are `rejected` at once.

    ::

        arrive --> running < max_concurrent? --yes--> run --leave--> the first waiter runs
                       | no
                       +--> waiting < max_queue? --yes--> wait, FIFO --max_wait--> rejected
                                | no
                                +--> rejected

    On an edge it is the caller's: one gate per caller process and target, so that one slow dependency cannot take every worker.
    On a service it is the replica's. Without a queue and under Poisson load it refuses Erlang B, whatever the law of the work;
    with one it is M/M/c/K. Not a rate limit: it lets more through when the target gets faster. A limit that nobody knows how to
    choose is one for `AdaptiveConcurrency`.

    Called a circuit breaker by Envoy (`max_requests`, `max_pending_requests` 1024 each; HTTP/1.1: `max_connections` is
    `max_concurrent`), a bulkhead by resilience4j (25, no wait) and Polly (1000, no queue), `maxconn` by HAProxy.
    """

    max_concurrent: Annotated[int, Field(ge=0)] = Field(description="calls at once; 0 refuses or queues all of them")
    max_queue: Annotated[int, Field(ge=0)] | Literal["unbounded"] = Field(0, description="calls that may wait; more are rejected")
    max_wait: PositiveDuration | None = Field(None, description="longest wait; then the call is rejected; absent: no limit")

    @model_validator(mode="after")
    def _somebody_waits(self) -> ConcurrencyLimit:
        if self.max_wait is not None and self.max_queue == 0:
            raise ValueError(
                f"concurrency_limit: max_wait = {self.max_wait:g} s has no effect while max_queue = 0 lets nobody wait; "
                "give max_queue a number, or write unbounded"
            )
        return self


class ConcurrencyGate:
    """The counters of one limit: who starts, who waits, who is refused. The line itself is its owner's, in any order.

    >>> gate = ConcurrencyGate(1, max_queue=1)
    >>> [gate.enter() for _ in range(3)] == [STARTS, WAITS, REFUSED]
    True
    >>> gate.leave(), gate.running, gate.waiting
    (True, 1, 0)

    Every STARTS, and every waiter that was started, is followed by one `leave`; every other waiter by one `give_up`.
    """

    __slots__ = ("_limit", "_max_queue", "running", "waiting")

    def __init__(self, limit: int, max_queue: float = 0) -> None:
        self._limit = min(limit, _NO_LIMIT)
        self._max_queue = int(min(max_queue, _NO_LIMIT))
        self.running = 0
        self.waiting = 0

    @classmethod
    def of(cls, spec: ConcurrencyLimit) -> ConcurrencyGate:
        """The gate of a fixed limit."""
        return cls(spec.max_concurrent, _NO_LIMIT if spec.max_queue == "unbounded" else spec.max_queue)

    @property
    def limit(self) -> int:
        """Calls that may run at once now."""
        return self._limit

    def enter(self) -> cython.int:
        """A call arrives: STARTS, WAITS or REFUSED."""
        if self.running < self._limit:
            self.running += 1
            return STARTS
        if self.waiting < self._max_queue:
            self.waiting += 1
            return WAITS
        return REFUSED

    def leave(self) -> cython.bint:
        """A running call ends; True if the next waiter starts, which is then counted as running."""
        self.running -= 1
        if self.waiting > 0 and self.running < self._limit:
            self.waiting -= 1
            self.running += 1
            return True
        return False

    def give_up(self) -> None:
        """A waiter leaves the line without having started."""
        self.waiting -= 1

    def change(self, limit: int) -> int:
        """Set another limit; how many waiters start now. Calls that run beyond a lower limit are left to end."""
        self._limit = min(limit, _NO_LIMIT)
        started = max(0, min(self.waiting, self._limit - self.running))
        self.waiting -= started
        self.running += started
        return started

    def __repr__(self) -> str:
        return f"<ConcurrencyGate {self.running}/{self._limit} running, {self.waiting} waiting>"
