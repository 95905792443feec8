"""Reading: every number here can be counted on the fingers, or is a theorem."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import NAN, attempts_of, effects_of, numbers, replications, requests_of, totals_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import paired_differences, summarise
from sim.errors import ScenarioError
from sim.records import OUTCOMES

# --- one replication --------------------------------------------------------------------------------------------------


def test_ten_requests_counted_by_hand() -> None:
    rows = [
        (0.0, 1.0, "ok"),
        (1.0, 4.0, "ok"),
        (2.0, 4.0, "degraded"),
        (3.0, 3.5, "error"),
        (4.0, 9.0, "timeout"),
        (5.0, 5.0, "rejected"),
        (6.0, 6.0, "short_circuited"),
        (7.0, 7.0, "unreachable"),
        (8.0, NAN, "in_flight"),
        (9.0, 12.0, "ok"),  # good, but its answer comes after the window
    ]
    found = numbers(requests_of(rows), attempts_of([(0, 1), (0, 2), (1, 1), (9, 1)]), totals=totals_of(3.0, 5.0))
    assert found["success", "all"] == 0.4
    assert found["offered_rps", "all"] == 1.0
    assert found["throughput_rps", "all"] == 0.8
    assert found["goodput_rps", "all"] == pytest.approx(0.3)
    assert found["mean_s", "all"] == (1 + 3 + 2 + 3) / 4
    assert found["p50_s", "all"] == 2.5
    assert {name: found[f"share_{name}", "all"] for name in OUTCOMES} == {name: 0.3 if name == "ok" else 0.1 for name in OUTCOMES}
    assert found["attempts_per_request", "all"] == 2.0
    assert found["tries_per_call", "all"] == 4 / 3
    assert found["tries_per_call_to", "shop.buy"] == 4 / 3
    assert found["busy_s_per_good", "all"] == 8.0 / 4
    assert found["success", "shop.buy"] == 0.4
    assert not any(of == "never.used" for _, of in found), "a category without a row is no entry"


def test_tries_are_counted_by_what_is_called() -> None:
    attempts = pd.DataFrame(
        [(0, 1, "shop.buy"), (0, 1, "pay.charge"), (0, 2, "pay.charge"), (1, 1, "pay.charge"), (2, 1, "pay.charge")],
        columns=["request", "number", "target"],
    )
    attempts["target"] = pd.Categorical(attempts["target"], categories=["never.used", "pay.charge", "shop.buy"])
    rows = [(0.0, 1.0, "ok"), (1.0, 4.0, "ok"), (11.0, 12.0, "ok")]  # the last one after the window
    found = numbers(requests_of(rows), attempts)
    tries = {of: value for (metric, of), value in found.items() if metric == "tries_per_call_to"}
    assert tries == {"shop.buy": 1.0, "pay.charge": 3 / 2}


def test_percentiles_are_those_of_the_exact_sample() -> None:
    latencies_ms = np.random.default_rng(1).permutation(np.arange(101))  # 0, 1, … 100 ms, in any order
    found = numbers(requests_of([(0.0, ms / 1000, "ok") for ms in latencies_ms]), percentiles=(95.0, 99.99))
    for name, expected_s in {"p50": 0.050, "p90": 0.090, "p95": 0.095, "p99": 0.099, "p99.9": 0.0999, "p99.99": 0.09999}.items():
        assert found[f"{name}_s", "all"] == pytest.approx(expected_s, abs=1e-12)


def test_only_good_answers_have_a_latency() -> None:
    found = numbers(requests_of([(0.0, 1.0, "ok"), (0.0, 9.0, "timeout"), (0.0, 0.0, "rejected")]))
    assert found["p99.9_s", "all"] == 1.0


def test_the_window_is_half_open_and_warm_up_requests_only_count_in_rates() -> None:
    rows = [
        (1.0, 6.0, "ok"),  # arrived in the warm-up, answered inside the window
        (5.0, 5.5, "ok"),  # at the start: in
        (10.0, 10.1, "error"),  # at the end: out
        (9.0, 10.0, "ok"),  # in, but its answer comes exactly at the end: out of the rates
    ]
    found = numbers(requests_of(rows), start_s=5.0, end_s=10.0)
    assert found["offered_rps", "all"] == 2 / 5
    assert found["success", "all"] == 1.0
    assert found["mean_s", "all"] == 0.75
    assert found["goodput_rps", "all"] == 2 / 5


def test_entries_are_told_apart() -> None:
    found = numbers(requests_of([(0, 1, "ok", "shop.buy"), (0, 3, "ok", "shop.look"), (0, 2, "error", "shop.look")]))
    assert found["mean_s", "shop.buy"] == 1.0
    assert found["mean_s", "shop.look"] == 3.0
    assert found["success", "shop.look"] == 0.5
    assert found["success", "all"] == 2 / 3


@pytest.mark.parametrize("rows", [[], [(0.0, 1.0, "error"), (1.0, NAN, "in_flight")]])
def test_no_good_answer_gives_nan_and_never_zero_latency(rows: list[tuple[Any, ...]]) -> None:
    found = numbers(requests_of(rows), totals=totals_of(1.0))
    for name in ("mean_s", "p50_s", "p99.9_s", "busy_s_per_good"):
        assert math.isnan(found[name, "all"])
    assert found["goodput_rps", "all"] == 0.0
    assert math.isnan(found["tries_per_call", "all"])
    if rows:
        assert found["success", "all"] == 0.0
    else:
        assert math.isnan(found["success", "all"])


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="from 3 s to 3 s is empty"):
        numbers(requests_of([]), start_s=3.0, end_s=3.0)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.sampled_from(OUTCOMES[1:])), max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_measured_request_has_one_outcome(rows: list[tuple[float, float, str]]) -> None:
    requests = requests_of([(arrived, arrived + took, outcome) for arrived, took, outcome in rows])
    found = numbers(requests, start_s=2.0, end_s=15.0)
    count = sum(2.0 <= arrived < 15.0 for arrived, _, _ in rows)
    assert found["offered_rps", "all"] * 13 == pytest.approx(count)
    assert found["goodput_rps", "all"] <= found["throughput_rps", "all"]
    if count:
        assert sum(found[f"share_{name}", "all"] for name in OUTCOMES) == pytest.approx(1.0)
        assert found["success", "all"] == pytest.approx(found["share_ok", "all"] + found["share_degraded", "all"])


# --- effects ----------------------------------------------------------------------------------------------------------

SEND = "email.send"
MESSAGES = [
    (SEND, 0, "mails", 0.0, 0.1, 0.2, 1.0, 1, "done"),
    (SEND, 1, "mails", 1.0, 1.1, 1.4, 5.0, 3, "done"),
    (SEND, 1, "mails", 1.0, 1.3, 1.5, 4.0, 1, "done"),  # the same request published twice: one is too many
    (SEND, 2, "mails", 2.0, 2.1, 2.2, NAN, 5, "dead"),
    (SEND, 3, "mails", 3.0, 3.1, 3.2, NAN, 1, "in_flight"),
    (SEND, 4, "mails", 4.0, 4.1, 4.2, 4.5, 1, "in_flight"),  # it happened; only its acknowledgement is missing
]


def test_messages_counted_by_hand() -> None:
    requests = requests_of([(float(i), i + 0.5, "ok") for i in range(6)])
    found = numbers(requests, effects=effects_of(MESSAGES), effects_per_request={"shop.buy": {SEND: 1}})
    for of in (SEND, "all"):
        assert found["completeness", of] == 3 / 6  # requests 0, 1 and 4 of six
        assert found["duplicates", of] == 1
        assert found["dead", of] == 1
        assert found["unfinished", of] == 2
        assert found["dropped", of] == 0
        assert found["deliveries_per_message", of] == 12 / 6
        assert found["effect_mean_s", of] == pytest.approx((1.0 + 3.0 + 0.5) / 3), "the first of a pair is the effect"
        assert found["effect_p50_s", of] == pytest.approx(1.0)
        assert found["ack_mean_s", of] == pytest.approx((0.1 + 0.3 + 0.2 + 0.1 + 0.1 + 0.1) / 6)


def test_without_expectations_only_what_the_rows_show_was_asked_for() -> None:
    requests = requests_of([(float(i), i + 0.5, "ok") for i in range(6)])
    assert numbers(requests, effects=effects_of(MESSAGES))["completeness", SEND] == 3 / 5


def test_a_dead_server_that_was_never_reached_still_leaves_effects_undone() -> None:
    # Only the row of the one synchronous call that succeeded exists.
    effects = effects_of([(SEND, 0, None, 0.0, 0.2, NAN, 0.4, 1, "done")])
    requests = requests_of([(0.0, 0.5, "ok"), (1.0, 1.5, "error"), (2.0, 2.5, "error", "shop.look")])
    found = numbers(requests, effects=effects, effects_per_request={"shop.buy": {SEND: 1}, "shop.look": {}})
    assert found["completeness", SEND] == 0.5
    assert math.isnan(found["ack_p50_s", SEND])
    assert math.isnan(found["deliveries_per_message", SEND])


def test_an_effect_that_never_happened_at_all_is_complete_to_zero() -> None:
    found = numbers(requests_of([(0.0, 0.5, "error")]), effects_per_request={"shop.buy": {SEND: 1}})
    assert found["completeness", SEND] == 0.0
    assert math.isnan(found["effect_p99_s", SEND])


def test_two_effects_per_request_are_two_and_the_third_is_a_duplicate() -> None:
    effects = effects_of([(SEND, 0, None, 0.0, 0.1, NAN, t, 1, "done") for t in (0.3, 0.1, 0.2)])
    found = numbers(requests_of([(0.0, 1.0, "ok")]), effects=effects, effects_per_request={"shop.buy": {SEND: 2}})
    assert found["completeness", SEND] == 1.0
    assert found["duplicates", SEND] == 1
    assert found["effect_mean_s", SEND] == pytest.approx(0.15)


def test_effects_belong_to_the_window_of_their_request() -> None:
    requests = requests_of([(0.0, 0.5, "ok"), (6.0, 6.5, "ok")])
    late = effects_of([(SEND, 0, "mails", 0.0, 0.1, 0.2, 7.0, 1, "done"), (SEND, 1, "mails", 6.0, 6.1, 6.2, 99.0, 1, "done")])
    found = numbers(requests, effects=late, start_s=5.0, end_s=10.0)
    assert found["completeness", SEND] == 1.0
    assert found["effect_mean_s", SEND] == 93.0


def test_without_effects_there_are_no_metrics_of_effects() -> None:
    assert not any(metric == "completeness" for metric, _ in numbers(requests_of([(0.0, 1.0, "ok")])))


def test_effects_are_never_mixed_of_all_is_the_worst_and_of_counts_the_sum() -> None:
    charges = [("bank.charge", i, None, i, i + 0.1, NAN, i + 0.2, 1, "done") for i in range(6)]
    requests = requests_of([(float(i), i + 0.5, "ok") for i in range(6)])
    asked = {"shop.buy": {SEND: 1, "bank.charge": 1}}
    found = numbers(requests, effects=effects_of([*MESSAGES, *charges]), effects_per_request=asked)
    assert found["completeness", "bank.charge"] == 1.0
    assert found["completeness", "all"] == found["completeness", SEND] == 0.5, "a mixture would be 0.75"
    assert found["effect_p50_s", "all"] == found["effect_p50_s", SEND] == 1.0, "a mixture would be 0.2"
    assert found["ack_p50_s", "all"] == found["ack_p50_s", SEND], "calls are not acknowledged"
    assert found["dead", "all"] == found["dead", SEND] + found["dead", "bank.charge"] == 1
    never = numbers(requests, effects=effects_of(charges), effects_per_request=asked)
    assert math.isnan(never["effect_p50_s", "all"]), "one of them never happened"


def test_compensations_are_counted_and_not_among_what_should_happen() -> None:
    charges = [("bank.charge", i, None, i, i + 0.1, NAN, i + 0.2, 1, "done") for i in range(4)]
    refunds = [
        ("bank.refund", 3, None, 3.0, 3.1, NAN, 9.0, 1, "done"),
        ("bank.refund", 2, None, 2.0, 2.1, NAN, NAN, 1, "dropped"),
    ]
    requests = requests_of([(float(i), i + 0.5, "ok" if i < 2 else "error") for i in range(4)])
    found = numbers(requests, effects=effects_of([*charges, *refunds]), compensations={"bank.refund"})
    assert found["compensations", "bank.refund"] == found["compensations", "all"] == 1
    assert ("compensations", "bank.charge") not in found
    assert found["completeness", "bank.refund"] == 0.5, "of those that were begun"
    assert found["completeness", "all"] == 1.0
    assert found["effect_p99_s", "all"] == found["effect_p99_s", "bank.charge"] == pytest.approx(0.2)
    assert found["done_though_failed", "bank.charge"] == 2 / 4
    assert ("done_though_failed", "bank.refund") not in found, "to take back what failed is right"


def test_what_came_too_late_or_again_is_counted() -> None:
    again = (SEND, 0, "mails", 0.0, 0.3, 0.4, NAN, 1, "duplicate")
    replies = [(None, i, "answers", 0.0, 0.1, 0.2, NAN, 1, fate) for i, fate in enumerate(("done", "late", "late", "late"))]
    requests = requests_of([(float(i), i + 0.5, "ok" if i < 2 else "timeout") for i in range(3)])  # the fourth came before
    found = numbers(requests, effects=effects_of([MESSAGES[0], again, *replies]))
    assert found["discarded", SEND] == 1
    assert found["late_replies", "all"] == 2
    assert found["done_though_failed", SEND] == 0.0
    assert ("late_replies", "all") not in numbers(requests, effects=effects_of([MESSAGES[0]]))


# --- intervals --------------------------------------------------------------------------------------------------------


def test_the_interval_is_students() -> None:
    found = summarise(replications({"a": [11.0, 12.0, 13.0]}, "mean_s"))
    assert list(found.columns) == ["candidate", "condition", "metric", "of", "mean", "low", "high", "n"]
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t(0.975, 2) from the tables
    row = found.iloc[0]
    assert (row["mean"], row["n"]) == (12.0, 3)
    assert row["low"] == pytest.approx(12 - half, rel=1e-9)
    assert row["high"] == pytest.approx(12 + half, rel=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(20)
    studies, n = 4000, 5
    values = rng.normal(7.0, 3.0, size=(studies, n))
    table = pd.DataFrame(
        {
            "candidate": np.repeat([f"c{i}" for i in range(studies)], n),
            "condition": "base",
            "replication": np.tile(np.arange(n), studies),
            "metric": "mean_s",
            "of": "all",
            "value": values.ravel(),
        }
    )
    found = summarise(table)
    covered = float(((found["low"] <= 7.0) & (found["high"] >= 7.0)).mean())
    assert 0.94 < covered < 0.96  # three standard errors; a normal quantile instead of Student's covers 0.88


def test_one_replication_has_a_mean_and_no_interval() -> None:
    row = summarise(replications({"a": [0.5]})).iloc[0]
    assert (row["mean"], row["n"]) == (0.5, 1)
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_replications_without_a_value_are_missing_from_n() -> None:
    found = summarise(replications({"a": [1.0, NAN, 3.0], "b": [NAN, NAN, NAN]})).set_index("candidate")
    assert (found.loc["a", "mean"], found.loc["a", "n"]) == (2.0, 2)
    assert found.loc["b", "n"] == 0
    assert math.isnan(found.loc["b", "mean"])


def test_no_interval_is_negative_and_ratios_end_at_1() -> None:
    high = summarise(replications({"a": [0.9, 1.0, 1.0]}, "success")).iloc[0]
    low = summarise(replications({"a": [0.1, 0.0, 0.0]}, "share_error")).iloc[0]
    free = summarise(replications({"a": [0.1, 1.9, 1.0]}, "goodput_rps")).iloc[0]
    assert high["high"] == 1.0
    assert low["low"] == 0.0
    assert free["low"] == 0.0
    assert free["high"] > 3.0


def test_equal_values_have_an_interval_without_width() -> None:
    row = summarise(replications({"a": [0.1] * 7})).iloc[0]
    assert row["low"] == row["mean"] == row["high"] == 0.1


def test_the_order_of_the_table_is_kept() -> None:
    table = pd.concat([replications({"z": [1.0], "a": [2.0]}, "zeta"), replications({"z": [1.0], "a": [2.0]}, "alpha")])
    assert summarise(table)[["candidate", "metric"]].to_numpy().tolist() == [
        ["z", "zeta"], ["a", "zeta"], ["z", "alpha"], ["a", "alpha"],
    ]  # fmt: skip


# --- paired differences -----------------------------------------------------------------------------------------------


def differences_of(values: dict[str, list[float]], baseline: str | None = None) -> pd.DataFrame:
    return paired_differences(replications(values), baseline).set_index("candidate")


def test_a_small_steady_difference_is_seen_through_much_noise() -> None:
    noise = [10.0, 20.0, 30.0, 40.0]
    new = [9.1, 18.9, 29.1, 38.9]
    row = differences_of({"old": noise, "new": new}).loc["new"]
    half = 3.182446305284263 * np.std([0.1, -0.1, 0.1, -0.1], ddof=1) / 2
    assert row["difference"] == pytest.approx(-1.0)
    assert (row["low"], row["high"]) == (pytest.approx(-1 - half), pytest.approx(-1 + half))
    assert row["verdict"] == "lower"
    assert row["relative"] == pytest.approx(-1 / 25)
    assert row["relative_low"] == pytest.approx((-1 - half) / 25)
    assert row["baseline"] == "old"
    # var(unpaired) = 166.67 + about the same, against var(paired) = 0.01333
    assert row["variance_reduction"] == pytest.approx((np.var(noise, ddof=1) + np.var(new, ddof=1)) / (0.01 * 4 / 3))


def test_the_same_data_unpaired_show_nothing() -> None:
    # The partner of the test above: replications of the rival in another order are pairs of strangers.
    row = differences_of({"old": [10.0, 20.0, 30.0, 40.0], "new": [39.0, 29.0, 9.0, 19.0]}).loc["new"]
    assert row["verdict"] == "no detectable difference"
    assert row["low"] < 0 < row["high"]


def test_pairs_are_made_by_replication_not_by_position() -> None:
    table = replications({"old": [1.0, 2.0, 3.0], "new": [2.0, 3.0, 4.0]})
    shuffled = table.sample(frac=1, random_state=3)
    found = paired_differences(shuffled, "old").iloc[0]
    assert (found["difference"], found["low"], found["high"], found["n"]) == (1.0, 1.0, 1.0, 3)
    assert found["verdict"] == "higher"
    assert found["variance_reduction"] == math.inf


def test_all_differences_exactly_zero() -> None:
    row = differences_of({"old": [1.0, 2.0, 3.0], "new": [1.0, 2.0, 3.0]}).loc["new"]
    assert (row["difference"], row["low"], row["high"]) == (0.0, 0.0, 0.0)
    assert row["verdict"] == "no detectable difference"
    constant = differences_of({"old": [1.0, 1.0], "new": [1.0, 1.0]}).loc["new"]
    assert math.isnan(constant["variance_reduction"])


def test_one_pair_says_nothing() -> None:
    row = differences_of({"old": [1.0], "new": [100.0]}).loc["new"]
    assert row["difference"] == 99.0
    assert math.isnan(row["low"])
    assert row["verdict"] == "one replication: no interval, no statement"


def test_pairs_without_both_values_do_not_count() -> None:
    row = differences_of({"old": [1.0, NAN, 3.0, 5.0], "new": [2.0, 2.0, NAN, 6.5]}).loc["new"]
    assert (row["n"], row["difference"]) == (2, 1.25)
    assert row["relative"] == pytest.approx(1.25 / 3.0), "the baseline's mean is that of the same pairs"
    lonely = differences_of({"old": [NAN, NAN], "new": [2.0, 2.0]}).loc["new"]
    assert (lonely["n"], lonely["verdict"]) == (0, "not comparable")


def test_replications_that_only_one_has_do_not_count() -> None:
    assert differences_of({"old": [1.0, 2.0, 3.0], "new": [2.0, 4.0]}).loc["new", "n"] == 2


def test_conditions_are_not_mixed() -> None:
    table = pd.concat(
        [
            replications({"old": [1.0, 1.0], "new": [2.0, 2.0]}, condition="quiet"),
            replications({"old": [1.0, 1.0], "new": [0.0, 0.0]}, condition="crash"),
        ]
    )
    found = paired_differences(table).set_index("condition")["verdict"]
    assert found.to_dict() == {"quiet": "higher", "crash": "lower"}


def test_a_baseline_of_zero_has_no_relative_difference() -> None:
    assert math.isnan(differences_of({"old": [0.0, 0.0], "new": [1.0, 1.0]}).loc["new", "relative"])


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(ScenarioError, match="no candidate 'nwe' in the results; known: old, new"):
        differences_of({"old": [1.0], "new": [1.0]}, "nwe")


def test_a_true_tie_is_called_a_difference_in_one_of_twenty_studies() -> None:
    rng = np.random.default_rng(5)
    studies, n = 2000, 6
    shared = rng.normal(size=(studies, n))
    values = {"old": shared + rng.normal(size=(studies, n)), "new": shared + rng.normal(size=(studies, n))}
    table = pd.concat(
        pd.DataFrame(
            {
                "candidate": name,
                "condition": np.repeat([f"s{i}" for i in range(studies)], n),
                "replication": np.tile(np.arange(n), studies),
                "metric": "p99_s",
                "of": "all",
                "value": array.ravel(),
            }
        )
        for name, array in values.items()
    )
    wrong = float((paired_differences(table, "old")["verdict"] != "no detectable difference").mean())
    assert 0.035 < wrong < 0.065  # three standard errors


# --- the house --------------------------------------------------------------------------------------------------------


def test_reading_is_light_and_knows_no_live_objects() -> None:
    code = (
        "import sys, sim.analysis; print([name for name in ('simpy', 'scipy.stats', 'matplotlib', 'sim.scenario', 'sim.run') "
        "if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
