"""How long bytes take over one direction of a connection, with TCP's or QUIC's windows and repairs.

::

    100 kB on a new connection, round trip 20 ms          a lost segment
    | 10 | ..ack.. | 20 | ..ack.. | 40 |                  1 2 x 4 5 6 -> acks ask for 3 -> 3: one round trip late
    a window is sent, its acks double it                  1 2 x       -> nothing asks for it: a probe, two round trips or 200 ms
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sim.policies.transport import REORDERED

if TYPE_CHECKING:
    import cython

    from sim.policies.transport import Transport

_INF: Final = math.inf
_REORDERED: Final = REORDERED
#: Times that a segment is sent again; then it counts as there, after a quarter of an hour and more (Linux: tcp_retries2).
_MOST_REPAIRS: Final = 15
#: The largest window that an estimate leads to (grpc-go: bdpLimit).
_MOST_ESTIMATED: Final = 16.0 * 2**20
#: Rounding of times, in seconds, and of sums.
_A_MOMENT_S: Final = 1e-9
_ROUNDING: Final = 1e-9


class Path(NamedTuple):
    """What a message meets on its way: one-way latency and round trip in seconds, bytes per second, share of lost segments."""

    latency_s: float
    rtt_s: float
    bytes_per_s: float = _INF
    loss: float = 0.0


class Hole:
    """What is missing at a receiver, from when to when. What is sent after it shows that sooner than a timeout does.

    ::

        lost . . later . . . . ack of the later one: sent again . . there         (1.25 round trips after the lost one at least)
        lost . . . . . . . . . . . . . . . . . . . . . . . . timeout: sent again . . there

    Only what was sent last of a message waits for that; of others the message itself tells. `waiter` is whoever waits for it.
    """

    __slots__ = ("again_s", "from_s", "later", "left_s", "not_before_s", "until_s", "waiter")

    def __init__(self, from_s: float, until_s: float, left_s: float = _INF, again_s: float = 0.0) -> None:
        self.from_s = from_s
        self.until_s = until_s
        self.left_s = left_s  # when it was sent; infinity where nothing sent later changes anything
        self.again_s = again_s  # what it takes because repairs are lost as well
        self.later = 0  # segments sent after it
        self.not_before_s = 0.0  # when the rest of its message can be read
        self.waiter: Any = None

    def shown(self, now_s: float, count: cython.long, latency_s: float, rtt_s: float, patience: float) -> cython.bint:
        """So many segments are sent after it; whether their acks repair it sooner than was known."""
        if self.left_s == _INF:
            return False
        self.later += count
        told_s = now_s + rtt_s
        if self.later < _REORDERED:
            told_s = max(told_s, self.left_s + patience * rtt_s)
        until_s = told_s + latency_s + self.again_s
        if until_s >= self.until_s:
            return False
        self.until_s = until_s
        return True


class Delivery(NamedTuple):
    """When a message is there (clock time), how many segments it took, and how many of them were lost at first."""

    arrives_s: float
    segments: int
    lost: int


class Flow:
    """One direction of one connection: its window, and the holes that hold others up.

    ::

        segments   a a a a   a a a b b b c   c c c ...        window by window; b begins where a ends, with what a leaves
        with d     a a a a   a a d a d a     a a a ...        a small one that comes later takes turns with the large one

    Told the time and the odds (`draw`, from 0, 1, 2, ... to uniform numbers), it answers at once. Messages are asked for in the
    order of their sending.

    >>> from sim.policies.transport import Transport
    >>> path, no_loss = Path(latency_s=0.01, rtt_s=0.02), lambda number: 0.5
    >>> [round(Flow(Transport()).send(0.0, size, path, no_loss).arrives_s, 3) for size in (14_600, 14_601, 100_000)]
    [0.01, 0.03, 0.05]
    >>> flow = Flow(Transport())
    >>> [round(flow.send(0.0, size, path, no_loss).arrives_s, 3) for size in (14_600, 14_601, 100_000)]  # together
    [0.01, 0.03, 0.07]
    """

    __slots__ = (
        "_burst", "_burst_before", "_burst_s", "_coming", "_estimates", "_filled", "_flights", "_flying", "_holes", "_in_flight",
        "_in_parts", "_initial", "_last_s", "_messages", "_most", "_of_parts", "_ordered", "_overhead", "_patience_s", "_planned",
        "_repaired_s", "_restarts", "_ridden_s", "_sample", "_sample_until_s", "_segment", "_spec", "_threshold", "_train_s",
        "_turn_s", "_wider_s", "connection_window", "lost", "sooner", "stream_window", "tail", "window",
    )  # fmt: skip

    def __init__(self, spec: Transport) -> None:
        self._spec = spec
        self._segment, self._overhead = spec.segment, spec.segment_overhead
        self._most = spec.max_window / spec.segment
        self.stream_window = _window(spec.stream_window)  # bytes of flow control
        self.connection_window = _window(spec.connection_window)
        self._estimates = spec.window_estimation
        # Bytes of the latest flights of whole messages whose acks came back together, when that was, and of those before them.
        self._burst, self._burst_s, self._burst_before = 0.0, -_INF, 0.0
        self._coming = 0.0  # bytes of streams that come within the round trip that ends at `_sample_until_s`
        self._sample_until_s = -_INF
        self._sample = 0.0  # bytes that came within the one before, of which the sender learns at `_wider_s`
        self._wider_s = _INF
        # What is on its way, a heap: when acks are back, number, bytes in segments, whether they are a part of a stream.
        self._flying: list[tuple[float, int, float, bool]] = []
        self._flights = 0  # so far
        self._in_flight = 0.0  # bytes that are on their way, in segments: a small message does not take a whole one
        self._of_parts = 0.0  # those of parts of streams, which have credits for flow control
        self._filled = 0  # number of the last flight that filled the window
        self._in_parts = False  # whether what is being sent is a part of a stream, which knows its windows
        self._turn_s = -_INF  # when the next message may begin: what came before it has been sent
        self._messages = 0  # so far
        self._planned: list[tuple[float, int, int]] = []  # flights that begin later: when, of which message, segments
        self._ridden_s = -_INF  # when those of a message have gone that go with the flights of others
        self._repaired_s = -_INF  # when the last one is there that was lost of the message that is being sent
        self._train_s = -_INF  # when the acks of the latest flight are back, if another may follow it closely
        self._initial = float(spec.initial_window)
        self._restarts = spec.idle_restart
        self._patience_s = spec.rto_s(0.0)
        self._ordered = spec.ordered
        self.window = self._initial  # segments
        self._threshold = _window(spec.slow_start_limit)  # from which on it grows by one per round trip
        self._last_s = -_INF  # when it sent last
        self._holes: list[Hole] = []
        self.sooner: list[Hole] = []  # those that the last message showed to its sender
        self.tail: Hole | None = None  # the last segment of the last message, if it was lost
        self.lost = 0  # segments of the last message that were lost at first

    def send(self, now_s: float, size: float, path: Path, draw: Callable[[int], float]) -> Delivery:
        """Send a message of `size` bytes now; when all of it is there, in order."""
        arrives_s = self.arrives_s(now_s, size, *path, draw)
        return Delivery(arrives_s, self.segments(size), self.lost)

    def segments(self, size: float) -> cython.long:
        """How many segments a message of `size` bytes takes."""
        whole: cython.long = int(size / self._segment)
        return max(1, whole + (whole * self._segment < size))

    def arrives_s(
        self,
        now_s: float,
        size: float,
        latency_s: float,
        rtt_s: float,
        bytes_per_s: float,
        loss: float,
        draw: Callable[[int], float],
    ) -> float:
        """What `send` does, as a C call: only when all of it is there."""
        count = self.segments(size)
        full_s = (self._segment + self._overhead) / bytes_per_s
        last_s = (size - (count - 1) * self._segment + self._overhead) / bytes_per_s
        odds = None if loss <= 0 else _Odds(loss, draw)
        self.lost, self.tail, self._repaired_s = 0, None, -_INF
        sent = self._ride(now_s, count, full_s) if self._planned else 0
        begin_s = max(now_s, self._turn_s)
        self._acked(begin_s)
        if self._restarts and begin_s - self._last_s > rtt_s + self._patience_s:
            self.window = min(self.window, self._initial)
        if self._holes:
            self._show(now_s if sent else begin_s, count, latency_s, rtt_s)
        over_s = begin_s
        if sent:
            over_s = self._ridden_s
            if odds is not None:
                self._lose(odds, 0, sent, count, _REORDERED, now_s, over_s, full_s, latency_s, rtt_s)
            if self._in_parts:
                self._fly(now_s, over_s, over_s + rtt_s, min(sent * self._segment, size), self.lost > 0)
        alone, last = False, size / self._segment - (count - 1)  # what of a segment the last one fills
        self._messages += 1
        while sent < count:
            begin_s = self._has_room_s(begin_s, count - sent, last)
            room, most = self._room(count - sent, last), self._of_stream()
            alone = alone or most < room
            burst = max(1, min(room, most, count - sent))
            over_s = begin_s + (burst - 1) * full_s + (full_s if sent + burst < count else last_s)
            acked_s = begin_s + (full_s if sent + 1 < count else last_s) + rtt_s
            if begin_s <= self._last_s and begin_s < self._train_s:
                acked_s = self._train_s  # it follows closely: one train with what went before
            next_s, before = max(over_s, acked_s), self.lost
            if odds is not None:
                next_s = max(next_s, self._lose(odds, sent, burst, count, 0, begin_s, over_s, full_s, latency_s, rtt_s))
            if begin_s > now_s and not alone:
                self._planned.append((begin_s, self._messages, burst))
            out = min(burst * self._segment, size - sent * self._segment)
            self._fly(begin_s, over_s, over_s + rtt_s if self._in_parts else acked_s, out, self.lost > before)
            sent += burst
            if not alone:  # the window of a stream holds up nobody else
                self._turn_s = over_s
            begin_s = next_s
        return self._there_s(now_s, max(self._repaired_s, over_s + latency_s))

    def _ride(self, now_s: float, count: cython.long, full_s: float) -> cython.long:
        """How many segments of a new message go with those of others that are planned, and until when (`_ridden_s`).

        Messages on one connection take turns, segment by segment. So of each other one no more goes before the last segment of
        this one than it has itself. What was said of the others stays: that they give way is not held against them.
        """
        self._planned = [flight for flight in self._planned if flight[0] > now_s]
        left: dict[int, int] = {}
        for _, message, segments in self._planned:
            left[message] = left.get(message, 0) + segments
        before: cython.long = sum(min(segments, count) for segments in left.values())
        rides: cython.long = max(0, min(count, sum(left.values()) - before))
        carried: cython.long = before + rides
        for begin_s, _, segments in self._planned if rides else ():
            if carried <= segments:
                self._ridden_s = begin_s + carried * full_s
                break
            carried -= segments
        return rides

    def _lose(
        self, odds: _Odds, sent: cython.long, burst: cython.long, count: cython.long, others: cython.long, begin_s: float,
        over_s: float, full_s: float, latency_s: float, rtt_s: float,
    ) -> float:  # fmt: skip
        """Note what is lost of a burst, after which so many segments of others go; return when acks let out more after it."""
        next_s = -_INF
        while odds.missing < sent + burst:
            place = odds.missing - sent
            later = burst - 1 - place + others
            out_s = over_s if place == burst - 1 else begin_s + (place + 1) * full_s
            again_s = odds.again_s(self._spec.rto_s(rtt_s))
            repair_s = self._spec.repaired_s(rtt_s, later, count == 1) + again_s
            hole = Hole(out_s + latency_s, out_s + latency_s + repair_s)
            if later == 0 and sent + burst == count:
                self.tail = hole
                hole.left_s, hole.again_s = out_s, again_s
            else:
                self._repaired_s = max(self._repaired_s, hole.until_s)
                self._holes.append(hole)
            if later == 0:  # until then no ack lets anything out
                next_s = max(next_s, out_s + repair_s + rtt_s)
            self.lost += 1
            odds.pass_on()
        return next_s

    def _there_s(self, now_s: float, done_s: float) -> float:
        """When a message is there of which all but its last segment, if that was lost, is there by itself at `done_s`."""
        there_s = self._in_order_s(now_s, done_s)
        tail = self.tail
        if tail is None:
            return there_s
        tail.not_before_s = there_s
        self._holes.append(tail)
        return max(there_s, tail.until_s)

    def _show(self, now_s: float, count: cython.long, latency_s: float, rtt_s: float) -> None:
        """A message is sent after what was lost: its acks show the loss."""
        patience = 1.25 if self._ordered else 1.125  # in round trips, for what may only be out of order (RACK, QUIC)
        self.sooner = [hole for hole in self._holes if hole.shown(now_s, count, latency_s, rtt_s, patience)]

    def room(self, now_s: float) -> float:
        """Bytes that the congestion window lets out now, beside what is on its way."""
        if now_s >= self._wider_s:
            self._wider_s = _INF
            self._widen(self._sample)
        self._acked(now_s)
        # Beside a message that has flights to come, it is not known here how much of it is on its way.
        beside = self._of_parts if self._planned and self._planned[-1][0] > now_s else self._in_flight
        return max(0.0, min(int(self.window), self._most) - beside) * self._segment

    def room_s(self) -> float:
        """When there will be more, if the parts on their way are what holds others up."""
        return self._flying[0][0] if self._flying else _INF

    def part_s(
        self,
        now_s: float,
        size: float,
        latency_s: float,
        rtt_s: float,
        bytes_per_s: float,
        loss: float,
        draw: Callable[[int], float],
    ) -> float:
        """When a part of a stream is there, for which there is `room`."""
        self._in_parts = True
        arrives_s = self.arrives_s(now_s, size, latency_s, rtt_s, bytes_per_s, loss, draw)
        self._in_parts = False
        if self._estimates:
            self._estimate(arrives_s, size, latency_s, rtt_s)
        return arrives_s

    def _estimate(self, arrives_s: float, size: float, latency_s: float, rtt_s: float) -> None:
        """See what comes within a round trip; a way back later the sender learns of a wider window."""
        if arrives_s < self._sample_until_s - _A_MOMENT_S:
            self._coming += size
            return
        self._sample, self._wider_s = self._coming, self._sample_until_s + latency_s
        self._coming, self._sample_until_s = size, arrives_s + rtt_s

    def _widen(self, sample: float) -> None:
        window = min(self.stream_window, self.connection_window)
        if sample > 2 / 3 * window:
            window = min(_MOST_ESTIMATED, max(sample, 2 * window))
            self.stream_window = max(self.stream_window, window)
            self.connection_window = max(self.connection_window, window)

    def _grow(self, acked: float, later: float) -> None:
        """Open the window by what was acknowledged, up to where slow start ends; then by less."""
        if self.window < self._threshold:
            self.window = min(self.window + acked, self._threshold)
        else:
            self.window += later

    def _acked(self, now_s: float) -> None:
        """Acks that are back by now let the windows grow, if these were what held others up."""
        while self._flying and self._flying[0][0] <= now_s:
            back_s, number, amount, is_part = heappop(self._flying)
            self._in_flight = self._in_flight - amount if self._flying else 0.0  # without what rounding leaves
            if number <= self._filled:
                self._grow(amount, amount / int(self.window))
            if is_part:
                self._of_parts -= amount
            elif self._estimates:
                self._see(back_s, amount * self._segment)

    def _see(self, back_s: float, size: float) -> None:
        """What a whole message finds is like what streams do: a wider window every second round trip."""
        if back_s == self._burst_s:
            self._burst += size
        else:
            self._burst_before, self._burst, self._burst_s = self._burst, size, back_s
        self._widen(min(self._burst_before, self._burst))

    def _has_room_s(self, now_s: float, left: cython.long, last: float) -> float:
        """When the next segment may go: now, or when enough of what is on its way is acknowledged."""
        self._acked(now_s)
        while self._flying and self._room(left, last) < 1:
            now_s = max(now_s, self._flying[0][0])
            self._acked(now_s)
        return now_s

    def _room(self, left: cython.long, last: float) -> cython.long:
        """How many of the segments that are left, the last of them not whole, the connection's windows let out now."""
        free: cython.double = min(int(self.window), self._most)
        if not self._in_parts:  # else there is room, as it was asked for
            unread: cython.double = self._in_flight - self._of_parts
            free = min(free - self._in_flight, self.connection_window / self._segment - unread)
        free += _ROUNDING
        return left if left - 1 + last <= free else int(free)

    def _of_stream(self) -> cython.long:
        """Segments that a stream's own window lets out in a round trip."""
        return int(min(self._most, self.stream_window / self._segment))

    def _fly(self, begin_s: float, over_s: float, acked_s: float, size: float, lost: cython.bint) -> None:
        """So many bytes are on their way."""
        amount: cython.double = size / self._segment
        self._train_s = -_INF if lost or self._in_parts else acked_s
        self._last_s = max(self._last_s, over_s)
        self._flights += 1
        self._in_flight += amount
        if self._in_parts:
            self._of_parts += amount
        heappush(self._flying, (acked_s, self._flights, amount, self._in_parts))
        if lost:
            self.window = self._threshold = max(2.0, self.window * self._spec.decrease)
        elif int(self.window) - self._in_flight < 1 - _ROUNDING:  # else it was not the window that held it up
            self._filled = self._flights

    def _in_order_s(self, now_s: float, done_s: float) -> float:
        """When what is there by itself at `done_s` can be read: not while something before it is missing."""
        if not self._holes:
            return done_s
        self._holes = [hole for hole in self._holes if hole.until_s > now_s]
        readable_s = done_s
        for hole in self._holes if self._ordered else ():
            if hole.from_s <= done_s:
                readable_s = max(readable_s, hole.until_s)
        return readable_s


