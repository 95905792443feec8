"""Concurrency limits: who starts, waits and is refused; and limits that find themselves."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.adaptive import AdaptiveConcurrency, adaptive_gate
from sim.policies.concurrency import ConcurrencyLimit

# --- a fixed limit ----------------------------------------------------------------------------------------------


def test_a_longest_wait_without_anybody_who_waits_is_refused():
    with pytest.raises(ValidationError, match="max_wait = 1 s has no effect"):
        ConcurrencyLimit(max_concurrent=1, max_wait="1s")


# --- Envoy's gradient -------------------------------------------------------------------------------------------


def gradient(**fields):
    return adaptive_gate(AdaptiveConcurrency(algorithm="gradient", **fields))


def answers(gate, now_s, rtt_s, calls, u=0.0):
    """So many answers at one time, each after `rtt_s`."""
    for _ in range(calls):
        gate.sample(now_s, rtt_s, 1, False, u)


def measured(rtt_s=0.1, **fields):
    """A gradient gate that has measured its undisturbed round trip, at 0.1 s after its start or as long as that takes."""
    gate = gradient(**fields)
    answers(gate, rtt_s, rtt_s, 50)
    return gate


def test_envoy_is_pinned_to_three_until_fifty_calls_have_been_answered():
    gate = gradient(initial_limit=10)
    assert gate.limit(0) == 3
    answers(gate, 5.0, 0.1, 49)
    assert gate.limit(20.0) == 3
    answers(gate, 20.0, 0.1, 1)
    assert gate.limit(20.0) == 10  # what it was before


def test_envoy_grows_by_a_quarter_and_the_square_root_while_answers_come_as_fast_as_they_can():
    gate = measured()
    assert gate.limit(0.1) == 3
    limits = []
    for tick in range(1, 5):
        answers(gate, 0.1 + 0.1 * tick - 0.01, 0.1, 1)
        limits.append(gate.limit(0.1 + 0.1 * tick + 0.001))
    # 3·1.25 + √3.75 = 5.69; 5·1.25 + √6.25 = 8.75; 8·1.25 + √10 = 13.2; 13·1.25 + √16.25 = 20.3
    assert limits == [5, 8, 13, 20]


def test_envoy_shrinks_by_half_at_most_grows_by_two_at_most_and_stays_within_its_bounds():
    slow = measured(initial_limit=100)
    answers(slow, 0.15, 0.9, 1)
    assert slow.limit(0.25) == 100  # begun before the measurement: says nothing
    answers(slow, 1.2, 0.9, 1)
    assert slow.limit(1.31) == 57  # 50 + √50
    fast = measured(0.2, initial_limit=100)
    answers(fast, 0.25, 0.01, 1)
    assert fast.limit(0.31) == 214  # 200 + √200
    answers(fast, 0.35, 0.01, 1)
    full = measured(0.2, initial_limit=100, max_limit=150)
    answers(full, 0.25, 0.01, 1)
    assert full.limit(0.31) == 150


def test_envoy_looks_at_the_median_and_an_interval_without_answers_changes_nothing():
    gate = measured(initial_limit=100)
    answers(gate, 0.14, 0.02, 4)
    answers(gate, 0.15, 0.04, 1)
    answers(gate, 0.19, 0.08, 5)
    assert gate.limit(0.21) == 214  # the fifth of ten, 0.04: twice and no more
    gate = measured(0.02, initial_limit=100)
    for rtt_s, calls in ((0.0125, 4), (0.025, 1), (0.05, 5)):
        answers(gate, 0.1, rtt_s, calls)
    assert gate.limit(0.13) == 110  # the fifth of ten, 0.025, is just slow enough: 100 + √100
    assert gate.limit(30.0) == 110
    answers(gate, 30.01, 0.025, 1)
    assert gate.limit(30.03) == 120  # 110 + √110


def test_envoy_forgets_an_interval_that_a_measurement_interrupts():
    gate = measured(initial_limit=100, min_rtt_interval=60.05)
    answers(gate, 60.14, 0.01, 30)  # in the middle of an interval, when the measurement begins
    assert gate.limit(60.16) == 3
    answers(gate, 60.4, 0.2, 49)
    assert gate.limit(60.4) == 3
    answers(gate, 60.4, 0.2, 1)
    assert gate.limit(60.4) == 100
    answers(gate, 60.69, 0.25, 1)
    assert gate.limit(60.71) == 110  # 0.2 s is undisturbed, 0.25 just slow enough


def test_envoy_measures_again_after_its_interval_and_up_to_fifteen_percent_more():
    soon, late = measured(initial_limit=50), gradient(initial_limit=50)
    answers(late, 0.1, 0.1, 50, u=0.9999999)
    assert [soon.limit(60.09), soon.limit(60.11)] == [50, 3]
    assert [late.limit(69.09), late.limit(69.11)] == [50, 3]
    answers(soon, 60.5, 0.5, 50)
    assert soon.limit(60.5) == 3  # begun before the measurement
    answers(soon, 61.2, 0.5, 50)
    assert soon.limit(61.2) == 50
    answers(soon, 61.25, 0.001, 1)  # 0.5 s is the undisturbed time now
    answers(soon, 61.28, 0.001, 1)
    assert soon.limit(61.31) == 110


@pytest.mark.parametrize(("initial", "intervals", "limit"), [(2, 4, 2), (2, 5, 4), (3, 5, 2), (3, 6, 4)])
def test_envoy_measures_again_after_five_intervals_at_the_minimum(initial, intervals, limit):
    gate = measured(0.001, min_limit=2, initial_limit=initial)
    for tick in range(intervals):  # ninety times slower than undisturbed: 2·½ + √1 = 2, the minimum; 3·½ + √1.5 = 2 as well
        answers(gate, 0.0995 + 0.1 * tick, 0.09, 1)
    assert gate.limit(0.602) == 2
    answers(gate, 0.62, 0.01, 50)  # taken for undisturbed, if it is measuring
    answers(gate, 0.74, 0.01, 1)
    assert gate.limit(0.85) == limit  # 2·1.25 + √2.5 = 4 then


def test_envoy_may_measure_without_pinning_and_takes_a_given_round_trip_without_measuring():
    free = gradient(initial_limit=10, min_rtt_pins=False)
    assert free.limit(0.0) == 10
    given = gradient(initial_limit=10, min_rtt="100ms")
    answers(given, 0.1, 0.05, 1)
    assert given.limit(0.1) == 10  # the first interval ended before this answer
    assert given.limit(0.2) == 24  # 10·2 + √20
    assert given.limit(10_000.0) == 24
    low = gradient(initial_limit=3, min_rtt="1ms")
    for tick in range(20):
        answers(low, 1.05 + tick / 10, 0.9, 1)
    assert low.limit(4.0) == 3
    answers(low, 4.05, 0.0005, 1)
    assert low.limit(4.2) == 8  # it is not measuring, whatever happened: 3·2 + √6


@settings(deadline=None)
@example([(1.0, 1.0)] * 4 + [(0.0625, 1.0)], False)
@given(st.lists(st.tuples(st.floats(0.001, 3), st.floats(0.001, 2)), max_size=60), st.booleans())
def test_asking_envoy_often_or_seldom_makes_no_difference(story, pins):
    fields = {"min_rtt_calls": 3, "min_rtt_interval": 2.0, "min_rtt_pins": pins, "initial_limit": 5}
    seldom, often, now_s = gradient(**fields), gradient(**fields), 0.0
    for pause_s, rtt_s in story:
        for step in range(1, 20):
            often.limit(now_s + pause_s * step / 20)
        now_s += pause_s
        for gate in (seldom, often):
            gate.sample(now_s, rtt_s, 1, False, 0.5)
        assert seldom.limit(now_s) == often.limit(now_s)


# --- Netflix's limits -------------------------------------------------------------------------------------------


def netflix(algorithm, **fields):
    return adaptive_gate(AdaptiveConcurrency(algorithm=algorithm, **fields))


def limits_after(gate, *samples):
    """The limit after each answer, a tuple of round trip, calls in flight, and whether it was lost."""
    found = []
    for number, (rtt_s, in_flight, dropped) in enumerate(samples):
        gate.sample(float(number), rtt_s, in_flight, dropped, 0.5)
        found.append(gate.limit(float(number)))
    return found


def test_aimd_adds_one_and_takes_a_tenth():
    gate = netflix("aimd", initial_limit=30)
    assert gate.limit(0.0) == 30
    assert limits_after(
        gate,
        (1, 15, False),  # half of the limit is in use
        (1, 15, False),  # less than half of it
        (1, 1, True),  # lost
        (5.1, 9, False),  # as slow as if it had been lost
        (5, 12, False),  # just not
    ) == [31, 31, 27, 24, 25]
    assert limits_after(netflix("aimd", min_limit=20), *[(1, 1, True)] * 3) == [20, 20, 20]
    assert limits_after(netflix("aimd", initial_limit=199), *[(1, 200, False)] * 3) == [200, 200, 200]


def test_vegas_grows_by_six_without_a_queue_by_one_with_a_little_and_shrinks_with_a_long_one():
    gate = netflix("vegas")
    busy = 1000
    assert limits_after(
        gate,
        (0.100, busy, False),  # the fastest so far: nothing to compare with
        (0.100, busy, False),  # no queue: +6
        (0.104, busy, False),  # 26·(1 - 1/1.04) = 1, rounded up: +6
        (0.106, busy, False),  # 32·0.057 = 1.8, so 2 queue: +1
        (0.112, busy, False),  # 33·0.107 = 3.5, so 4: neither
        (0.130, busy, False),  # 33·0.23 = 7.6, so 8: -1
        (0.130, 1, True),  # lost: -1, however few are in flight
        (0.100, 15, False),  # fewer than half are in use
        (0.090, busy, False),  # the fastest so far
    ) == [20, 26, 32, 33, 33, 32, 31, 31, 31]


def test_vegas_steps_are_larger_beyond_a_hundred_and_it_ends_at_one_and_at_a_thousand():
    assert limits_after(netflix("vegas", initial_limit=100), *[(0.1, 999, False)] * 2) == [100, 112]
    assert limits_after(netflix("vegas", initial_limit=995), *[(0.1, 999, False)] * 2) == [995, 1000]
    assert limits_after(netflix("vegas", initial_limit=2), (0.1, 1, False), *[(0.1, 1, True)] * 2) == [2, 1, 1]


def test_vegas_forgets_the_fastest_answer_after_some_hundred_and_takes_the_next_for_it():
    # u = 0.5: ¾ · 2 · 20 = 30 answers.
    spec = AdaptiveConcurrency(algorithm="vegas", probe_multiplier=2)
    gate = adaptive_gate(spec, u=0.5)
    limits_after(gate, (0.1, 1, False), *[(0.2, 1, False)] * 29)
    assert limits_after(gate, (0.2, 999, False)) == [26]  # 0.2 s has become the fastest
    early = adaptive_gate(spec, u=0.0)
    limits_after(early, (0.1, 1, False), *[(0.2, 1, False)] * 18)
    assert limits_after(early, (0.2, 1, False), (0.2, 999, False)) == [20, 26]  # after ½ · 2 · 20 = 20
    limits_after(early, *[(0.4, 1, False)] * 30)
    assert limits_after(early, (0.4, 999, False)) == [25]  # and then after ¾ · 2 · 26 = 39, by the numbers it was given


def test_gradient2_adds_four_fifths_of_a_call_per_answer_when_nothing_is_slower_than_usual():
    assert limits_after(netflix("gradient2"), *[(0.1, 99, False)] * 5) == [20, 21, 22, 23, 24]
    assert limits_after(netflix("gradient2", initial_limit=40), (0.1, 19, False), (0.1, 20, False)) == [40, 40]
    assert limits_after(netflix("gradient2", initial_limit=199), *[(0.1, 999, False)] * 3) == [199, 200, 200]


def test_gradient2_takes_up_to_a_tenth_away_when_answers_are_slower_than_half_as_much_again():
    gate = netflix("gradient2", initial_limit=100)
    limits_after(gate, *[(0.1, 1, False)] * 10)
    # 600 answers make the average: it is hardly moved, g = ½: 0.8·100 + 0.2·(50 + 4) = 90.8
    assert limits_after(gate, (1.0, 100, False)) == [90]
    gate = netflix("gradient2", initial_limit=100, smoothing=1.0, rtt_tolerance=2.0)
    limits_after(gate, *[(0.1, 1, False)] * 9)
    # (0.9 + 0.5) / 10 = 0.14 on average; 2·0.14 / 0.5 = 0.56: 100·0.56 + 4
    assert limits_after(gate, (0.5, 100, False)) == [60]


def test_gradient2_forgets_an_overload_faster_than_its_average_would():
    gate = netflix("gradient2", initial_limit=100, max_limit=100, smoothing=1.0, long_window_calls=1_000_000)
    limits_after(gate, *[(1.0, 1, False)] * 10)
    limits_after(gate, *[(0.1, 1, False)] * 60)  # 0.95^45 = 0.1, where it stays below twice as much
    # about 0.2 s on average now, where it would still be 1 s: 1.5·0.2 / 0.6 = ½
    assert limits_after(gate, (0.6, 100, False))[0] < 56


def test_a_window_averages_what_it_saw_and_one_with_few_answers_is_thrown_away():
    gate = netflix("aimd", window="1s")
    for now_s in [0.0, *(2 + i / 10 for i in range(9)), 3.5]:
        gate.sample(now_s, 0.1, 20, False, 0.5)
    assert gate.limit(3.5) == 20  # the first closes a window of its own at 0; the next has one at 2.0 and closes there
    gate = netflix("aimd", window="1s")
    for now_s in [0.0, *(i / 10 for i in range(1, 10)), 1.01]:
        gate.sample(now_s, 0.1, 20, False, 0.5)
    assert gate.limit(1.01) == 21  # ten answers, one step
    gate = netflix("aimd", window="1s", initial_limit=40)
    for now_s in [0.0, *(i / 10 for i in range(1, 10)), 1.01]:
        gate.sample(now_s, 0.1, 20, now_s == 0.3, 0.5)
    assert gate.limit(1.01) == 36  # one lost is enough
    for now_s in [1.01 + i / 10 for i in range(1, 12)]:
        gate.sample(now_s, 0.1, 20, False, 0.5)
    assert gate.limit(2.2) == 37  # none was lost in the next
    gate = netflix("aimd", window="1s")
    for now_s in [0.0, *(i / 10 for i in range(1, 10)), 1.01]:
        gate.sample(now_s, 1.0 if now_s < 1 else 30.0, 20, False, 0.5)
    assert gate.limit(1.01) == 21  # 3.9 s on average: one of them is slower than 5 s, and they are together
    gate = netflix("aimd", window="1s", initial_limit=40)
    for now_s in [i / 100 for i in range(300)]:
        gate.sample(now_s, 0.00009, 20, True, 0.5)
    assert gate.limit(3.0) == 40  # nobody answers that fast


@settings(deadline=None)
@given(
    st.sampled_from(["gradient", "gradient2", "vegas", "aimd"]),
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0, 20), st.integers(0, 300), st.booleans(), st.floats(0.001, 0.999)), max_size=100
    ),
)
def test_every_limit_stays_within_its_bounds_whatever_it_is_told(algorithm, story):
    spec = AdaptiveConcurrency(algorithm=algorithm, min_limit=5, max_limit=30, initial_limit=10)
    gate, now_s = adaptive_gate(spec), 0.0
    for pause_s, rtt_s, in_flight, dropped, u in story:
        now_s += pause_s
        gate.sample(now_s, rtt_s, in_flight, dropped, u)
        assert 5 <= gate.limit(now_s) <= 30


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"algorithm": "vegas", "rtt_tolerance": 2.0}, "rtt_tolerance is read by gradient2 only, not by vegas"),
        ({"algorithm": "gradient", "window": "1s"}, "window is read by gradient2, vegas, aimd only"),
        ({"algorithm": "aimd", "window_calls": 20}, "window_calls is read by windows only"),
        ({"algorithm": "gradient", "min_rtt": "1ms", "jitter_ratio": 0.5}, "not by a fixed min_rtt"),
        ({"algorithm": "gradient2", "max_limit": 10}, "min_limit = 20 must not be above max_limit = 10, min_limit"),
        ({"algorithm": "gradient", "update_interval": "1us"}, "update_interval = 1e-06 s must be at least 1ms"),
        ({"algorithm": "aimd", "backoff_ratio": 0.4}, "greater than or equal to 0.5"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        AdaptiveConcurrency(**bad)


def test_the_limits_of_each_algorithm_are_those_of_its_system():
    limits = {a: AdaptiveConcurrency(algorithm=a).limits for a in ("gradient", "gradient2", "vegas", "aimd")}
    assert limits == {"gradient": (3, 3, 1000), "gradient2": (20, 20, 200), "vegas": (20, 1, 1000), "aimd": (20, 20, 200)}
    assert AdaptiveConcurrency(algorithm="gradient", min_limit=7).limits == (7, 7, 1000)
