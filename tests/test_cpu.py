"""CPU limits: when work ends under a quota, with unused quota carried over and work in the background."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.cpu import Background, CpuGate, CpuLimit


def gate(quota_ms=20, burst_ms=0, background=None, renewed_s=0.0, background_s=0.0):
    """A gate whose `ends` speaks milliseconds."""
    limit = CpuLimit(quota=quota_ms / 1e3, burst=burst_ms / 1e3, background=background)
    cpu = CpuGate(limit, renewed_s, background_s)
    return lambda now_ms, work_ms: round(1e3 * cpu.ends_s(now_ms / 1e3, work_ms / 1e3), 6)


def test_a_quota_that_is_used_up_is_renewed_with_the_period():
    ends = gate()
    assert [ends(0, 15), ends(15, 15), ends(110, 10)] == [15, 110, 120]


def test_unused_quota_is_lost_without_a_burst():
    ends = gate()
    assert ends(550, 22) == 602


def test_unused_quota_is_carried_over_as_far_as_the_burst():
    ends = gate(burst_ms=2)
    assert ends(550, 22) == 572  # a quiet period left 20 ms, of which 2 are kept
    assert ends(600, 21) == 701  # nothing was left of that one
    assert ends(750, 19) == 769
    # Of the quota of 20, 1 was used until 701 and 19 since; the next period has just its own.
    assert ends(800, 21) == 901
    assert ends(950, 18) == 968
    assert ends(1000, 22) == 1101  # 1 ms was left: 21 now, the rest a period later


def test_work_that_lasts_for_periods_carries_nothing_over():
    ends = gate(burst_ms=10)
    assert ends(1000, 30 + 20 + 20 + 5) == 1305


BACKGROUND = Background(every=7.0, work=0.045)


def test_background_work_takes_the_quota_first():
    ends = gate(background=BACKGROUND, background_s=0.25)
    assert ends(240, 5) == 245
    # From 250 on it takes 15 ms that are left of this period, 20 of the next, and 10 of the one that begins at 400. From 400
    # on there is quota for both, each on a core of its own.
    assert ends(250, 5) == 405
    assert ends(405, 6) == 501
    assert ends(1000, 5) == 1005
    assert ends(7240, 1) == 7241
    assert ends(7251, 5) == 7405


def test_background_work_that_nobody_met_is_over():
    ends = gate(background=BACKGROUND, background_s=0.25)
    assert ends(60_000, 20) == 60_020
    assert ends(63_240, 20) == 63_260  # the next begins at 63 250, while this works: it comes after


@given(
    quota_ms=st.integers(1, 100),
    burst_ms=st.integers(0, 100),
    renewed_ms=st.integers(0, 99),
    pieces=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 60)), min_size=1, max_size=12),
)
def test_one_worker_works_in_those_milliseconds_that_a_bucket_of_tokens_gives(quota_ms, burst_ms, renewed_ms, pieces):
    burst_ms = min(burst_ms, quota_ms)
    ends = gate(quota_ms, burst_ms, renewed_s=renewed_ms / 1e3)
    tick, left, free_ms = 0, quota_ms + burst_ms, 0
    for pause_ms, work_ms in pieces:
        begin_ms = end_ms = free_ms + pause_ms
        to_do = work_ms
        while to_do or tick < begin_ms:  # the model: one millisecond after the other
            if (tick - renewed_ms) % 100 == 0:
                left = quota_ms + min(left, burst_ms)
            if to_do and left and tick >= begin_ms:
                to_do, left, end_ms = to_do - 1, left - 1, tick + 1
            tick += 1
        assert ends(begin_ms, work_ms) == pytest.approx(end_ms)
        free_ms = end_ms


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"quota": "20ms", "burst": "21ms"}, r"a burst of 0\.021 s is more than the quota of 0\.02 s"),
        ({"quota": "20ms", "background": {"every": "1s", "work": "200ms"}}, r"background work of 0\.2 s every 1 s takes all"),
        ({"quota": "20ms", "background": {"every": "1s"}}, "work"),
    ],
)
def test_limits_that_cannot_be_are_refused(limit, message):
    with pytest.raises(ValidationError, match=message):
        CpuLimit.model_validate(limit)
