"""A consumer group in motion: the coordinator, and what is known of each partition. Its members are in `sim.runtime.reader`.

::

    members --heartbeat, join, commit--> coordinator --answers, news of partitions--> members

Who reads what is decided by `sim.policies.groups`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import Steps
from sim.policies.backlog_lines import GONE, READY
from sim.policies.groups import GroupGate
from sim.records import FATE_DEAD, FATE_DONE, FATE_DROPPED, FATE_DUPLICATE, FATE_EXPIRED, FATE_FAILED, FATE_IN_FLIGHT
from sim.runtime.alarm import Alarm
from sim.runtime.reader import Reader, Reading
from sim.runtime.together import Together
from sim.runtime.ways import Ways
from sim.streams import child, key, salt

if TYPE_CHECKING:
    from sim.runtime.log import PartitionedLog
    from sim.runtime.messages import Message
    from sim.runtime.queue import MessageQueue
    from sim.runtime.replica import Replica
    from sim.runtime.world import World

_NEWS = salt("group", "news")
#: The fate of a message that is in a log and has not ended.
IN_LOG: Final = -2
#: The fates of messages that their reader has done with, without an effect.
_SETTLED: Final = (FATE_DEAD, FATE_DUPLICATE, FATE_FAILED)
#: A state beyond `GONE`: the log has it no more, so that no replay brings it back.
_DELETED: Final = GONE + 1


class Group:
    """All that read a log as one."""

    def __init__(self, world: World, log: PartitionedLog, name: str) -> None:
        spec = self.spec = log.spec.group(name)
        self.world = world
        self.tasks = world.tasks
        self.log = log
        self.name = f"{log.name}.{name}"
        self.code = world.code(self.name)
        self.effect = world.code(spec.consumer)
        self.plan = world.plans[spec.consumer]
        self.inbox = world.inbox(spec.consumer)
        self.together = None if spec.batch is None else Together(world.tasks, spec.batch, self.plan, self.inbox)
        self.ways = Ways(world, log.name, spec.consumer.split(".")[0])  # to the members and back
        self.dead_letters: MessageQueue | None = None if spec.dead_letter is None else world.queues[spec.dead_letter]
        self.gate = GroupGate(spec, log.spec.partitions)
        self.readings = [Reading(number) for number in range(log.spec.partitions)]
        self.presence = world.presence()  # while there are messages that are not committed
        self._readers: dict[Replica, list[Reader]] = {}
        self._keeps = world.replayed(self.name)  # whether what is committed may be wanted again
        self.replays = 0  # so far
        self._begun = False
        self._rings_s = inf
        self._key = key(world.seed, "group", self.name)
        self._told = 0

    @property
    def zone(self) -> int:
        """In which zone its coordinator is, where there are zones: with the leader of the first partition."""
        return self.log.partitions[0].zone

    # --- from the log ------------------------------------------------------------------------------------------------------

    def shown(self, partition: int, offset: int, message: Message) -> None:
        """A message is there to be read."""
        reading = self.readings[partition]
        reading.messages[offset] = message
        reading.end = offset + 1
        self.presence.more()

    def look(self, partition: int) -> None:
        """There may be something to be read."""
        reader = self.readings[partition].reader
        if reader is not None and (asking := reader.asking.get(reader.source(partition))) is not None:
            asking.settle(True)

    # --- members -----------------------------------------------------------------------------------------------------------

    def attach(self, replica: Replica) -> None:
        """Start a replica's consumers: of a run that begins they are members already, later they join."""
        readers = self._readers[replica] = [Reader(self, replica, number) for number in range(self.spec.consumers)]
        for reader in readers if self._begun else ():
            reader.start()

    def begin(self) -> None:
        """The run begins, with a group that has been there for long."""
        self._begun = True
        readers = [reader for those in self._readers.values() for reader in those]
        if readers:
            self.gate.found(readers, self.world.now)
            for reader, partitions in self.gate.news:
                reader.founded(partitions)
            self.gate.news.clear()
        for reader in readers:
            reader.start()
        self.look_ahead()

    def detach(self, replica: Replica) -> None:
        """End a replica's consumers: one that stops commits and says so, of one that dies nobody hears."""
        self._end_all(replica, replica.stopping)

    def _end_all(self, replica: Replica, said: bool) -> None:
        for reader in self._readers.pop(replica, []):
            if said:
                self.commit(reader, reader.membership, reader.processed() if self.spec.commit == "interval" else {})
            reader.kill()
            if said:
                self.gate.leave(reader, self.world.now)
                self.look_ahead()

    # --- the coordinator ---------------------------------------------------------------------------------------------------

    def look_ahead(self) -> None:
        """After a change: tell the news, and see when a member is overdue."""
        news, self.gate.news = self.gate.news, []
        for reader, partitions in news:
            self.tasks.start(self._tell(reader, partitions, reader.membership))
        next_s = self.gate.next_s()
        if next_s < self._rings_s:
            self._rings_s = next_s
            self.tasks.schedule(Alarm(self), next_s)

    def ring(self) -> None:
        """A member may be overdue."""
        now_s = self.world.now
        if now_s < self._rings_s:
            return
        self._rings_s = inf
        self.gate.due(now_s)
        self.look_ahead()

    def _tell(self, reader: Reader, partitions: tuple[int, ...], membership: int) -> Steps:
        """A way to the member; where it is the leader that decides, one more there and back."""
        self._told += 1
        bits, ways = child(child(self._key, _NEWS), self._told), 1 if self.spec.protocol == "server" else 3
        for way in range(ways):
            own = child(bits, way)
            travel_s = self.ways.to_s if way % 2 == 0 else self.ways.from_s
            delay_s = travel_s(reader.replica, self.zone, own)
            delay_s = self.log.spec.producer.request_timeout if delay_s < 0 else delay_s  # it asks again
            if delay_s > 0:
                yield delay_s
        if reader.membership == membership:
            reader.hears(partitions)

    def commit(self, reader: Reader, membership: int, offsets: dict[int, int]) -> None:
        """A member says how far it is; of one that is none any more, or reads that partition no more, nothing."""
        member = self.gate.members.get(reader)
        if member is None or membership != reader.membership:
            return
        for partition, offset in offsets.items():
            if partition in member.owned or partition in member.granted:
                reading = self.readings[partition]
                self._commit_to(reading, offset)

    def _commit_to(self, reading: Reading, offset: int) -> None:
        while reading.committed < offset:
            message = reading.messages.pop(reading.committed, None)
            if message is not None:  # else it was deleted before
                self._committed(reading, message)
            reading.committed += 1

    def _committed(self, reading: Reading, message: Message) -> None:
        message.state = GONE
        if self._keeps:
            reading.done[reading.committed] = message
            self.presence.less()
        elif message.at_work == 0:
            self._bury(message)

    def replay(self, to: str | int, since_s: float | None) -> None:
        """All members leave, the group is set to other offsets, and they join anew."""
        replicas = list(self._readers)
        self.replays += 1
        for replica in replicas:
            self._end_all(replica, True)
        for reading in self.readings:
            self._set(reading, self._place(reading, to, since_s))
        for replica in replicas:
            self.attach(replica)

    def _place(self, reading: Reading, to: str | int, since_s: float | None) -> int:
        """The offset of a partition that is meant."""
        if since_s is not None:
            from_s, found = self.world.now - since_s, {**reading.done, **reading.messages}
            return min((o for o, message in found.items() if message.published_s >= from_s), default=reading.end)
        offset = {"earliest": reading.start, "latest": reading.end}.get(to, to) if isinstance(to, str) else to
        return int(min(max(offset, reading.start), reading.end))

    def _set(self, reading: Reading, offset: int) -> None:
        self._commit_to(reading, offset)
        for again in range(offset, reading.committed):
            message = reading.done.pop(again, None)
            if message is not None:
                message.state, message.fate = READY, IN_LOG
                reading.messages[again] = message
                self.presence.more()
        reading.committed = reading.position = reading.fetched = offset

    def forget(self, partition: int, start: int) -> None:
        """Messages before an offset are deleted, whether they were read or not."""
        reading = self.readings[partition]
        for offset in range(reading.start, start):
            message = reading.done.pop(offset, None)
            if message is not None:
                if message.at_work:  # committed before the work, which goes on
                    message.state = _DELETED
                    self.presence.more()
                else:
                    self._record(message)
                continue
            message = reading.messages.pop(offset, None)
            if message is not None:
                message.state = _DELETED
                if message.fate not in _SETTLED:
                    message.fate = FATE_EXPIRED
                if message.at_work == 0:
                    self._bury(message)
        reading.start = start  # the lag is as in Kafka: from the last commit on, until a reader has found out what is deleted

    # --- what becomes of messages ------------------------------------------------------------------------------------------

    def give_up(self, message: Message) -> None:
        """Pass over a message at which all tries have failed."""
        message.fate = FATE_DEAD
        if self.dead_letters is not None:
            self.dead_letters.inherit(message, self.code)

    def put_down(self, message: Message) -> None:
        """A member has done with a message, or is gone."""
        message.at_work -= 1
        if message.at_work == 0 and self._has_left(message):
            self._bury(message)

    def _has_left(self, message: Message) -> bool:
        """Whether nobody will get it again: it is deleted, or committed for good."""
        return message.state == _DELETED or (message.state == GONE and not self._keeps)

    def _bury(self, message: Message) -> None:
        self._record(message)
        self.presence.less()

    def _record(self, message: Message, otherwise: int = FATE_DROPPED) -> None:
        fate = message.fate if message.fate in (*_SETTLED, FATE_EXPIRED) else otherwise
        self.world.recorder.message(self.effect, self.code, message, FATE_DONE if message.times_done else fate)

    @property
    def ready(self) -> int:
        """Messages that no member has got."""
        return sum(reading.end - reading.position for reading in self.readings)

    @property
    def at_consumers(self) -> int:
        """Messages that a member has got and that are not committed."""
        # After a rejoin the position may lie before what a late commit of the last generation says.
        return sum(max(0, reading.position - reading.committed) for reading in self.readings)

    def end_run(self) -> None:
        """Stop the members where they stand, and record what is not committed, or still in somebody's hand."""
        held: dict[Message, None] = {}
        for readers in self._readers.values():
            for reader in readers:
                reader.end()
                held |= dict.fromkeys(reader.in_hand())
        for message in held:
            if self._has_left(message):
                self._record(message, FATE_IN_FLIGHT)
        for reading in self.readings:
            for message in reading.done.values():
                self._record(message)
            for message in reading.messages.values():
                self.world.recorder.message(self.effect, self.code, message, FATE_IN_FLIGHT)

    def __repr__(self) -> str:
        return f"<Group {self.name} {len(self.gate.members)} members, {self.ready} ready, {self.at_consumers} uncommitted>"
