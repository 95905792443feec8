"""Passive health: nginx's rule, told the time."""

from __future__ import annotations

import pytest

from sim.policies.passive import PassiveHealth
from sim.records import ERROR, IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE


def nginx(endpoints=3, **settings_):
    return PassiveHealth(**settings_).gate(endpoints)


def test_m9_one_of_three_refuses_for_40_s_and_costs_seven_errors():
    gate, believed, errors = nginx(fail_timeout=5), [0, 1, 2], []
    for i in range(4000):  # 100 rps
        now_s = 0.37 + i * 0.01
        usable = gate.usable(now_s, believed)
        chosen = usable[i % len(usable)]
        gate.picked(chosen, now_s)
        gate.settle(chosen, UNREACHABLE if chosen == 1 else OK, now_s)
        errors += [now_s] * (chosen == 1)
    assert len(errors) == 7
    assert errors[0] == pytest.approx(0.38)
    gaps = [later - earlier for earlier, later in zip(errors, errors[1:], strict=False)]
    assert gaps[0] == pytest.approx(5.63, abs=0.02)  # from 0.38 to the begin of second 6
    assert gaps[1:] == pytest.approx([6.0] * 5, abs=0.02)


def test_one_live_request_probes_and_the_others_wait_for_it():
    gate, three = nginx(), [0, 1, 2]
    gate.settle(1, TIMEOUT, 0.0)
    assert gate.usable(10.9, three) == [0, 2]
    assert gate.usable(11.0, three) == three
    gate.picked(1, 11.5)
    assert gate.usable(11.5, three) == [0, 2]
    gate.settle(1, OK, 13.0)
    assert gate.usable(13.0, three) == three
    assert gate.changes == [(0.0, 1, True), (13.0, 1, False)]


def test_a_probe_that_hangs_lets_another_follow_after_the_timeout():
    gate = nginx()
    gate.settle(1, TIMEOUT, 0.0)
    gate.picked(1, 11.5)
    assert gate.usable(21.9, [0, 1, 2]) == [0, 2]
    assert gate.usable(22.0, [0, 1, 2]) == [0, 1, 2]


def test_failures_add_up_across_successes_until_a_quiet_timeout():
    gate, three = nginx(max_fails=3, fail_timeout=5), [0, 1, 2]

    def call(now_s, outcome):
        gate.picked(1, now_s)
        gate.settle(1, outcome, now_s)

    for now_s, outcome in ((0, TIMEOUT), (1, OK), (2, TIMEOUT), (3, OK), (7.9, OK)):
        call(now_s, outcome)
    call(7.9, TIMEOUT)  # the third: to the clock, the call before began 5 s after the last failure, not more
    assert gate.usable(7.9, three) == [0, 2]
    gate = nginx(max_fails=3, fail_timeout=5)
    for now_s, outcome in ((0, TIMEOUT), (1, OK), (2, TIMEOUT), (3, OK), (8, OK)):
        call(now_s, outcome)
    call(8.5, TIMEOUT)
    assert gate.usable(8.5, three) == three


def test_which_outcomes_nginx_calls_failures():
    for outcome, expected in ((ERROR, [0, 1]), (REJECTED, [0, 1]), (IN_FLIGHT, [0, 1]), (TIMEOUT, [1]), (UNREACHABLE, [1])):
        gate = nginx(2)
        gate.settle(0, outcome, 1.0)
        assert gate.usable(1.0, [0, 1]) == expected
    strict = nginx(2, failures=("error",))
    strict.settle(0, ERROR, 1.0)
    strict.settle(1, TIMEOUT, 1.0)
    assert strict.usable(1.0, [0, 1]) == [1]


def test_a_single_server_is_never_left_out_but_of_several_all_may_be():
    gate = nginx(1)
    gate.settle(0, TIMEOUT, 1.0)
    assert gate.usable(1.0, [0]) == [0]
    assert gate.changes == []
    gate = nginx(2)
    gate.settle(0, TIMEOUT, 1.0)
    gate.settle(1, TIMEOUT, 1.0)
    assert gate.usable(1.0, [0, 1]) == []
    assert gate.usable(1.0, [0]) == [0]  # only one is known


def test_zero_max_fails_never_leaves_out():
    gate = nginx(2, max_fails=0)
    for _ in range(9):
        gate.settle(0, TIMEOUT, 1.0)
    assert gate.usable(1.0, [0, 1]) == [0, 1]


def test_a_late_success_of_a_call_from_before_does_not_bring_it_back():
    gate = nginx()
    gate.picked(1, 0.0)
    gate.picked(1, 0.5)
    gate.settle(1, TIMEOUT, 1.0)
    gate.settle(1, OK, 2.0)
    assert gate.usable(2.0, [0, 1, 2]) == [0, 2]
