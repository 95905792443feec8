"""Breakers that watch rates: stories with times, then published numbers by counting."""

from __future__ import annotations

import math

import pytest

from sim.policies.breaker import CLOSED, HALF_OPEN, OPEN, REFUSED, BreakerGate, CircuitBreaker, breaker_gate, open_s
from sim.records import ERROR, IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.streams import child, key, uniform


def gate(window_type="count", **settings_):
    return breaker_gate(CircuitBreaker(window_type=window_type, **settings_))


def calls(breaker, text, start_s=0.0, step_s=0.1, slow_s=10.0):
    """One call each `step_s`: `.` good, `x` failed, `s` slow, `b` slow and failed. Which were let through, as 1 and 0."""
    through = ""
    for i, fate in enumerate(text):
        now_s = start_s + i * step_s
        permit = breaker.permit(now_s)
        if permit != REFUSED:
            breaker.settle(permit, fate in ".s", now_s, slow_s if fate in "sb" else 0.0)
        through += "0" if permit == REFUSED else "1"
    return through


# Counting calls: resilience4j's COUNT_BASED.


def test_it_waits_for_the_minimum_and_opens_at_the_threshold_itself_even_at_a_good_call():
    four = gate(window_size=10, minimum_calls=4)
    assert calls(four, "xxx") == "111"
    assert calls(gate(window_size=10, minimum_calls=4), "x.x..") == "11110"  # 2 of 4 are 50 %
    assert calls(gate(window_size=10, minimum_calls=4), "x....xx.") == "11111111"  # never half of them


def test_polly_opens_at_a_failure_only():
    polly = {"window_size": 10, "minimum_calls": 4, "only_on_failure": True}
    assert calls(gate(**polly), "xx..x.") == "111110"  # at 2 of 4 the last one was good; at 3 of 5 it was not
    assert calls(gate(**polly), "xx......") == "11111111"


def test_what_falls_out_of_the_window_is_forgotten():
    assert calls(gate(window_size=3, minimum_calls=3, failure_rate_threshold_percent=60), "x..x..x..x..") == "1" * 12
    assert calls(gate(window_size=3, minimum_calls=3, failure_rate_threshold_percent=60), "....x.x..") == "111111100"


def test_the_minimum_is_at_most_the_window_of_calls():
    assert calls(gate(window_size=3, minimum_calls=100), "xxx.") == "1110"


def test_a_threshold_that_binary_numbers_miss_is_met_exactly():
    breaker = gate(window_size=100, failure_rate_threshold_percent=29)
    assert calls(breaker, "." * 71 + "x" * 29 + ".") == "1" * 100 + "0"


# Counting seconds: TIME_BASED.


def test_a_window_of_time_consists_of_whole_seconds_of_the_clock():
    breaker = gate("time", window_duration=2, minimum_calls=3)
    assert calls(breaker, "xx", 0.8) == "11"  # 0.8 and 0.9
    assert calls(breaker, "x", 1.99) == "1"
    assert breaker.state(1.99) == OPEN
    breaker = gate("time", window_duration=2, minimum_calls=3)
    assert calls(breaker, "xx", 0.8) == "11"
    assert calls(breaker, "xx", 2.0) == "11"  # second 0 is out, though 1.1 s ago
    assert breaker.state(2.1) == CLOSED
    assert calls(breaker, "x", 2.9) == "1"
    assert breaker.state(2.9) == OPEN


def test_a_window_of_time_does_not_lower_the_minimum():
    assert calls(gate("time", window_duration=3, minimum_calls=5, window_size=2), "xxxx", step_s=0.01) == "1111"


def test_a_fraction_of_a_second_is_rounded_up():
    breaker = gate("time", window_duration=1.5, minimum_calls=2)
    assert calls(breaker, "xx", 0.5, step_s=1.4) == "11"
    assert breaker.state(1.9) == OPEN


# Polly's ten windows.


