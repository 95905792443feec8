"""A log of replies: each process that waits reads it, and takes what is for it.

::

    consumer: work, then reply --> its producer -> partition, written and copied -> fetched by the process that waits

Source: Spring Kafka, ReplyingKafkaTemplate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Steps
from sim.records import FATE_DROPPED, FATE_IN_FLIGHT
from sim.runtime.log import PartitionedLog
from sim.runtime.replies import carry
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.messages import Message

_DELIVER = salt("reply log", "deliver")


class ReplyLog(PartitionedLog):
    """A log whose messages go to the processes that wait for them, as soon as they are there to be read."""

    def __init__(self, *parts: Any) -> None:
        PartitionedLog.__init__(self, *parts)
        self._open: dict[Message, None] = {}  # that have not reached anybody

    def show(self, message: Message) -> None:
        """A reply is there."""
        self._open[message] = None
        self.presence.more()
        self.world.tasks.start(self._deliver(message))

    def _deliver(self, message: Message) -> Steps:
        """Have it fetched, again and again until it arrives: nothing leaves a log because somebody has read it."""
        bits, place = child(message.bits, _DELIVER), self.world.scenario.place(self.name)
        partition, producer = self.partitions[message.partition], self.spec.producer
        tries = 0
        while True:
            if partition.up:
                if self.broker is not None and partition.seat is not None:
                    yield from self.broker.hand_out(partition.seat, message.bits, message.bytes)
                fate: int = yield from carry(self.world, place, partition.zone, message, child(bits, tries))
                tries += 1
                if fate != FATE_DROPPED:
                    break
                yield producer.request_timeout
            else:
                yield producer.retry_backoff
        message.fate = fate
        del self._open[message]
        self.record([message], fate)
        self.presence.less()

    def end_run(self) -> None:
        """Record what has reached nobody."""
        PartitionedLog.end_run(self)
        for message in self._open:
            self.record([message], FATE_IN_FLIGHT)

    def __repr__(self) -> str:
        return f"<ReplyLog {self.name} {len(self._open)} on their way>"
