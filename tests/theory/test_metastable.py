"""Outages that a system does or does not recover from: ME1 and ME3 of the published results."""

from __future__ import annotations

import numpy as np
import pytest
from harness import estimate, poisson, replicate, scenario, service
from rows import records

from sim.records import OUTCOMES
from sim.single import run

pytestmark = pytest.mark.theory

OK = OUTCOMES.index("ok")
BEGIN_S = 5.0


def outage(served_rps, rate_rps, attempts, outage_s, after_s):
    """Constant work in one line, clients who stop waiting after a second and try again, and a time without any work."""
    return scenario(
        {"a": service(1 / served_rps)},
        poisson(rate_rps, "a.do"),
        duration_s=BEGIN_S + outage_s + after_s,
        calls={"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": attempts}}},
        faults=[{"pause": "a", "at": BEGIN_S, "for": outage_s}],
        run={"drain": 2.0},
    )


@pytest.mark.parametrize(("rate", "recovery_s"), [(120, 33), (140, 118)])
def test_me1_recovery_takes_long_and_longer(rate, recovery_s):
    case = outage(300, rate, 2, 10, 2 * recovery_s)
    end_s = BEGIN_S + 10

    def read(result):
        rows = records(result, "requests")
        good_s = rows["ended_s"][(rows["outcome"] == OK) & (rows["arrived_s"] > BEGIN_S)]
        assert len(good_s)
        assert good_s.min() > end_s
        # Luck: how many have come by the time at which it should have recovered.
        came = (rows["arrived_s"] > BEGIN_S) & (rows["arrived_s"] <= end_s + recovery_s)
        early = (rows["arrived_s"] > BEGIN_S) & (rows["arrived_s"] <= end_s)
        # Who is the first to be answered in time has come up to a second before.
        return [good_s.min() - 1 - end_s, came.sum() - rate * (10 + recovery_s), early.sum() - rate * 10]

    found = replicate(case, read, range(1, 21))
    ours, half_width = estimate(found[:, 0], found[:, 1:])
    published = (19 * rate - 300) / (300 - 2 * rate)
    assert published == pytest.approx(recovery_s, abs=0.5)
    print(f"recovery after {ours:.4g} s ± {half_width:.2g}, published {published:.4g}")
    assert abs(ours - published) <= 0.05 * published
    assert half_width <= 0.1 * published


def test_me1_beyond_half_of_the_capacity_it_never_recovers():
    case = outage(300, 151, 2, 10, 120)
    for seed in range(1, 11):
        rows = records(run(case, seed), "requests")
        late = rows["arrived_s"] > BEGIN_S + 10 + 60
        assert (rows["outcome"][rows["arrived_s"] < BEGIN_S - 1] == OK).all()
        assert late.sum() > 8_000
        assert not (rows["outcome"][late] == OK).any()


@pytest.mark.parametrize(
    ("attempts", "rate", "outage_s", "stuck"),
    [
        (2, 60, 1, range(1)),
        (2, 60, 2, range(20, 21)),
        # Published are 0 of 10, but it is a narrow escape: 90 wait at the end of the outage, 100 would be the trap. A plain
        # recursion over tries is caught in 12 of 100 runs, so among 20 in up to 7 (99.9 %).
        (4, 30, 2, range(8)),
        (4, 30, 3, range(20, 21)),
    ],
)
def test_me3_an_outage_that_is_too_long_is_a_trap(attempts, rate, outage_s, stuck):
    # A trap exists only where rate · attempts > 100 / s, and only a long enough outage falls into it.
    case = outage(100, rate, attempts, outage_s, 60)
    found = 0
    for seed in range(1, 21):
        rows = records(run(case, seed), "requests")
        late = rows["outcome"][rows["arrived_s"] > BEGIN_S + outage_s + 40]
        share = (late == OK).mean()
        assert share < 0.05 or share > 0.95
        found += share < 0.05
    assert found in stuck


def test_me3_without_enough_load_there_is_no_trap():
    case = outage(100, 45, 2, 3, 60)
    for seed in range(1, 4):
        rows = records(run(case, seed), "requests")
        assert (rows["outcome"][rows["arrived_s"] > BEGIN_S + 3 + 50] == OK).all()


def test_a_pause_keeps_the_backlog_in_order():
    case = scenario(
        {"a": service(0.25)},
        {"kind": "replay", "times": [0.9, 1.5, 1.75], "mix": "a.do"},
        duration_s=10,
        faults=[{"pause": "a", "at": 1, "for": 2}],
    )
    rows = records(run(case, 1), "requests")
    # What has begun is finished; the others begin when it is over, first come first served.
    assert rows["ended_s"] == pytest.approx([1.15, 3.25, 3.5])
    assert rows["queue_s"] == pytest.approx([0, 1.5, 1.5])
    assert np.isclose(rows["service_s"], 0.25).all()