def test_a_part_begins_with_its_first_call_and_falls_out_whole():
    polly = {"window_duration": 10, "window_buckets": 10, "minimum_calls": 3, "only_on_failure": True}
    for third_s, expected in ((10.45, OPEN), (10.5, CLOSED)):
        breaker = gate("time", **polly)
        # 0.5 begins a part that takes in 1.4, not 1.5; it leaves at 10.5.
        assert calls(breaker, "x", 0.5) == "1"
        assert calls(breaker, "x", 1.4) == "1"
        assert calls(breaker, "x", third_s) == "1"
        assert breaker.state(third_s) == expected


def test_a_part_ends_before_the_call_that_is_as_late_as_it_is_long():
    breaker = gate("time", window_duration=10, window_buckets=10, minimum_calls=2, failure_rate_threshold_percent=60)
    for now_s, fate in ((0.5, "."), (1.5, "x"), (10.5, "x")):
        assert calls(breaker, fate, now_s) == "1"
    assert breaker.state(10.5) == OPEN  # only the call of 0.5 has fallen out


def test_a_short_window_of_polly_has_one_part_that_begins_with_the_breaker():
    short = {"window_duration": 0.16, "window_buckets": 10, "minimum_calls": 3, "only_on_failure": True}
    breaker = gate("time", **short)
    assert calls(breaker, "xxx", 0.1, step_s=0.035) == "111"  # 0.100, 0.135 | 0.170: the part of 0.0 ended at 0.16
    assert breaker.state(0.17) == CLOSED
    assert calls(breaker, "xx", 0.2) == "11"
    assert breaker.state(0.3) == OPEN
    ten = gate("time", **{**short, "window_duration": 0.2})  # long enough for ten
    assert calls(ten, "xxx", 0.1, step_s=0.045) == "111"
    assert ten.state(0.19) == OPEN
    edge = gate("time", **{**short, "window_duration": 0.2})
    assert calls(edge, "x", 0.19) == "1"
    assert calls(edge, "xx", 0.2, step_s=0.0) == "11"  # a single part would have ended at 0.2
    assert edge.state(0.2) == OPEN


# Slow calls.


def test_slow_calls_open_it_though_they_succeed():
    slow = {"window_size": 4, "slow_call_duration": 1.0, "slow_call_rate_threshold_percent": 75}
    assert calls(gate(**slow), "ss.s.", slow_s=1.1) == "11110"
    assert calls(gate(**slow), "sss.sss.", slow_s=1.0) == "1" * 8  # longer, not as long
    assert calls(gate(window_size=4, slow_call_rate_threshold_percent=75), "ssss.") == "11111"  # nothing is slow


def test_slow_calls_fall_out_of_the_window_too():
    slow = {"window_size": 3, "slow_call_duration": 1.0, "slow_call_rate_threshold_percent": 60}
    assert calls(gate(**slow), "s..s..s..ss.") == "1" * 11 + "0"


def test_a_call_can_be_slow_and_failed_and_counts_for_both():
    both = {"window_size": 4, "slow_call_duration": 1.0, "slow_call_rate_threshold_percent": 50}
    assert calls(gate(**both), "b.s..") == "11110"  # 1 failed, 2 slow
    assert calls(gate(**both), "b.x..") == "11110"  # 2 failed, 1 slow


# Half-open.


def opened(**settings_):
    """Opened at 0 s for 10 s."""
    breaker = gate(window_size=2, minimum_calls=20, open_duration=10, **settings_)
    assert calls(breaker, "xx", step_s=0.0) == "11"
    assert breaker.permit(9.9) == REFUSED
    return breaker


def test_half_open_lets_so_many_through_and_judges_when_all_have_answered():
    for answers, state in (("...x", CLOSED), ("..xx", OPEN)):
        breaker = opened(half_open_calls=4)
        permits = [breaker.permit(10.0 + i) for i in range(6)]
        assert [permit == REFUSED for permit in permits] == [False] * 4 + [True] * 2
        for i, (permit, answer) in enumerate(zip(permits, answers, strict=False)):
            assert breaker.state(20.0) == HALF_OPEN
            breaker.settle(permit, answer == ".", 20.0 + i)
        assert breaker.state(23.0) == state
        assert breaker.changes == [(0.0, OPEN), (10.0, HALF_OPEN), (23.0, state)]


