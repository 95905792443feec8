"""What a queue does with its messages: who is next, what is out, what comes back, what is given up."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from sim.policies.backlog_lines import (
    DELAYED,
    GONE,
    PAUSED,
    READY,
    UNACKNOWLEDGED,
    FifoLine,
    Item,
    KeyedLine,
    RankedLine,
    ReadyLine,
)  # fmt: skip
from sim.policies.deduplication import Deduplication, DeduplicationGate
from sim.values import Duration, PositiveDuration, Spec

if TYPE_CHECKING:
    import cython

#: Why a message left the queue without an acknowledgement.
DEAD: Final = "dead"  # the delivery limit
EXPIRED: Final = "expired"  # the time to live
DROPPED: Final = "dropped"  # no room

#: Whether a publish was sent before.
NEW, IN_PROCESS, KNOWN = range(3)

_Count = Annotated[int, Field(ge=1, le=10**9)]


class Backlog(Spec):
    """The rules of one queue.

    ::

        publish -- no room? --> rejected        time_to_live ... expired     max_deliveries ... dead
           |                        (or the oldest is dropped)       ^                 ^
           +-- delay --> ready ------------------------------- take --> unacknowledged -- acknowledge --> done
                           ^  ^--- visibility_timeout, consumer gone ----------|
                           +------ redelivery_delay <---- failed --------------+

    Times are exact: a message expires when its time has come, not when it gets to the head (as in RabbitMQ) or when a sweep
    comes (consumer timeouts of RabbitMQ are looked at once a minute). A message that is out when its time to live ends expires
    when it comes back. Only ready messages count against `capacity`.

    Source: RabbitMQ docs (maxlength, ttl, quorum-queues, confirms), Amazon SQS Developer Guide, nats-server consumer.go.
    """

    order: Literal["fifo", "priority", "per_key"] = Field(
        "fifo",
        description="who is next: the oldest; the lowest `priority` of the publish; or the oldest whose key has nothing "
        "unacknowledged (SQS FIFO's message groups)",
    )
    capacity: _Count | Literal["unbounded"] = Field("unbounded", description="messages that may be ready")
    overflow: Literal["reject", "drop_head", "reject_dead_letter", "block"] = Field(
        "reject",
        description="one more than `capacity`: the publish is rejected; the oldest ready message is dropped (to `dead_letter`, "
        "if there is one); the publish is rejected and its message goes to `dead_letter`; or the publish waits for room",
    )
    max_block: PositiveDuration | None = Field(
        None, description="with `overflow: block`: how long a publish waits for room; then it is rejected. Absent: for ever"
    )
    time_to_live: PositiveDuration | None = Field(
        None, description="how long a message is good; then it expires, to `dead_letter`"
    )
    delay: Duration = Field(0.0, description="how long after the publish a message is delivered at the earliest")
    max_deliveries: _Count | Literal["unlimited"] = Field(
        "unlimited", description="deliveries of a message in all, the first included; then it is dead, and goes to `dead_letter`"
    )
    redelivery_delay: PositiveDuration | Literal["visibility_timeout"] = Field(
        1.0,
        description="pause before a failed message is delivered again, at least 1ms; visibility_timeout: nobody says that it has "
        "failed, and it comes back when that ends",
    )
    requeue: Literal["tail", "head"] = Field(
        "tail",
        description="where a failed or timed-out message goes: behind all others, or back to its place; "
        "with `order: per_key` always back. What a dead consumer held always goes back",
    )
    visibility_timeout: PositiveDuration | None = Field(
        None,
        description="longest time from a delivery to its acknowledgement (RabbitMQ: consumer timeout, JetStream: AckWait); then "
        "the message is ready again, whatever its consumer still does",
    )
    late_acknowledge: Literal["ignored", "accepted"] = Field(
        "ignored", description="what the acknowledgement of an earlier delivery does after that: nothing, or the message is done"
    )
    max_unacknowledged: _Count | Literal["unlimited"] = Field(
        "unlimited", description="messages that may be unacknowledged at all consumers together"
    )
    deduplicate: Deduplication | None = Field(
        None,
        description="the broker takes a publish that is sent again once only: ids that it remembers. While the first copy is "
        "still being written another one is rejected, for nobody knows yet that it will be safe (JetStream, error 10158)",
    )

    @field_validator("redelivery_delay", "visibility_timeout")
    @classmethod
    def _time_passes(cls, value: float | str | None) -> float | str | None:
        # A message that always fails would come back for ever at one instant.
        if isinstance(value, float) and value < 0.001:
            raise ValueError(f"a pause of {value:g} s is too short to be one; write at least 1ms")
        return value

    @model_validator(mode="after")
    def _rules_fit(self) -> Backlog:
        if self.overflow == "drop_head" and self.order == "per_key":
            raise ValueError("overflow: drop_head would drop what is next of a key; with order: per_key write reject")
        if self.max_block is not None and self.overflow != "block":
            raise ValueError(f"max_block: with overflow: {self.overflow} no publish waits; write overflow: block")
        if self.visibility_timeout is None:
            for key, value in (("late_acknowledge", "accepted"), ("redelivery_delay", "visibility_timeout")):
                if getattr(self, key) == value:
                    raise ValueError(f"{key}: {value} says nothing without a visibility_timeout; give one, or leave it out")
        return self


#: Messages that left the queue without an acknowledgement, each with the reason.
Ended = list[tuple[Item, str]]
#: Nobody.
_NOBODY: Final[Ended] = []


class BacklogGate:
    """The messages of one queue, told the time. `acknowledge: before` makes a message done when it is taken.

    A delivery is a message and the `era` that `take` left in it. Only the latest may be settled: once a message has come back,
    what its earlier consumer says means nothing (but for an acknowledgement, if late ones are accepted). The caller calls `due`
    at `next_s`, which may be early, never late.

    >>> gate = BacklogGate(Backlog(visibility_timeout="30s", max_deliveries=2))
    >>> first, second = Item(), Item()
    >>> gate.accept(first, 0.0), gate.accept(second, 1.0)
    ([], [])
    >>> gate.take(2.0) is first, first.era, gate.ready, gate.unacknowledged
    (True, 1, 1, 1)
    >>> gate.due(gate.next_s), gate.take(40.0) is second, gate.take(40.0) is first
    ([], True, True)
    >>> gate.acknowledge(first, 1), gate.refuse(first, 2, 41.0)
    (False, [(<Item 0 gone>, 'dead')])
    """

    __slots__ = (
        "_accepted",
        "_accepts_late",
        "_before",
        "_coming",
        "_delay_s",
        "_delayed",
        "_drops",
        "_expiring",
        "_line",
        "_lives_s",
        "_most_deliveries",
        "_most_out",
        "_most_ready",
        "_out",
        "_pause_s",
        "_paused",
        "_restores",
        "_seen",
        "_sees_s",
        "_sequence",
        "next_s",
        "ready",
        "stored",
        "unacknowledged",
    )  # fmt: skip

    def __init__(self, spec: Backlog, acknowledge_before: bool = False) -> None:
        self._line: ReadyLine = {"fifo": FifoLine, "priority": RankedLine, "per_key": KeyedLine}[spec.order]()
        self._most_ready = inf if spec.capacity == "unbounded" else spec.capacity
        self._drops = spec.overflow == "drop_head"
        self._most_deliveries = inf if spec.max_deliveries == "unlimited" else spec.max_deliveries
        self._most_out = inf if spec.max_unacknowledged == "unlimited" else spec.max_unacknowledged
        self._lives_s = inf if spec.time_to_live is None else spec.time_to_live
        self._delay_s = spec.delay
        self._pause_s = -1.0 if isinstance(spec.redelivery_delay, str) else spec.redelivery_delay  # negative: nobody says so
        self._sees_s = inf if spec.visibility_timeout is None else spec.visibility_timeout
        self._restores = spec.requeue == "head" or spec.order == "per_key"
        self._accepts_late = spec.late_acknowledge == "accepted"
        self._before = acknowledge_before
        self._seen = None if spec.deduplicate is None else DeduplicationGate(spec.deduplicate)
        self._coming: set[int] = set()  # ids that are being written
        # What comes due, each in the order of time, because each waits equally long: clock time, message, era.
        self._delayed: deque[tuple[float, Item, int]] = deque()
        self._paused: deque[tuple[float, Item, int]] = deque()
        self._out: deque[tuple[float, Item, int]] = deque()
        self._expiring: deque[tuple[float, Item, int]] = deque()
        self._accepted = 0  # so far
        self._sequence = 0  # of places in line
        self.next_s = inf  # clock time at which something comes due
        self.ready = 0
        self.unacknowledged = 0
        self.stored = 0  # in whatever state

    def sent_before(self, id_: cython.ulonglong, now_s: float) -> cython.int:
        """Whether a publish is one that was sent before: NEW, IN_PROCESS or KNOWN. A new one is in process until `wrote`.

        Only what is safe is known. Who sends a message again while its first copy is still being written has to be refused, as
        JetStream does (error 10158): told that all is well, the publisher would never learn that the write failed.
        """
        if self._seen is None:
            return NEW
        if id_ in self._coming:
            return IN_PROCESS
        if self._seen.knows(id_, now_s):
            return KNOWN
        self._coming.add(id_)
        return NEW

    def wrote(self, id_: cython.ulonglong, now_s: float, safe: cython.bint) -> None:
        """The writing of a publish is over: it is safe and known from now on, or it was none."""
        if self._seen is not None:
            self._coming.discard(id_)
            if safe:
                self._seen.remember(id_, now_s)

    def admits(self, coming: cython.long) -> cython.bint:
        """Whether there is room for one more beside those that are being written."""
        return self._drops or self.ready + coming < self._most_ready

    def accept(self, item: Item, now_s: float) -> Ended:
        """A message is safe: it waits its turn. Returns who had to make room."""
        item.number = self._accepted
        self._accepted += 1
        self.stored += 1
        if self._lives_s < inf:
            item.expires_s = now_s + self._lives_s
            self._wait(self._expiring, item.expires_s, item)
        if self._delay_s > 0:
            item.state = DELAYED
            self._wait(self._delayed, now_s + self._delay_s, item)
            return _NOBODY
        return self._append(item)

    def take(self, now_s: float, after: Item | None = None) -> Item | None:
        """Hand out the next message, if there is one that may go. `after` is the one taken before in the same receive: with
        `order: per_key` more of its key go along."""
        if not self.ready or self.unacknowledged >= self._most_out:
            return None
        item = self._line.pop(after)
        if item is None:
            return None
        self.ready -= 1
        item.era += 1
        item.deliveries += 1
        if self._before:
            self._leave(item)
            return item
        item.state = UNACKNOWLEDGED
        self.unacknowledged += 1
        if self._sees_s < inf:
            self._wait(self._out, now_s + self._sees_s, item)
        return item

    def acknowledge(self, item: Item, era: cython.long) -> cython.bint:
        """A consumer has done a message. Whether that counts: then the message is gone."""
        if item.state == GONE or (not self._is_out(item, era) and not self._accepts_late):
            return False
        self._withdraw(item)
        self._leave(item)
        return True

    def refuse(self, item: Item, era: cython.long, now_s: float) -> Ended:
        """A consumer has failed at a message: it comes back after a pause, or is dead."""
        if not self._is_out(item, era) or self._pause_s < 0:
            return _NOBODY
        self.unacknowledged -= 1
        if item.deliveries >= self._most_deliveries:
            return self._given_up(item, DEAD)
        item.state = PAUSED
        self._wait(self._paused, now_s + self._pause_s, item)
        return _NOBODY

    def give_back(self, item: Item, era: cython.long, now_s: float) -> Ended:
        """A consumer is gone, or returns a message that it has not touched: back to its place, at once."""
        if not self._is_out(item, era):
            return _NOBODY
        self.unacknowledged -= 1
        return self._come_back(item, now_s, True)

    def lose(self, item: Item) -> Ended:
        """The broker has lost a message, wherever it was."""
        if item.state == GONE:
            return _NOBODY
        self._withdraw(item)
        return self._given_up(item, DROPPED)

    def due(self, now_s: float) -> Ended:
        """Delays, pauses, visibility and lives end whose time has come. Returns who was given up."""
        ended: Ended = []
        while self._expiring and self._expiring[0][0] <= now_s:
            item = self._expiring.popleft()[1]
            if item.state in (READY, DELAYED, PAUSED):
                self._withdraw(item)
                ended += self._given_up(item, EXPIRED)
        for waiting in (self._delayed, self._paused, self._out):
            while waiting and waiting[0][0] <= now_s:
                _, item, era = waiting.popleft()
                if item.era != era:
                    continue
                if waiting is self._delayed and item.state == DELAYED:
                    ended += self._append(item)
                elif waiting is self._paused and item.state == PAUSED:
                    ended += self._come_back(item, now_s, self._restores, False)
                elif waiting is self._out and item.state == UNACKNOWLEDGED:
                    self.unacknowledged -= 1
                    ended += self._come_back(item, now_s, self._restores)
        self.next_s = min((w[0][0] for w in (self._expiring, self._delayed, self._paused, self._out) if w), default=inf)
        return ended

    def _is_out(self, item: Item, era: cython.long) -> cython.bint:
        return item.state == UNACKNOWLEDGED and item.era == era

    def _withdraw(self, item: Item) -> None:
        """Out of where it is: with a consumer, or in line."""
        if item.state == UNACKNOWLEDGED:
            self.unacknowledged -= 1
        elif item.state == READY:
            self.ready -= 1
            self._line.discard(item)

    def _wait(self, where: deque[tuple[float, Item, int]], until_s: float, item: Item) -> None:
        where.append((until_s, item, item.era))
        if until_s < self.next_s:
            self.next_s = until_s

    def _append(self, item: Item) -> Ended:
        """To the end of the line; the head goes if there is no room."""
        ended = _NOBODY
        if self._drops and self.ready >= self._most_ready:
            head = self._line.pop(None)
            if head is not None:
                self.ready -= 1
                ended = self._given_up(head, DROPPED)
        item.place = self._sequence
        self._sequence += 1
        item.state = READY
        self.ready += 1
        self._line.append(item)
        return ended

    def _come_back(self, item: Item, now_s: float, restored: cython.bint, counted: cython.bint = True) -> Ended:
        if counted and item.deliveries >= self._most_deliveries:
            return self._given_up(item, DEAD)
        if item.expires_s <= now_s:
            return self._given_up(item, EXPIRED)
        if restored:
            item.state = READY
            self.ready += 1
            self._line.restore(item)
            return _NOBODY
        return self._append(item)

    def _given_up(self, item: Item, reason: str) -> Ended:
        self._leave(item)
        return [(item, reason)]

    def _leave(self, item: Item) -> None:
        if item.deliveries:
            self._line.settle(item)
        item.state = GONE
        self.stored -= 1

    def __repr__(self) -> str:
        return f"<BacklogGate {self.ready} ready, {self.unacknowledged} unacknowledged, {self.stored} in all>"
