"""Processor sharing: the arithmetic, against stories, a slow model and queueing theory."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import Clock, constant, exponential, lognormal, poisson

from sim.policies.sharing import SharingGate


def test_one_alone_runs_at_full_speed_and_two_at_half():
    gate = SharingGate(1)
    a = gate.enter(10.0, 1.0)
    assert gate.next_end_s(10.0) == 11.0
    b = gate.enter(10.5, 2.0)  # a has half a second to go, which takes a second now
    assert gate.next_end_s(10.5) == 11.5
    assert gate.ended(11.4) == []
    assert gate.ended(11.5) == [a]
    assert gate.next_end_s(11.5) == 13.0  # b has had half a second of two
    assert gate.ended(13.0) == [b]
    assert (gate.next_end_s(13.0), len(gate)) == (math.inf, 0)


def test_jobs_on_different_cores_do_not_slow_each_other():
    gate = SharingGate(2)
    a, b = gate.enter(0.0, 1.0), gate.enter(0.0, 2.0)
    assert gate.next_end_s(0.0) == 1.0
    c = gate.enter(0.5, 2.0)  # two thirds of a core for each
    assert gate.next_end_s(0.5) == 1.25
    assert gate.ended(1.25) == [a]
    assert gate.ended(2.25) == [b]
    assert gate.ended(2.75) == [c]


def test_one_who_is_abandoned_leaves_his_share_to_the_others():
    gate = SharingGate(1)
    a, b = gate.enter(0.0, 1.0), gate.enter(0.0, 3.0)
    assert gate.leave(a, 1.0) == 0.5
    assert gate.next_end_s(1.0) == 3.5
    assert gate.ended(3.5) == [b]


def test_ends_that_nobody_asked_for_are_kept_and_change_the_speed_all_the_same():
    gate = SharingGate(1)
    a, b = gate.enter(0.0, 1.0), gate.enter(0.0, 10.0)
    c = gate.enter(5.0, 1.0)  # a ended at 2; b has had 1 s by then and 3 more since
    assert gate.next_end_s(5.0) == 5.0
    assert gate.ended(5.0) == [a]
    assert gate.ended(7.0) == [c]
    assert gate.next_end_s(7.0) == 12.0
    assert gate.ended(12.0) == [b]


def test_one_who_is_abandoned_after_his_end_is_not_told_of():
    gate = SharingGate(1)
    a, b = gate.enter(0.0, 1.0), gate.enter(0.0, 1.5)
    assert gate.leave(a, 2.0) == 1.0
    assert gate.ended(2.5) == [b]


def test_work_of_no_length_ends_at_once():
    gate = SharingGate(1)
    a, b = gate.enter(1.0, 1.0), gate.enter(1.0, 0.0)
    assert gate.next_end_s(1.0) == 1.0
    assert gate.ended(1.0) == [b]
    assert gate.ended(2.0) == [a]


def test_those_who_left_do_not_pile_up():
    gate = SharingGate(1)
    gate.enter(0.0, 1e6)
    for number in range(10_000):
        gate.leave(gate.enter(number * 1.0, 1e9), number + 0.5)
    assert len(gate) == 1
    assert len(gate._heap) < 100


def slow_model(entries, cores):
    """When each of `entries`, pairs of time and work, ends; by letting time pass from one change to the next."""
    left, ends, now_s, coming = {}, {}, 0.0, sorted((t, i) for i, (t, _) in enumerate(entries))
    while coming or left:
        rate = min(1.0, cores / len(left)) if left else 1.0
        first = min(left, key=lambda i: (left[i], i)) if left else None
        end_s = now_s + left[first] / rate if left else math.inf
        next_s = min(end_s, coming[0][0] if coming else math.inf)
        for i in left:
            left[i] -= (next_s - now_s) * rate
        now_s = next_s
        if end_s <= next_s:
            ends[first] = now_s
            del left[first]
        else:
            _, arrives = coming.pop(0)
            left[arrives] = entries[arrives][1]
    return ends


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 5)), min_size=1, max_size=30),
    st.sampled_from([1, 2, 3, 0.5]),
)
def test_ends_agree_with_a_model_that_serves_everybody_step_by_step(entries, cores):
    gate, clock, ends, who = SharingGate(cores), Clock(), {}, {}

    def collect():
        for job in gate.ended(clock.now_s):
            ends[who[job]] = clock.now_s
        if len(gate):
            clock.at(gate.next_end_s(clock.now_s), collect)

    def arrive(number):
        who[gate.enter(clock.now_s, entries[number][1])] = number
        collect()

    for number, (time_s, _) in enumerate(entries):
        clock.at(time_s, arrive, number)
    clock.run()
    assert ends == {number: pytest.approx(end_s, rel=1e-6) for number, end_s in slow_model(entries, cores).items()}


def times_in_system(rate, works, seed, cores=1):
    """Time in the system of each job, in order of arrival, under Poisson load."""
    gate, clock, times_s, arrived = SharingGate(cores), Clock(), {}, {}
    planned = [math.inf]

    def plan():
        end_s = gate.next_end_s(clock.now_s)
        if end_s < planned[0]:
            planned[0] = end_s
            clock.at(end_s, collect)

    def collect():
        planned[0] = math.inf
        for job in gate.ended(clock.now_s):
            number, arrived_s = arrived.pop(job)
            times_s[number] = clock.now_s - arrived_s
        plan()

    def arrive(number, work_s):
        arrived[gate.enter(clock.now_s, work_s)] = number, clock.now_s
        plan()

    for number, (time_s, work_s) in enumerate(zip(poisson(rate, len(works), seed), works, strict=True)):
        clock.at(time_s, arrive, number, work_s)
    clock.run()
    return [times_s[number] for number in range(len(works))]


@pytest.mark.parametrize("law", [exponential, constant, lognormal])
def test_q7_the_mean_time_is_five_whatever_the_law(law):
    chance = random.Random(11)
    times_s = times_in_system(0.8, [law(chance) for _ in range(40_000)], seed=7)
    assert sum(times_s) / len(times_s) == pytest.approx(5, rel=0.12)


def test_q7_a_job_of_five_takes_twenty_five():
    chance = random.Random(12)
    works = [5.0 if chance.random() < 0.02 else exponential(chance) for _ in range(60_000)]
    times_s = times_in_system(0.8 / (0.98 + 0.02 * 5), works, seed=8)
    found = [time_s for time_s, work_s in zip(times_s, works, strict=True) if work_s == 5]
    assert sum(found) / len(found) == pytest.approx(25, rel=0.1)
