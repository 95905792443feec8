"""Retry budgets as decisions: told what happens and when, they allow a retry or refuse it."""

from __future__ import annotations

import random
from heapq import heapify, heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from sim.policies.budget import (
    AWS_2026,
    AWS_STANDARD,
    ConcurrencyBudget,
    DepositBudget,
    FailureRateBudget,
    QuotaBudget,
    TokenRatioBudget,
    WindowedRatioBudget,
)
from sim.policies.budget_gates import budget_gate
from sim.policies.retry import Retry
from sim.policies.slots import SlottedSum


def fails(account, now_s=0.0, outcome="error"):
    """A try fails; whether another may follow."""
    account.failed(now_s, outcome)
    return account.may_retry(now_s, outcome)


def succeeds(gate, now_s=0.0, calls=1):
    for _ in range(calls):
        gate.begin(now_s).end(now_s, "ok")


def retries(gate, now_s=0.0, outcome="error", most=1000):
    """How many retries a single call that always fails gets."""
    account, found = gate.begin(now_s), 0
    while found < most and fails(account, now_s, outcome):
        account.sent(now_s)
        found += 1
    account.end(now_s, outcome)
    return found


# Envoy: retries in progress.


def test_without_any_setting_envoy_retries_three_at_a_time():
    gate = budget_gate(ConcurrencyBudget(budget_percent=0, min_concurrency=3))
    calls = [gate.begin(0.0) for _ in range(100)]
    assert [fails(call) for call in calls[:5]] == [True, True, True, False, False]


def test_a_retry_is_in_progress_from_the_start_of_its_pause_to_the_end_of_its_try():
    gate = budget_gate(ConcurrencyBudget(budget_percent=0, min_concurrency=1))
    first, second = gate.begin(0.0), gate.begin(0.0)
    assert fails(first, 0.0)
    assert not fails(second, 0.1)  # the first one pauses
    first.sent(1.0)
    assert not fails(second, 1.1)  # the first one tries again
    assert fails(first, 1.2)  # it has given its place back, and takes it anew
    first.sent(1.3)
    first.end(1.4, "ok")
    assert fails(second, 1.5)
    second.end(1.6, "in_flight")  # abandoned in its pause
    assert fails(gate.begin(2.0), 2.1)


def test_a_fifth_of_the_tries_under_way_may_be_retries_in_whole_numbers_and_three_in_any_case():
    for under_way, allowed in ((1, 3), (19, 3), (20, 4), (24, 4), (25, 5), (50, 10)):
        gate = budget_gate(ConcurrencyBudget())
        calls = [gate.begin(0.0) for _ in range(under_way)]
        refused = [gate.begin(0.0) for _ in range(10)]
        for call in refused:
            call.end(0.0, "ok")  # over, no longer under way
        # None of the tries has failed: these are hedges, so that all of them stay under way.
        assert sum(call.may_retry(0.0, "in_flight") for call in [*calls, *refused]) == allowed


def test_the_try_that_has_just_failed_counts_as_under_way_but_not_one_that_timed_out():
    # 10 tries under way, 10 % of them: one retry. After a timeout only 9 are left, and none is allowed.
    for outcome, allowed in (("error", True), ("timeout", False)):
        gate = budget_gate(ConcurrencyBudget(budget_percent=10, min_concurrency=0))
        calls = [gate.begin(0.0) for _ in range(10)]
        assert fails(calls[0], 0.0, outcome) == allowed
        # Once it has been judged, it is over: 9 are left, also for the next one.
        assert not fails(calls[1], 0.0)


def test_a_call_that_pauses_has_no_try_under_way():
    gate = budget_gate(ConcurrencyBudget(budget_percent=50, min_concurrency=0))
    first, second = gate.begin(0.0), gate.begin(0.0)
    assert fails(first)  # half of two
    third = gate.begin(0.0)
    assert not fails(third)  # half of two: the first one only pauses
    first.sent(1.0)
    fourth, fifth = gate.begin(1.0), gate.begin(1.0)
    assert fails(second)  # half of four: first, second, fourth, fifth
    for call in (first, second, third, fourth, fifth):
        call.end(2.0, "ok")
    assert not budget_is_used(gate)


