"""One attempt on its way: over the network to an endpoint, served there, and back with an answer.

::

    caller --leave--> [line there] --receive--> endpoint --answer--> [line back] --> reply of the caller

A visit on the network is an entry of the event loop's heap and nothing more; at the endpoint it is a task.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Limit, Reply, Steps, Tasks
from sim.runtime.context import SILENCE, Context
from sim.streams import child, salt

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Task
    from sim.runtime.context import Request
    from sim.runtime.ledger import Ledger
    from sim.runtime.network import Line
    from sim.runtime.world import World
    from sim.scenario.calls import CallPolicy

_INF = math.inf
_THERE, _BACK, _CANCEL = (salt("caller", name) for name in ("there", "back", "cancel"))

# Where a visit is.
_ON_THE_WAY, _SERVED, _ON_THE_WAY_BACK, _OVER = range(4)


class Endpoint:
    """Something that can be called: a replica's operation, or a broker's queue."""

    __slots__ = ()

    def receive(self, visit: Visit) -> None:
        """Take a visit that has arrived; call its `answer` in the end."""
        raise NotImplementedError


class Target:
    """What an edge leads to: its endpoints, and the indices of those that callers believe to be alive."""

    __slots__ = ("believed_alive", "endpoints")

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self.endpoints = endpoints
        self.believed_alive = list(range(len(endpoints)))


class Edge:
    """What all caller processes of one service share on the way to one target: policy, lines, codes."""

    __slots__ = (
        "back", "caller_code", "cancellation", "ledger", "names", "per_try", "per_try_s", "policy", "target", "target_code",
        "tasks", "there", "timeout_s",
    )  # fmt: skip

    def __init__(
        self, world: World, policy: CallPolicy, target: Target, there: Line, back: Line, caller_code: int, target_code: int
    ) -> None:
        self.tasks: Tasks = world.tasks
        self.ledger: Ledger = world.ledger
        self.policy = policy
        self.timeout_s = _INF if policy.timeout is None else policy.timeout
        self.per_try_s = _INF if policy.per_try_timeout is None else policy.per_try_timeout
        self.per_try = Limit(world.tasks, self.per_try_s)
        self.cancellation = policy.cancellation
        self.target = target
        self.there = there
        self.back = back
        self.caller_code = caller_code
        self.target_code = target_code
        self.names = (world.names[caller_code], world.names[target_code])


class Visit(Context):
    """One attempt at an endpoint: from leaving the caller until its answer is back.

    A consumer's visit has no edge and no reply: the message came another way, and the acknowledgement goes one.
    """

    __slots__ = (
        "_delay_s", "_edge", "_outcome", "_stage", "call_key", "chosen", "own_network_s", "reply", "sent_s", "server",
        "started_s", "task", "working",
    )  # fmt: skip

    def __init__(self, request: Request, edge: Edge | None) -> None:
        self.arise(request, edge)

    def arise(self, request: Request, edge: Edge | None) -> None:
        """What `__init__` does, as a C call."""
        self.begin(request)
        self._edge = edge
        self.reply: Reply | None = None  # who waits for the answer
        if edge is not None:
            self.reply = Reply.__new__(Reply)
            self.reply.begin(edge.tasks)
        self.chosen = -1  # index of the endpoint
        self.call_key = 0  # of the call of which this is one attempt
        self.sent_s = 0.0
        self.started_s = 0.0  # when a worker took it
        self.own_network_s = 0.0
        self.task: Task | None = None  # the task that serves it
        self.server: object = None  # the replica at which it is now
        self.working = False  # whether it has a worker there
        self._stage = _SERVED
        self._outcome = 0
        self._delay_s = 0.0

    def leave(self, left_s: float) -> None:
        """Begin the way there; in at most `left_s` seconds, and the edge's own limit, the reply is TIMED_OUT."""
        edge = self._edge
        assert edge is not None
        reply = self.reply
        assert reply is not None
        edge.ledger.opened(self)
        self._stage = _ON_THE_WAY
        self._travel(edge.there.travel_s(child(self.key, _THERE)))
        if reply.settled:
            return
        if edge.per_try_s < left_s:
            edge.per_try.watch(reply)
        elif left_s < _INF:
            reply.expire_after(left_s)

    def _travel(self, delay_s: float) -> None:
        """Be on a line for some seconds, or for ever."""
        if delay_s < 0:
            self._end()
        elif delay_s > 0:
            self._delay_s = delay_s
            self._schedule(delay_s)
        else:
            self._delay_s = 0.0
            self.fire()

    def _schedule(self, delay_s: float) -> None:
        edge = self._edge
        assert edge is not None
        edge.tasks.schedule(self, edge.tasks.now_s() + delay_s)

    def fire(self) -> None:
        """A way is at its end."""
        edge = self._edge
        assert edge is not None
        if self._stage == _ON_THE_WAY:
            self.own_network_s += self._delay_s
            self._stage = _SERVED
            endpoint: Endpoint = edge.target.endpoints[self.chosen]
            endpoint.receive(self)
        elif self._stage == _ON_THE_WAY_BACK:
            self.own_network_s += self._delay_s
            self.network_s += self.own_network_s
            reply = self.reply
            assert reply is not None
            self._end()
            reply.settle(self._outcome)

    def answer(self, outcome: cython.int) -> None:
        """Send an outcome back to whoever waits; SILENCE, or an answer for nobody, ends the visit here."""
        if self.reply is None or self._stage == _OVER:
            return
        if outcome == SILENCE or self.reply.settled:
            self._end()
            return
        edge = self._edge
        assert edge is not None
        self._outcome = outcome
        self._stage = _ON_THE_WAY_BACK
        self._travel(edge.back.travel_s(child(self.key, _BACK)))

    def stop(self) -> None:
        """End the visit wherever it is: nothing of it goes on, nothing comes back."""
        if self._stage == _OVER:
            return
        self._end()
        if self.task is not None:
            self.task.kill()

    def _end(self) -> None:
        self._stage = _OVER
        edge = self._edge
        if edge is not None:
            edge.ledger.closed(self)

    def abandon(self) -> None:
        """The caller gives up: without cancellation the endpoint never learns, and finishes for nobody."""
        reply, edge = self.reply, self._edge
        assert reply is not None
        assert edge is not None
        reply.settle(TIMED_OUT)
        if edge.cancellation and self._stage != _OVER:
            edge.tasks.start(_cancel(self, edge))


def new_visit(request: Request, edge: Edge | None) -> Visit:
    """A visit; where the package was compiled, made without packing arguments."""
    visit = Visit.__new__(Visit)
    visit.arise(request, edge)
    return visit


def _cancel(visit: Visit, edge: Edge) -> Steps:
    delay_s = edge.there.travel_s(child(visit.key, _CANCEL))
    if delay_s < 0:
        return
    if delay_s > 0:
        yield delay_s
    visit.stop()
