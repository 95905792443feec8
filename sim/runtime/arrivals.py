"""Arrivals: when requests come, from the scenario's load and one random stream.

An open load is a unit-rate Poisson stream pushed through the inverse of the cumulative rate (Çinlar 1975), so two loads
that differ in rate only see the same stream, stretched.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Steps, Waiter
from sim.records import GOOD
from sim.scenario.load import Closed, Daily, Even, Load, Poisson, Ramp, Replay, Spike
from sim.scenario.load import Steps as Stairs
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Tasks
    from sim.runtime.ledger import Ledger
    from sim.runtime.origin import Origin
    from sim.runtime.world import World

_INF = math.inf

_GAP, _ENTRY, _THINK, _THEN, _REQUEST = (salt("arrivals", name) for name in ("gap", "entry", "think", "then", "request"))
_DAILY_PIECES = 96


class Rate:
    """A rate over time, in straight pieces: `knots` are (time, rate before, rate after), in seconds and requests per second."""

    def __init__(self, knots: list[tuple[float, float, float]]) -> None:
        self._times = [time for time, _, _ in knots]
        self._starts = [after for _, _, after in knots]  # rate at the start of the piece that begins here
        self._ends = [before for _, before, _ in knots[1:]]  # rate at its end
        self._sums = [0.0]  # expected arrivals before each knot
        for i, end in enumerate(self._ends):
            length_s = self._times[i + 1] - self._times[i]
            self._sums.append(self._sums[-1] + (self._starts[i] + end) / 2 * length_s)
        self._slope = 0.0
        self._go_to(0)

    def time_of(self, count: float) -> float:
        """The time by which `count` arrivals are expected, in seconds; infinite if the rate ends at zero before that."""
        if not self._before <= count < self._until:
            self._go_to(bisect_right(self._sums, count) - 1)
        left = count - self._before
        if self._until == _INF:
            return self._from_s + left / self._start if self._start > 0 else _INF
        # The positive root of slope/2 · t² + start · t = left, written so that a flat piece is no special case.
        root = math.sqrt(max(0.0, self._start * self._start + 2 * self._slope * left))
        return self._from_s + (2 * left / (self._start + root) if left > 0 else 0.0)

    def _go_to(self, piece: cython.long) -> None:
        """Keep one piece at hand: almost always the next arrival is in the same."""
        self._before = self._sums[piece]  # arrivals before it
        self._from_s = self._times[piece]
        self._start = self._starts[piece]
        self._until = _INF
        if piece < len(self._ends):
            self._until = self._sums[piece + 1]
            self._slope = (self._ends[piece] - self._start) / (self._times[piece + 1] - self._from_s)


def rate_of(load: Load) -> Rate:
    """The rate over time that an open load describes."""
    match load:
        case Poisson(rate=rate) | Even(rate=rate):
            return Rate([(0.0, rate, rate)])
        case Stairs(points=points):
            rates = [point.rate for point in points]
            return Rate([(p.at, before, p.rate) for p, before in zip(points, [rates[0], *rates], strict=False)])
        case Ramp(points=points):
            return Rate([(p.at, p.rate, p.rate) for p in points])
        case Spike(rate=rate, peak=peak, at=at, for_=length):
            burst = [(at, rate, peak), (at + length, peak, rate)]
            return Rate(burst if at == 0 else [(0.0, rate, rate), *burst])
        case _:
            raise TypeError(f"{load!r} is not an open load with a rate")


def _day(load: Daily, end_s: float) -> Rate:
    step_s = load.period / _DAILY_PIECES
    pieces = int(math.ceil(end_s / step_s))  # noqa: RUF046 - compiled, ceil is C's and gives a float
    times = [i * step_s for i in range(pieces + 2)]
    rates = [load.rate * (1 + load.swing * math.cos(2 * math.pi * (t - load.peak_at) / load.period)) for t in times]
    return Rate([(t, r, r) for t, r in zip(times, rates, strict=True)])


class OpenTimes:
    """Clock times of the arrivals of an open load before `end_s`, one after the other, in seconds."""

    def __init__(self, load: Load, seed: int, end_s: float) -> None:
        self._end_s = end_s
        self._recorded: Sequence[float] | None = None
        self._number = 0
        self._count = 0.0
        if isinstance(load, Replay):
            assert not isinstance(load.times, str)
            self._recorded = load.times
            return
        self._rate = _day(load, end_s) if isinstance(load, Daily) else rate_of(load)
        self._even = isinstance(load, Even) or getattr(load, "arrivals", "poisson") == "even"
        self._stream = child(key(seed, "arrivals"), _GAP)

    def next_s(self) -> float:
        """Time of the next arrival, in seconds; infinite after the last."""
        number = self._number
        self._number += 1
        if self._recorded is not None:
            time_s: float = self._recorded[number] if number < len(self._recorded) else _INF
        else:
            self._count += 1.0 if self._even else -math.log1p(-uniform(child(self._stream, number)))
            time_s = self._rate.time_of(self._count)
        return time_s if time_s < self._end_s else _INF


class _Arrivals(Waiter):
    """An open load: an entry of the event loop's heap that wakes for every arrival, and once more at the end of the load."""

    __slots__ = ("_end_s", "_next_s", "_number", "_source", "_tasks", "_times")

    def __init__(self, source: Source, times: OpenTimes, tasks: Tasks, end_s: float) -> None:
        self.clear()
        self._tasks = tasks
        self._source = source
        self._times = times
        self._end_s = end_s
        self._number = 0
        self._next_s = times.next_s()

    def fire(self) -> None:
        """An arrival is due, or the end."""
        self._tasks.wake(self, None)

    def advance(self, value: Any) -> None:
        """Let come what is due, then sleep until the next arrival or the end."""
        now_s = self._tasks.now_s()
        while self._next_s <= now_s:
            self._source.issue(self._number)
            self._number += 1
            self._next_s = self._times.next_s()
        wakes_s = min(self._next_s, self._end_s)
        if wakes_s > now_s:
            self._tasks.schedule(self, wakes_s)
        else:
            self._source.ended()