def budget_is_used(gate):
    return bool(gate.under_way or gate.retrying)


def test_tries_of_one_call_side_by_side_all_count():
    gate = budget_gate(ConcurrencyBudget(budget_percent=100, min_concurrency=0))
    call = gate.begin(0.0)
    assert call.may_retry(0.5, "in_flight")  # a hedge: nothing has failed
    call.sent(0.5)
    assert gate.under_way == 2
    call.failed(0.6, "error")  # no try is left, nobody asks
    call.failed(0.7, "error")
    assert gate.under_way == 1  # the first of them is over; the second has only just failed
    call.end(0.7, "error")
    assert not budget_is_used(gate)


def test_with_an_interval_the_tries_that_left_lately_count_instead_of_those_under_way():
    gate = budget_gate(ConcurrencyBudget(budget_percent=20, min_concurrency=0, budget_interval="10s"))
    succeeds(gate, 0.0, calls=9)
    first, second, third = gate.begin(0.0), gate.begin(0.1), gate.begin(0.2)  # 12 have left: two retries
    assert [fails(call, 0.3) for call in (first, second, third)] == [True, True, False]
    for call in (first, second, third):
        call.end(0.4, "error")
    assert not fails(gate.begin(30.0), 30.0)  # one has left lately


class EnvoyMachine(RuleBasedStateMachine):
    """Calls in any order against a plain count of where each of them is."""

    @initialize(percent=st.integers(0, 100), least=st.integers(0, 3))
    def start(self, percent, least):
        self.percent, self.least = percent, least
        self.gate = budget_gate(ConcurrencyBudget(budget_percent=percent, min_concurrency=least))
        self.calls = []  # [account, where it is: "trying", "retrying", "pausing"]

    def count(self, *places):
        return sum(place in places for _, place in self.calls)

    @rule()
    def begins(self):
        self.calls.append([self.gate.begin(0.0), "trying"])

    @precondition(lambda self: self.count("trying", "retrying"))
    @rule(data=st.data(), outcome=st.sampled_from(["error", "timeout", "unreachable"]))
    def a_try_fails(self, data, outcome):
        call = data.draw(st.sampled_from([c for c in self.calls if c[1] != "pausing"]))
        under_way = self.count("trying", "retrying") - (outcome == "timeout")
        in_progress = self.count("pausing", "retrying") - (call[1] == "retrying")
        allowed = in_progress < max(self.percent * under_way // 100, self.least)
        assert fails(call[0], 0.0, outcome) == allowed
        if allowed:
            call[1] = "pausing"
        else:
            call[0].end(0.0, outcome)
            self.calls.remove(call)

    @precondition(lambda self: self.count("pausing"))
    @rule(data=st.data())
    def a_pause_ends(self, data):
        call = data.draw(st.sampled_from([c for c in self.calls if c[1] == "pausing"]))
        call[0].sent(0.0)
        call[1] = "retrying"

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "in_flight", "timeout"]))
    def a_call_ends(self, data, outcome):
        call = data.draw(st.sampled_from(self.calls))
        call[0].end(0.0, outcome)
        self.calls.remove(call)

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "calls"):
            assert self.gate.under_way == self.count("trying", "retrying")
            assert self.gate.retrying == self.count("pausing", "retrying")


TestEnvoy = EnvoyMachine.TestCase
TestEnvoy.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Finagle and tower: lately.


def test_a_fresh_client_may_make_a_hundred_retries_at_once():
    gate = budget_gate(WindowedRatioBudget())
    assert retries(gate) == 100
    assert retries(gate, 9.0) == 0


def test_five_calls_pay_for_one_retry_for_ten_seconds():
    gate = budget_gate(WindowedRatioBudget(min_retries_per_second=0))
    succeeds(gate, 0.0, calls=9)
    assert retries(gate, 0.5) == 2  # with its own deposit: 10 calls
    succeeds(gate, 1.0, calls=10)
    assert retries(gate, 20.0) == 0


