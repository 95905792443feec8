"""A partitioned log in motion: partitions that write batches and show them when all copies have them; its groups read them.

::

    batch → leader writes → copies write → [shown: an offset each] → every group, in order
             acks: 1 ↑        acks: all ↑
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, isnan
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import Reply, Steps, Task
from sim.laws import sampler
from sim.policies.backlog_lines import READY
from sim.policies.zones import OUTSIDE
from sim.records import FATE_DROPPED, FATE_EXPIRED, FATE_IN_FLIGHT, FATE_KEPT, OK, REJECTED, UNREACHABLE
from sim.runtime.group import IN_LOG, Group
from sim.runtime.messages import Mailbox, Message, Stamp, message_of, wants_no_confirm
from sim.runtime.producer import Producer, Publication
from sim.streams import child, key, salt

if TYPE_CHECKING:
    from sim.policies.batching import Batch
    from sim.runtime.broker import Broker, Seat
    from sim.runtime.visit import Visit
    from sim.runtime.world import World
    from sim.scenario.messaging.logs import Log, Retention

_PERSIST, _AGAIN = salt("log", "persist"), salt("log", "again")


class Written:
    """A batch in its partition's log, which the leader has and perhaps nobody else."""

    __slots__ = ("bytes", "copied_s", "copies", "number", "producer", "waited_s", "write_bits", "wrote_s")

    def __init__(self, batch: Batch) -> None:
        self.producer: Producer = batch.producer
        self.number = batch.number
        self.copies = [_copies_of(publication) for publication in batch.items]
        self.bytes = sum([copies[0].bytes for copies in self.copies])
        self.write_bits = batch.bits
        self.waited_s = 0.0
        self.wrote_s = 0.0
        self.copied_s = inf


def _copies_of(publication: Publication) -> list[Message]:
    """The messages of a publish, as its groups get them; of one that is written twice, another time."""
    copies = publication.copies
    if copies[0].fate != _NOWHERE:
        copies = publication.copies = [_second(message) for message in copies]
    for message in copies:
        message.fate = IN_LOG
    return copies


#: The fate of a message that is in no log.
_NOWHERE: Final = -1


def _second(message: Message) -> Message:
    """The same message once more: a duplicate, that asks for the same work."""
    again = Message(message.request, message.arrived_s, message.entry, child(message.bits, _AGAIN), message.published_s)
    again.id = message.id
    again.correlation = message.correlation
    again.group = message.group
    again.poisoned = message.poisoned
    again.bytes, again.payload_bytes, again.store = message.bytes, message.payload_bytes, message.store
    again.partition = message.partition
    again.number = message.number
    return again