def test_each_half_open_time_has_probes_of_its_own():
    breaker = opened(half_open_calls=2)
    assert calls(breaker, "xx", 10, step_s=0.0) == "11"
    assert calls(breaker, "...", 20, step_s=0.0) == "111"  # two probes, and a call
    assert breaker.state(20.0) == CLOSED


def test_it_judges_at_the_minimum_if_that_is_less_than_the_probes():
    breaker = gate(window_size=2, minimum_calls=2, open_duration=10, half_open_calls=5)
    calls(breaker, "xx", step_s=0.0)
    assert calls(breaker, ".", 10) == "1"
    assert breaker.state(10) == HALF_OPEN
    assert calls(breaker, ".", 11) == "1"
    assert breaker.state(11) == CLOSED


def test_slow_probes_open_it_again():
    breaker = opened(half_open_calls=2, slow_call_duration=1.0)
    assert calls(breaker, "ss", 10) == "11"
    assert breaker.state(10.1) == OPEN


def test_after_it_has_closed_the_window_is_empty():
    breaker = opened()
    assert calls(breaker, ".xx.", 10) == "1110"  # the probe; then one of one, which is less than the window of two


def test_a_probe_given_back_or_ignored_makes_room_for_another():
    breaker = gate(window_size=2, open_duration=10, half_open_calls=2, ignored=("rejected",))
    calls(breaker, "xx", step_s=0.0)
    first, second = breaker.permit(10.0), breaker.permit(10.0)
    assert breaker.permit(10.0) == REFUSED
    breaker.back(first)
    third = breaker.permit(10.0)
    assert third != REFUSED
    breaker.finish(third, REJECTED, 10.5, 0.5)
    fourth = breaker.permit(10.5)
    assert fourth != REFUSED
    assert breaker.permit(10.5) == REFUSED
    breaker.finish(second, OK, 11.0, 1.0)
    breaker.finish(fourth, OK, 11.0, 1.0)
    assert breaker.state(11.0) == CLOSED


def test_an_answer_from_before_the_opening_is_no_probe_nor_does_it_count_later():
    breaker = gate(window_size=2, open_duration=10)
    late = [breaker.permit(0.0) for _ in range(4)]
    calls(breaker, "xx", step_s=0.0)
    breaker.settle(late[0], True, 5.0)
    assert breaker.state(5.0) == OPEN
    probe = breaker.permit(10.0)
    breaker.settle(late[1], False, 11.0)
    breaker.back(late[2])
    assert breaker.state(11.0) == HALF_OPEN
    assert breaker.permit(11.0) == REFUSED
    breaker.settle(probe, True, 12.0)
    breaker.settle(late[3], False, 13.0)
    assert calls(breaker, "..", 14) == "11"


@pytest.mark.parametrize("window_type", ["consecutive", "count"])
def test_a_wait_for_hung_probes_can_end(window_type):
    breaker = gate(window_type, consecutive_failures=2, window_size=2, open_duration=10, half_open_max_wait=5)
    calls(breaker, "xx", step_s=0.0)
    hung = breaker.permit(12.0)
    assert breaker.permit(16.9) == REFUSED
    breaker.settle(hung, True, 17.0)  # too late by nothing
    assert breaker.state(17.0) == OPEN
    assert breaker.permit(26.9) == REFUSED
    assert breaker.permit(27.0) != REFUSED
    assert breaker.changes == [(0.0, OPEN), (12.0, HALF_OPEN), (17.0, OPEN), (27.0, HALF_OPEN)]


def test_half_open_by_itself_or_with_the_first_call():
    for automatic, expected in ((True, [(0.0, OPEN), (10.0, HALF_OPEN)]), (False, [(0.0, OPEN), (30.0, HALF_OPEN)])):
        breaker = opened(automatic_half_open=automatic)
        assert breaker.state(10.0) == (HALF_OPEN if automatic else OPEN)
        assert breaker.state(29.0) == (HALF_OPEN if automatic else OPEN)
        assert breaker.permit(30.0) != REFUSED
        assert breaker.changes == expected


