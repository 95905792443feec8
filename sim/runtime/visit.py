"""One attempt on its way: over the network to an endpoint, served there, and back with an answer.

::

    caller --leave--> [line there] --receive--> endpoint --answer--> [line back] --settle--> the call that waits

A visit is an entry of the event loop's heap while it is on the network or worked on, and the reply for which its call waits.
Where it is served, the server says what comes next each time a wait of it is over (`Server.go_on`): so it needs no generator.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sim.kernel.entry import Entry
from sim.kernel.tasks import TIMED_OUT, Limit, Reply, Steps, Tasks
from sim.records import IN_FLIGHT, UNREACHABLE
from sim.runtime.context import ON_THE_WAY, ON_THE_WAY_BACK, OVER, RECEIVED, SILENCE, WORKED_ON, Context
from sim.runtime.network import crossed_s
from sim.streams import child, salt

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Task, Ticket
    from sim.runtime.ledger import Ledger
    from sim.runtime.network import Line
    from sim.runtime.ties import Tie
    from sim.runtime.world import World
    from sim.runtime.zones import ZoneSide
    from sim.scenario.calls import CallPolicy

_INF = math.inf
_NEVER = -1.0
_THERE, _BACK, _CANCEL = (salt("caller", name) for name in ("there", "back", "cancel"))


class Endpoint:
    """Something that can be called: a replica's operation, or a broker's queue."""

    __slots__ = ()

    def receive(self, visit: Visit) -> None:
        """Take a visit that has arrived; call its `answer` in the end."""
        raise NotImplementedError

    def check(self, timeout_s: float, bits: int) -> Steps:
        """Steps of a health check that has arrived; they return its outcome."""
        raise NotImplementedError

    def probed(self) -> Any:
        """Say how busy it is, to a caller that balances by it; None if nobody is there, or nothing is known."""
        return None


class Server:
    """What serves visits stage by stage."""

    __slots__ = ()

    def go_on(self, visit: Visit, value: Any) -> None:
        """The visit's wait is over: do what comes next, up to its next wait or its answer."""
        raise NotImplementedError

    def drop(self, visit: Visit) -> None:
        """The visit ends here and now: take back what it holds."""
        raise NotImplementedError


class View:
    """What a caller process, or all of them, believe of a target: the endpoints that may be chosen, by index, in order.

    A change makes a new list: callers that are choosing right now keep the one they saw. A call at `until_s` or later has the
    view `renew` itself first.
    """

    __slots__ = ("known", "until_s")

    def __init__(self, known: list[int]) -> None:
        self.known = known
        self.until_s = _INF

    def renew(self, now_s: float) -> None:
        """What was believed is over; this view is told what changes, and needs no renewal."""


class Target:
    """What an edge leads to: its endpoints, and the view of callers that have none of their own."""

    __slots__ = ("endpoints", "view")

    def __init__(self, endpoints: list[Endpoint], view: View) -> None:
        self.endpoints = endpoints
        self.view = view


class Edge:
    """What all caller processes of one service share on the way to one target: policy, lines, codes."""

    __slots__ = (
        "back", "caller_code", "cancellation", "connect_s", "fallback", "ledger", "names", "number", "per_try", "per_try_s",
        "policy", "propagate_deadline", "proxied", "reports", "spare", "target", "target_code", "tasks", "there", "timeout_s",
        "whole", "zone",
    )  # fmt: skip

    def __init__(
        self,
        world: World,
        policy: CallPolicy,
        names: tuple[str, str],
        target: Target,
        there: Line,
        back: Line,
        codes: tuple[int, int],
        number: int,
        proxied: bool,
    ) -> None:
        self.tasks: Tasks = world.tasks
        self.ledger: Ledger = world.ledger
        self.policy = policy
        self.timeout_s = _INF if policy.timeout is None else policy.timeout
        self.per_try_s = _INF if policy.per_try_timeout is None else policy.per_try_timeout
        if policy.hedging is not None and policy.hedging.on_per_try_timeout:
            self.per_try_s = _INF  # a further attempt is sent when that time has passed, and the one before it goes on
        # With connections, making one is what has a limit; on one that is there, silence is waited out.
        limit_s = policy.connect_timeout if policy.connections is None else None
        self.connect_s = _INF if limit_s is None else limit_s
        self.fallback: Edge | None = None  # to what is called when this call fails
        self.per_try = Limit(world.tasks, self.per_try_s)
        self.whole = Limit(world.tasks, self.timeout_s)
        self.cancellation = policy.cancellation
        self.propagate_deadline = policy.propagate_deadline
        self.reports = policy.balancing.kind == "utilisation"  # whether answers say how busy their server is
        self.target = target
        self.there = there
        self.back = back
        self.caller_code, self.target_code = codes
        self.number = number  # among the edges of its caller
        self.proxied = proxied  # whether it leads to a proxy
        self.spare: Visit | None = None  # a list, through `next_spare`, of visits that are over
        self.names = names  # of the caller, and of what it wants to call, perhaps through a proxy
        self.zone: ZoneSide | None = None  # where there are zones: what lies between the caller process's and the endpoints'

    def there_s(self, endpoint: cython.long, bits: cython.ulonglong) -> float:
        """Seconds of a message to an endpoint, from its 64 random bits; negative if it never arrives."""
        delay_s = self.there.travel_s(bits)
        return delay_s if self.zone is None else crossed_s(delay_s, self.zone.there[endpoint], bits)

    def back_s(self, endpoint: cython.long, bits: cython.ulonglong) -> float:
        """Seconds of a message from an endpoint; negative if it never arrives."""
        delay_s = self.back.travel_s(bits)
        return delay_s if self.zone is None else crossed_s(delay_s, self.zone.back[endpoint], bits)

    def on_side(self, world: World, side: ZoneSide) -> Edge:
        """The same edge, of the caller processes in one zone."""
        codes = self.caller_code, self.target_code
        other = Edge(world, self.policy, self.names, self.target, self.there, self.back, codes, self.number, self.proxied)
        other.fallback = self.fallback
        other.zone = side
        return other


