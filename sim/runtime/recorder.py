"""Writing rows: the only place that knows how measurements are laid out in memory.

Rows are packed into byte arrays, so a million of them are a few large objects, not millions of small ones.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.records import (
    ATTEMPTS,
    EFFECTS,
    FATE_DONE,
    GAUGES,
    IN_FLIGHT,
    REQUESTS,
    TOTALS,
    Table,
)

if TYPE_CHECKING:
    from sim.runtime.broker import Message
    from sim.runtime.caller import Edge
    from sim.runtime.context import Context, Request, Visit

_NAN = float("nan")


class _Rows:
    """One growing table."""

    __slots__ = ("_buffer", "_pack", "_table")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._buffer = bytearray()
        self._pack = table.packer.pack

    def append(self, *row: Any) -> None:
        self._buffer += self._pack(*row)

    def array(self) -> np.ndarray[Any, Any]:
        return np.frombuffer(bytes(self._buffer), dtype=self._table.dtype)


class Recorder:
    """The tables of one run."""

    def __init__(self, now: Any, record_attempts: bool) -> None:
        self._now = now  # the clock, a function
        self._requests = _Rows(REQUESTS)
        self._attempts = _Rows(ATTEMPTS)
        self._effects = _Rows(EFFECTS)
        self._gauges = _Rows(GAUGES)
        self._totals = _Rows(TOTALS)
        self._record_attempts = record_attempts
        self._attempts_of = array("i")  # calls issued on behalf of each request; grows after its answer, too
        self._issued = 0

    def next_request(self) -> int:
        """Number of a new logical request."""
        self._attempts_of.append(0)
        return len(self._attempts_of) - 1

    def next_attempt(self, request: int) -> int:
        """Number of a new attempt on behalf of a request."""
        self._attempts_of[request] += 1
        self._issued += 1
        return self._issued - 1

    def count_attempt(self, request: int) -> None:
        """Count a delivery on behalf of a request; it has no row among the attempts."""
        self._attempts_of[request] += 1

    def request(self, request: Request, entry: int, context: Context, outcome: int) -> None:
        """End a logical request: its one row."""
        ended_s = _NAN if outcome == IN_FLIGHT else self._now()
        self._requests.append(
            request.number, entry, request.arrived_s, ended_s, outcome, 0,
            context.queue_s, context.service_s, context.network_s, context.backoff_s, context.lost_s,
        )  # fmt: skip

    def attempt(
        self, attempt: int, context: Context, edge: Edge, chosen: int, number: int,
        started_s: float, outcome: int, visit: Visit | None,
    ) -> None:  # fmt: skip
        """End an attempt as its caller saw it."""
        if not self._record_attempts:
            return
        ended_s = _NAN if outcome == IN_FLIGHT else self._now()
        queue_s = service_s = network_s = 0.0
        if visit is not None:
            queue_s, service_s, network_s = visit.own_queue_s, visit.own_s, visit.own_network_s
        self._attempts.append(
            attempt, context.attempt, context.request.number, edge.caller_code, edge.target_code, chosen, number,
            started_s, ended_s, outcome, queue_s, service_s, network_s,
        )  # fmt: skip

    def synchronous_effect(self, effect: int, request: Request, received_s: float, started_s: float, done_s: float) -> None:
        """An operation marked as effect was completed by a call."""
        self._effects.append(effect, request.number, -1, request.arrived_s, received_s, _NAN, started_s, done_s, 1, FATE_DONE)

    def message(self, effect: int, queue: int, message: Message, fate: int) -> None:
        """A message came to its end, or to the end of the run."""
        self._effects.append(
            effect, message.request.number, queue, message.request.arrived_s, message.published_s, message.acked_s,
            message.started_s, message.done_s, message.deliveries, fate,
        )  # fmt: skip

    def gauge(self, name: int, busy: int, queued: int, alive: int) -> None:
        """A sample of a service's or queue's state."""
        self._gauges.append(self._now(), name, busy, queued, alive)

    def total(self, name: int, busy_worker_s: float, served: int) -> None:
        """A service's work over the measured window."""
        self._totals.append(name, busy_worker_s, served)

    def tables(self) -> dict[str, np.ndarray[Any, Any]]:
        """All tables as structured arrays; requests in order of arrival, attempts in order of issue."""
        requests = self._requests.array().copy()
        requests.sort(order="request")
        requests["attempts"] = np.frombuffer(self._attempts_of, dtype="i4")
        attempts = self._attempts.array().copy()
        attempts.sort(order="attempt")
        return {
            "requests": requests,
            "attempts": attempts,
            "effects": self._effects.array(),
            "gauges": self._gauges.array(),
            "totals": self._totals.array(),
        }
