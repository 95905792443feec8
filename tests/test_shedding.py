"""Load shedding: whom an overloaded server refuses."""

from __future__ import annotations

import math
import random
from collections import Counter, deque

import pytest
from pydantic import ValidationError
from small_worlds import Clock, exponential, poisson

from sim.policies.shedding import Shedding, shedding_gate


def gate(kind, workers=1, **fields):
    return shedding_gate(Shedding(kind=kind, **fields), workers)


def refused(shedding, busy_ratio, priority=0, now_s=0.0, looks=1000):
    """Share of requests refused at a moment, over evenly spread numbers."""
    return sum(not shedding.admits(now_s, priority, 5, busy_ratio, (n + 0.5) / looks) for n in range(looks)) / looks


def test_utilisation_refuses_a_share_that_grows_from_one_threshold_to_the_other():
    now = {"averaged_over": 0.0, "from_busy": 0.6, "all_busy": 0.8}
    found = {busy: refused(gate("utilisation", **now), busy) for busy in (0.0, 0.6, 0.65, 0.7, 0.8, 1.0)}
    assert found == {0.0: 0, 0.6: 0, 0.65: pytest.approx(0.25), 0.7: pytest.approx(0.5), 0.8: 1, 1.0: 1}


def test_utilisation_refuses_the_unimportant_first():
    shedding = gate("utilisation", averaged_over=0.0, from_busy=0.8, all_busy=1.0, per_priority=0.25)
    assert [refused(shedding, 0.7, priority) for priority in range(6)] == [0, pytest.approx(2 / 3, abs=1e-3), 1, 1, 1, 1]
    assert [refused(shedding, 0.0, priority) for priority in range(6)] == [0] * 6
    assert refused(shedding, 0.9) == pytest.approx(0.5)


def test_utilisation_is_an_average_over_time_and_not_over_requests():
    shedding = gate("utilisation", averaged_over=1.0, from_busy=0.5, all_busy=1.0)
    assert refused(shedding, 0.0, now_s=0.0) == 0
    assert refused(shedding, 1.0, now_s=0.0) == 0  # a thousand looks in no time
    assert refused(shedding, 1.0, now_s=1.0) == pytest.approx(2 * (0.5 - math.exp(-1)), abs=1e-3)
    assert refused(shedding, 1.0, now_s=50.0) == 1


def test_wait_foresees_how_long_the_line_takes():
    shedding = gate("wait", workers=4, max_wait="100ms")
    assert shedding.admits(0.0, 0, 1000, 1.0, 0.5)  # nothing is known
    shedding.served(0.04)  # ten milliseconds per place in the line
    assert [shedding.admits(0.0, 0, queued, 1.0, 0.5) for queued in (0, 8, 9, 10)] == [True, True, True, False]
    assert shedding.admits(0.0, 0, 0, 0.99, 0.5)  # a worker is free
    halved = gate("wait", workers=4, max_wait="100ms", per_priority=0.5)
    halved.served(0.04)
    assert [halved.admits(0.0, 1, queued, 1.0, 0.5) for queued in (4, 5)] == [True, False]
    assert not halved.admits(0.0, 2, 0, 1.0, 0.5)


def test_wait_follows_the_mean_work():
    shedding = gate("wait", averaged_calls=3, max_wait="1s")
    shedding.served(2.0)
    assert not shedding.admits(0.0, 0, 0, 1.0, 0.5)
    shedding.served(0.5)  # half of the old, half of the new: 1.25
    assert not shedding.admits(0.0, 0, 0, 1.0, 0.5)
    shedding.served(0.5)  # 0.875
    assert shedding.admits(0.0, 0, 0, 1.0, 0.5)


def window(shedding, now_s, requests, waited_s):
    """A window in which so many requests come, of each priority of `requests`; which priorities were admitted in full."""
    outcomes = {
        priority: [shedding.admits(now_s, priority, 0, 1.0, (n + 0.5) / count) for n in range(count)]
        for priority, count in requests.items()
    }
    for outcome in outcomes.values():
        for admitted in outcome:
            if admitted:
                shedding.started(waited_s)
    return {priority: sum(outcome) for priority, outcome in outcomes.items()}


def test_dagor_takes_a_twentieth_away_under_overload_and_gives_a_hundredth_of_all_back():
    shedding = gate("dagor")
    requests = {0: 128 * 5, 1: 128 * 5}  # five in each of 256 levels
    found = [window(shedding, float(n), requests, 0.021 if n < 3 else 0.02) for n in range(6)]
    # 1280; 5 % of that is 64, 13 levels; 5 % of 1215 is 60.75, 13 levels; 5 % of 1150 is 57.5, 12; 1 % of 1280 is 12.8, 3 levels
    assert [sum(each.values()) for each in found] == [1280, 1215, 1150, 1090, 1105, 1120]
    assert all(each[0] == 640 for each in found)  # the important are all there


