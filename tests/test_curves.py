"""Curves for charts, recovery and staleness, on tables small enough to judge by eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import changes_of, effects_of, numbers, requests_of

from sim.analysis import (
    attempts_over_time,
    backlog_over_time,
    effect_recovery_s,
    latency_cdf,
    over_time,
    recovery_s,
    staleness,
    staleness_metrics,
    state_spells,
    time_parts,
)
from sim.analysis.curves import latency_cdf_of_run, over_time_of_run, time_parts_of_run
from sim.records import PARTS

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


def test_effects_recover_when_their_backlog_is_drained() -> None:
    """A message each 100 ms; from 10 s on nothing moves until 14 s, then one each 50 ms: the backlog is gone at 17.9 s."""
    arrived_s = np.arange(300) / 10
    done_s = np.maximum(arrived_s + 0.1, np.where(arrived_s < 10, 0.0, 14 + 0.05 * (np.arange(300) - 100)))
    window = {"start_s": 0.0, "fault_s": 10.0, "clear_s": 14.0, "end_s": 30.0}
    assert effect_recovery_s(arrived_s, done_s, **window) == pytest.approx(5.0)  # in bins of 5 s
    assert math.isnan(effect_recovery_s(arrived_s, np.where(arrived_s < 10, done_s, math.inf), **window)), "they never come"
    assert math.isnan(effect_recovery_s(arrived_s[100:], done_s[100:], **window)), "none came before"


def test_requests_whose_effect_left_no_row_wait_for_it_still() -> None:
    requests = requests_of([(i / 10, i / 10 + 0.01, "ok") for i in range(300)])
    sent = [("mail.send", i, "mails", i / 10, i / 10, i / 10, i / 10 + 0.1, 1, "done") for i in range(300) if not 100 <= i < 170]
    trouble = {"end_s": 30.0, "trouble_s": (10.0, 12.0)}
    found = numbers(requests, effects=effects_of(sent), effects_per_request={"shop.buy": {"mail.send": 1}}, **trouble)
    assert found["effect_recovery_s", "mail.send"] == found["effect_recovery_s", "all"] == 5.0
    assert found["recovery_s", "all"] == 0.0
    assert ("effect_recovery_s", "all") not in numbers(requests, effects=effects_of(sent), end_s=30.0)


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
