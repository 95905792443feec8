"""What travels with a request: its identity, its random key, and where its time went so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.runtime.ledger import Open

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Task

#: The outcome of a visit whose endpoint vanished without a word: nothing goes back.
SILENCE = -1


class Context(Open):
    """One thread of a request's execution: the origin, a visit at a server, or a parallel branch of one.

    The `*_s` parts add up to the time that has passed in this thread since it began.
    """

    __slots__ = (
        "attempt",
        "backoff_s",
        "key",
        "lost_s",
        "network_s",
        "own_queue_s",
        "own_s",
        "queue_s",
        "request",
        "service_s",
    )

    def __init__(self, request: Request) -> None:
        self.begin(request)

    def begin(self, request: Request) -> None:
        """Start with no time spent; `attempt` and `key` are set by whoever knows them."""
        self.callbacks = None
        self._earlier = self._later = None
        self.request = request
        self.attempt = -1  # the attempt inside which this happens, -1 at the origin
        self.key = 0  # random draws of this thread derive from it
        self.queue_s = 0.0
        self.service_s = 0.0
        self.network_s = 0.0
        self.backoff_s = 0.0
        self.lost_s = 0.0
        self.own_s = 0.0  # the share of service_s that this server worked itself
        self.own_queue_s = 0.0  # the share of queue_s that it waited at this server

    def branch(self) -> Context:
        """A thread beside this one, with the same random key."""
        other = Context(self.request)
        other.attempt = self.attempt
        other.key = self.key
        return other

    def add(self, other: Context) -> None:
        """Take over where another thread's time went: that of an answered call, or of the branch that ended last."""
        self.queue_s += other.queue_s
        self.service_s += other.service_s
        self.network_s += other.network_s
        self.backoff_s += other.backoff_s
        self.lost_s += other.lost_s


class Request(Open):
    """A logical request: its number in order of arrival and when it arrived at its origin."""

    __slots__ = ("arrived_s", "number", "task")

    def __init__(self, number: cython.long, arrived_s: float, task: Task | None) -> None:
        self.callbacks = None
        self._earlier = self._later = None
        self.number = number
        self.arrived_s = arrived_s
        self.task = task  # the task in which it began