class Visit(Context):
    """One attempt at an endpoint: from leaving the caller until its answer is back.

    A consumer's visit has no edge: the message came another way, and the acknowledgement goes one. `connection` is that on which
    it comes; only where calls come on connections.
    """

    __slots__ = (
        "_wakes_s", "call", "call_key", "chosen", "connection", "edge", "found", "inside", "lasts_s", "next_spare", "number",
        "outcome", "own_network_s", "permit", "place", "plan", "received_s", "report", "retry_after_s", "sent_s", "server",
        "stage", "started_s", "streamed_s", "task", "ticket", "tie", "unchanged", "working",
    )  # fmt: skip

    def __init__(self, tasks: Tasks, request: cython.long, arrived_s: float, entry: cython.int, edge: Edge | None) -> None:
        self.open(tasks)
        self.connection: Any = None
        self.arise(request, arrived_s, entry, edge)

    def arise(self, request: cython.long, arrived_s: float, entry: cython.int, edge: Edge | None) -> None:
        """Begin; also anew, as another visit, once all of an earlier one is over."""
        self.begin(request, arrived_s, entry)
        self.edge = edge
        self.chosen = -1  # index of the endpoint
        self.call_key = 0  # of the call of which this is one attempt
        self.number = 0  # of the attempt within its call, where a guarded caller made it
        self.permit = 0  # of its endpoint's breaker, likewise
        self.found = 0  # how many it found at its replica when it arrived; where callers want to know
        self.inside = 0  # how many were let in at its replica when it was, itself included; where somebody counts them
        self.retry_after_s = _NEVER  # what a server that refused it said about coming back
        self.report: Any = None  # what its server said of its load, where the edge wants to know
        self.tie: Tie | None = None  # the other attempts that its server tells when it begins this one
        self.unchanged = False  # whether its caller holds an answer that is still good: then it gets no other one
        self.streamed_s = _NEVER  # when its caller has read the last message, where the answer is a stream of them
        self.sent_s = 0.0
        self.received_s = 0.0
        self.started_s = 0.0  # when a worker took it
        self.own_network_s = 0.0
        self.server: Server | None = None  # where it is served now
        self.plan: Any = None  # what is to be done there: the operation
        self.place = 0  # number of the next step
        self.working = False  # whether it has a worker there
        self.ticket: Ticket | None = None  # its place in the line for one
        self.call: Reply | None = None  # the call for which it waits there
        self.task: Task | None = None  # the task for which it waits there
        self.stage = RECEIVED
        self.outcome = IN_FLIGHT  # of the task for which it waits; on the way back, of the visit
        self.lasts_s = 0.0  # of the way, or of the work, that it is at
        self._wakes_s = _NEVER  # when that ends: what the heap says else is out of date
        self.next_spare: Visit | None = None

    def leave(self, left_s: float) -> None:
        """Begin the way there; in at most `left_s` seconds, and the edge's own limit, it is settled with TIMED_OUT."""
        edge = self.edge
        assert edge is not None
        edge.ledger.opened(self)
        self.stage = ON_THE_WAY
        bits = child(self.key, _THERE)
        self._travel(edge.there.travel_s(bits) if edge.zone is None else edge.there_s(self.chosen, bits))
        if self.settled:
            return
        if edge.per_try_s < left_s:
            edge.per_try.watch(self)
        elif left_s == edge.timeout_s < _INF:
            edge.whole.watch(self)
        elif left_s < _INF:
            self.expire_after(left_s)

    def _travel(self, delay_s: float) -> None:
        """Be on a line for some seconds, or for ever."""
        if delay_s < 0:
            if self.stage == ON_THE_WAY:
                self.meets_nobody()
            else:
                self._end()
        elif delay_s > 0:
            self._sleep(delay_s)
        else:
            self.lasts_s = 0.0
            self._arrive()

    def _sleep(self, seconds: float) -> None:
        self.lasts_s = seconds
        self._wakes_s = self._tasks.now_s() + seconds
        self._tasks.schedule(self, self._wakes_s)

    def fire(self) -> None:
        """A way or a piece of work is at its end."""
        if self._wakes_s != self._tasks.now_s():
            return
        self._wakes_s = _NEVER
        if self.stage == WORKED_ON:
            self._tasks.wake(self, None)
        else:
            self._arrive()

    def _arrive(self) -> None:
        if self.stage == ON_THE_WAY:
            edge = self.edge
            assert edge is not None
            self.own_network_s += self.lasts_s
            self.stage = RECEIVED
            endpoint: Endpoint = edge.target.endpoints[self.chosen]
            endpoint.receive(self)
        elif self.stage == ON_THE_WAY_BACK:
            self.own_network_s += self.lasts_s
            self.network_s += self.own_network_s
            self._end()
            self.settle(self.outcome)

    def hold(self, seconds: float) -> None:
        """Be worked on for some seconds; the server is told when they are over."""
        self.stage = WORKED_ON
        self._sleep(seconds)

    def worked(self) -> None:
        """Account for the work that is over."""
        self.service_s += self.lasts_s
        self.own_s += self.lasts_s

    def advance(self, value: Any) -> None:
        """A wait at the server is over."""
        server = self.server
        if server is not None:
            server.go_on(self, value)

    def answer(self, outcome: cython.int) -> None:
        """Send an outcome back to whoever waits; SILENCE, or an answer for nobody, ends the visit here."""
        edge = self.edge
        if self.stage == OVER:
            return
        if edge is None:
            self.stage = OVER
            self.settle_in_place(outcome)
        elif outcome == SILENCE or self.settled:
            self._end()
        else:
            self.outcome = outcome
            self.stage = ON_THE_WAY_BACK
            bits = child(self.key, _BACK)
            self._travel(edge.back.travel_s(bits) if edge.zone is None else edge.back_s(self.chosen, bits))

    def meets_nobody(self) -> None:
        """Nothing at the other end reacts: the visit ends, and its caller learns of it when it stops trying to connect."""
        edge = self.edge
        self.answer(SILENCE)
        if edge is not None and edge.connect_s < _INF:
            # Where the way to a vanished host took longer than that, the caller has no reason to wait for it any more.
            self._tasks.schedule(_NoConnection(self), max(self.sent_s + edge.connect_s, self._tasks.now_s()))

    def kill(self) -> None:
        """End its service where it stands; twice is harmless. What its caller learns is another matter: `answer`."""
        if not self.alive:
            return
        self.alive = False
        self._wakes_s = _NEVER
        server, task = self.server, self.task
        if server is not None:
            server.drop(self)
        elif task is not None:
            task.kill()

    def stop(self) -> None:
        """End the visit wherever it is: nothing of it goes on, nothing comes back."""
        if self.stage != OVER:
            self._end()
            self.kill()

    def _end(self) -> None:
        self.stage = OVER
        edge = self.edge
        if edge is not None:
            edge.ledger.closed(self)

    def abandon(self) -> None:
        """The caller gives up: without cancellation the endpoint never learns, and finishes for nobody."""
        edge = self.edge
        assert edge is not None
        self.settle(TIMED_OUT)
        if edge.cancellation and self.stage != OVER:
            edge.tasks.start(_cancel(self, edge))


