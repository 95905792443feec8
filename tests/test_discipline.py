"""Queue disciplines: who is next, and who has waited too long."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_worlds import Clock, exponential, poisson

from sim.policies.discipline import Discipline, line_of

KINDS = ["fifo", "lifo", "priority", "earliest_deadline", "adaptive_lifo", "codel"]


def line(kind, **fields):
    return line_of(Discipline(kind=kind, **fields))


def served(waiting, now_s=0.0):
    """All who wait, in the order in which they are taken out."""
    return [waiting.pop(now_s) for _ in range(len(waiting))]


def test_each_discipline_has_its_order():
    orders = {}
    for kind in KINDS:
        waiting = line(kind)
        for name, priority, due_s in (("a", 2, 9.0), ("b", 1, 8.0), ("c", 1, math.inf), ("d", 0, 8.0)):
            waiting.append(name, 0.0, priority, due_s)
        orders[kind] = "".join(served(waiting))
        assert waiting.pop(0.0) is None
    assert orders == {
        "fifo": "abcd",
        "lifo": "dcba",
        "priority": "dbca",
        "earliest_deadline": "bdac",
        "adaptive_lifo": "abcd",
        "codel": "abcd",
    }


def test_adaptive_lifo_turns_round_once_a_line_has_stood_and_back_when_it_has_been_empty():
    waiting = line("adaptive_lifo", interval="100ms")
    for name, now_s in (("a", 1.0), ("b", 1.01), ("c", 1.02), ("d", 1.05)):
        waiting.append(name, now_s)
    assert waiting.pop(1.09) == "a"
    assert waiting.pop(1.11) == "d"  # it has stood for more than 100 ms
    assert served(waiting, 1.12) == ["c", "b"]
    for name, now_s in (("e", 1.15), ("f", 1.16)):
        waiting.append(name, now_s)
    assert served(waiting, 1.17) == ["e", "f"]


def test_adaptive_lifo_may_look_at_the_length_instead():
    waiting = line("adaptive_lifo", lifo_above=2)
    for name in "abcd":
        waiting.append(name, 0.0)
    assert served(waiting, 50.0) == ["d", "c", "a", "b"]


def test_controlled_delay_allows_the_interval_to_a_burst_and_the_target_in_a_standing_line():
    waiting = line("codel", target="5ms", interval="100ms")
    assert [waiting.append("a", 1.0), waiting.append("b", 1.09)] == [0.1, 0.1]
    assert waiting.append("c", 1.11) == 0.005  # the line has stood since 1.0
    assert waiting.expired(1.099) == []
    assert waiting.expired(1.1) == ["a"]
    assert waiting.expired(1.12) == ["c"]  # b, who came earlier, may wait longer
    assert waiting.pop(1.3) == "b"
    assert waiting.append("d", 1.3) == 0.1  # it has been empty


def test_who_is_served_or_left_does_not_expire():
    waiting = line("codel", interval="100ms")
    for number in range(3):
        waiting.append(number, 1.0)
    assert waiting.pop(1.05) == 0
    waiting.discard(1)
    assert waiting.expired(2.0) == [2]


def test_a_line_without_controlled_delay_lets_everybody_wait():
    for kind in KINDS[:-1]:
        waiting = line(kind)
        assert {waiting.append(number, number * 1.0) for number in range(3)} == {math.inf}
        assert waiting.expired(1e9) == []
        assert len(waiting) == 3


def test_adaptive_lifo_with_controlled_delay_drops_the_oldest_and_serves_the_newest():
    waiting = line("adaptive_lifo", controlled_delay=True)
    for number in range(10):
        waiting.append(number, number * 0.03)
    # 0 to 3 came within 100 ms of the empty line and may wait as long; the others 5 ms.
    assert waiting.expired(0.2) == [0, 1, 2, 3, 4, 5, 6]
    assert waiting.pop(0.2) == 9


class Model:
    """A line as a list of who waits, searched anew each time."""

    def __init__(self, spec):
        self.spec, self.list, self.empty_s = spec, [], -math.inf

    def append(self, item, now_s, priority, due_s):
        if not self.list:
            self.empty_s = now_s
        stands = now_s - self.empty_s > self.spec.interval
        self.list.append((item, priority, due_s, now_s + (self.spec.target if stands else self.spec.interval)))

    def pop(self, now_s):
        if not self.list:
            return None
        kind = self.spec.kind
        if kind == "adaptive_lifo":
            stands = now_s - self.empty_s > self.spec.interval
            kind = "lifo" if stands else "fifo"
        chosen = {
            "lifo": lambda: len(self.list) - 1,
            "priority": lambda: min(range(len(self.list)), key=lambda i: self.list[i][1]),
            "earliest_deadline": lambda: min(range(len(self.list)), key=lambda i: self.list[i][2]),
        }.get(kind, lambda: 0)()
        return self.list.pop(chosen)[0]

    def discard(self, item):
        self.list = [entry for entry in self.list if entry[0] != item]

    def expired(self, now_s):
        gone = [entry[0] for entry in self.list if entry[3] <= now_s] if self.spec.kind == "codel" else []
        for item in gone:
            self.discard(item)
        return gone


STEP = st.tuples(
    st.sampled_from(["append", "append", "pop", "discard", "expired"]),
    st.integers(0, 20),
    st.integers(0, 3),
    st.sampled_from([1.0, 2.0, math.inf]),
)


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.lists(STEP, max_size=120))
def test_every_discipline_agrees_with_a_list_that_is_searched(kind, story):
    spec = Discipline(kind=kind) if kind not in ("codel", "adaptive_lifo") else Discipline(kind=kind, target=0.25, interval=1.0)
    waiting, model, now_s = line_of(spec), Model(spec), 0.0
    for number, (what, n, priority, due_s) in enumerate(story):
        now_s += n / 64
        if what == "append":
            waiting.append(number, now_s, priority, due_s)
            model.append(number, now_s, priority, due_s)
        elif what == "pop":
            assert waiting.pop(now_s) == model.pop(now_s)
        elif what == "discard":
            waiting.discard(n)
            model.discard(n)
        else:
            assert waiting.expired(now_s) == model.expired(now_s)
        assert len(waiting) == len(model.list)


@pytest.mark.parametrize("kind", KINDS)
def test_who_left_leaves_nothing_behind_though_the_line_is_never_empty(kind):
    waiting = line(kind)
    waiting.append("stays", 0.0, -1)
    for number in range(10_000):
        waiting.append(number, number * 1e-6, 5, 5.0)
        waiting.discard(number)
    held = [len(getattr(waiting, name)) for name in ("_items", "_heap", "_entries", "_long", "_short") if hasattr(waiting, name)]
    assert max(held) < 100
    assert len(waiting) == 1


def test_one_who_comes_back_stands_where_he_came_back():
    waiting = line("priority")
    waiting.append("a", 0.0, 1)
    waiting.append("b", 0.0, 1)
    waiting.discard("a")
    waiting.append("a", 0.0, 1)
    assert served(waiting) == ["b", "a"]


# --- one worker behind a line -----------------------------------------------------------------------------------


def waits(spec, classes, calls, seed, drop=False):
    """Waits of those served by one worker with Exp(1) work, by class; a class is (priority, arrival rate)."""
    clock, waiting, chance = Clock(), line_of(spec), random.Random(seed)
    arrived, waited, busy = {}, {priority: [] for priority, _ in classes}, [False]

    def begin(number):
        arrived_s, priority = arrived.pop(number)
        waited[priority].append(clock.now_s - arrived_s)
        busy[0] = True
        clock.at(clock.now_s + exponential(chance), end)

    def arrive(number, priority):
        arrived[number] = clock.now_s, priority
        if busy[0]:
            waiting.append(number, clock.now_s, priority)
        else:
            begin(number)

    def end():
        busy[0] = False
        if drop:
            for number in waiting.expired(clock.now_s):
                del arrived[number]
        following = waiting.pop(clock.now_s)
        if following is not None:
            begin(following)

    total = sum(rate for _, rate in classes)
    for position, (priority, rate) in enumerate(classes):
        for index, time_s in enumerate(poisson(rate, int(calls * rate / total), seed + 100 * (position + 1))):
            clock.at(time_s, arrive, (position, index), priority)
    clock.run()
    return waited


def mean(values):
    return sum(values) / len(values)


def p99(values):
    return sorted(values)[int(0.99 * len(values))]


def test_q16_waits_with_two_priorities():
    waited = waits(Discipline(kind="priority"), [(0, 0.3), (1, 0.5)], 100_000, seed=2)
    assert mean(waited[0]) == pytest.approx(1.14286, rel=0.04)
    assert mean(waited[1]) == pytest.approx(5.71429, rel=0.1)


def test_fifo_and_lifo_have_the_same_mean_and_very_different_tails():
    fifo = waits(Discipline(kind="fifo"), [(0, 0.7)], 100_000, seed=4)[0]
    lifo = waits(Discipline(kind="lifo"), [(0, 0.7)], 100_000, seed=4)[0]
    assert mean(fifo) == pytest.approx(0.7 / 0.3, rel=0.08)
    assert mean(lifo) == pytest.approx(mean(fifo), rel=0.06)
    assert p99(lifo) > 1.7 * p99(fifo)


def test_under_overload_controlled_delay_keeps_waits_short_where_fifo_lets_them_grow():
    overload = [(0, 1.5)]
    fifo = waits(Discipline(kind="fifo"), overload, 3000, seed=6, drop=True)[0]
    codel = waits(Discipline(kind="codel", target=2.0, interval=10.0), overload, 3000, seed=6, drop=True)[0]
    assert mean(fifo) > 300
    assert max(codel) < 11
    assert len(codel) > 1800  # of the 2000 for whom there is time


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "fifo", "target": "7ms"}, "target is read by adaptive_lifo, codel only, not by fifo"),
        ({"kind": "codel", "lifo_above": 3}, "lifo_above is read by adaptive_lifo only"),
        ({"kind": "codel", "target": "1s"}, "target = 1 s must not be longer than interval = 0.1 s"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        Discipline(**bad)
