"""Hedging: send a call again before the first try has failed, and take the first good answer."""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.policies.budget import WindowedRatioBudget
from sim.policies.budget_gates import WindowedGate
from sim.values import Duration, PositiveDuration, Spec

#: Outcomes of an attempt after which others may still win.
NonFatal = Literal["error", "timeout", "rejected", "unreachable"]

_BUCKETS: Final = 3  # Finagle keeps its latencies in so many parts, and looks at complete ones only


class Hedging(Spec):
    """Further tries of a call beside the first, each a `delay` after the one before, until one of them succeeds.

    ::

        |------- first ------------------------------ too late
        |  delay  |------- second ----- ok|                        the call ends here

    With two independent tries of tail S(t): P(T > t) = S(t) · S(t - delay), and S(delay) of the calls are sent twice. At the 95th
    percentile that is 5 % more load; of exponential times of mean 1 the p99 falls from 4.6 to 3.8.

    The delay is a time, or the `percentile` of the latencies of the last `window`, taken every `refresh` from complete thirds of
    the window; nothing is hedged before the first of them is there (Finagle hedges after `min_delay` until then). A delay of 0
    sends all tries at once. A failure in `non_fatal` sends the next try at once, and the call goes on while any is under way;
    any other outcome ends it. `on_per_try_timeout`: the next try goes out when the per-try timeout passes, and the old one may
    still win.

    `tied`: every try knows of the others, and the server that begins to work on one tells the others to drop theirs, before they
    begin. It costs almost no work where queues are the delay, and needs all tries at once, or nearly (Dean & Barroso: two of
    them, apart by twice the time of a message).

    Not for calls that must not happen twice. Not near saturation, where the extra load lengthens the very queues it dodges: set
    `max_extra_load_percent`. Not against tails that all endpoints have together. One gate per caller process and target.

    Source: gRFC A6 (`hedgingPolicy`; its default `nonFatalStatusCodes` is none), finagle@24 `BackupRequestFilter` (percentile
    100 - max extra load, a budget of the same), envoy@1.40 `hedge_on_per_try_timeout`, polly@8 (delay 2 s); J. Dean,
    L. A. Barroso, "The tail at scale", CACM 56(2), 2013.

    >>> gate = HedgeGate(Hedging(delay="20ms"))
    >>> gate.delay_s(0.0), gate.may_hedge(0.0)
    (0.02, True)
    """

    max_attempts: Annotated[int, Field(ge=2, le=1000)] = Field(2, description="tries in all, the first included")
    delay: Duration | None = Field(None, description="from one try to the next; 0: all at once")
    percentile: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None, description="the delay is this percentile of the latencies lately, for example 95"
    )
    min_delay: Duration = Field(0.001, description="shortest delay by percentile")
    max_delay: PositiveDuration = Field(2.0, description="where the delay by percentile is as long, no further tries are sent")
    window: PositiveDuration = Field(30.0, description="of the latencies that the percentile is taken from")
    refresh: PositiveDuration = Field(3.0, description="how often the percentile is taken")
    on_per_try_timeout: bool = Field(False, description="the delay is per_try_timeout, which then ends no try")
    non_fatal: tuple[NonFatal, ...] = Field(
        ("error", "timeout", "rejected", "unreachable"),
        description="failures that send the next try at once and leave the others running; any other outcome ends the call",
    )
    cancel_losers: bool = Field(True, description="whether tries that have lost are given up; else they run on for nobody")
    tied: bool = Field(False, description="whether the try that is begun first makes the servers drop the others")
    max_extra_load_percent: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="hedges per call of the last 10 s at most; absent: no limit"
    )

    @model_validator(mode="after")
    def _one_delay(self) -> Hedging:
        given = [
            name
            for name, there in (
                ("delay", self.delay is not None),
                ("percentile", self.percentile is not None),
                ("on_per_try_timeout", self.on_per_try_timeout),
            )
            if there
        ]
        if len(given) != 1:
            what = f"{' and '.join(given)} cannot both say when" if given else "nothing says when"
            raise ValueError(f"hedging: {what} the next try is sent; write one, for example delay: 20ms or percentile: 95")
        for name in ("window", "refresh"):
            if getattr(self, name) < 0.001:
                raise ValueError(f"hedging: {name} = {getattr(self, name):g} s must be at least 1ms")
        if self.percentile is not None and self.min_delay >= self.max_delay:
            raise ValueError(
                f"hedging: min_delay = {self.min_delay:g} s must be below max_delay = {self.max_delay:g} s, or nothing is hedged"
            )
        return self


