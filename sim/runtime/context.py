"""What travels with a request: its identity, its random key, its deadline, and where its time went so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.records import DEGRADED, OK
from sim.runtime.ledger import Open

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Tasks
    from sim.runtime.batches import CarriedBatch

#: The outcome of a visit whose endpoint vanished without a word: nothing goes back.
SILENCE = -1

#: Where a visit is: on a line, at its endpoint (there in line for a worker, worked on, waiting for a call or a task), or over.
ON_THE_WAY, RECEIVED, IN_LINE, WORKED_ON, CALLING, IN_TASK, ON_THE_WAY_BACK, OVER = range(8)

_INF = math.inf


class Context(Open):
    """One thread of a request's execution: the request at its origin, a visit at a server, or a parallel branch of one.

    The `*_s` parts add up to the time that has passed in this thread since it began.
    """

    __slots__ = (
        "arrived_s",
        "attempt",
        "backoff_s",
        "batch",
        "degraded",
        "due_s",
        "entry",
        "key",
        "lost_s",
        "network_s",
        "own_queue_s",
        "own_s",
        "queue_s",
        "request",
        "service_s",
        "stamp",
    )

    def __init__(self, tasks: Tasks, request: cython.long, arrived_s: float, entry: cython.int) -> None:
        super().__init__(tasks)
        self.begin(request, arrived_s, entry)

    def begin(self, request: cython.long, arrived_s: float, entry: cython.int) -> None:
        """Start with no time spent; `attempt` and `key` are set by whoever knows them."""
        self.request = request  # number of the logical request, in order of arrival
        self.arrived_s = arrived_s  # when that arrived at its origin
        self.entry = entry  # code of the operation that it asked for there
        self.attempt = -1  # the attempt inside which this happens, -1 at the origin
        self.key = 0  # random draws of this thread derive from it
        self.stamp: object = None  # of the message that this thread publishes, or that this visit brings
        self.batch: CarriedBatch | None = None  # the calls that this thread works for together, where they go together
        self.due_s = _INF  # clock time after which nobody waits for the result, as far as this thread was told
        self.degraded = False  # whether something answered with less than was asked for
        self.queue_s = 0.0
        self.service_s = 0.0
        self.network_s = 0.0
        self.backoff_s = 0.0
        self.lost_s = 0.0
        self.own_s = 0.0  # the share of service_s that this server worked itself
        self.own_queue_s = 0.0  # the share of queue_s that it waited at this server

    def branch(self) -> Context:
        """A thread beside this one, with the same random key and deadline."""
        other = Context(self._tasks, self.request, self.arrived_s, self.entry)
        other.attempt = self.attempt
        other.key = self.key
        other.due_s = self.due_s
        other.stamp = self.stamp
        other.batch = self.batch
        return other

    def add(self, other: Context) -> None:
        """Take over where another thread's time went: that of an answered call, or of the branch that ended last."""
        self.queue_s += other.queue_s
        self.service_s += other.service_s
        self.network_s += other.network_s
        self.backoff_s += other.backoff_s
        self.lost_s += other.lost_s

    def goes_on(self, outcome: cython.int) -> cython.bint:
        """Whether this thread goes on after a step with this outcome; a degraded answer lets it, and is remembered."""
        if outcome == DEGRADED:
            self.degraded = True
            return True
        return outcome == OK
