"""Weighted balancing: exact shares, shares that calls in flight make smaller, and shares that grow."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing
from sim.policies.weights import Deadlines
from sim.streams import child, key


def rule(kind, start=0, process_key=7, **fields):
    return new_balancer(Balancing(kind=kind, **fields), process_key, start=start)


def turns(balancer, endpoints, count, now_s=0.0):
    chosen = []
    for i in range(count):
        if balancer.learns:
            endpoints = balancer.look(now_s, i, endpoints)
        chosen.append(balancer.pick(endpoints, [0] * 10, child(key(1, "turns"), i)))
    return chosen


@given(weights=st.lists(st.integers(1, 7), min_size=1, max_size=6), start=st.integers(0, 5))
def test_smooth_round_robin_is_exact_over_every_period(weights, start):
    endpoints, period = list(range(len(weights))), sum(weights)
    chosen = turns(rule("weighted_round_robin", start, weights=weights), endpoints, 3 * period)
    for begin in (0, period, 2 * period):
        assert Counter(chosen[begin : begin + period]) == dict(enumerate(weights))


def test_smooth_round_robin_spreads_the_turns_of_the_heavy_one():
    chosen = turns(rule("weighted_round_robin", weights=[5, 1, 1]), [0, 1, 2], 7)
    assert chosen == [0, 0, 1, 0, 2, 0, 0]  # nginx's own example


def test_weights_begin_anew_after_the_last():
    assert Counter(turns(rule("weighted_round_robin", weights=[3, 1]), [0, 1, 2, 3], 8)) == {0: 3, 1: 1, 2: 3, 3: 1}


def test_equal_weights_are_round_robin_from_the_callers_own_place():
    assert turns(rule("weighted_round_robin", start=2), [0, 1, 2], 5) == [2, 0, 1, 2, 0]


def test_who_is_left_out_owes_nothing_and_is_owed_nothing():
    balancer = rule("weighted_round_robin", weights=[2, 1, 1])
    assert Counter(turns(balancer, [1, 2], 10)) == {1: 5, 2: 5}
    assert Counter(turns(balancer, [0, 1, 2], 4)) == {0: 2, 1: 1, 2: 1}


# --- slow start -------------------------------------------------------------------------------------------------------


def newcomer(balancer, age_s, known=(0, 1)):
    """The share of an endpoint that came at 100 s, so many seconds later, in percent."""
    balancer.look(0.0, 0, list(known))
    balancer.look(100.0, 0, [*known, 2])
    everyone = [*known, 2]
    return Counter(turns(balancer, everyone, 2100, now_s=100.0 + age_s))[2] / 21


def test_a_newcomers_share_grows_over_the_window():
    slow = {"window": 10.0, "min_weight_ratio": 0.1}
    # Weights 1, 1 and w: the share is w / (2 + w).
    for age_s, w in [(0.0, 0.1), (0.5, 0.1), (5.0, 0.5), (10.0, 1.0), (60.0, 1.0)]:
        assert newcomer(rule("round_robin", slow_start=slow), age_s) == pytest.approx(100 * w / (2 + w), abs=0.2)


def test_aggression_grows_the_share_sooner():
    slow = {"window": 10.0, "aggression": 2.0}
    w = 0.25**0.5
    assert newcomer(rule("weighted_round_robin", slow_start=slow), 2.5) == pytest.approx(100 * w / (2 + w), abs=0.2)


def test_what_is_known_at_the_start_begins_with_equal_shares():
    balancer = rule("round_robin", slow_start={"window": 10.0})
    assert Counter(turns(balancer, [0, 1, 2], 9, now_s=1.0)) == {0: 3, 1: 3, 2: 3}


def test_who_comes_back_is_new_again():
    balancer, everyone = rule("round_robin", slow_start={"window": 10.0}), [0, 1]
    for now_s, known in [(0.0, everyone), (50.0, [0]), (60.0, [0, 1])]:
        balancer.look(now_s, 0, known)
    assert Counter(turns(balancer, balancer._known, 110, now_s=61.0)) == {0: 100, 1: 10}


@pytest.mark.parametrize("kind", ["two_choices", "least_request"])
def test_looking_at_calls_in_flight_starts_slowly_too(kind):
    balancer = rule(kind, slow_start={"window": 10.0})
    assert newcomer(balancer, 5.0) == pytest.approx(20, abs=1)
    # After the window everyone counts alike again, and calls in flight decide.
    balancer.look(200.0, 0, balancer._known)
    assert {balancer.pick([0, 1, 2], [3, 1, 2], child(1, i)) for i in range(50)} >= {1}
    assert {rule("least_request", slow_start={"window": 1}).pick([0, 1], [3, 1], child(1, i)) for i in range(50)} == {1}


# --- weights and calls in flight --------------------------------------------------------------------------------------


def shares(balancer, in_flight, count=6000):
    endpoints = list(range(len(in_flight)))
    found = Counter(balancer.pick(endpoints, in_flight, i) for i in range(count))
    return [found[i] / count for i in endpoints]


@pytest.mark.parametrize("kind", ["two_choices", "least_request"])
def test_unequal_weights_make_a_weighted_round_robin_that_calls_make_lighter(kind):
    # weight / (calls + 1): 4/1 : 2/1 : 1/1, and 4/4 : 2/1 : 1/1
    assert shares(rule(kind, weights=[4, 2, 1]), [0, 0, 0]) == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=2e-3)
    assert shares(rule(kind, weights=[4, 2, 1]), [3, 0, 0]) == pytest.approx([1 / 4, 2 / 4, 1 / 4], abs=2e-3)


def test_the_bias_says_how_much_calls_matter():
    assert shares(rule("least_request", weights=[1, 1], active_request_bias=0), [9, 0]) == pytest.approx([0.5, 0.5], abs=2e-3)
    assert shares(rule("least_request", active_request_bias=1), [1, 0]) == pytest.approx([1 / 3, 2 / 3], abs=2e-3)
    assert shares(rule("least_request", active_request_bias=2), [1, 0]) == pytest.approx([1 / 5, 4 / 5], abs=2e-3)


def test_equal_weights_are_no_weights():
    assert type(rule("least_request", weights=[2, 2])) is type(rule("least_request"))


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_deadlines_keep_everyone_within_one_turn_of_its_share(weights, seed):
    deadlines, count = Deadlines(seed), Counter()
    for number in range(1, 40):
        count[deadlines.pick(list(range(len(weights))), lambda i: float(weights[i]))] += 1
        moment = deadlines._moment
        for endpoint, weight in enumerate(weights):
            assert abs(count[endpoint] - moment * weight) <= 1 + 1e-6, number


def test_who_comes_back_is_not_owed_what_it_missed():
    deadlines, weight = Deadlines(1), lambda i: 1.0
    for _ in range(20):
        deadlines.pick([0, 1], weight)
    for _ in range(100):
        deadlines.pick([0], weight)
    assert Counter(deadlines.pick([0, 1], weight) for _ in range(20))[1] in (10, 11)


def test_two_processes_are_not_in_step():
    first, second = (turns(rule("least_request", process_key=i, weights=[1, 2, 3]), [0, 1, 2], 12) for i in (1, 2))
    assert first != second
