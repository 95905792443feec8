"""Which zone a caller process chooses: dealing out, Envoy's rule against a calculation by hand, and the own zone first."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing, BalancingKind
from sim.policies.zones import OUTSIDE, ZoneGate, ZoneRouting, dealt
from sim.streams import key

A, B, C = range(3)
DRAWS = 20_000


def spread(*counts):
    """Zones by index: so many in each zone, one zone after the other."""
    return [zone for zone, count in enumerate(counts) for _ in range(count)]


def aware(callers, endpoints, zone=A, **settings):
    """A zone-aware gate of a caller in a zone; both clusters as numbers by zone."""
    return ZoneGate(ZoneRouting(kind="zone_aware", **settings), zone, spread(*endpoints), spread(*callers))


def shares(gate, usable, known=None, draws=DRAWS):
    """Share of the attempts by the zone that was chosen."""
    known = usable if known is None else known
    found: Counter[int] = Counter()
    for number in range(draws):
        gate.narrow(known, usable, key(1, "draw", number))
        found[gate.source] += 1
    return {zone: count / draws for zone, count in found.items()}


def everybody(gate):
    return list(range(len(gate._zones)))


# Dealing.


def test_replicas_are_dealt_out_in_turn():
    assert dealt({"a": 1, "b": 1, "c": 1}, 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_shares_are_mixed_and_hold_for_every_number():
    assert dealt({"a": 4, "b": 2}, 6) == ["a", "b", "a", "a", "b", "a"]


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 50), min_size=1), st.integers(0, 60))
def test_any_number_is_within_one_of_its_shares_and_what_comes_later_is_dealt_on(by_zone, count):
    found = dealt(by_zone, count)
    assert dealt(by_zone, count + 5)[:count] == found
    for zone, share in by_zone.items():
        assert abs(found.count(zone) - count * share / sum(by_zone.values())) < 1


# Envoy's rule.


def test_the_example_in_envoys_source():
    """Callers 40, 40, 20 %, endpoints 25, 50, 25 %: a keeps 25/40 of its calls, the rest goes to b and c as 10 to 5."""
    gate = aware(callers=(2, 2, 1), endpoints=(2, 4, 2))
    found = shares(gate, everybody(gate))
    assert found[A] == pytest.approx(0.625, abs=0.012)
    assert found[B] == pytest.approx(0.375 * 10 / 15, abs=0.012)
    assert found[C] == pytest.approx(0.375 * 5 / 15, abs=0.012)


def test_a_fifth_of_the_callers_and_a_tenth_of_the_endpoints_keep_half():
    gate = aware(callers=(1, 4), endpoints=(1, 9))
    assert shares(gate, everybody(gate))[A] == pytest.approx(0.5, abs=0.012)


def test_a_zone_with_room_keeps_all_its_calls():
    gate = aware(callers=(2, 2, 1), endpoints=(2, 4, 2), zone=B)
    assert shares(gate, everybody(gate), draws=100) == {B: 1.0}
    equal = aware(callers=(1, 1, 1), endpoints=(3, 3, 3))
    assert shares(equal, everybody(equal), draws=100) == {A: 1.0}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=2, max_size=4))
def test_all_endpoints_get_the_same_if_all_callers_choose_so(counts):
    callers, endpoints = zip(*counts, strict=True)
    total = sum(endpoints)
    if total < 6 or sum(count > 0 for count in endpoints) < 2:
        return
    load: Counter[int] = Counter()
    for zone, count in enumerate(callers):
        gate = aware(callers, endpoints, zone=zone)
        for other, share in shares(gate, everybody(gate), draws=1500).items():
            load[other] += share * count / sum(callers)
    for zone, count in enumerate(endpoints):
        assert load[zone] == pytest.approx(count / total, abs=0.06)


def test_too_few_endpoints_are_chosen_alike_whatever_their_zone():
    five, six = aware((1, 1), (2, 3)), aware((1, 1), (3, 3))
    assert shares(five, everybody(five), draws=10) == {OUTSIDE: 1.0}
    assert shares(six, everybody(six), draws=10) == {A: 1.0}
    small = aware((1, 1), (1, 1), min_cluster_size=2)
    assert shares(small, everybody(small), draws=10) == {A: 1.0}


def test_the_size_of_the_cluster_counts_who_is_usable():
    gate = aware((1, 1), (4, 3))
    assert shares(gate, [0, 1, 2, 4, 5, 6], everybody(gate), draws=10) == {A: 1.0}
    assert shares(gate, [0, 1, 4, 5, 6], everybody(gate), draws=10) == {OUTSIDE: 1.0}


def test_endpoints_or_callers_in_one_zone_make_no_choice():
    for gate in (aware((1, 1), (8,)), aware((4,), (4, 4))):
        assert shares(gate, everybody(gate), draws=10) == {OUTSIDE: 1.0}


def test_a_zone_whose_endpoints_are_all_out_counts_as_a_zone_and_sends_its_calls_to_who_has_room():
    gate = aware((2, 1, 1), (2, 4, 2))
    found = shares(gate, list(range(2, 8)), everybody(gate))  # a has none left; b has 66.66 - 25 %, c 33.33 - 25 %
    assert found[B] == pytest.approx(4166 / (4166 + 833), abs=0.012)
    assert found[C] == pytest.approx(833 / (4166 + 833), abs=0.012)


def test_a_part_of_the_calls_may_be_left_alone():
    gate = aware((1, 1), (4, 4), routing_enabled_percent=30)
    found = shares(gate, everybody(gate))
    assert found[A] == pytest.approx(0.3, abs=0.012)
    assert found[OUTSIDE] == pytest.approx(0.7, abs=0.012)
    off = aware((1, 1), (4, 4), routing_enabled_percent=0)
    assert shares(off, everybody(off), draws=10) == {OUTSIDE: 1.0}


def test_callers_that_are_gone_count_no_more():
    gate = aware((2, 2), (2, 6))
    assert gate.narrow(list(range(8)), list(range(8)), 1, [0, 1, 2, 3]) != list(range(8))
    keep = sum(gate.narrow(list(range(8)), list(range(8)), key(i), [0, 2, 3]) == [0, 1] for i in range(2000)) / 2000
    assert keep == pytest.approx(0.25 / 0.3333, abs=0.04)


# The own zone first.


def test_the_own_zone_first_and_all_if_nobody_is_there():
    gate = ZoneGate(ZoneRouting(kind="same_zone_first"), B, spread(2, 2, 1))
    assert gate.narrow([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], 0) == [2, 3]
    assert gate.narrow([0, 1, 2, 3, 4], [0, 3, 4], 0) == [3]
    assert gate.narrow([0, 1, 2, 3, 4], [0, 1, 4], 0) == [0, 1, 4]


def test_who_is_in_no_zone_considers_all():
    for kind in ("same_zone_first", "zone_aware"):
        gate = ZoneGate(ZoneRouting(kind=kind), OUTSIDE, spread(3, 3), [OUTSIDE, OUTSIDE])
        assert gate.narrow(list(range(6)), list(range(6)), 0) == list(range(6))


def test_the_list_is_the_same_as_long_as_the_endpoints_are():
    gate, known = ZoneGate(ZoneRouting(kind="same_zone_first"), A, spread(2, 1)), [0, 1, 2]
    assert gate.narrow(known, known, 0) is gate.narrow(known, known, 1)


# Before a balancing rule.


@pytest.mark.parametrize("kind", BalancingKind.__args__)
def test_every_rule_chooses_in_the_zone(kind):
    gate = ZoneGate(ZoneRouting(kind="same_zone_first"), B, spread(2, 3))
    rule = new_balancer(Balancing(kind=kind), 1, 2, 0, 0.0, gate)
    in_flight, known = [0] * 5, list(range(5))
    found = set()
    for number in range(200):
        used = rule.look(number * 0.1, key(number), known)
        chosen = rule.pick(used, in_flight if rule.counts else [], key(1, "pick", number))
        rule.sent(chosen, number * 0.1)
        rule.settled(chosen, number * 0.1 + 0.05, 0.05, 1, None)
        found.add(chosen)
    assert found <= {2, 3, 4}
    assert len(found) == (1 if kind == "pick_first" else 3) or kind in ("aperture", "ring_hash", "maglev")


def test_round_robin_takes_turns_in_each_zone_by_itself():
    """Two zones in turn must not lock in step with the turns inside of each."""
    gate = aware((1, 1), (2, 6))
    rule = new_balancer(Balancing(), 1, 2, 0, 0.0, gate)
    known = list(range(8))
    picks = []
    for number in range(4000):
        rule.look(0.0, number, known)
        picks.append(rule.pick(known, [], key(1, "pick", number)))
    for zone in ([0, 1], [2, 3, 4, 5, 6, 7]):
        inside = [pick for pick in picks if pick in zone]
        assert all(one != other for one, other in zip(inside, inside[1:], strict=False))
        assert max(Counter(inside).values()) - min(Counter(inside).values()) <= 1


def test_in_panic_all_are_chosen_alike():
    rule = new_balancer(Balancing(), 1, 2, 0, 0.0, aware((1, 1), (4, 4)))
    known = list(range(8))
    rule.look(0.0, 0, known)
    assert rule.narrow(known, True, 0) == known
    assert rule.narrow(known, False, 0) == [0, 1, 2, 3]


# What is written.


def test_a_bare_word_is_the_kind():
    assert ZoneRouting.model_validate("zone_aware").min_cluster_size == 6


def test_what_the_rule_does_not_read_is_refused():
    with pytest.raises(ValidationError, match="min_cluster_size is read by zone_aware only"):
        ZoneRouting(kind="same_zone_first", min_cluster_size=3)
