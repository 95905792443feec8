"""Transport: how long bytes take over one direction of a connection, with TCP's or QUIC's windows and repairs.

::

    100 kB on a new connection, round trip 20 ms          a lost segment
    | 10 | ..ack.. | 20 | ..ack.. | 40 |                  1 2 x 4 5 6 -> acks ask for 3 -> 3: one round trip late
    a window is sent, its acks double it                  1 2 x       -> nothing asks for it: a probe, two round trips or 200 ms
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from sim.values import Duration, PositiveSize, Ratio, Size, Spec

_INF: Final = math.inf
#: Later segments whose acks tell that one is lost (RFC 5681, RFC 9002: packet threshold 3).
_THRESHOLD: Final = 3
#: Times that a segment is sent again; then it counts as there, after a quarter of an hour and more (Linux: tcp_retries2).
_MOST_REPAIRS: Final = 15
#: The place of a segment that does not exist.
_NONE: Final = 2**62


class Transport(Spec):
    """Windows and repairs of a connection. Each profile has its own numbers; what is written here goes over them.

    Not for what decides within a round trip: pacing, delayed acknowledgements, the CPU of the network stack. Streams on one
    connection do not share its window, and two directions know nothing of each other.

    Source: RFC 6928 (initial window of 10), RFC 5681 (slow start, restart after idling), RFC 9438 (CUBIC: decrease to 0.7),
    RFC 8985 (RACK-TLP: a probe after two round trips, 200 ms later if one segment is out), RFC 6298 and Linux' TCP_RTO_MIN
    (200 ms); RFC 9002 (QUIC: probe after a round trip, at least 1 ms and the largest delay of acknowledgements).
    """

    kind: Literal["tcp", "quic"] = Field("tcp", description="whose repairs; tcp delivers in order, also across streams")
    initial_window: Annotated[int, Field(ge=1, le=1000)] = Field(10, description="segments that may be sent before the first ack")
    segment: PositiveSize = Field(1460.0, description="bytes of payload in one segment")
    segment_overhead: Size = Field(40.0, description="bytes of headers around each: IP and TCP, or IP, UDP and QUIC")
    max_window: PositiveSize = Field(6291456.0, description="bytes that are on the way at most, for the receiver's sake")
    stream_window: PositiveSize | None = Field(
        None, description="the same for each request or answer (HTTP/2's flow control); absent: no limit of its own"
    )
    decrease: Ratio = Field(0.7, description="what is left of the window after a loss")
    idle_restart: bool = Field(True, description="whether the window falls back to the initial one after an idle time")
    min_rto: Duration = Field(0.2, description="shortest time after a round trip until TCP sends again unasked")
    max_ack_delay: Duration = Field(0.025, description="longest delay of an acknowledgement that QUIC waits for")

    @property
    def ordered(self) -> bool:
        """Whether what is lost holds up all that was sent after it, on whatever stream (head-of-line blocking)."""
        return self.kind == "tcp"

    def rto_s(self, rtt_s: float) -> float:
        """Time until a segment is sent again for which nothing asks, in seconds, at a steady round-trip time."""
        return rtt_s + (self.min_rto if self.kind == "tcp" else 0.001 + self.max_ack_delay)

    def repaired_s(self, rtt_s: float, later: int, alone: bool) -> float:
        """How much later a lost segment arrives, in seconds: `later` segments were sent after it, or it was `alone`.

        >>> [round(Transport().repaired_s(0.08, later, later == 0), 3) for later in (5, 1, 0)]
        [0.08, 0.1, 0.28]
        """
        if later >= _THRESHOLD:
            return rtt_s
        if later > 0:
            return rtt_s * (1.25 if self.kind == "tcp" else 1.125)
        if self.kind == "tcp" and not alone:
            return min(2 * rtt_s, self.rto_s(rtt_s))
        return self.rto_s(rtt_s)


class Path(NamedTuple):
    """What a message meets on its way: one-way latency and round trip in seconds, bytes per second, share of lost segments."""

    latency_s: float
    rtt_s: float
    bytes_per_s: float = _INF
    loss: float = 0.0


class Delivery(NamedTuple):
    """When a message is there (clock time), how many segments it took, and how many of them were lost at first."""

    arrives_s: float
    segments: int
    lost: int


class Flow:
    """One direction of one connection: its window, and the holes that hold others up.

    Told the time and the odds (`draw`, from 0, 1, 2, ... to uniform numbers), it answers at once. Messages are asked for in the
    order of their sending.

    >>> flow = Flow(Transport())
    >>> path, no_loss = Path(latency_s=0.01, rtt_s=0.02), lambda number: 0.5
    >>> [round(flow.send(0.0, size, path, no_loss).arrives_s, 3) for size in (14_600, 14_601, 100_000)]
    [0.01, 0.01, 0.05]
    """

    __slots__ = ("_holes", "_last_s", "_spec", "_threshold", "window")

    def __init__(self, spec: Transport) -> None:
        self._spec = spec
        self.window = float(spec.initial_window)  # segments
        self._threshold = _INF  # from which on it grows by one per round trip
        self._last_s = -_INF  # when it sent last
        self._holes: list[tuple[float, float]] = []  # from when to when something is missing at the receiver

    def send(self, now_s: float, size: float, path: Path, draw: Callable[[int], float]) -> Delivery:
        """Send a message of `size` bytes now; when all of it is there, in order."""
        spec = self._spec
        if spec.idle_restart and now_s - self._last_s > spec.rto_s(path.rtt_s):
            self.window = min(self.window, float(spec.initial_window))
        count = max(1, math.ceil(size / spec.segment))
        full_s = (spec.segment + spec.segment_overhead) / path.bytes_per_s
        last_size = size - (count - 1) * spec.segment + spec.segment_overhead
        odds = _Odds(path.loss, draw)
        sent, begin_s, done_s, lost = 0, now_s, now_s, 0
        missing = odds.next_lost(0)
        while sent < count:
            burst = min(self._room(), count - sent)
            over_s = begin_s + (burst - 1) * full_s + (full_s if sent + burst < count else last_size / path.bytes_per_s)
            next_s = max(over_s, begin_s + full_s + path.rtt_s)
            hits = lost
            while missing < sent + burst:
                later = burst - 1 - (missing - sent)
                out_s = over_s if later == 0 else begin_s + (missing - sent + 1) * full_s
                repair_s = spec.repaired_s(path.rtt_s, later, count == 1) + odds.again_s(spec.rto_s(path.rtt_s))
                done_s = max(done_s, out_s + path.latency_s + repair_s)
                self._holes.append((out_s + path.latency_s, out_s + path.latency_s + repair_s))
                if later == 0:  # until then no ack lets anything out
                    next_s = max(next_s, out_s + repair_s + path.rtt_s)
                lost += 1
                missing = odds.next_lost(missing + 1)
            self._adapt(burst, lost > hits)
            sent += burst
            begin_s = next_s
        self._last_s = max(self._last_s, over_s)
        done_s = max(done_s, over_s + path.latency_s)
        return Delivery(self._in_order_s(now_s, done_s), count, lost)

    def _room(self) -> int:
        spec = self._spec
        most = spec.max_window if spec.stream_window is None else min(spec.max_window, spec.stream_window)
        return max(1, int(min(self.window, most / spec.segment)))

    def _adapt(self, burst: int, lost: bool) -> None:
        if lost:
            self.window = self._threshold = max(2.0, self.window * self._spec.decrease)
        elif burst >= int(self.window):  # else it was not the window that held it up
            self.window += burst if self.window < self._threshold else 1

    def _in_order_s(self, now_s: float, done_s: float) -> float:
        """When what is there by itself at `done_s` can be read: not while something before it is missing."""
        if not self._holes:
            return done_s
        if not self._spec.ordered:
            self._holes.clear()
            return done_s
        self._holes = [hole for hole in self._holes if hole[1] > now_s]
        return max([done_s, *(until_s for from_s, until_s in self._holes if from_s <= done_s)])


class _Odds:
    """Which segments of a message are lost, from uniform numbers: a few draws, however many segments."""

    __slots__ = ("_draw", "_drawn", "_loss", "_passes")

    def __init__(self, loss: float, draw: Callable[[int], float]) -> None:
        self._loss = loss
        self._draw = draw
        self._drawn = 0
        self._passes = math.log1p(-loss) if 0 < loss < 1 else 0.0

    def _next(self) -> float:
        self._drawn += 1
        return self._draw(self._drawn - 1)

    def next_lost(self, place: int) -> int:
        """The place of the next lost segment, at or after this one."""
        if self._loss <= 0:
            return _NONE
        return place + int(math.log1p(-self._next()) / self._passes) if self._loss < 1 else place

    def again_s(self, rto_s: float) -> float:
        """What it costs that repairs are lost, too."""
        waited_s, times = 0.0, 0
        while times < _MOST_REPAIRS and self._next() < self._loss:
            waited_s += rto_s * 2**times
            times += 1
        return waited_s
