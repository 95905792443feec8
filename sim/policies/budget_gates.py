"""Gates of retry budgets: what all calls of a caller process to a target have spent on retries. The rules are in `budget`.

A call opens an account with the gate, and closes it exactly once:

::

    account = gate.begin(now_s)                the first try leaves
    account.failed(now_s, outcome)             a try ended in an outcome that is tried again, whether a try is left or not
    account.may_retry(now_s, outcome)          … and a try is left: the next one is paid for, or refused
    account.sent(now_s)                        the pause is over, the next try leaves
    account.end(now_s, outcome)                the call is over; `in_flight`: it was abandoned

`may_retry` is asked before the pause. It gives back the retry that was in progress before it takes the next one. Without `failed`
before it, it asks for a hedge: another try beside those under way.
"""

from __future__ import annotations

import math
from typing import Final

from sim.policies.budget import (
    ConcurrencyBudget,
    DepositBudget,
    FailureRateBudget,
    QuotaBudget,
    RetryBudget,
    TokenRatioBudget,
    WindowedRatioBudget,
)
from sim.policies.slots import SlottedSum
from sim.records import GOOD_OUTCOMES

_MILLI: Final = 1000  # gRPC and Finagle count in whole thousandths


class Account:
    """What one call has with a budget. Kinds that keep nothing per call give all calls the same one."""

    __slots__ = ()

    def failed(self, now_s: float, outcome: str) -> None:
        """A try ended in an outcome that is tried again, whether or not a try is left."""

    def may_retry(self, now_s: float, outcome: str) -> bool:
        """Whether another try may follow the one that ended in `outcome`; it is paid for if so."""
        raise NotImplementedError

    def sent(self, now_s: float) -> None:
        """Another try leaves, after its pause."""

    def end(self, now_s: float, outcome: str) -> None:
        """The call is over, with the outcome of the whole; `in_flight` if it was abandoned. Exactly once."""


class BudgetGate:
    """The state of one budget. Times must not fall between calls."""

    __slots__ = ()

    def begin(self, now_s: float) -> Account:
        """Open an account for a call whose first try leaves now."""
        raise NotImplementedError


def budget_gate(spec: RetryBudget) -> BudgetGate:
    """The gate of a budget, as it is at the start of a process."""
    match spec:
        case ConcurrencyBudget():
            return _ConcurrencyGate(spec)
        case WindowedRatioBudget():
            return WindowedGate(spec)
        case TokenRatioBudget():
            return _TokenGate(spec)
        case QuotaBudget():
            return _QuotaGate(spec)
        case DepositBudget():
            return _DepositGate(spec)
        case FailureRateBudget():
            return _FailureRateGate(spec)


class _ConcurrencyGate(BudgetGate):
    __slots__ = ("_lately", "_least", "_percent", "retrying", "under_way")

    def __init__(self, spec: ConcurrencyBudget) -> None:
        self._percent = spec.budget_percent
        self._least = spec.min_concurrency
        self._lately = SlottedSum(spec.budget_interval, "tower") if spec.budget_interval else None
        self.under_way = 0
        self.retrying = 0

    def begin(self, now_s: float) -> Account:
        self.leave(now_s)
        return _ConcurrencyAccount(self)

    def leave(self, now_s: float) -> None:
        self.under_way += 1
        if self._lately is not None:
            self._lately.add(now_s, 1)

    def free(self, now_s: float) -> bool:
        tries = self.under_way if self._lately is None else self._lately.total(now_s)
        return self.retrying < max(int(self._percent / 100.0 * tries), self._least)


class _ConcurrencyAccount(Account):
    __slots__ = ("_ended", "_gate", "_retrying", "_under_way")

    def __init__(self, gate: _ConcurrencyGate) -> None:
        self._gate = gate
        self._under_way = 1  # tries of this call that count as under way
        self._ended = False  # one of them has failed, and counts until that has been judged
        self._retrying = False  # this call has a retry in progress

    def failed(self, now_s: float, outcome: str) -> None:
        self._forget_ended()
        self._ended = True
        if outcome == "timeout":  # a try that timed out is reset before anybody asks for another
            self._forget_ended()

    def may_retry(self, now_s: float, outcome: str) -> bool:
        self._give_back()
        self._retrying = self._gate.free(now_s)
        self._gate.retrying += self._retrying
        self._forget_ended()
        return self._retrying

    def sent(self, now_s: float) -> None:
        self._gate.leave(now_s)
        self._under_way += 1

    def end(self, now_s: float, outcome: str) -> None:
        self._give_back()
        self._gate.under_way -= self._under_way
        self._under_way = 0

    def _forget_ended(self) -> None:
        if self._ended:
            self._ended = False
            self._under_way -= 1
            self._gate.under_way -= 1

    def _give_back(self) -> None:
        self._gate.retrying -= self._retrying
        self._retrying = False


