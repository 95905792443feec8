"""Rate limits: how many calls may begin in a time, as a token bucket or in fixed windows."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.policies.kinds import refuse_foreign
from sim.values import Duration, PositiveDuration, PositiveRate, Spec

#: What `ask` answers when the call must not be made; other answers are seconds to wait.
REFUSED: Final = -1.0

_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "rate": ("token_bucket",),
    "burst": ("token_bucket",),
    "fill_interval": ("token_bucket",),
    "limit": ("fixed_window",),
    "period": ("fixed_window",),
}


class RateLimit(Spec):
    """At most so many calls in a time; the others are `rejected`, or wait until they may begin.

    ::

        token_bucket   tokens = min(burst, tokens + rate·Δt), full at first; a call takes one
        fixed_window   permits = min(limit, permits + limit) at the start of each period; a call takes one

    With `max_wait` a call may take a token that is not there yet, if it will be within that time: it waits, and those after it
    wait longer (the balance is negative). Nothing is given back by a caller that stops waiting.

    A token bucket lets `burst` calls through at once and `rate` on average; of Poisson arrivals at just that rate it refuses
    a half with a burst of 1, a twentieth with 10. A fixed window lets up to twice its limit through around a boundary, and none
    before the next if it is used up early: do not choose it for its own sake. Neither knows how busy the target is: for that
    there is `ConcurrencyLimit`.

    Source: envoy@1.40 local rate limit (`max_tokens` is `burst`; tokens come continuously, at tokens_per_fill / fill_interval;
    older versions added them every `fill_interval` of 50 ms or more); resilience4j@2.4 `AtomicRateLimiter` (50 per 500 ns,
    max_wait 5 s by default).

    >>> gate = rate_gate(RateLimit(kind="token_bucket", rate="10/s", burst=2))
    >>> [gate.ask(now_s) for now_s in (0.0, 0.0, 0.0, 0.1)]
    [0.0, 0.0, -1.0, 0.0]
    """

    kind: Literal["token_bucket", "fixed_window"] = Field(description="tokens that come all the time, or permits per period")
    rate: PositiveRate | None = Field(None, description="token_bucket: tokens per second")
    burst: Annotated[int, Field(ge=1)] = Field(1, description="token_bucket: tokens that it holds, and starts with")
    fill_interval: PositiveDuration | None = Field(
        None, description="token_bucket: tokens come in lots, one lot per interval, at least 50ms; absent: they come continuously"
    )
    limit: Annotated[int, Field(ge=1)] = Field(50, description="fixed_window: calls per period")
    period: PositiveDuration = Field(1.0, description="fixed_window: its length")
    max_wait: Duration = Field(0.0, description="longest wait for a token that is on its way; 0: refuse at once")
    refuse: Literal["at_once", "after_max_wait"] = Field(
        "at_once", description="whether a refused caller waits as well before it is told, as threads of resilience4j do"
    )

    @model_validator(mode="after")
    def _fits(self) -> RateLimit:
        refuse_foreign(self, "rate_limit", self.kind, _OWNERS)
        if self.kind == "token_bucket":
            if self.rate is None:
                raise ValueError("rate_limit: a token_bucket needs a rate, for example rate: 100/s")
            if self.fill_interval is not None:
                lot = self.rate * self.fill_interval
                if self.fill_interval < 0.05:
                    raise ValueError(
                        f"rate_limit: fill_interval = {self.fill_interval:g} s must be at least 50ms; or leave it out"
                    )
                if abs(lot - round(lot)) > 1e-9 * lot or round(lot) < 1:
                    raise ValueError(
                        f"rate_limit: {self.rate:g}/s every {self.fill_interval:g} s is {lot:g} tokens; it must be a whole number"
                    )
        elif self.period < 1e-9:
            raise ValueError(f"rate_limit: period = {self.period:g} s must be at least 1ns")
        if self.refuse == "after_max_wait" and self.max_wait == 0:
            raise ValueError("rate_limit: refuse: after_max_wait has no effect without a max_wait")
        return self


class RateGate:
    """The state of one limit. Only `ask` takes anything."""

    __slots__ = ("_max_wait_s", "refusal_s")

    def __init__(self, spec: RateLimit) -> None:
        self._max_wait_s = spec.max_wait + 5e-10  # a wait of just so long is allowed, however it was rounded
        #: How long a refused caller waits before it is told.
        self.refusal_s = spec.max_wait if spec.refuse == "after_max_wait" else 0.0

    def ask(self, now_s: float) -> float:
        """Seconds to wait before the call may begin, its token taken already; or REFUSED. `now_s` must not fall between calls."""
        raise NotImplementedError

    def retry_after_s(self, now_s: float) -> float:
        """Seconds until a token is there, if nobody else takes it; what a `Retry-After` header would say."""
        raise NotImplementedError


class TokenBucket(RateGate):
    """Tokens that come continuously. Two roundings of the same time must not refuse a caller who came back when he was told."""

    __slots__ = ("_burst", "_filled_s", "_rate", "_tokens")

    def __init__(self, spec: RateLimit, started_s: float) -> None:
        super().__init__(spec)
        assert spec.rate is not None
        self._rate = spec.rate
        self._burst = float(spec.burst)
        self._tokens = self._burst
        self._filled_s = started_s

    def _fill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + self._rate * (now_s - self._filled_s))
        self._filled_s = now_s

    def _wait_s(self, now_s: float) -> float:
        missing = 1 - self._tokens
        return missing / self._rate if missing > 1e-9 else 0.0

    def ask(self, now_s: float) -> float:
        """Take a token, or one that is on its way."""
        wait_s = self.retry_after_s(now_s)
        if wait_s > self._max_wait_s:
            return REFUSED
        self._tokens -= 1
        return wait_s

    def retry_after_s(self, now_s: float) -> float:
        """Seconds until the bucket holds a token."""
        self._fill(now_s)
        return self._wait_s(now_s)


class TokenLots(TokenBucket):
    """Tokens that come in lots, one at the end of every interval since the start."""

    __slots__ = ("_interval_ns", "_lot", "_lots", "_started_s")

    def __init__(self, spec: RateLimit, started_s: float) -> None:
        super().__init__(spec, started_s)
        assert spec.fill_interval is not None
        self._interval_ns = round(spec.fill_interval * 1e9)
        self._lot = round(self._rate * spec.fill_interval)
        self._lots = 0
        self._started_s = started_s

    def _fill(self, now_s: float) -> None:
        lots = round((now_s - self._started_s) * 1e9) // self._interval_ns
        self._tokens = min(self._burst, self._tokens + (lots - self._lots) * self._lot)
        self._lots = lots

    def _wait_s(self, now_s: float) -> float:
        if self._tokens >= 1:
            return 0.0
        lots = math.ceil((1 - self._tokens) / self._lot)
        return (self._lots + lots) * self._interval_ns * 1e-9 - (now_s - self._started_s)


class FixedWindow(RateGate):
    """Permits that are renewed at the start of every period, counted in nanoseconds from the start of the gate."""

    __slots__ = ("_cycle", "_limit", "_period_ns", "_permits", "_started_s")

    def __init__(self, spec: RateLimit, started_s: float) -> None:
        super().__init__(spec)
        self._limit = spec.limit
        self._period_ns = round(spec.period * 1e9)
        self._permits = spec.limit  # negative: reserved out of future periods
        self._cycle = 0
        self._started_s = started_s

    def ask(self, now_s: float) -> float:
        """Take a permit of this period, or one of a period to come."""
        wait_s = self.retry_after_s(now_s)
        if wait_s > self._max_wait_s:
            return REFUSED
        self._permits -= 1
        return wait_s

    def retry_after_s(self, now_s: float) -> float:
        """Seconds until the start of the period that has a permit left."""
        now_ns = round((now_s - self._started_s) * 1e9)
        cycle = now_ns // self._period_ns
        self._permits = min(self._limit, self._permits + (cycle - self._cycle) * self._limit)
        self._cycle = cycle
        if self._permits >= 1:
            return 0.0
        cycles = 1 + -self._permits // self._limit
        return ((cycle + cycles) * self._period_ns - now_ns) * 1e-9


def rate_gate(spec: RateLimit, started_s: float = 0.0) -> RateGate:
    """The gate of a spec, begun at `started_s`: periods and fill intervals are counted from there."""
    if spec.kind == "fixed_window":
        return FixedWindow(spec, started_s)
    return TokenBucket(spec, started_s) if spec.fill_interval is None else TokenLots(spec, started_s)