def test_by_itself_it_goes_on_for_ever_without_calls():
    breaker = opened(automatic_half_open=True, half_open_max_wait=5)
    assert breaker.state(41.0) == HALF_OPEN
    assert breaker.changes == [(0, OPEN), (10, HALF_OPEN), (15, OPEN), (25, HALF_OPEN), (30, OPEN), (40, HALF_OPEN)]


def test_several_probes_in_a_row_must_be_good_where_failures_in_a_row_are_counted():
    for answers, expected in (("...", CLOSED), ("..x", OPEN), ("..", HALF_OPEN)):
        breaker = gate("consecutive", consecutive_failures=1, open_duration=1, half_open_calls=3)
        assert calls(breaker, "x" + answers, step_s=1.0) == "1" * (1 + len(answers))
        assert breaker.state(float(len(answers))) == expected


# Which outcomes count.


def test_outcomes_are_failures_successes_or_nothing():
    breaker = gate("consecutive", consecutive_failures=3, failures=("error", "timeout"), ignored=("rejected",))
    for outcome in (ERROR, REJECTED, TIMEOUT, IN_FLIGHT):
        breaker.finish(breaker.permit(0.0), outcome, 0.0, 0.0)
    assert breaker.state(0.0) == CLOSED
    breaker.finish(breaker.permit(0.0), UNREACHABLE, 0.0, 0.0)  # not listed: as good as an answer
    for outcome in (ERROR, ERROR):
        breaker.finish(breaker.permit(0.0), outcome, 0.0, 0.0)
    assert breaker.state(0.0) == CLOSED
    breaker.finish(breaker.permit(0.0), ERROR, 0.0, 0.0)
    assert breaker.state(0.0) == OPEN


# Growing open time.


def test_the_open_time_grows_until_a_probe_is_good():
    breaker = gate("consecutive", consecutive_failures=1, open_duration=1, open_multiplier=2, max_open_duration=3)
    calls(breaker, "x")
    assert calls(breaker, "xxxx.", 1.0, step_s=1.0) == "10100"  # at 1 s, then after 2 s at 3 s; then 3 s, the longest
    assert calls(breaker, ".x", 6.0, step_s=0.0) == "11"
    assert calls(breaker, "..", 6.9, step_s=0.1) == "01"


@pytest.mark.parametrize(
    ("jitter", "lowest", "highest"),
    [
        ("none", [4, 8, 16, 20, 20], [4, 8, 16, 20, 20]),
        ("ratio", [3, 6, 12, 20, 20], [5, 10, 20, 20, 20]),  # the cap comes last
        ("added", [4, 8, 16, 20, 20], [5, 10, 20, 20, 20]),
        ("equal", [4, 4, 8, 16, 20], [4, 8, 16, 20, 20]),
    ],
)
def test_jitter_spreads_the_open_time(jitter, lowest, highest):
    spec = CircuitBreaker(open_duration=4, open_multiplier=2, max_open_duration=20, open_jitter=jitter, open_jitter_ratio=0.25)
    assert [open_s(spec, n, 0.0) for n in range(1, 6)] == lowest
    assert [open_s(spec, n, 1.0) for n in range(1, 6)] == highest


def test_finagle_and_linkerd_grow_as_they_do():
    finagle = CircuitBreaker(open_duration=5, open_multiplier=2, max_open_duration=300, open_jitter="equal")
    assert [open_s(finagle, n, 0.5) for n in (1, 2, 3, 7, 8)] == [5, 7.5, 15, 240, 300]
    linkerd = CircuitBreaker(open_duration=1, open_multiplier=2, max_open_duration=60, open_jitter="added")
    assert [open_s(linkerd, n, 0.5) for n in (1, 2, 6, 7)] == [1.25, 2.5, 40, 60]