class HedgeGate:
    """What one caller process knows about when to hedge. Times must not fall between calls.

    ::

        gate.begin(now_s)             a call begins: it pays into the budget of hedges
        gate.delay_s(now_s)           from a try that is sent now to the next; infinite: none
        gate.may_hedge(now_s)         whether another try is affordable; asking costs nothing
        gate.hedged(now_s)            another try beside the first is sent
        gate.record(took_s, now_s)    a try ended well or timed out, or was given up because another had won
    """

    __slots__ = ("_budget", "_delay_s", "_latencies", "spec")

    def __init__(self, spec: Hedging, per_try_timeout_s: float = math.inf) -> None:
        self.spec = spec
        self._delay_s = per_try_timeout_s if spec.delay is None else spec.delay
        self._latencies = None if spec.percentile is None else _Latencies(spec, spec.percentile)
        extra = spec.max_extra_load_percent
        self._budget = None if extra is None else WindowedGate(WindowedRatioBudget(ratio=extra / 100.0, min_retries_per_second=0))

    def begin(self, now_s: float) -> None:
        """A call begins; its first try needs nobody's leave."""
        if self._latencies is not None:
            self._latencies.catch_up(now_s)
        if self._budget is not None:
            self._budget.begin(now_s)

    def delay_s(self, now_s: float) -> float:
        """Seconds from a try that is sent now to the next one; infinite where no delay is known, or it is too long."""
        if self._latencies is None:
            return self._delay_s
        return self._latencies.delay_s(now_s)

    def may_hedge(self, now_s: float) -> bool:
        """Whether the budget affords another try."""
        return self._budget is None or self._budget.affords(now_s)

    def hedged(self, now_s: float) -> None:
        """Another try beside the first is sent: the budget pays for it."""
        if self._budget is not None:
            self._budget.pay(now_s)

    def record(self, latency_s: float, now_s: float) -> None:
        """A try took so long. Failures that came fast should not be told: they would shorten the delay."""
        if self._latencies is not None:
            self._latencies.record(latency_s, now_s)


class _Latencies:
    """A percentile of recent latencies: taken every `refresh` from the complete parts of the window.

    ::

        |---- part ----|---- part ----|---- part ----|-- running       the running part is not looked at
              refresh ^     ^     ^     ^     ^                        the delay changes only there
    """

    __slots__ = (
        "_delay_s", "_least_s", "_look_s", "_most_s", "_part_s", "_parts", "_ratio", "_refresh_s", "_running", "_stale",
        "_turn_s",
    )  # fmt: skip

    def __init__(self, spec: Hedging, percentile: float) -> None:
        self._ratio = percentile / 100.0
        self._least_s = spec.min_delay
        self._most_s = spec.max_delay
        self._part_s = spec.window / _BUCKETS
        self._refresh_s = spec.refresh
        self._parts: deque[list[float]] = deque(maxlen=_BUCKETS)
        self._running: list[float] = []
        self._turn_s = -math.inf  # when the running part is complete; before the first call nothing runs
        self._look_s = math.inf  # when the percentile is taken next
        self._stale = False  # whether there is anything new to look at
        self._delay_s = math.inf

    def record(self, latency_s: float, now_s: float) -> None:
        self.catch_up(now_s)
        self._running.append(latency_s)

    def delay_s(self, now_s: float) -> float:
        self.catch_up(now_s)
        return self._delay_s

    def catch_up(self, now_s: float) -> None:
        """Do what a timer would have done until now, in its order."""
        if self._turn_s == -math.inf:
            self._turn_s = now_s + self._part_s
            self._look_s = now_s + self._refresh_s
        while self._turn_s <= now_s or self._look_s <= now_s:
            if self._turn_s <= self._look_s:
                self._parts.append(self._running)
                self._running = []
                self._stale = True
                self._turn_s += self._part_s
            else:
                if self._stale:
                    self._look()
                self._look_s += self._refresh_s

    def _look(self) -> None:
        self._stale = False
        latencies = sorted(value for part in self._parts for value in part)
        if not latencies:
            self._delay_s = math.inf
            return
        # The smallest latency that so many percent do not exceed.
        rank = max(1, math.ceil(self._ratio * len(latencies) - 1e-9))
        delay_s = max(self._least_s, latencies[rank - 1])
        self._delay_s = delay_s if delay_s < self._most_s else math.inf