def test_withdrawals_are_forgotten_as_deposits_are():
    # With a look each second: at 5 s the reserve is spent; it comes back when the withdrawals fall out.
    gate = budget_gate(WindowedRatioBudget(ratio=0, min_retries_per_second=1))
    spent = {now_s: retries(gate, float(now_s)) for now_s in range(22)}
    assert {now_s: n for now_s, n in spent.items() if n} == {0: 10, 10: 10, 20: 10}


def test_in_the_long_run_the_load_is_one_fifth_more_than_the_calls():
    gate = budget_gate(WindowedRatioBudget(min_retries_per_second=0))
    allowed = sum(retries(gate, i * 0.01, most=1) for i in range(100_000))
    assert allowed == pytest.approx(20_000, rel=0.01)


def test_only_good_calls_deposit_if_so_said():
    gate = budget_gate(WindowedRatioBudget(ratio=1, min_retries_per_second=0, deposit_on="ok"))
    assert retries(gate) == 0
    gate.begin(0.0).end(0.0, "in_flight")
    gate.begin(0.0).end(0.0, "timeout")
    assert retries(gate) == 0
    succeeds(gate, calls=2)
    gate.begin(0.0).end(0.0, "degraded")
    assert retries(gate) == 3


def test_one_call_may_spend_a_fifth_of_the_balance_that_it_finds():
    gate = budget_gate(WindowedRatioBudget(min_retries_per_second=1, per_call_percent=20))
    # Ten retries are in reserve: two of ten, two of eight, two of seven (rounded up) …
    assert [retries(gate) for _ in range(5)] == [2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("ratio", "counting", "calls_per_retry"),
    [
        (0.2, "finagle", 5),
        (0.4, "finagle", 2.5),
        (0.3, "finagle", 3.333),
        (0.4, "tower", 2),
        (0.3, "tower", 3),
        (0.7, "tower", 1),
    ],
)
def test_tower_counts_the_cost_of_a_retry_in_whole_calls(ratio, counting, calls_per_retry):
    gate = budget_gate(WindowedRatioBudget(ratio=ratio, min_retries_per_second=0, counting=counting))
    succeeds(gate, calls=9_999)
    assert retries(gate, most=10**5) == int(10_000 / calls_per_retry)


def test_more_than_one_retry_per_call():
    for counting in ("finagle", "tower"):
        gate = budget_gate(WindowedRatioBudget(ratio=2, min_retries_per_second=0, counting=counting))
        assert retries(gate) == 2


def test_a_slotted_sum_forgets_whole_slots():
    total = SlottedSum(10.0)
    for now_s in range(10):
        total.add(float(now_s), 1)
    assert [total.total(9.0), total.total(9.99), total.total(10.0), total.total(12.5)] == [10, 10, 9, 7]
    assert total.total(100.0) == 0


def test_a_slot_begins_with_a_look_so_a_rare_one_keeps_for_longer():
    total = SlottedSum(10.0)
    total.add(0.0, 1)
    total.add(1.9, 1)  # ends the first slot late: the second lasts to 2.9 s
    assert total.total(2.8) == 2
    assert total.total(10.5) == 2
    assert total.total(11.6) == 1


def test_the_window_of_tower_holds_half_of_what_it_says():
    finagle, tower = SlottedSum(10.0), SlottedSum(10.0, "tower")
    found = []
    for i in range(10_000):
        now_s = i * 0.0101
        for total in (finagle, tower):
            total.add(now_s, 1)
        found.append((finagle.total(now_s), tower.total(now_s)))
    settled = found[5_000:]
    assert sum(f for f, _ in settled) / len(settled) == pytest.approx(9.5 * 99, rel=0.02)
    assert sum(t for _, t in settled) / len(settled) == pytest.approx(5.5 * 99, rel=0.02)


