"""Curves for charts, objectives and the verdict, on tables small enough to judge by eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import NAN, changes_of, numbers, replications, requests_of

from sim.analysis import (
    attempts_over_time,
    backlog_over_time,
    latency_cdf,
    over_time,
    recovery_s,
    slo_verdicts,
    staleness,
    staleness_metrics,
    state_spells,
    time_parts,
    verdict,
)
from sim.analysis.curves import latency_cdf_of_run, over_time_of_run, time_parts_of_run
from sim.analysis.objectives import margins, percentiles_of
from sim.records import PARTS
from sim.scenario.slo import parse_slo

# --- curves -----------------------------------------------------------------------------------------------------------


def test_success_by_arrival_and_goodput_by_answer() -> None:
    rows = [(0.5, 0.6, "ok"), (0.7, 2.5, "ok"), (1.5, 1.6, "error"), (1.0, 9.0, "ok"), (5.5, 5.6, "ok")]
    found = over_time_of_run(requests_of(rows), 2.0, end_s=5.0)
    assert found["time_s"].tolist() == [0.0, 2.0, 4.0]
    assert found["success"].tolist()[0] == 0.75
    assert found["success"].isna().tolist() == [False, True, True]  # nobody came: not 0, not 1
    assert found["goodput_rps"].tolist() == [0.5, 0.5, 0.0]  # the answer at 9 s and the arrival at 5.5 s are outside


def test_the_last_bin_is_cut_at_the_end_and_rated_by_its_own_width() -> None:
    found = over_time_of_run(requests_of([(4.5, 4.6, "ok")]), 2.0, end_s=5.0)
    assert found["goodput_rps"].tolist() == [0.0, 0.0, 1.0]
    exact = over_time_of_run(requests_of([]), 0.1, end_s=0.3)
    assert len(exact) == 3  # 0.3 / 0.1 is 2.9999999999999996


@pytest.mark.parametrize(("bin_s", "end_s"), [(0.0, 5.0), (-1.0, 5.0), (1.0, 0.0)])
def test_impossible_bins_are_refused(bin_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        over_time_of_run(requests_of([]), bin_s, end_s=end_s)


def many(runs: dict[tuple[str, str, int], list[tuple[Any, ...]]]) -> pd.DataFrame:
    tables = [
        requests_of(rows, candidate=candidate, condition=condition, replication=r)
        for (candidate, condition, r), rows in runs.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_bands_are_over_replications() -> None:
    runs = {("a", "base", 0): [(0.0, 0.1, "ok")], ("a", "base", 1): [(0.0, 0.1, "error")]}
    found = over_time(many(runs), 1.0, end_s=1.0).iloc[0]
    assert (found["success"], found["success_low"], found["success_high"]) == (0.5, 0.0, 1.0)
    assert (found["goodput_rps"], found["goodput_low"], found["n"]) == (0.5, 0.0, 2)
    assert found["goodput_high"] == pytest.approx(0.5 + 12.706204736432095 * 0.5)  # t(0.975, 1)


def test_attempts_belong_to_the_bin_in_which_they_began() -> None:
    rows = [("a", "base", 0, t) for t in (0.0, 0.5, 1.9, 2.0, 4.5, 9.0)] + [("a", "base", 1, 0.0)]
    table = pd.DataFrame(rows, columns=["candidate", "condition", "replication", "started_s"])
    found = attempts_over_time(table, 2.0, end_s=5.0)
    assert found["time_s"].tolist() == [0.0, 2.0, 4.0]
    assert found["attempts_rps"].tolist() == [1.0, 0.25, 0.5]  # means of (1.5, 0.5), (0.5, 0) and, in the cut bin, (1, 0)
    assert (found["attempts_low"] == 0.0).all()
    assert set(found["n"]) == {2}


def test_the_backlog_is_what_waits_and_what_is_at_consumers_in_all_queues_together() -> None:
    columns = ["candidate", "condition", "replication", "time_s", "name", "busy", "queued"]
    samples = [  # of two queues and a service, in two replications
        *(
            (0, t, name, busy, queued)
            for t in (0.0, 1.0)
            for name, busy, queued in (("mails", 1, 2), ("bills", 0, 4), ("shop", 9, 9))
        ),
        *((1, t, name, 0, 3) for t in (0.0, 1.0) for name in ("mails", "bills")),
    ]
    found = backlog_over_time(pd.DataFrame([("a", "base", *row) for row in samples], columns=columns), ["mails", "bills"])
    assert found["time_s"].tolist() == [0.0, 1.0]
    assert found["backlog"].tolist() == [6.5, 6.5]  # 7 and 6
    assert found["backlog_low"].tolist() == pytest.approx([0.1469, 0.1469], abs=1e-4)  # 6.5 - 12.706 * 0.5


# --- after the fault --------------------------------------------------------------------------------------------------


def served(*shares: tuple[float, float, float]) -> pd.DataFrame:
    """A hundred requests a second; from, to, and every how manyth is answered well (1: all, 0: none)."""
    rows = []
    for start_s, end_s, every in shares:
        for i in range(round(100 * (end_s - start_s))):
            good = every and i % every == 0
            rows.append((at := start_s + i / 100, at + 0.01, "ok" if good else "error"))
    return requests_of(rows)


def healed(*shares: tuple[float, float, float], clear_s: float = 12.0) -> float:
    return recovery_s(served(*shares), start_s=0.0, fault_s=10.0, clear_s=clear_s, end_s=30.0)


def test_recovered_is_when_it_stays_as_before() -> None:
    assert healed((0, 10, 1), (10, 17, 0), (17, 30, 1)) == 5.0
    assert healed((0, 10, 1), (10, 12, 0), (12, 30, 1)) == 0.0
    assert healed((0, 10, 1), (10, 17, 0), (17, 20, 1), (20, 22, 0), (22, 30, 1)) == 10.0  # the first recovery did not last
    assert math.isnan(healed((0, 10, 1), (10, 30, 0)))
    assert math.isnan(healed((0, 10, 1), (10, 29, 0), (29, 29.5, 1), (29.5, 30, 0)))  # ill when the window ends: never


def test_as_before_is_not_perfect() -> None:
    half = (0, 10, 2)
    assert healed(half, (10, 17, 0), (17, 30, 2)) == 5.0  # half of the answers were good before: half are enough
    assert healed(half, (10, 17, 0), (17, 30, 3)) == 5.0  # a third is within chance of a half, with a hundred a second
    assert math.isnan(healed(half, (10, 17, 0), (17, 30, 4)))  # a quarter is not
    assert math.isnan(healed((0, 10, 1), (10, 17, 0), (17, 30, 2)))


def test_without_a_level_before_there_is_no_recovery() -> None:
    assert math.isnan(healed((10, 30, 1)))
    assert math.isnan(healed((0, 10, 0), (10, 30, 1)))
    assert math.isnan(healed((0, 30, 1), clear_s=30.0))


def test_few_arrivals_make_longer_bins() -> None:
    rows = [(float(t), t + 0.1, "error" if 10 <= t < 130 else "ok") for t in range(300)]  # one a second: bins of 50 s
    assert recovery_s(requests_of(rows), start_s=0.0, fault_s=10.0, clear_s=20.0, end_s=300.0) == 150.0


def test_the_rest_of_the_window_belongs_to_the_last_bin() -> None:
    assert healed((0, 10, 1), (10, 30, 1), clear_s=12.5) == 0.0
    assert math.isnan(healed((0, 10, 1), (10, 29.5, 1), (29.5, 30, 0), clear_s=12.5))


def test_recovery_is_a_metric_where_faults_end() -> None:
    rows = served((0, 10, 1), (10, 17, 0), (17, 30, 1))
    found = numbers(rows, end_s=30.0, trouble_s=(10.0, 12.0))
    assert found["recovery_s", "all"] == found["recovery_s", "shop.buy"] == 5.0
    assert ("recovery_s", "all") not in numbers(rows, end_s=30.0)


def lateness(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Process, replica, gone_s, unlisted_s, stale_s, with -1 for never."""
    found = staleness(changes_of(rows))[["process", "replica", "gone_s", "unlisted_s", "stale_s"]].fillna(-1)
    return sorted(found.itertuples(index=False, name=None))


