"""Retry budgets: how many retries all calls together may make. Five kinds that cannot be translated into each other.

::

    concurrency      retries in progress, against calls in progress               Envoy, Istio
    windowed_ratio   retries lately, against calls lately                         Finagle, tower, Linkerd
    token_ratio      failures, against successes; time changes nothing            gRPC
    quota            a purse that retries take from and successes fill            AWS SDKs
    deposit          a bucket that each call drops a part of a retry into         Brooker
    failure_rate     retries only while few calls fail, over the whole life       Brooker, "retry circuit breaker"

Their gates are in `sim.policies.budget_gates`, one per caller process and target.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from sim.policies.slots import Counting
from sim.values import Duration, PositiveDuration, Spec

_Percent = Annotated[float, Field(ge=0, le=100)]
_Count = Annotated[int, Field(ge=0)]

#: What fills a budget: every call when it begins, or only one that ends well.
DepositOn = Literal["call", "ok"]


class ConcurrencyBudget(Spec):
    """Few retries at a time: so many percent of the tries that are under way, at least `min_concurrency`.

    ::

        a retry is allowed while   retries in progress < max(⌊budget_percent/100 · tries under way⌋, min_concurrency)

    A retry is in progress from the start of its pause to the end of its try. A try that has just failed still counts as under
    way, one that timed out does not. With `budget_percent: 0` it is a plain cap: Envoy without any setting allows 3 retries at
    a time (its default `max_retries`), and refuses the fourth. Istio sets that cap to 2^32 - 1.

    It shrinks the storm by itself when tries become slow, but long pauses fill it, and at low load it is the minimum alone.
    Not for callers with one call at a time: for them it is no budget at all. One per caller process and target.

    Source: envoy@1.40 `ResourceManagerImpl` and `RetryStateImpl`; measured there: 2.5 tries per call become 1.7 at 70 % failures.

    >>> from sim.policies.budget_gates import budget_gate
    >>> gate = budget_gate(ConcurrencyBudget(budget_percent=20, min_concurrency=1))
    >>> calls = [gate.begin(0.0) for _ in range(10)]
    >>> [call.may_retry(0.0, "error") for call in calls[:3]]
    [True, True, False]
    """

    kind: Literal["concurrency"] = Field("concurrency", description="chooses this budget")
    budget_percent: _Percent = Field(20.0, description="retries in progress, of the tries under way; 0: min_concurrency is a cap")
    min_concurrency: _Count = Field(3, description="retries in progress that are always allowed")
    budget_interval: Duration = Field(
        0.0, description="percent of the tries that left in this time instead of those under way; 0: those under way"
    )


class WindowedRatioBudget(Spec):
    """Retries are a share of the calls of the last seconds, with a reserve for callers that make few.

    ::

        balance = deposits - cost · retries, both of the last `ttl`, + reserve            cost = 1 / ratio calls
        a retry is allowed while   balance >= cost                                        reserve = min_retries_per_second · ttl

    A fresh caller may make `min_retries_per_second` · `ttl` retries at once (100 by default). In the long run the load is at
    most 1 + `ratio` times the calls, plus the reserve. `tower` counts in whole calls where `ratio` is at most 1: 0.3 becomes 1/3,
    0.4 becomes 1/2; and it forgets after about half of `ttl`, so that the reserve comes twice as often (see `SlottedSum`).

    Not for a long outage on its own: the reserve goes on. One per caller process and target.

    Source: finagle@24 `RetryBudget` (retries deposit with each call; the requeues of a client without retries with each good
    one, and one call may spend 20 % of the balance); tower@0.5 and linkerd `TpsBudget`.

    >>> from sim.policies.budget_gates import budget_gate
    >>> call = budget_gate(WindowedRatioBudget(ratio=0.5, min_retries_per_second=0)).begin(0.0)
    >>> call.may_retry(0.0, "error")
    False
    """

    kind: Literal["windowed_ratio"] = Field("windowed_ratio", description="chooses this budget")
    ratio: Annotated[float, Field(ge=0, le=1000)] = Field(0.2, description="retries per call; 0: the reserve alone")
    ttl: PositiveDuration = Field(10.0, description="how long calls and retries are remembered; from 1s to 60s")
    min_retries_per_second: _Count = Field(10, description="retries on top, for fresh callers and those with few calls")
    deposit_on: DepositOn = Field("call", description="what counts: every call when it begins, or only one that ends well")
    per_call_percent: _Percent | None = Field(
        None, description="of the balance that a call finds, what it may spend on its own; absent: everything"
    )
    counting: Counting = Field("finagle", description="how the window moves, and whether a retry costs a whole number of calls")

    @model_validator(mode="after")
    def _within_a_minute(self) -> WindowedRatioBudget:
        if not 1.0 <= self.ttl <= 60.0:
            raise ValueError(f"ttl = {self.ttl:g} s must lie between 1s and 60s")
        return self


class TokenRatioBudget(Spec):
    """Retries while successes outweigh failures: tokens fall by 1 with each failure and rise by `token_ratio` with each success.

    ::

        tokens = max_tokens at first, between 0 and max_tokens
        a failure that would be retried: - 1, also if no try is left · a call that ends well: + token_ratio
        a retry or hedge is allowed while   tokens > max_tokens / 2            the failure itself is taken off before

    With failure probability f per try it holds while f < token_ratio / (1 + token_ratio): 9.1 % for 0.1. Beyond it, retries end
    for good until enough calls have succeeded; time alone never brings them back. Whole thousandths count, as in C-core and Java.

    Not for callers with few calls: `max_tokens: 10` is spent after 5 failures. One per caller process and target; in gRPC one
    per channel and server name, over all methods.

    Source: gRFC A6; grpc-go `retryThrottler`, grpc-java `RetriableStream.Throttle`.

    >>> from sim.policies.budget_gates import budget_gate
    >>> call = budget_gate(TokenRatioBudget(max_tokens=4, token_ratio=0.1)).begin(0.0)
    >>> for _ in range(2):
    ...     call.failed(0.0, "error")
    ...     call.may_retry(0.0, "error")
    True
    False
    """

    kind: Literal["token_ratio"] = Field("token_ratio", description="chooses this budget")
    max_tokens: Annotated[float, Field(ge=0.001, le=1000)] = Field(10.0, description="tokens at first and at most")
    token_ratio: Annotated[float, Field(ge=0.001)] = Field(0.1, description="tokens for a call that ends well")


class QuotaBudget(Spec):
    """A purse that is full at first: a retry takes its cost from it, a call that ends well pays back.

    ::

        a retry is allowed while   purse >= its cost
        a call that ends well: + first_try_refund after no retry, else + the cost of its last retry · any other: nothing

    The cost depends on the outcome that is retried: `AWS_STANDARD` has 5, and 10 for a timeout; `AWS_2026` has 14, and 5 for a
    refusal by the server (throttling). In a total outage a full purse of 500 gives 100 retries (35 since 2026), then none; it
    takes as many good calls as it has units to fill.

    Not for a caller with many targets behind it: one failing target empties it for all. One per caller process and target.

    Source: botocore@1.43 `retries/standard.py` (`RetryQuotaChecker`), 2.0 and 2.1.

    >>> from sim.policies.budget_gates import budget_gate
    >>> call = budget_gate(QuotaBudget(capacity=12)).begin(0.0)
    >>> call.may_retry(0.0, "error"), call.may_retry(0.0, "timeout"), call.may_retry(0.0, "error")
    (True, False, True)
    """

    kind: Literal["quota"] = Field("quota", description="chooses this budget")
    capacity: _Count = Field(500, description="units at first and at most")
    retry_cost: _Count = Field(5, description="of a retry after an outcome that is not named below")
    timeout_cost: _Count = Field(10, description="of a retry after a timeout")
    rejected_cost: _Count = Field(5, description="of a retry after the server refused")
    first_try_refund: _Count = Field(1, description="for a call that ends well at once")


#: The numbers of the AWS SDKs before 2026 (standard mode) and since.
AWS_STANDARD: Final = QuotaBudget()
AWS_2026: Final = QuotaBudget(retry_cost=14, timeout_cost=14, rejected_cost=5)


class DepositBudget(Spec):
    """A small bucket, full at first: each call drops a part of a token into it, each retry takes a whole one.

    ::

        tokens = min(size, tokens + deposit) at each call
        a retry is allowed while   tokens > 1, and takes 1

    Few failures are all retried; many leave a load of 1 + `deposit` times the calls. Limit `max_attempts` as well: the rule
    itself lets one call empty the bucket. Not for many clients with few calls each: they bring `size` retries per client.
    One per caller process and target.

    Source: M. Brooker, "Fixing retries with token buckets and circuit breakers", 2022 (the simulation there deposits with every
    call; the text says: with every good one).

    >>> from sim.policies.budget_gates import budget_gate
    >>> call = budget_gate(DepositBudget(size=2.5)).begin(0.0)
    >>> [call.may_retry(0.0, "error") for _ in range(3)]
    [True, True, False]
    """

    kind: Literal["deposit"] = Field("deposit", description="chooses this budget")
    deposit: Annotated[float, Field(ge=0)] = Field(0.1, description="tokens for a call")
    size: Annotated[float, Field(ge=0)] = Field(5.0, description="tokens at first and at most")
    deposit_on: DepositOn = Field("call", description="what counts: every call when it begins, or only one that ends well")


class FailureRateBudget(Spec):
    """No retries at all once too many calls have failed: a breaker that stops retries and lets first tries through.

    ::

        a retry is allowed while   failed tries / calls <= max_failure_percent / 100            counted over the whole life

    Each failed try counts, also that of a retry, and also if no try is left. Nothing is ever forgotten, so a long calm hides the
    start of an outage and a long outage its end. Of many small clients each has seen too little: of one call, one failure is
    100 %. Choose it to compare; `deposit` retries the same few failures and does not lock itself out.
    One per caller process and target.

    Source: M. Brooker, "Fixing retries with token buckets and circuit breakers", 2022 (its simulation).

    >>> from sim.policies.budget_gates import budget_gate
    >>> gate = budget_gate(FailureRateBudget(max_failure_percent=50))
    >>> first, second = gate.begin(0.0), gate.begin(0.0)
    >>> for call in (first, second):
    ...     call.failed(0.0, "error")
    ...     call.may_retry(0.0, "error")
    True
    False
    """

    kind: Literal["failure_rate"] = Field("failure_rate", description="chooses this budget")
    max_failure_percent: _Percent = Field(10.0, description="failed tries per call that still allow retries")


_KINDS: Final = ("concurrency", "windowed_ratio", "token_ratio", "quota", "deposit", "failure_rate")


def _kind(value: Any) -> str:
    return str(value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None))


#: Any of the budgets, chosen by its `kind`.
RetryBudget = Annotated[
    Annotated[ConcurrencyBudget, Tag("concurrency")]
    | Annotated[WindowedRatioBudget, Tag("windowed_ratio")]
    | Annotated[TokenRatioBudget, Tag("token_ratio")]
    | Annotated[QuotaBudget, Tag("quota")]
    | Annotated[DepositBudget, Tag("deposit")]
    | Annotated[FailureRateBudget, Tag("failure_rate")],
    Discriminator(
        _kind,
        custom_error_type="retry_budget",
        custom_error_message=f"kind is not known; write one of {', '.join(_KINDS)}",
    ),
]
