"""Concurrency limit (bulkhead): how many calls may be out at once, and how many may wait for their turn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.values import PositiveDuration, Spec


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

    Source: called a circuit breaker by envoy@1.40 (`max_requests`, `max_pending_requests` 1024 each; HTTP/1.1: `max_connections`
    is `max_concurrent`), a bulkhead by resilience4j@2 (25, no wait) and polly@8 (1000, no queue), `maxconn` by haproxy@3.

    >>> ConcurrencyLimit(max_concurrent=20, max_queue=10, max_wait="50ms").max_wait
    0.05
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
