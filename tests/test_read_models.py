"""How old what a reader sees is: by hand, and against the closed form of updates that each take a fixed time."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sim.analysis import done_though_failed, read_staleness
from sim.scenario.model import Scenario
from sim.single import run

NAN = math.nan


def tables(*updates):
    """(answered_s, outcome, done_s) of each request; the effect of the last column."""
    requests = pd.DataFrame(
        [(i, outcome, at) for i, (at, outcome, _) in enumerate(updates)], columns=["request", "outcome", "ended_s"]
    )
    effects = pd.DataFrame(
        [("view.write", i, done) for i, (_, _, done) in enumerate(updates)], columns=["effect", "request", "done_s"]
    )
    return requests, effects


def row(*updates, **window):
    return read_staleness(*tables(*updates), "view.write", **window).iloc[0]


def test_the_age_grows_from_the_answer_until_the_effect_is_there():
    # The view lacks the first from 2 to 6 s and the second from 4 to 7 s: the age goes 0 to 4, and then 2 to 3.
    found = row((2.0, "ok", 6.0), (4.0, "ok", 7.0), end_s=10.0)
    assert (found.updates, found.never) == (2, 0)
    assert found.share_stale == 0.5
    assert found.mean_s == pytest.approx((16 / 2 + (9 - 4) / 2) / 10)
    assert found.max_s == 4.0
    # 99 % of ten seconds: the 0.1 s above 3.9 s of age.
    assert found.p99_s == pytest.approx(3.9)


def test_what_was_there_before_the_answer_and_what_failed_is_not_lacking():
    found = row((2.0, "ok", 1.0), (3.0, "error", 9.0), end_s=10.0)
    assert (found.updates, found.share_stale, found.p99_s) == (1, 0.0, 0.0)


def test_what_never_comes_is_counted_and_has_no_age():
    found = row((2.0, "ok", NAN), (4.0, "ok", 5.0), end_s=10.0)
    assert (found.updates, found.never, found.share_stale, found.max_s) == (2, 1, 0.1, 1.0)


def test_only_the_window_counts():
    found = row((2.0, "ok", 6.0), start_s=4.0, end_s=5.0)
    assert (found.updates, found.share_stale, found.mean_s, found.max_s) == (0, 1.0, 2.5, 3.0)
    assert row((2.0, "ok", 6.0)).share_stale == pytest.approx(4 / 6)  # to the last effect


def test_an_effect_that_happens_twice_counts_from_the_first():
    requests, effects = tables((2.0, "ok", 6.0))
    twice = pd.concat([effects, effects.assign(done_s=3.0)])
    assert read_staleness(requests, twice, "view.write", end_s=10.0).iloc[0].share_stale == 0.1


def test_runs_are_told_apart():
    requests, effects = tables((2.0, "ok", 6.0))
    both = [pd.concat([table.assign(candidate="a"), table.assign(candidate="b")]) for table in (requests, effects)]
    both[1].loc[both[1].candidate == "b", "done_s"] = 3.0
    found = read_staleness(*both, "view.write", end_s=10.0).set_index("candidate")
    assert found.share_stale.to_dict() == {"a": 0.4, "b": 0.1}
    assert done_though_failed(*both, "view.write").set_index("candidate").requests.to_dict() == {"a": 1, "b": 1}


def test_paid_although_the_user_was_told_that_it_failed():
    found = done_though_failed(*tables((2.0, "timeout", 6.0), (3.0, "error", NAN), (4.0, "ok", 5.0)), "view.write").iloc[0]
    assert (found.failed, found.done, found.requests) == (2, 1, 3)


@pytest.mark.theory
def test_updates_that_each_take_a_fixed_time_are_missed_as_the_closed_form_says():
    # Poisson updates of rate r, each there after D: the age exceeds x < D if one came in the D - x before that.
    rate, delay_s, end_s = 0.5, 2.0, 100_000.0
    result = run(
        Scenario(
            services={
                "shop": {"workers": "unlimited", "operations": {"order": [{"publish": "events"}]}},
                "view": {"workers": "unlimited", "operations": {"write": {"effect": True, "steps": [{"work": delay_s}]}}},
            },
            queues={"events": {"consumer": "view.write", "consumers": 1000}},
            load={"rate": rate, "mix": "shop.order"},
            run={"duration": end_s, "record_attempts": False},
        ),
        3,
    )
    found = read_staleness(result.requests, result.effects, "view.write", end_s=end_s).iloc[0]
    assert found.share_stale == pytest.approx(1 - math.exp(-rate * delay_s), rel=0.01)
    ages = np.linspace(0, delay_s, 100_001)
    assert found.mean_s == pytest.approx(np.trapezoid(1 - np.exp(-rate * (delay_s - ages)), ages), rel=0.01)
    assert found.p99_s == pytest.approx(delay_s + math.log(1 - 0.01) / rate, rel=0.01)
    assert found.max_s == pytest.approx(delay_s)