def test_jitter_is_drawn_from_the_key_anew_each_time():
    spec = CircuitBreaker(consecutive_failures=1, open_duration=1, open_jitter="ratio", open_jitter_ratio=1)

    def reopenings(key_):
        breaker = BreakerGate(spec, key_)
        calls(breaker, "x" * 2000, step_s=0.01)
        return [at_s for at_s, state in breaker.changes if state == OPEN]

    assert reopenings(1) == reopenings(1)
    assert reopenings(1) != reopenings(2)
    gaps = [later - earlier for earlier, later in zip(reopenings(1), reopenings(1)[1:], strict=False)]
    assert min(gaps) < 0.5 < 1.5 < max(gaps)


def test_growth_without_a_limit_ends_nowhere_and_no_time_stays_no_time():
    assert open_s(CircuitBreaker(open_multiplier=10), 10_000, 0.5) == math.inf
    assert open_s(CircuitBreaker(open_multiplier=10, open_duration=0), 10_000, 0.5) == 0


# Hystrix: judged every 500 ms, from complete buckets.

HYSTRIX = {"window_duration": 10, "evaluate_every": 0.5, "minimum_calls": 20, "open_duration": 5}


def test_hystrix_judges_at_ticks_only():
    breaker = gate("time", **HYSTRIX)
    assert calls(breaker, "x" * 45, 0.0, step_s=0.0125) == "1" * 40 + "0" * 5  # 0.4875 is the last before the tick
    assert breaker.changes == [(0.5, OPEN)]
    assert breaker.permit(5.4) == REFUSED
    assert breaker.permit(5.5) != REFUSED


def test_hystrix_wants_its_volume():
    breaker = gate("time", **HYSTRIX)
    assert calls(breaker, "x" * 19, step_s=0.01) == "1" * 19
    assert breaker.state(100.0) == CLOSED


def test_hystrix_may_open_when_good_calls_fall_out_though_nobody_calls():
    breaker = gate("time", **HYSTRIX)
    calls(breaker, "." * 25, 0.0, step_s=0.01)
    calls(breaker, "x" * 20, 5.0, step_s=0.01)  # 20 of 45
    assert breaker.state(10.4) == CLOSED
    assert breaker.state(60.0) == OPEN
    # The bucket [0, 0.5) is one of the last twenty at 10.0 and no more at 10.5.
    assert breaker.changes == [(10.5, OPEN)]


def test_hystrix_starts_its_ticks_anew_when_it_closes():
    breaker = gate("time", **HYSTRIX)
    calls(breaker, "x" * 20, step_s=0.01)
    calls(breaker, ".", 5.7)
    assert breaker.state(5.7) == CLOSED
    calls(breaker, "x" * 20, 5.75, step_s=0.01)
    assert breaker.state(6.1) == CLOSED
    assert breaker.state(7.0) == OPEN
    assert breaker.changes[-1] == (pytest.approx(6.2), OPEN)


def test_hystrix_sleeps_through_a_long_silence():
    breaker = gate("time", **{**HYSTRIX, "evaluate_every": 0.001})
    calls(breaker, "x", 0.0)
    assert calls(breaker, "x" * 19, 1e6, step_s=0.0001) == "1" * 19
    assert breaker.state(1e6 + 1) == CLOSED
    assert calls(breaker, "x" * 20, 2e6, step_s=0.0001) == "1" * 20
    assert breaker.state(2e6 + 1) == OPEN


def test_hystrix_keeps_its_ticks_through_a_silence():
    breaker = gate("time", **HYSTRIX)
    calls(breaker, "x", 0.0)
    calls(breaker, "x" * 20, 1000.2, step_s=0.0)
    assert breaker.state(1000.4) == CLOSED
    assert breaker.state(1000.5) == OPEN
    assert breaker.changes == [(1000.5, OPEN)]


# Finagle: a moving average, or failures in a row.

FINAGLE = {
    "window_duration": 30,
    "failure_rate_threshold_percent": 20,
    "minimum_calls": 5,
    "or_consecutive_failures": 50,
}