def test_dagor_never_refuses_the_most_important_level_and_recovers_from_there():
    shedding = gate("dagor", decrease_ratio=0.9, increase_ratio=0.5)
    requests = {0: 1280}
    assert [window(shedding, float(n), requests, 1.0)[0] for n in range(6)] == [1280, 120, 10, 10, 10, 10]
    assert [window(shedding, float(n), requests, 0.0)[0] for n in range(6, 10)] == [10, 650, 1280, 1280]


def test_dagor_goes_down_to_the_most_important_level_though_most_requests_are_there():
    shedding = gate("dagor", decrease_ratio=0.5)
    for n in range(100):
        assert shedding.admits(0.0, 1 if n < 10 else 0, 0, 1.0, 0.5)
        shedding.started(1.0)
    assert [shedding.admits(1.0, priority, 0, 1.0, 0.5) for priority in (0, 1)] == [True, False]


def test_dagor_closes_a_window_after_so_many_requests_as_well():
    shedding = gate("dagor", window_calls=100, decrease_ratio=0.5)
    for n in range(100):
        assert shedding.admits(0.0, 0, 0, 1.0, (n + 0.5) / 100)
        shedding.started(1.0)
    assert not shedding.admits(0.0, 0, 0, 1.0, 0.99)
    assert shedding.admits(0.0, 0, 0, 1.0, 0.01)


def test_dagor_learns_nothing_from_a_window_in_which_nobody_started_and_opens_again_if_nobody_was_let_in():
    shedding = gate("dagor", decrease_ratio=0.5)
    for n in range(100):
        shedding.admits(0.0, n % 2, 0, 1.0, 0.5)
        shedding.started(1.0)
    assert [shedding.admits(1.0, priority, 0, 1.0, 0.5) for priority in (0, 1)] == [True, False]
    assert [shedding.admits(2.0, priority, 0, 1.0, 0.5) for priority in (0, 1)] == [True, False]
    assert not shedding.admits(3.0, 1, 0, 1.0, 0.5)  # only unimportant ones come now
    assert not shedding.admits(3.9, 1, 0, 1.0, 0.5)
    assert shedding.admits(4.0, 1, 0, 1.0, 0.5)


# --- an overloaded server ---------------------------------------------------------------------------------------


def overloaded(shedding, seconds=120):
    """200 requests per second, half of priority 1, at a worker that can do 100: the mean wait at last, and served by priority."""
    clock, chance, line, busy, waits_s, served = Clock(), random.Random(1), deque(), [False], [], Counter()

    def begin(arrived_s, priority):
        busy[0] = True
        waits_s.append(clock.now_s - arrived_s)
        served[priority] += 1
        shedding.started(clock.now_s - arrived_s)
        work_s = exponential(chance) / 100
        clock.at(clock.now_s + work_s, end, work_s)

    def end(work_s):
        shedding.served(work_s)
        busy[0] = False
        if line:
            begin(*line.popleft())

    def arrive(priority, u):
        if not shedding.admits(clock.now_s, priority, len(line), float(busy[0]), u):
            return
        if busy[0]:
            line.append((clock.now_s, priority))
        else:
            begin(clock.now_s, priority)

    for time_s in poisson(200, 200 * seconds, seed=2):
        clock.at(time_s, arrive, chance.randrange(2), chance.random())
    clock.run()
    late = waits_s[len(waits_s) // 2 :]
    return sum(late) / len(late), served


@pytest.mark.parametrize(
    ("fields", "longest_s", "least"),
    [
        ({"kind": "utilisation", "averaged_over": 1.0, "from_busy": 0.7, "per_priority": 0.3}, 0.1, 0.8),
        ({"kind": "wait", "max_wait": 0.05, "per_priority": 0.9}, 0.05, 0.88),
        ({"kind": "dagor"}, 0.3, 0.65),
    ],
)
def test_a_server_that_is_asked_for_twice_what_it_can_do_does_what_it_can_for_the_important(fields, longest_s, least):
    wait_s, served = overloaded(shedding_gate(Shedding(**fields), 1))
    assert wait_s < longest_s  # without shedding: half a minute
    assert sum(served.values()) > least * 100 * 120
    assert served[0] > 3 * served[1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "wait", "target": "7ms"}, "target is read by dagor only, not by wait"),
        ({"kind": "dagor", "per_priority": 0.1}, "per_priority is read by utilisation, wait only"),
        ({"kind": "utilisation", "from_busy": 0.9, "all_busy": 0.9}, "from_busy = 0.9 must be smaller than all_busy = 0.9"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        Shedding(**bad)
