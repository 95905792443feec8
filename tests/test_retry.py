"""Retry and back-off as decisions: no clock, no network, only numbers in and numbers out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from sim.policies.retry import Backoff, Retry
from sim.streams import child, key, uniform

KINDS = st.sampled_from(["constant", "linear", "exponential", "cumulative"])
PAUSES = st.just(0.0) | st.floats(1e-9, 10)
JITTERS = st.sampled_from(["none", "full", "equal", "decorrelated", "ratio", "tanh"])
OUTCOMES = ["ok", "degraded", "error", "timeout", "rejected", "overflow", "short_circuited", "unreachable"]


def pauses(backoff, count, u=0.5):
    """The pauses before the first `count` retries, each fed with the one before it and its number."""
    found, previous_s = [], 0.0
    for retry in range(1, count + 1):
        previous_s = backoff.pause_s(retry, previous_s, u, previous_u=u)
        found.append(previous_s)
    return found


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff(kind="constant", base=0.5), [0.5, 0.5, 0.5, 0.5]),
        (Backoff(kind="linear", base=0.5), [0.5, 1.0, 1.5, 2.0]),
        (Backoff(base=0.5), [0.5, 1.0, 2.0, 4.0]),
        (Backoff(base=0.5, multiplier=3), [0.5, 1.5, 4.5, 13.5]),
        (Backoff(base=0.5, multiplier=1), [0.5, 0.5, 0.5, 0.5]),
        (Backoff(base=0.5, max=1.5), [0.5, 1.0, 1.5, 1.5]),
        (Backoff(kind="linear", base=0.5, max=1.2), [0.5, 1.0, 1.2, 1.2]),
        (Backoff(kind="constant", base=0.5, max=0.2), [0.2, 0.2, 0.2, 0.2]),
        (Backoff(), [0, 0, 0, 0]),
        # u = 0.5 in the middle of the spread
        (Backoff(base=0.5, jitter="full"), [0.25, 0.5, 1.0, 2.0]),
        (Backoff(base=0.5, jitter="equal"), [0.375, 0.75, 1.5, 3.0]),
        # U(base, 3·previous), previous = base at first: (.5 + 1.5)/2, then (.5 + 3)/2, (.5 + 5.25)/2 …
        (Backoff(base=0.5, jitter="decorrelated"), [1.0, 1.75, 2.875, 4.5625]),
        (Backoff(base=0.5, jitter="decorrelated", max=2), [1.0, 1.75, 2.0, 2.0]),
        # The documentation of Envoy: (2^n - 1) · base; with a multiplier of 3 it is 1, 1 + 3, 1 + 3 + 9 …
        (Backoff(kind="cumulative", base=0.5), [0.5, 1.5, 3.5, 7.5]),
        (Backoff(kind="cumulative", base=0.5, multiplier=3), [0.5, 2.0, 6.5, 20.0]),
        (Backoff(kind="cumulative", base=0.5, multiplier=1, max=1.2), [0.5, 1.0, 1.2, 1.2]),
        (Backoff(base=0.5, jitter="ratio"), [0.5, 1.0, 2.0, 4.0]),
    ],
)
def test_the_rule_by_hand(backoff, expected):
    assert pauses(backoff, 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [
        ("none", 0.04, 0.04),
        ("full", 0.0, 0.04),
        ("equal", 0.02, 0.04),
        ("decorrelated", 0.01, 0.06),
        ("ratio", 0.032, 0.048),
    ],
)
def test_jitter_spreads_evenly_between_its_bounds(jitter, low, high):
    # Third retry of base 10 ms: v = 40 ms; decorrelated after a pause of 20 ms: U(10 ms, 60 ms).
    backoff = Backoff(base=0.01, jitter=jitter, max=10)
    stream = key(1, "jitter", jitter)
    sample = np.array([backoff.pause_s(3, 0.02, uniform(child(stream, i))) for i in range(20_000)])
    if low == high:
        assert set(sample) == {low}
    else:
        assert stats.kstest(sample, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@given(
    kind=KINDS,
    jitter=JITTERS,
    base=PAUSES,
    most=PAUSES,
    cap=st.sampled_from(["before_jitter", "after_jitter", "both"]),
    u=st.floats(0, 1),
)
def test_a_pause_lies_between_zero_and_the_cap(kind, jitter, base, most, cap, u):
    over = 1.2 + 1e-9 if jitter == "ratio" and cap == "before_jitter" else 1.0
    for pause_s in pauses(Backoff(kind=kind, base=base, max=most, jitter=jitter, cap=cap), 6, u):
        assert 0 <= pause_s <= most * over


@pytest.mark.parametrize(
    ("cap", "expected"),
    [
        # v = 1, 2, 4 under a cap of 2, at the upper end of the jitter: gRPC goes over, resilience4j and Kafka do not …
        ("before_jitter", ([1.5, 3.0, 3.0], [0.5, 1.0, 1.0])),
        # … and at the lower end: resilience4j has left the cap behind, Kafka still spreads below it.
        ("after_jitter", ([1.5, 2.0, 2.0], [0.5, 1.0, 2.0])),
        ("both", ([1.5, 2.0, 2.0], [0.5, 1.0, 1.0])),
    ],
)
def test_the_cap_acts_before_the_jitter_after_it_or_both(cap, expected):
    backoff = Backoff(base=1, max=2, jitter="ratio", jitter_ratio=0.5, cap=cap)
    assert (pauses(backoff, 3, u=1.0), pauses(backoff, 3, u=0.0)) == expected


def test_grpc_pauses_lie_within_a_fifth_of_the_exponential():
    # M7: 50, 100, 200 ms × U(0.8, 1.2), measured on gRPC's C-core.
    backoff = Backoff(base="50ms", multiplier=2, max="1s", jitter="ratio", jitter_ratio=0.2)
    assert pauses(backoff, 3, u=0.0) == pytest.approx([0.040, 0.080, 0.160])
    assert pauses(backoff, 3, u=1.0) == pytest.approx([0.060, 0.120, 0.240])


def test_envoy_draws_below_25_50_100_200_250_ms_and_its_documentation_below_25_75_175_ms():
    envoy = {"base": "25ms", "max": "250ms", "jitter": "full"}
    assert pauses(Backoff(**envoy), 5, u=1.0) == pytest.approx([0.025, 0.050, 0.100, 0.200, 0.250])
    assert pauses(Backoff(kind="cumulative", **envoy), 4, u=1.0) == pytest.approx([0.025, 0.075, 0.175, 0.250])


def test_the_jitter_of_polly_is_bounded_by_its_neighbours():
    # f(t) = 2^t · tanh(√(4t)): f(0) = 0, f(1) = 1.928, f(2) = 3.972; over 1.4.
    backoff = Backoff(base=1.4, jitter="tanh", max=100)
    assert pauses(backoff, 2, u=0.0) == pytest.approx([0.0, 1.928], abs=1e-3)
    assert backoff.pause_s(1, 0, u=1.0) == pytest.approx(1.928, abs=1e-3)
    assert backoff.pause_s(2, 0, u=1.0, previous_u=0.0) == pytest.approx(3.972, abs=1e-3)
    assert backoff.pause_s(2, 0, u=0.0, previous_u=1.0) == pytest.approx(0.0)  # two tries may come close to each other


def test_with_the_jitter_of_polly_the_retries_come_around_1_2_4_times_the_base_and_what_was_drawn_before_is_forgotten():
    # Retry n comes base/1.4 · f(t(n)) after the first failure, whatever the pauses before it were.
    backoff = Backoff(base="1s", jitter="tanh", max=1000)
    for before in ([0.9, 0.1], [0.0, 1.0]):
        for n, median_s in ((1, 0.897), (2, 1.99), (3, 4.03)):
            u = [*before[: n - 1], 0.5]
            pauses_s = [backoff.pause_s(i + 1, 0, u[i], previous_u=u[i - 1] if i else 0.3) for i in range(n)]
            assert sum(pauses_s) == pytest.approx(median_s, abs=0.01)


@pytest.mark.parametrize(
    ("respect", "said_s", "expected_s", "following"),
    [
        # The own pause before retry 3 is 4 s, u = 0.5.
        ("none", 6.0, 4.0, 4),
        ("exact", 6.0, 6.0, 4),
        ("exact", 1.0, 1.0, 4),
        ("exact", None, 4.0, 4),
        ("grpc", 6.0, 6.0, 1),
        ("grpc", None, 4.0, 4),
        ("at_least", 6.0, 6.0, 4),
        ("at_least", 1.0, 4.0, 4),
        ("envoy", 6.0, 7.5, 3),  # U(6, 9)
        ("envoy", None, 4.0, 4),
        ("aws", 6.0, 6.0, 4),  # within [4, 9]
        ("aws", 1.0, 4.0, 4),
        ("aws", 60.0, 9.0, 4),
    ],
)
def test_what_a_server_says_about_coming_back(respect, said_s, expected_s, following):
    backoff = Backoff(base=1, respect_retry_after=respect)
    assert backoff.pause_s(3, 2.0, 0.5, retry_after_s=said_s) == expected_s
    assert backoff.next_retry(3, said_s) == following


def test_a_retry_after_beyond_the_longest_is_as_good_as_none():
    backoff = Backoff(base=1, respect_retry_after="envoy", max_retry_after="300s")
    assert backoff.pause_s(1, 0, 0.0, retry_after_s=300.0) == 300.0
    assert backoff.pause_s(1, 0, 0.0, retry_after_s=301.0) == 1.0
    assert (backoff.next_retry(2, 300.0), backoff.next_retry(2, 301.0)) == (2, 3)


@given(kind=KINDS, base=PAUSES, u=st.floats(0, 1))
def test_full_jitter_is_at_most_and_equal_jitter_at_least_half_of_no_jitter(kind, base, u):
    plain, full, equal = (pauses(Backoff(kind=kind, base=base, jitter=j), 5, u) for j in ("none", "full", "equal"))
    assert all(f <= v and e >= v / 2 for v, f, e in zip(plain, full, equal, strict=True))


@pytest.mark.parametrize("multiplier", [1, 2, 2.5, 1e6])
def test_very_many_retries_reach_the_cap_and_do_not_overflow(multiplier):
    backoff = Backoff(base=0.001, multiplier=multiplier, max=3)
    assert backoff.pause_s(1_000_000, 0, 0.5) == (0.001 if multiplier == 1 else 3)


@pytest.mark.parametrize("kind", ["exponential", "cumulative"])
@pytest.mark.parametrize("jitter", ["full", "equal", "ratio", "tanh"])
@pytest.mark.parametrize("u", [0.0, 0.5])
def test_a_pause_beyond_all_numbers_is_cut_to_the_cap(kind, jitter, u):
    for retry in (1000, 1001, 1025, 10**6):
        backoff = Backoff(kind=kind, base=1, max=3, jitter=jitter, jitter_ratio=1, cap="after_jitter")
        assert backoff.pause_s(retry, 0, u) in ((0, 3) if u == 0 else (3,))


def test_no_base_is_no_pause_whatever_the_rule():
    for kind in ("constant", "linear", "exponential", "cumulative"):
        for jitter in ("none", "full", "equal", "decorrelated", "ratio", "tanh"):
            assert pauses(Backoff(kind=kind, jitter=jitter, multiplier=9), 3) == [0, 0, 0]
            assert Backoff(kind=kind, jitter=jitter, multiplier=9).pause_s(10**6, 0, 0.5) == 0


def test_max_attempts_includes_the_first():
    retry = Retry(max_attempts=3)
    assert [retry.again(n, "error") for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert not Retry().again(1, "error")


def test_unlimited_goes_on():
    assert Retry(max_attempts="unlimited").again(10**9, "timeout")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_the_listed_outcomes_are_tried_again(outcome):
    assert Retry(max_attempts=2).again(1, outcome) == (outcome in ("error", "timeout", "rejected", "unreachable"))
    assert Retry(max_attempts=2, on=("timeout",)).again(1, outcome) == (outcome == "timeout")


@pytest.mark.parametrize("outcome", ["overflow", "short_circuited"])
def test_what_was_never_sent_is_tried_again_only_if_it_is_said(outcome):
    assert not Retry(max_attempts=2).again(1, outcome)
    assert Retry(max_attempts=2, on=("error", outcome)).again(1, outcome)


def test_after_a_refusal_the_pause_can_be_another():
    # aws-sdk@2026: 50 ms, but a second after throttling.
    quick, slow = Backoff(base="50ms"), Backoff(base="1s")
    retry = Retry(max_attempts=3, backoff=quick, backoff_after_rejected=slow)
    assert [retry.backoff_after(outcome) for outcome in ("error", "rejected", "timeout")] == [quick, slow, quick]
    assert Retry(backoff=quick).backoff_after("rejected") == quick


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": "many"}, "max_attempts"),
        ({"on": ("ok",)}, "on"),
        ({"backoff": {"base": "-1s"}}, "backoff"),
        ({"backoff": {"multiplier": 0.5}}, "multiplier"),
        ({"backoff": {"jitter": "some"}}, "jitter"),
        ({"backoff": {"jitter_ratio": 1.5}}, "jitter_ratio"),
        ({"backoff": {"max_retry_after": 0}}, "max_retry_after"),
        ({"budget": {"budget_percent": 20}}, "budget"),
        ({"budget": {"kind": "windowed_ratio", "ttl": "90s"}}, "ttl"),
        ({"budget": {"kind": "token_ratio", "max_tokens": 1001}}, "max_tokens"),
        ({"attempts": 3}, "attempts"),
    ],
)
def test_bad_settings_are_refused_at_their_place(fields, place):
    with pytest.raises(ValidationError, match=place):
        Retry(**fields)


def test_base_units_and_text_mean_the_same():
    assert Backoff(base="10ms", max="1s") == Backoff(base=0.01, max=1)