def test_stale_is_who_still_lists_a_dead_replica() -> None:
    found = lateness(
        [
            (2.0, "stock", 7, "stock", 7, "down"),
            (5.0, "shop", 0, "stock", 7, "unlisted"),
            (6.0, "shop", 1, "stock", 3, "unlisted"),  # of another replica: 7 stays listed there
            (9.0, "shop", 0, "stock.get", 7, "ejected"),
        ]
    )
    assert found == [(0, 7, 2.0, 5.0, 3.0), (1, 7, 2.0, -1, -1)]


def test_who_heard_of_a_stop_in_time_is_not_stale_and_who_is_back_is_not_dead() -> None:
    found = lateness(
        [
            (1.0, "shop", 0, "stock", 7, "unlisted"),
            (2.0, "stock", 7, "stock", 7, "down"),
            (4.0, "stock", 7, "stock", 7, "up"),
            (5.0, "shop", 1, "stock", 7, "unlisted"),
            (6.0, "shop", 0, "stock", 7, "listed"),
            (7.0, "shop", 1, "stock", 7, "listed"),
            (8.0, "stock", 7, "stock", 7, "down"),
            (9.0, "shop", 2, "stock", 7, "unlisted"),  # of the second death only
            (9.5, "shop", 0, "stock", 7, "unlisted"),
        ]
    )
    assert found == [
        *((0, 7, 2.0, 1.0, 0.0), (0, 7, 8.0, 9.5, 1.5)),
        *((1, 7, 2.0, 5.0, 2.0), (1, 7, 8.0, -1, -1)),
        *((2, 7, 2.0, -1, 2.0), (2, 7, 8.0, 9.0, 1.0)),
    ]


