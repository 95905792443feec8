"""Services under a CPU limit: recordings show it by silences on a beat, and calibration finds its quota and what uses it up."""

import numpy as np
import pandas as pd
import pytest
from recorded_shop import LIMITED, LINK_S, shop_trace, simulated_system
from spans_of import Trace, frame, spans_of_run

from sim.interop.calibrate import calibrate, compare_pages
from sim.interop.spans import read_spans
from sim.interop.throttling import Stalls, find_throttled
from sim.interop.throttling import _beat as beat
from sim.interop.throttling import _renewed_s as renewal
from sim.scenario.yaml import loads
from sim.single import run


@pytest.fixture(scope="module")
def limited():
    return calibrate(spans_of_run(run(simulated_system(LIMITED), 1), LINK_S), name="shop")


def test_a_cpu_limit_is_found_with_its_quota_and_its_work(limited):
    (found,) = limited.throttled
    assert found.service == "rates"
    assert found.coherence > 0.9
    assert found.limit.quota == pytest.approx(0.020, rel=0.05)
    # What makes calls wait is the ratio of the two; nothing happened that the spans did not show.
    work_s = found.work_s["rates.convert"]
    assert found.limit.quota / work_s.mean() == pytest.approx(0.020 / 0.004, rel=0.06)
    assert work_s.std() == pytest.approx(0.6 * 0.004, rel=0.15)  # what silences hide of a call is a guess, which widens the law
    assert found.seen_quota_s == pytest.approx(0.020, rel=0.1)
    assert found.limit.background is None
    assert found.beats == 0


def test_background_work_is_found_by_its_beat_and_is_no_work_of_calls():
    background = {"every": "9s", "work": "60ms"}
    truth = simulated_system({**LIMITED, "cpu": {"quota": "20ms", "background": background}})
    (found,) = calibrate(spans_of_run(run(truth, 1), LINK_S)).throttled
    assert found.limit.background.every == pytest.approx(9, rel=0.02)
    assert found.limit.background.work == pytest.approx(0.060, rel=0.15)
    assert 15 <= found.beats <= 240 / 9 + 1  # some while nobody called
    assert found.limit.quota == pytest.approx(0.020, rel=0.07)
    assert found.work_s["rates.convert"].mean() == pytest.approx(0.004, rel=0.06)
    assert found.work_s["rates.convert"].max() < 0.04


def silences(begin_s, length_s):
    begin_s = np.asarray(begin_s, dtype=float)
    return Stalls(begin_s, begin_s + length_s, coherence=1.0, renewed_s=0.0)


def test_long_silences_at_random_are_no_background_work():
    regular_s = 7.0 * np.arange(20) + 0.015
    found = beat(silences(regular_s, 0.290))
    assert (found.number, found.every_s, found.quotas) == (20, pytest.approx(7.0), pytest.approx(3.0))
    assert beat(silences(np.delete(regular_s, [4, 9]), 0.290)).every_s == pytest.approx(7.0)  # two went unseen
    assert beat(silences(regular_s, 0.090)) is None  # no silence lasts a whole period
    assert beat(silences(regular_s[:7], 0.290)) is None
    random_s = np.sort(np.random.default_rng(1).uniform(0, 140, 20)).round(1) + 0.015
    assert beat(silences(random_s, 0.290)) is None


def test_background_work_that_a_call_slips_through_is_counted_once():
    begin_s = np.sort(np.concatenate([7.0 * np.arange(10) + 0.015, [14.0 + 0.31]]))
    length_s = np.where(begin_s == 14.31, 0.195, 0.290)
    found = beat(silences(begin_s, length_s))
    assert found.number == 10
    assert found.quotas == pytest.approx((10 * 3 + 2) / 10)


def test_a_call_without_a_span_of_the_callee_is_no_silence():
    rows = []
    for n in range(60):
        trace = Trace(f"t{n}", 100 * n)
        root = trace.add("root", "shop", "Buy", 0, 95)
        trace.call(root, "shop", "rates", "Convert", 0, 5)
        for k in range(8):  # on the same beat every time, one after the other, and never seen at the callee
            trace.add(root, "shop", "Shop/Lost", 5 + 10 * k, 15 + 10 * k)
        trace.call(root, "shop", "rates", "Convert", 88, 95)
        rows += trace.rows
    found, suspicions = find_throttled(read_spans(frame(rows), unrecorded={"shop.Lost": "rates.Convert"}))
    assert (found, suspicions) == ([], [])


def test_a_system_under_a_cpu_limit_is_told_by_its_calibration(limited):
    pages = compare_pages(limited.recorded, pd.concat([run(limited.scenario, seed).requests for seed in range(4)]))
    assert pages.median_error_percent.abs().max() < 12
    assert pages.p90_error_percent.abs().max() < 15


def test_without_the_cpu_limit_it_would_not_be_told(limited):
    rates = limited.scenario.services["rates"].model_copy(update={"cpu": None})
    without = limited.scenario.model_copy(update={"services": {**limited.scenario.services, "rates": rates}})
    pages = compare_pages(limited.recorded, run(without, 2).requests)
    assert pages.p90_error_percent.max() < -40


def test_the_beat_is_where_the_wake_ups_crowd_not_where_the_first_of_them_is():
    rng = np.random.default_rng(5)
    on_the_beat_s = 0.1 * np.arange(100) + 0.03 + rng.exponential(0.002, 100)
    astray_s = 0.1 * np.arange(15) + rng.uniform(0.005, 0.03, 15)
    assert renewal(np.concatenate([on_the_beat_s, astray_s])) == pytest.approx(0.03, abs=0.001)
    over_the_edge_s = np.concatenate([on_the_beat_s, astray_s]) + 0.069
    assert (renewal(over_the_edge_s) + 0.05) % 0.1 == pytest.approx(0.049, abs=0.001)


def test_a_recording_without_stalls_finds_no_limit():
    found, suspicions = find_throttled(read_spans(frame([row for n in range(50) for row in shop_trace(n)])))
    assert (found, suspicions) == ([], [])


def test_the_yaml_is_the_scenario_with_comments(limited):
    text = limited.to_yaml()
    assert loads(text, "x.yaml") == limited.scenario
    assert max(map(len, text.splitlines())) <= 120
    assert "# measured:" in text
    assert "on the beat of 100 ms" in text
