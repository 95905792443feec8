"""Consistent hashing: keys stay where they are, shares are even, and no endpoint gets too much."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing
from sim.streams import child

TEN = list(range(10))


def rule(kind, process_key=7, shared_key=3, **fields):
    return new_balancer(Balancing(kind=kind, **fields), process_key, shared_key)


def owners(balancer, endpoints, hashes=range(4000)):
    """Whose each of many hashes is."""
    balancer.build(tuple(endpoints))
    return [balancer.find(child(99, number)) for number in hashes]


def picked(balancer, endpoints, in_flight=(), count=2000):
    """For each call the draw of its key, and where it goes."""
    found = []
    for call in range(count):
        balancer.look(0.0, child(5, call), endpoints)
        found.append((balancer._hash, balancer.pick(endpoints, list(in_flight), call)))
    return found


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
def test_a_key_goes_to_one_endpoint_from_every_process(kind):
    first, second = (picked(rule(kind, process_key, keys=50), TEN) for process_key in (1, 2))
    assert first == second
    assert len(set(first)) == 50
    assert len({number for number, _ in first}) == 50


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
def test_all_attempts_of_a_call_have_its_key(kind):
    balancer = rule(kind)
    balancer.look(0.0, 4711, TEN)
    first = balancer.pick(TEN, [], 1)
    balancer.look(3.0, 4711, TEN)
    assert balancer.pick(TEN, [], 2) == first


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
def test_another_service_or_seed_has_another_table(kind):
    assert owners(rule(kind, shared_key=1), TEN) != owners(rule(kind, shared_key=2), TEN)


def test_popular_keys_make_popular_endpoints():
    alike = Counter(endpoint for _, endpoint in picked(rule("maglev", keys=1000), TEN, count=5000))
    skewed = Counter(endpoint for _, endpoint in picked(rule("maglev", keys=1000, zipf=1.5), TEN, count=5000))
    assert max(alike.values()) < 1000 < max(skewed.values())


@given(
    st.sets(st.integers(0, 40), min_size=2, max_size=12).map(sorted),
    st.integers(0, 2**32),
    st.sampled_from([1, 5, 40]),
    st.data(),
)
@settings(max_examples=50)
def test_who_leaves_the_ring_moves_its_own_keys_only(endpoints, shared_key, points, data):
    gone = data.draw(st.sampled_from(endpoints))
    left = [i for i in endpoints if i != gone]
    # As many points each, whoever is there.
    before, after = (
        owners(rule("ring_hash", shared_key=shared_key, min_ring_size=points * len(some)), some, range(200))
        for some in (endpoints, left)
    )
    assert all(now == was for was, now in zip(before, after, strict=True) if was != gone)
    assert gone not in after


def test_a_ring_of_usual_size_moves_hardly_any_other_key():
    before, after = (owners(rule("ring_hash"), some) for some in (TEN, TEN[:-1]))
    moved = sum(now != was for was, now in zip(before, after, strict=True) if was != 9)
    assert 0 < moved / len(before) < 0.12  # each has 114 points now instead of 103


def test_points_are_shared_out_by_weight():
    balancer = rule("ring_hash", weights=[1, 3], min_ring_size=100)
    balancer.build((0, 1))
    assert Counter(balancer._owners) == {0: 25, 1: 75}
    # The least one has whole points: ⌈100 / 3⌉ each.
    balancer = rule("ring_hash", min_ring_size=100)
    balancer.build((0, 1, 2))
    assert Counter(balancer._owners) == {0: 34, 1: 34, 2: 34}
    balancer = rule("ring_hash", min_ring_size=1, max_ring_size=6)
    balancer.build((0, 1, 2, 3))
    assert Counter(balancer._owners) == dict.fromkeys(range(4), 1)
    balancer = rule("ring_hash", min_ring_size=6, max_ring_size=6)
    balancer.build((0, 1, 2, 3))
    assert Counter(balancer._owners) == {0: 2, 1: 1, 2: 2, 3: 1}  # Envoy's own example


def test_a_key_belongs_to_the_next_point_and_after_the_last_comes_the_first():
    balancer = rule("ring_hash", min_ring_size=8)
    balancer.build((0, 1))
    hashes, whose = balancer._hashes, balancer._owners
    for place in range(len(hashes)):
        assert balancer.find(hashes[place]) == whose[place]
        assert balancer.find(hashes[place] + 1) == whose[(place + 1) % len(whose)]


def test_maglev_gives_everyone_the_same_number_of_places():
    balancer = rule("maglev", table_size=1009)
    balancer.build(tuple(TEN))
    assert set(Counter(balancer._table).values()) == {100, 101}
    heavy = rule("maglev", table_size=1009, weights=[3, 1])
    heavy.build((0, 1))
    assert Counter(heavy._table)[0] == pytest.approx(757, abs=1)


@pytest.mark.parametrize("count", [3, 10, 20])
def test_who_leaves_maglev_moves_few_other_keys(count):
    endpoints, moved = list(range(count)), 0.0
    for shared_key in range(20):
        balancer = rule("maglev", shared_key=shared_key, table_size=4999)
        before, after = (owners(balancer, some) for some in (endpoints, endpoints[1:]))
        moved += sum(now != was for was, now in zip(before, after, strict=True) if was != 0) / len(before) / 20
    assert 0 < moved < 0.06  # on average: two endpoints with like skips get in each other's way


def test_no_endpoint_gets_more_than_its_factor_of_the_average():
    balancer = rule("ring_hash", keys=1, hash_balance_factor=150)
    assert balancer.counts
    ((_, favourite),) = set(picked(balancer, [0, 1, 2], [0, 0, 0], count=1))
    calls = [0, 0, 0]
    for call in range(30):
        balancer.look(0.0, call, [0, 1, 2])
        calls[balancer.pick([0, 1, 2], calls, call)] += 1
    # One key only. 30 calls, of 10 on average: 150 % are 15 slots, and one that is just full still takes a call.
    assert calls[favourite] == max(calls) == 16
    assert sorted(calls)[0] == 0 or sorted(calls)[1] == 14


def test_calls_that_find_their_endpoint_full_go_to_the_same_other_one():
    balancer = rule("maglev", keys=1, hash_balance_factor=100)
    ((_, favourite),) = set(picked(balancer, TEN, [0] * 10, count=1))
    full = [9 if i == favourite else 0 for i in TEN]
    assert len(set(picked(balancer, TEN, full, count=50))) == 1
    assert picked(balancer, TEN, full, count=1)[0][1] != favourite


def test_where_all_are_full_the_least_overloaded_one_takes_it():
    balancer = rule("maglev", keys=1, hash_balance_factor=100, weights=[1, 1, 10])
    ((_, favourite),) = set(picked(balancer, [0, 1, 2], [0, 0, 0], count=1))
    # 30 calls, 31 slots: 3, 3 and 26 by weight.
    assert {endpoint for _, endpoint in picked(balancer, [0, 1, 2], [4, 4, 22], count=5)} <= {2, favourite}