def test_staleness_keeps_runs_apart() -> None:
    rows = changes_of([(2.0, "stock", 0, "stock", 0, "down"), (5.0, "shop", 0, "stock", 0, "unlisted")])
    later = rows.assign(time_s=rows["time_s"] * 2)
    both = pd.concat([rows.assign(candidate="a", replication=0), later.assign(candidate="a", replication=1)])
    assert staleness(both)[["candidate", "replication", "stale_s"]].to_numpy().tolist() == [["a", 0, 3.0], ["a", 1, 6.0]]
    assert staleness(rows.iloc[:0]).empty


def test_staleness_of_a_service_is_told_in_numbers_without_those_who_never_learned() -> None:
    rows = changes_of(
        [
            (2.0, "stock", 7, "stock", 7, "down"),
            (3.0, "shop", 0, "stock", 7, "unlisted"),
            (5.0, "shop", 1, "stock", 7, "unlisted"),
            (6.0, "shop", 2, "stock", 3, "unlisted"),
        ]
    )
    found = staleness_metrics(rows)
    assert found.to_numpy().tolist() == [["deaths", "stock", 1.0], ["stale_mean_s", "stock", 2.0], ["stale_max_s", "stock", 3.0]]
    assert staleness_metrics(rows.iloc[:0]).empty


def test_spells_last_until_the_next_change_of_the_same_breaker() -> None:
    changes = changes_of(
        [
            (2.0, "shop", 0, "stock.get", -1, "open"),
            (3.0, "shop", 1, "stock.get", -1, "open"),
            (4.0, "shop", 0, "stock.get", 2, "ejected"),
            (7.0, "shop", 0, "stock.get", -1, "half_open"),
            (7.5, "shop", 0, "stock.get", -1, "closed"),
            (8.0, "shop", 0, "stock.get", 2, "open"),  # a breaker of the endpoint is not its ejection
            (9.0, "shop", 0, "stock.get", 2, "returned"),
            (12.0, "shop", 1, "stock.get", -1, "half_open"),  # after the end
        ]
    )
    found = state_spells(changes, end_s=10.0)
    rows = set(found[["process", "endpoint", "state", "start_s", "end_s"]].itertuples(index=False, name=None))
    assert rows == {
        (0, -1, "open", 2.0, 7.0),
        (0, -1, "half_open", 7.0, 7.5),
        (0, -1, "closed", 7.5, 10.0),
        (1, -1, "open", 3.0, 10.0),
        (0, 2, "ejected", 4.0, 9.0),
        (0, 2, "open", 8.0, 10.0),
        (0, 2, "returned", 9.0, 10.0),
    }


