"""Client-side throttling: a caller that is refused a lot refuses some of its own calls, before they are sent.

::

    sre            counts what the caller wanted, and what the target took        SRE book, ch. 21
    envoy          counts what was sent, and what succeeded                       Envoy admission_control
    finagle_nack   averages over the answers                                      Finagle NackAdmissionFilter
"""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from sim.policies.slots import SlottedSum
from sim.values import PositiveDuration, Ratio, Spec

_Percent = Annotated[float, Field(ge=0, le=100)]

#: Outcomes of an attempt that can count as a refusal.
Refusal = Literal["error", "timeout", "rejected", "unreachable"]

_SILENT: Final = ("in_flight", "overflow", "short_circuited")
_NACK_WINDOW_S: Final = 1.0  # over which Finagle counts calls per second


class SreThrottling(Spec):
    """Refuse a call with a probability that keeps what is sent near `multiplier` times what the target takes.

    ::

        p = max(0, (requests - multiplier · accepts) / (requests + 1))            both of the last `window`

    `requests` are the calls that were wanted, refused here or sent; `accepts` the answers that are no refusal. A target that can
    take C calls per second is sent about `multiplier` · C. With 2 it refuses as many as it takes, and the caller soon sees when
    it recovers; nearer to 1 the target is spared more and the caller sees less.

    Not for a target that refuses a fixed share of what it is sent: above 1 - 1 / `multiplier` of it p creeps up to nearly 1,
    and stays until the window has passed. Not for slow answers either: a call under way is wanted and not accepted yet, so
    answers that take long, compared with the window, look like refusals. One per caller process and target.

    Source: Beyer et al., "Site Reliability Engineering", 2016, ch. 21 (K = 2, two minutes).
    """

    kind: Literal["sre"] = Field("sre", description="chooses this rule")
    multiplier: Annotated[float, Field(ge=1)] = Field(2.0, description="calls that are sent per call that is taken; the book's K")
    window: PositiveDuration = Field(120.0, description="how long calls are remembered, in buckets of a 120th of it")
    refusals: tuple[Refusal, ...] = Field(("rejected",), description="outcomes that say that the target did not take it")


class AdmissionControl(Spec):
    """Refuse calls when fewer than `success_threshold_percent` of those sent succeed, never more than a maximum.

    ::

        p = min(max_rejection_percent/100, max(0, (sent - ok / threshold) / (sent + 1))^(1 / aggression))
        no refusals while   ⌊sent / window⌋ < rps_threshold

    `sent` and `ok` are answers of the last `window`; what is refused here or still under way does not count. At least 20 % go
    through by default, so it sees when the target recovers. Higher `aggression` refuses more at the first failures.

    Not for a target that is known to fail a few percent of its calls in good health, unless the threshold is lower than that.
    One per caller process and target; in Envoy one per listener's filter and worker thread, over all its targets.

    Source: envoy@1.40 `admission_control` (buckets of 1 s; success is a status below 500).
    """

    kind: Literal["envoy"] = Field("envoy", description="chooses this rule")
    window: PositiveDuration = Field(30.0, description="how long answers are remembered, in buckets of 1s")
    success_threshold_percent: Annotated[float, Field(gt=0, le=100)] = Field(95.0, description="no refusals at or over it")
    aggression: Annotated[float, Field(ge=1)] = Field(1.0, description="1: p grows evenly as fewer succeed; more: at once")
    max_rejection_percent: _Percent = Field(80.0, description="p is never more than this")
    rps_threshold: Annotated[int, Field(ge=0)] = Field(0, description="no refusals at fewer answers per second, over the window")
    refusals: tuple[Refusal, ...] = Field(
        ("error", "timeout", "rejected", "unreachable"), description="outcomes that are no success"
    )


class NackThrottling(Spec):
    """Refuse calls once the moving average of answers that are no refusal falls below 1 - `nack_rate_threshold`.

    ::

        ema = ema + (1 - e^(-Δt / window)) · (x - ema),    x = 0 for a refusal, 1 for any other answer; 1 at first
        p = min(max_drop_ratio, 1 - ema / (1 - nack_rate_threshold))

    Below `rps_threshold` calls in the last second (those refused here too) every answer counts as 1. Answers at one instant count
    once, the first of them: the average weighs time, not answers.

    With its window of two minutes it begins some 80 s after a total outage and ends as slowly: not for short ones.
    One per caller process and target, over all its endpoints.

    Source: finagle@24 `NackAdmissionFilter`, `LossyEma`.
    """

    kind: Literal["finagle_nack"] = Field("finagle_nack", description="chooses this rule")
    window: PositiveDuration = Field(120.0, description="mean age of the answers in the average")
    nack_rate_threshold: Annotated[Ratio, Field(gt=0, lt=1)] = Field(0.5, description="share of refusals that is put up with")
    max_drop_ratio: Ratio = Field(0.75, description="p is never more than this")
    rps_threshold: Annotated[int, Field(ge=0)] = Field(5, description="calls in a second from which refusals count")
    refusals: tuple[Refusal, ...] = Field(("rejected",), description="outcomes that are refusals")


_KINDS: Final = ("sre", "envoy", "finagle_nack")


def _kind(value: Any) -> str:
    return str(value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None))


#: Any of the rules, chosen by its `kind`.
AdaptiveThrottling = Annotated[
    Annotated[SreThrottling, Tag("sre")]
    | Annotated[AdmissionControl, Tag("envoy")]
    | Annotated[NackThrottling, Tag("finagle_nack")],
    Discriminator(
        _kind,
        custom_error_type="adaptive_throttling",
        custom_error_message=f"kind is not known; write one of {', '.join(_KINDS)}",
    ),
]


