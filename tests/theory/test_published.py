"""Every case of `sim validate`, each as a test; and its numbers against second opinions."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from harness import assert_reproduced
from scipy import stats

from sim.validation import all_cases, judge

CASES = {case.name: case for case in all_cases()}


@pytest.mark.theory
@pytest.mark.parametrize("name", CASES)
def test_it_comes_to_the_same(name: str) -> None:
    assert_reproduced(judge(CASES[name]))


def said(name: str, what: str) -> float:
    return CASES[name].expected[what].value


def test_waits_in_front_of_any_law_by_transform() -> None:
    laws = {
        "Q5 M/E2/1": (stats.gamma(2, scale=0.5).sf, 99),
        "Q5 M/M/1, its wait": (lambda t: np.exp(-t), 99),
        "Q5 M/G/1, lognormal work": (stats.lognorm(np.sqrt(np.log(5)), scale=1 / np.sqrt(5)).sf, 95),
    }
    for name, (survival, percent) in laws.items():
        value_s = oracles.mg1_wait_quantile(0.8, 1, survival, percent / 100, horizon_s=2000, points=2**20)
        assert said(name, f"p{percent} of wait") == pytest.approx(value_s, rel=1e-5), name


def test_percentiles_by_markov_chains() -> None:
    again_s = oracles.feedback_time_quantile(0.7, 1, 0.2, 0.99)
    assert said("Q9 failures go through the line again", "p99 of time") == pytest.approx(again_s, rel=1e-5)
    for load, size in ((0.8, 60), (0.9, 110)):
        mean_s, p99_s = oracles.fork_join_time_mean_and_quantile(load, 1, 0.99, size=size)
        assert said(f"Q14 fork-join, load {load}", "mean of time") == pytest.approx(mean_s, rel=1e-3)
        assert said(f"Q14 fork-join, load {load}", "p99 of time") == pytest.approx(p99_s, rel=1e-5)
    for load, size in ((0.8, 80), (0.9, 120)):
        mean_s = oracles.idle_first_time_mean(load, size)
        assert said(f"JIQ join an idle queue of 2, load {load}", "mean of time") == pytest.approx(mean_s, rel=1e-5)


def test_the_newest_first_by_the_busy_period() -> None:
    name = "LIFO last come first served: the same mean, another tail"
    for percent in (95, 99):
        value_s = oracles.newest_first_wait_quantile(0.8, percent / 100)
        assert said(name, f"p{percent} of wait") == pytest.approx(value_s, rel=1e-5)
    assert said(name, "p99 of wait") > 2 * -np.log(0.01 / 0.8) / (1 - 0.8)  # first come, first served


def test_throttled_retries_by_the_chain_of_tokens() -> None:
    for failure in (0.05, 0.1, 0.2):
        load, success = oracles.token_ratio_attempts(failure)
        name = f"R5 gRPC's retry throttling, {failure:.0%} fail"
        assert said(name, "mean of load") == pytest.approx(load, rel=1e-5)
        assert said(name, "mean of success") == pytest.approx(success, rel=1e-5)
    # Retries survive only while f < tokenRatio / (1 + tokenRatio) = 9.1 %.
    assert oracles.token_ratio_attempts(0.05)[0] == pytest.approx((1 - 0.05**4) / (1 - 0.05), abs=0.01)
    assert oracles.token_ratio_attempts(0.2)[0] == pytest.approx(1.0, abs=0.01)


def test_windows_deliveries_and_bulks() -> None:
    for size in (10, 20, 100):
        opens = stats.binom.sf(np.ceil(size / 2) - 1, size, 0.4)
        assert said(f"CB2 a window of {size} over 50 %, 40 % fail", "mean of opened") == pytest.approx(opens, abs=1e-4)
    for timeout_s in (1.0, 2.0):
        deliveries = oracles.deliveries_mean(timeout_s, 1.0)
        said_of = said(f"A2 invisible for {timeout_s:g} s, work of 1 s", "mean of deliveries")
        assert said_of == pytest.approx(deliveries, abs=5e-6)
    bulks_s = oracles.bulk_mm1_time_mean(0.3, {1: 0.5, 3: 0.5}, 1.0)
    assert said("BULK messages in bulks, M(X)/M/1", "mean of time") == pytest.approx(bulks_s)
    assert oracles.bulk_mm1_time_mean(0.8, {1: 1.0}, 1.0) == pytest.approx(1 / (1 - 0.8))


def test_every_case_has_a_source_numbers_and_a_name_of_its_own() -> None:
    assert len(CASES) == len(all_cases())
    assert all(case.source and case.expected for case in all_cases())
