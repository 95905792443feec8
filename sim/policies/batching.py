"""Batches of messages that a publisher gathers before it sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sim.values import Duration, Spec

if TYPE_CHECKING:
    import cython


class Batching(Spec):
    """How a publisher gathers its messages for one partition.

    ::

        m1 --- linger --> sent with what has come meanwhile        or at once, when `batch_size` are there

    With `linger: 0s` a message goes at once while fewer than `max_in_flight` requests are unanswered; under load batches form
    by themselves, because messages wait for that. Lingering trades latency for fewer requests, and pays where requests are what
    is short.

    Source: kafka@3 clients, `RecordAccumulator` and `Sender`. Sizes are counted in messages.

    >>> accumulator = Accumulator(Batching(linger=0.005, batch_size=2), idempotent=True)
    >>> accumulator.add(0, "a", now_s=0.0), accumulator.ready([0], now_s=0.004)
    (True, [])
    >>> [batch.items for batch in accumulator.ready([0], now_s=0.005)]
    [['a']]
    """

    linger: Duration = Field(0.0, description="how long a batch waits for more messages")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        16, description="messages of a batch at most; messages without a key change their partition after as many"
    )
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["unlimited"] = Field(
        5, description="requests of one publishing process to one node that are not answered yet"
    )


class Batch:
    """Messages of one publisher for one partition, on their way together."""

    __slots__ = (
        "bits", "created_s", "failed_s", "from_s", "items", "network_s", "number", "partition", "producer", "sent_s", "tries",
        "wrote_s",
    )  # fmt: skip

    def __init__(self, partition: int, number: int, now_s: float) -> None:
        self.partition = partition
        self.number = number  # among those of its publisher for this partition
        self.items: list[Any] = []
        self.created_s = now_s
        self.from_s = now_s  # when it may be sent, if it is not full: after its linger, or its pause before a retry
        self.tries = 0
        self.producer: Any = None
        self.sent_s = now_s  # the latest time
        self.failed_s = 0.0  # what tries have cost that came to nothing, and the pauses after them
        self.network_s = 0.0  # of the try that was answered
        self.wrote_s = 0.0  # likewise, by the broker
        self.bits = 0  # of the latest try: its draws derive from them


class Accumulator:
    """The batches of one publishing process that are not on their way, told the time."""

    __slots__ = ("_idempotent", "_linger_s", "_most", "_numbers", "_pending")

    def __init__(self, spec: Batching, idempotent: bool) -> None:
        self._linger_s = spec.linger
        self._most = spec.batch_size
        self._idempotent = idempotent
        self._pending: dict[int, deque[Batch]] = {}
        self._numbers: dict[int, int] = {}

    def add(self, partition: cython.long, item: Any, now_s: float) -> cython.bint:
        """Put a message into the open batch of its partition; whether that began a new one."""
        line = self._pending.get(partition)
        if line is None:
            line = self._pending[partition] = deque()
        last: Batch | None = line[-1] if line else None
        fresh = last is None or last.tries > 0 or len(last.items) >= self._most
        if fresh:
            number = self._numbers[partition] = self._numbers.get(partition, -1) + 1
            last = Batch(partition, number, now_s)
            last.from_s = now_s + self._linger_s
            line.append(last)
        assert last is not None
        last.items.append(item)
        return fresh

    def opens(self, partition: cython.long) -> cython.bint:
        """Whether the next message for a partition would begin a new batch."""
        line = self._pending.get(partition)
        if not line:
            return True
        last: Batch = line[-1]
        return last.tries > 0 or len(last.items) >= self._most

    def due(self, now_s: float) -> list[int]:
        """The partitions whose first batch may be sent."""
        return [partition for partition, line in self._pending.items() if self._may_go(line[0], now_s)]

    def ready(self, partitions: Iterable[int], now_s: float) -> list[Batch]:
        """Take the first batch of each of these partitions that may be sent: what waits for a retry holds up all behind it."""
        found = []
        for partition in partitions:
            line = self._pending.get(partition)
            if line and self._may_go(line[0], now_s):
                found.append(line.popleft())
                if not line:
                    del self._pending[partition]
        return found

    def _may_go(self, batch: Batch, now_s: float) -> cython.bint:
        return now_s >= batch.from_s or (batch.tries == 0 and len(batch.items) >= self._most)

    def put_back(self, batch: Batch, from_s: float) -> None:
        """A batch that came to nothing waits for its retry: in front, or in its place where the order is kept."""
        batch.from_s = from_s
        line = self._pending.setdefault(batch.partition, deque())
        place = 0
        if self._idempotent:
            while place < len(line) and line[place].number < batch.number:
                place += 1
        line.insert(place, batch)

    def clear(self) -> list[Batch]:
        """The process is gone, and what it had gathered."""
        gone = [batch for line in self._pending.values() for batch in line]
        self._pending.clear()
        return gone
