"""Circuit breaker: stop calling a target that keeps failing, and look again later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, field_validator

from sim.policies.windows import CountWindow, EmaWindow, SnapshotWindow, TimeWindow, Window
from sim.records import OK, OUTCOMES
from sim.streams import child, salt, uniform
from sim.values import Duration, PositiveDuration, Spec

if TYPE_CHECKING:
    import cython

_INF: Final = math.inf
_NO_LIMIT: Final = 2**31 - 1  # a count that no run reaches; more may not fit into a C long
_JITTER: Final = salt("breaker", "jitter")
_POLLY_TIMER_S: Final = 0.02  # Polly counts in one window where a tenth of it would be shorter than this

#: What `BreakerGate.permit` answers when the call must not be made.
REFUSED: Final = -1

#: The states of a breaker by their code, as they stand in `BreakerGate.changes`.
STATES: Final = ("closed", "open", "half_open")
CLOSED, OPEN, HALF_OPEN = range(len(STATES))
_CLOSED, _OPEN, _HALF_OPEN = CLOSED, OPEN, HALF_OPEN

#: Outcomes of an attempt that can count as failures.
Failure = Literal["error", "timeout", "rejected", "unreachable"]

_Count = Annotated[int, Field(ge=1)]
_Percent = Annotated[float, Field(gt=0, le=100)]


# No methods: Cython would make them something that pydantic takes for a field.
class CircuitBreaker(Spec):
    """Refuse calls at once (`short_circuited`) while a target keeps failing; let a few through now and then to look again.

    ::

        closed --too many failures--> open --after `open_duration`--> half-open: `half_open_calls` probes
           ^                            ^                                |  |
           +------- the probes are well +-------- they are not ----------+--+

        consecutive   `consecutive_failures` in a row                                   Polly v7, Linkerd
        count         of the last `window_size` calls, once there are `minimum_calls`   resilience4j COUNT_BASED
        time          of the calls in the last `window_duration`                        resilience4j TIME_BASED, Polly v8, Hystrix
        ema           moving average of failures over `window_duration`                 Finagle

    Too many, for a window: failures / calls >= `failure_rate_threshold_percent`, or the same of calls that took longer than
    `slow_call_duration`. A call can be slow and failed. A target that is half-open is judged by the same rates over
    min(`minimum_calls`, `half_open_calls`) probes; with `consecutive`, one failed probe opens it again, and `half_open_calls`
    good ones close it. An answer from before a change of state says nothing (resilience4j and Polly let it judge the state
    that it finds). The end of the open time belongs to half-open.

    A refused call is `short_circuited`: it is tried again only where `retry.on` has that word, as with resilience4j.
    A crashed replica comes back with its breakers closed.
    Give the calls a timeout, or `half_open_max_wait`: a probe that waits for its answer keeps the breaker half-open.

    Not for a target of which one endpoint of many fails, unless its scope is per endpoint: it would refuse the good ones too.
    Not for many small callers either: each of them sees too few calls to reach `minimum_calls`.

    Source: resilience4j@2.3, polly@8, hystrix@1.5, linkerd2-proxy (consecutive failures, exp-backoff), finagle@22.

    >>> gate = breaker_gate(CircuitBreaker(consecutive_failures=2, open_duration="1s"))
    >>> for now_s in (0.0, 0.1):
    ...     gate.settle(gate.permit(now_s), False, now_s)
    >>> gate.permit(0.5) == REFUSED, gate.permit(1.1) == REFUSED, gate.changes
    (True, False, [(0.1, 1), (1.1, 2)])
    """

    scope: Literal["per_client_process", "per_client_x_endpoint"] = Field(
        "per_client_process", description="one breaker for a caller process and target, or one more for each of its endpoints"
    )
    window_type: Literal["consecutive", "count", "time", "ema"] = Field(
        "consecutive", description="what is counted: failures in a row, the last calls, the last seconds, a moving average"
    )
    consecutive_failures: _Count = Field(5, description="failures in a row that open it (consecutive)")
    or_consecutive_failures: _Count | None = Field(
        None, description="failures in a row that open it as well, beside the rates (count, time, ema)"
    )
    window_size: _Count = Field(100, description="calls in the window (count)")
    window_duration: PositiveDuration = Field(100.0, description="length of the window (time, ema)")
    window_buckets: _Count | None = Field(
        None, description="parts of the window that fall out of it whole (time); absent: one for each whole second of the clock"
    )
    minimum_calls: _Count = Field(
        100, description="calls in the window before it is judged (count, time, ema); at most window_size for count"
    )
    failure_rate_threshold_percent: _Percent = Field(50.0, description="failures that open it, of the calls in the window")
    slow_call_duration: Duration | None = Field(None, description="longer calls are slow (count, time); absent: none is")
    slow_call_rate_threshold_percent: _Percent = Field(100.0, description="slow calls that open it, of the calls in the window")
    only_on_failure: bool = Field(False, description="judge the window only at a failed call, as Polly (count, time)")
    evaluate_every: PositiveDuration | None = Field(
        None, description="judge complete buckets of this length only, where one ends, as Hystrix (time); absent: at each call"
    )
    open_duration: Duration = Field(60.0, description="how long it refuses everything before it lets a probe through")
    open_multiplier: Annotated[float, Field(ge=1)] = Field(1.0, description="growth of the open time with each failed probe")
    max_open_duration: Duration | None = Field(None, description="longest open time; absent: no limit")
    open_jitter: Literal["none", "ratio", "added", "equal"] = Field("none", description="how the open time is spread")
    open_jitter_ratio: Annotated[float, Field(ge=0)] = Field(0.5, description="width of the spread (ratio, added)")
    half_open_calls: _Count = Field(1, description="probes that are let through")
    half_open_max_wait: PositiveDuration | None = Field(
        None, description="opens again if the probes have not decided by then; absent: waits for ever"
    )
    automatic_half_open: bool = Field(
        False, description="becomes half-open when the open time is over; else with the first call after it"
    )
    failures: tuple[Failure, ...] = Field(
        ("error", "timeout", "rejected", "unreachable"), description="the outcomes that are failures; the others are successes"
    )
    ignored: tuple[Failure, ...] = Field((), description="outcomes that count as nothing; a probe makes room for another")

    @field_validator("evaluate_every")
    @classmethod
    def _not_too_often(cls, value: float | None) -> float | None:
        if value is not None and value < 0.001:
            raise ValueError(f"{value:g} s makes too many buckets; write at least 1ms")
        return value


def open_s(spec: CircuitBreaker, opens: int, u: float) -> float:
    """How long a breaker stays open the `opens`-th time in a row (from 1), in seconds, from a uniform number.

    ::

        v = open_duration · open_multiplier^(opens - 1), at most max_open_duration (applied last)

        none v · ratio U(v - r·v, v + r·v) (resilience4j) · added v + U(0, r·v) (Linkerd)
        equal v the first time, then v/m + U(0, v/m) with m = open_multiplier (Finagle)

    >>> growing = CircuitBreaker(open_duration="1s", open_multiplier=2, max_open_duration="5s")
    >>> [open_s(growing, opens, u=0.5) for opens in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    longest_s = _INF if spec.max_open_duration is None else spec.max_open_duration
    if spec.open_jitter == "equal" and opens > 1:
        half_s = _grown_s(spec, opens - 2)
        return min(longest_s, half_s + u * half_s)
    value_s = _grown_s(spec, opens - 1)
    if spec.open_jitter == "ratio":
        value_s *= 1.0 + spec.open_jitter_ratio * (2.0 * u - 1.0)
    elif spec.open_jitter == "added":
        value_s *= 1.0 + spec.open_jitter_ratio * u
    return min(longest_s, max(0.0, value_s))


def _grown_s(spec: CircuitBreaker, steps: int) -> float:
    if not spec.open_duration:
        return 0.0
    try:
        return spec.open_duration * spec.open_multiplier**steps
    except OverflowError:
        return _INF


def breaker_gate(spec: CircuitBreaker, key: int = 0, start_s: float = 0.0) -> BreakerGate:
    """A closed breaker; `key` names its random draws, `start_s` is when its life (and its ticks) begins."""
    return BreakerGate(spec, key, start_s) if spec.window_type == "consecutive" else WindowGate(spec, key, start_s)


class BreakerGate:
    """The state of one breaker. Every permitted call is settled once with the permit it got, or gives the permit `back`.

    A permit is the number of the era in which it was given: an answer from before a change of state says nothing any more, so
    that a slow success of the past does not close a half-open breaker. `changes` are pairs of time and new state, in order;
    what happens by time alone is entered when the gate is next asked, with the time at which it happened.

    This class counts failures in a row; `WindowGate` watches rates.
    """

    __slots__ = (
        "_automatic", "_era", "_failing", "_failures", "_given", "_good", "_ignored", "_in_a_row", "_key", "_limit",
        "_max_wait_s", "_opened", "_opens", "_plain", "_probes", "_since_s", "_spec", "_state", "_until_s", "changes",
    )  # fmt: skip

    def __init__(self, spec: CircuitBreaker, key: int = 0, start_s: float = 0.0) -> None:
        self._spec = spec
        self._key = key
        self._limit = min(spec.consecutive_failures, _NO_LIMIT)
        self._probes = min(spec.half_open_calls, _NO_LIMIT)
        self._max_wait_s = _INF if spec.half_open_max_wait is None else spec.half_open_max_wait
        self._automatic = spec.automatic_half_open
        self._failing = sum(1 << OUTCOMES.index(name) for name in spec.failures)
        # A call that its own caller has abandoned, or that another breaker refused, says nothing about the target.
        self._ignored = sum(1 << OUTCOMES.index(name) for name in (*spec.ignored, "in_flight", "short_circuited"))
        self._era = 0
        self._state = _CLOSED
        self._in_a_row = spec.window_type == "consecutive"
        self._plain = self._in_a_row  # and closed: then a few comparisons are all it takes
        self._failures = 0  # in a row, while closed
        self._opens = 0  # in a row, without having been closed
        self._opened = 0  # in all
        self._until_s = 0.0  # when the open time ends
        self._since_s = 0.0  # when the half-open time began
        self._given = 0  # probes that are out or have answered
        self._good = 0  # of them have succeeded
        self.changes: list[tuple[float, int]] = []

    def permit(self, now_s: float) -> cython.long:
        """A permit for one call, or REFUSED."""
        if self._plain:
            return self._era
        return self._ask(now_s)

    def settle(self, permit: cython.long, succeeded: cython.bint, now_s: float, duration_s: float = 0.0) -> None:
        """Say how a permitted call ended, and how long it took."""
        if not self._plain:
            self._answer(permit, succeeded, now_s, duration_s)
        elif permit == self._era:
            if succeeded:
                self._failures = 0
            else:
                self._failures += 1
                if self._failures >= self._limit:
                    self._open(now_s)

    def finish(self, permit: cython.long, outcome: cython.int, now_s: float, duration_s: float) -> None:
        """Say with which outcome (a code of `OUTCOMES`) a permitted call ended: a failure, a success, or nothing."""
        if outcome == OK and self._plain:
            if permit == self._era:
                self._failures = 0
        elif (self._ignored >> outcome) & 1:
            self.back(permit)
        else:
            self.settle(permit, not ((self._failing >> outcome) & 1), now_s, duration_s)

    def back(self, permit: cython.long) -> None:
        """Give up a permit without a result: a probe makes room for another."""
        if permit == self._era and self._state == _HALF_OPEN:
            self._given -= 1

    def state(self, now_s: float) -> cython.int:
        """CLOSED, OPEN or HALF_OPEN; also brings `changes` up to date."""
        self._catch_up(now_s)
        return self._state

    def lets_through(self, now_s: float) -> cython.bint:
        """Whether `permit` would give one now; takes none."""
        state: cython.int = self.state(now_s)
        if state == _OPEN:
            return now_s >= self._until_s
        return state == _CLOSED or self._given < self._probes

    def _ask(self, now_s: float) -> cython.long:
        """A permit, where it takes more than a look at the era."""
        self._catch_up(now_s)
        if self._state == _CLOSED:
            return self._era
        if self._state == _OPEN:
            if now_s < self._until_s:
                return REFUSED
            self._turn(_HALF_OPEN, now_s)
            self._since_s = now_s
        if self._given >= self._probes:
            return REFUSED
        self._given += 1
        return self._era

    def _answer(self, permit: cython.long, succeeded: cython.bint, now_s: float, duration_s: float) -> None:
        """An answer, where it takes more than counting failures in a row."""
        self._catch_up(now_s)
        if permit != self._era:
            return
        judgement: cython.int = self._judge(succeeded, now_s, duration_s)
        if judgement == self._state:
            return
        if judgement == _OPEN:
            self._open(now_s)
        else:
            self._opens = 0
            self._turn(_CLOSED, now_s)

    def _judge(self, succeeded: cython.bint, now_s: float, duration_s: float) -> cython.int:
        """The state that follows from the answer of one more probe."""
        if not succeeded:
            return _OPEN
        self._good += 1
        return _CLOSED if self._good >= self._probes else _HALF_OPEN

    def _catch_up(self, now_s: float) -> None:
        """What has happened by time alone since the gate was last asked."""
        while True:
            if self._state == _OPEN and self._automatic and now_s >= self._until_s:
                self._turn(_HALF_OPEN, self._until_s)
                self._since_s = self._until_s
            elif self._state == _HALF_OPEN and now_s >= self._since_s + self._max_wait_s:
                self._open(self._since_s + self._max_wait_s)
            else:
                return

    def _open(self, now_s: float) -> None:
        self._opens += 1
        self._opened += 1
        u: float = uniform(child(child(self._key, self._opened), _JITTER))
        self._until_s = now_s + open_s(self._spec, self._opens, u)
        self._turn(_OPEN, now_s)

    def _turn(self, state: cython.int, now_s: float) -> None:
        self._state = state
        self._plain = state == _CLOSED and self._in_a_row
        self._era += 1
        self._failures = 0
        self._given = 0
        self._good = 0
        self.changes.append((now_s, state))


class WindowGate(BreakerGate):
    """A breaker that watches the rates of failures and of slow calls in a window.

    Probes are judged by the same rates, over the first min(minimum_calls, half_open_calls) answers.
    """

    __slots__ = (
        "_answers", "_bad", "_failure_percent", "_minimum", "_needed", "_on_failure", "_slow", "_slow_percent", "_slow_s",
        "_snapshot", "_streak", "_window",
    )  # fmt: skip

    def __init__(self, spec: CircuitBreaker, key: int = 0, start_s: float = 0.0) -> None:
        BreakerGate.__init__(self, spec, key, start_s)
        self._window = _window(spec, start_s)
        self._snapshot = self._window if isinstance(self._window, SnapshotWindow) else None
        minimum = min(spec.minimum_calls, _NO_LIMIT)
        # A window of ten calls never holds twenty. Half-open always counts calls, whatever the window.
        self._minimum = min(minimum, spec.window_size) if spec.window_type == "count" else minimum
        self._needed = min(minimum, self._probes)
        self._failure_percent = spec.failure_rate_threshold_percent
        self._slow_percent = spec.slow_call_rate_threshold_percent
        self._slow_s = _INF if spec.slow_call_duration is None else spec.slow_call_duration
        self._on_failure = spec.only_on_failure or spec.window_type == "ema"
        self._streak = min(spec.or_consecutive_failures or _NO_LIMIT, _NO_LIMIT)
        self._answers = 0  # of probes
        self._bad = 0  # of them were failures
        self._slow = 0  # of them were slow

    def _exceeded(self, now_s: float) -> cython.bint:
        window = self._window
        if not window.enough(self._minimum, now_s):
            return False
        return window.failing(self._failure_percent) or (self._slow_s < _INF and window.slowing(self._slow_percent))

    def _catch_up(self, now_s: float) -> None:
        """What has happened by time alone; with snapshots, the window is judged at each tick that has passed."""
        window = self._snapshot
        while window is not None and self._state == _CLOSED and window.next_tick_s() <= now_s:
            window.skip(now_s)
            tick_s: float = window.next_tick_s()
            window.roll()
            if self._exceeded(tick_s):
                self._open(tick_s)
        BreakerGate._catch_up(self, now_s)

    def _judge(self, succeeded: cython.bint, now_s: float, duration_s: float) -> cython.int:
        """The state that follows from one more answer: of a call while closed, or of a probe."""
        slow: cython.bint = duration_s > self._slow_s
        if self._state == _CLOSED:
            self._window.record(now_s, not succeeded, slow)
            self._failures = 0 if succeeded else self._failures + 1
            if self._failures >= self._streak:
                return _OPEN
            if self._snapshot is not None or (succeeded and self._on_failure):
                return _CLOSED
            return _OPEN if self._exceeded(now_s) else _CLOSED
        self._answers += 1
        if not succeeded:
            self._bad += 1
        if slow:
            self._slow += 1
        if self._answers < self._needed:
            return _HALF_OPEN
        failing: cython.bint = self._bad * 100.0 >= self._failure_percent * self._answers
        slowing: cython.bint = self._slow_s < _INF and self._slow * 100.0 >= self._slow_percent * self._answers
        return _OPEN if failing or slowing else _CLOSED

    def _turn(self, state: cython.int, now_s: float) -> None:
        BreakerGate._turn(self, state, now_s)
        self._answers = 0
        self._bad = 0
        self._slow = 0
        if state == _CLOSED:
            self._window.clear(now_s)


def _window(spec: CircuitBreaker, start_s: float) -> Window:
    if spec.window_type == "count":
        return CountWindow(min(spec.window_size, _NO_LIMIT))
    duration_s = spec.window_duration
    if spec.window_type == "ema":
        return EmaWindow(duration_s, start_s)
    if spec.evaluate_every is not None:
        return SnapshotWindow(duration_s, spec.evaluate_every, start_s)
    parts = spec.window_buckets or 0
    return TimeWindow(duration_s, 1 if parts and duration_s < parts * _POLLY_TIMER_S else parts, start_s)