def test_the_window_of_tower_looked_at_exactly_on_time_is_whole():
    total = SlottedSum(10.0, "tower")
    for now_s in range(20):
        total.add(float(now_s), 1)
    assert total.total(19.5) == 11


# gRPC: failures against successes.


def test_grpc_retries_until_half_of_the_tokens_are_gone():
    gate = budget_gate(TokenRatioBudget(max_tokens=10, token_ratio=0.1))
    assert retries(gate) == 4  # 9, 8, 7, 6 left; the fifth failure makes it 5, not above the half
    succeeds(gate, calls=9)
    assert not fails(gate.begin(0.0))  # 5 + 0.9 - 1
    assert not fails(gate.begin(1e9))  # 4.9 - 1: time adds nothing
    succeeds(gate, calls=22)
    assert fails(gate.begin(1e9))  # 3.9 + 2.2 - 1


def test_grpc_a_failure_counts_though_no_try_is_left():
    gate = budget_gate(TokenRatioBudget(max_tokens=4, token_ratio=1))
    gate.begin(0.0).failed(0.0, "error")
    assert not fails(gate.begin(0.0))


def test_grpc_a_hedge_is_allowed_above_the_half_and_costs_nothing():
    gate = budget_gate(TokenRatioBudget(max_tokens=2, token_ratio=0.5))
    assert all(gate.begin(0.0).may_retry(0.0, "in_flight") for _ in range(5))
    gate.begin(0.0).failed(0.0, "error")
    assert not gate.begin(0.0).may_retry(0.0, "in_flight")
    gate.begin(0.0).end(0.0, "ok")
    assert gate.begin(0.0).may_retry(0.0, "in_flight")


def test_grpc_knows_thousandths():
    gate = budget_gate(TokenRatioBudget(max_tokens=1, token_ratio=0.5009))
    gate.begin(0.0).failed(0.0, "error")
    succeeds(gate)
    assert not gate.begin(0.0).may_retry(0.0, "error")  # 0.500 is not above the half; 0.5009 would be
    gate = budget_gate(TokenRatioBudget(max_tokens=2, token_ratio=1.001))  # which is 1000.9999999999999 thousandths in binary
    for _ in range(9):
        gate.begin(0.0).failed(0.0, "error")
    succeeds(gate)
    assert gate.begin(0.0).may_retry(0.0, "error")  # from zero, not below; and 1.001 is above the half


class GrpcMachine(RuleBasedStateMachine):
    """Against gRFC A6 in whole thousandths."""

    @initialize(most=st.integers(1, 20), ratio=st.integers(1, 2000))
    def start(self, most, ratio):
        self.gate = budget_gate(TokenRatioBudget(max_tokens=most, token_ratio=ratio / 1000))
        self.most, self.ratio, self.tokens = most * 1000, ratio, most * 1000

    @rule(last=st.booleans())
    def a_try_fails(self, last):
        account = self.gate.begin(0.0)
        self.tokens = max(0, self.tokens - 1000)
        account.failed(0.0, "error")
        if not last:
            assert account.may_retry(0.0, "error") == (2 * self.tokens > self.most)
        account.end(0.0, "error")

    @rule(outcome=st.sampled_from(["ok", "degraded"]))
    def a_call_succeeds(self, outcome):
        self.gate.begin(0.0).end(0.0, outcome)
        self.tokens = min(self.most, self.tokens + self.ratio)

    @rule(outcome=st.sampled_from(["error", "timeout", "in_flight"]))
    def a_call_ends_otherwise(self, outcome):
        self.gate.begin(0.0).end(0.0, outcome)

    @rule()
    def somebody_hedges(self):
        assert self.gate.begin(0.0).may_retry(0.0, "in_flight") == (2 * self.tokens > self.most)


TestGrpc = GrpcMachine.TestCase
TestGrpc.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


# AWS: a purse.


