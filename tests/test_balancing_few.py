"""Balancing over few endpoints: the first one, a subset, an aperture."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing
from sim.records import OUTCOMES
from sim.streams import child

OK, ERROR, TIMEOUT, UNREACHABLE = (OUTCOMES.index(word) for word in ("ok", "error", "timeout", "unreachable"))
THREE = [0, 1, 2]


def rule(kind, process_key=7, **fields):
    return new_balancer(Balancing(kind=kind, **fields), process_key)


# --- pick first -------------------------------------------------------------------------------------------------------


def test_all_calls_go_to_the_first_until_it_is_gone():
    balancer = rule("pick_first")
    assert {balancer.pick(THREE, [], i) for i in range(9)} == {0}
    assert balancer.pick([1, 2], [], 9) == 1
    assert balancer.pick(THREE, [], 10) == 1  # it stays there


def test_an_unreachable_one_is_left_and_the_others_are_tried_from_the_top():
    balancer, tried = rule("pick_first"), []
    for _ in range(7):
        tried.append(balancer.pick(THREE, [], 0))
        balancer.settled(tried[-1], 1.0, 0.0, UNREACHABLE, None)
    assert tried == [0, 1, 2, 0, 1, 2, 0]
    # Once one has answered, the next search begins at the top again.
    balancer.settled(balancer.pick(THREE, [], 0), 2.0, 0.1, OK, None)
    assert balancer.pick(THREE, [], 0) == 1
    balancer.settled(1, 3.0, 0.1, UNREACHABLE, None)
    assert balancer.pick(THREE, [], 0) == 0


@pytest.mark.parametrize("outcome", [ERROR, TIMEOUT])
def test_other_failures_are_no_reason_to_leave(outcome):
    balancer = rule("pick_first")
    balancer.settled(balancer.pick(THREE, [], 0), 1.0, 0.1, outcome, None)
    assert balancer.pick(THREE, [], 0) == 0


def test_shuffled_each_process_has_an_order_of_its_own():
    firsts = Counter(rule("pick_first", i, shuffle=True).pick(THREE, [], 0) for i in range(300))
    assert min(firsts.values()) > 70
    assert Counter(rule("pick_first", i).pick(THREE, [], 0) for i in range(300)) == {0: 300}


# --- subsets ----------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 30), min_size=1, max_size=15).map(sorted), st.integers(1, 8), st.integers(0, 2**32), st.data())
def test_when_one_goes_at_most_one_other_takes_its_place(known, size, process_key, data):
    balancer = rule("random", process_key, subset_size=size)
    before = balancer.look(0.0, 0, known)
    assert len(before) == min(size, len(known))
    gone = data.draw(st.sampled_from(known))
    after = balancer.look(1.0, 0, [i for i in known if i != gone])
    assert set(before) - {gone} <= set(after)
    assert balancer.look(2.0, 0, list(known)) == before


def test_processes_use_all_endpoints_together():
    used = Counter(i for process in range(500) for i in rule("random", process, subset_size=3).look(0.0, 0, list(range(10))))
    assert min(used.values()) > 110
    assert max(used.values()) < 190


def test_the_rule_inside_sees_the_subset_only():
    known = list(range(10))
    balancer = rule("round_robin", subset_size=3)
    used = balancer.look(0.0, 0, known)
    assert used is balancer.look(0.0, 1, known)  # the same list, so that nobody has to compare
    assert Counter(balancer.pick(used, [], i) for i in range(9)) == dict.fromkeys(used, 3)
    learning = rule("peak_ewma", subset_size=2)
    pair = learning.look(0.0, 0, known)
    learning.settled(pair[0], 1.0, 5.0, OK, None)
    learning.settled(pair[1], 1.0, 0.5, OK, None)
    learning.look(1.0, 0, known)
    assert {learning.pick(pair, [0] * 10, child(1, i)) for i in range(20)} == {pair[1]}


# --- aperture ---------------------------------------------------------------------------------------------------------


def keep_in_flight(balancer, calls, seconds, known, now_s=0.0):
    """Hold so many calls open, and have one more ten times a second for half of the time."""
    balancer.look(now_s, 0, known)
    for _ in range(calls):
        balancer.sent(0, now_s)
    for tick in range(int(seconds * 10)):
        balancer.sent(0, now_s + tick / 10)
        balancer.settled(0, now_s + tick / 10 + 0.05, 0.05, OK, None)
    return balancer


def test_it_begins_with_one_endpoint_of_the_process_s_own():
    known = list(range(10))
    firsts = set()
    for process in range(40):
        balancer = rule("aperture", process)
        balancer.look(0.0, 0, known)
        chosen = {balancer.pick(known, [0] * 10, child(1, i)) for i in range(20)}
        assert len(chosen) == 1
        firsts |= chosen
    assert len(firsts) > 6


def test_it_is_as_wide_as_keeps_about_one_call_at_each():
    known = list(range(10))
    for calls, width in [(0, 1), (5, 5), (7, 7), (40, 10)]:  # 0.5, 5.5 / 5, 7.5 / 7 and 40.5 / 10 calls each
        assert keep_in_flight(rule("aperture"), calls, 120.0, known).width == width


def test_it_narrows_when_the_load_goes():
    known = list(range(10))
    balancer = keep_in_flight(rule("aperture"), 8, 60.0, known)
    wide = balancer.width
    for _ in range(8):
        balancer.settled(0, 60.0, 0.0, OK, None)
    assert balancer.width > 4  # the average is slow
    keep_in_flight(balancer, 0, 60.0, known, now_s=60.0)
    assert balancer.width == 1 < wide


def test_its_average_has_the_mean_age_that_was_asked_for():
    balancer = rule("aperture", smoothing=15.0)
    balancer.look(0.0, 0, THREE)
    balancer.sent(0, 0.0)  # the first one sets it
    balancer.sent(0, 15.0)
    assert balancer._ema == pytest.approx(1 * math.exp(-1) + 2 * (1 - math.exp(-1)))


def test_two_choices_inside_of_it():
    known = list(range(10))
    balancer = keep_in_flight(rule("aperture", min_aperture=3), 0, 1.0, known)
    inside = sorted({balancer.pick(known, [0] * 10, child(1, i)) for i in range(100)})
    assert len(inside) == 3
    busy = [5 if i == inside[0] else 0 for i in known]
    assert {balancer.pick(known, busy, child(1, i)) for i in range(100)} == set(inside[1:])


def test_who_cannot_be_used_leaves_room_for_the_next():
    known = list(range(10))
    balancer = keep_in_flight(rule("aperture", min_aperture=2), 0, 1.0, known)
    inside = {balancer.pick(known, [0] * 10, child(1, i)) for i in range(50)}
    left = [i for i in known if i not in inside]
    assert len({balancer.pick(left, [0] * 10, child(1, i)) for i in range(50)}) == 2
    balancer.look(2.0, 0, [4])
    assert balancer.width == 1