class ThrottleGate:
    """The state of one rule. A call that is allowed is settled exactly once. Times must not fall between calls.

    >>> gate = throttle_gate(AdmissionControl())
    >>> for _ in range(10):
    ...     gate.settle(0.0, "error")
    >>> gate.allows(0.1, u=0.79), gate.allows(0.1, u=0.81)
    (False, True)
    """

    __slots__ = ("_refusals",)

    def __init__(self, spec: AdaptiveThrottling) -> None:
        self._refusals = frozenset(spec.refusals)

    def allows(self, now_s: float, u: float) -> bool:
        """Whether a call may be sent, by a uniform number."""
        raise NotImplementedError

    def settle(self, now_s: float, outcome: str) -> None:
        """Say how a call ended that was allowed; one that was abandoned, or never sent after all, says nothing."""
        if outcome not in _SILENT:
            self._learn(now_s, outcome not in self._refusals)

    def _learn(self, now_s: float, accepted: bool) -> None:
        raise NotImplementedError


def throttle_gate(spec: AdaptiveThrottling) -> ThrottleGate:
    """The gate of a rule, as it is at the start of a process."""
    match spec:
        case SreThrottling():
            return _SreGate(spec)
        case AdmissionControl():
            return _EnvoyGate(spec)
        case NackThrottling():
            return _NackGate(spec)


class _Tally:
    """Two counts over a window, in buckets that begin with the first thing in them and fall out whole."""

    __slots__ = ("_bucket_s", "_buckets", "_window_s", "all", "good")

    def __init__(self, window_s: float, bucket_s: float) -> None:
        self._window_s = window_s
        self._bucket_s = bucket_s
        self._buckets: deque[list[float]] = deque()  # when it began, all, good
        self.all = 0
        self.good = 0

    def add(self, now_s: float, everything: int, good: int) -> None:
        self.forget(now_s)
        if not self._buckets or now_s - self._buckets[-1][0] >= self._bucket_s:
            self._buckets.append([now_s, 0, 0])
        self._buckets[-1][1] += everything
        self._buckets[-1][2] += good
        self.all += everything
        self.good += good

    def forget(self, now_s: float) -> None:
        while self._buckets and now_s - self._buckets[0][0] >= self._window_s:
            _, everything, good = self._buckets.popleft()
            self.all -= int(everything)
            self.good -= int(good)

    def oldest_s(self, now_s: float) -> float:
        """Age of the oldest bucket; 0 without any."""
        return now_s - self._buckets[0][0] if self._buckets else 0.0


class _SreGate(ThrottleGate):
    __slots__ = ("_multiplier", "_tally")

    def __init__(self, spec: SreThrottling) -> None:
        super().__init__(spec)
        self._multiplier = spec.multiplier
        self._tally = _Tally(spec.window, spec.window / 120)

    def allows(self, now_s: float, u: float) -> bool:
        tally = self._tally
        tally.forget(now_s)
        p = (tally.all - self._multiplier * tally.good) / (tally.all + 1)
        tally.add(now_s, 1, 0)
        return u >= p

    def _learn(self, now_s: float, accepted: bool) -> None:
        if accepted:
            self._tally.add(now_s, 0, 1)


class _EnvoyGate(ThrottleGate):
    __slots__ = ("_exponent", "_most", "_rps", "_tally", "_threshold", "_window_s")

    def __init__(self, spec: AdmissionControl) -> None:
        super().__init__(spec)
        self._threshold = spec.success_threshold_percent / 100.0
        self._exponent = 1.0 / spec.aggression
        self._most = spec.max_rejection_percent / 100.0
        self._rps = spec.rps_threshold
        self._window_s = float(max(1, round(spec.window)))  # Envoy rounds it to whole seconds
        self._tally = _Tally(self._window_s, 1.0)

    def allows(self, now_s: float, u: float) -> bool:
        tally = self._tally
        # The rate is taken from what is remembered before anything is forgotten, over its whole age.
        if self._rps and tally.all // int(max(self._window_s, tally.oldest_s(now_s))) < self._rps:
            return True
        tally.add(now_s, 0, 0)  # a bucket may begin with a look, too
        p = (tally.all - tally.good / self._threshold) / (tally.all + 1)
        return p <= 0.0 or u >= min(p**self._exponent, self._most)

    def _learn(self, now_s: float, accepted: bool) -> None:
        self._tally.add(now_s, 1, accepted)


class _NackGate(ThrottleGate):
    __slots__ = ("_calls", "_ema", "_last_s", "_most", "_put_up_with", "_rps", "_window_s")

    def __init__(self, spec: NackThrottling) -> None:
        super().__init__(spec)
        self._window_s = spec.window
        self._put_up_with = 1.0 - spec.nack_rate_threshold
        self._most = spec.max_drop_ratio
        self._rps = spec.rps_threshold
        self._calls = SlottedSum(_NACK_WINDOW_S)
        self._ema = 1.0
        self._last_s: float | None = None  # when the average was last moved; at first when the first call is made

    def allows(self, now_s: float, u: float) -> bool:
        self._calls.add(now_s, 1)
        if self._last_s is None:
            self._last_s = now_s
        if self._ema >= self._put_up_with:
            return True
        return u >= min(self._most, 1.0 - self._ema / self._put_up_with)

    def _learn(self, now_s: float, accepted: bool) -> None:
        passed_s = now_s - (now_s if self._last_s is None else self._last_s)
        accepted = accepted or self._calls.total(now_s) < self._rps
        self._ema += -math.expm1(-passed_s / self._window_s) * (accepted - self._ema)
        self._last_s = now_s