class _NoConnection(Entry):
    """A bare heap entry that tells a caller that it cannot connect; nothing happens if it has given up before."""

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        self.callbacks = None
        self._visit = visit

    def fire(self) -> None:
        self._visit.settle(UNREACHABLE)


def new_visit(context: Context, edge: Edge) -> Visit:
    """A visit on behalf of a thread: one that is over, used again, or a new object, made without packing arguments."""
    visit = edge.spare
    if visit is None:
        visit = Visit.__new__(Visit)
        visit.open(edge.tasks)
    else:
        edge.spare = visit.next_spare
        visit.next_spare = None
        visit.ask()
    visit.arise(context.request, context.arrived_s, context.entry, edge)
    visit.stamp = context.stamp
    return visit


def use_again(visit: Visit, edge: Edge) -> None:
    """Keep a visit for another use, if all of it is over: it was answered, and no timer can still mean it."""
    if visit.stage == OVER and visit.alive and visit.expires_s == 0 and visit.value is not TIMED_OUT:
        visit.next_spare = edge.spare
        edge.spare = visit


def _cancel(visit: Visit, edge: Edge) -> Steps:
    delay_s = edge.there_s(visit.chosen, child(visit.key, _CANCEL))
    if delay_s < 0:
        return
    if delay_s > 0:
        yield delay_s
    visit.stop()
