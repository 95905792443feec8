"""Retry: which outcomes are tried again, how often, and after which pause."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.values import Duration, Spec

#: Outcomes that a retry can be told to act on.
RetryOn = Literal["error", "timeout", "rejected", "unreachable"]


class Backoff(Spec):
    """The pause before retry n (n = 1 for the first retry), in seconds.

    ::

        constant     v(n) = base
        linear       v(n) = base · n
        exponential  v(n) = base · multiplier^(n - 1)        all capped: v = min(max, v)

        jitter none v · full U(0, v) · equal v/2 + U(0, v/2) · decorrelated min(max, U(base, 3 · previous))

    Without jitter, callers that failed together return together; full jitter spreads them best per call, at half of the mean
    pause (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015). Decorrelated jitter ignores `kind`; its first
    "previous" is `base`. Not for overload on its own: a pause delays the storm, only a budget shrinks it.

    >>> Backoff(kind="exponential", base="10ms", max="1s").pause_s(retry=3, previous_s=0.02, u=0.5)
    0.04
    """

    kind: Literal["constant", "linear", "exponential"] = Field("exponential", description="how the pause grows")
    base: Duration = Field(0.0, description="pause before the first retry; 0 means at once")
    multiplier: Annotated[float, Field(ge=1, description="growth per retry, exponential only")] = 2.0
    max: Duration = Field(20.0, description="largest pause")
    jitter: Literal["none", "full", "equal", "decorrelated"] = Field("none", description="how the pause is spread")

    def pause_s(self, retry: int, previous_s: float, u: float) -> float:
        """Pause before the given retry, from the previous pause (decorrelated only) and a uniform number."""
        if self.jitter == "decorrelated":
            previous_s = previous_s or self.base
            return min(self.max, self.base + u * max(0.0, 3 * previous_s - self.base))
        if self.kind == "constant":
            pause = self.base
        elif self.kind == "linear":
            pause = self.base * retry
        else:
            # Beyond 2^1000 the power overflows; the cap has long been reached by then.
            pause = self.base * self.multiplier ** min(retry - 1, 1000) if self.multiplier <= 2 else self._steep(retry)
        pause = min(self.max, pause)
        if self.jitter == "full":
            return u * pause
        if self.jitter == "equal":
            return pause / 2 + u * pause / 2
        return pause

    def _steep(self, retry: int) -> float:
        if not self.base:
            return 0.0
        try:
            return self.base * self.multiplier ** (retry - 1)
        except OverflowError:
            return self.max


class Retry(Spec):
    """Try a call again: at most `max_attempts` times in all, the first included.

    In expectation (1 - f^a) / (1 - f) attempts for failure probability f and a attempts in all; through layers the attempts
    multiply. Not for calls that must not happen twice, and not under overload without a limit.

    >>> Retry(max_attempts=3).again(attempt=2, outcome="error"), Retry(max_attempts=3).again(attempt=3, outcome="error")
    (True, False)
    """

    max_attempts: Annotated[int, Field(ge=1)] | Literal["unlimited"] = Field(1, description="tries in all, the first included")
    backoff: Backoff = Field(Backoff(), description="the pause between tries")
    on: tuple[RetryOn, ...] = Field(
        ("error", "timeout", "rejected", "unreachable"), description="the outcomes that are tried again"
    )

    def again(self, attempt: int, outcome: str) -> bool:
        """Whether attempt number `attempt` (from 1), which ended in `outcome`, is followed by another."""
        return outcome in self.on and (self.max_attempts == "unlimited" or attempt < self.max_attempts)