def test_the_latency_curve_agrees_with_the_metrics() -> None:
    rng = np.random.default_rng(2)
    rows = [(float(t), float(t + x), "ok") for t, x in zip(np.arange(0, 9, 0.001), rng.exponential(1.0, 9000), strict=True)]
    requests = requests_of(rows)
    curve = latency_cdf_of_run(requests, start_s=0.0, end_s=10.0).set_index("probability")["latency_s"]
    found = numbers(requests)
    for level, name in ((0.5, "p50_s"), (0.9, "p90_s"), (0.99, "p99_s"), (0.999, "p99.9_s")):
        assert curve[level] == found[name, "all"]
    assert curve.dropna().is_monotonic_increasing


def test_a_curve_ends_where_the_sample_does() -> None:
    curve = latency_cdf_of_run(requests_of([(0.0, 0.01 * i, "ok") for i in range(100)]), start_s=0.0, end_s=1.0)
    values = curve.set_index("probability")["latency_s"]
    assert values[0.99] == pytest.approx(0.9801)  # one answer of a hundred is slower
    assert math.isnan(values[0.991])
    assert latency_cdf_of_run(requests_of([]), start_s=0.0, end_s=1.0)["latency_s"].isna().all()


def test_the_band_of_the_latency_curve() -> None:
    runs = {("a", "base", r): [(0.0, float(r + 1), "ok")] * 2 for r in range(3)}
    found = latency_cdf(many(runs), start_s=0.0, end_s=1.0, probabilities=(0.5,)).iloc[0]
    assert (found["latency_s"], found["n"]) == (2.0, 3)
    assert found["high"] == pytest.approx(2 + 4.302652729911275 / math.sqrt(3))
    assert found["low"] == 0.0  # no latency is negative


def test_the_parts_of_the_time_add_up_to_the_latency() -> None:
    rng = np.random.default_rng(4)
    parts = rng.exponential(size=(500, len(PARTS)))
    requests = requests_of([(0.0, float(row.sum()), "ok") for row in parts])
    requests[list(PARTS)] = parts
    found = time_parts_of_run(requests, start_s=0.0, end_s=1.0)
    sums = found.groupby("group")["mean_s"].sum()
    latencies = parts.sum(axis=1)
    assert sums["all"] == pytest.approx(latencies.mean())
    assert sums["slowest 1 %"] == pytest.approx(np.sort(latencies)[-5:].mean())  # 1 % of 500
    assert found[found["group"] == "all"]["part"].tolist() == list(PARTS)


def test_parts_only_of_good_answers_in_the_window() -> None:
    rows = [(0.0, 2.0, "ok"), (0.0, 50.0, "timeout"), (9.0, 99.0, "ok")]
    found = time_parts_of_run(requests_of(rows), start_s=0.0, end_s=5.0).set_index(["group", "part"])["mean_s"]
    assert found["all", "queue_s"] == 2.0
    assert found["slowest 1 %", "queue_s"] == 2.0
    assert time_parts_of_run(requests_of([]), start_s=0.0, end_s=5.0)["mean_s"].isna().all()


def test_parts_over_replications() -> None:
    runs = {("a", "base", r): [(0.0, float(r + 1), "ok")] for r in range(3)}
    found = time_parts(many(runs), start_s=0.0, end_s=1.0).set_index(["group", "part"])
    assert found.loc[("all", "queue_s"), "mean_s"] == 2.0
    assert found.loc[("all", "queue_s"), "n"] == 3


# --- objectives -------------------------------------------------------------------------------------------------------


