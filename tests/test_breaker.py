"""The circuit breaker: first as a decision, told the time; then in front of a service that fails for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.errors import ScenarioError
from sim.policies.breaker import REFUSED, BreakerGate, CircuitBreaker
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads
from sim.single import run


def gate(failures=2, open_s=1.0):
    return BreakerGate(CircuitBreaker(consecutive_failures=failures, open_duration=open_s))


def call(breaker, now_s, succeeds):
    """Ask, and settle at the same moment; whether the call was let through."""
    permit = breaker.permit(now_s)
    if permit != REFUSED:
        breaker.settle(permit, succeeds, now_s)
    return permit != REFUSED


def diary(breaker, *calls):
    """Whether each call, a pair of its time and whether it succeeds if it is let through, was let through."""
    return [call(breaker, now_s, succeeds) for now_s, succeeds in calls]


def test_it_opens_after_failures_in_a_row_and_a_success_starts_the_count_again():
    assert diary(gate(2), (0, False), (0.1, True), (0.2, False), (0.3, True), (0.4, False)) == [True] * 5
    assert diary(gate(2), (0, False), (0.1, False), (0.2, True)) == [True, True, False]


def test_it_refuses_until_its_time_is_over_and_then_lets_one_probe_through():
    breaker = gate(1)
    assert diary(breaker, (0, False), (0.999, True)) == [True, False]
    probe = breaker.permit(1.0)
    assert probe != REFUSED
    assert breaker.permit(1.0) == REFUSED
    assert breaker.permit(50.0) == REFUSED
    breaker.settle(probe, True, 50.0)
    assert breaker.permit(50.0) != REFUSED


def test_a_failed_probe_opens_it_again_for_the_whole_time_though_more_failures_were_allowed():
    assert diary(gate(2), (0, False), (0, False), (1.5, False), (2.4, True), (2.5, True)) == [True, True, True, False, True]


def test_after_a_good_probe_the_count_begins_at_zero():
    assert diary(gate(2), (0, False), (0, False), (1, True), (1, False), (1, True)) == [True] * 5


def test_answers_from_before_a_change_of_state_say_nothing():
    breaker = gate(2)
    early_success, early_failure = breaker.permit(0.0), breaker.permit(0.0)
    assert diary(breaker, (0.1, False), (0.1, False)) == [True, True]
    breaker.settle(early_success, True, 0.2)
    assert breaker.permit(0.3) == REFUSED  # a success of the past does not close it
    probe = breaker.permit(1.1)
    breaker.settle(early_failure, False, 1.2)
    breaker.back(early_failure)
    assert breaker.permit(1.3) == REFUSED  # nor does a past call, lost or failed, end the probe
    breaker.settle(probe, True, 1.4)
    breaker.settle(early_failure, False, 1.5)
    assert diary(breaker, (1.6, False), (1.7, True)) == [True, True]  # nor does its failure count afterwards


def test_a_probe_given_back_makes_room_for_another():
    breaker = gate(1)
    call(breaker, 0.0, False)
    breaker.back(breaker.permit(1.0))
    second = breaker.permit(1.0)
    assert second != REFUSED
    breaker.settle(second, False, 1.2)
    assert diary(breaker, (2.1, True), (2.2, True)) == [False, True]


def test_a_permit_given_back_while_closed_changes_nothing():
    breaker = gate(2)
    call(breaker, 0.0, False)
    breaker.back(breaker.permit(0.1))
    assert diary(breaker, (0.2, False), (0.3, True)) == [True, False]


def test_a_limit_beyond_all_numbers_of_c_never_opens():
    assert all(diary(gate(10**30), *((0.0, False) for _ in range(100))))


def test_open_for_no_time_still_lets_only_one_through():
    breaker = gate(1, 0.0)
    call(breaker, 0.0, False)
    assert breaker.permit(0.0) != REFUSED
    assert breaker.permit(0.0) == REFUSED


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["ok", "failed", "lost", "late"])), max_size=60), st.integers(1, 3))
def test_whatever_happens_it_lets_someone_through_once_nobody_is_out_and_its_time_is_over(story, failures):
    breaker, now_s, out = gate(failures), 0.0, []
    for pause_s, fate in story:
        now_s += pause_s
        permit = breaker.permit(now_s)
        if permit == REFUSED:
            continue
        if fate == "late":
            out.append(permit)
        elif fate == "lost":
            breaker.back(permit)
        else:
            breaker.settle(permit, fate == "ok", now_s)
    for permit in out:
        breaker.back(permit)
    assert breaker.permit(now_s + 1.0) != REFUSED


@pytest.mark.parametrize(
    "bad",
    [
        {"consecutive_failures": 0},
        {"consecutive_failures": 1.5},
        {"open_duration": -1.0},
        {"failure_rate_threshold_percent": 0},
        {"failure_rate_threshold_percent": 101},
        {"half_open_max_wait": 0},
        {"failures": ["ok"]},
        {"closed": 1.0},
    ],
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        CircuitBreaker(**bad)


# In front of a service.

FAILS_AT_FIRST = {"errors": "shop", "ratio": 1.0, "at": 0.0}
OPENS_AFTER_TWO = {"consecutive_failures": 2, "open_duration": 2.0}


def simulate(*, times, faults, calls, services=None, **rest):
    scenario = Scenario(
        services=services or {"shop": {"workers": "unlimited", "operations": {"buy": [{"work": 0.5}]}}},
        load={"kind": "replay", "times": tuple(times), "mix": "shop.buy"},
        run={"duration": 60.0},
        faults=faults,
        calls=calls,
        **rest,
    )
    return run(scenario)


def outcomes(result):
    return result.requests.outcome.tolist()


def test_a_breaker_opens_refuses_at_once_probes_and_closes():
    times = [0, 1, 1.5, 2.9, 3, 3.4, 3.5, 3.6]
    result = simulate(
        times=times, faults=[{**FAILS_AT_FIRST, "for": 2.5}], calls={"default": {"circuit_breaker": OPENS_AFTER_TWO}}
    )
    # Two errors open it at 1 s. The probe of 3 s works until 3.5 s; meanwhile the next one is refused.
    assert outcomes(result) == ["error"] * 2 + ["short_circuited"] * 2 + ["ok", "short_circuited", "ok", "ok"]
    refused = result.requests.outcome == "short_circuited"
    assert (result.requests.ended_s - result.requests.arrived_s)[refused].tolist() == [0, 0, 0]
    assert result.requests.attempts.tolist() == [1, 1, 0, 0, 1, 0, 1, 1]
    assert len(result.attempts) == 5  # nothing was sent, so nothing is written
    assert result.totals.served.tolist() == [5]


def test_a_probe_that_fails_opens_it_again():
    times = [0, 0.1, 2.1, 4.0, 4.1]
    result = simulate(
        times=times, faults=[{**FAILS_AT_FIRST, "for": 3.0}], calls={"default": {"circuit_breaker": OPENS_AFTER_TWO}}
    )
    assert outcomes(result) == ["error", "error", "error", "short_circuited", "ok"]


def test_a_breaker_that_counts_rates_opens_at_a_good_answer_too():
    policy = {"window_type": "count", "window_size": 4, "open_duration": 2.0}
    result = simulate(
        times=[0, 1, 2, 3, 4, 5.6, 6], faults=[{**FAILS_AT_FIRST, "for": 2.5}], calls={"default": {"circuit_breaker": policy}}
    )
    # 3 of 4 failed when the fourth answer comes at 3.5 s.
    assert outcomes(result) == ["error"] * 3 + ["ok", "short_circuited", "ok", "short_circuited"]


def test_slow_answers_open_a_breaker():
    policy = {"window_type": "count", "window_size": 2, "slow_call_duration": 0.4, "open_duration": 2.0}
    result = simulate(times=[0, 1, 2], faults=[], calls={"default": {"circuit_breaker": policy}})
    assert outcomes(result) == ["ok", "ok", "short_circuited"]


def test_outcomes_that_are_no_failures_leave_the_breaker_closed():
    policy = {**OPENS_AFTER_TWO, "failures": ["timeout"]}
    result = simulate(times=[0, 1, 2, 3], faults=[FAILS_AT_FIRST], calls={"default": {"circuit_breaker": policy}})
    assert outcomes(result) == ["error"] * 4


def test_retries_end_where_the_breaker_opens():
    policy = {"retry": {"max_attempts": 5, "backoff": {"kind": "constant", "base": 0.25}}, "circuit_breaker": OPENS_AFTER_TWO}
    result = simulate(times=[0], faults=[FAILS_AT_FIRST], calls={"default": policy})
    # error, pause, error, pause, refused: a refusal is not tried again.
    assert outcomes(result) == ["short_circuited"]
    assert result.requests.attempts.tolist() == [2]
    assert result.requests.ended_s.tolist() == [0.5]
    assert result.requests.backoff_s.tolist() == [0.5]


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        ({"crash": "shop", "at": 0.0}, "unreachable"),
        ({"crash": "shop", "at": 0.0, "silent": True}, "timeout"),
        ({"slow": "shop", "at": 0.0, "factor": 100.0}, "timeout"),
    ],
)
def test_timeouts_and_dead_endpoints_are_failures(fault, first):
    calls = {"default": {"timeout": 1.0, "circuit_breaker": OPENS_AFTER_TWO}}
    services = {"shop": {"workers": 9, "discovery_delay": 1.5, "operations": {"buy": [{"work": 0.5}]}}}
    result = simulate(times=[0.1, 1.2, 2.3], faults=[fault], calls=calls, services=services)
    assert outcomes(result) == [first, first, "short_circuited"]


def behind(shop_policy, pay_work_s=0.5, **client_policy):
    """A shop that calls a payment service, its breaker opening after one failure, for 1 s."""
    services = {
        "shop": {"workers": 9, "operations": {"buy": [{"call": "pay.charge"}]}},
        "pay": {"workers": 9, "operations": {"charge": [{"work": pay_work_s}]}},
    }
    breaker = {"consecutive_failures": 1, "open_duration": 1.0}
    return services, {"client -> shop": client_policy, "shop -> pay": {"circuit_breaker": breaker, **shop_policy}}


def test_to_the_caller_of_a_caller_a_refusal_is_an_error():
    services, calls = behind({})
    result = simulate(times=[0, 0.5], faults=[{"errors": "pay", "ratio": 1.0, "at": 0.0}], calls=calls, services=services)
    assert outcomes(result) == ["error", "error"]
    assert result.attempts[result.attempts.target == "pay.charge"].request.tolist() == [0]


@pytest.mark.parametrize("cancellation", [True, False])
def test_a_probe_whose_caller_is_stopped_makes_room_for_another(cancellation):
    services, calls = behind({}, timeout=0.2, cancellation=cancellation)
    faults = [{"errors": "pay", "ratio": 1.0, "at": 0.0, "for": 0.5}, {"slow": "pay", "at": 1.0, "for": 1.0, "factor": 10.0}]
    services["pay"]["operations"]["charge"] = [{"work": 0.1}]
    # The probe of 1.1 s would take a second, but its user leaves at 1.3 s. Cancelled, it leaves room for that of 2.05 s.
    result = simulate(times=[0, 1.1, 2.05], faults=faults, calls=calls, services=services)
    assert outcomes(result) == ["error", "timeout", "ok" if cancellation else "error"]


def test_a_replica_that_was_started_anew_has_a_closed_breaker():
    services, calls = behind({})
    faults = [{"errors": "pay", "ratio": 1.0, "at": 0.0, "for": 0.3}, {"crash": "shop", "at": 0.4, "for": 0.1}]
    assert outcomes(simulate(times=[0, 0.7], faults=faults, calls=calls, services=services)) == ["error", "ok"]
    assert outcomes(simulate(times=[0, 0.7], faults=faults[:1], calls=calls, services=services)) == ["error", "error"]


def test_each_replica_has_a_breaker_of_its_own():
    services, calls = behind({})
    services["shop"]["replicas"] = 2
    result = simulate(times=[0, 0.2, 0.4], faults=[{"errors": "pay", "ratio": 1.0, "at": 0.0}], calls=calls, services=services)
    # The third request reaches the first replica again, the only one to refuse.
    assert result.attempts[result.attempts.target == "pay.charge"].request.tolist() == [0, 1]


TEXT = """
services:
  shop: {workers: 9, operations: {buy: [work: 1ms]}}
