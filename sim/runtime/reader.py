"""One member of a consumer group in motion: it polls, works, commits, sends heartbeats, and takes and gives partitions.

::

    poll: what does the group want? → commit, if it is time → messages → work on each → poll ...
    fetch (meanwhile): ask → wait for messages → [buffer]        heartbeat (meanwhile): I live → all is well / join again
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Reply, Steps, Task
from sim.policies.backlog_lines import GONE
from sim.policies.groups import REBALANCING, UNKNOWN
from sim.policies.zones import OUTSIDE
from sim.records import DEGRADED, OK
from sim.runtime.deliveries import perform
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.group import Group
    from sim.runtime.messages import Message
    from sim.runtime.replica import Replica
    from sim.runtime.together import Together

_ASK, _DELIVER, _COMMIT, _BEAT, _JOIN, _LEAVE, _FIRST, _PHASE = (
    salt("reader", name) for name in ("ask", "deliver", "commit", "heartbeat", "join", "leave", "first heartbeat", "phase")
)  # fmt: skip


class Reading:
    """How far a group is in a partition."""

    __slots__ = ("committed", "done", "end", "era", "fetched", "messages", "number", "position", "reader", "start")

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages: dict[int, Message] = {}  # by offset: what is not committed
        self.done: dict[int, Message] = {}  # by offset: what is committed, where it may be replayed
        self.start = 0  # the first offset that is not deleted
        self.committed = 0  # the next reader begins here
        self.position = 0  # what the reader's next poll brings
        self.fetched = 0  # what its next fetch brings
        self.end = 0
        self.reader: Reader | None = None  # who believes that it reads it
        self.era = 0  # of that belief

    def read_by(self, reader: Reader | None) -> None:
        """Another reader begins at the last commit."""
        self.reader = reader
        self.era += 1
        if reader is not None:
            self.position = self.fetched = self.committed


class Reader:
    """One consumer of a replica."""

    def __init__(self, group: Group, replica: Replica, number: int) -> None:
        self.group = group
        self.replica = replica
        self._spec = group.spec
        self._tasks = group.tasks
        self._key = key(group.world.seed, "reader", group.name, replica.index, number, len(replica.service.lives) + group.replays)
        self._drawn = 0
        self.membership = 0  # how often it has joined
        self.owned: tuple[int, ...] = ()
        self._news: tuple[int, ...] | None = None  # what it shall read, once it polls
        self._called = False  # whether the group rebalances
        self._out = True  # whether it is no member
        self._buffer: deque[tuple[Reading, int, int, Message]] = deque()  # fetched: partition, its era, offset, message
        self._batch: deque[tuple[Reading, int, Message]] = deque()  # polled, the one that is worked on first
        self.asking: dict[int, Reply] = {}  # its fetches that wait at the brokers, by zone
        self._bell: Reply | None = None  # its poll, that waits for anything
        self._polled_s = 0.0
        self._polling = True
        self._commits_s = 0.0
        self._loop: Task | None = None
        self._beating: Task | None = None
        self._fetching: dict[int, Task] = {}  # by zone
        self._others: list[Task] = []

    # --- from the group ----------------------------------------------------------------------------------------------------

    def founded(self, partitions: tuple[int, ...]) -> None:
        """It has been a member for long."""
        self._out = False
        self._news = partitions

    def start(self) -> None:
        """Begin to poll."""
        self._commits_s = self._tasks.now_s() + self._spec.commit_interval
        if not self._out:
            # It has been here for long, and commits at moments of its own.
            self._commits_s -= self._spec.commit_interval * uniform(child(self._key, _PHASE))
            self._take_on(self._news or ())
            self._news = None
            self._beating = self._tasks.start(self._beat())
        self._loop = self._tasks.start(self._poll_on())

    def hears(self, partitions: tuple[int, ...]) -> None:
        """What it shall read."""
        self._news = partitions
        self._ring()

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.settle(None)

    def kill(self) -> None:
        """The process is gone, and what it had in hand."""
        self.end()
        self.membership += 1
        while self._batch:
            self.group.put_down(self._batch.popleft()[2])

    def end(self) -> None:
        """Nothing of it goes on."""
        for task in (self._loop, self._beating, *self._fetching.values(), *self._others):
            if task is not None:
                task.kill()
        self.asking.clear()
        self._bell = None

    def in_hand(self) -> list[Message]:
        """What it has polled and not done with."""
        return [message for _, _, message in self._batch]

    def processed(self) -> dict[int, int]:
        """Up to where it has done all, by partition."""
        found = {p: self.group.readings[p].position for p in self.owned if self.group.readings[p].reader is self}
        for reading, offset, _ in reversed(self._batch):
            if reading.number in found:
                found[reading.number] = offset
        return found

    def _bits(self, purpose: cython.ulonglong) -> int:
        self._drawn += 1
        return child(child(self._key, purpose), self._drawn)

    # --- polls -------------------------------------------------------------------------------------------------------------

    def _poll_on(self) -> Steps:
        spec, tasks = self._spec, self._tasks
        while True:
            self._polling = True
            if self._out:
                self._let_go(self.owned)
                yield from self._join()
            elif self._called:
                yield from self._join_again()
            if self._news is not None:
                yield from self._adopt()
            now_s = tasks.now_s()
            if spec.commit == "interval" and now_s >= self._commits_s:
                self._commits_s = now_s + spec.commit_interval
                self._meanwhile(self._commit(self.processed()))
            self._take()
            if not self._buffer:
                self._fetch_anew()
            if self._batch:
                self._polled_s = tasks.now_s()
                self._polling = False
                yield from self._work_on()
            elif not self._buffer:
                self._bell = Reply(tasks)
                yield from self._bell.within(spec.fetch_wait)
                self._bell = None

    def _take(self) -> None:
        """What a poll brings."""
        while self._buffer and len(self._batch) < self._spec.max_poll_records:
            reading, era, offset, message = self._buffer.popleft()
            if reading.era == era:
                reading.position = offset + 1
                if message.state >= GONE:
                    continue  # deleted meanwhile
                message.at_work += 1
                self._batch.append((reading, offset, message))

    def _work_on(self) -> Steps:
        """Work on what a poll has brought, one after the other."""
        commit = self._spec.commit
        if commit == "before":
            yield from self._commit_surely({reading.number: reading.position for reading, _, _ in self._batch})
        if self.group.together is not None:
            yield from self._work_together(self.group.together)
            return
        while self._batch:
            reading, offset, message = self._batch[0]
            yield from self._work(message)
            self._batch.popleft()
            self.group.put_down(message)
            if commit == "each" or (commit == "batch" and not self._batch):
                done = self.processed() if commit == "batch" else {reading.number: offset + 1}
                yield from self._commit_surely(done)

    def _work_together(self, together: Together) -> Steps:
        """Work on what a poll has brought, several messages with one call; how far it is, is told after each."""
        commit = self._spec.commit
        while self._batch:
            those = list(islice(self._batch, together.spec.size))
            yield from self._try_together(together, [message for _, _, message in those])
            done: dict[int, int] = {}
            for reading, offset, message in those:
                self._batch.popleft()
                self.group.put_down(message)
                done[reading.number] = offset + 1
            if commit == "each" or (commit == "batch" and not self._batch):
                yield from self._commit_surely(self.processed() if commit == "batch" else done)

    def _try_together(self, together: Together, messages: list[Message]) -> Steps:
        """Call until all of them are done or given up; those that are do not come along again."""
        group, spec, tries = self.group, self._spec, 0
        while messages:
            tries += 1
            for message in messages:
                message.deliveries += 1
                group.world.recorder.count_attempt(message.request, message.entry, message.arrived_s)
            outcomes = yield from together.perform(self.replica, messages)
            failed = []
            for message, outcome in zip(messages, outcomes, strict=True):
                if outcome not in (OK, DEGRADED):
                    failed.append(message)
                elif not message.times_done:
                    message.fate = message.settled_as()
            messages = failed
            if messages and tries == spec.max_deliveries:
                for message in messages:
                    group.give_up(message)
                return
            if messages and spec.redelivery_delay > 0:
                yield spec.redelivery_delay

    def _work(self, message: Message) -> Steps:
        """Try until it works, or until it is given up."""
        group, spec, tries = self.group, self._spec, 0
        while True:
            tries += 1
            message.deliveries += 1
            group.world.recorder.count_attempt(message.request, message.entry, message.arrived_s)
            bits = child(message.bits, message.deliveries)
            outcome = yield from perform(self._tasks, self.replica, message, bits, group.plan, group.inbox)
            if outcome in (OK, DEGRADED):
                if not message.times_done:
                    message.fate = message.settled_as()
                return
            if tries == spec.max_deliveries:
                group.give_up(message)
                return
            if spec.redelivery_delay > 0:
                yield spec.redelivery_delay

    # --- fetches -----------------------------------------------------------------------------------------------------------

    def source(self, number: cython.long) -> int:
        """The zone from which it fetches a partition: that of its leader, or its own, where a copy is that has all."""
        log = self.group.log
        if log.world.zoning is None:
            return OUTSIDE
        partition, own = log.partitions[number], self.replica.service.zones[self.replica.index]
        if self._spec.fetch_from == "nearest" and log.broker is not None and partition.seat is not None:
            return own if log.broker.copy_in(partition.seat, own) >= 0 else partition.zone
        return partition.zone

    def _fetch_anew(self) -> None:
        """Ask where it does not ask already: one fetch at a time for each zone."""
        sources = dict.fromkeys(map(self.source, self.owned)) if self.group.world.zoning is not None else (OUTSIDE,)
        for zone in sources:
            task = self._fetching.get(zone)
            if task is None or not task.alive:
                self._fetching[zone] = self._tasks.start(self._fetch(zone))

    def _fetch(self, zone: cython.long) -> Steps:
        """Ask for messages, wait for them, and put them into the buffer."""
        group, tasks = self.group, self._tasks
        bits = self._bits(_ASK)
        delay_s = group.ways.from_s(self.replica, zone, bits)
        if delay_s < 0:
            yield group.log.spec.producer.request_timeout
            return
        if delay_s > 0:
            yield delay_s
        found = self._found(zone)
        if not found:
            asking = self.asking[zone] = Reply(tasks)
            yield from asking.within(self._spec.fetch_wait)
            del self.asking[zone]
            found = self._found(zone)
        for reading in dict.fromkeys(each[0] for each in found):
            partition = group.log.partitions[reading.number]
            if group.log.broker is not None and partition.seat is not None:
                size = sum([each[3].bytes for each in found if each[0] is reading])
                node = group.log.broker.copy_in(partition.seat, zone)
                yield from group.log.broker.hand_out(partition.seat, child(bits, reading.number), size, node)
        delay_s = group.ways.to_s(self.replica, zone, child(bits, _DELIVER))
        if delay_s < 0:
            for reading, era, offset, _ in found:
                if reading.era == era:
                    reading.fetched = min(reading.fetched, offset)
            yield group.log.spec.producer.request_timeout
            return
        if delay_s > 0:
            yield delay_s
        self._buffer += found
        self._ring()

    def _found(self, zone: cython.long) -> list[tuple[Reading, int, int, Message]]:
        """What is there to be fetched from a zone: of each partition in turn."""
        group, room = self.group, self._spec.max_poll_records
        found: list[tuple[Reading, int, int, Message]] = []
        start = self._drawn % max(1, len(self.owned))
        for number in (*self.owned[start:], *self.owned[:start]):
            reading = group.readings[number]
            if reading.reader is not self or not group.log.partitions[number].up or self.source(number) != zone:
                continue
            if reading.fetched < reading.start and not self._reset(reading):
                continue
            while reading.fetched < reading.end and len(found) < room:
                found.append((reading, reading.era, reading.fetched, reading.messages[reading.fetched]))
                reading.fetched += 1
        return found

    def _reset(self, reading: Reading) -> cython.bint:
        """Its next message is deleted: whether it goes on, elsewhere. What it has fetched it works on first."""
        rule = self._spec.offset_reset
        if rule == "none":
            return False
        reading.fetched = reading.start if rule == "earliest" else reading.end
        if not any(each[0] is reading and each[1] == reading.era for each in self._buffer):
            reading.position = reading.fetched
        return True

    # --- commits -----------------------------------------------------------------------------------------------------------

    def _commit(self, offsets: dict[int, int]) -> Steps:
        """Say how far it is; whether that has arrived."""
        group, membership = self.group, self.membership
        delay_s = group.ways.from_s(self.replica, group.zone, self._bits(_COMMIT))
        if delay_s < 0:
            return False
        if delay_s > 0:
            yield delay_s
        group.commit(self, membership, offsets)
        return True

    def _commit_surely(self, offsets: dict[int, int]) -> Steps:
        """Say how far it is, and go on when the answer is there."""
        membership = self.membership
        while membership == self.membership and not self._out:
            arrived = yield from self._commit(offsets)
            back_s = self.group.ways.to_s(self.replica, self.group.zone, self._bits(_DELIVER)) if arrived else -1.0
            if back_s > 0:
                yield back_s
            if back_s >= 0:
                return
            yield self.group.log.spec.producer.request_timeout

    # --- the group ---------------------------------------------------------------------------------------------------------

    def _beat(self) -> Steps:
        """Say that it lives; leave when its work takes too long."""
        spec, tasks = self._spec, self._tasks
        pause_s = spec.heartbeat_interval * uniform(child(self._key, _FIRST))
        while True:
            now_s = tasks.now_s()
            wait_s = pause_s if self._polling else min(pause_s, max(self._polled_s + spec.max_poll_interval - now_s, 0.0))
            yield wait_s
            if not self._polling and tasks.now_s() >= self._polled_s + spec.max_poll_interval:
                self._out = True
                delay_s = self.group.ways.from_s(self.replica, self.group.zone, self._bits(_LEAVE))
                if delay_s > 0:
                    yield delay_s
                if delay_s >= 0:
                    self.group.gate.leave(self, tasks.now_s())
                    self.group.look_ahead()
                return
            if wait_s == pause_s:
                if not (yield from self._say_alive()):
                    return
                pause_s = spec.heartbeat_interval
            else:
                pause_s -= wait_s

    def _say_alive(self) -> Steps:
        """One heartbeat and its answer; whether it is still a member."""
        group, membership = self.group, self.membership
        delay_s = group.ways.from_s(self.replica, group.zone, self._bits(_BEAT))
        if delay_s < 0:
            return True
        if delay_s > 0:
            yield delay_s
        answer = group.gate.heartbeat(self, self.owned, self._tasks.now_s())
        if group.gate.news:
            group.look_ahead()
        delay_s = group.ways.to_s(self.replica, group.zone, self._bits(_BEAT))
        if delay_s < 0 or membership != self.membership:
            return True
        if delay_s > 0:
            yield delay_s
        if answer == UNKNOWN:
            self._out = True
            self._ring()
            return False
        if answer == REBALANCING and not self._called:
            self._called = True
            self._ring()
        return True

    def _join(self) -> Steps:
        """Become a member; where all wait for each other, wait for what to read."""
        self.membership += 1
        self._called, self._news = False, None
        yield from self._ask_to_join(())
        self._out = False
        if self._beating is None or not self._beating.alive:
            self._beating = self._tasks.start(self._beat())
        while self._news is None and self._spec.protocol != "server" and not self._out:
            self._bell = Reply(self._tasks)
            yield self._bell
        self._bell = None

    def _join_again(self) -> Steps:
        """The group rebalances: eager ones give all back and wait, cooperative ones say what they have and go on."""
        self._called = False
        if self._spec.protocol == "cooperative":
            self._meanwhile(self._ask_to_join(self.owned))
            return
        if self._spec.commit == "interval":
            yield from self._commit_surely(self.processed())
        self._let_go(self.owned)
        self._news = None
        yield from self._ask_to_join(())
        while self._news is None and not self._out:
            self._bell = Reply(self._tasks)
            yield self._bell
        self._bell = None

    def _ask_to_join(self, owned: tuple[int, ...]) -> Steps:
        group, membership = self.group, self.membership
        while (delay_s := group.ways.from_s(self.replica, group.zone, self._bits(_JOIN))) < 0:
            yield group.log.spec.producer.request_timeout
        if delay_s > 0:
            yield delay_s
        if membership != self.membership:
            return
        group.gate.join(self, owned, self._tasks.now_s())
        if self._spec.protocol == "server":
            group.gate.heartbeat(self, owned, self._tasks.now_s())
        group.look_ahead()

    def _adopt(self) -> Steps:
        """Give away and take on; who has given away says so, for somebody waits for it."""
        news, self._news = self._news or (), None
        lost = tuple(p for p in self.owned if p not in news)
        if lost and self._spec.commit == "interval":
            yield from self._commit_surely({p: o for p, o in self.processed().items() if p in lost})
        self._let_go(lost)
        self._take_on(news)
        if self._spec.protocol == "server":
            self._meanwhile(self._say_alive())
        elif lost and self._spec.protocol == "cooperative":
            self._meanwhile(self._ask_to_join(self.owned))

    def _let_go(self, partitions: tuple[int, ...]) -> None:
        for number in partitions:
            reading = self.group.readings[number]
            if reading.reader is self:
                reading.read_by(None)
        self._buffer = deque(each for each in self._buffer if each[0].number not in partitions)
        self.owned = tuple(p for p in self.owned if p not in partitions)

    def _take_on(self, partitions: tuple[int, ...]) -> None:
        for number in partitions:
            if number not in self.owned:
                self.group.readings[number].read_by(self)
        self.owned = partitions
        for asking in self.asking.values():
            asking.settle(True)

    def _meanwhile(self, steps: Any) -> None:
        self._others = [task for task in self._others if task.alive]
        self._others.append(self._tasks.start(steps))

    def __repr__(self) -> str:
        return f"<Reader {self.group.name} of {self.replica!r} reads {self.owned}>"
