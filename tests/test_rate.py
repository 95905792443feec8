"""Rate limits: token buckets and fixed windows, told the time."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_worlds import poisson

from sim.policies.rate import REFUSED, RateLimit, rate_gate


def bucket(rate=10.0, started_s=0.0, **fields):
    return rate_gate(RateLimit(kind="token_bucket", rate=rate, **fields), started_s)


def window(limit=2, period=1.0, started_s=0.0, **fields):
    return rate_gate(RateLimit(kind="fixed_window", limit=limit, period=period, **fields), started_s)


def asked(gate, *times_s):
    return [round(gate.ask(now_s), 9) for now_s in times_s]


# --- token bucket -----------------------------------------------------------------------------------------------


def test_a_full_bucket_lets_a_burst_through_and_then_its_rate():
    assert asked(bucket(10, burst=3), 0, 0, 0, 0, 0.05, 0.1, 0.15, 0.2) == [0, 0, 0, REFUSED, REFUSED, 0, REFUSED, 0]


def test_it_never_holds_more_than_its_burst():
    assert asked(bucket(10, burst=2), 0, 100, 100, 100) == [0, 0, 0, REFUSED]


def test_a_call_may_wait_for_a_token_that_is_on_its_way_and_the_next_waits_longer():
    gate = bucket(10, max_wait=0.2)
    assert asked(gate, 0, 0, 0, 0) == [0, 0.1, 0.2, REFUSED]
    assert asked(gate, 0.05, 0.1) == [REFUSED, 0.2]
    assert asked(gate, 0.5) == [0]  # the tokens of 0.1, 0.2 and 0.3 were taken


@pytest.mark.parametrize("make", [lambda: bucket(3), lambda: bucket(7, burst=2), lambda: bucket(20, fill_interval=0.1), window])
def test_who_comes_back_when_the_hint_says_is_let_through(make):
    gate, now_s, waits = make(), 0.1, 0
    for _ in range(1000):
        hint_s = gate.retry_after_s(now_s)
        waits += hint_s > 0
        now_s += hint_s
        assert gate.retry_after_s(now_s) == pytest.approx(0, abs=1e-9)
        assert gate.ask(now_s) == 0
    assert waits > 300


def test_the_hint_takes_nothing():
    gate = bucket(10)
    assert [gate.retry_after_s(0.0), gate.retry_after_s(0.0), gate.ask(0.0)] == [0, 0, 0]
    assert [round(gate.retry_after_s(t), 9) for t in (0.0, 0.04)] == [0.1, 0.06]
    assert gate.ask(0.1) == 0


def test_tokens_may_come_in_lots_of_an_interval_since_the_start():
    gate = bucket(20, burst=4, fill_interval=0.1, started_s=5.0)  # two tokens each tenth of a second
    assert asked(gate, 5.0, 5.0, 5.0, 5.0, 5.09) == [0, 0, 0, 0, REFUSED]
    assert round(gate.retry_after_s(5.09), 9) == 0.01
    assert asked(gate, 5.1, 5.1, 5.1, 5.35) == [0, 0, REFUSED, 0]
    waiting = bucket(20, fill_interval=0.1, max_wait=0.2)
    assert asked(waiting, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05) == [0, 0.05, 0.05, 0.15, 0.15, REFUSED]


@pytest.mark.parametrize(("burst", "refused"), [(1, 0.500), (5, 0.1035), (10, 0.0508)])
def test_rl1_the_share_of_poisson_arrivals_that_a_bucket_of_their_rate_refuses(burst, refused):
    gate, calls = bucket(100, burst=burst), 200_000
    found = sum(gate.ask(now_s) == REFUSED for now_s in poisson(100, calls, seed=burst)) / calls
    assert found == pytest.approx(refused, rel=0.04)


#: Times and rates that a binary fraction holds exactly, so that model and gate round nothing.
TIMES = st.lists(st.integers(0, 40).map(lambda n: n / 64), min_size=1, max_size=60)


@settings(deadline=None)
@given(TIMES, st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(1, 5), st.integers(0, 64).map(lambda n: n / 32))
def test_a_bucket_agrees_with_a_balance_kept_in_fractions(pauses_s, rate, burst, max_wait_s):
    gate, tokens, now_s, before_s = bucket(rate, burst=burst, max_wait=max_wait_s), Fraction(burst), 0.0, 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        tokens = min(Fraction(burst), tokens + rate * (Fraction(now_s) - Fraction(before_s)))
        before_s = now_s
        wait = max(Fraction(0), (1 - tokens) / rate)
        if wait > max_wait_s:
            assert gate.ask(now_s) == REFUSED
        else:
            tokens -= 1
            assert gate.ask(now_s) == wait


# --- fixed window -----------------------------------------------------------------------------------------------


def test_a_window_lets_twice_its_limit_through_around_a_boundary():
    assert asked(window(2), 0.99, 0.99, 0.99, 1.0, 1.0, 1.0) == [0, 0, REFUSED, 0, 0, REFUSED]


def test_periods_begin_with_the_gate_and_unused_permits_lapse():
    gate = window(2, started_s=0.5)
    assert asked(gate, 0.5, 1.4, 1.4, 1.5, 9.6, 9.6, 9.6) == [0, 0, REFUSED, 0, 0, 0, REFUSED]


def test_callers_reserve_permits_of_periods_to_come_as_long_as_the_wait_is_allowed():
    gate = window(2, max_wait=2.0)
    assert asked(gate, *[0.5] * 6) == [0, 0, 0.5, 0.5, 1.5, 1.5]
    assert asked(gate, 0.5, 1.0) == [REFUSED, 2.0]  # the period that begins at 3 is too far from 0.5, not from 1
    assert asked(gate, 3.0, 3.0) == [0, 1.0]  # one of its two permits was reserved


@pytest.mark.parametrize("started_s", [0.0, 5.0])
def test_decimal_times_fall_into_the_right_period_and_interval(started_s):
    permits = window(1, period=0.1, started_s=started_s)
    lots = bucket(10, fill_interval=0.1, started_s=started_s)
    times_s = [started_s + number * 0.1 for number in range(50)]
    assert [permits.ask(now_s) for now_s in times_s] == [0] * 50
    assert [lots.ask(now_s) for now_s in times_s] == [0] * 50


def test_a_period_of_500_nanoseconds_is_as_good_as_none():
    gate = window(50, period="500ns", max_wait="5s")
    assert {gate.ask(number * 1e-8) for number in range(1000)} == {0.0}


@settings(deadline=None)
@given(TIMES, st.integers(1, 3), st.sampled_from([0.25, 0.5, 1.0]), st.integers(0, 64).map(lambda n: n / 32))
def test_a_window_agrees_with_resilience4j_whose_callers_take_the_first_free_permit(pauses_s, limit, period_s, max_wait_s):
    gate, taken, now_s = window(limit, period_s, max_wait=max_wait_s), Counter(), 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        here = cycle = int(now_s / period_s)
        while taken[cycle] >= limit:
            cycle += 1
        wait_s = cycle * period_s - now_s if cycle > here else 0.0
        if wait_s > max_wait_s:
            assert gate.ask(now_s) == REFUSED
        else:
            taken[cycle] += 1
            assert gate.ask(now_s) == pytest.approx(wait_s, abs=1e-9)


def test_a_refused_caller_is_told_at_once_or_after_the_wait():
    assert window(1, max_wait=2.0).refusal_s == 0
    assert window(1, max_wait=2.0, refuse="after_max_wait").refusal_s == 2
    assert bucket(1).refusal_s == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "token_bucket"}, "needs a rate"),
        ({"kind": "token_bucket", "rate": 10.0, "limit": 3}, "limit is read by fixed_window only"),
        ({"kind": "fixed_window", "rate": 10.0}, "rate is read by token_bucket only"),
        ({"kind": "token_bucket", "rate": 100.0, "fill_interval": "49ms"}, "at least 50ms"),
        ({"kind": "token_bucket", "rate": 15.0, "fill_interval": "100ms"}, "is 1.5 tokens"),
        ({"kind": "fixed_window", "period": 1e-10}, "at least 1ns"),
        ({"kind": "fixed_window", "refuse": "after_max_wait"}, "no effect without a max_wait"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        RateLimit(**bad)
