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

KINDS = st.sampled_from(["constant", "linear", "exponential"])
JITTERS = st.sampled_from(["none", "full", "equal", "decorrelated"])
OUTCOMES = ["ok", "degraded", "error", "timeout", "rejected", "short_circuited", "unreachable"]


def pauses(backoff, count, u=0.5):
    """The pauses before the first `count` retries, each fed with the one before it."""
    found, previous_s = [], 0.0
    for retry in range(1, count + 1):
        previous_s = backoff.pause_s(retry, previous_s, u)
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
    ],
)
def test_the_rule_by_hand(backoff, expected):
    assert pauses(backoff, 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [("none", 0.04, 0.04), ("full", 0.0, 0.04), ("equal", 0.02, 0.04), ("decorrelated", 0.01, 0.06)],
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


@given(kind=KINDS, jitter=JITTERS, base=st.floats(0, 10), cap=st.floats(0, 100), u=st.floats(0, 1))
def test_a_pause_lies_between_zero_and_the_cap(kind, jitter, base, cap, u):
    for pause_s in pauses(Backoff(kind=kind, base=base, max=cap, jitter=jitter), 6, u):
        assert 0 <= pause_s <= cap


@given(kind=KINDS, base=st.floats(0, 10), u=st.floats(0, 1))
def test_full_jitter_is_at_most_and_equal_jitter_at_least_half_of_no_jitter(kind, base, u):
    plain, full, equal = (pauses(Backoff(kind=kind, base=base, jitter=j), 5, u) for j in ("none", "full", "equal"))
    assert all(f <= v and e >= v / 2 for v, f, e in zip(plain, full, equal, strict=True))


@pytest.mark.parametrize("multiplier", [1, 2, 2.5, 1e6])
def test_very_many_retries_reach_the_cap_and_do_not_overflow(multiplier):
    backoff = Backoff(base=0.001, multiplier=multiplier, max=3)
    assert backoff.pause_s(1_000_000, 0, 0.5) == (0.001 if multiplier == 1 else 3)


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


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": "many"}, "max_attempts"),
        ({"on": ("ok",)}, "on"),
        ({"backoff": {"base": "-1s"}}, "backoff"),
        ({"backoff": {"multiplier": 0.5}}, "multiplier"),
        ({"backoff": {"jitter": "some"}}, "jitter"),
        ({"attempts": 3}, "attempts"),
    ],
)
def test_bad_settings_are_refused_at_their_place(fields, place):
    with pytest.raises(ValidationError, match=place):
        Retry(**fields)


def test_base_units_and_text_mean_the_same():
    assert Backoff(base="10ms", max="1s") == Backoff(base=0.01, max=1)