def test_a_full_purse_is_a_hundred_retries_or_fifty_after_timeouts_and_35_since_2026():
    assert retries(budget_gate(AWS_STANDARD)) == 100
    assert retries(budget_gate(AWS_STANDARD), outcome="timeout") == 50
    assert retries(budget_gate(AWS_2026)) == 35
    assert retries(budget_gate(AWS_2026), outcome="timeout") == 35
    assert retries(budget_gate(AWS_2026), outcome="rejected") == 100


def test_a_good_call_pays_back_its_last_retry_and_a_bad_one_nothing():
    spec = QuotaBudget(capacity=20)  # an error costs 5, a timeout 10
    gate = budget_gate(spec)
    call = gate.begin(0.0)
    assert fails(call)
    assert fails(call, outcome="timeout")
    call.end(0.0, "ok")
    assert gate.left == 15
    bad = gate.begin(0.0)
    assert fails(bad)
    bad.end(0.0, "error")
    abandoned = gate.begin(0.0)
    assert fails(abandoned)
    abandoned.end(0.0, "in_flight")
    assert gate.left == 5
    assert fails(gate.begin(0.0))
    assert not fails(gate.begin(0.0))


def test_a_call_that_is_good_at_once_pays_one_and_the_purse_never_overflows():
    gate = budget_gate(QuotaBudget(capacity=5))
    assert fails(gate.begin(0.0))
    succeeds(gate, calls=4)
    assert not fails(gate.begin(0.0))
    succeeds(gate, calls=100)
    assert gate.left == 5


# Brooker's simulation, R3.


def test_a_bucket_of_five_pays_four_retries_and_ten_calls_pay_the_next():
    gate = budget_gate(DepositBudget(deposit=0.25, size=5))
    assert retries(gate) == 4  # it must be above one, not at it
    succeeds(gate, calls=3)
    assert retries(gate) == 1  # with its own deposit: 1 + 4 · 0.25


def test_a_bucket_that_only_good_calls_fill():
    gate = budget_gate(DepositBudget(deposit=1, size=3, deposit_on="ok"))
    assert [retries(gate) for _ in range(3)] == [2, 0, 0]
    succeeds(gate)
    assert retries(gate) == 1


def test_retries_stop_where_too_many_have_failed_and_never_forget():
    gate = budget_gate(FailureRateBudget(max_failure_percent=10))
    succeeds(gate, calls=19)
    call = gate.begin(0.0)
    assert [fails(call), fails(call), fails(call)] == [True, True, False]  # 1, 2, 3 of 20
    assert not fails(gate.begin(1e9), 1e9)


def brooker(budget, max_attempts, failure, seed, clients=100, rate_rps=10, duration_s=10):
    """Success and load per call of his simulation: each client has a budget of its own, and the order of events is by time."""
    chance, retry = random.Random(seed), Retry(max_attempts=max_attempts)
    gates, events = [budget_gate(budget) for _ in range(clients)] if budget else [], []
    for client in range(clients):
        now_s = chance.expovariate(100)
        while now_s < duration_s:
            events.append((now_s, len(events), client, None, 1))
            now_s += chance.expovariate(rate_rps)
    calls, tries, good = len(events), 0, 0
    heapify(events)
    while events:
        now_s, number, client, account, attempt = heappop(events)
        if account is None and gates:
            account = gates[client].begin(now_s)
        tries += 1
        if chance.random() >= failure:
            good += 1
            continue
        if account is not None:
            account.failed(now_s, "error")
        if retry.again(attempt, "error") and (account is None or account.may_retry(now_s, "error")):
            hops_s = chance.expovariate(100) + chance.expovariate(100)
            heappush(events, (now_s + hops_s, number, client, account, attempt + 1))
    return good / calls, tries / calls