def summary_of(*rows: tuple[Any, ...], n: int = 5) -> pd.DataFrame:
    """A summary of candidate a from (metric, of, mean, low, high); rates are always there."""
    full = [("a", "base", *row, n) for row in rows] + [("a", "base", "offered_rps", "all", 1.0, 1.0, 1.0, 5)]
    return pd.DataFrame(full, columns=["candidate", "condition", "metric", "of", "mean", "low", "high", "n"])


@pytest.mark.parametrize(
    ("sentence", "low", "high", "expected"),
    [
        ("p99 <= 300ms", 0.1, 0.2, "pass"),
        ("p99 <= 300ms", 0.2, 0.3, "pass"),  # the bound itself is allowed
        ("p99 < 300ms", 0.2, 0.3, "uncertain"),  # here it is not
        ("p99 <= 300ms", 0.2, 0.4, "uncertain"),
        ("p99 <= 300ms", 0.31, 0.4, "fail"),
        ("success >= 99.9 %", 0.999, 1.0, "pass"),
        ("success >= 99.9 %", 0.99, 1.0, "uncertain"),
        ("success > 99.9 %", 0.999, 1.0, "uncertain"),
        ("goodput >= 95/s", 90.0, 94.0, "fail"),
        ("mean of shop.buy <= 1s", 0.1, 0.2, "pass"),
        ("effect p99.50 of email.send <= 30s", 31.0, 32.0, "fail"),
        ("effect completeness >= 99 %", 0.5, 0.6, "fail"),
    ],
)
def test_an_objective_is_judged_by_its_interval(sentence: str, low: float, high: float, expected: str) -> None:
    slo = parse_slo(sentence)
    metric = {"p99": "p99_s", "goodput": "goodput_rps", "mean": "mean_s", "p99.50": "effect_p99.5_s"}.get(slo.metric, slo.metric)
    found = slo_verdicts(summary_of((metric, slo.of or "all", (low + high) / 2, low, high)), [slo])
    assert found.loc[0, "verdict"] == expected
    assert found.loc[0, ["slo", "low", "high"]].tolist() == [sentence, low, high]


def test_rounding_dust_does_not_miss_an_objective() -> None:
    slo = parse_slo("success >= 90 %")
    dusty = 0.3 + 0.6 - 1e-16  # 0.8999999999999999
    assert dusty < slo.bound
    found = slo_verdicts(summary_of(("success", "all", 0.95, dusty, 1.0)), [slo])
    assert found.loc[0, "verdict"] == "pass"


def test_who_answers_nobody_fails() -> None:
    table = summary_of(("p99_s", "all", NAN, NAN, NAN), n=0)
    assert slo_verdicts(table, [parse_slo("p99 <= 300ms")]).loc[0, "verdict"] == "fail"


def test_who_answers_in_some_replications_only_may_not_pass() -> None:
    slos = [parse_slo("p99 <= 300ms"), parse_slo("p90 <= 100ms")]
    table = summary_of(("p99_s", "all", 0.1, 0.1, 0.1), ("p90_s", "all", 0.2, 0.2, 0.2), n=3)
    assert slo_verdicts(table, slos)["verdict"].tolist() == ["uncertain", "fail"]


def test_one_replication_leaves_every_objective_uncertain() -> None:
    table = summary_of(("p99_s", "all", 0.1, NAN, NAN))
    assert slo_verdicts(table, [parse_slo("p99 <= 300ms")]).loc[0, "verdict"] == "uncertain"


def test_margins_are_shares_of_the_bound_and_of_ratios_of_what_may_be_missing() -> None:
    measured = [("p99_s", "all", 0.24, 0.23, 0.25), ("success", "all", 0.985, 0.985, 0.985), ("goodput_rps", "all", 96.0, 92.0, 100.0)]
    table = summary_of(*measured, ("p50_s", "all", NAN, NAN, NAN))
    slos = [parse_slo(text) for text in ("p99 <= 300ms", "success >= 99 %", "goodput >= 95/s", "p50 <= 1s")]
    found = margins(slo_verdicts(table, slos)).set_index("slo")
    assert list(found.index) == ["goodput >= 95/s", "p99 <= 300ms", "success >= 99 %", "p50 <= 1s"]  # the thinnest first
    assert found["margin"].iloc[:3].tolist() == pytest.approx([1 / 95, 0.06 / 0.3, -0.5])
    assert found["in_half_widths"].iloc[:2].tolist() == pytest.approx([0.25, 6.0])  # chance may have decided the first
    assert found["in_half_widths"].iloc[2:].isna().all()  # no interval


