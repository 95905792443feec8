"""Requests that are answered by messages: who waits for a reply, the queue through which it comes, the consumer that sends it.

::

    caller -- request, with itself as correlation --> queue -> consumer: work, reply --> replies -> the process that waits

A reply for which somebody waits is `done`, a second one is a `duplicate`, and one for which nobody waits any more is `late`. It
may also say that the work has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps, Tasks
from sim.laws import sampler
from sim.records import (
    ERROR,
    FATE_DONE,
    FATE_DROPPED,
    FATE_DUPLICATE,
    FATE_IN_FLIGHT,
    FATE_LATE,
    GOOD,
    OK,
    UNREACHABLE,
)
from sim.runtime.context import Context
from sim.runtime.messages import Mailbox, Message, Stamp, account, mailbox_of, message_of
from sim.runtime.network import crossed_s
from sim.scenario.services import Publish
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.broker import Broker
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.world import World
    from sim.scenario.messaging.queues import Queue

_PERSIST, _DELIVER, _REPLY = (salt("replies", name) for name in ("persist", "deliver", "reply"))


class Terms:
    """How the requests of one step are answered: on which edge by each service, as what, and whether failures are told."""

    __slots__ = ("edges", "publish", "tells_failures")

    def __init__(self, edges: dict[str, Edge], replies: str, tells_failures: bool) -> None:
        self.edges = edges
        self.publish = Publish(publish=replies)
        self.tells_failures = tells_failures


class Pending(Reply):
    """A request at the process that sent it, which waits for the reply; settled with that."""

    __slots__ = ("answer", "given_up", "replica", "terms")

    def __init__(self, tasks: Tasks, replica: Replica, terms: Terms) -> None:
        Reply.__init__(self, tasks)
        self.replica = replica
        self.terms = terms
        self.answer: Answer | None = None
        self.given_up = False

    def take(self, answer: Answer) -> int:
        """A reply has arrived at the process: what becomes of it."""
        if self.answer is not None:
            return FATE_DUPLICATE
        if self.given_up or self.settled:
            return FATE_LATE
        self.answer = answer
        self.settle(answer)
        return FATE_DONE


class Answer:
    """What a reply tells those who wait for it: whether the work failed, and where the time went."""

    __slots__ = ("failed", "pending", "way_s", "worked_s")

    def __init__(self, pending: Pending, failed: bool, worked_s: float, way_s: float) -> None:
        self.pending = pending
        self.failed = failed
        self.worked_s = worked_s
        self.way_s = way_s  # of the request to its consumer, and of the reply so far

    def account(self, context: Context, waited_s: float) -> None:
        """Where the time of the wait went, in seconds: what was neither worked nor travelled was waited in lines."""
        worked_s = min(self.worked_s, waited_s)
        network_s = min(self.way_s, waited_s - worked_s)
        context.service_s += worked_s
        context.network_s += network_s
        context.queue_s += waited_s - worked_s - network_s


def reply_to(replica: Replica, message: Message, visit: Visit, outcome: int) -> Steps:
    """Steps by which a consumer replies to a request on which it has worked with this outcome; they return that of the message:
    a failure that nobody is told of stays one, and else the request is done with when its reply is safe."""
    pending: Pending = message.correlation
    terms, failed = pending.terms, outcome not in GOOD
    if failed and (outcome != ERROR or not terms.tells_failures):
        return outcome
    edge = terms.edges[replica.service.name]
    # Of a call for several messages each has a reply of its own.
    own = Context(replica.tasks, message.request, message.arrived_s, message.entry)
    stamp = Stamp(terms.publish, replica.index if mailbox_of(edge).by_process else -1)
    own.stamp = stamp.correlated(Answer(pending, failed, visit.service_s, message.way_s))
    sent: int = yield from replica.caller(edge).call(own, child(child(message.bits, message.deliveries), _REPLY))
    if sent in GOOD:
        message.failed = failed
    return sent


def carry(world: World, place: str, zone: int, message: Message, bits: int) -> Steps:
    """Steps of a reply from where it is kept to the process that waits; they return what becomes of it there, FATE_DROPPED if it
    gets lost."""
    answer: Answer = message.correlation
    replica = answer.pending.replica
    delay_s = world.network.line(place, replica.service.name).travel_s(bits)
    if world.zoning is not None:
        crossing = world.zoning.crossing(zone, replica.service.zones[replica.index])
        delay_s = crossed_s(delay_s, crossing, bits)
    if delay_s > 0:
        yield delay_s
    if delay_s < 0:
        return FATE_DROPPED
    message.deliveries += 1
    world.recorder.count_attempt(message.request, message.entry, message.arrived_s)
    answer.way_s += message.way_s + delay_s
    fate = answer.pending.take(answer)
    if fate == FATE_DONE:
        message.started_s = message.done_s = world.now
        message.times_done = 1
    return fate


class ReplyQueue(Mailbox):
    """A queue of replies: what it has written it sends to the process that waits, at once.

    Of each process that waits there is one in truth (RabbitMQ: exclusive, its replies acknowledged when they are sent), and it is
    gone with its process; here they are one, with one name and one place. A node that goes down takes along what it had in hand.
    """

    def __init__(self, world: World, name: str, spec: Queue, code: int, broker: Broker | None) -> None:
        Mailbox.__init__(self, world)
        self.name = name
        self.spec = spec
        self.code = code
        self._broker = broker
        self._seat = None if broker is None else broker.seat(self)
        self._persist = sampler(spec.persist)
        self._place = world.place_of(spec.zone)
        self._outages = 0
        self._number = 0
        self._open: dict[Message, None] = {}  # that have not reached anybody
        self._presence = world.presence()

    @property
    def up(self) -> bool:
        """Whether it takes and delivers replies."""
        return self._outages == 0 and (self._seat is None or self._seat.available)

    @property
    def zone(self) -> int:
        """In which zone it is, where there are zones."""
        return self._place if self._broker is None or self._seat is None else self._broker.zone_of(self._seat)

    @property
    def waiting(self) -> int:
        """Replies that are not on their way to anybody."""
        return 0

    @property
    def stored(self) -> int:
        """None that stay."""
        return 0

    @property
    def at_consumers(self) -> int:
        """Replies on their way to those who wait."""
        return len(self._open)

    def _take(self, visit: Visit) -> Steps:
        message = message_of(visit)
        outcome = yield from self._write(message)
        account(visit, message)
        message.way_s = visit.own_network_s
        if outcome == OK:
            message.acked_s = self.world.now
            message.number = self._number
            self._number += 1
            self._open[message] = None
            self._presence.more()
            self.world.tasks.start(self._deliver(message))
        visit.answer(outcome)

    def _write(self, message: Message) -> Steps:
        if not self.up:
            return UNREACHABLE
        if self._broker is not None:
            assert self._seat is not None
            if self._broker.blocks():
                began_s = self.world.now
                outcome: int = yield from self._broker.open_again()
                message.waited_s = self.world.now - began_s
                if outcome != OK:
                    return outcome
                if not self.up:
                    return UNREACHABLE
            blocked_s = message.waited_s
            outcome = yield from self._broker.write(self._seat, message)
            message.waited_s += blocked_s
            return outcome
        persist_s = self._persist.draw(child(message.write_bits, _PERSIST))
        if persist_s > 0:
            yield persist_s
            message.wrote_s = persist_s
        return OK if self.up else UNREACHABLE

    def _deliver(self, message: Message) -> Steps:
        """Send a reply to the process that waits, which has it when it arrives (automatic acknowledgement)."""
        if self._broker is not None and self._seat is not None:
            era = self._seat.era
            yield from self._broker.hand_out(self._seat, message.bits, message.bytes)
            if self._seat.era != era:
                self._end(message, FATE_DROPPED)
                return
        fate = yield from carry(
            self.world, self.world.scenario.place(self.name), self.zone, message, child(message.bits, _DELIVER)
        )
        self._end(message, fate)

    def _end(self, message: Message, fate: int) -> None:
        message.fate = fate
        del self._open[message]
        self.world.recorder.message(-1, self.code, message, fate)
        self._presence.less()

    def never_came(self, visit: Visit) -> None:
        """Nothing: replies are published with a confirm."""

    def outage(self) -> Callable[[], None]:
        """Go down; nothing is written, what is on its way arrives. Return how to recover."""
        self._outages += 1

        def recover() -> None:
            self._outages -= 1

        return recover

    def cut(self) -> None:
        """Nobody leads it: nothing is written."""

    def resume(self) -> None:
        """It is led again: nothing has waited for that."""

    def lose_uncopied(self, crashed_s: float) -> None:
        """A node was lost that alone had some of the replies: nothing stays long enough."""

    def end_run(self) -> None:
        """Record what has reached nobody."""
        for message in self._open:
            self.world.recorder.message(-1, self.code, message, FATE_IN_FLIGHT)
        self._open.clear()

    def __repr__(self) -> str:
        return f"<ReplyQueue {self.name} {self.at_consumers} on their way>"
