"""Health checks, told the time: the rules of Kubernetes, HAProxy, Envoy and Consul."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.policies.health import HealthCheck, HealthGate
from sim.records import DEGRADED, ERROR, IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.scenario.registries import HEALTH_CHECKS


def gate(preset=None, healthy=None, **own):
    data = HEALTH_CHECKS[preset].under(own) if preset else own
    return HealthGate(HealthCheck.model_validate(data), healthy=healthy)


def after(one, *outcomes, start_s=0.0):
    """Its health after each of some checks, a second apart."""
    health = []
    for second, outcome in enumerate(outcomes, 1):
        before = one.healthy
        assert one.checked(start_s + second, outcome) == (one.healthy != before)
        health.append(one.healthy)
    return health


def test_kubernetes_three_failures_in_a_row_take_out_and_one_pass_brings_back():
    one = gate("kubernetes@1")
    assert not one.healthy
    assert after(one, OK) == [True]
    assert after(one, TIMEOUT, TIMEOUT, OK, TIMEOUT, UNREACHABLE, ERROR, OK) == [True, True, True, True, True, False, True]
    assert [healthy for _, healthy in one.changes] == [True, False, True]


def test_haproxy_is_up_until_the_first_check_and_one_failure_then_is_enough():
    assert after(gate("haproxy@3"), TIMEOUT) == [False]
    one = gate("haproxy@3")
    # Once a check has passed it takes three; down again it takes two passes, and a failure between starts them anew.
    assert after(one, OK, ERROR, ERROR, ERROR, OK, ERROR, OK, OK) == [True, True, True, False, False, False, False, True]


def test_envoy_one_pass_is_enough_at_first_only():
    wanted = {"healthy_threshold": 2, "unhealthy_threshold": 3}
    assert after(gate("envoy@1.40", **wanted), OK) == [True]
    assert after(gate("envoy@1.40", **wanted), TIMEOUT, OK, OK) == [False, False, True]


def test_envoy_an_answer_other_than_200_takes_out_at_once_the_network_by_the_threshold():
    wanted = {"healthy_threshold": 2, "unhealthy_threshold": 3}
    for outcome in (ERROR, REJECTED):
        assert after(gate("envoy@1.40", healthy=True, **wanted), outcome) == [False]
    assert after(gate("envoy@1.40", healthy=True, **wanted), TIMEOUT, UNREACHABLE, TIMEOUT) == [True, True, False]


def test_consul_says_every_change_at_once():
    assert after(gate("consul@1"), OK, TIMEOUT, OK) == [True, False, True]


def test_a_fallback_is_a_pass_and_a_check_under_way_is_nothing():
    assert after(gate(healthy=True, unhealthy_threshold=2), ERROR, DEGRADED, ERROR) == [True] * 3
    one = gate(healthy=True, unhealthy_threshold=2)
    assert after(one, ERROR, IN_FLIGHT, ERROR) == [True, True, False]


def test_failures_during_the_grace_do_not_count_and_passes_do():
    one = gate(grace=10, unhealthy_threshold=1, healthy=True)
    assert not one.checked(9.9, ERROR)
    assert one.checked(10.0, ERROR)
    starting = gate(grace=10)
    assert starting.checked(3.0, OK)


def test_a_restart_begins_anew():
    one = gate("haproxy@3")
    after(one, OK, ERROR, ERROR)
    assert not one.started(10.0)  # it was up, and starts as up
    assert after(one, ERROR, start_s=10.0) == [False]
    assert one.started(20.0)
    assert one.changes == [(11.0, False), (20.0, True)]
    # Two failures are forgotten in a restart.
    two = gate(unhealthy_threshold=3, initially="healthy")
    after(two, ERROR, ERROR)
    two.started(5.0)
    assert after(two, ERROR, ERROR, ERROR, start_s=5.0) == [True, True, False]


def test_when_the_next_check_is_sent():
    one = gate(interval=10, unhealthy_interval=4, edge_interval=1, initial_delay=3, initially="healthy")
    assert one.first_s(0.5) == 8.0
    assert one.next_s(8.0, 8.5) == 18.0
    one.checked(18.5, ERROR)
    assert one.next_s(18.0, 18.5) == 19.0  # a change is under way
    one.checked(19.5, ERROR)
    one.checked(20.5, ERROR)
    assert one.next_s(20.0, 20.5) == 24.0
    assert one.next_s(20.0, 25.5) == 25.5  # a check that outlasts its interval
    assert gate("envoy@1.40", interval=10).next_s(8.0, 8.5) == 18.5


@pytest.mark.parametrize(
    ("preset", "least_s", "most_s"), [("kubernetes@1", 20.0, 30.0), ("haproxy@3", 4.0, 6.0), ("consul@1", 0.0, 10.0)]
)
def test_a_crash_is_seen_within_the_last_of_its_intervals(preset, least_s, most_s):
    seen = []
    for step in range(1, 100):
        one = gate(preset, healthy=True)
        sent_s = one.first_s(step / 100)  # the crash is at 0; a refused connection takes no time
        while not one.checked(sent_s, UNREACHABLE):
            sent_s = one.next_s(sent_s, sent_s)
        seen.append(sent_s)
    assert least_s < min(seen) < max(seen) < most_s
    assert sum(seen) / len(seen) == pytest.approx((least_s + most_s) / 2)


@given(
    outcomes=st.lists(st.sampled_from([OK, TIMEOUT, ERROR]), max_size=40),
    rise=st.integers(1, 4),
    fall=st.integers(1, 4),
    first=st.booleans(),
    at_once=st.booleans(),
    healthy=st.booleans(),
)
def test_against_a_counter_as_haproxy_has_it(outcomes, rise, fall, first, at_once, healthy):
    """One number from 0 to rise + fall - 1: below rise it is down; a pass at rise fills it, a failure below rise empties it."""
    one = gate(
        healthy_threshold=rise,
        unhealthy_threshold=fall,
        first_check_decides=first,
        fails_at_once_on=("error",) if at_once else (),
        initially="healthy" if healthy else "unhealthy",
    )
    full = rise + fall - 1
    counter = (rise if first else full) if healthy else (rise - 1 if first else 0)
    for outcome in outcomes:
        if outcome == OK:
            counter += 1
            counter = full if counter >= rise else counter
        else:
            counter = counter - 1 if not (at_once and outcome == ERROR) else 0
            counter = counter if counter >= rise else 0
        one.checked(0.0, outcome)
        assert one.healthy == (counter >= rise)