def test_objectives_may_differ_between_cases() -> None:
    slo = parse_slo("p99 <= 300ms")
    table = summary_of(("p99_s", "all", 0.1, 0.1, 0.1))
    assert len(slo_verdicts(table, {("a", "base"): [slo]})) == 1
    assert slo_verdicts(table, {("a", "crash"): [slo]}).empty


def test_the_percentiles_that_objectives_need() -> None:
    slos = [parse_slo(text) for text in ("p95 <= 1s", "effect p99.5 of a.b <= 1s", "success >= 99 %", "mean <= 1s")]
    assert percentiles_of(slos) == (95.0, 99.5)


# --- the verdict ------------------------------------------------------------------------------------------------------

QUICK = parse_slo("p99 <= 300ms")
SLIGHT = [0.001, -0.001, 0.0]  # chance that pairing does not remove


def case(**candidates: tuple[float, float]) -> pd.DataFrame:
    """Three replications of candidates with (success, p99 in seconds)."""
    return case_under("base", **candidates)


def case_under(condition: str, **candidates: tuple[float, float]) -> pd.DataFrame:
    tables = []
    for i, metric in enumerate(("success", "p99_s")):
        values = {name: [pair[i] + SLIGHT[(r + k) % 3] for r in range(3)] for k, (name, pair) in enumerate(candidates.items())}
        tables.append(replications(values, metric, condition))
    prices = {name: [3.0, 3.0, 3.0] for name in candidates}
    tables += [replications(prices, metric, condition) for metric in ("attempts_per_request", "busy_s_per_good")]
    return pd.concat(tables, ignore_index=True)


def test_who_meets_the_objectives_beats_who_does_not() -> None:
    found = verdict(case(direct=(0.99, 0.5), queue=(0.9, 0.1)), [QUICK])
    assert found.chosen == "queue"  # although it answers fewer
    assert found.meets_objectives
    text = str(found)
    assert "direct misses p99 <= 300ms (500 ms [498 ms, 502 ms])" in text
    assert "queue is best, the only one that meets every objective" in text
    assert "price of queue: attempts per request 3 [3, 3]" in text


def test_success_decides_before_latency() -> None:
    found = verdict(case(direct=(0.90, 0.1), queue=(0.95, 0.2)), [QUICK])
    assert found.chosen == "queue"
    assert "success +5.00 [" in str(found)
    assert "p99 +100.0 ms [" in str(found), "the price of it is told"


def test_latency_decides_between_equal_success() -> None:
    assert verdict(case(direct=(0.9, 0.1), queue=(0.9, 0.2))).chosen == "direct"


def test_another_percentile_may_decide() -> None:
    medians = replications({"direct": [2.0] * 3, "queue": [1.0] * 3}, "p50_s")
    table = pd.concat([case(direct=(0.9, 0.1), queue=(0.9, 0.1)), medians])
    assert verdict(table).chosen is None
    assert verdict(table, latency="p50_s").chosen == "queue"


def test_no_detectable_difference_is_an_answer() -> None:
    found = verdict(case(direct=(0.9, 0.1), queue=(0.9, 0.1)), [QUICK])
    assert found.chosen is None
    assert found.by_condition == {"base": None}
    assert found.reasons[0] == "There is no detectable difference between direct and queue by which to choose."
    assert found.meets_objectives


def aside(**values: list[float]) -> pd.DataFrame:
    """A tie in success and p99, with one more metric that is told aside."""
    more = [replications(dict(values), "effect_p99_s", of="all")]
    more.append(replications({name: [1.0] * 3 for name in values}, "completeness", of="mail.send"))
    return pd.concat([case(direct=(0.9, 0.1), queue=(0.9, 0.1)), *more])


