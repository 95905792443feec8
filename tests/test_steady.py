"""Statistics that keep their promise: intervals cover a known truth as often as they say, and warm-ups end where they end."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sim.analysis.intervals import paired_differences, summarise
from sim.analysis.precision import precision_of, replications_needed
from sim.analysis.quantiles import pooled_quantile, quantile_interval, requests_for
from sim.analysis.selection import kim_nelson, probability_of_best, replications_at_most
from sim.analysis.steady import batch_means, mser5, warmup_of
from sim.errors import ScenarioError


def mm1(count: int, repetitions: int, rho: float, seed: int, *, warm: bool = True) -> np.ndarray:
    """Times in system of an M/M/1 queue with unit work, one row per repetition, by Lindley's recursion.

    wait' = max(0, wait + work - gap), which is the walk of work - gap over its running minimum.
    """
    chance = np.random.default_rng(seed)
    work = chance.exponential(1.0, (repetitions, count))
    steps = np.zeros((repetitions, count))
    steps[:, 1:] = work[:, :-1] - chance.exponential(1 / rho, (repetitions, count - 1))
    walk = np.cumsum(steps, axis=1)
    start = np.zeros((repetitions, 1))
    if warm:  # the wait in equilibrium: 0, or with probability rho exponential with rate 1 - rho
        start[:, 0] = chance.exponential(1 / (1 - rho), repetitions) * (chance.random(repetitions) < rho)
    floor = np.minimum(np.minimum.accumulate(walk, axis=1), -start)
    return walk - floor + work


def covered(lows: np.ndarray, highs: np.ndarray, truth: float) -> float:
    return float(((lows <= truth) & (truth <= highs)).mean())


# --- coverage ---------------------------------------------------------------------------------------------------------


def test_the_recursion_is_an_mm1_queue() -> None:
    times = mm1(4000, 400, 0.8, 1)
    assert times.mean() == pytest.approx(5.0, rel=0.02)
    assert np.quantile(times, 0.99) == pytest.approx(5 * math.log(100), rel=0.03)


def test_replication_intervals_cover_the_mean_and_the_success_ratio_of_a_queue() -> None:
    repetitions, replications = 1500, 10
    times = mm1(1000, repetitions * replications, 0.5, 2)
    means, on_time = times.mean(axis=1), (times <= 2.0).mean(axis=1)
    labels = np.repeat(np.arange(repetitions), replications).astype(str)
    for values, truth in ((means, 2.0), (on_time, 1 - math.exp(-1.0))):
        table = pd.DataFrame({"candidate": labels, "condition": "all", "replication": 0, "metric": "mean_s", "of": "all"})
        found = summarise(table.assign(replication=np.arange(len(labels)) % replications, value=values))
        assert 0.93 <= covered(found["low"].to_numpy(), found["high"].to_numpy(), truth) <= 0.97


def test_thirty_batches_cover_the_mean_of_one_long_run() -> None:
    times = mm1(30_000, 600, 0.5, 3)
    found = [batch_means(row) for row in times]
    assert 0.93 <= covered(np.array([f.low for f in found]), np.array([f.high for f in found]), 2.0) <= 0.97
    # An interval over single requests does not: what batches are for.
    errors = times.std(axis=1) / math.sqrt(times.shape[1])
    assert covered(times.mean(axis=1) - 1.96 * errors, times.mean(axis=1) + 1.96 * errors, 2.0) < 0.7


def test_batches_that_hang_together_are_told() -> None:
    assert np.mean([batch_means(row).independent for row in mm1(60_000, 100, 0.5, 4)]) > 0.9
    assert np.mean([batch_means(row).independent for row in mm1(600, 100, 0.9, 5)]) < 0.5
    with pytest.raises(ScenarioError, match="too few for 30 batches"):
        batch_means([1.0] * 59)


def test_the_interval_of_a_quantile_covers_it_whatever_the_law() -> None:
    chance = np.random.default_rng(6)
    for share, count in ((0.5, 40), (0.9, 200), (0.99, 2000)):
        truth = -math.log(1 - share)
        found = np.array([quantile_interval(chance.exponential(1.0, count), share) for _ in range(1500)])
        assert 0.94 <= covered(found[:, 1], found[:, 2], truth) <= 0.99  # whole ranks: a little wider than asked for
    assert quantile_interval(np.arange(20.0), 0.99)[2] == math.inf, "of twenty values none can be above a p99"


def test_pooled_quantiles_of_replications_cover_the_p99_of_a_queue() -> None:
    found = np.array(
        [
            pooled_quantile(list(runs), 0.99)
            for seed in range(6)
            for runs in mm1(4000, 10 * 100, 0.3, 70 + seed).reshape(100, 10, 4000)
        ]
    )
    truth = math.log(100) / 0.7
    assert 0.93 <= covered(found[:, 1], found[:, 2], truth) <= 0.97
    with pytest.raises(ScenarioError, match="1 replications with values"):
        pooled_quantile([np.ones(5), np.ones(0)], 0.9)


def test_so_many_requests_make_a_rare_percentile_as_precise_as_promised() -> None:
    chance = np.random.default_rng(8)
    count = requests_for(0.99)
    truth = -math.log(0.01)
    slower = np.array([(chance.exponential(1.0, count) > truth).mean() for _ in range(1000)])
    assert 0.93 <= float((np.abs(slower / 0.01 - 1) <= 0.2).mean()) <= 0.97


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_replications_that_are_added_until_it_is_precise_still_cover() -> None:
    chance = np.random.default_rng(9)
    wanted = precision_of("mean ± 5 %")
    hits, counts = [], []
    for _ in range(250):
        values = chance.normal(1.0, 0.15, 400)
        count, reached = 10, False
        while not reached:
            table = pd.DataFrame({"candidate": "a", "condition": "b", "replication": range(count), "metric": "mean_s"})
            needed, reached = replications_needed(table.assign(of="all", value=values[:count]), wanted)
            assert reached or count < needed <= 2 * count
            count = count if reached else needed
        row = summarise(table.assign(of="all", value=values[:count])).iloc[0]
        assert row["high"] - row["mean"] <= 0.05 * row["mean"]
        hits.append(row["low"] <= 1.0 <= row["high"])
        counts.append(count)
    assert 0.92 <= np.mean(hits) <= 0.97
    assert 30 < np.mean(counts) < 50  # (1.96 · 0.15 / 0.05)² = 35


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99", "write for example 'p99 ± 2 %'"),
        ("p99 ± 2", "2 has no unit"),
        ("p99 ± 0 %", "must be above zero"),
        ("latency ± 2 %", "write for example"),
    ],
)
def test_a_precision_that_is_none(text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        precision_of(text)


# --- several candidates -----------------------------------------------------------------------------------------------


def test_among_many_true_ties_joint_intervals_find_a_difference_in_one_of_twenty_studies() -> None:
    chance = np.random.default_rng(10)
    names = [f"c{i}" for i in range(8)]
    alone = jointly = by_holm = 0
    for _ in range(300):
        values = chance.normal(0, 1, (8, 12)) + chance.normal(0, 3, 12)
        table = pd.DataFrame({"candidate": np.repeat(names, 12), "replication": np.tile(range(12), 8), "value": values.ravel()})
        found = paired_differences(table.assign(condition="all", metric="mean_s", of="all"), "c0")
        alone += bool((found["verdict"] != "no detectable difference").any())
        jointly += bool(((found["joint_low"] > 0) | (found["joint_high"] < 0)).any())
        by_holm += bool((found["p_holm"] < 0.05).any())
    assert alone / 300 > 0.12, "seven intervals of 95 % each"
    assert jointly / 300 < 0.08
    assert by_holm / 300 == jointly / 300, "the smallest p value decides for both"


def test_holm_finds_what_bonferroni_must_leave() -> None:
    rows = []
    for name, shift in (("base", 0.0), ("a", 1.0), ("b", 0.9), ("c", 0.0)):
        rows += [(name, r, shift + 0.01 * ((r * (3 + len(name) + ord(name[0]))) % 7)) for r in range(8)]
    table = pd.DataFrame(rows, columns=["candidate", "replication", "value"]).assign(condition="x", metric="mean_s", of="all")
    found = paired_differences(table, "base").set_index("candidate")
    assert (found.loc[["a", "b"], "p_holm"] < 0.001).all()
    assert (found["p_holm"] >= found["p_value"]).all()
    assert (found["joint_high"] - found["joint_low"] > found["high"] - found["low"]).all()


def test_selection_is_right_as_often_as_promised_where_it_is_hardest() -> None:
    """The slippage configuration: the best is better than all others by exactly the indifference zone."""
    chance = np.random.default_rng(11)
    right, counts = 0, []
    for _ in range(250):
        shared = chance.normal(0, 2, 400)
        values = {f"c{i}": shared + chance.normal(0.0 if i == 3 else 0.5, 1.0, 400) for i in range(5)}
        found = kim_nelson(values, 0.5, first=10)
        assert found.decided
        right += found.best == "c3"
        counts.append(found.replications)
    assert right / len(counts) >= 0.93
    assert np.mean(counts) < 200


def test_clear_losers_are_dropped_early() -> None:
    chance = np.random.default_rng(12)
    values = {name: chance.normal(mean, 1.0, 300) for name, mean in (("good", 0.0), ("near", 0.3), ("bad", 9.0))}
    found = kim_nelson(values, 0.3, first=10)
    assert found.dropped["bad"] == 10
    assert found.dropped.get("near", 300) > 10
    better = kim_nelson({name: -mine for name, mine in values.items()}, 0.3, first=10, lower_is_better=False)
    assert (better.best, better.dropped) == (found.best, found.dropped)
    few = kim_nelson({name: mine[:10] for name, mine in values.items()}, 0.01, first=10)
    assert not few.decided
    assert replications_at_most(1.0, 3, 0.01, first=10) > 10_000
    with pytest.raises(ScenarioError, match="replication 2 has no value"):
        kim_nelson({"a": [1, 2, math.nan, 4, 5], "b": [1] * 5}, 1.0, first=5)


def test_the_probability_of_being_best_is_what_it_says() -> None:
    chance = np.random.default_rng(13)
    sure, hits = [], []
    for _ in range(600):
        means = chance.normal(0, 1, 3)
        values = {f"c{i}": chance.normal(means[i], 2.0, 12) for i in range(3)}
        told = probability_of_best(values, draws=500)
        best = min(told, key=lambda name: -told[name])
        sure.append(told[best])
        hits.append(best == f"c{int(np.argmin(means))}")
    assert np.mean(hits) == pytest.approx(np.mean(sure), abs=0.05)


# --- warm-up ----------------------------------------------------------------------------------------------------------


def test_mser_finds_the_end_of_a_ramp_and_leaves_a_steady_series_alone() -> None:
    chance = np.random.default_rng(14)
    noise = chance.normal(0, 0.1, 2000)
    ramp = np.minimum(np.arange(2000) / 400, 1.0) + noise
    assert 300 <= mser5(ramp).dropped <= 500
    assert mser5(ramp).settled
    assert mser5(1 + noise).dropped < 200
    assert not mser5(np.arange(2000) / 400 + noise).settled, "still rising at the end"
    with pytest.raises(ScenarioError, match="49 values are too few"):
        mser5(np.ones(49))


def test_the_warm_up_of_a_queue_that_begins_empty_takes_its_bias_away() -> None:
    """M/M/1 at 90 %: begun empty, the mean of the first 2,000 requests is too low by a twentieth."""
    times = mm1(2000, 800, 0.9, 15, warm=False)
    arrived_s = np.cumsum(np.full(times.shape, 1 / 0.9), axis=1)
    rows = pd.DataFrame(
        {
            "replication": np.repeat(np.arange(800), 2000),
            "arrived_s": arrived_s.ravel(),
            "ended_s": (arrived_s + times).ravel(),
            "outcome": "ok",
        }
    )
    found = warmup_of(rows, end_s=float(arrived_s.max()) + 1)
    assert found.settled
    assert 50 < found.end_s < 1200
    late = rows[rows["arrived_s"] >= found.end_s]
    truth, before = 10.0, times.mean()
    after = float((late["ended_s"] - late["arrived_s"]).mean())
    assert abs(after - truth) < 0.5 * abs(before - truth)
    assert found.replications == 800
    assert len(found.series) == 1000
