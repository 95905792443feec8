"""Objectives and the verdict, on tables small enough to judge by eye."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from frames import NAN, replications

from sim.analysis import (
    slo_verdicts,
    verdict,
)
from sim.analysis.objectives import margins, percentiles_of
from sim.scenario.slo import parse_slo

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
    measured = [
        ("p99_s", "all", 0.24, 0.23, 0.25),
        ("success", "all", 0.985, 0.985, 0.985),
        ("goodput_rps", "all", 96.0, 92.0, 100.0),
    ]
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
    more = [replications(dict(values), "effect_p99_s", of="mail.send")]
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


def test_effects_differ_one_by_one() -> None:
    more = [
        replications({"direct": [0.1, 0.2, 0.3], "queue": [5.1, 5.3, 5.3]}, "effect_p99_s", of="mail.send"),
        replications({"direct": [0.1, 0.1, 0.1], "queue": [0.1, 0.1, 0.1]}, "effect_p99_s", of="bank.charge"),
        *(replications({"direct": [1.0] * 3, "queue": [1.0] * 3}, "completeness", of=of) for of in ("mail.send", "bank.charge")),
    ]
    found = verdict(pd.concat([case(direct=(0.9, 0.1), queue=(0.9, 0.1)), *more]))
    assert found.tied
    assert found.reasons[0].endswith("What differs is effect p99 of mail.send: yours to weigh.")
    assert "effect p99 of bank.charge the same in every replication" in str(found)


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
    assert found.reasons[0] == "queue is chosen as the least bad: no candidate meets all objectives."


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