class Source:
    """Issues requests until the end of the load."""

    def __init__(self, world: World, load: Load, end_s: float) -> None:
        self._load = load
        self._end_s = end_s
        self._seed = world.seed
        self._tasks: Tasks = world.tasks
        self._ledger: Ledger = world.ledger
        self._stream = key(world.seed, "arrivals")
        self._clients = load.clients
        total = sum(load.mix.values())
        self._origins = [world.origins[address] for address in load.mix]
        self._shares = [weight / total for weight in load.mix.values()]
        then = load.then if isinstance(load, Closed) else {}
        self._then = {world.origins[a]: [(share, world.origins[b]) for b, share in led.items()] for a, led in then.items()}

    def start(self) -> None:
        """Begin; the ledger is told when no more requests will come."""
        load = self._load
        if isinstance(load, Closed):
            running = [self._user(load, child(child(self._stream, _THINK), user), user) for user in range(load.users)]
            self._ledger.sources = len(running)
            for user in running:
                self._tasks.start(user)
        else:
            self._ledger.sources = 1
            self._tasks.enter(_Arrivals(self, OpenTimes(load, self._seed, self._end_s), self._tasks, self._end_s))

    def issue(self, number: cython.long) -> None:
        """Let the next request of an open load arrive."""
        request_key = child(child(self._stream, _REQUEST), number)
        self._entry(request_key).issue(request_key, number % self._clients)

    def ended(self) -> None:
        """No more requests come from an open load."""
        self._ledger.source_ended()

    def _user(self, load: Closed, user_key: cython.ulonglong, user: cython.long) -> Steps:
        tasks = self._tasks
        number: cython.long = 0
        while True:
            request_key = child(user_key, number)
            think_s = load.think.draw(child(request_key, _THINK))
            if tasks.now_s() + think_s >= self._end_s:
                break
            if think_s > 0:
                yield think_s
            began_s = tasks.now_s()
            origin: Origin | None = self._entry(request_key)
            while origin is not None:
                request = origin.issue(request_key, user % self._clients)
                if not request.settled:
                    yield request
                outcome: cython.int = request.value
                origin = self._led_to(origin, request_key) if outcome in GOOD and tasks.now_s() < self._end_s else None
                number += 1
                request_key = child(user_key, number)
            if think_s == 0 and tasks.now_s() == began_s:
                # A free and instant service would stop the clock; real users take at least a moment.
                yield 0.001
        if self._end_s > tasks.now_s():
            yield self._end_s - tasks.now_s()
        self._ledger.source_ended()

    def _entry(self, request_key: cython.ulonglong) -> Origin:
        """Which page a request asks for, by its share of the mix."""
        u = uniform(child(request_key, _ENTRY))
        last = len(self._shares) - 1
        for place in range(last):
            share: cython.double = self._shares[place]
            if u < share:
                return self._origins[place]
            u -= share
        return self._origins[last]

    def _led_to(self, origin: Origin, request_key: cython.ulonglong) -> Origin | None:
        """Which page a good answer leads to at once; None if the user pauses."""
        u = uniform(child(request_key, _THEN))
        for share, following in self._then.get(origin, ()):
            if u < share:
                return following
            u -= share
        return None
