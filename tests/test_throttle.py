"""Client-side throttling as a decision: told the answers, it refuses calls before they are sent."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sim.policies.throttle import AdaptiveThrottling, AdmissionControl, NackThrottling, SreThrottling, throttle_gate


def refusal_p(gate, now_s):
    """Probability of a refusal, found by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        u = (low + high) / 2
        low, high = (low, u) if gate.allows(now_s, u) else (u, high)
    return (low + high) / 2


def answers(gate, now_s, **counts):
    for outcome, count in counts.items():
        for _ in range(count):
            gate.settle(now_s, outcome)


# SRE book.


def wanted(gate, now_s, calls, outcome):
    for _ in range(calls):
        gate.allows(now_s, 1.0)  # 1 is never below p
        gate.settle(now_s, outcome)


def test_sre_refuses_nothing_while_half_of_the_calls_are_taken():
    gate = throttle_gate(SreThrottling())
    wanted(gate, 0.0, 50, "ok")
    wanted(gate, 0.0, 50, "rejected")
    assert gate.allows(0.0, 0.0)


def test_sre_refuses_by_the_formula_of_the_book():
    # 80 wanted, 20 taken: (80 - 2 · 20) / 81 = 0.494; then 81 wanted: 41/82 = 0.5.
    for u, allowed in ((0.493, False), (0.495, True)):
        gate = throttle_gate(SreThrottling())
        wanted(gate, 0.0, 20, "ok")
        wanted(gate, 0.0, 60, "rejected")
        assert gate.allows(0.0, u) == allowed
        assert not gate.allows(0.0, 0.499)
        assert gate.allows(0.0, 0.51)  # 42/83 = 0.506


def test_sre_counts_what_it_has_refused_itself_as_wanted():
    gate = throttle_gate(SreThrottling())
    for _ in range(9):
        gate.allows(0.0, 0.0)  # the first is sent and not answered; the others are refused: 1/2, 2/3 …
    assert not gate.allows(0.0, 0.899)  # 9/10
    assert gate.allows(0.0, 0.91)  # 10/11


def test_sre_an_error_is_an_answer_of_a_target_that_took_the_call():
    gate = throttle_gate(SreThrottling())
    wanted(gate, 0.0, 9, "error")
    assert gate.allows(0.0, 0.0)
    strict = throttle_gate(SreThrottling(refusals=("rejected", "error")))
    wanted(strict, 0.0, 9, "error")
    assert not strict.allows(0.0, 0.89)


def test_sre_forgets_after_two_minutes():
    gate = throttle_gate(SreThrottling())
    wanted(gate, 0.0, 9, "rejected")
    wanted(gate, 60.0, 1, "rejected")
    assert not gate.allows(119.9, 0.9)  # 10/11
    assert not gate.allows(120.0, 0.6)  # of the 10, one is left, and the one just refused: 2/3
    assert gate.allows(120.0, 0.76)
    assert gate.allows(300.0, 0.0)