class Partition:
    """One line of a log, with its place at a broker."""

    def __init__(self, log: PartitionedLog, number: int) -> None:
        self.log = log
        self.number = number
        self.end = 0  # the next offset
        self.seat: Seat | None = None if log.broker is None else log.broker.seat(self, "all")
        self._uncopied: dict[Written, None] = {}  # in the order of the log
        self._numbers: dict[Producer, int] = {}  # the latest batch of each that the log has
        self._writing: dict[Producer, int] = {}  # and that it is writing
        self._written_s = 0.0
        self.start = 0  # the first offset that is not deleted
        self._ages: deque[float] | None = None if log.spec.retention is None else deque()  # when those were published

    @property
    def stored(self) -> int:
        """None: what a log keeps is its retention's affair."""
        return 0

    @property
    def zone(self) -> int:
        """In which zone its leader is, where there are zones."""
        return self.log.place if self.seat is None or self.log.broker is None else self.log.broker.zone_of(self.seat)

    @property
    def up(self) -> bool:
        """Whether somebody leads it."""
        return self.log.outages == 0 and (self.seat is None or self.seat.available)

    def append(self, batch: Batch) -> Steps:
        """Steps that write a batch; they return OK when its publishers may be told so."""
        producer, spec = batch.producer, self.log.spec
        if not self.up or (spec.producer.acks == "all" and self._copies_up() < spec.min_insync):
            return UNREACHABLE
        if spec.producer.idempotent:
            known = self._numbers.get(producer, -1)
            if batch.number <= known:
                return UNREACHABLE if any(w.producer is producer for w in self._uncopied) else OK  # sent again: it has it
            gap = range(known + 1, batch.number)
            if producer in self._writing or not all(n in producer.abandoned.get(self.number, ()) for n in gap):
                return UNREACHABLE  # one before it is missing
        written = Written(batch)
        self._writing[producer] = batch.number
        try:
            outcome = yield from self._lead(written)
        finally:
            self._writing.pop(producer, None)  # of one that is not idempotent, several may be written at a time
        batch.wrote_s = written.wrote_s
        if outcome != OK:
            return UNREACHABLE
        self._numbers[producer] = batch.number
        self._uncopied[written] = None
        self.log.presence.more()
        if spec.producer.acks == "all":
            outcome = yield from self._copy(written)
            batch.wrote_s = written.wrote_s
            return outcome
        now_s = self.log.world.now
        for copies in written.copies:
            for message in copies:
                message.acked_s = now_s
        self.log.world.tasks.start(self._copy(written))
        return OK

    def _copies_up(self) -> int:
        return 1 if self.seat is None or self.log.broker is None else self.log.broker.up(self.seat)

    def _lead(self, written: Written) -> Steps:
        if self.log.broker is not None:
            assert self.seat is not None
            return (yield from self.log.broker.lead(self.seat, written))
        tasks = self.log.world.tasks
        now_s, persist_s = tasks.now_s(), self.log.persist.draw(child(written.write_bits, _PERSIST))
        self._written_s = max(self._written_s, now_s + persist_s)  # in the order of the log
        if self._written_s > now_s:
            written.wrote_s = self._written_s - now_s
            yield written.wrote_s
        return OK if self.up else UNREACHABLE

    def _copy(self, written: Written) -> Steps:
        outcome = OK
        if self.log.broker is not None:
            assert self.seat is not None
            outcome = yield from self.log.broker.copy(self.seat, written)
        if outcome == OK:
            self._show_up_to(written)
        return outcome

    def _show_up_to(self, written: Written) -> None:
        """All copies have it, and what is before it."""
        while written in self._uncopied:
            first = next(iter(self._uncopied))
            del self._uncopied[first]
            self._show(first)

    def _show(self, written: Written) -> None:
        now_s = self.log.world.now
        for copies in written.copies:
            for group, message in zip(self.log.groups.values(), copies, strict=False):
                group.shown(self.number, self.end, message)
            for message in copies:
                message.place = self.end
                message.state = READY
                if isnan(message.acked_s):
                    message.acked_s = now_s
            if not self.log.groups:
                self.log.show(copies[0])
            if self._ages is not None:
                self._ages.append(copies[0].published_s)
            self.end += 1
        self.log.presence.less()
        for group in self.log.groups.values():
            group.look(self.number)

    def delete_old(self, retention: Retention) -> None:
        """Forget what is too old or too far back."""
        ages = self._ages
        assert ages is not None
        oldest_s = -inf if retention.time is None else self.log.world.now - retention.time
        most = inf if retention.messages is None else retention.messages
        before = self.start
        while ages and (ages[0] < oldest_s or len(ages) > most):
            ages.popleft()
            self.start += 1
        if self.start == before:
            return
        for group in self.log.groups.values():
            group.forget(self.number, self.start)
            group.look(self.number)
        for message in [each for each in self.log.kept if each.partition == self.number and each.place < self.start]:
            self.log.kept.remove(message)
            self.log.record([message], FATE_EXPIRED)

    # --- as its broker sees it ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Nobody leads it: nothing is written or read."""

    def resume(self) -> None:
        """It is led again: by the same node, and all that this had is there."""
        for written in list(self._uncopied):
            self._show_up_to(written)
        for group in self.log.groups.values():
            group.look(self.number)

    def lose_uncopied(self, crashed_s: float) -> None:
        """Another node leads, which has not got all: publishers who were told already believe in messages that are gone."""
        for written in list(self._uncopied):
            if written.copied_s <= crashed_s:
                self._show_up_to(written)
                continue
            del self._uncopied[written]
            self.log.presence.less()
            self._numbers[written.producer] = min(self._numbers.get(written.producer, -1), written.number - 1)
            for copies in written.copies:
                if self.log.spec.producer.acks != "all":
                    self.log.record_lost(copies)
                for message in copies:
                    message.fate = _NOWHERE

    def end_run(self) -> None:
        """Record what is written and not shown, where its publishers believe in it."""
        for written in self._uncopied:
            for copies in written.copies:
                if self.log.spec.producer.acks != "all":
                    self.log.record(copies, FATE_IN_FLIGHT)


