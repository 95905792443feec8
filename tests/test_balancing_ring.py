"""Deterministic aperture: slices of a ring that cover every endpoint evenly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.policies.ring import DeterministicAperture
from sim.scenario.model import Scenario
from sim.single import run

POSITIONS = 2_000


def test_every_process_has_its_slice_and_endpoints_of_few_processes_are_called_evenly():
    def spread(kind):
        result = run(
            Scenario(
                services={
                    "shop": {"replicas": 3, "workers": "unlimited", "operations": {"buy": [{"call": "stock.get"}]}},
                    "stock": {"replicas": 10, "workers": "unlimited", "operations": {"get": [{"work": {"exponential": 0.01}}]}},
                },
                calls={"shop -> stock": {"balancing": kind}},
                load={"rate": 300, "mix": "shop.buy"},
                run={"duration": 60},
            ),
            3,
        )
        calls = result.attempts[result.attempts.target == "stock.get"]
        return calls.groupby("replica").size().reindex(range(10), fill_value=0)

    even = spread({"kind": "deterministic_aperture", "min_aperture": 2})  # ceil(2 * 3 / 10) = 1 third each
    assert even.max() / even.mean() < 1.15  # two endpoints lie in two slices each, and get more second choices
    uneven = spread({"kind": "two_choices", "subset_size": 4})
    assert uneven.max() / uneven.mean() > 1.3


def slice_of(process, processes, servers, least=2):
    return DeterministicAperture(least, process, processes).look(0.0, 0, list(range(servers)))


def first_picks(process, processes, servers, least):
    """How often each endpoint is the first of the two, over evenly spaced positions: where nothing is in flight, it is chosen."""
    rule = DeterministicAperture(least, process, processes)
    known = rule.look(0.0, 0, list(range(servers)))
    in_flight = [0] * servers
    return Counter(rule.pick(known, in_flight, round((i + 0.5) / POSITIONS * 2**64)) for i in range(POSITIONS))


def test_slices_are_whole_multiples_of_a_process():
    # Three processes over four endpoints, two at least: ceil(2 * 3 / 4) = 2 thirds each.
    assert [slice_of(i, 3, 4) for i in range(3)] == [[0, 1, 2], [1, 2, 3], [0, 1, 2, 3]]
    # Four over four: ceil(2 * 4 / 4) = 2 quarters, the last one around the end.
    assert [slice_of(i, 4, 4) for i in range(4)] == [[0, 1], [1, 2], [2, 3], [0, 3]]
    # Two over ten, three at least: ceil(3 * 2 / 10) = 1 half.
    assert [slice_of(i, 2, 10, least=3) for i in range(2)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert slice_of(0, 1, 5) == [0, 1, 2, 3, 4], "a single process has all of the ring"
    assert slice_of(4, 3, 4) == slice_of(1, 3, 4), "one that came later takes the place of an earlier one"


@given(processes=st.integers(1, 9), servers=st.integers(1, 9), least=st.integers(1, 12))
def test_together_they_choose_every_endpoint_equally(processes, servers, least):
    picks = sum((first_picks(i, processes, servers, least) for i in range(processes)), Counter())
    expected = processes * POSITIONS / servers
    # A position on a boundary may fall to either side: at most one of each slice and endpoint.
    assert all(picks[i] == pytest.approx(expected, abs=2 * processes + 1) for i in range(servers))


def test_of_two_it_is_the_one_with_fewer_calls_for_its_share():
    rule = DeterministicAperture(2, 0, 3)  # from 0 to 2/3 of four endpoints: all of 0 and 1, two thirds of 2
    known = rule.look(0.0, 0, [0, 1, 2, 3])
    bits = [round((i + 0.5) / 60 * 2**64) for i in range(60)]
    assert {rule.pick(known, [1, 0, 1, 0], b) for b in bits} == {0, 1}
    assert 0 not in {rule.pick(known, [9, 1, 1, 0], b) for b in bits}
    # Two calls on two thirds of an endpoint are as three on a whole one: more than two, and fewer than four.
    assert 2 not in {rule.pick(known, [2, 2, 2, 0], b) for b in bits}
    assert Counter(rule.pick(known, [4, 4, 2, 0], b) for b in bits)[2] > 30


def test_the_two_are_distinct():
    rule = DeterministicAperture(2, 1, 4)
    known = rule.look(0.0, 0, [0, 1, 2, 3])
    chosen = {rule.pick(known, [0, 5, 0, 0], round((i + 0.5) / 100 * 2**64)) for i in range(100)}
    assert chosen == {2}, "whichever of 1 and 2 comes first, the other is the second"


def test_what_is_not_usable_loses():
    rule = DeterministicAperture(2, 1, 4)
    rule.look(0.0, 0, [0, 1, 2, 3])
    bits = [round((i + 0.5) / 100 * 2**64) for i in range(100)]
    assert {rule.pick([1], [0, 9, 0, 0], b) for b in bits} == {1}
    assert {rule.pick([3], [0, 0, 0, 0], b) for b in bits} == {3}, "outside of the slice only where nothing else is left"


def test_a_change_of_endpoints_moves_the_slice():
    rule = DeterministicAperture(2, 1, 2)
    assert rule.look(0.0, 0, [0, 1, 2, 3]) == [2, 3]
    assert rule.look(0.0, 0, [0, 2, 3]) == [0, 2, 3]  # ceil(2 * 2 / 3) = 2 halves
    assert rule.look(0.0, 0, [3]) == [3]
