"""A message queue: publishers wait for its acknowledgement, competing consumers take messages, at least once.

::

    publish → persist → acknowledge → [line] → consumer loop → worker of its replica → acknowledge → done
                                        ↑______ failed (after a pause), consumer or broker died (at once)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import isnan
from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps, Task, Tasks
from sim.records import FATE_DEAD, FATE_DONE, FATE_IN_FLIGHT, GOOD, OK, REJECTED, UNREACHABLE
from sim.runtime.ledger import Open
from sim.runtime.visit import Endpoint, Target, View, Visit
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.network import Line
    from sim.runtime.replica import Replica
    from sim.runtime.steps import Plan
    from sim.runtime.world import World
    from sim.scenario.services import Queue

_PERSIST, _DELIVER, _ACKNOWLEDGE = (salt("broker", name) for name in ("persist", "deliver", "acknowledge"))
_NAN = float("nan")


class Message(Open):
    """One message: what it asks for and what has become of it."""

    __slots__ = ("acked_s", "arrived_s", "deliveries", "done_s", "entry", "era", "key", "published_s", "request", "started_s")

    def __init__(self, tasks: Tasks, visit: Visit, acked_s: float) -> None:
        super().__init__(tasks)
        self.request = visit.request  # number of the request that asks for it
        self.arrived_s = visit.arrived_s  # when that arrived at its origin
        self.entry = visit.entry  # and what it asked for there
        self.key = visit.call_key  # of the call that a synchronous design would make here: the same work either way
        self.published_s = visit.sent_s
        self.acked_s = acked_s
        self.started_s = _NAN
        self.done_s = _NAN
        self.deliveries = 0
        self.era = 0  # how often it was put back; an acknowledgement from an earlier era says nothing


class Broker(Endpoint):
    """One queue with its waiting messages and its consumers; also the endpoint that publishers call."""

    def __init__(self, world: World, name: str, spec: Queue, code: int, plan: Plan, there: Line, back: Line) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self.code = code
        self.target = Target([self], View([0]))  # of the edges of its publishers
        self._plan = plan
        self._there = there  # to the consumers
        self._back = back
        self._capacity = float("inf") if spec.capacity == "unbounded" else spec.capacity
        self._limit = float("inf") if spec.max_deliveries == "unlimited" else spec.max_deliveries
        self._line: deque[Message] = deque()
        self._idle: deque[tuple[Reply, Replica]] = deque()
        self._open: dict[Message, None] = {}  # every message that has not reached its end
        self._at_consumers: dict[Message, Replica] = {}
        self._loops: dict[Replica, list[Task]] = {}
        self._writing = 0
        self._outages = 0

    @property
    def waiting(self) -> int:
        """Messages in line."""
        return len(self._line)

    @property
    def at_consumers(self) -> int:
        """Messages delivered and not yet acknowledged."""
        return len(self._at_consumers)

    @property
    def alive(self) -> bool:
        """Whether the broker runs."""
        return self._outages == 0

    def check(self, timeout_s: float, bits: int) -> Steps:
        """Whether the broker answers."""
        return UNREACHABLE if not self.alive else OK
        yield  # a generator that waits for nothing

    def receive(self, visit: Visit) -> None:
        """Take a message from a publisher: make it safe, then answer OK."""
        visit.task = self.world.tasks.start(self._take(visit))

    def _take(self, visit: Visit) -> Steps:
        visit.answer((yield from self._make_safe(visit)))

    def _make_safe(self, visit: Visit) -> Steps:
        if not self.alive:
            return UNREACHABLE
        if len(self._line) + self._writing >= self._capacity:
            return REJECTED
        self._writing += 1
        try:
            persist_s = self.spec.persist.draw(child(visit.key, _PERSIST))
            if persist_s > 0:
                yield persist_s
                visit.service_s += persist_s
                visit.own_s += persist_s
        finally:
            self._writing -= 1
        if not self.alive:
            return UNREACHABLE
        # The key is that of the call, not of the publish attempt, so a repeated publish asks for the same work.
        message = Message(self.world.tasks, visit, self.world.now)
        self._open[message] = None
        self.world.ledger.opened(message)
        self._line.append(message)
        self._dispatch()
        return OK

    def attach(self, replica: Replica) -> None:
        """Start a replica's consumer loops."""
        start = self.world.tasks.start
        self._loops[replica] = [start(self._consume(replica)) for _ in range(self.spec.consumers)]

    def detach(self, replica: Replica) -> None:
        """End a replica's consumer loops; what they hold goes back to the head of the line at once."""
        for loop in self._loops.pop(replica, []):
            loop.kill()
        self._put_back([message for message, holder in self._at_consumers.items() if holder is replica])

    def outage(self) -> Callable[[], None]:
        """Go down: connections break, so what consumers hold will be delivered again; what is stored is kept. Return how to
        recover."""
        self._outages += 1
        self._put_back(list(self._at_consumers))
        return self._recover

    def _recover(self) -> None:
        """Come back and deliver what is stored."""
        self._outages -= 1
        self._dispatch()

    def end_run(self) -> None:
        """Stop the consumers where they stand and record what is still open."""
        for loop in (loop for loops in self._loops.values() for loop in loops):
            loop.kill()
        for message in self._open:
            self._record(message, FATE_IN_FLIGHT)
        self._open.clear()

    def _consume(self, replica: Replica) -> Steps:
        """One consumer: take a message, run the operation on this replica, acknowledge; for ever."""
        while True:
            arrival = Reply(self.world.tasks)
            self._idle.append((arrival, replica))
            self._dispatch()
            try:
                message: Message = yield arrival
            finally:
                arrival.settled = True  # a killed consumer is not handed a message
            yield from self._deliver(message, replica)

    def _dispatch(self) -> None:
        """Hand waiting messages to idle consumers, first come first served on both sides."""
        while self.alive and self._line and self._idle:
            arrival, replica = self._idle.popleft()
            if arrival.settled:
                continue
            message = self._line.popleft()
            message.deliveries += 1
            self._at_consumers[message] = replica
            self.world.recorder.count_attempt(message.request, message.entry, message.arrived_s)
            arrival.settle(message)

    def _deliver(self, message: Message, replica: Replica) -> Steps:
        """Carry a message to the consumer, do the work, carry the acknowledgement back."""
        world, era = self.world, message.era
        visit = Visit(world.tasks, message.request, message.arrived_s, message.entry, None)
        visit.key = child(message.key, message.deliveries)
        visit.call_key = message.key
        visit.sent_s = world.now
        outcome = UNREACHABLE
        delay_s = self._there.travel_s(child(visit.key, _DELIVER))
        if delay_s >= 0:
            if delay_s > 0:
                yield delay_s
            outcome = yield from replica.serve(visit, self._plan)
            if outcome in GOOD and isnan(message.done_s):
                message.started_s = visit.started_s
                message.done_s = world.now
            back_s = self._back.travel_s(child(visit.key, _ACKNOWLEDGE))
            if back_s < 0:
                outcome = UNREACHABLE
            elif back_s > 0:
                yield back_s
        if message.era != era:
            return  # put back meanwhile: another delivery decides
        del self._at_consumers[message]
        if outcome in GOOD:
            self._end(message, FATE_DONE)
        elif message.deliveries >= self._limit:
            self._end(message, FATE_DEAD)
        else:
            world.tasks.start(self._deliver_again_later(message))

    def _deliver_again_later(self, message: Message) -> Steps:
        if self.spec.redelivery_delay > 0:
            yield self.spec.redelivery_delay
        self._line.append(message)
        self._dispatch()

    def _put_back(self, messages: list[Message]) -> None:
        """Return messages whose connection broke to the head of the line, in their order."""
        for message in reversed(messages):
            del self._at_consumers[message]
            message.era += 1
            if message.deliveries >= self._limit:
                self._end(message, FATE_DEAD)
            else:
                self._line.appendleft(message)
        # Not at once: whoever else dies at this instant must not be handed what was just put back.
        if messages:
            self.world.tasks.start(self._dispatch_in_a_moment())

    def _dispatch_in_a_moment(self) -> Steps:
        yield 0.0
        self._dispatch()

    def _end(self, message: Message, fate: int) -> None:
        del self._open[message]
        self._record(message, fate)
        self.world.ledger.closed(message)

    def _record(self, message: Message, fate: int) -> None:
        # What happened has happened, whatever the broker believes: a lost acknowledgement does not undo an effect.
        if fate == FATE_DEAD and not isnan(message.done_s):
            fate = FATE_DONE
        self.world.recorder.message(self._plan.code, self.code, message, fate)

    def __repr__(self) -> str:
        return f"<Broker {self.name} {self.waiting} waiting, {self.at_consumers} at consumers>"
