"""What travels with a request: its identity, its random key, and where its time went so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.runtime.ledger import Open

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Reply, Task
    from sim.runtime.network import Line

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

    def __init__(self, request: Request, attempt: cython.long, key: cython.ulonglong) -> None:
        self._earlier = self._later = None
        self.request = request
        self.attempt = attempt  # the attempt inside which this happens, -1 at the origin
        self.key = key  # random draws of this thread derive from it
        self.queue_s = 0.0
        self.service_s = 0.0
        self.network_s = 0.0
        self.backoff_s = 0.0
        self.lost_s = 0.0
        self.own_s = 0.0  # the share of service_s that this server worked itself
        self.own_queue_s = 0.0  # the share of queue_s that it waited at this server

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
        self._earlier = self._later = None
        self.number = number
        self.arrived_s = arrived_s
        self.task = task  # the task in which it began


class Visit(Context):
    """One attempt at a server: from leaving the caller until its answer is back."""

    __slots__ = ("back", "call_key", "own_network_s", "reply", "sent_s", "server", "started_s", "task", "working")

    def __init__(
        self, request: Request, attempt: cython.long, key: cython.ulonglong, call_key: cython.ulonglong, sent_s: float
    ) -> None:
        Context.__init__(self, request, attempt, key)
        self.call_key = call_key  # of the call of which this is one attempt
        self.sent_s = sent_s
        self.started_s = 0.0  # when a worker took it
        self.own_network_s = 0.0
        self.reply: Reply | None = None  # who waits for the answer; None for a message's consumer
        self.back: Line | None = None  # the way of the answer
        self.task: Task | None = None  # the task that carries the visit
        self.server: object = None  # the replica at which it is now
        self.working = False  # whether it has a worker there
