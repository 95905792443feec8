"""Adaptive concurrency: a limit on calls at once that is found from latencies and losses instead of being chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.policies.kinds import refuse_foreign
from sim.values import Duration, PositiveDuration, Ratio, Spec

if TYPE_CHECKING:
    import cython

Algorithm = Literal["gradient", "gradient2", "vegas", "aimd"]

_NETFLIX: Final = ("gradient2", "vegas", "aimd")
_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "update_interval": ("gradient",),
    "sample_percentile": ("gradient",),
    "min_rtt": ("gradient",),
    "min_rtt_interval": ("gradient",),
    "min_rtt_calls": ("gradient",),
    "min_rtt_pins": ("gradient",),
    "jitter_ratio": ("gradient",),
    "buffer_ratio": ("gradient",),
    "rtt_tolerance": ("gradient2",),
    "queue_size": ("gradient2",),
    "long_window_calls": ("gradient2",),
    "smoothing": ("gradient2", "vegas"),
    "probe_multiplier": ("vegas",),
    "backoff_ratio": ("aimd",),
    "drop_after": ("aimd",),
    "window": _NETFLIX,
    "window_calls": _NETFLIX,
}
#: Initial, smallest and largest limit where nothing else is written.
_LIMITS: Final[dict[Algorithm, tuple[int, int, int]]] = {
    "gradient": (3, 3, 1000),
    "gradient2": (20, 20, 200),
    "vegas": (20, 1, 1000),
    "aimd": (20, 20, 200),
}


def _not_written(spec: AdaptiveConcurrency) -> str:
    """Which of two limits that contradict each other is the algorithm's own, for a message."""
    usual = [name for name in ("min_limit", "max_limit") if getattr(spec, name) is None]
    return f", {usual[0]} being the usual one of {spec.algorithm}; write it, too" if usual else ""


class AdaptiveConcurrency(Spec):
    """A limit L on calls at once that grows while answers come as fast as they can, and shrinks when they queue.

    ::

        gradient   g = clamp(min_rtt·(1 + buffer) / p50, 0.5, 2)     every interval  L = g·L + √(g·L)
        gradient2  g = clamp(1.5·long_rtt / rtt, 0.5, 1)             every answer    L = 0.8·L + 0.2·(g·L + 4)
        vegas      q = ⌈L·(1 - min_rtt / rtt)⌉, l = log10 L         every answer    q <= l: L + 6l    q < 3l: L + l
                                                                                     q > 6l, or lost: L - l
        aimd                                                         every answer    lost, or > 5 s: 0.9·L    else L + 1

    `gradient` (Envoy) measures the undisturbed round trip anew every `min_rtt_interval`: L is pinned to its minimum until
    `min_rtt_calls` calls that began since have been answered, and what exceeds it is refused meanwhile. It does so as well after
    five intervals in a row at the minimum. `gradient2` (Netflix) compares with a slow average and needs no such pause; `vegas`
    takes the fastest answer seen, and takes any answer for it now and then; `aimd` looks at losses alone. The Netflix rules do
    not grow while less than half of L is in use.

    When not: for calls whose latency says nothing of load (long polls, mixed work of very different length), at rates too low
    to fill a window, and where every retry of what is refused comes back at once.

    Source: envoy@1.40 `gradient_controller.cc` (its histogram is exact here); Netflix concurrency-limits, 2026-01,
    `Gradient2Limit`, `VegasLimit`, `AIMDLimit`, `WindowedLimit`.
    """

    algorithm: Algorithm = Field(description="gradient (Envoy); gradient2, vegas, aimd (Netflix)")
    initial_limit: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: the minimum for gradient, else 20")
    min_limit: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: 3 gradient, 20 gradient2 and aimd, 1 vegas")
    max_limit: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: 1000 gradient and vegas, 200 others")

    update_interval: PositiveDuration = Field(0.1, description="gradient: how often the limit is computed anew")
    sample_percentile: Annotated[float, Field(gt=0, le=100)] = Field(50.0, description="gradient: of an interval's latencies")
    min_rtt: PositiveDuration | None = Field(None, description="gradient: the undisturbed round trip; absent: it is measured")
    min_rtt_interval: PositiveDuration = Field(60.0, description="gradient: pause between two measurements of it")
    min_rtt_calls: Annotated[int, Field(ge=1)] = Field(50, description="gradient: calls that a measurement waits for")
    min_rtt_pins: bool = Field(
        True,
        description="gradient: whether the limit is at its minimum during a measurement; "
        "no is Envoy's rule where min_concurrency_limit is set",
    )
    jitter_ratio: Ratio = Field(0.15, description="gradient: how much longer, at most, the pause between measurements may be")
    buffer_ratio: Ratio = Field(0.25, description="gradient: how much slower than undisturbed is still no queueing")

    rtt_tolerance: Annotated[float, Field(ge=1)] = Field(1.5, description="gradient2: how much slower than usual is no queueing")
    queue_size: Annotated[int, Field(ge=0)] = Field(4, description="gradient2: how much the limit may grow at a time")
    long_window_calls: Annotated[int, Field(ge=1)] = Field(600, description="gradient2: calls that make up the usual round trip")
    smoothing: Ratio | None = Field(None, description="weight of the new limit against the old; absent: 0.2 gradient2, 1 vegas")
    probe_multiplier: Annotated[int, Field(ge=1)] = Field(
        30, description="vegas: the fastest answer is forgotten after 0.5 to 1 times this many times the limit"
    )
    backoff_ratio: Annotated[float, Field(ge=0.5, lt=1)] = Field(0.9, description="aimd: factor after a loss")
    drop_after: PositiveDuration = Field(5.0, description="aimd: an answer slower than this counts as a loss")

    window: Duration = Field(
        0.0, description="Netflix: answers are averaged over this time first (WindowedLimit: 1s); 0: each one counts"
    )
    window_calls: Annotated[int, Field(ge=1)] = Field(10, description="Netflix: a window with fewer answers is thrown away")

    @model_validator(mode="after")
    def _fits(self) -> AdaptiveConcurrency:
        where = "adaptive_concurrency"
        refuse_foreign(self, where, self.algorithm, _OWNERS)
        if self.window == 0:
            refuse_foreign(self, where, "answers taken one by one (window = 0)", {"window_calls": ("windows",)})
        if self.min_rtt is not None:
            measured = {"min_rtt_interval", "min_rtt_calls", "min_rtt_pins", "jitter_ratio"}
            refuse_foreign(self, where, "a fixed min_rtt", dict.fromkeys(sorted(measured), ("a measured one",)))
        for name in ("update_interval", "min_rtt_interval"):
            if getattr(self, name) < 0.001:
                raise ValueError(f"{where}: {name} = {getattr(self, name):g} s must be at least 1ms")
        initial, least, most = self.limits
        if least > most:
            raise ValueError(f"{where}: min_limit = {least} must not be above max_limit = {most}{_not_written(self)}")
        if not least <= initial <= most:
            raise ValueError(f"{where}: initial_limit = {initial} must lie between min_limit = {least} and max_limit = {most}")
        return self

    @property
    def limits(self) -> tuple[int, int, int]:
        """Initial, smallest and largest limit, with the algorithm's own where nothing is written."""
        initial, least, most = _LIMITS[self.algorithm]
        least = least if self.min_limit is None else self.min_limit
        if self.algorithm == "gradient":
            initial = least
        return (
            initial if self.initial_limit is None else self.initial_limit,
            least,
            most if self.max_limit is None else self.max_limit,
        )


