"""Retry: which outcomes are tried again, how often, and after which pause."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from sim.policies.budget import RetryBudget
from sim.values import Duration, PositiveDuration, Spec

#: Outcomes that a retry can be told to act on.
RetryOn = Literal["error", "timeout", "rejected", "unreachable", "overflow", "short_circuited"]

_TANH_MEDIAN: Final = 1.4  # Polly divides by it, so that the medians of the times lie near base, 2 · base, 4 · base …
_TANH_STEEPNESS: Final = 4.0
_AWS_EXTRA_S: Final = 5.0  # the AWS SDK follows a server at most so much beyond its own pause
_ENVOY_SPREAD: Final = 0.5  # Envoy waits up to half as long again as it was told
_SHORTEST_S: Final = 1e-9  # the clock of a long run cannot show less; shorter pauses would be none
_MOST_DOUBLINGS: Final = 1000  # beyond it a power of two overflows; the cap has long been reached by then


class Backoff(Spec):
    """The pause before retry n (n = 1 for the first retry), in seconds.

    ::

        constant     v(n) = base
        linear       v(n) = base · n
        exponential  v(n) = base · multiplier^(n - 1)
        cumulative   v(n) = base · (1 + multiplier + … + multiplier^(n - 1))        (2^n - 1) · base for a multiplier of 2

        jitter none v · full U(0, v) · equal v/2 + U(0, v/2) · ratio U(v - r·v, v + r·v) with r = jitter_ratio
               decorrelated min(max, U(base, 3 · previous))
               tanh min(max, base/1.4 · (f(t(n)) - f(t(n - 1)))),  f(t) = 2^t · tanh(√(4t)),  t(n) = n - 1 + U(0, 1)

    `max` cuts v before the jitter (the result may exceed it by `jitter_ratio`, as in gRPC), after it (as in resilience4j), or
    both (as in Kafka). Decorrelated and tanh jitter ignore `kind` and are cut last; decorrelated has `base` as first "previous".
    With tanh retry n comes about 2^(n - 1) · base after the first failure (its median), and the retries of many callers leave
    neither gaps nor crowds.

    Without jitter, callers that failed together return together; full jitter spreads them best per call, at half of the mean
    pause (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015); ± 20 % hardly spreads them.
    Not for overload on its own: a pause delays the storm, only a budget shrinks it.

    A server may say how long to stay away (`retry_after_s`, x below); a caller may respect it:

    ::

        none v, jittered · exact x · grpc x, and the pauses after it begin again at n = 1 · at_least max(x, v)
        envoy U(x, 1.5 x), and the pause after it has the same n · aws x, but within [v, v + 5 s]

    Source: envoy@1.40 (exponential and full, max 10 · base; the formula of its documentation is cumulative and full), grpc
    (ratio 0.2), resilience4j@2 (ratio 0.5, multiplier 1.5, after_jitter), kafka (ratio 0.2, both), polly@8 (constant and linear:
    ratio 0.25, after_jitter; exponential: tanh), botocore (base 1 s and full; since 2026 base 50 ms, aws).

    >>> Backoff(kind="exponential", base="10ms", max="1s").pause_s(retry=3, previous_s=0.02, u=0.5)
    0.04
    """

    kind: Literal["constant", "linear", "exponential", "cumulative"] = Field("exponential", description="how the pause grows")
    base: Duration = Field(0.0, description="pause before the first retry; 0 means at once")
    multiplier: Annotated[float, Field(ge=1, description="growth per retry, exponential and cumulative only")] = 2.0
    max: Duration = Field(20.0, description="largest pause")
    jitter: Literal["none", "full", "equal", "decorrelated", "ratio", "tanh"] = Field(
        "none", description="how the pause is spread"
    )
    jitter_ratio: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="half the width of the spread, ratio only")
    cap: Literal["before_jitter", "after_jitter", "both"] = Field(
        "before_jitter", description="when `max` is applied; decorrelated and tanh: always last"
    )
    respect_retry_after: Literal["none", "exact", "grpc", "at_least", "envoy", "aws"] = Field(
        "none", description="what is done with a server's word on when to come back"
    )
    max_retry_after: PositiveDuration | None = Field(
        None, description="a longer Retry-After is as good as none; Envoy has 300s; absent: no limit"
    )

    @field_validator("base", "max")
    @classmethod
    def _not_too_short(cls, value: float) -> float:
        if 0 < value < _SHORTEST_S:
            raise ValueError(f"{value:g} s is too short for a pause; write 0s, or at least 1ns")
        return value

    def pause_s(
        self, retry: int, previous_s: float, u: float, retry_after_s: float | None = None, previous_u: float = 0.5
    ) -> float:
        """Pause before the given retry.

        `previous_s` is the pause before it, 0 before the first one (only decorrelated looks at it), `u` a uniform number and
        `previous_u` the one of the pause before (only tanh looks at it: its state is a function of that number; without it,
        0.5). `retry_after_s` is what the server said, if it did.
        """
        own_s = self._own_s(retry, previous_s, u, previous_u)
        if not self._respects(retry_after_s):
            return own_s
        assert retry_after_s is not None
        match self.respect_retry_after:
            case "at_least":
                return max(retry_after_s, own_s)
            case "envoy":
                return retry_after_s * (1.0 + _ENVOY_SPREAD * u)
            case "aws":
                return max(own_s, min(retry_after_s, own_s + _AWS_EXTRA_S))
        return retry_after_s

    def next_retry(self, retry: int, retry_after_s: float | None = None) -> int:
        """The number that the pause after this one has: `retry` + 1, unless a server's word takes the place of a pause.

        >>> Backoff(respect_retry_after="grpc").next_retry(3, retry_after_s=2.0), Backoff().next_retry(3)
        (1, 4)
        """
        if self._respects(retry_after_s):
            if self.respect_retry_after == "grpc":
                return 1
            if self.respect_retry_after == "envoy":
                return retry
        return retry + 1

    def _respects(self, retry_after_s: float | None) -> bool:
        if retry_after_s is None or self.respect_retry_after == "none":
            return False
        return self.max_retry_after is None or retry_after_s <= self.max_retry_after

    def _own_s(self, retry: int, previous_s: float, u: float, previous_u: float) -> float:
        if self.jitter == "decorrelated":
            previous_s = previous_s or self.base
            return min(self.max, self.base + u * max(0.0, 3 * previous_s - self.base))
        if self.jitter == "tanh":
            return self._tanh_s(retry, u, previous_u)
        pause = self._grown_s(retry)
        if self.cap != "after_jitter":
            pause = min(self.max, pause)
        pause = self._jittered_s(pause, u)
        return pause if self.cap == "before_jitter" else min(self.max, pause)

    def _jittered_s(self, pause: float, u: float) -> float:
        if pause == math.inf:
            return pause  # it is capped next, and 0 · infinity is no number
        if self.jitter == "full":
            return u * pause
        if self.jitter == "equal":
            return pause / 2 + u * pause / 2
        if self.jitter == "ratio":
            return pause * (1.0 + self.jitter_ratio * (2.0 * u - 1.0))
        return pause

    def _grown_s(self, retry: int) -> float:
        """v(n), not capped; infinite where it is beyond all numbers."""
        if not self.base or self.kind == "constant":
            return self.base
        if self.kind == "linear" or (self.kind == "cumulative" and self.multiplier == 1):
            return self.base * retry
        try:
            if self.kind == "exponential":
                return self.base * self.multiplier ** (retry - 1)
            return self.base * ((self.multiplier**retry - 1) / (self.multiplier - 1))
        except OverflowError:
            return math.inf

    def _tanh_s(self, retry: int, u: float, previous_u: float) -> float:
        if not self.base:
            return 0.0
        if retry > _MOST_DOUBLINGS:
            return self.max
        reached = _tanh_curve(retry - 1 + u)
        before = _tanh_curve(retry - 2 + previous_u) if retry > 1 else 0.0
        return min(self.max, max(0.0, reached - before) * self.base / _TANH_MEDIAN)


def _tanh_curve(t: float) -> float:
    return math.exp2(t) * math.tanh(math.sqrt(_TANH_STEEPNESS * t))


class Retry(Spec):
    """Try a call again: at most `max_attempts` times in all, the first included.

    ::

        attempts in the mean  (1 - f^a) / (1 - f)    for failure probability f and at most a in all
        f small: 1 + f, and f^a still fail           f near 1: a, and nearly all fail: the storm

    Through layers the attempts multiply. Not for calls that must not happen twice, and not under overload without a `budget`.

    `overflow` is a try that the caller's own limits refused, `short_circuited` one that its own breaker refused: neither was
    sent, so neither is tried again unless `on` says so.

    Source: counted with the first as in gRFC A6 (`maxAttempts`) and resilience4j@2; Envoy's `num_retries: 1` is 2 here.

    >>> Retry(max_attempts=3).again(attempt=2, outcome="error"), Retry(max_attempts=3).again(attempt=3, outcome="error")
    (True, False)
    """

    max_attempts: Annotated[int, Field(ge=1, le=1000)] | Literal["unlimited", "each_endpoint"] = Field(
        1, description="tries in all, the first included; each_endpoint: as many as the target has replicas, as nginx"
    )
    backoff: Backoff = Field(Backoff(), description="the pause between tries")
    backoff_after_rejected: Backoff | None = Field(
        None, description="the pause after a try that was `rejected`; absent: as `backoff`. aws-sdk@2026 has a longer one"
    )
    on: tuple[RetryOn, ...] = Field(
        ("error", "timeout", "rejected", "unreachable"), description="the outcomes that are tried again"
    )
    avoid_previous_endpoints: bool = Field(
        False, description="another try goes to an endpoint that this call has not tried yet, while there is one"
    )
    budget: RetryBudget | None = Field(
        None, description="limits the retries of all calls together; one per caller process and target; absent: no limit"
    )

    def again(self, attempt: int, outcome: str) -> bool:
        """Whether attempt number `attempt` (from 1), which ended in `outcome`, is followed by another, the budget permitting.

        How many endpoints there are is not known here: the scenario puts their number in the place of `each_endpoint`.
        """
        return outcome in self.on and (not isinstance(self.max_attempts, int) or attempt < self.max_attempts)

    def backoff_after(self, outcome: str) -> Backoff:
        """The rule of the pause after a try that ended in `outcome`."""
        return self.backoff_after_rejected if outcome == "rejected" and self.backoff_after_rejected else self.backoff
