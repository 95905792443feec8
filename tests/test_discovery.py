"""Discovery, told the time: what one process believes of a service."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.discovery import Belief, Discovery


def view(instances=(1, 2), u=1.0, cache_u=1.0, start_s=0.0, **own):
    return Belief(Discovery(**own), instances, start_s, u, cache_u)


def test_a_poll_is_due_an_interval_after_the_last_answer():
    one = view(u=0.4, refresh_interval=30)
    assert one.due_s == 12.0
    assert not one.learn(12.0, [1, 2])
    assert one.due_s == 42.0
    assert one.learn(43.5, [2])  # the answer took 1.5 s
    assert (one.due_s, one.known(43.5)) == (73.5, [2])


def test_who_knows_nobody_asks_at_once():
    one = view(u=0.4, initial="empty", start_s=5.0)
    assert (one.due_s, one.known(5.0)) == (5.0, [])
    assert one.learn(5.1, [1, 2])
    assert one.due_s == 35.1


def test_the_list_is_the_same_until_it_changes():
    one = view()
    before = one.known(0.0)
    one.learn(10.0, (1, 2))
    assert one.known(10.0) is before
    one.learn(20.0, (1, 3))
    assert one.known(20.0) is not before
    assert before == [1, 2]


def test_an_older_answer_does_not_undo_a_newer_one():
    one = view()
    assert one.learn(10.0, [1], as_of_s=9.0)
    assert not one.learn(11.0, [1, 2], as_of_s=8.0)
    assert one.known(11.0) == [1]
    assert one.learn(12.0, [2], as_of_s=9.0)  # as old: the later word stays


def test_a_copy_on_top_is_made_anew_by_the_first_call_after_it_is_over():
    one = view(cache=35, cache_u=0.2)
    one.learn(1.0, [1])
    assert one.known(6.9) == [1, 2]
    assert one.cached_until_s == 7.0
    assert one.known(7.0) == [1]
    assert one.cached_until_s == 42.0
    one.learn(8.0, [3])
    assert one.known(41.9) == [1]
    assert one.known(50.0) == [3]  # there were no calls between
    assert one.cached_until_s == 85.0


def test_a_copy_without_instances_is_not_kept():
    one = view(initial="empty", cache=35)
    assert one.known(0.0) == []
    one.learn(1.0, [7])
    assert one.known(1.0) == [7]
    one.learn(2.0, [])
    assert one.known(35.9) == [7]
    assert one.known(36.0) == []
    one.learn(37.0, [8])
    assert one.known(37.0) == [8]


def test_after_a_failure_it_goes_on_with_what_it_knows_or_with_nobody():
    stale = view()
    assert not stale.failed(10.0)
    assert (stale.known(10.0), stale.due_s) == ([1, 2], 40.0)
    empty = view(on_failure="empty", retry_interval=5)
    assert empty.failed(10.0)
    assert not empty.failed(15.0)
    assert (empty.known(15.0), empty.due_s) == ([], 20.0)
    assert empty.learn(20.0, [1])


def test_pushes_are_waited_for_and_a_broken_stream_is_opened_again():
    one = view(mode="push")
    assert one.due_s == math.inf
    assert one.learn(3.0, [2])
    assert one.due_s == math.inf
    one.failed(9.0)
    assert one.due_s == 10.0


def test_a_name_is_resolved_again_when_its_time_to_live_is_over_or_later_or_never():
    assert view(mode="dns", ttl=20, u=0.5).due_s == 10.0
    assert view(mode="dns", ttl=20, keeps=300, u=0.5).due_s == 150.0
    forever = view(mode="dns", keeps="forever", initial="empty")
    forever.failed(0.0)
    assert forever.due_s == 1.0  # it has nothing to keep yet
    forever.learn(1.0, [1])
    assert forever.due_s == math.inf


@pytest.mark.parametrize(
    "own",
    [
        {"mode": "dns", "refresh_interval": 10},
        {"mode": "poll", "ttl": 10},
        {"mode": "push", "keeps": "forever"},
        {"mode": "poll", "push_delay": 1},
    ],
)
def test_what_a_mode_does_not_read_is_refused(own):
    with pytest.raises(ValidationError, match="only, not by"):
        Discovery(**own)


@given(
    answers=st.lists(st.tuples(st.floats(0.01, 50), st.sets(st.integers(0, 4)), st.booleans()), max_size=30),
    cache_s=st.sampled_from([0.0, 35.0]),
    empty=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_it_believes_in_nobody_it_was_not_told_of_and_converges(answers, cache_s, empty):
    one = view([9], cache=cache_s, on_failure="empty" if empty else "keep_stale")
    told, now_s = {9}, 0.0
    for pause_s, instances, fails in answers:
        now_s += pause_s
        if fails:
            one.failed(now_s)
        else:
            one.learn(now_s, sorted(instances))
            told |= instances
        assert set(one.known(now_s)) <= told
        assert one.due_s == now_s + 30.0
    one.learn(now_s + 1, [5])
    assert one.known(now_s + 1 + cache_s) == [5]
