"""Caches: what is fresh, stale, collapsed and forgotten."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_worlds import Clock, poisson

from sim.policies.caching import COLLAPSE, HIT, MISS, STALE, STALE_REVALIDATE, Cache, CacheGate


def cache(max_age=10.0, **fields):
    return CacheGate(Cache(max_age=max_age, **fields))


def filled(now_s=0.0, key=0, **fields):
    """A cache that has just stored one answer."""
    gate = cache(**fields)
    assert gate.look(key, now_s) == MISS
    gate.store(key, now_s)
    return gate


def test_an_answer_is_fresh_until_it_is_as_old_as_its_maximum_and_a_hit_does_not_make_it_younger():
    gate = filled(2.0)
    assert [gate.look(0, now_s) for now_s in (2.0, 11.0, 11.9, 12.0)] == [HIT, HIT, HIT, MISS]


def test_an_answer_may_be_old_already_when_it_comes():
    gate = cache()
    gate.look(0, 0.0)
    gate.store(0, 3.0, age_s=3.0)  # the fetch took 3 s
    assert [gate.look(0, now_s) for now_s in (9.9, 10.0)] == [HIT, MISS]


def test_keys_are_kept_apart():
    gate = filled(0.0, key=3)
    assert [gate.look(3, 1.0), gate.look(4, 1.0), len(gate)] == [HIT, MISS, 1]


def test_without_collapsing_everybody_fetches_and_with_it_one_does():
    stampede, collapsing = cache(), cache(request_collapsing=True)
    assert [stampede.look(0, 0.0), stampede.look(0, 0.1), stampede.look(0, 0.2)] == [MISS, MISS, MISS]
    assert [collapsing.look(0, 0.0), collapsing.look(0, 0.1), collapsing.look(1, 0.1)] == [MISS, COLLAPSE, MISS]
    collapsing.store(0, 0.3)
    assert [collapsing.look(0, 0.4), collapsing.look(1, 0.4)] == [HIT, COLLAPSE]


def test_after_a_failed_or_abandoned_fetch_the_next_one_fetches():
    gate = cache(request_collapsing=True)
    gate.look(0, 0.0)
    assert gate.look(0, 0.1) == COLLAPSE
    assert not gate.failed(0, 0.2)
    assert gate.look(0, 0.3) == MISS
    gate.abandoned(0)
    assert gate.look(0, 0.4) == MISS


def test_the_last_of_several_fetches_ends_the_fetching():
    gate = cache(stale_while_revalidate=100.0)
    assert [gate.look(0, 0.0), gate.look(0, 0.0)] == [MISS, MISS]
    gate.store(0, 0.1)
    assert gate.look(0, 10.2) == STALE  # the second is still under way
    gate.store(0, 10.3)
    assert gate.look(0, 20.4) == STALE_REVALIDATE


def test_a_stale_answer_is_given_while_one_fetches_it_in_the_background():
    gate = filled(stale_while_revalidate=5.0)
    assert [gate.look(0, now_s) for now_s in (9.9, 10.0, 10.1, 14.9)] == [HIT, STALE_REVALIDATE, STALE, STALE]
    assert gate.look(0, 15.0) == MISS  # too old to be given, whoever fetches it
    gate.store(0, 15.1)
    assert gate.look(0, 25.0) == HIT


def test_a_background_fetch_that_failed_is_tried_again_by_the_next():
    gate = filled(stale_while_revalidate=5.0)
    assert gate.look(0, 11.0) == STALE_REVALIDATE
    gate.failed(0, 12.0)
    assert gate.look(0, 13.0) == STALE_REVALIDATE


def test_a_stale_answer_is_given_after_an_error_for_a_while():
    gate = filled(stale_if_error=5.0)
    assert gate.look(0, 12.0) == MISS
    assert gate.failed(0, 14.9)
    assert gate.look(0, 14.9) == MISS
    assert not gate.failed(0, 15.0)
    assert gate.look(0, 15.0) == MISS
    assert len(gate) == 0  # nothing more can be done with it


def test_both_kinds_of_staleness_count_from_the_maximum_age():
    gate = filled(stale_while_revalidate=2.0, stale_if_error=5.0)
    assert [gate.look(0, 11.9), gate.look(0, 12.0)] == [STALE_REVALIDATE, MISS]
    assert [gate.failed(0, 14.9), gate.failed(0, 15.0)] == [True, False]


def test_no_stale_answer_is_given_unless_that_was_asked_for():
    gate = filled()
    assert gate.look(0, 10.0) == MISS
    assert not gate.failed(0, 10.0)


def test_an_error_does_not_matter_if_another_fetch_has_succeeded_meanwhile():
    gate = cache()
    assert [gate.look(0, 0.0), gate.look(0, 0.0)] == [MISS, MISS]
    gate.store(0, 1.0)
    assert gate.failed(0, 2.0)


def test_a_flush_forgets_everything_but_fetches_under_way():
    gate = filled(request_collapsing=True, stale_if_error=100.0)
    gate.look(1, 1.0)
    gate.flush()
    assert [len(gate), gate.look(0, 1.0), gate.look(1, 1.0)] == [0, MISS, COLLAPSE]
    assert not gate.failed(0, 1.0)
    gate.store(1, 2.0)
    assert gate.look(1, 3.0) == HIT


def test_the_least_recently_used_answer_makes_room():
    gate = cache(capacity=2)
    for key in (1, 2):
        gate.look(key, 0.0)
        gate.store(key, 0.0)
    assert gate.look(1, 1.0) == HIT
    gate.look(3, 1.0)
    gate.store(3, 1.0)
    assert [gate.look(1, 2.0), gate.look(3, 2.0), gate.look(2, 2.0)] == [HIT, HIT, MISS]


def test_an_answer_that_was_fetched_anew_is_the_last_to_make_room():
    gate = cache(capacity=2, stale_if_error=100.0)
    for key in (1, 2):
        gate.look(key, 0.0)
        gate.store(key, 0.0)
    assert [gate.look(1, 10.0), gate.look(2, 10.0), gate.look(3, 10.0)] == [MISS, MISS, MISS]
    gate.store(1, 11.0)
    gate.store(3, 11.0)
    assert [gate.look(1, 12.0), gate.look(3, 12.0), gate.look(2, 12.0)] == [HIT, HIT, MISS]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=100), st.integers(1, 4), st.booleans())
def test_a_cache_agrees_with_a_dictionary_kept_by_hand(story, capacity, collapsing):
    gate, held, now_s = cache(8.0, capacity=capacity, request_collapsing=collapsing), OrderedDict(), 0.0
    for key, pause_s in story:
        now_s += pause_s
        fresh = key in held and now_s - held[key] < 8
        assert gate.look(key, now_s) == (HIT if fresh else MISS)
        if not fresh:
            gate.store(key, now_s)
            held[key] = now_s
        held.move_to_end(key)
        if len(held) > capacity:
            held.popitem(last=False)


# --- popularity and theory --------------------------------------------------------------------------------------


def test_keys_are_alike_or_follow_zipf():
    alike, popular = cache(keys=4), cache(keys=3, zipf=1.0)
    assert [alike.key_of(u) for u in (0.001, 0.26, 0.51, 0.999)] == [0, 1, 2, 3]
    # 1 : 1/2 : 1/3, in all 11/6
    assert [popular.key_of(u) for u in (0.001, 6 / 11 - 0.001, 6 / 11 + 0.001, 9 / 11 - 0.001, 9 / 11 + 0.001)] == [0, 0, 1, 1, 2]
    assert popular.key_of(1 - 1e-16) == 2
    assert cache(keys=1_000_000, zipf=0.8).key_of(1 - 1e-16) == 999_999


def grid(count):
    """Evenly spread numbers in place of uniform ones, in an order that is none."""
    return [((number * 0.6180339887498949) % 1) for number in range(count)]


def test_popularity_is_used_in_full():
    gate = cache(keys=5, zipf=2.0)
    found = Counter(gate.key_of(u) for u in grid(100_000))
    total = sum(k**-2 for k in range(1, 6))
    assert {key: count / 100_000 for key, count in found.items()} == {
        k - 1: pytest.approx(k**-2 / total, abs=1e-3) for k in range(1, 6)
    }


def test_c1_the_hit_ratio_of_one_key_is_ten_elevenths_at_ten_calls_per_lifetime():
    gate, hits = cache(1.0), 0
    for now_s in poisson(10, 200_000, seed=1):
        if gate.look(0, now_s) == HIT:
            hits += 1
        else:
            gate.store(0, now_s)
    assert hits / 200_000 == pytest.approx(0.909091, rel=0.002)


def test_the_hit_ratio_of_many_keys_is_the_sum_over_them():
    gate, calls, hits = cache(1.0, keys=3, zipf=1.0), 200_000, 0
    chance = random.Random(4)
    for now_s in poisson(10, calls, seed=2):
        key = gate.key_of(chance.random())
        if gate.look(key, now_s) == HIT:
            hits += 1
        else:
            gate.store(key, now_s)
    shares = [6 / 11, 3 / 11, 2 / 11]
    assert hits / calls == pytest.approx(sum(p * 10 * p / (1 + 10 * p) for p in shares), rel=0.01)


@pytest.mark.parametrize(("collapsing", "at_once"), [(False, 1 + 50 * 0.2), (True, 1)])
def test_c3_how_many_fetch_at_the_same_time_when_an_answer_expires(collapsing, at_once):
    gate, clock, fetches, rounds = cache(10.0, request_collapsing=collapsing), Clock(), [0], []

    def arrive():
        if gate.look(0, clock.now_s) == MISS:
            if fetches[0] == 0:
                rounds.append(0)
            fetches[0] += 1
            rounds[-1] += 1
            clock.at(clock.now_s + 0.2, stored)

    def stored():
        fetches[0] -= 1
        gate.store(0, clock.now_s)

    for time_s in poisson(50, 100_000, seed=3):
        clock.at(time_s, arrive)
    clock.run()
    assert len(rounds) > 150
    assert sum(rounds) / len(rounds) == pytest.approx(at_once, rel=0.08 * (at_once > 1))


@pytest.mark.parametrize("bad", [{"max_age": 0}, {"capacity": 0}, {"keys": 0}, {"zipf": -1}, {"stale_if_error": -1}, {"ttl": 1}])
def test_settings_that_cannot_be_meant_are_refused(bad):
    with pytest.raises(ValidationError):
        Cache(**{"max_age": 1.0, **bad})


def test_a_cache_is_written_as_it_is_read():
    spec = Cache(max_age="1min", capacity=100, keys=1000, zipf=0.8, hit_time={"exponential": "1ms"})
    assert Cache.model_validate_json(spec.model_dump_json()) == spec
    assert hash(spec) == hash(Cache.model_validate(spec.model_dump(mode="json")))