def _window(limit: float | None) -> float:
    return _INF if limit is None else limit


class Credit:
    """A window of flow control: bytes that a sender may have on the way, until their reader gives them back.

    >>> credit = Credit()
    >>> credit.take(60_000); credit.give_back(0.08, 60_000)
    >>> credit.left(0.05, window=65_535), credit.left(0.08, window=65_535), credit.next_s()
    (5535.0, 65535.0, inf)
    """

    __slots__ = ("_back", "_out")

    def __init__(self) -> None:
        self._out = 0.0
        self._back: list[tuple[float, float]] = []  # a heap: when the sender learns of how many bytes

    def left(self, now_s: float, window: float) -> float:
        """Bytes that may be sent now."""
        while self._back and self._back[0][0] <= now_s:
            self._out -= heappop(self._back)[1]
        return window - self._out

    def take(self, size: float) -> None:
        """So many bytes are sent."""
        self._out += size

    def give_back(self, at_s: float, size: float) -> None:
        """The sender learns at this time that they were read."""
        heappush(self._back, (at_s, size))

    def next_s(self) -> float:
        """When there will be more; infinity if nobody reads."""
        return self._back[0][0] if self._back else _INF


class _Odds:
    """Which segments of a message are lost, from uniform numbers: a few draws, however many segments."""

    __slots__ = ("_draw", "_drawn", "_loss", "_passes", "missing")

    def __init__(self, loss: float, draw: Callable[[int], float]) -> None:
        self._loss = loss
        self._draw = draw
        self._drawn = 0
        self._passes = math.log1p(-loss) if loss < 1 else 0.0
        self.missing = self._lost_from(0)  # the place of the next one that is lost

    def pass_on(self) -> None:
        """Look for the next one."""
        self.missing = self._lost_from(self.missing + 1)

    def _next(self) -> float:
        self._drawn += 1
        return self._draw(self._drawn - 1)

    def _lost_from(self, place: cython.long) -> cython.long:
        return place + int(math.log1p(-self._next()) / self._passes) if self._loss < 1 else place

    def again_s(self, rto_s: float) -> float:
        """What it costs that repairs are lost, too."""
        waited_s, times = 0.0, 0
        while times < _MOST_REPAIRS and self._next() < self._loss:
            waited_s += rto_s * 2**times
            times += 1
        return waited_s
