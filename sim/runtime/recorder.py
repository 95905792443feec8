# cython: boundscheck=False, wraparound=False
"""Writing rows: the only place that knows how measurements are laid out in memory.

Requests and attempts are numbered when they begin and written when they end, each into its own place in a column: no row object, no
sorting. Columns grow by blocks, so nothing is copied before the end of the run.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.records import ATTEMPTS, EFFECTS, FATE_DONE, GAUGES, IN_FLIGHT, REQUESTS, TOTALS, Table

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Tasks
    from sim.runtime.broker import Message
    from sim.runtime.context import Context, Request
    from sim.runtime.visit import Visit

#: One table: its columns by name, all of one length.
Columns = dict[str, np.ndarray[Any, Any]]

_NAN = float("nan")
_BITS = 14
_BLOCK = 1 << _BITS  # rows
_PLACE = _BLOCK - 1


def _column(code: str) -> array[Any]:
    return array(code, bytes(array(code).itemsize * _BLOCK))


class RequestBlock:
    """The columns of some requests in a row; what has not ended is in flight."""

    __slots__ = (
        "arrived_s", "attempts", "backoff_s", "ended_s", "entry", "lost_s", "network_s", "outcome", "queue_s", "service_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entry = _column("i")
        self.arrived_s = _column("d")
        self.ended_s = _column("d")
        self.outcome = _column("b")
        self.attempts = _column("i")
        self.queue_s = _column("d")
        self.service_s = _column("d")
        self.network_s = _column("d")
        self.backoff_s = _column("d")
        self.lost_s = _column("d")


class AttemptBlock:
    """The columns of some attempts in a row."""

    __slots__ = (
        "caller", "ended_s", "network_s", "number", "outcome", "parent", "queue_s", "replica", "request", "service_s", "started_s",
        "target",
    )  # fmt: skip

    def __init__(self) -> None:
        self.parent = _column("q")
        self.request = _column("q")
        self.caller = _column("i")
        self.target = _column("i")
        self.replica = _column("i")
        self.number = _column("i")
        self.started_s = _column("d")
        self.ended_s = _column("d")
        self.outcome = _column("b")
        self.queue_s = _column("d")
        self.service_s = _column("d")
        self.network_s = _column("d")


class _Rows:
    """A table with few rows: each is packed into one growing byte array."""

    __slots__ = ("_buffer", "_pack", "_table")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._buffer = bytearray()
        self._pack = table.packer.pack

    def append(self, *row: Any) -> None:
        self._buffer += self._pack(*row)

    def columns(self) -> Columns:
        rows = np.frombuffer(self._buffer, dtype=self._table.dtype)
        return {name: rows[name].copy() for name, _ in self._table.columns}


class Recorder:
    """The tables of one run."""

    def __init__(self, tasks: Tasks, record_attempts: bool) -> None:
        self._tasks = tasks
        self._requests: list[RequestBlock] = []
        self._attempts: list[AttemptBlock] = []
        self._begun = 0  # requests
        self._issued = 0  # attempts
        self._effects = _Rows(EFFECTS)
        self._gauges = _Rows(GAUGES)
        self._totals = _Rows(TOTALS)
        self._record_attempts = record_attempts

    def next_request(self) -> cython.long:
        """Number of a new logical request."""
        number = self._begun
        if number & _PLACE == 0:
            self._requests.append(RequestBlock())
        self._begun += 1
        return number

    def next_attempt(self, request: cython.long) -> cython.long:
        """Number of a new attempt on behalf of a request."""
        self.count_attempt(request)
        number = self._issued
        if number & _PLACE == 0 and self._record_attempts:
            self._attempts.append(AttemptBlock())
        self._issued += 1
        return number

    def count_attempt(self, request: cython.long) -> None:
        """Count a delivery on behalf of a request; it has no row among the attempts."""
        block: RequestBlock = self._requests[request >> _BITS]
        block.attempts[request & _PLACE] += 1

    def request(self, request: Request, entry: cython.int, context: Context, outcome: cython.int) -> None:
        """End a logical request: its one row."""
        block: RequestBlock = self._requests[request.number >> _BITS]
        place = request.number & _PLACE
        block.entry[place] = entry
        block.arrived_s[place] = request.arrived_s
        block.ended_s[place] = _NAN if outcome == IN_FLIGHT else self._tasks.now_s()
        block.outcome[place] = outcome
        block.queue_s[place] = context.queue_s
        block.service_s[place] = context.service_s
        block.network_s[place] = context.network_s
        block.backoff_s[place] = context.backoff_s
        block.lost_s[place] = context.lost_s

    def attempt(
        self, visit: Visit, parent: cython.long, caller: cython.int, target: cython.int, number: cython.int, outcome: cython.int
    ) -> None:
        """End an attempt as its caller saw it."""
        if not self._record_attempts:
            return
        block: AttemptBlock = self._attempts[visit.attempt >> _BITS]
        place = visit.attempt & _PLACE
        block.parent[place] = parent
        block.request[place] = visit.request.number
        block.caller[place] = caller
        block.target[place] = target
        block.replica[place] = visit.chosen
        block.number[place] = number
        block.started_s[place] = visit.sent_s
        block.ended_s[place] = _NAN if outcome == IN_FLIGHT else self._tasks.now_s()
        block.outcome[place] = outcome
        block.queue_s[place] = visit.own_queue_s
        block.service_s[place] = visit.own_s
        block.network_s[place] = visit.own_network_s

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
        self._gauges.append(self._tasks.now_s(), name, busy, queued, alive)

    def total(self, name: int, busy_worker_s: float, served: int) -> None:
        """A service's work over the measured window."""
        self._totals.append(name, busy_worker_s, served)

    def tables(self) -> dict[str, Columns]:
        """All tables, once: requests in order of arrival, attempts in order of issue; what was recorded is handed over."""
        requests = _joined(REQUESTS, self._requests, self._begun)
        attempts = _joined(ATTEMPTS, self._attempts, self._issued if self._record_attempts else 0)
        return {
            "requests": requests,
            "attempts": attempts,
            "effects": self._effects.columns(),
            "gauges": self._gauges.columns(),
            "totals": self._totals.columns(),
        }


def _joined(table: Table, blocks: list[Any], rows: int) -> Columns:
    """The blocks' columns, one after the other; a block's column is given back as soon as it is copied."""
    columns: Columns = {}
    for name, dtype in table.dtypes:
        column = np.empty(rows, dtype)
        if name == table.number:
            column[:] = np.arange(rows)
        else:
            _move(name, blocks, column)
        columns[name] = column
    return columns


def _move(name: str, blocks: list[Any], column: np.ndarray[Any, Any]) -> None:
    start = 0
    for block in blocks:
        piece = np.asarray(getattr(block, name))[: len(column) - start]
        column[start : start + len(piece)] = piece
        setattr(block, name, _NOTHING[piece.dtype.char])
        start += len(piece)


_NOTHING = {code: array(code) for code in "qilbd"}
