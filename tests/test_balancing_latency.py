"""Peak EWMA, and balancing by what servers report."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing
from sim.policies.reported import LoadMeter, LoadReport
from sim.records import OUTCOMES
from sim.streams import child

OK, ERROR = OUTCOMES.index("ok"), OUTCOMES.index("error")
BOTH = [0, 1]


def rule(kind="peak_ewma", **fields):
    balancer = new_balancer(Balancing(kind=kind, **fields), process_key=7)
    balancer.look(0.0, 0, BOTH)
    return balancer


def picked(balancer, in_flight=(0, 0), now_s=None, count=20, known=BOTH):
    if now_s is not None:
        balancer.look(now_s, 0, known)
    return Counter(balancer.pick(known, list(in_flight), child(3, i)) for i in range(count))


# --- peak EWMA --------------------------------------------------------------------------------------------------------


def test_a_slow_answer_counts_in_full_at_once():
    balancer = rule()
    balancer.settled(0, 1.0, 0.1, OK, None)
    balancer.settled(0, 1.0, 0.9, OK, None)
    assert balancer.cost(0, 0) == 0.9


def test_fast_answers_bring_it_down_with_time():
    balancer = rule(decay=10.0)
    balancer.settled(0, 1.0, 1.0, OK, None)
    balancer.settled(0, 11.0, 0.2, OK, None)
    w = math.exp(-1)
    assert balancer.cost(0, 0) == pytest.approx(1.0 * w + 0.2 * (1 - w))
    assert balancer.cost(0, 3) == pytest.approx(4 * balancer.cost(0, 0))


def test_an_answer_right_after_a_look_hardly_counts():
    # Looking is observing a latency of 0 and moves the clock of the average: so it is in Finagle, tower and Envoy.
    balancer = rule(decay=10.0)
    balancer.settled(0, 0.0, 1.0, OK, None)
    picked(balancer, now_s=5.0)
    balancer.settled(0, 5.0, 0.0001, OK, None)
    assert balancer.cost(0, 0) == pytest.approx(math.exp(-0.5), rel=1e-3)


def test_calls_go_where_latency_times_calls_is_less():
    balancer = rule()
    balancer.settled(0, 1.0, 0.1, OK, None)
    balancer.settled(1, 1.0, 0.3, OK, None)
    assert picked(balancer, (1, 0), now_s=1.0) == {0: 20}  # 0.2 against 0.3
    assert picked(balancer, (3, 0), now_s=1.0) == {1: 20}  # 0.4 against 0.3


def test_who_has_never_answered_gets_one_call_and_then_none_before_it_answers():
    balancer = rule()
    balancer.settled(0, 1.0, 0.1, OK, None)
    assert picked(balancer, (0, 0), now_s=1.0) == {1: 20}
    assert picked(balancer, (50, 1), now_s=1.0) == {0: 20}


def test_a_default_latency_instead():
    balancer = rule(default_rtt=0.03)
    balancer.settled(0, 0.0, 0.1, OK, None)
    assert picked(balancer, (0, 2), now_s=0.0) == {1: 20}  # 0.1 against 0.09
    assert picked(balancer, (0, 3), now_s=0.0) == {0: 20}  # 0.1 against 0.12
    # It decays, too.
    assert picked(balancer, (0, 0), now_s=10.0) == {1: 20}
    assert balancer.cost(1, 0) == pytest.approx(0.03 * math.exp(-1))


def test_who_comes_back_has_not_answered_yet():
    balancer = rule()
    for endpoint in BOTH:
        balancer.settled(endpoint, 1.0, 0.1, OK, None)
    balancer.look(2.0, 0, [0])
    balancer.look(3.0, 0, [0, 1])
    assert balancer.cost(0, 0) > 0
    assert balancer.cost(1, 0) == 0


def test_failures_count_like_answers():
    balancer = rule()
    balancer.settled(0, 1.0, 0.1, OK, None)
    balancer.settled(1, 1.0, 0.001, ERROR, None)
    assert picked(balancer, now_s=1.0) == {1: 20}


# --- what servers report ----------------------------------------------------------------------------------------------


def test_a_meter_forgets_with_its_window():
    meter = LoadMeter(window_s=2.0, workers=4)
    meter.moved(0.0, 2)  # half busy from 0 to 10
    meter.answered(10.0, failed=False)
    meter.answered(10.0, failed=True)
    assert meter.report(10.0) == pytest.approx((0.5 * (1 - math.exp(-5)), 1.0, 0.5))
    meter.moved(10.0, 0)
    assert meter.report(12.0) == pytest.approx((0.5 * (1 - math.exp(-5)) / math.e, 1.0 / math.e, 0.5 / math.e))


def test_a_meter_knows_the_rate_of_steady_answers():
    meter = LoadMeter(window_s=1.0, workers=1)
    for number in range(400):
        meter.answered(number / 20, failed=number % 4 == 0)
    _, calls_rps, errors_rps = meter.report(20.0)
    assert calls_rps == pytest.approx(20, rel=0.05)
    assert errors_rps == pytest.approx(5, rel=0.15)


def reporting(reports, until_s=30.0, known=BOTH, **fields):
    """A balancer that got these reports (by endpoint) every second."""
    balancer = rule("utilisation", **fields)
    now_s = 0.0
    while now_s <= until_s:
        balancer.look(now_s, 0, known)
        balancer.pick(known, [], 0)
        for endpoint, report in reports.items():
            balancer.settled(endpoint, now_s, 0.1, OK, LoadReport(*report))
        now_s += 1.0
    return balancer


def shares(balancer, now_s, known=BOTH, count=3000):
    found = picked(balancer, now_s=now_s, count=count, known=known)
    return [round(found[i] / count, 2) for i in known]


def test_shares_are_calls_by_utilisation():
    # 100/s at 50 % against 100/s at 25 %: the second could do twice as much.
    assert shares(reporting({0: (0.5, 100, 0), 1: (0.25, 100, 0)}), 31.0) == [0.33, 0.67]


def test_errors_count_as_utilisation():
    # 100 / (0.5 + 0.1 · 1) against 100 / 0.5; without the penalty they are equal.
    reports = {0: (0.5, 100, 10), 1: (0.5, 100, 0)}
    assert shares(reporting(reports), 31.0) == [0.45, 0.55]
    assert shares(reporting(reports, error_penalty=0), 31.0) == [0.5, 0.5]


def test_nothing_is_believed_before_the_blackout_is_over():
    reports = {0: (0.9, 100, 0), 1: (0.3, 100, 0)}
    assert shares(reporting(reports, until_s=8.0), 9.0) == [0.5, 0.5]
    assert shares(reporting(reports, until_s=10.0), 11.0) == [0.25, 0.75]
    assert shares(reporting(reports, until_s=0.0, blackout=0.0), 1.0) == [0.25, 0.75]


def test_a_report_expires_and_then_the_blackout_applies_again():
    balancer = reporting({0: (0.9, 100, 0), 1: (0.3, 100, 0)}, until_s=20.0)
    assert shares(balancer, 199.0) == [0.25, 0.75]
    assert shares(balancer, 201.0) == [0.5, 0.5]
    for endpoint, used in ((0, 0.9), (1, 0.3)):
        balancer.settled(endpoint, 202.0, 0.1, OK, LoadReport(used, 100, 0))
    assert shares(balancer, 211.0) == [0.5, 0.5]
    assert shares(balancer, 213.0) == [0.25, 0.75]


def test_who_does_not_report_has_the_average_of_the_others():
    known = [0, 1, 2]
    assert shares(reporting({0: (0.5, 100, 0), 1: (0.5, 300, 0)}, known=known), 31.0, known) == [0.17, 0.5, 0.33]


def test_one_report_alone_says_nothing():
    assert shares(reporting({0: (0.9, 100, 0)}), 31.0) == [0.5, 0.5]


def test_weights_are_looked_at_once_per_update():
    balancer = reporting({0: (0.5, 100, 0), 1: (0.5, 100, 0)}, update=5.0)  # looks at 0, 5, .., 30 s
    balancer.settled(0, 30.5, 0.1, OK, LoadReport(0.9, 100, 0))
    balancer.settled(1, 30.5, 0.1, OK, LoadReport(0.3, 100, 0))
    assert shares(balancer, 34.9) == [0.5, 0.5]
    assert shares(balancer, 35.0) == [0.25, 0.75]