class PartitionedLog(Mailbox):
    """One log: partitions, the processes that publish to it, the groups that read it; also the endpoint that publishers call."""

    def __init__(self, world: World, name: str, spec: Log, broker: Broker | None) -> None:
        Mailbox.__init__(self, world)
        self.by_process = True
        self.name = name
        self.spec = spec
        self.broker = broker
        self.place = world.place_of(spec.zone)  # its zone, without a broker
        self.persist = sampler(spec.persist)
        self._most_bytes = inf if spec.max_size is None else spec.max_size
        self.outages = 0
        self.kept: list[Message] = []  # where no group reads it
        self.presence = world.presence()  # of batches that are under way, and whose publishers do not wait
        self.groups = {group: Group(world, self, group) for group in spec.groups}
        self.partitions = [Partition(self, number) for number in range(spec.partitions)]
        self._codes = [group.code for group in self.groups.values()] or [world.code(name)]
        self._producers: dict[tuple[str, int], Producer] = {}  # by service and process
        self._lives: dict[tuple[str, int], int] = {}
        self._number = 0

    def retain(self) -> Steps:
        """Delete what is too old, again and again."""
        retention = self.spec.retention
        while retention is not None:
            yield retention.check_interval
            for partition in self.partitions:
                partition.delete_old(retention)

    @property
    def up(self) -> bool:
        """Whether any of its partitions takes messages."""
        return any(partition.up for partition in self.partitions)

    @property
    def zone(self) -> int:
        """Of no zone: who publishes reaches it through its own process, which sends on to wherever the partitions are led."""
        return OUTSIDE

    def receive(self, visit: Visit) -> None:
        """A process publishes: what it sends, and when, is its producer's affair."""
        assert visit.edge is not None
        stamp = visit.stamp
        assert isinstance(stamp, Stamp)  # only steps publish
        producer = self._producer(visit.edge.names[0], stamp.process)
        copies = [message_of(visit, place if place else -1) for place in range(max(1, len(self.groups)))]
        if copies[0].bytes > self._most_bytes:
            if wants_no_confirm(visit):
                self.record_lost(copies)
            visit.answer(OK if wants_no_confirm(visit) else REJECTED)
            return
        for message in copies:
            message.number = self._number
        self._number += 1
        producer.send(visit, copies)

    def _producer(self, caller: str, process: int) -> Producer:
        producer = self._producers.get((caller, process))
        if producer is None:
            network, place = self.world.network, self.world.scenario.place(self.name)
            lines = network.line(caller, place), network.line(place, caller)
            bits = child(key(self.world.seed, "producer", self.name, caller, process), self._lives.get((caller, process), 0))
            zone = OUTSIDE if self.world.zoning is None else self.world.zoning.zones_of(caller)[process]
            producer = self._producers[caller, process] = Producer(self, lines, bits, zone)
        return producer

    def process_died(self, service: str, process: int) -> None:
        """A process that may have published is gone, and what it had not sent."""
        producer = self._producers.pop((service, process), None)
        if producer is not None:
            self._lives[service, process] = self._lives.get((service, process), 0) + 1
            producer.died()

    def never_came(self, visit: Visit) -> None:
        """A publish that nobody confirms has failed."""
        self.record_lost([message_of(visit, place if place else -1) for place in range(max(1, len(self.groups)))])

    # --- for its producers -------------------------------------------------------------------------------------------------

    def show(self, message: Message) -> None:
        """A message is there that no group reads."""
        self.kept.append(message)

    def node_of(self, partition: int) -> int:
        """The node that leads a partition."""
        seat = self.partitions[partition].seat
        return 0 if seat is None else seat.leader

    def zone_of(self, node: int) -> int:
        """The zone of a node, where there are zones."""
        return self.place if self.broker is None or self.world.zoning is None else self.broker.zones[node]

    def append(self, batches: list[Batch]) -> Steps:
        """Steps that write the batches of one request; they return the outcome of each."""
        if len(batches) == 1:
            return [(yield from self.partitions[batches[0].partition].append(batches[0]))]
        tasks, outcomes, finished = self.world.tasks, [UNREACHABLE] * len(batches), Reply(self.world.tasks)
        left = len(batches)

        def write(place: int, batch: Batch) -> Steps:
            nonlocal left
            outcomes[place] = yield from self.partitions[batch.partition].append(batch)
            left -= 1
            if not left:
                finished.settle(None)

        started: list[Task] = [tasks.start(write(place, batch)) for place, batch in enumerate(batches)]
        try:
            if left:
                yield finished
        finally:
            for task in started:
                task.kill()
        return outcomes

    def record_lost(self, copies: list[Message]) -> None:
        """Messages that no group will ever see."""
        self.record(copies, FATE_DROPPED)

    def record(self, copies: list[Message], fate: int) -> None:
        """The rows of messages that no group has got."""
        effects = [group.effect for group in self.groups.values()] or [-1]
        for code, effect, message in zip(self._codes, effects, copies, strict=True):
            self.world.recorder.message(effect, code, message, fate)

    # --- what happens to it ------------------------------------------------------------------------------------------------

    def outage(self) -> Callable[[], None]:
        """Go down: nothing is written, nothing is read; what is written is kept. Return how to recover."""
        self.outages += 1

        def recover() -> None:
            self.outages -= 1
            for partition in self.partitions:
                partition.resume()

        return recover

    def end_run(self) -> None:
        """Stop those who read it, and record what is still open."""
        for group in self.groups.values():
            group.end_run()
        for partition in self.partitions:
            partition.end_run()
        for message in self.kept:
            self.record([message], FATE_KEPT)

    def __repr__(self) -> str:
        return f"<PartitionedLog {self.name} {sum(p.end for p in self.partitions)} messages in {len(self.partitions)} partitions>"