def test_a_tie_tells_what_differs_all_the_same() -> None:
    table = aside(direct=[0.1, 0.2, 0.3], queue=[5.1, 5.3, 5.3])
    table.loc[(table["metric"] == "attempts_per_request") & (table["candidate"] == "queue"), "value"] = [5.0, 5.1, 5.2]
    found = verdict(table, [QUICK])
    assert found.chosen is None
    tie = found.ties["base"]
    assert tie.startswith(
        "no detectable difference between direct and queue in success and p99; what differs: effect p99 of mail"
    )
    assert tie.endswith("and attempts per request -2.10 [-2.35, -1.85] (direct against queue)")
    assert found.reasons[0] == (
        "There is no detectable difference between direct and queue by which to choose. "
        "What differs is effect p99 of mail.send and attempts per request: yours to weigh."
    )
    same = verdict(aside(direct=[0.1, 0.2, 0.3], queue=[0.2, 0.1, 0.3]), [QUICK])
    assert same.ties == {"base": "no detectable difference between direct and queue in success and p99"}
    assert "What differs" not in same.reasons[0]


def test_one_replication_says_nothing() -> None:
    table = case(direct=(0.9, 0.1), queue=(0.5, 0.9))
    found = verdict(table[table["replication"] == 0])
    assert found.chosen is None
    assert found.reasons[0].startswith("One replication says nothing about direct and queue: no interval, no statement;")
    assert found.ties == {"base": "one replication: no interval, no statement"}
    assert "detectable" not in str(found)


def test_who_beats_each_other_in_a_circle_is_no_tie_without_difference() -> None:
    # a has more success than b; b is quicker than c, and c than a, where success cannot be told apart.
    wide = [0.3, 0.9, 0.6]
    success = {"a": [0.9, 0.91, 0.92], "b": [0.5, 0.51, 0.52], "c": wide}
    latency = {"a": [0.3, 0.31, 0.32], "b": [0.1, 0.11, 0.12], "c": [0.2, 0.21, 0.22]}
    found = verdict(pd.concat([replications(success, "success"), replications(latency)]))
    assert found.chosen is None
    assert found.ties["base"].startswith("none of a, b and c beats all others")


def test_the_worst_condition_counts() -> None:
    table = pd.concat(
        [
            case_under("quiet", direct=(0.99, 0.05), queue=(0.99, 0.1)),
            case_under("crash", direct=(0.5, 0.9), queue=(0.98, 0.1)),
        ]
    )
    found = verdict(table, [QUICK])
    assert found.by_condition == {"quiet": "direct", "crash": "queue"}
    assert found.chosen == "queue"
    assert found.reasons[0] == "queue is chosen: all objectives are met under every condition."


def test_without_objectives_opposite_winners_leave_the_choice_to_you() -> None:
    table = pd.concat(
        [
            case_under("quiet", direct=(0.99, 0.05), queue=(0.99, 0.1)),
            case_under("crash", direct=(0.5, 0.9), queue=(0.98, 0.1)),
        ]
    )
    found = verdict(table)
    assert found.chosen is None
    assert found.reasons[0] == "No candidate is best under every condition: direct under quiet and queue under crash."


def test_opposite_directions_beside_a_third_are_told_by_condition() -> None:
    # None is best under a condition by itself: who wins it cannot be told from "mid".
    table = pd.concat(
        [
            case_under("calm", plain=(0.99, 0.1), still=(0.9, 0.1), mid=(0.99, 0.1)),
            case_under("crash", plain=(0.5, 0.1), still=(0.98, 0.1), mid=(0.5, 0.1)),
        ]
    )
    found = verdict(table)
    assert found.chosen is None
    assert found.by_condition == {"calm": None, "crash": "still"}
    said = "calm favours plain over still; calm favours mid over still; crash favours still over plain and mid: yours to weigh."
    assert found.reasons[0] == f"What is better differs: {said}"


