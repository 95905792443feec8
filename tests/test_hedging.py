"""Hedging as a decision: when the next try is sent, and whether it is affordable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.hedging import HedgeGate, Hedging

NEVER = math.inf


def by_percentile(percentile=50, **fields):
    """Ten seconds are complete at 10 s, 20 s …; the percentile is taken at 3 s, 6 s, 9 s, 12 s …"""
    gate = HedgeGate(Hedging(percentile=percentile, **fields))
    gate.begin(0.0)
    return gate


def test_a_fixed_delay_is_the_same_at_any_time_and_needs_nobodys_leave():
    gate = HedgeGate(Hedging(delay="20ms", max_attempts=4))
    gate.begin(0.0)
    for now_s in (0.0, 5.0, 1e9):
        gate.record(1.0, now_s)
        assert gate.delay_s(now_s) == 0.02
        assert gate.may_hedge(now_s)
        gate.hedged(now_s)


def test_a_delay_of_zero_sends_all_at_once():
    assert HedgeGate(Hedging(delay=0)).delay_s(0.0) == 0.0


def test_on_per_try_timeout_the_timeout_is_the_delay():
    spec = Hedging(on_per_try_timeout=True)
    assert HedgeGate(spec, per_try_timeout_s=0.3).delay_s(0.0) == 0.3
    assert HedgeGate(spec).delay_s(0.0) == NEVER


def test_the_percentile_is_taken_from_complete_thirds_at_the_next_refresh():
    gate = by_percentile()
    for i in range(100):
        gate.record(0.010 + 0.001 * i, 5.0)  # 10 ms … 109 ms
    assert [gate.delay_s(now_s) for now_s in (5.0, 9.9, 11.9)] == [NEVER] * 3
    assert gate.delay_s(12.0) == pytest.approx(0.059)  # the smallest that half of them do not exceed


@pytest.mark.parametrize(("percentile", "expected_s"), [(1, 0.01), (50, 0.50), (95, 0.95), (99, 0.99), (99.5, 1.0)])
def test_the_percentile_is_a_latency_that_so_many_do_not_exceed(percentile, expected_s):
    gate = by_percentile(percentile)
    for i in reversed(range(1, 101)):
        gate.record(i / 100, 1.0)
    assert gate.delay_s(12.0) == expected_s


def test_latencies_are_forgotten_after_the_window():
    gate = by_percentile()
    gate.record(0.1, 0.0)
    for now_s in (10.5, 11.0, 20.5):
        gate.record(0.3, now_s)
    # Complete at 10: [.1]; at 20: [.1], [.3, .3]; at 30: [.1], [.3, .3], [.3]; at 40 the first is gone.
    assert [gate.delay_s(now_s) for now_s in (12.0, 19.0, 21.0, 39.0, 45.0)] == [0.1, 0.1, 0.3, 0.3, 0.3]
    assert gate.delay_s(54.0) == 0.3
    assert gate.delay_s(63.0) == NEVER  # nothing is known any more
    lowest = by_percentile(1)
    lowest.record(0.1, 0.0)
    lowest.record(0.3, 10.5)
    assert [lowest.delay_s(now_s) for now_s in (21.0, 39.0, 42.0)] == [0.1, 0.1, 0.3]


def test_the_clock_of_a_gate_begins_with_its_first_call():
    gate = HedgeGate(Hedging(percentile=50))
    gate.begin(105.0)
    gate.record(0.2, 106.0)
    assert [gate.delay_s(now_s) for now_s in (116.9, 117.0)] == [NEVER, 0.2]  # complete at 115 s, taken at 117 s


def test_a_delay_by_percentile_is_not_shorter_than_the_least_and_none_is_as_long_as_the_longest():
    quick, slow = by_percentile(min_delay="5ms"), by_percentile(max_delay="1s")
    quick.record(0.0001, 1.0)
    slow.record(7.0, 1.0)
    assert quick.delay_s(12.0) == 0.005
    assert slow.delay_s(12.0) == NEVER
    slow.record(0.999, 12.5)
    slow.record(0.999, 12.5)
    assert slow.delay_s(24.0) == 0.999


def test_of_a_hundred_calls_five_may_be_hedged():
    gate = HedgeGate(Hedging(delay=0, max_extra_load_percent=5))
    assert not gate.may_hedge(0.0)
    for _ in range(99):
        gate.begin(0.0)
    assert spent(gate, 0.0) == 4
    gate.begin(0.0)
    assert spent(gate, 0.5) == 1
    for _ in range(100):
        gate.begin(1.0)
    assert spent(gate, 30.0) == 0  # they were ten seconds ago


def spent(gate, now_s):
    found = 0
    while found < 1000 and gate.may_hedge(now_s):
        assert gate.may_hedge(now_s)  # asking costs nothing
        gate.hedged(now_s)
        found += 1
    return found


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=50), st.floats(0.1, 99.9))
def test_the_delay_is_one_of_the_latencies_within_its_bounds(latencies, percentile):
    gate = by_percentile(percentile)
    for latency_s in latencies:
        gate.record(latency_s, 4.0)
    delay_s = gate.delay_s(12.0)
    below = sum(latency_s <= delay_s for latency_s in latencies)
    assert below * 100 >= percentile * len(latencies) - 1e-6
    assert delay_s == NEVER or delay_s in [max(0.001, latency_s) for latency_s in latencies]
    assert delay_s == NEVER or delay_s < 2.0


def test_h1_two_tries_of_exponential_times():
    """P(T > t) = S(t) · S(t - d): the p99 falls to 3.80, the p99.9 to 4.95, for 5 % more load."""
    gate, chance = HedgeGate(Hedging(delay=2.99573)), np.random.default_rng(7)
    first, second = chance.exponential(size=(2, 2_000_000))
    delay_s = gate.delay_s(0.0)
    took_s = np.minimum(first, delay_s + second)
    assert np.quantile(took_s, 0.99) == pytest.approx(3.80045, rel=0.01)
    assert np.quantile(took_s, 0.999) == pytest.approx(4.95174, rel=0.02)
    assert (first > delay_s).mean() == pytest.approx(0.05, abs=0.001)


def test_h1_the_delay_that_is_found_by_percentile_is_that_of_theory():
    gate, chance = by_percentile(95, max_delay="1min"), np.random.default_rng(8)
    for i, latency_s in enumerate(chance.exponential(size=30_000)):
        gate.record(latency_s, i * 0.001)
    assert gate.delay_s(33.0) == pytest.approx(2.99573, rel=0.03)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing says when"),
        ({"delay": 1, "percentile": 95}, "delay and percentile cannot both"),
        ({"delay": 1, "on_per_try_timeout": True}, "delay and on_per_try_timeout cannot both"),
        ({"percentile": 95, "min_delay": 3}, "min_delay = 3 s must be below max_delay = 2 s"),
        ({"delay": 1, "max_attempts": 1}, "max_attempts"),
        ({"percentile": 100}, "percentile"),
        ({"delay": 1, "non_fatal": ("ok",)}, "non_fatal"),
        ({"delay": 1, "max_extra_load_percent": 0}, "max_extra_load_percent"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Hedging(**fields)
