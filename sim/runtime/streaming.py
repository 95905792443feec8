"""Streams of messages in one call: who sends waits for windows, who reads for messages.

::

    sender   every -> write -> [window of the stream, of the connection, of congestion] -> link ....... there
             windows have room again <-- one way back -- read: by the transport at once, by the reader when it comes to it

All of it happens in the callee's visit. What its caller sends is looked at from where it arrives, so that the sender's clock is
behind by the latency of the way.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from sim.kernel.tasks import Reply, Steps
from sim.laws import sampler
from sim.policies.flow import Credit
from sim.records import OK
from sim.runtime.wire import WireStep
from sim.scenario.contents import Streamed
from sim.streams import child, key, salt

if TYPE_CHECKING:
    from sim.policies.flow import Flow
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Visit
    from sim.runtime.wire import Wire

_EVERY, _READING, _WAY, _LOSS = (salt("streaming", name) for name in ("every", "reading", "way", "loss"))
#: Bytes of a message that are sent at once at most: a frame (RFC 9113, 4.2: what every receiver takes).
_FRAME: Final = 16_384.0
#: What is less has no room for a byte, whatever rounding says; and as seconds, the next moment.
_A_BYTE, _NEXT_MOMENT_S = 1.0, 1e-9


class Messages:
    """What the streams of one operation in one direction have in common."""

    def __init__(self, spec: Streamed, count: int, seed: int, name: str) -> None:
        self.count = count
        self.each_request = spec.count == "each_request"
        self.to_all = spec.to_all
        self.every, self.reading = sampler(spec.every), sampler(spec.reading)
        self._bits = key(seed, "events", name)
        self._events_s = [0.0]  # clock times

    def event_s(self, after_s: float) -> float:
        """When the next event happens that all streams get."""
        while self._events_s[-1] <= after_s:
            self._events_s.append(self._events_s[-1] + self.every.draw(child(self._bits, len(self._events_s))))
        return self._events_s[bisect_right(self._events_s, after_s)]


class MessageStream:
    """The messages of one call in one direction: `side` 0 from its caller, 1 back to it."""

    def __init__(self, messages: Messages, wire: Wire, side: int, visit: Visit, replica: Replica) -> None:
        self._messages, self._wire, self._side, self._visit, self._replica = messages, wire, side, visit, replica
        self._tasks = replica.tasks
        self._flow: Flow = visit.connection.session.flows[side]
        self._own, self._shared = Credit(), visit.connection.session.credits[side]
        back_s = 0.0 if visit.edge is None else visit.edge.back_s(visit.chosen, child(visit.key, _WAY))
        self._latency_s = visit.lasts_s if side == 0 else max(0.0, back_s)
        self._behind_s = self._latency_s if side == 0 else 0.0  # the sender's clock
        self._key = child(visit.key, _EVERY + side)
        self._ready_s = self._tasks.now_s()  # when the latest message was there to be sent
        self._parts = 0
        self._read_s: list[float] = []  # when each message was read, in clock time
        self._asks: Reply | None = None  # who waits for the next one
        self.worked_s = 0.0  # of the callee: time until it had its messages, or that it took to read them

    def run(self, asked: MessageStream | None = None) -> Steps:
        """Steps that send all messages; where each answers one of `asked`, once that is read."""
        for number in range(self._messages.count):
            if self._messages.each_request:
                assert asked is not None
                yield from asked.is_read(number)
            else:
                yield from self._is_there(number)
            yield from self._write()
            yield from self._send(number)
        if self._side == 1:
            self._visit.streamed_s = self._read_s[-1]
        else:
            yield from self.all_read()

    def all_read(self) -> Steps:
        """Steps that wait until the last message is read."""
        return self.is_read(self._messages.count - 1)

    def is_read(self, number: int) -> Steps:
        """Steps that wait until a message is read."""
        while number >= len(self._read_s):
            self._asks = Reply(self._tasks)
            yield self._asks
        wait_s = self._read_s[number] - self._tasks.now_s()
        if wait_s > 0:
            yield wait_s

    def _is_there(self, number: int) -> Steps:
        """Wait until the sender has a message: the first one at once, unless it is an event."""
        messages = self._messages
        if messages.to_all:
            self._ready_s = messages.event_s(self._ready_s)
        elif number:
            self._ready_s += messages.every.draw(child(self._key, number))
        wait_s = self._ready_s - self._tasks.now_s()
        if wait_s > 0:
            yield wait_s
            self.worked_s += wait_s * self._side

    def _write(self) -> Steps:
        work = self._wire.writes[self._side]
        if work.seconds <= 0:
            return
        self._wire.spent(self._side, work.seconds)
        if self._side == 1:
            yield from work.spend(self._replica, self._visit)
        else:
            yield work.seconds

    def _send(self, number: int) -> Steps:
        """Send a message in parts, as the windows let them out."""
        left = self._wire.bodies[self._side]
        around = self._wire.around(self._side, self._visit.connection.session, first=number == 0)
        while True:
            now_s = self._tasks.now_s() - self._behind_s
            own, shared = self._own.left(now_s, self._flow.stream_window), self._shared.left(now_s, self._flow.connection_window)
            room = self._flow.room(now_s)
            part = min(left, own, shared, room, _FRAME)
            if part < min(left, _A_BYTE):
                free_s = (self._own.next_s(), self._shared.next_s(), self._flow.room_s())
                yield from self._until(max(at_s for at_s, has in zip(free_s, (own, shared, room), strict=True) if has < _A_BYTE))
                continue
            arrives_s = self._send_part(now_s, part, around)
            left, around = left - part, 0.0
            yield 0.0  # other streams on the connection take turns
            if left <= 0:
                self._reads(number, arrives_s)
                return

    def _until(self, sender_s: float) -> Steps:
        yield max(sender_s + self._behind_s - self._tasks.now_s(), _NEXT_MOMENT_S)

    def _send_part(self, now_s: float, part: float, around: float) -> float:
        self._parts += 1
        bits = child(child(self._visit.key, _LOSS + self._side), self._parts)
        arrives_s = self._wire.part_s(self._side, self._visit.connection.session, now_s, part + around, self._latency_s, bits)
        self._own.take(part)
        self._shared.take(part)
        self._shared.give_back(arrives_s + self._latency_s, part)
        comes_to_it_s = max(arrives_s, self._read_s[-1]) if self._read_s else arrives_s
        self._own.give_back(comes_to_it_s + self._latency_s, part)
        return arrives_s

    def _reads(self, number: int, arrives_s: float) -> None:
        """Its reader decodes a message, and does with it what it does, once it is through with the one before."""
        wire, visit = self._wire, self._visit
        decode_s = wire.reads_s[self._side]
        takes_s = decode_s + self._messages.reading.draw(child(child(visit.key, _READING + self._side), number))
        if self._side == 0:
            takes_s *= self._replica.slowness()
            self.worked_s += takes_s
        wire.spent(1 - self._side, decode_s)
        begins_s = max(arrives_s, self._read_s[-1]) if self._read_s else max(arrives_s, self._tasks.now_s())
        self._read_s.append(begins_s + takes_s)
        wire.was_read(self._side, visit, self._read_s[-1] if number == 0 else -1.0)
        asks, self._asks = self._asks, None
        if asks is not None:
            asks.settle(None)


class StreamStep(WireStep):
    """Read a streamed request, write a streamed answer, or both at the same time."""

    __slots__ = ("_request", "_response")

    def __init__(self, wires: dict[tuple[str, str], Wire], request: Messages | None, response: Messages | None) -> None:
        WireStep.__init__(self, wires)
        self._request = request
        self._response = response

    def holds_s(self, replica: Replica, context: Context) -> float:
        """No time, where calls have no protocol."""
        return 0.0 if self.wire_of(context) is None else -1.0

    def run(self, replica: Replica, context: Context) -> Steps:
        """Send and read all messages; never fails."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        visit: Visit = context  # type: ignore[assignment]  # operations are done for visits
        wire, tasks = self.wire_of(context), replica.tasks
        assert wire is not None
        began_s, before_s = tasks.now_s(), visit.service_s + visit.queue_s
        asked = None if self._request is None else MessageStream(self._request, wire, 0, visit, replica)
        answers = None if self._response is None else MessageStream(self._response, wire, 1, visit, replica)
        if asked is None or answers is None:
            only = asked or answers
            assert only is not None
            yield from only.run()
        else:
            reader = tasks.start(asked.run())
            try:
                yield from answers.run(asked)
                yield from asked.all_read()
            finally:
                reader.kill()
        # What was neither written nor waited for by itself was on the network.
        rest_s = tasks.now_s() - began_s - (visit.service_s + visit.queue_s - before_s)
        worked_s = min(rest_s, sum(each.worked_s for each in (asked, answers) if each is not None))
        visit.service_s += worked_s
        visit.own_s += worked_s
        visit.own_network_s += rest_s - worked_s
        return OK
