"""Arrivals: when requests come, from the scenario's load and one random stream.

An open load is a unit-rate Poisson stream pushed through the inverse of the cumulative rate (Çinlar 1975), so two loads
that differ in rate only see the same stream, stretched.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.scenario.load import Closed, Daily, Even, Load, Poisson, Ramp, Replay, Spike, Steps
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    from sim.kernel.tasks import Steps as TaskSteps
    from sim.runtime.world import World

_GAP, _ENTRY, _THINK, _REQUEST = (salt("arrivals", name) for name in ("gap", "entry", "think", "request"))
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

    def time_of(self, count: float) -> float:
        """The time by which `count` arrivals are expected, in seconds; infinite if the rate ends at zero before that."""
        piece = bisect_right(self._sums, count) - 1
        left, start = count - self._sums[piece], self._starts[piece]
        if piece == len(self._ends):
            return self._times[-1] + left / start if start > 0 else math.inf
        length_s = self._times[piece + 1] - self._times[piece]
        slope = (self._ends[piece] - start) / length_s
        # The positive root of slope/2 · t² + start · t = left, written so that a flat piece is no special case.
        root = math.sqrt(max(0.0, start * start + 2 * slope * left))
        return self._times[piece] + (2 * left / (start + root) if left > 0 else 0.0)


def rate_of(load: Load) -> Rate:
    """The rate over time that an open load describes."""
    match load:
        case Poisson(rate=rate) | Even(rate=rate):
            return Rate([(0.0, rate, rate)])
        case Steps(points=points):
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
    times = [i * step_s for i in range(math.ceil(end_s / step_s) + 2)]
    rates = [load.rate * (1 + load.swing * math.cos(2 * math.pi * (t - load.peak_at) / load.period)) for t in times]
    return Rate([(t, r, r) for t, r in zip(times, rates, strict=True)])


def open_times(load: Load, seed: int, end_s: float) -> Iterator[float]:
    """Clock times of all arrivals of an open load before `end_s`, in seconds."""
    if isinstance(load, Replay):
        assert not isinstance(load.times, str)
        yield from (time for time in load.times if time < end_s)
        return
    rate = _day(load, end_s) if isinstance(load, Daily) else rate_of(load)
    even = isinstance(load, Even) or getattr(load, "arrivals", "poisson") == "even"
    stream = key(seed, "arrivals")
    count, number = 0.0, 0
    while True:
        count += 1.0 if even else -math.log1p(-uniform(child(child(stream, _GAP), number)))
        time = rate.time_of(count)
        if time >= end_s:
            return
        yield time
        number += 1


class Source:
    """Issues requests until the end of the load."""

    def __init__(self, world: World, load: Load, end_s: float) -> None:
        self._world = world
        self._load = load
        self._end_s = end_s
        self._stream = key(world.seed, "arrivals")
        total = sum(load.mix.values())
        self._entries = [(address, weight / total) for address, weight in load.mix.items()]

    def start(self) -> None:
        """Begin; the ledger is told when no more requests will come."""
        load = self._load
        if isinstance(load, Closed):
            running = [self._user(load, child(child(self._stream, _THINK), user), user) for user in range(load.users)]
            self._world.ledger.sources = len(running)
            for user in running:
                self._world.tasks.start(user)
        else:
            self._world.ledger.sources = 1
            self._world.tasks.start(self._open())

    def _open(self) -> TaskSteps:
        world = self._world
        for number, time in enumerate(open_times(self._load, world.seed, self._end_s)):
            if time > world.now:
                yield time - world.now
            world.tasks.start(self._ask(number))
        if self._end_s > world.now:
            yield self._end_s - world.now
        world.ledger.source_ended()

    def _ask(self, number: int) -> TaskSteps:
        request_key = child(child(self._stream, _REQUEST), number)
        entry = self._entry(uniform(child(request_key, _ENTRY)))
        return self._world.request(entry, request_key, number % self._load.clients)

    def _user(self, load: Closed, user_key: int, user: int) -> TaskSteps:
        world, number = self._world, 0
        while True:
            request_key = child(user_key, number)
            think_s = load.think.draw(child(request_key, _THINK))
            if world.now + think_s >= self._end_s:
                break
            if think_s > 0:
                yield think_s
            began_s = world.now
            entry = self._entry(uniform(child(request_key, _ENTRY)))
            yield from world.request(entry, request_key, user % load.clients)
            if think_s == 0 and world.now == began_s:
                # A free and instant service would stop the clock; real users take at least a moment.
                yield 0.001
            number += 1
        if self._end_s > world.now:
            yield self._end_s - world.now
        world.ledger.source_ended()

    def _entry(self, u: float) -> str:
        for address, share in self._entries:
            if u < share:
                return address
            u -= share
        return self._entries[-1][0]
