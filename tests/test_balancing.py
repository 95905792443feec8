"""Balancing rules that look at calls in flight at most, and what a specification may say: endpoints in, one endpoint out."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing, BalancingKind
from sim.streams import child, key

ENDPOINTS = st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True).map(sorted)
LOADS = st.lists(st.integers(0, 20), min_size=10, max_size=10)
KINDS = get_args(BalancingKind)


def rule(kind, start=0, **fields):
    return new_balancer(Balancing(kind=kind, **fields), process_key=7, shared_key=3, start=start)


def picks(kind, endpoints, in_flight, count=12_000, start=0, **fields):
    balancer, stream = rule(kind, start, **fields), key(1, "picks", kind)
    return [balancer.pick(endpoints, in_flight, child(stream, i)) for i in range(count)]


def assert_shares(chosen, expected):
    counts = Counter(chosen)
    assert set(counts) <= set(expected)
    observed = [counts[endpoint] for endpoint in expected]
    assert stats.chisquare(observed, [share * len(chosen) for share in expected.values()]).pvalue > 1e-3


@pytest.mark.parametrize("subset_size", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
@given(
    known=ENDPOINTS, down=st.sets(st.integers(0, 9)), in_flight=LOADS, bits=st.integers(0, 2**64 - 1), start=st.integers(0, 99)
)
def test_the_choice_is_one_of_the_usable_endpoints_and_repeatable(kind, subset_size, known, down, in_flight, bits, start):
    def choose():
        balancer = rule(kind, start, subset_size=subset_size)
        used = balancer.look(1.0, bits, known) if balancer.learns else known
        assert used
        assert set(used) <= set(known)
        assert subset_size is None or len(used) <= subset_size
        usable = [i for i in used if i not in down] or used
        chosen = balancer.pick(usable, in_flight, bits)
        assert chosen in usable
        if balancer.learns:
            balancer.sent(chosen, 1.0)
            balancer.settled(chosen, 1.5, 0.5, 1, None)
        return chosen

    assert choose() == choose()


def test_round_robin_takes_turns_from_its_start():
    assert picks("round_robin", [0, 1, 2], [9, 0, 0], count=7, start=1) == [1, 2, 0, 1, 2, 0, 1]


def test_round_robin_with_one_gone_still_takes_turns():
    balancer = rule("round_robin")
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
    assert_shares(picks("two_choices", [0, 1, 2, 3], [1, 1, 1, 1], replacement=False), dict.fromkeys(range(4), 1 / 4))


def test_two_different_choices_never_take_the_busiest():
    assert set(picks("two_choices", [0, 1], [5, 1], count=100, replacement=False)) == {1}
    # Three pairs: the idlest is in two of them, the middle one wins the third.
    assert_shares(picks("two_choices", [0, 1, 2], [3, 2, 1], replacement=False), {1: 1 / 3, 2: 2 / 3})
    assert picks("two_choices", [4], [0] * 5, count=3, replacement=False) == [4, 4, 4]


# --- what a specification may say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_word_is_the_kind_and_is_written_as_one(kind):
    short = Balancing.model_validate(kind)
    assert short == Balancing(kind=kind)
    assert short.model_dump(mode="json", exclude_unset=True) == kind
    full = Balancing(kind=kind, subset_size=3).model_dump(mode="json", exclude_unset=True)
    assert full == {"kind": kind, "subset_size": 3}
    assert Balancing.model_validate(full).subset_size == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "random", "weights": [1, 2]}, "weights is read by weighted_round_robin, .* not by random"),
        ({"kind": "least_request", "replacement": False}, "replacement is read by two_choices only"),
        ({"kind": "maglev", "min_ring_size": 5}, "min_ring_size is read by ring_hash only"),
        ({"kind": "maglev", "table_size": 65536}, "table_size = 65536 is no prime"),
        ({"kind": "ring_hash", "min_ring_size": 9, "max_ring_size": 8}, "min_ring_size = 9 is above max_ring_size = 8"),
        ({"kind": "aperture", "low_load": 2.0}, "low_load = 2 must be below high_load = 1.125"),
        ({"kind": "weighted_round_robin", "weights": [0]}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        Balancing(**fields)


def test_rules_that_do_not_learn_are_told_nothing():
    learns = {kind for kind in KINDS if rule(kind).learns}
    assert learns == {
        "peak_ewma",
        "ring_hash",
        "maglev",
        "aperture",
        "deterministic_aperture",
        "pick_first",
        "utilisation",
        "join_idle_queue",
        "prequal",
    }
    assert rule("round_robin", slow_start={"window": 10}).learns
    assert rule("random", subset_size=2).learns