def test_an_average_over_30_s_falls_below_four_fifths_after_6_7_s_of_failures():
    breaker = gate("ema", **FINAGLE)
    calls(breaker, "." * 400, 0.0)
    assert breaker.state(39.9) == CLOSED
    falls_s = 39.9 + 30 * math.log(1 / 0.8)
    calls(breaker, "x" * 10, 40.0, step_s=1.0)
    assert breaker.changes == [(math.ceil(falls_s), OPEN)]


def test_an_average_says_nothing_in_its_first_window_nor_of_few_calls():
    breaker = gate("ema", **FINAGLE)
    assert calls(breaker, "x" * 30, 0.0, step_s=0.999) == "1" * 30
    assert calls(breaker, "x.", 30.0) == "10"
    few = gate("ema", **FINAGLE)
    assert calls(few, "x" * 20, 0.0, step_s=8.0) == "1" * 20  # four in 30 s, never five
    assert calls(few, "x", 20 * 8.0 - 7.9) == "1"
    assert few.state(200.0) == OPEN


def test_an_average_is_judged_at_failures_only_and_must_be_exceeded():
    breaker = gate("ema", **{**FINAGLE, "minimum_calls": 1, "failure_rate_threshold_percent": 100})
    assert calls(breaker, "x" * 49, 0.0, step_s=1.0) == "1" * 49  # 100 % is not over 100 %
    breaker = gate("ema", **{**FINAGLE, "minimum_calls": 1})
    assert calls(breaker, "xxx", 0.0) == "111"
    assert calls(breaker, ".x", 31.0, step_s=0.0) == "11"  # 64 % failures: the good call did not open it
    assert breaker.changes == [(31.0, OPEN)]


def test_after_a_revival_the_average_begins_anew():
    for revived_s, expected in ((6.0, "1111110"), (9.0, "1111111")):
        breaker = gate("ema", **{**FINAGLE, "or_consecutive_failures": 5, "open_duration": 5})
        assert calls(breaker, "xxxxx.") == "111110"
        assert calls(breaker, ".", revived_s) == "1"
        # Five calls are enough from the sixth on; 30 s have passed since the revival, or not yet.
        assert calls(breaker, "xxxx.x.", 37.0) == expected


def test_failures_in_a_row_open_it_whatever_the_rates_say():
    breaker = gate(window_size=100, or_consecutive_failures=3)
    assert calls(breaker, "xx.xx." + "xxx.") == "1" * 9 + "0"


# Published numbers.


def test_cb1_calls_until_k_failures_in_a_row():
    for p, expected in ((0.5, 62.0), (0.9, 6.935)):
        assert (p**-5 - 1) / (1 - p) == pytest.approx(expected, abs=1e-3)
        lives, made = 20_000, 0
        for life in range(lives):
            breaker, stream = BreakerGate(CircuitBreaker()), key(1, "cb1", life, str(p))
            while not breaker.changes:
                stream = child(stream, 1)
                breaker.settle(breaker.permit(0.0), uniform(stream) >= p, 0.0)
                made += 1
        assert made / lives == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("size", "expected"), [(10, 0.3669), (20, 0.2447), (100, 0.0271)])
def test_cb2_how_often_a_full_window_is_at_or_over_the_threshold(size, expected):
    total = 0.0
    for failed in range(size + 1):
        breaker = gate(window_size=size)
        calls(breaker, "x" * failed + "." * (size - failed))
        total += (breaker.state(0.0) == OPEN) * math.comb(size, failed) * 0.4**failed * 0.6 ** (size - failed)
    assert total == pytest.approx(expected, abs=5e-5)


def test_cb3_a_total_outage_under_resilience4j_and_hystrix():
    resilience4j = gate(half_open_calls=10)
    through = calls(resilience4j, "x" * 31_000, step_s=0.01)  # 310 s
    assert through.index("0") == 100
    assert through.count("1") == 100 + 5 * 10
    hystrix = gate("time", **{**HYSTRIX, "evaluate_every": None})
    through = calls(hystrix, "x" * 5_000, step_s=0.1)
    assert through.index("0") == 20
    assert through.count("1") / 500 == pytest.approx(20 / 500 + 0.2, rel=0.02)
