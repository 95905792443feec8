"""A message queue in motion: publishers wait until a message is safe, competing consumers get messages, or ask for them.

::

    publish → write → acknowledge → [ready] → consumer → worker of its replica → acknowledge → done
                                       ↑________ failed (after a pause), timed out, consumer or broker died

What is handed out, comes back and is given up is decided by `sim.policies.backlog`, who gets it by `sim.policies.competing`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import Reply, Steps
from sim.laws import sampler
from sim.policies.backlog import DEAD, DROPPED, EXPIRED, IN_PROCESS, NEW, BacklogGate, Ended
from sim.policies.competing import Turns
from sim.policies.zones import OUTSIDE
from sim.records import (
    DEGRADED,
    ERROR,
    FATE_DEAD,
    FATE_DONE,
    FATE_DROPPED,
    FATE_EXPIRED,
    FATE_IN_FLIGHT,
    FATE_KEPT,
    OK,
    REJECTED,
    UNREACHABLE,
)  # fmt: skip
from sim.runtime.alarm import Alarm
from sim.runtime.deliveries import Consumer, Delivery, Inbox, perform
from sim.runtime.ledger import Open
from sim.runtime.messages import Mailbox, Message, account, dead_letter, message_of, wants_no_confirm
from sim.runtime.room import Room
from sim.runtime.together import Gathering, Together
from sim.runtime.visit import Visit
from sim.runtime.ways import Ways
from sim.streams import child, key, salt

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Tasks
    from sim.runtime.broker import Broker
    from sim.runtime.recorder import Recorder
    from sim.runtime.replica import Replica
    from sim.runtime.steps import Plan
    from sim.runtime.world import World
    from sim.scenario.messaging.queues import Queue

_PERSIST, _DELIVER, _ACKNOWLEDGE = (salt("broker", name) for name in ("persist", "deliver", "acknowledge"))
#: Messages of one connection arrive so far apart at least.
_APART_S: Final = 1e-9
_FATES: Final = {DEAD: FATE_DEAD, EXPIRED: FATE_EXPIRED, DROPPED: FATE_DROPPED}


class MessageQueue(Mailbox):
    """One queue with its messages and its consumers; also the endpoint that publishers call."""

    def __init__(
        self,
        world: World,
        name: str,
        spec: Queue,
        code: int,
        plan: Plan | None,
        ways: Ways | None,
        broker: Broker | None,
        inbox: Inbox | None,
    ) -> None:
        Mailbox.__init__(self, world)
        self._tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self.name = name
        self.spec = spec
        self.code = code
        self.gate = BacklogGate(spec, spec.acknowledge == "before")
        self.dead_letters: MessageQueue | None = None
        self._plan = plan
        self._ways = ways  # to the consumers and back
        self._persist = sampler(spec.persist)
        self._broker = broker
        self._seat = None if broker is None else broker.seat(self)
        self._inbox = inbox
        self._turns = Turns(spec.prefetch, spec.single_active_consumer)
        self._consumers: dict[Replica, list[Consumer]] = {}
        self._open: dict[Message, None] = {}  # every message that has not reached its end
        self._presence = Open(world.tasks)  # in the ledger while there are any that somebody will consume
        self._writing = 0
        self._outages = 0
        self._rings_s = inf  # when the next alarm is set for
        self._dispatching = False
        self._before = spec.acknowledge == "before"
        self._timed = spec.visibility_timeout is not None
        self._place = world.place_of(spec.zone)  # its zone, without a broker
        self._zoned = world.zoning is not None
        self._together = None if spec.batch is None or plan is None else Together(world.tasks, spec.batch, plan, inbox)
        self._room = Room(world.tasks, self.gate, spec.max_block) if spec.overflow == "block" else None
        self._alarmed = broker is not None and broker.spec.high_watermark != "unlimited"
        self._most_bytes = inf if spec.max_size is None else spec.max_size
        self._overtakes = spec.prefetch == 1  # what one connection carries keeps its order; of one message there is none

    @property
    def ready(self) -> int:
        """Messages that the next consumer could have."""
        return self.gate.ready

    @property
    def stored(self) -> int:
        """Messages that it keeps, in whatever state."""
        return self.gate.stored

    @property
    def waiting(self) -> int:
        """Messages that are at no consumer: ready, or not before some delay has passed."""
        return self.gate.stored - self.gate.unacknowledged

    @property
    def at_consumers(self) -> int:
        """Messages delivered and not yet acknowledged."""
        return self.gate.unacknowledged

    @property
    def up(self) -> bool:
        """Whether it takes and delivers messages."""
        return self._is_up()

    @property
    def zone(self) -> int:
        """In which zone it is, where there are zones; on a broker, where its leader is."""
        return self._place if self._broker is None or self._seat is None else self._broker.zone_of(self._seat)

    def to_s(self, consumer: Consumer, bits: cython.ulonglong) -> float:
        """Seconds of a message to a consumer; negative if it never arrives."""
        assert self._ways is not None
        return self._ways.to_s(consumer.replica, self.zone if self._zoned else OUTSIDE, bits)

    def from_s(self, consumer: Consumer, bits: cython.ulonglong) -> float:
        """Seconds of a consumer's word to the queue; negative if it never arrives."""
        assert self._ways is not None
        return self._ways.from_s(consumer.replica, self.zone if self._zoned else OUTSIDE, bits)

    def _is_up(self) -> cython.bint:
        return self._outages == 0 and (self._seat is None or self._seat.available)

    # --- from publishers ------------------------------------------------------------------------------------------------

    def _take(self, visit: Visit) -> Steps:
        message = message_of(visit)
        outcome = yield from self.store(message, wants_no_confirm(visit))
        account(visit, message)
        visit.answer(outcome)

    def store(self, message: Message, unseen: bool) -> Steps:
        """Steps that make a message safe; they return the publish's outcome. `unseen`: nobody would hear of a refusal."""
        if not self._is_up():
            return UNREACHABLE
        if message.bytes > self._most_bytes:
            if unseen:
                self.record_lost(message)
            return OK if unseen else REJECTED
        gate, tasks = self.gate, self._tasks
        sent_before = gate.sent_before(message.id, tasks.now_s())
        if sent_before != NEW:
            return REJECTED if sent_before == IN_PROCESS else OK
        blocked_s = 0.0
        if self._alarmed or self._room is not None:
            began_s = tasks.now_s()
            outcome: int = yield from self._unblocked()
            blocked_s = tasks.now_s() - began_s
            message.waited_s = blocked_s
            if outcome != OK:
                gate.wrote(message.id, tasks.now_s(), False)
                if unseen:
                    self.record_lost(message)
                return OK if unseen else outcome
        if self._room is None and not gate.admits(self._writing):
            gate.wrote(message.id, tasks.now_s(), False)
            if self.spec.overflow == "reject_dead_letter" and self.dead_letters is not None:
                self.dead_letters.inherit(message, self.code)
            elif unseen:
                self.record_lost(message)
            return OK if unseen else REJECTED
        self._writing += 1
        message.waited_s, outcome = 0.0, UNREACHABLE
        try:
            outcome = yield from self._write(message)
            message.waited_s += blocked_s
        finally:
            self._writing -= 1
            gate.wrote(message.id, tasks.now_s(), outcome == OK)
            if self._room is not None and outcome != OK:
                self._room.free()
        if outcome == OK:
            self._accept(message)
            if self._room is not None:
                self._room.free()
        return outcome

    def _unblocked(self) -> Steps:
        """Steps until a publish may be written, if it may: OK, and then it has its place; REJECTED or UNREACHABLE."""
        if self._alarmed and self._broker is not None and self._broker.blocks():
            outcome = yield from self._broker.open_again()
            if outcome != OK:
                return outcome
            if not self._is_up():
                return UNREACHABLE
        return OK if self._room is None else (yield from self._room.take())

    def _write(self, message: Message) -> Steps:
        if self._broker is not None:
            assert self._seat is not None
            return (yield from self._broker.write(self._seat, message))
        persist_s = self._persist.draw(child(message.write_bits, _PERSIST))
        if persist_s > 0:
            yield persist_s
            message.wrote_s = persist_s
        return OK if self._is_up() else UNREACHABLE

    def _accept(self, message: Message) -> None:
        now_s = self._tasks.now_s()
        message.acked_s = now_s
        if not self._open and self._plan is not None:
            self.world.ledger.opened(self._presence)
        self._open[message] = None
        ended = self.gate.accept(message, now_s)
        if ended:
            self._given_up(ended)
        self._dispatch()

    def inherit(self, message: Message, queue: int) -> None:
        """Take a dead letter of another queue, without a word: if there is no room, it is lost."""
        letter = dead_letter(message, queue, self._tasks.now_s())
        if self.gate.admits(self._writing if self._room is None else self._room.writing):
            self._accept(letter)
        else:
            self.record_lost(letter)

    def never_came(self, visit: Visit) -> None:
        """A publish that nobody confirms has failed."""
        self.record_lost(message_of(visit))

    def record_lost(self, message: Message) -> None:
        """A message that this queue never had."""
        self._record(message, FATE_DROPPED)

    # --- to consumers ---------------------------------------------------------------------------------------------------

    def attach(self, replica: Replica) -> None:
        """Start a replica's consumers."""
        consumers = self._consumers[replica] = []
        for number in range(self.spec.consumers):
            consumer = Consumer(replica, key(self.world.seed, "consumer", self.name, replica.index, number))
            consumers.append(consumer)
            self._turns.add(consumer)
            self._begins(consumer)

    def _begins(self, consumer: Consumer) -> None:
        """A consumer has come."""
        if self._together is not None:
            consumer.gathering = Gathering(self._together, consumer)
            consumer.loop = self._tasks.start(consumer.gathering.run())
        self._dispatch()

    def detach(self, replica: Replica) -> None:
        """End a replica's consumers; what they hold goes back to its place, if the queue notices that they are gone."""
        gone = self._consumers.pop(replica, [])
        held: list[Delivery] = []
        for consumer in gone:
            self._turns.remove(consumer)
            if consumer.loop is not None:
                consumer.loop.kill()
            for delivery in consumer.held:
                if delivery.task is not None:
                    delivery.task.kill()
            held += consumer.held
        for delivery in held:
            self._put_down(delivery)
        self._interrupted(held)

    def _interrupted(self, held: list[Delivery]) -> None:
        """Deliveries whose consumer is gone, or whose connection broke."""
        if self._before:
            for delivery in held:
                self._settle_unacknowledged(delivery, ERROR)
        elif self.spec.notices_crash:
            now_s, gate = self._tasks.now_s(), self.gate
            ended: Ended = []
            for delivery in held:
                ended += gate.give_back(delivery.message, delivery.era, now_s)
            self._given_up(ended)
        # Not at once: whoever else dies at this instant must not be handed what was just put back.
        if held or self.spec.single_active_consumer:
            self._tasks.start(self._dispatch_in_a_moment())

    def _dispatch_in_a_moment(self) -> Steps:
        yield 0.0
        self._dispatch()

    def _dispatch(self) -> None:
        """Hand ready messages to consumers that may take one, and see when something comes due."""
        if self._dispatching:
            return  # what has come up meanwhile, the loop below sees
        self._dispatching = True
        gate = self.gate
        try:
            while gate.ready and self._is_up() and self._hand_on():
                pass
        finally:
            self._dispatching = False
        if gate.next_s < self._rings_s:
            self._rings_s = gate.next_s
            self._tasks.schedule(Alarm(self), gate.next_s)
        if self._alarmed and self._broker is not None:
            self._broker.emptied()
        if self._room is not None:
            self._room.let_in()

    def ring(self) -> None:
        """Something may be due."""
        now_s = self._tasks.now_s()
        if now_s < self._rings_s:
            return  # an alarm from before, for nothing
        self._rings_s = inf
        self._given_up(self.gate.due(now_s))
        self._dispatch()

    def _hand_on(self) -> cython.bint:
        """Send one message, if there is one for a consumer that may take one."""
        consumer = self._turns.next()
        if consumer is None:
            return False
        delivery = self._hand_out(consumer, None)
        if delivery is None:
            self._turns.skip(consumer)
            return False
        delivery.task = self._tasks.start(self._deliver(delivery))
        return True

    def _hand_out(self, consumer: Consumer, after: Message | None) -> Delivery | None:
        message = self.gate.take(self._tasks.now_s(), after)
        if message is None:
            return None
        assert isinstance(message, Message)  # only those come in
        self._recorder.count_attempt(message.request, message.entry, message.arrived_s)
        delivery = Delivery(message, consumer)
        consumer.held[delivery] = None
        message.at_work += 1
        return delivery

    def _put_down(self, delivery: Delivery) -> None:
        """A consumer has done with a message, or is gone; if that was the last, what has become of it can be written."""
        message, held = delivery.message, delivery.consumer.held
        delivery.task = None  # or the two would hold each other
        if delivery not in held:
            return  # it died while its last word was on the way
        del held[delivery]
        message.at_work -= 1
        if message.fate >= 0 and message.at_work == 0:
            self._bury(message)

    def _deliver(self, delivery: Delivery) -> Steps:
        """Carry a message to the consumer, do the work when its turn comes, carry the acknowledgement back."""
        consumer, bits = delivery.consumer, delivery.bits
        if self._broker is not None and self._seat is not None:
            yield from self._broker.hand_out(self._seat, bits, delivery.message.bytes)
        delay_s = self.to_s(consumer, child(bits, _DELIVER))
        if delay_s >= 0:
            if not self._overtakes:  # one connection: nothing overtakes, not even by rounding
                now_s = self._tasks.now_s()
                consumer.last_s = max(consumer.last_s + _APART_S, now_s + delay_s)
                delay_s = consumer.last_s - now_s
            delivery.message.way_s = delay_s
            if delay_s > 0:
                yield delay_s
            if consumer.gathering is not None:
                outcome: cython.int = yield from consumer.gathering.join(delivery)
                yield from self._answer(delivery, outcome)
                self._turns.free(consumer)
                self._dispatch()
                return
            if consumer.busy:
                turn = Reply(self._tasks)
                consumer.waiting.append(turn)
                yield turn
            consumer.busy = True
            outcome = yield from self._work(delivery)
            if consumer.waiting:
                consumer.waiting.popleft().settle(None)
            else:
                consumer.busy = False
            yield from self._answer(delivery, outcome)
        else:
            self._over(delivery, UNREACHABLE, not self._timed)
        self._turns.free(consumer)
        self._dispatch()

    def _answer(self, delivery: Delivery, outcome: cython.int) -> Steps:
        """Carry the consumer's word about a message back to the queue."""
        back_s = self.from_s(delivery.consumer, child(delivery.bits, _ACKNOWLEDGE))
        if back_s > 0:
            yield back_s
        lost = back_s < 0  # where no timeout ends, the queue sees that the connection broke
        self._over(delivery, UNREACHABLE if lost else outcome, not lost or not self._timed)

    def _work(self, delivery: Delivery) -> Steps:
        """Run the operation on the consumer's replica; return its outcome."""
        plan = self._plan
        assert plan is not None
        return perform(self._tasks, delivery.consumer.replica, delivery.message, delivery.bits, plan, self._inbox)

    def _over(self, delivery: Delivery, outcome: cython.int, heard: cython.bint) -> None:
        """The queue hears how a delivery ended; or never does."""
        message, gate = delivery.message, self.gate
        held = delivery in delivery.consumer.held  # else its consumer died with its last word on the way
        self._put_down(delivery)
        if self._before:
            if held:
                self._settle_unacknowledged(delivery, outcome)
        elif not heard:
            return
        elif outcome in (OK, DEGRADED):
            if gate.acknowledge(message, delivery.era):
                self._end(message, message.settled_as())
        else:
            self._given_up(gate.refuse(message, delivery.era, self._tasks.now_s()))

    def _settle_unacknowledged(self, delivery: Delivery, outcome: int) -> None:
        message = delivery.message
        if outcome not in (OK, DEGRADED) and not message.times_done:
            self._end(message, FATE_DROPPED)
        else:
            self._end(message, message.settled_as())

    # --- what happens to it ---------------------------------------------------------------------------------------------

    def outage(self) -> Callable[[], None]:
        """Go down: connections break, so what consumers hold will be delivered again; what is stored is kept. Return how to
        recover."""
        self._outages += 1
        self.cut()

        def recover() -> None:
            self._outages -= 1
            self.resume()

        return recover

    def cut(self) -> None:
        """All connections break: consumers go on with what they have, unheard, and publishes that wait for room fail."""
        if self._room is not None:
            self._room.close()
        if not self._before:
            self._interrupted([d for consumers in self._consumers.values() for c in consumers for d in c.held])

    def resume(self) -> None:
        """Deliver again."""
        self._dispatch()

    def lose_uncopied(self, crashed_s: float) -> None:
        """A node was lost that alone had some of the messages."""
        ended: Ended = []
        for message in list(self._open):
            if message.copied_s > crashed_s:
                ended += self.gate.lose(message)
        self._given_up(ended, False)

    def end_run(self) -> None:
        """Stop the consumers where they stand and record what is still open."""
        for consumer in (consumer for consumers in self._consumers.values() for consumer in consumers):
            if consumer.loop is not None:
                consumer.loop.kill()
            for delivery in consumer.held:
                if delivery.task is not None:
                    delivery.task.kill()
        for message in self._open:
            open_fate = FATE_KEPT if self._plan is None else FATE_IN_FLIGHT
            self._record(message, open_fate if message.fate < 0 else message.fate)
        self._open.clear()

    def _given_up(self, ended: Ended, buried: cython.bint = True) -> None:
        for item, reason in ended:
            assert isinstance(item, Message)  # only those come in
            self._end(item, _FATES[reason], buried)

    def _end(self, message: Message, fate: cython.int, buried: cython.bint = True) -> None:
        message.fate = fate
        if buried and self.dead_letters is not None and fate in (FATE_DEAD, FATE_EXPIRED, FATE_DROPPED):
            self.dead_letters.inherit(message, self.code)
        if message.at_work == 0:
            self._bury(message)

    def _bury(self, message: Message) -> None:
        """Write what has become of a message: its end, and that of the last consumer that worked on it, whichever was later."""
        del self._open[message]
        self._record(message, message.fate)
        if not self._open and self._plan is not None:
            self.world.ledger.closed(self._presence)

    def _record(self, message: Message, fate: cython.int) -> None:
        # What happened has happened, whatever the broker believes: a lost acknowledgement does not undo an effect.
        if fate in (FATE_DEAD, FATE_EXPIRED, FATE_DROPPED) and message.times_done:
            fate = FATE_DONE
        self._recorder.message(-1 if self._plan is None else self._plan.code, self.code, message, fate)

    def __repr__(self) -> str:
        return f"<MessageQueue {self.name} {self.ready} ready, {self.at_consumers} unacknowledged>"
