"""Publishers of a log in motion: each process gathers batches, sends requests, and sends again what was not answered.

::

    publish → [batch of its partition] → request → line → [one at a time per connection] broker → line → publishes are answered
                     ↑__________ failed, or not answered in time: after a pause _____________|

What is gathered and what may go is decided by `sim.policies.batching`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import TIMED_OUT, Reply, Steps
from sim.policies.batching import Accumulator, Batch
from sim.policies.partitions import Sticky, partition_of
from sim.records import OK, REJECTED, UNREACHABLE
from sim.runtime.network import crossed_s
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.log import PartitionedLog
    from sim.runtime.messages import Message
    from sim.runtime.network import Line
    from sim.runtime.visit import Visit

_THERE, _BACK, _PAUSE, _WRITE = (salt("producer", name) for name in ("there", "back", "pause", "write"))
#: Requests of one connection arrive so far apart at least.
_APART_S: Final = 1e-9


class Publication:
    """One publish: whom to answer, and the message as each group will have it."""

    __slots__ = ("copies", "created_s", "visit")

    def __init__(self, visit: Visit, copies: list[Message], now_s: float) -> None:
        self.visit = visit
        self.copies = copies
        self.created_s = now_s

    def answer(self, batch: Batch, outcome: cython.int, now_s: float) -> None:
        """Tell the publisher, once, and where its time went: what was neither way, writing nor in vain was waiting."""
        visit = self.visit
        if outcome == OK:
            network_s, lost_s = batch.network_s, batch.failed_s
            rest_s = now_s - self.created_s - network_s - lost_s
            wrote_s = min(batch.wrote_s, rest_s)
            waited_s = rest_s - wrote_s
            visit.own_network_s += network_s
            visit.service_s += wrote_s
            visit.own_s += wrote_s
            visit.lost_s += lost_s
            visit.queue_s += waited_s
            visit.own_queue_s = waited_s
        visit.answer(outcome)


class Connection:
    """From one publishing process to one node: requests on it arrive in order, and are worked on one after the other."""

    __slots__ = ("in_flight", "last_s", "open", "tail", "watched")

    def __init__(self) -> None:
        self.in_flight = 0
        self.open: dict[Reply, float] = {}  # requests that are not answered, the oldest first, and when they were sent
        self.watched = False  # whether somebody waits for their time to run out
        self.last_s = 0.0  # when the latest arrived, or will
        self.tail: Reply | None = None  # settled when the broker has done with the latest that it has got


class Producer:
    """One process that publishes to a log."""

    def __init__(self, log: PartitionedLog, lines: tuple[Line, Line], bits: int, zone: int) -> None:
        spec = log.spec.producer
        self.log = log
        self._zone = zone
        self._spec = spec
        self._tasks = log.world.tasks
        self._there, self._back = lines
        self._bits = bits
        self._alive = True
        self._requests = 0
        self._sticky = Sticky(log.spec.partitions, spec.batch_size, bits)
        self.accumulator = Accumulator(spec, spec.idempotent)
        self.abandoned: dict[int, set[int]] = {}  # by partition, batches that were given up: the broker does not wait for them
        self._most = inf if spec.max_in_flight == "unlimited" else spec.max_in_flight
        self._room = inf if spec.buffer == "unlimited" else spec.buffer  # messages that there is room for
        self._blocked: dict[Publication, int] = {}  # publishes that wait for room, with their partitions
        self._connections: dict[int, Connection] = {}

    def send(self, visit: Visit, copies: list[Message]) -> None:
        """Take a publish."""
        now_s, group = self._tasks.now_s(), copies[0].group
        number = partition_of(group, self.log.spec.partitions) if group >= 0 else self._sticky.next()
        for message in copies:
            message.partition = number
        publication = Publication(visit, copies, now_s)
        if self._room < inf and (self._blocked or not self._has_room(number)):
            self._blocked[publication] = number
            self._tasks.start(self._lose_patience(publication))
            return
        self._add(publication, number)

    def _has_room(self, partition: cython.long) -> cython.bint:
        return self._room >= self._spec.batch_size or not self.accumulator.opens(partition)

    def _add(self, publication: Publication, number: cython.long) -> None:
        """Put a publish into its batch."""
        fresh = self.accumulator.add(number, publication, self._tasks.now_s())
        if fresh:
            self._room -= self._spec.batch_size
        if fresh and self._spec.linger > 0:
            self._tasks.start(self._look_in(self._spec.linger, number))
        self._pump(self.log.node_of(number))

    def _lose_patience(self, publication: Publication) -> Steps:
        """A publish that waits for room is rejected in the end."""
        yield self._spec.max_block
        if self._blocked.pop(publication, None) is not None:
            visit = publication.visit
            visit.own_queue_s = self._tasks.now_s() - publication.created_s
            visit.queue_s += visit.own_queue_s
            visit.answer(REJECTED)

    def _make_room(self) -> None:
        """A batch is over: those who wait for its room get it, the first one first."""
        self._room += self._spec.batch_size
        while self._blocked:
            publication, number = next(iter(self._blocked.items()))
            if not self._has_room(number):
                return
            del self._blocked[publication]
            self._add(publication, number)

    def died(self) -> None:
        """The process is gone: so is what it had not sent, and nobody hears of the rest. The next one is another producer."""
        self._alive = False
        for publication in self._blocked:
            publication.visit.answer(UNREACHABLE)
        self._blocked.clear()
        for batch in self.accumulator.clear():
            self._answer(batch, UNREACHABLE)
        for connection in self._connections.values():
            for reply in list(connection.open):
                reply.settle(TIMED_OUT)
            connection.open.clear()

    def _look_in(self, after_s: float, partition: int) -> Steps:
        yield after_s
        self._pump(self.log.node_of(partition))

    def _pump(self, node: cython.long) -> None:
        """Send what may go to a node, as long as it takes more requests."""
        connection: Connection | None = self._connections.get(node)
        if connection is None:
            connection = self._connections[node] = Connection()
        while connection.in_flight < self._most:
            due = self.accumulator.due(self._tasks.now_s())
            mine = [partition for partition in due if self.log.node_of(partition) == node] if due else due
            if not mine:
                return
            batches = self.accumulator.ready(mine, self._tasks.now_s())
            connection.in_flight += 1
            self._tasks.start(self._request(connection, node, batches))

    def _request(self, connection: Connection, node: int, batches: list[Batch]) -> Steps:
        """Send some batches and hear what became of them."""
        tasks = self._tasks
        self._requests += 1
        bits = child(self._bits, self._requests)
        for place, batch in enumerate(batches):
            batch.tries += 1
            batch.producer = self
            batch.sent_s = tasks.now_s()
            batch.bits = child(child(bits, _WRITE), place)
        reply = Reply(tasks)
        self.log.presence.more()
        if self._spec.acks == 0:
            tasks.start(self._carry(connection, node, batches, bits, reply))
            connection.in_flight -= 1
            for batch in batches:
                self._answer(batch, OK)
            return
        connection.open[reply] = tasks.now_s()
        if not connection.watched:
            connection.watched = True
            tasks.start(self._watch(connection))
        tasks.start(self._carry(connection, node, batches, bits, reply))
        answer = reply.value if reply.settled else (yield reply)
        if not self._alive:
            return
        connection.open.pop(reply, None)
        connection.in_flight -= 1
        if answer is TIMED_OUT:
            # The connection is given up, and with it all that is under way on it; the next one waits for none of that.
            connection.tail = None
            for other in list(connection.open):
                other.settle(TIMED_OUT)
        for place, batch in enumerate(batches):
            outcome = UNREACHABLE if answer is TIMED_OUT else answer[place]
            if outcome == OK:
                self._answer(batch, OK)
            else:
                self._again(batch, node)
        self._pump(node)

    def _watch(self, connection: Connection) -> Steps:
        """Let requests time out; one sleep for all of them."""
        while connection.open:
            oldest, sent_s = next(iter(connection.open.items()))
            left_s = sent_s + self._spec.request_timeout - self._tasks.now_s()
            if left_s > 0:
                yield left_s
            elif connection.open.pop(oldest, None) is not None:
                oldest.settle(TIMED_OUT)
        connection.watched = False

    def _carry(self, connection: Connection, node: int, batches: list[Batch], bits: int, reply: Reply) -> Steps:
        """The way there, the broker's work, the way back."""
        tasks, zoning = self._tasks, self.log.world.zoning
        own, others = self._zone, self.log.zone_of(node)
        there_s = self._there.travel_s(child(bits, _THERE))
        if zoning is not None:
            there_s = crossed_s(there_s, zoning.crossing(own, others), child(bits, _THERE))
        if there_s < 0:
            self._unheard(batches, [UNREACHABLE] * len(batches))
            self.log.presence.less()
            return
        now_s = tasks.now_s()
        arrives_s = now_s + there_s
        if now_s < connection.last_s >= arrives_s:
            arrives_s = connection.last_s + _APART_S
        connection.last_s = arrives_s
        if arrives_s > now_s:
            yield arrives_s - now_s
        before, done = connection.tail, Reply(tasks)
        connection.tail = done
        if before is not None and not before.settled:
            yield before
        outcomes = yield from self.log.append(batches)
        done.settle(None)
        self._unheard(batches, outcomes)
        self.log.presence.less()
        if self._spec.acks == 0 or not self._alive:
            return
        back_s = self._back.travel_s(child(bits, _BACK))
        if zoning is not None:
            back_s = crossed_s(back_s, zoning.crossing(others, own), child(bits, _BACK))
        if back_s < 0:
            return
        if back_s > 0:
            yield back_s
        for batch in batches:
            batch.network_s = there_s + back_s
        reply.settle(outcomes)

    def _unheard(self, batches: list[Batch], outcomes: list[int]) -> None:
        """What became of batches for whose answer nobody waits: nobody ever did, or their process has died meanwhile."""
        for batch, outcome in zip(batches, outcomes, strict=True):
            if self._spec.acks != 0 and not self._alive:
                self._answer(batch, outcome)
            elif self._spec.acks == 0 and outcome != OK:
                for publication in batch.items:
                    self.log.record_lost(publication.copies)

    def _answer(self, batch: Batch, outcome: cython.int) -> None:
        now_s = self._tasks.now_s()
        for publication in batch.items:
            publication.answer(batch, outcome, now_s)
        if self._room < inf:
            self._make_room()

    def _again(self, batch: Batch, node: int) -> None:
        """Send a batch again after a pause, or give it up."""
        spec, now_s = self._spec, self._tasks.now_s()
        u = uniform(child(batch.bits, _PAUSE))
        pause_s = min(spec.retry_backoff * 2.0 ** min(batch.tries - 1, 60), spec.retry_backoff_max) * (0.8 + 0.4 * u)
        if now_s + pause_s >= batch.created_s + spec.delivery_timeout:
            self.abandoned.setdefault(batch.partition, set()).add(batch.number)
            self._answer(batch, UNREACHABLE)
            return
        batch.failed_s += now_s + pause_s - batch.sent_s
        self.accumulator.put_back(batch, now_s + pause_s)
        self._tasks.start(self._look_in(pause_s, batch.partition))