def test_sre_a_target_with_a_capacity_is_sent_twice_of_it():
    # 100/s wanted; it takes one in each tenth of a second and refuses the others: 10/s are taken, 20/s sent.
    gate, chance, sent, served = throttle_gate(SreThrottling()), random.Random(1), [], set()
    for i in range(60_000):
        if gate.allows(i * 0.01, chance.random()):
            sent.append(i)
            gate.settle(i * 0.01, "rejected" if i // 10 in served else "ok")
            served.add(i // 10)
    settled = [i for i in sent if i >= 30_000]
    taken = len({i // 10 for i in settled})
    assert len(settled) / taken == pytest.approx(2.0, rel=0.05)
    assert len(settled) / 300 < 20


# Envoy.


@pytest.mark.parametrize(
    ("ok", "errors", "expected"),
    [
        (100, 0, 0.0),
        (95, 5, 0.0),  # at the threshold
        (90, 10, (100 - 90 / 0.95) / 101),
        (50, 50, (100 - 50 / 0.95) / 101),
        (0, 100, 0.8),  # the maximum
        (0, 1, 0.5),  # one of one: 1/2
        (0, 0, 0.0),
    ],
)
def test_envoy_refuses_by_its_formula(ok, errors, expected):
    gate = throttle_gate(AdmissionControl())
    answers(gate, 0.0, ok=ok, error=errors)
    assert refusal_p(gate, 0.5) == pytest.approx(expected, abs=1e-9)


def test_envoy_takes_the_root_of_it_with_aggression():
    gate = throttle_gate(AdmissionControl(aggression=2, max_rejection_percent=100))
    answers(gate, 0.0, ok=50, error=50)
    assert refusal_p(gate, 0.5) == pytest.approx(math.sqrt((100 - 50 / 0.95) / 101))
    calm = throttle_gate(AdmissionControl(aggression=2))
    answers(calm, 0.0, ok=100)
    assert calm.allows(0.5, 0.0)  # the root of a negative number refuses nothing


def test_envoy_forgets_bucket_by_bucket_after_thirty_seconds():
    gate = throttle_gate(AdmissionControl())
    answers(gate, 0.0, error=10)
    answers(gate, 0.9, error=10)  # in the bucket of 0 s
    answers(gate, 1.0, error=3)
    assert refusal_p(gate, 29.9) == pytest.approx(0.8)
    assert refusal_p(gate, 30.0) == pytest.approx(3 / 4)
    assert gate.allows(31.0, 0.0)


def test_envoy_a_bucket_begins_with_a_look_too():
    gate = throttle_gate(AdmissionControl())
    gate.allows(5.5, 0.5)
    answers(gate, 6.4, error=1)  # in the bucket of 5.5 s
    assert not gate.allows(35.4, 0.0)
    assert gate.allows(35.5, 0.0)


def test_envoy_does_not_learn_from_what_it_refused_nor_from_the_abandoned_nor_from_what_was_never_sent():
    gate = throttle_gate(AdmissionControl())
    answers(gate, 0.0, error=1, in_flight=5, overflow=5, short_circuited=5)
    for _ in range(10):
        assert not gate.allows(0.0, 0.4)
    assert refusal_p(gate, 0.0) == pytest.approx(0.5)


def test_envoy_refuses_nothing_at_a_low_rate_if_so_said():
    gate = throttle_gate(AdmissionControl(rps_threshold=2))
    answers(gate, 0.0, error=59)
    assert gate.allows(0.5, 0.0)  # 59 in 30 s are 1 per second, in whole numbers
    answers(gate, 0.5, error=1)
    assert not gate.allows(0.5, 0.0)


def test_envoy_measures_the_rate_before_it_forgets():
    gate = throttle_gate(AdmissionControl(rps_threshold=2))
    answers(gate, 0.0, error=50)
    answers(gate, 20.0, error=20)
    assert not gate.allows(29.0, 0.0)
    assert gate.allows(40.0, 0.0)  # 70 in 40 s: 1 per second, in whole numbers


def test_envoy_in_a_total_outage_sends_a_fifth():
    gate, chance, sent = throttle_gate(AdmissionControl()), random.Random(2), 0
    for i in range(10_000):
        if gate.allows(i * 0.01, chance.random()):
            sent += 1
            gate.settle(i * 0.01, "unreachable")
    assert sent / 10_000 == pytest.approx(0.2, abs=0.015)


# Finagle.


def busy(gate, begin_s, end_s, outcome, rate=10):
    """Answers all along, every call sent."""
    steps = round((end_s - begin_s) * rate)
    for i in range(1, steps + 1):
        gate.allows(begin_s + i / rate, 1.0)
        gate.settle(begin_s + i / rate, outcome)


def test_finagle_lets_the_average_fall_with_time_and_begins_below_a_half():
    gate = throttle_gate(NackThrottling())
    gate.allows(0.0, 1.0)
    busy(gate, 0.0, 83.0, "rejected")  # the first seconds' refusals count from five calls per second on
    assert gate.allows(83.0, 0.0)
    busy(gate, 83.0, 84.5, "rejected")  # e^(-t/120) < 1/2 from 83.2 s, and half a second later for the calls to be five
    assert not gate.allows(84.5, 0.0)


def test_finagle_refuses_in_proportion_and_three_of_four_at_most():
    gate = throttle_gate(NackThrottling(window="10s", rps_threshold=0))
    gate.allows(0.0, 1.0)
    gate.settle(10 * math.log(1 / 0.3), "rejected")  # the average is 0.3
    assert refusal_p(gate, 20.0) == pytest.approx(1 - 2 * 0.3)
    gate.settle(1000.0, "rejected")
    assert refusal_p(gate, 1000.0) == pytest.approx(0.75)
    gate.settle(1100.0, "ok")
    assert gate.allows(1100.0, 0.0)


def test_finagle_puts_up_with_what_it_is_told():
    gate = throttle_gate(NackThrottling(window="10s", rps_threshold=0, nack_rate_threshold=0.2))
    gate.allows(0.0, 1.0)
    gate.settle(10 * math.log(1 / 0.6), "rejected")
    assert refusal_p(gate, 20.0) == pytest.approx(1 - 0.6 / 0.8)


@pytest.mark.parametrize(("calls", "refuses"), [(4, False), (5, True)])
def test_finagle_counts_a_refusal_as_an_answer_when_there_are_few_calls(calls, refuses):
    gate = throttle_gate(NackThrottling(window="1s"))
    for _ in range(calls):
        gate.allows(10.0, 1.0)
    gate.settle(10.85, "rejected")  # e^-0.85 = 0.43 would be below a half
    assert gate.allows(10.9, 0.0) != refuses


@pytest.mark.parametrize(("calls", "refuses"), [(4, False), (5, True)])
def test_finagle_counts_the_calls_that_it_refuses_itself_among_those_of_the_last_second(calls, refuses):
    gate = throttle_gate(NackThrottling(window="1s"))
    for _ in range(5):
        gate.allows(10.0, 1.0)
    gate.settle(10.85, "rejected")
    assert [gate.allows(20.0, 0.0) for _ in range(calls)] == [False] * calls
    gate.settle(20.5, "rejected")  # of a call that was under way for long
    assert gate.allows(20.6, 0.0) != refuses


def test_finagle_hears_only_the_first_of_answers_at_one_instant():
    gate = throttle_gate(NackThrottling(window="10s", rps_threshold=0))
    gate.allows(0.0, 1.0)
    gate.settle(20.0, "ok")
    answers(gate, 20.0, rejected=100)
    assert gate.allows(20.0, 0.0)


def test_finagle_other_failures_are_answers():
    gate = throttle_gate(NackThrottling(window="1s", rps_threshold=0))
    gate.allows(0.0, 1.0)
    for i, outcome in enumerate(("error", "timeout", "unreachable", "in_flight"), start=1):
        gate.settle(10.0 * i, outcome)
    assert gate.allows(50.0, 0.0)


# All of them.

ALL = st.sampled_from([SreThrottling(), AdmissionControl(), AdmissionControl(aggression=3), NackThrottling(window=1.0)])


@settings(deadline=None)
@given(
    spec=ALL,
    story=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 0.999), st.sampled_from(["ok", "rejected"])), max_size=80),
)
def test_the_last_door_is_never_shut_and_a_long_calm_opens_all(spec, story):
    gate, now_s = throttle_gate(spec), 0.0
    for pause_s, u, outcome in story:
        now_s += pause_s
        if gate.allows(now_s, u):
            gate.settle(now_s, outcome)
        assert gate.allows(now_s, 1.0)
    if not isinstance(spec, NackThrottling):  # its average stands still while nothing is answered
        assert gate.allows(now_s + 121.0, 0.0)


@pytest.mark.parametrize(
    ("make", "field", "bad"),
    [
        (SreThrottling, "multiplier", 0.9),
        (SreThrottling, "window", 0),
        (SreThrottling, "refusals", ("ok",)),
        (AdmissionControl, "success_threshold_percent", 0),
        (AdmissionControl, "max_rejection_percent", 101),
        (AdmissionControl, "aggression", 0.5),
        (NackThrottling, "nack_rate_threshold", 1.0),
        (NackThrottling, "nack_rate_threshold", 0.0),
        (NackThrottling, "max_drop_ratio", 1.5),
    ],
)
def test_bad_values_are_refused(make, field, bad):
    with pytest.raises(ValidationError, match=field):
        make(**{field: bad})


def test_a_rule_is_chosen_by_its_kind():
    read = TypeAdapter(AdaptiveThrottling).validate_python
    assert read({"kind": "envoy", "aggression": 2}) == AdmissionControl(aggression=2)
    with pytest.raises(ValidationError, match="one of sre, envoy, finagle_nack"):
        read({"aggression": 2})