load: {kind: poisson, rate: 5/s, mix: shop.buy}
run: {duration: 5s}
calls:
  default:
    circuit_breaker: BREAKER
"""


def test_the_scenario_language_knows_it():
    scenario = loads(TEXT.replace("BREAKER", "{consecutive_failures: 3, open_duration: 250ms}"))
    assert scenario.policy("client", "shop.buy").circuit_breaker == CircuitBreaker(consecutive_failures=3, open_duration=0.25)
    assert loads(TEXT.replace("BREAKER", "")).policy("client", "shop.buy").circuit_breaker is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{consecutive_failures: 0}", "8: calls.default.circuit_breaker.consecutive_failures: 0 should be a whole number of at"),
        ("{consecutive_failures: 2.5}", "8: calls.default.circuit_breaker.consecutive_failures: 2.5 should be a whole number"),
        ("{open_duration: 5}", "8: calls.default.circuit_breaker.open_duration: 5 has no unit; write for example 250ms"),
        ("{open_duration: -1s}", "8: calls.default.circuit_breaker.open_duration: '-1s' must be zero or more"),
        ("{open_duratoin: 1s}", "8: calls.default.circuit_breaker.open_duratoin: unknown key; did you mean 'open_duration'?"),
        ("{half: 1s}", "8: calls.default.circuit_breaker.half: unknown key; known: automatic_half_open, consecutive_failures"),
        ("5", "8: calls.default.circuit_breaker: 5 should be a mapping with scope, window_type, consecutive_failures"),
        ("{window_type: tme}", "8: calls.default.circuit_breaker.window_type: 'tme' should be one of consecutive, count"),
        ("{failures: [eror]}", "8: calls.default.circuit_breaker.failures[0]: 'eror' should be one of error, timeout"),
    ],
)
def test_mistakes_are_told_with_their_place_and_cure(written, message):
    with pytest.raises(ScenarioError) as told:
        loads(TEXT.replace("BREAKER", written))
    assert message in str(told.value)
    assert "\n" not in str(told.value).strip()
