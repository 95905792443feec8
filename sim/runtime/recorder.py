# cython: wraparound=False, nonecheck=False
# Columns and what is written into them are never None; asked for each, that would be a seventh of what a row costs.
"""Writing rows: the only place that knows how measurements are laid out in memory.

Requests and attempts are numbered when they begin and written when they end, each into its own place in a column: no row
object, no sorting. Columns grow in place and are handed over as they are: a run needs the memory of its rows once, not twice,
and none for what was never written (`sim.runtime.stretch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.records import ATTEMPTS, CHANGES, EFFECTS, FATE_DONE, GAUGES, IN_FLIGHT, REQUESTS, TOTALS, ZONE_CALLS, Table
from sim.runtime.sketched import Columns, SketchedRequests
from sim.runtime.stretch import Stretch

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Tasks
    from sim.runtime.context import Context
    from sim.runtime.messages import Message
    from sim.runtime.visit import Visit
    from sim.scenario.model import Run

_NAN = float("nan")
_FIRST_ROWS = 4096
_GROWTH = 2  # a column grows by one part in 2; what is allocated ahead needs no memory until it is written to


def _view(column: np.ndarray[Any, Any]) -> Any:
    """Python writes single numbers into a memoryview faster than into an array."""
    return memoryview(column.data)


class _Grown:
    """Columns of one table that grow together: `rows` of them are used, `room` exist."""

    __slots__ = ("room", "rows", "stretches")

    def __init__(self, table: Table) -> None:
        self.rows = 0
        self.room = _FIRST_ROWS
        self.stretches = {name: Stretch(dtype, self.room) for name, dtype in table.dtypes if name != table.number}
        self._look_again()

    def look(self, at: Any) -> None:
        """Hold views of columns, by name: an attribute for each, so that writing is one C store."""
        raise NotImplementedError

    def _look_again(self) -> None:
        self.look({name: _view(stretch.array(self.room)) for name, stretch in self.stretches.items()})

    def more(self) -> None:
        """Make room for more rows."""
        self.look(_NO_COLUMNS)  # what is looked at cannot grow
        self.room += self.room // _GROWTH
        for stretch in self.stretches.values():
            stretch.grow(self.room)
        self._look_again()

    def taken(self) -> Columns:
        """The finished columns, as far as they are used; what numbers the rows is left to who reads them.

        Their memory is that of the arrays alone from now on: a world is a net of cycles, which the garbage collector finds late,
        and the rows of run after run would wait for it.
        """
        self.look(_NO_COLUMNS)
        finished = {name: stretch.array(self.rows) for name, stretch in self.stretches.items()}
        self.stretches = {}
        return finished


class RequestColumns(_Grown):
    """One place per request; what has not ended is in flight."""

    __slots__ = (
        "arrived_s", "attempts", "backoff_s", "ended_s", "entry", "lost_s", "network_s", "outcome", "queue_s", "service_s",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(REQUESTS)

    def look(self, at: Any) -> None:
        """Hold views of columns."""
        self.entry = at["entry"]
        self.arrived_s = at["arrived_s"]
        self.ended_s = at["ended_s"]
        self.outcome = at["outcome"]
        self.attempts = at["attempts"]
        self.queue_s = at["queue_s"]
        self.service_s = at["service_s"]
        self.network_s = at["network_s"]
        self.backoff_s = at["backoff_s"]
        self.lost_s = at["lost_s"]


class AttemptColumns(_Grown):
    """One place per attempt."""

    __slots__ = (
        "caller", "ended_s", "network_s", "number", "outcome", "parent", "queue_s", "replica", "request", "service_s",
        "started_s", "target",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(ATTEMPTS)

    def look(self, at: Any) -> None:
        """Hold views of columns."""
        self.parent = at["parent"]
        self.request = at["request"]
        self.caller = at["caller"]
        self.target = at["target"]
        self.replica = at["replica"]
        self.number = at["number"]
        self.started_s = at["started_s"]
        self.ended_s = at["ended_s"]
        self.outcome = at["outcome"]
        self.queue_s = at["queue_s"]
        self.service_s = at["service_s"]
        self.network_s = at["network_s"]


#: Views of nothing.
_NO_COLUMNS = {name: _view(np.zeros(0, dtype)) for table in (REQUESTS, ATTEMPTS) for name, dtype in table.dtypes}


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

    def __init__(self, tasks: Tasks, run: Run, names: int) -> None:
        self._tasks = tasks
        self._requests = RequestColumns()
        self._attempts = AttemptColumns()
        self._effects = _Rows(EFFECTS)
        self._gauges = _Rows(GAUGES)
        self._totals = _Rows(TOTALS)
        self._changes = _Rows(CHANGES)
        self._zone_calls = _Rows(ZONE_CALLS)
        self._handed_over = False
        self._record_attempts = run.record_attempts
        self._record_requests = run.record_requests
        self._sketched = SketchedRequests(run.warmup, run.end, names)  # instead of rows of requests

    def next_request(self) -> cython.long:
        """Number of a new logical request."""
        if self._handed_over:  # nothing may be written into columns that are not ours any more
            raise IndexError("the run is over and its rows have been handed over: no request can follow")
        requests = self._requests
        number = requests.rows
        if number == requests.room and self._record_requests:
            requests.more()
        requests.rows += 1
        return number

    def next_attempt(self, request: cython.long, entry: cython.int, arrived_s: float) -> cython.long:
        """Number of a new attempt on behalf of a request."""
        self.count_attempt(request, entry, arrived_s)
        attempts = self._attempts
        number = attempts.rows
        if number == attempts.room and self._record_attempts:
            attempts.more()
        attempts.rows += 1
        return number

    def count_attempt(self, request: cython.long, entry: cython.int, arrived_s: float) -> None:
        """Count a delivery on behalf of a request; it has no row among the attempts."""
        if self._record_requests:
            self._requests.attempts[request] += 1
        else:
            self._sketched.attempt(entry, arrived_s)

    def request(self, context: Context, outcome: cython.int) -> None:
        """End a logical request: its one row."""
        if not self._record_requests:
            self._sketched.request(context, outcome, self._tasks.now_s())
            return
        to, place = self._requests, context.request
        to.entry[place] = context.entry
        to.arrived_s[place] = context.arrived_s
        to.ended_s[place] = _NAN if outcome == IN_FLIGHT else self._tasks.now_s()
        to.outcome[place] = outcome
        to.queue_s[place] = context.queue_s
        to.service_s[place] = context.service_s
        to.network_s[place] = context.network_s
        if context.backoff_s > 0:  # most are zero, which a column is to begin with
            to.backoff_s[place] = context.backoff_s
        if context.lost_s > 0:
            to.lost_s[place] = context.lost_s

    def attempt(
        self, visit: Visit, parent: cython.long, caller: cython.int, target: cython.int, number: cython.int, outcome: cython.int
    ) -> None:
        """End an attempt as its caller saw it."""
        if not self._record_attempts:
            return
        to, place = self._attempts, visit.attempt
        to.parent[place] = parent
        to.request[place] = visit.request
        to.caller[place] = caller
        to.target[place] = target
        to.replica[place] = visit.chosen
        to.number[place] = number
        to.started_s[place] = visit.sent_s
        to.ended_s[place] = _NAN if outcome == IN_FLIGHT else self._tasks.now_s()
        to.outcome[place] = outcome
        to.queue_s[place] = visit.own_queue_s
        to.service_s[place] = visit.own_s
        to.network_s[place] = visit.own_network_s

    def synchronous_effect(self, effect: int, visit: Visit) -> None:
        """An operation marked as effect was completed by a call, just now."""
        done_s = self._tasks.now_s()
        self._effects.append(
            effect, visit.request, -1, visit.arrived_s, visit.received_s, _NAN, visit.started_s, done_s, 1, FATE_DONE,
            1, -1, -1, -1, -1, 0,
        )  # fmt: skip

    def message(self, effect: int, queue: int, message: Message, fate: int) -> None:
        """A message came to its end, or to the end of the run."""
        self._effects.append(
            effect, message.request, queue, message.arrived_s, message.published_s, message.acked_s,
            message.started_s, message.done_s, message.deliveries, fate,
            message.times_done, message.group, message.number, message.dead_letter_of, message.partition,
            int(message.bytes),
        )  # fmt: skip

    def gauge(self, name: int, busy: int, queued: int, alive: int) -> None:
        """A sample of a service's or queue's state."""
        self._gauges.append(self._tasks.now_s(), name, busy, queued, alive)

    def total(self, name: int, busy_worker_s: float, served: int) -> None:
        """A service's work over the measured window."""
        self._totals.append(name, busy_worker_s, served)

    def change(self, time_s: float, caller: int, process: int, target: int, endpoint: int, state: int) -> None:
        """A breaker, or what a caller process knows of an endpoint, took another state."""
        self._changes.append(time_s, caller, process, target, endpoint, state)

    def zone_calls(self, edge: tuple[int, int], zones: tuple[int, int], troubled: int, attempts: int, good: int) -> None:
        """How many attempts went from one zone to another (or none: -1) on an edge, and how many of them were answered well."""
        self._zone_calls.append(*edge, *zones, troubled, attempts, good)

    def tables(self) -> dict[str, Columns]:
        """All tables, once: requests in order of arrival, attempts in order of issue; what was recorded is handed over."""
        self._handed_over = True
        if not self._record_attempts:
            self._attempts.rows = 0
        if not self._record_requests:
            self._requests.rows = 0
        return {
            "requests": self._requests.taken(),
            "attempts": self._attempts.taken(),
            "effects": self._effects.columns(),
            "gauges": self._gauges.columns(),
            "totals": self._totals.columns(),
            "changes": self._changes.columns(),
            "zone_calls": self._zone_calls.columns(),
            **({} if self._record_requests else self._sketched.tables()),
        }