def test_better_once_and_never_worse_is_chosen() -> None:
    table = pd.concat(
        [
            case_under("quiet", direct=(0.99, 0.1), queue=(0.99, 0.1)),
            case_under("crash", direct=(0.5, 0.1), queue=(0.98, 0.1)),
        ]
    )
    found = verdict(table)
    assert found.by_condition == {"quiet": None, "crash": "queue"}
    assert found.chosen == "queue"


def test_the_best_of_a_bad_lot_is_named_as_such() -> None:
    found = verdict(case(direct=(0.9, 0.5), queue=(0.9, 0.4)), [QUICK])
    assert found.chosen == "queue"
    assert not found.meets_objectives
    assert found.reasons[0] == "queue is chosen, though no candidate meets all objectives."


def test_three_candidates() -> None:
    found = verdict(case(a=(0.9, 0.3), b=(0.9, 0.1), c=(0.9, 0.2)))
    assert found.chosen == "b"
    assert "b against a: " in str(found)
    assert "b against c: " in str(found)


def test_objectives_of_each_condition_count_when_nobody_meets_all() -> None:
    table = pd.concat(
        [
            case_under("quiet", direct=(0.99, 0.5), queue=(0.9, 0.1)),  # only the queue is quick enough
            case_under("crash", direct=(0.9, 0.5), queue=(0.9, 0.5)),  # neither is
        ]
    )
    found = verdict(table, [QUICK])
    assert found.by_condition == {"quiet": "queue", "crash": None}
    assert found.chosen == "queue"
    assert not found.meets_objectives


def test_a_rival_nobody_can_tell_apart_does_not_win_by_the_quarrel_of_the_others() -> None:
    noisy = [0.2, 0.9, 0.6]
    tables = [
        replications({"a": [0.6, 0.6, 0.6], "b": [0.5, 0.5, 0.5], "noisy": noisy}, "success", "quiet"),
        replications({"a": [0.5, 0.5, 0.5], "b": [0.6, 0.6, 0.6], "noisy": noisy}, "success", "crash"),
    ]
    found = verdict(pd.concat(tables))
    assert found.chosen is None
    assert found.by_condition == {"quiet": None, "crash": None}


def test_the_focus_decides_and_not_all_requests_together() -> None:
    all_of_them = case(direct=(0.9, 0.1), queue=(0.9, 0.2))
    checkout = case(direct=(0.9, 0.3), queue=(0.9, 0.1)).assign(of="shop.checkout")
    table = pd.concat([all_of_them, checkout])
    assert verdict(table).chosen == "direct"
    found = verdict(table, focus="shop.checkout")
    assert found.chosen == "queue"
    assert "p99 -200 ms" in str(found)


def test_one_candidate_is_judged_alone() -> None:
    assert verdict(case(only=(0.9, 0.1)), [QUICK]).reasons[:2] == [
        "only is the only candidate: all objectives are met.",
        "only meets its objective.",
    ]
    failing = verdict(case(only=(0.9, 0.5)), [QUICK])
    assert failing.chosen == "only"
    assert not failing.meets_objectives


def test_an_uncertain_objective_stands_between() -> None:
    table = case(sure=(0.9, 0.2), unsure=(0.9, 0.3), failing=(0.9, 0.4))
    found = verdict(table, [QUICK])
    assert found.chosen == "sure"
    assert "unsure may or may not meet p99 <= 300ms" in str(found)
    two = table[table["candidate"] != "sure"]
    assert verdict(two, [QUICK]).chosen == "unsure"
    assert not verdict(two, [QUICK]).meets_objectives


def test_a_candidate_that_answers_nobody_is_not_the_fastest() -> None:
    values = {"dead": [0.0] * 3, "alive": [0.9, 0.91, 0.89]}
    table = pd.concat([replications(values, "success"), replications({"dead": [NAN] * 3, "alive": [0.1, 0.1, 0.1]})])
    found = verdict(table)
    assert found.chosen == "alive"
    assert "p99 no value in common" in str(found)


def test_nothing_to_decide_on() -> None:
    found = verdict(replications({}))
    assert found.chosen is None
    assert found.reasons == ["There are no results to decide on."]