@pytest.mark.parametrize(
    ("budget", "max_attempts", "expected"),
    [
        (None, 1, {0.1: (0.900, 1.0), 0.5: (0.500, 1.0), 1.0: (0.0, 1.0)}),
        (None, 4, {0.1: (0.9999, 1.112), 0.5: (0.937, 1.873), 1.0: (0.0, 4.0)}),
        (DepositBudget(deposit=0.1, size=5), "unlimited", {0.1: (0.992, 1.102), 0.5: (0.570, 1.142), 1.0: (0.0, 1.143)}),
        (FailureRateBudget(max_failure_percent=10), 4, {0.1: (0.930, 1.032), 0.5: (0.499, 1.0), 1.0: (0.0, 1.0)}),
    ],
)
def test_r3_success_and_load_of_brookers_simulation(budget, max_attempts, expected):
    for failure, (success, load) in expected.items():
        runs = [brooker(budget, max_attempts, failure, seed) for seed in range(5)]
        assert sum(s for s, _ in runs) / 5 == pytest.approx(success, abs=0.01)
        assert sum(n for _, n in runs) / 5 == pytest.approx(load, abs=0.01)


def test_r5_grpc_retries_survive_only_below_a_failure_rate_of_one_eleventh():
    def load(failure, calls=40_000):
        gate, chance, tries = budget_gate(TokenRatioBudget(max_tokens=10, token_ratio=0.1)), random.Random(5), 0
        for _ in range(calls):
            account = gate.begin(0.0)
            for attempt in range(1, 5):
                tries += 1
                if chance.random() >= failure:
                    account.end(0.0, "ok")
                    break
                if not fails(account) or attempt == 4:
                    account.end(0.0, "error")
                    break
        return tries / calls

    assert load(0.05) == pytest.approx(1 / 0.95, abs=0.01)
    assert load(0.2) == pytest.approx(1.0, abs=0.01)


# All of them.

ALL = st.sampled_from(
    [
        ConcurrencyBudget(budget_percent=30, min_concurrency=1),
        WindowedRatioBudget(min_retries_per_second=1),
        WindowedRatioBudget(deposit_on="ok", per_call_percent=20, counting="tower"),
        TokenRatioBudget(),
        QuotaBudget(capacity=30),
        DepositBudget(),
        FailureRateBudget(max_failure_percent=60),
    ]
)


@settings(deadline=None)
@given(spec=ALL, seed=st.integers(0, 10**6))
def test_a_total_outage_is_not_retried_for_ever_and_the_same_story_is_told_again(spec, seed):
    def story():
        gate, chance, granted = budget_gate(spec), random.Random(seed), []
        for i in range(300):
            account = gate.begin(i * 0.01)
            for _ in range(3):
                granted.append(fails(account, i * 0.01, chance.choice(["error", "timeout"])))
                if not granted[-1]:
                    break
                account.sent(i * 0.01)
            account.end(i * 0.01, "error")
        return granted

    found = story()
    if not isinstance(spec, ConcurrencyBudget):  # one call at a time: for it, Envoy's is no budget at all
        assert sum(found) < 300
    assert found == story()


@pytest.mark.parametrize(
    ("make", "field", "bad"),
    [
        (ConcurrencyBudget, "budget_percent", 101),
        (ConcurrencyBudget, "min_concurrency", -1),
        (WindowedRatioBudget, "ratio", -0.1),
        (WindowedRatioBudget, "ttl", 0.5),
        (WindowedRatioBudget, "counting", "linkerd"),
        (TokenRatioBudget, "max_tokens", 0),
        (TokenRatioBudget, "token_ratio", 0.0009),
        (QuotaBudget, "retry_cost", -5),
        (DepositBudget, "size", -1),
        (FailureRateBudget, "max_failure_percent", 200),
        (QuotaBudget, "ratio", 1),
    ],
)
def test_bad_values_are_refused(make, field, bad):
    with pytest.raises(ValidationError, match=field):
        make(**{field: bad})


def test_a_retry_chooses_its_budget_by_kind():
    assert Retry(budget={"kind": "quota", "capacity": 9}).budget == QuotaBudget(capacity=9)
    with pytest.raises(ValidationError, match="one of concurrency, windowed_ratio"):
        Retry(budget={"kind": "tokens"})
    assert Retry.model_validate_json(Retry(budget=DepositBudget()).model_dump_json()).budget == DepositBudget()