class AdaptiveGate:
    """The state of one adaptive limit. It decides nothing about a call: whoever counts the calls asks for the `limit`.

    >>> gate = adaptive_gate(AdaptiveConcurrency(algorithm="aimd"))
    >>> gate.sample(now_s=1.0, rtt_s=0.1, in_flight=10, dropped=False, u=0.5)
    >>> gate.limit(1.0)
    21
    >>> gate.sample(now_s=2.0, rtt_s=1.0, in_flight=10, dropped=True, u=0.5)
    >>> gate.limit(2.0)
    20
    """

    __slots__ = ()

    def limit(self, now_s: float) -> int:
        """Calls that may be out at once now; time alone can change it. `now_s` must not fall between calls."""
        raise NotImplementedError

    def sample(self, now_s: float, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        """A call ended at `now_s`, `rtt_s` after it began.

        `in_flight` were out when it began, itself included; `dropped` says that it timed out or was refused (`gradient` does not
        ask: a latency is a latency). A call that its own caller abandoned, or that failed for reasons that have nothing to do
        with load, is no sample. `u` is a uniform number of its own.
        """
        raise NotImplementedError


class GradientGate(AdaptiveGate):
    """Envoy's gradient controller: sampling intervals, and windows in which the undisturbed round trip is measured.

    Timers are caught up with at the next call, in their order; nothing can have been sampled in between.
    """

    __slots__ = (
        "_at_floor",
        "_epoch_s",
        "_floor",
        "_limit",
        "_measure_s",
        "_measuring",
        "_min_rtt_s",
        "_most",
        "_resume",
        "_samples",
        "_spec",
        "_tick",
        "_ticks_from_s",
        "_update_s",
    )

    def __init__(self, spec: AdaptiveConcurrency, started_s: float) -> None:
        self._spec = spec
        self._limit, self._floor, self._most = spec.limits
        self._samples: list[float] = []
        self._at_floor = 0  # intervals in a row that left the limit at its minimum
        self._resume = self._limit  # the limit after a measurement
        self._epoch_s = started_s  # calls that began before the measurement do not count
        self._measuring = False
        self._measure_s = math.inf  # when the next measurement begins
        self._start_ticking(started_s)
        self._min_rtt_s = spec.min_rtt or 0.0
        if spec.min_rtt is None:
            self._begin_measuring(started_s)

    def limit(self, now_s: float) -> int:
        """Calls that may be out at once now."""
        self._catch_up(now_s)
        return self._limit

    def sample(self, now_s: float, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        """Take a latency into the interval, or the measurement, that is under way."""
        self._catch_up(now_s)
        if now_s - rtt_s < self._epoch_s:
            return
        self._samples.append(rtt_s)
        if self._measuring and len(self._samples) >= self._spec.min_rtt_calls:
            self._min_rtt_s = self._quantile()
            self._set(self._resume, now_s)
            self._measuring = False
            self._measure_s = now_s + self._spec.min_rtt_interval * (1 + self._spec.jitter_ratio * u)
            self._start_ticking(now_s)

    def _start_ticking(self, now_s: float) -> None:
        self._ticks_from_s, self._tick = now_s, 1
        self._update_s = now_s + self._spec.update_interval  # when the interval that is under way ends

    def _tick_after(self, time_s: float) -> None:
        """Go on to the first tick after a time; the same tick however many steps it took to get there."""
        interval_s = self._spec.update_interval
        self._tick = max(self._tick, math.floor((time_s - self._ticks_from_s) / interval_s))
        while self._ticks_from_s + self._tick * interval_s <= time_s:
            self._tick += 1
        self._update_s = self._ticks_from_s + self._tick * interval_s

    def _catch_up(self, now_s: float) -> None:
        while min(self._update_s, self._measure_s) <= now_s:
            if self._measure_s < self._update_s:
                self._begin_measuring(self._measure_s)
            elif self._samples:
                at_s = self._update_s
                self._tick_after(at_s)
                self._set(self._next_limit(), at_s)
            else:
                self._tick_after(min(now_s, self._measure_s))  # nothing happened at those in between

    def _begin_measuring(self, at_s: float) -> None:
        self._measuring = True
        self._resume = self._limit
        self._set(self._floor if self._spec.min_rtt_pins else self._limit, at_s)
        self._samples.clear()
        self._epoch_s = at_s
        self._measure_s = self._update_s = math.inf

    def _next_limit(self) -> int:
        gradient = self._min_rtt_s * (1 + self._spec.buffer_ratio) / self._quantile()
        limit = self._limit * min(2.0, max(0.5, gradient))
        return max(self._floor, min(self._most, int(limit + math.sqrt(limit))))

    def _set(self, limit: int, at_s: float) -> None:
        stays = not self._measuring and self._limit == limit == self._floor
        self._at_floor = self._at_floor + 1 if stays else 0
        self._limit = limit
        # So long at the minimum may mean that the undisturbed round trip was measured wrongly.
        if self._at_floor >= 5 and self._spec.min_rtt is None:
            self._measure_s = at_s

    def _quantile(self) -> float:
        """The sample percentile by nearest rank, at least Envoy's microsecond; the samples are used up."""
        self._samples.sort()
        rank = math.ceil(self._spec.sample_percentile / 100 * len(self._samples))
        value = max(1e-6, self._samples[rank - 1])
        self._samples.clear()
        return value


class _AnswerByAnswer(AdaptiveGate):
    """What Netflix's limits share: they take one answer at a time, or one average of a window."""

    __slots__ = ("_calls", "_dropped", "_ends_s", "_estimate", "_in_flight", "_sum_s", "_window_calls", "_window_s")

    def __init__(self, spec: AdaptiveConcurrency) -> None:
        self._estimate = float(spec.limits[0])
        self._window_s, self._window_calls = spec.window, spec.window_calls
        self._ends_s = -math.inf
        self._open_window()

    def _open_window(self) -> None:
        self._calls, self._sum_s, self._in_flight, self._dropped = 0, 0.0, 0, False

    def limit(self, now_s: float) -> int:
        """Calls that may be out at once now."""
        return int(self._estimate)

    def sample(self, now_s: float, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        """Take an answer, or add it to its window; the first one after the end of a window closes it."""
        if self._window_s == 0:
            self._update(max(rtt_s, 1e-9), in_flight, dropped, u)
        elif rtt_s >= 1e-4:  # faster answers are taken for none
            self._calls += 1
            self._sum_s += rtt_s
            self._in_flight = max(self._in_flight, in_flight)
            self._dropped = self._dropped or dropped
            if now_s > self._ends_s:
                self._ends_s = now_s + self._window_s
                if self._calls >= self._window_calls:
                    self._update(self._sum_s / self._calls, self._in_flight, self._dropped, u)
                self._open_window()

    def _update(self, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        raise NotImplementedError


class Gradient2Gate(_AnswerByAnswer):
    """Netflix's Gradient2: compares each round trip with a long exponential average of all of them."""

    __slots__ = ("_least", "_long_s", "_most", "_queue_size", "_seen", "_smoothing", "_tolerance", "_weight")

    def __init__(self, spec: AdaptiveConcurrency) -> None:
        super().__init__(spec)
        _, self._least, self._most = spec.limits
        self._smoothing = 0.2 if spec.smoothing is None else spec.smoothing
        self._tolerance, self._queue_size = spec.rtt_tolerance, spec.queue_size
        self._weight = 2 / (spec.long_window_calls + 1)
        self._long_s = 0.0
        self._seen = 0

    def _update(self, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        if self._seen < 10:  # a plain average at first
            self._seen += 1
            self._long_s += (rtt_s - self._long_s) / self._seen
        else:
            self._long_s += (rtt_s - self._long_s) * self._weight
        long_s = self._long_s
        if long_s > 2 * rtt_s:
            self._long_s *= 0.95  # after an overload: forget it faster than the average would
        if in_flight < self._estimate / 2:
            return
        gradient = max(0.5, min(1.0, self._tolerance * long_s / rtt_s))
        aim = self._estimate * gradient + self._queue_size
        limit = self._estimate * (1 - self._smoothing) + aim * self._smoothing
        self._estimate = float(max(self._least, min(self._most, limit)))


class VegasGate(_AnswerByAnswer):
    """Netflix's Vegas: estimates from the fastest round trip how many of the calls queue."""

    __slots__ = ("_fastest_s", "_jitter", "_least", "_most", "_multiplier", "_probes", "_smoothing")

    def __init__(self, spec: AdaptiveConcurrency, u: float) -> None:
        super().__init__(spec)
        _, self._least, self._most = spec.limits
        self._smoothing = 1.0 if spec.smoothing is None else spec.smoothing
        self._multiplier = spec.probe_multiplier
        self._probes = 0
        self._jitter = 0.5 + u / 2
        self._fastest_s = math.inf

    def _update(self, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        self._probes += 1
        if self._jitter * self._multiplier * self._estimate <= self._probes:
            self._jitter = 0.5 + u / 2
            self._probes = 0
            self._fastest_s = rtt_s
            return
        if rtt_s < self._fastest_s:
            self._fastest_s = rtt_s
            return
        limit = self._aim(math.ceil(self._estimate * (1 - self._fastest_s / rtt_s)), in_flight, dropped)
        limit = max(self._least, min(self._most, limit))
        self._estimate = (1 - self._smoothing) * self._estimate + self._smoothing * limit

    def _aim(self, queued: int, in_flight: int, dropped: bool) -> float:
        step = max(1, int(math.log10(int(self._estimate))))
        if dropped:
            return self._estimate - step
        if in_flight * 2 < self._estimate:
            return self._estimate
        if queued <= step:
            return self._estimate + 6 * step
        if queued < 3 * step:
            return self._estimate + step
        return self._estimate - step if queued > 6 * step else self._estimate


class AimdGate(_AnswerByAnswer):
    """Netflix's AIMD: one more after a good answer, a tenth fewer after a lost one."""

    __slots__ = ("_drop_after_s", "_least", "_most", "_ratio")

    def __init__(self, spec: AdaptiveConcurrency) -> None:
        super().__init__(spec)
        _, self._least, self._most = spec.limits
        self._ratio, self._drop_after_s = spec.backoff_ratio, spec.drop_after

    def _update(self, rtt_s: float, in_flight: cython.long, dropped: cython.bint, u: float) -> None:
        limit = int(self._estimate)
        if dropped or rtt_s > self._drop_after_s:
            limit = int(limit * self._ratio)
        elif in_flight * 2 >= limit:
            limit += 1
        self._estimate = float(min(self._most, max(self._least, limit)))


def adaptive_gate(spec: AdaptiveConcurrency, started_s: float = 0.0, u: float = 0.5) -> AdaptiveGate:
    """The gate of a spec, begun at `started_s`; `u` is a uniform number of its own (vegas: when it first forgets)."""
    build: dict[Algorithm, Callable[[], AdaptiveGate]] = {
        "gradient": lambda: GradientGate(spec, started_s),
        "gradient2": lambda: Gradient2Gate(spec),
        "vegas": lambda: VegasGate(spec, u),
        "aimd": lambda: AimdGate(spec),
    }
    return build[spec.algorithm]()