class WindowedGate(BudgetGate, Account):
    """A windowed ratio: also what limits the extra load of hedges."""

    __slots__ = ("_cost", "_deposit", "_on_call", "_per_call", "_reserve", "_sum")

    def __init__(self, spec: WindowedRatioBudget) -> None:
        scale = 1 if spec.counting == "tower" and spec.ratio <= 1 else _MILLI
        self._deposit = scale if spec.ratio else 0
        self._cost = int(scale / spec.ratio) if spec.ratio else 1
        self._reserve = spec.min_retries_per_second * int(spec.ttl) * self._cost
        self._sum = SlottedSum(spec.ttl, spec.counting)
        self._on_call = spec.deposit_on == "call"
        self._per_call = None if spec.per_call_percent is None else spec.per_call_percent / 100.0

    def begin(self, now_s: float) -> Account:
        """A call begins, and pays in."""
        if self._on_call:
            self._sum.add(now_s, self._deposit)
        if self._per_call is None:
            return self
        balance = self._balance(now_s) // self._cost
        return _WindowedAccount(self, math.ceil(self._per_call * balance))

    def may_retry(self, now_s: float, outcome: str) -> bool:
        """Pay for a retry, if the balance is enough."""
        allowed = self.affords(now_s)
        if allowed:
            self.pay(now_s)
        return allowed

    def affords(self, now_s: float) -> bool:
        """Whether the balance is enough for a retry."""
        return self._balance(now_s) >= self._cost

    def pay(self, now_s: float) -> None:
        """Take the cost of a retry off the balance."""
        self._sum.add(now_s, -self._cost)

    def end(self, now_s: float, outcome: str) -> None:
        """A call is over; a good one pays in, if that is what counts."""
        if not self._on_call and outcome in GOOD_OUTCOMES:
            self._sum.add(now_s, self._deposit)

    def _balance(self, now_s: float) -> int:
        return self._sum.total(now_s) + self._reserve


class _WindowedAccount(Account):
    __slots__ = ("_gate", "_left")

    def __init__(self, gate: WindowedGate, left: int) -> None:
        self._gate = gate
        self._left = left  # retries of this call

    def may_retry(self, now_s: float, outcome: str) -> bool:
        allowed = self._left > 0 and self._gate.may_retry(now_s, outcome)
        self._left -= allowed
        return allowed

    def end(self, now_s: float, outcome: str) -> None:
        self._gate.end(now_s, outcome)


class _TokenGate(BudgetGate, Account):
    __slots__ = ("_most", "_ratio", "_threshold", "_tokens")

    def __init__(self, spec: TokenRatioBudget) -> None:
        self._most = _thousandths(spec.max_tokens)
        self._ratio = _thousandths(spec.token_ratio)
        self._threshold = self._most // 2
        self._tokens = self._most

    def begin(self, now_s: float) -> Account:
        return self

    def failed(self, now_s: float, outcome: str) -> None:
        self._tokens = max(0, self._tokens - _MILLI)

    def may_retry(self, now_s: float, outcome: str) -> bool:
        return self._tokens > self._threshold

    def end(self, now_s: float, outcome: str) -> None:
        if outcome in GOOD_OUTCOMES:
            self._tokens = min(self._most, self._tokens + self._ratio)


def _thousandths(value: float) -> int:
    """Decimals beyond the third are ignored; what binary makes of the first three is not."""
    return math.floor(value * _MILLI + 1e-6)


class _QuotaGate(BudgetGate):
    __slots__ = ("_most", "left", "spec")

    def __init__(self, spec: QuotaBudget) -> None:
        self.spec = spec
        self._most = spec.capacity
        self.left = spec.capacity

    def begin(self, now_s: float) -> Account:
        return _QuotaAccount(self)

    def refund(self, units: int) -> None:
        self.left = min(self._most, self.left + units)


class _QuotaAccount(Account):
    __slots__ = ("_gate", "_refund")

    def __init__(self, gate: _QuotaGate) -> None:
        self._gate = gate
        self._refund = gate.spec.first_try_refund

    def may_retry(self, now_s: float, outcome: str) -> bool:
        spec = self._gate.spec
        cost = spec.timeout_cost if outcome == "timeout" else spec.rejected_cost if outcome == "rejected" else spec.retry_cost
        if cost > self._gate.left:
            return False
        self._gate.left -= cost
        self._refund = cost
        return True

    def end(self, now_s: float, outcome: str) -> None:
        if outcome in GOOD_OUTCOMES:
            self._gate.refund(self._refund)


class _DepositGate(BudgetGate, Account):
    __slots__ = ("_deposit", "_on_call", "_size", "_tokens")

    def __init__(self, spec: DepositBudget) -> None:
        self._deposit = spec.deposit
        self._size = spec.size
        self._tokens = spec.size
        self._on_call = spec.deposit_on == "call"

    def begin(self, now_s: float) -> Account:
        if self._on_call:
            self._fill()
        return self

    def may_retry(self, now_s: float, outcome: str) -> bool:
        if self._tokens <= 1.0:
            return False
        self._tokens -= 1.0
        return True

    def end(self, now_s: float, outcome: str) -> None:
        if not self._on_call and outcome in GOOD_OUTCOMES:
            self._fill()

    def _fill(self) -> None:
        self._tokens = min(self._size, self._tokens + self._deposit)


class _FailureRateGate(BudgetGate, Account):
    __slots__ = ("_calls", "_failures", "_percent")

    def __init__(self, spec: FailureRateBudget) -> None:
        self._percent = spec.max_failure_percent
        self._calls = 0
        self._failures = 0

    def begin(self, now_s: float) -> Account:
        self._calls += 1
        return self

    def failed(self, now_s: float, outcome: str) -> None:
        self._failures += 1

    def may_retry(self, now_s: float, outcome: str) -> bool:
        return self._failures * 100.0 <= self._percent * self._calls
