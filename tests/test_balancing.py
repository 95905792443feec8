"""Balancing rules as decisions: endpoints and calls in flight in, one endpoint out."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.policies.balancing import RULES, BalancingRule
from sim.streams import child, key

ENDPOINTS = st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True).map(sorted)
LOADS = st.lists(st.integers(0, 20), min_size=10, max_size=10)


def picks(rule, endpoints, in_flight, count=12_000, start=0):
    balancer, stream = RULES[rule](start), key(1, "picks", rule)
    return [balancer.pick(endpoints, in_flight, child(stream, i)) for i in range(count)]


def assert_shares(chosen, expected):
    counts = Counter(chosen)
    assert set(counts) <= set(expected)
    observed = [counts[endpoint] for endpoint in expected]
    assert stats.chisquare(observed, [share * len(chosen) for share in expected.values()]).pvalue > 1e-3


@pytest.mark.parametrize("rule", RULES)
@given(endpoints=ENDPOINTS, in_flight=LOADS, bits=st.integers(0, 2**64 - 1), start=st.integers(0, 2**31))
def test_the_choice_is_one_of_the_endpoints_and_repeatable(rule, endpoints, in_flight, bits, start):
    chosen = RULES[rule](start).pick(endpoints, in_flight, bits)
    assert chosen in endpoints
    assert RULES[rule](start).pick(endpoints, in_flight, bits) == chosen


def test_the_language_knows_every_rule():
    assert set(RULES) == set(get_args(BalancingRule))


def test_round_robin_takes_turns_from_its_start():
    assert picks("round_robin", [0, 1, 2], [9, 0, 0], count=7, start=1) == [1, 2, 0, 1, 2, 0, 1]


def test_round_robin_with_one_gone_still_takes_turns():
    balancer = RULES["round_robin"](0)
    first = [balancer.pick([0, 1, 2], [0] * 3, 0) for _ in range(3)]
    then = [balancer.pick([0, 2], [0] * 3, 0) for _ in range(4)]
    assert first == [0, 1, 2]
    assert Counter(then) == {0: 2, 2: 2}


def test_random_does_not_look_at_the_load():
    assert_shares(picks("random", [0, 2, 5], [9, 0, 0, 0, 0, 3]), {0: 1 / 3, 2: 1 / 3, 5: 1 / 3})


def test_random_choices_follow_each_other_independently():
    chosen = picks("random", [0, 1, 2, 3], [0] * 4)
    pairs = list(zip(chosen[0::2], chosen[1::2], strict=True))
    assert_shares(pairs, {(a, b): 1 / 16 for a in range(4) for b in range(4)})


def test_least_request_takes_the_idlest_and_draws_among_equals():
    assert set(picks("least_request", [0, 1, 2], [2, 1, 3], count=50)) == {1}
    assert_shares(picks("least_request", [0, 1, 2, 3], [1, 5, 1, 1]), {0: 1 / 3, 2: 1 / 3, 3: 1 / 3})


def test_least_request_sees_only_endpoints_it_may_choose():
    assert set(picks("least_request", [1, 2], [0, 4, 3], count=50)) == {2}


def test_two_choices_draw_with_replacement():
    # Two endpoints: the busier one is taken when both draws hit it, in a quarter of the cases (Envoy's behaviour).
    assert_shares(picks("two_choices", [0, 1], [5, 1]), {0: 1 / 4, 1: 3 / 4})
    # Three, all different: the busiest needs both draws (1/9), the middle one 3/9, the idlest 5/9.
    assert_shares(picks("two_choices", [0, 1, 2], [3, 2, 1]), {0: 1 / 9, 1: 3 / 9, 2: 5 / 9})


def test_two_choices_among_equals_is_random_choice():
    assert_shares(picks("two_choices", [0, 1, 2, 3], [1, 1, 1, 1]), dict.fromkeys(range(4), 1 / 4))
