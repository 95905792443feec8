"""Outlier detection, told the time: Envoy's rules, then gRPC's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim.policies.outlier import OutlierDetection
from sim.records import DEGRADED, ERROR, IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE

TEN = list(range(10))


def outliers(endpoints=10, key=0, start_s=0.0, **settings_):
    return OutlierDetection(**settings_).gate(endpoints, key, start_s)


def fail(gate, endpoint, now_s, times=5, outcome=ERROR):
    for _ in range(times):
        gate.settle(endpoint, outcome, now_s)


def interval(gate, now_s, *rates, calls=100):
    """One interval's calls at each endpoint: so many percent of them good."""
    for endpoint, percent in enumerate(rates):
        # The failures are spread, so that no streak fills up.
        for i in range(calls):
            gate.settle(endpoint, OK if (i + 1) * percent // 100 > i * percent // 100 else ERROR, now_s)


def out(gate, now_s):
    gate.advance(now_s)
    ejected = set()
    for _, endpoint, is_out in gate.changes:
        (ejected.add if is_out else ejected.discard)(endpoint)
    return sorted(ejected)


# Streaks.


def test_five_failures_in_a_row_eject_at_once_and_a_good_answer_begins_anew():
    gate = outliers()
    fail(gate, 3, 1.0, times=4)
    gate.settle(3, OK, 1.5)
    fail(gate, 3, 2.0, times=4)
    assert gate.usable(2.0, TEN) == TEN
    gate.settle(3, ERROR, 2.5)
    assert gate.usable(2.5, TEN) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert gate.changes == [(2.5, 3, True)]


def test_it_returns_at_the_first_tick_after_its_time():
    gate = outliers()
    fail(gate, 3, 2.5)
    assert 3 not in gate.usable(39.9, TEN)
    assert gate.usable(40.0, TEN) == TEN  # 30 s were over at 32.5 s
    assert gate.changes == [(2.5, 3, True), (40.0, 3, False)]


def test_ticks_are_counted_from_the_begin_of_the_gate():
    gate = outliers(start_s=3.0)
    fail(gate, 3, 13.0)
    assert gate.usable(42.9, TEN) != TEN
    assert gate.usable(43.0, TEN) == TEN  # exactly 30 s, at a tick


def test_nobody_is_ejected_from_fewer_than_ten_and_one_from_ten():
    nine = outliers(9)
    fail(nine, 0, 1.0)
    assert out(nine, 1.0) == []
    ten = outliers()
    fail(ten, 0, 1.0)
    fail(ten, 1, 1.0)
    assert out(ten, 1.0) == [0]
    one = outliers(3, always_eject_one_host=True)
    fail(one, 0, 1.0)
    fail(one, 1, 1.0)
    assert out(one, 1.0) == [0]


def test_a_streak_that_did_not_eject_begins_anew():
    only_gateway = {"consecutive_5xx": 0, "enforcing_consecutive_gateway_failure": 100}
    for outcome, rules in ((ERROR, {}), (TIMEOUT, only_gateway)):
        gate = outliers(**rules)
        fail(gate, 0, 1.0, outcome=outcome)
        fail(gate, 1, 1.0, times=9, outcome=outcome)  # no room at the fifth
        gate.advance(40.0)
        gate.settle(1, outcome, 41.0)
        assert out(gate, 41.0) == [1]  # the tenth


def test_each_ejection_takes_longer_and_each_healthy_interval_makes_up_for_one():
    for again_s, back_s in ((45.0, 110.0), (50.5, 90.0)):
        gate = outliers()
        fail(gate, 0, 1.0)
        assert out(gate, 40.0) == []
        fail(gate, 0, again_s)
        # At 45 s, the second time: 60 s, to 105 s. At 50 s a whole interval had gone well: 30 s, to 80.5 s.
        assert out(gate, back_s - 0.1) == [0]
        assert out(gate, back_s) == []


def test_the_tick_of_the_return_is_no_healthy_interval():
    gate = outliers()
    fail(gate, 0, 1.0)
    gate.advance(40.0)
    fail(gate, 0, 49.9)
    gate.advance(50.0)
    assert out(gate, 109.0) == [0]
    assert out(gate, 110.0) == []


def test_an_ejection_has_a_longest_time():
    gate = outliers(base_ejection_time=30, max_ejection_time=45)
    for times, (begin_s, end_s) in enumerate([(0.0, 30.0), (30.0, 80.0), (80.0, 130.0), (130.0, 180.0)]):
        fail(gate, 0, begin_s)
        assert out(gate, end_s - 0.1) == [0], times
        assert out(gate, end_s) == [], times


def test_the_longest_time_is_never_less_than_the_first():
    gate = outliers(base_ejection_time=30, max_ejection_time=5)
    fail(gate, 0, 0.0)
    assert out(gate, 29.9) == [0]
    long = outliers(base_ejection_time=400)
    fail(long, 0, 0.0)
    assert out(long, 399.9) == [0]
    assert out(long, 400.0) == []


def test_growth_stops_at_the_longest_time_so_that_recovery_does_not_take_for_ever():
    gate = outliers(base_ejection_time=10, max_ejection_time=20, interval=10)
    now_s = 0.0
    for _ in range(20):
        fail(gate, 0, now_s)
        while out(gate, now_s):
            now_s += 10.0
    # k is 3 at most: 3 · 10 < 20 + 10 is not true. Three healthy intervals later it is 0.
    fail(gate, 0, now_s + 35.0)
    assert out(gate, now_s + 49.0) == [0]
    assert out(gate, now_s + 50.0) == []


def test_jitter_is_drawn_anew_in_whole_milliseconds():
    def return_s(key):
        gate = outliers(key=key, interval=0.001, base_ejection_time=1, max_ejection_time_jitter=0.5)
        fail(gate, 0, 0.0)
        gate.advance(2.0)
        return gate.changes[1][0]

    times = [return_s(key) for key in range(60)]
    assert min(times) < 1.05 < 1.45 < max(times) < 1.501
    assert times[0] == return_s(0)


def test_answers_that_arrive_while_it_is_out_do_not_eject_it_again_nor_later():
    gate = outliers()
    fail(gate, 0, 1.0, times=9)
    assert out(gate, 40.0) == []
    fail(gate, 0, 41.0, times=4)
    assert out(gate, 41.0) == []


def test_a_streak_that_fills_up_while_it_is_out_waits_for_the_return():
    gate = outliers(consecutive_gateway_failure=3, enforcing_consecutive_gateway_failure=100)
    fail(gate, 0, 1.0, times=20, outcome=REJECTED)
    assert out(gate, 1.0) == [0]
    assert len(gate.changes) == 1


# Which streak a failure belongs to.


def test_gateway_failures_have_a_streak_of_their_own():
    for outcome, ejects in ((TIMEOUT, True), (REJECTED, True), (UNREACHABLE, True), (ERROR, False)):
        gate = outliers(consecutive_5xx=0, enforcing_consecutive_gateway_failure=100)
        fail(gate, 0, 1.0, outcome=outcome)
        assert bool(out(gate, 1.0)) == ejects
    gate = outliers(consecutive_5xx=0, enforcing_consecutive_gateway_failure=100)
    fail(gate, 0, 1.0, times=4, outcome=TIMEOUT)
    gate.settle(0, ERROR, 1.0)  # ends it
    fail(gate, 0, 1.0, times=4, outcome=TIMEOUT)
    assert out(gate, 1.0) == []


def test_all_failures_count_for_the_general_streak_and_nothing_else_does():
    gate = outliers()
    for outcome in (ERROR, TIMEOUT, IN_FLIGHT, REJECTED, UNREACHABLE):
        gate.settle(0, outcome, 1.0)
    assert out(gate, 1.0) == []
    gate.settle(0, ERROR, 1.0)
    assert out(gate, 1.0) == [0]
    gate = outliers()
    fail(gate, 0, 1.0, times=4)
    gate.settle(0, DEGRADED, 1.0)
    gate.settle(0, ERROR, 1.0)
    assert out(gate, 1.0) == []


def test_split_origins_have_streaks_of_their_own():
    def split(*outcomes, **more):
        gate = outliers(split_external_local_origin_errors=True, **more)
        for outcome in outcomes:
            gate.settle(0, outcome, 1.0)
        return bool(out(gate, 1.0))

    assert split(*[TIMEOUT, UNREACHABLE, TIMEOUT, TIMEOUT, TIMEOUT])
    assert not split(*[TIMEOUT] * 5, enforcing_consecutive_local_origin_failure=0)
    assert not split(*[TIMEOUT] * 4, ERROR, *[TIMEOUT] * 4)  # an answer, if a bad one: the endpoint is there
    assert split(*[ERROR, TIMEOUT] * 4, ERROR)  # the others leave the errors alone
    assert not split(*[ERROR, TIMEOUT] * 4, OK, ERROR)


# Rates.


def test_one_of_five_is_an_outlier_and_two_of_five_are_not():
    gate = outliers(5, max_ejection_percent=100)
    interval(gate, 5.0, 50, 100, 100, 100, 100)  # mean 90, sigma 20: below 52
    assert out(gate, 9.9) == []
    assert out(gate, 10.0) == [0]
    assert gate.changes == [(10.0, 0, True)]
    gate = outliers(5, max_ejection_percent=100)
    interval(gate, 5.0, 50, 50, 100, 100, 100)
    assert out(gate, 10.0) == []


def test_the_rate_must_be_below_the_threshold_not_at_it():
    # 80 and 100 in equal numbers: mean 90, sigma 10. A factor of 1 puts the threshold at 80.
    for factor, expected in ((1000, []), (999, [0, 1])):
        gate = outliers(4, max_ejection_percent=100, success_rate_minimum_hosts=4, success_rate_stdev_factor=factor)
        interval(gate, 5.0, 80, 80, 100, 100)
        assert out(gate, 10.0) == expected


def test_rates_are_those_of_one_interval():
    gate = outliers(5, max_ejection_percent=100)
    interval(gate, 5.0, 50, 100, 100, 100, 100, calls=50)
    interval(gate, 15.0, 50, 100, 100, 100, 100, calls=50)
    assert out(gate, 30.0) == []


def test_rates_need_enough_endpoints_with_enough_calls():
    for hosts, volume, expected in ((5, 100, [0]), (6, 100, []), (5, 101, [])):
        gate = outliers(8, max_ejection_percent=100, success_rate_minimum_hosts=hosts, success_rate_request_volume=volume)
        interval(gate, 5.0, 50, 100, 100, 100, 100)  # three have no calls
        assert out(gate, 10.0) == expected


def test_those_that_are_out_are_not_compared():
    gate = outliers(6, max_ejection_percent=100)
    fail(gate, 5, 1.0)
    interval(gate, 5.0, 50, 100, 100, 100, 100, 0)  # with the 0 of number 5, number 0 would be near the mean
    assert out(gate, 10.0) == [0, 5]


def test_a_failure_percentage_needs_no_comparison():
    settings_ = {"enforcing_success_rate": 0, "max_ejection_percent": 100, "failure_percentage_threshold": 60}
    for percent, enforcing, expected in ((40, 100, [0, 1, 2, 3, 4]), (41, 100, []), (40, 0, [])):
        gate = outliers(5, enforcing_failure_percentage=enforcing, **settings_)
        interval(gate, 5.0, *[percent] * 5)
        assert out(gate, 10.0) == expected
    few = outliers(5, enforcing_failure_percentage=100, **settings_)
    interval(few, 5.0, 0, 0, 0, 0, calls=4)
    assert out(few, 10.0) == []
    four = outliers(5, enforcing_failure_percentage=100, consecutive_5xx=0, **settings_)
    interval(four, 5.0, 0, 0, 0, 0)
    assert out(four, 10.0) == []


def test_an_endpoint_that_both_rates_find_is_ejected_once():
    gate = outliers(5, max_ejection_percent=40, enforcing_failure_percentage=100, consecutive_5xx=0)
    interval(gate, 5.0, 0, 100, 100, 100, 100)
    assert out(gate, 10.0) == [0]
    fail(gate, 1, 11.0, times=20)
    interval(gate, 15.0, 0, 0, 100, 100, 100)
    assert gate.changes == [(10.0, 0, True)]
    assert out(gate, 40.0) == []


def test_split_origins_have_rates_of_their_own():
    gate = outliers(5, max_ejection_percent=100, split_external_local_origin_errors=True)
    for endpoint in range(5):
        for i in range(200):
            gate.settle(endpoint, TIMEOUT if endpoint == 0 and i % 2 else OK, 5.0)
    assert out(gate, 10.0) == [0]
    off = outliers(5, max_ejection_percent=100, split_external_local_origin_errors=True, enforcing_local_origin_success_rate=0)
    for endpoint in range(5):
        for i in range(200):
            off.settle(endpoint, TIMEOUT if endpoint == 0 and i % 2 else OK, 5.0)
    assert out(off, 10.0) == []


def test_the_order_of_discovery_decides_who_takes_the_last_place():
    gate = outliers(10, success_rate_stdev_factor=0)
    assert gate.usable(0.0, TEN[::-1]) == TEN[::-1]
    interval(gate, 5.0, 50, *[100] * 8, 50)
    assert out(gate, 10.0) == [9]


# Chance.


def test_ejections_are_enforced_with_their_probability():
    def ejected(percent):
        gates = [outliers(key=key, enforcing_consecutive_5xx=percent) for key in range(400)]
        for gate in gates:
            fail(gate, 0, 1.0)
        return sum(bool(gate.changes) for gate in gates)

    assert ejected(0) == 0
    assert ejected(30) == pytest.approx(120, abs=28)
    assert ejected(100) == 400


def test_a_second_detection_has_a_chance_of_its_own():
    gate = outliers(enforcing_consecutive_5xx=50)
    for _ in range(40):
        fail(gate, 0, 1.0)
    assert out(gate, 1.0) == [0]


# What the balancer sees.


def test_in_panic_all_are_used():
    four = [0, 1, 2, 3]
    gate = outliers(4, max_ejection_percent=100, update_merge_window=0)
    fail(gate, 0, 1.0)
    fail(gate, 1, 1.0)
    assert gate.usable(1.0, four) == [2, 3]  # half are left
    fail(gate, 2, 1.0)
    assert gate.usable(1.0, four) == four
    assert out(gate, 1.0) == [0, 1, 2]


def test_without_panic_nobody_may_be_left():
    gate = outliers(2, max_ejection_percent=100, update_merge_window=0, healthy_panic_threshold_percent=0)
    fail(gate, 0, 1.0)
    fail(gate, 1, 1.0)
    assert gate.usable(1.0, [0, 1]) == []


def test_five_of_seven_are_as_good_as_all_to_envoy():
    gate = outliers(7, max_ejection_percent=100, update_merge_window=0, healthy_panic_threshold_percent=90)
    fail(gate, 0, 1.0)
    fail(gate, 1, 1.0)
    assert gate.usable(1.0, TEN[:7]) == [2, 3, 4, 5, 6]
    fail(gate, 2, 1.0)
    assert gate.usable(1.0, TEN[:7]) == TEN[:7]


def test_a_second_change_within_the_merge_window_acts_a_second_late():
    gate = outliers(max_ejection_percent=50)
    fail(gate, 0, 1.0)
    assert gate.usable(1.0, TEN) == TEN[1:]
    assert gate.usable(40.0, TEN) == TEN
    fail(gate, 0, 40.3)
    assert gate.usable(41.2, TEN) == TEN
    assert gate.usable(41.3, TEN) == TEN[1:]
    assert gate.changes[-1] == (40.3, 0, True)  # it was decided at once
    fail(gate, 1, 42.4)
    assert gate.usable(42.4, TEN) == TEN[2:]  # 1.1 s after the last update


def test_changes_that_wait_together_act_together():
    gate = outliers(max_ejection_percent=50)
    for endpoint, now_s in enumerate((1.0, 1.5, 1.9)):
        fail(gate, endpoint, now_s)
    assert gate.usable(2.4, TEN) == TEN[1:]
    assert gate.usable(2.5, TEN) == TEN[3:]
    fail(gate, 3, 3.5)  # the update of 2.5 s is as near as the window is long
    assert gate.usable(3.5, TEN) == TEN[3:]


def test_an_update_that_is_not_merged_takes_the_waiting_ones_along():
    gate = outliers(max_ejection_percent=50)
    fail(gate, 0, 1.0)
    fail(gate, 1, 1.9)
    fail(gate, 2, 2.1)
    assert gate.usable(2.1, TEN) == TEN[3:]


def test_the_same_list_is_given_while_nothing_changes():
    gate = outliers()
    assert gate.usable(0.0, TEN) is TEN
    fail(gate, 0, 1.0)
    assert gate.usable(1.0, TEN) is gate.usable(30.0, TEN)
    assert gate.usable(31.0, list(TEN)) == TEN[1:]


def test_discovery_that_says_the_same_anew_is_no_update():
    gate = outliers(max_ejection_percent=50)
    assert gate.usable(1.0, list(TEN)) == TEN
    fail(gate, 0, 1.5)
    assert gate.usable(1.5, list(TEN)) == TEN[1:]


def test_who_leaves_discovery_is_forgotten_and_makes_room():
    gate = outliers(max_ejection_percent=10)
    fail(gate, 0, 1.0)
    fail(gate, 1, 1.0, times=4)
    assert gate.usable(2.0, TEN[2:]) == TEN[2:]
    assert gate.changes == [(1.0, 0, True), (2.0, 0, False)]
    fail(gate, 0, 3.0)  # answers of one that is gone
    assert gate.usable(4.0, TEN) == TEN
    gate.settle(1, ERROR, 5.0)
    assert out(gate, 5.0) == []
    fail(gate, 1, 6.0, times=4)
    assert out(gate, 6.0) == [1]


def test_the_share_is_that_of_those_discovered():
    gate = outliers(max_ejection_percent=10)
    gate.usable(0.0, TEN[:9])
    fail(gate, 0, 1.0)
    assert out(gate, 1.0) == []


# gRPC.


def test_grpc_can_always_eject_one_and_counts_rates_only():
    settings_ = {"rules": "grpc", "enforcing_failure_percentage": 100, "enforcing_success_rate": 0}
    gate = outliers(5, max_ejection_percent=20, **settings_)
    fail(gate, 0, 1.0, times=50)
    interval(gate, 5.0, 0, 100, 100, 100, 0)
    assert out(gate, 9.9) == []
    assert out(gate, 10.0) == [0]  # with 20 % out there is room for no second one
    two = outliers(5, max_ejection_percent=21, **settings_)
    interval(two, 5.0, 0, 100, 100, 0, 0)
    assert out(two, 10.0) == [0, 3]


def test_grpc_wants_more_failures_than_the_threshold():
    for percent, expected in ((15, []), (14, [0])):
        gate = outliers(5, rules="grpc", enforcing_success_rate=0, enforcing_failure_percentage=100)
        interval(gate, 5.0, percent, 100, 100, 100, 100)
        assert out(gate, 10.0) == expected


def test_grpc_counts_timeouts_and_rejections_as_failures():
    gate = outliers(5, rules="grpc")
    for endpoint in range(5):
        for i in range(100):
            gate.settle(endpoint, (TIMEOUT, REJECTED, ERROR, UNREACHABLE)[i % 4] if endpoint == 0 else OK, 5.0)
    assert out(gate, 10.0) == [0]


def test_grpc_returns_and_grows_at_ticks():
    gate = outliers(5, rules="grpc", base_ejection_time=15, max_ejection_time=20)
    interval(gate, 5.0, 0, 100, 100, 100, 100)
    assert out(gate, 10.0) == [0]
    assert out(gate, 29.9) == [0]
    assert out(gate, 30.0) == []
    interval(gate, 31.0, 0, 100, 100, 100, 100)
    assert out(gate, 40.0) == [0]  # the second time in a row: at most 20 s
    assert out(gate, 59.9) == [0]
    assert out(gate, 60.0) == []
    gate = outliers(5, rules="grpc", base_ejection_time=10)
    interval(gate, 5.0, 0, 100, 100, 100, 100)
    assert out(gate, 20.0) == []
    interval(gate, 35.0, 0, 100, 100, 100, 100)
    assert out(gate, 40.0) == [0]  # at 30 s the first one was forgotten
    assert out(gate, 50.0) == []


def test_grpc_does_not_eject_twice_who_still_answers():
    gate = outliers(5, rules="grpc", max_ejection_percent=100, enforcing_failure_percentage=100)
    for now_s in (5.0, 15.0, 25.0):  # its answers are late, and many
        interval(gate, now_s, 0, 100, 100, 100, 100)
    assert out(gate, 39.9) == [0]
    assert gate.changes == [(10.0, 0, True)]
    assert out(gate, 40.0) == []


def test_grpc_has_no_panic_and_no_merging():
    gate = outliers(
        2, rules="grpc", max_ejection_percent=100, enforcing_failure_percentage=100, failure_percentage_minimum_hosts=1
    )
    interval(gate, 5.0, 0, 0)
    assert gate.usable(10.0, [0, 1]) == []
    assert gate.usable(40.0, [0, 1]) == [0, 1]


# Specs.

BAD = {"interval": 0, "max_ejection_percent": 101, "enforcing_success_rate": -1, "consecutive_5xx": 1.5, "rules": "istio"}


@pytest.mark.parametrize(("name", "value"), BAD.items())
def test_bad_values_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        OutlierDetection(**{name: value})
