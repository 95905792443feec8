"""Where the time of slow requests went: it adds up, and it points at the culprit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import scenarios
from test_cli import sim

from sim import plots
from sim.analysis import sequence_diagram, time_spent, waterfall
from sim.analysis.critical import critical_path, trees
from sim.analysis.explaining import against_typical, in_words, phrase
from sim.cli.explaining import _told
from sim.errors import ScenarioError
from sim.records import PARTS
from sim.scenario.model import Scenario
from sim.single import run
from sim.study import Explanation, explain, replicate


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenarios(), st.integers(0, 2**32))
def test_what_is_told_of_a_request_adds_up_to_its_latency(scenario: Scenario, seed: int) -> None:
    result = run(scenario, seed)
    ended = result.requests[result.requests.ended_s.notna()]
    spent = time_spent(result.requests, result.attempts, result.changes)
    whole = spent.groupby("request").seconds.sum().reindex(ended.request, fill_value=0.0)
    assert np.allclose(whole, ended.ended_s - ended.arrived_s, rtol=0, atol=1e-8)
    assert (spent.seconds >= -1e-8).all()
    if any(policy.hedging is not None for policy in scenario.calls.values()):
        return  # a hedge that its caller's own limit refused has no row, although it may decide the call
    parts = spent.assign(part=spent.part.replace("handshake_s", "network_s"))
    sums = parts.pivot_table(index="request", columns="part", values="seconds", aggfunc="sum", fill_value=0.0)
    sums = sums.reindex(index=ended.request, columns=list(PARTS), fill_value=0.0)
    assert np.allclose(sums, ended[list(PARTS)], rtol=0, atol=1e-8)


def made(services: dict[str, Any], entry: str = "shop.buy", **more: Any) -> Scenario:
    services = {name: {"workers": 4} | spec for name, spec in services.items()}
    data = {"services": services, "load": {"kind": "replay", "times": [0.0], "mix": entry}, "run": {"duration": 10}} | more
    return Scenario.model_validate(data)


def told(scenario: Scenario) -> dict[tuple[str, str, str], float]:
    """Of the first request, in milliseconds."""
    result = run(scenario, 1)
    spent = time_spent(result.requests.head(1), result.attempts, result.changes)
    rows = spent.groupby(["where", "part", "retry"]).seconds.sum()
    return {key: round(1000 * float(seconds), 6) for key, seconds in rows.items() if abs(seconds) > 1e-9}


def test_of_calls_at_the_same_time_the_one_that_ends_last_counts() -> None:
    steps = [{"work": 0.005}, {"parallel": [[{"call": "a.get"}], [{"call": "b.get"}]]}]
    services = {
        "shop": {"operations": {"buy": steps}},
        "a": {"operations": {"get": [{"work": 0.010}]}},
        "b": {"operations": {"get": [{"work": 0.030}, {"call": "c.get"}]}},
        "c": {"operations": {"get": [{"work": 0.020}]}},
    }
    scenario = made(services, links={"shop -> b": 0.001})
    assert told(scenario) == {
        ("shop", "service_s", ""): 5,
        ("b", "service_s", ""): 30,
        ("c", "service_s", ""): 20,
        ("shop -> b", "network_s", ""): 2,
    }
    result = run(scenario, 1)
    request = result.requests.iloc[0]
    path = critical_path(trees(result.attempts, [0])[0], request.arrived_s, request.ended_s)
    assert set(result.attempts[result.attempts.attempt.isin(path)].target) == {"shop.buy", "b.get", "c.get"}


def test_work_in_a_branch_beside_a_call_is_told_from_the_other_branch() -> None:
    # a: 10 ms of work, then 10 ms at a. b: 15 ms at b, then 10 ms of work, and that ends last, at 25 ms.
    steps = [{"parallel": [[{"work": 0.010}, {"call": "a.get"}], [{"call": "b.get"}, {"work": 0.010}]]}]
    services = {
        "shop": {"operations": {"buy": steps}},
        "a": {"operations": {"get": [{"work": 0.010}]}},
        "b": {"operations": {"get": [{"work": 0.015}]}},
    }
    assert told(made(services)) == {("shop", "service_s", ""): 10, ("b", "service_s", ""): 15}


def test_tries_that_failed_and_pauses_are_told_as_the_cost_of_retries() -> None:
    services = {
        "shop": {"operations": {"buy": [{"work": 0.001}, {"call": "bank.pay"}]}},
        "bank": {"operations": {"pay": [{"work": 0.010}]}},
    }
    # The first try meets an error after its pause of 0; it is answered at once, for an injected error takes no work.
    scenario = made(
        services,
        links={"shop -> bank": 0.002},
        calls={"shop -> bank": {"retry": {"max_attempts": 3, "backoff": {"base": 0.05, "jitter": "none"}}}},
        faults=[{"errors": "bank", "ratio": 1, "at": 0, "for": 0.04}],
    )
    assert told(scenario) == {
        ("shop", "service_s", ""): 1,
        ("shop -> bank", "network_s", "shop -> bank"): 4,
        ("shop -> bank", "backoff_s", "shop -> bank"): 50,
        ("shop -> bank", "network_s", ""): 4,
        ("bank", "service_s", ""): 10,
    }


def test_a_lost_answer_is_lost_where_somebody_was_silent() -> None:
    # shop gives up on its timeout of 100 ms, while bank waits for a ledger that takes a second.
    services = {
        "shop": {"operations": {"buy": [{"work": 0.001}, {"call": "bank.pay"}]}},
        "bank": {"operations": {"pay": [{"work": 0.010}, {"call": "ledger.book"}]}},
        "ledger": {"operations": {"book": [{"work": 1.0}]}},
    }
    scenario = made(services, calls={"shop -> bank": {"timeout": 0.1}})
    assert told(scenario) == {
        ("shop", "service_s", ""): 1,
        ("shop -> bank", "lost_s", ""): 10,
        ("bank -> ledger", "lost_s", ""): 90,
    }


def test_handshakes_are_told_from_the_network() -> None:
    services = {"shop": {"operations": {"buy": [{"call": "bank.pay"}]}}, "bank": {"operations": {"pay": [{"work": 0.010}]}}}
    calls = {"shop -> bank": {"connections": {"round_trips": 2}}}
    scenario = made(services, calls=calls, links={"shop -> bank": 0.001})
    found = told(scenario)
    assert found[("shop -> bank", "network_s", "")] == 2
    assert found[("shop -> bank", "handshake_s", "")] == 4
    assert sum(found.values()) == 16


#: A shop that calls stock and bank, at half of what it can do.
_SERVICES = {
    "shop": {
        "workers": 50,
        "operations": {"buy": [{"work": {"exponential": 0.002}}, {"call": "stock.get"}, {"call": "bank.pay"}]},
    },
    "stock": {"workers": 8, "operations": {"get": [{"work": {"exponential": 0.01}}]}},
    "bank": {"workers": 8, "operations": {"pay": [{"work": {"exponential": 0.01}}]}},
}


def slow_requests(**changes: Any) -> Explanation:
    data: dict[str, Any] = {
        "services": _SERVICES,
        "links": {"default": 0.0005},
        "load": {"rate": 60, "mix": "shop.buy"},
        "run": {"duration": 30, "replications": 2, "seed": 3},
    }
    return explain(replicate(Scenario.model_validate(data | changes), workers=1))


def culprit(found: Explanation) -> tuple[str, str]:
    first = found.differences.iloc[0]
    assert first["share"] > 0.5
    assert phrase(first["where"], first["part"]) in " ".join(found.sentences())
    return str(first["where"]), str(first["part"])


def test_it_points_at_one_slow_link() -> None:
    slow = {"exponential": 0.08}
    assert culprit(slow_requests(links={"default": 0.0005, "shop -> stock": {"latency": slow}})) == ("shop -> stock", "network_s")


def test_it_points_at_one_small_pool() -> None:
    small = _SERVICES | {"bank": {"workers": 1, "operations": {"pay": [{"work": {"exponential": 0.013}}]}}}
    assert culprit(slow_requests(services=small)) == ("bank", "queue_s")


def test_it_points_at_one_retrying_edge() -> None:
    fails = _SERVICES | {"bank": {"workers": 8, "operations": {"pay": [{"work": {"exponential": 0.01}}, {"fail": 0.1}]}}}
    retry = {"max_attempts": 5, "backoff": {"base": 0.1, "jitter": "none"}}
    found = slow_requests(services=fails, calls={"shop -> bank": {"retry": retry}})
    assert culprit(found) == ("shop -> bank", "backoff_s")
    assert found.retries.iloc[0]["retry"] == "shop -> bank"
    assert "Tries of shop -> bank that failed" in " ".join(found.sentences())


def test_groups_add_up_to_their_mean_latency_and_slow_ones_are_those_beyond_the_percentile() -> None:
    data = {"services": _SERVICES, "load": {"rate": 60, "mix": "shop.buy"}, "run": {"duration": 30, "replications": 1, "seed": 3}}
    results = replicate(Scenario.model_validate(data), workers=1)
    requests = results.rows("requests")
    latency = np.sort(requests.ended_s - requests.arrived_s)
    slowest = latency[-int(np.ceil(0.05 * len(latency))) :]
    found = explain(results, "p95").parts
    assert found[found.group == "slow"].mean_s.sum() == pytest.approx(slowest.mean())
    parts = found[found.group == "typical"].mean_s.sum()
    assert latency[len(latency) // 4] < parts < latency[3 * len(latency) // 4]
    assert set(found.part) <= {*PARTS, "handshake_s"}


def test_what_only_rounding_makes_is_no_difference() -> None:
    parts = [("shop", "service_s", 0.1 + 0.2, 0.3), ("shop", "network_s", 0.04, 0.04)]
    rows = [
        {"candidate": "a", "condition": "c", "group": group, "where": where, "part": part, "retry": "", "mean_s": mean_s}
        for where, part, *both in parts
        for group, mean_s in zip(("slow", "typical"), both, strict=True)
    ]
    found = against_typical(pd.DataFrame(rows))
    assert found["more_s"].tolist() == [0.0, 0.0]
    assert found["share"].isna().all()


def test_a_difference_that_nearly_cancels_has_no_shares_and_is_told_piece_by_piece() -> None:
    """Failed ones never reach the bank: 30 ms more of pauses and 28 ms less of work are 2 ms more, of which 30 are no share."""
    parts = [("shop -> bank", "backoff_s", 0.030, 0.0), ("bank", "service_s", 0.0, 0.028), ("shop", "service_s", 0.010, 0.010)]
    found = pd.DataFrame(
        {"candidate": "a", "condition": "c", "group": group, "where": where, "part": part, "retry": "", "mean_s": mean_s}
        for where, part, *both in parts
        for group, mean_s in zip(("slow", "typical"), both, strict=True)
    )
    assert against_typical(found)["share"].isna().all()
    assert in_words(found, "failed", failed={"timeout": 0.25, "unreachable": 0.75}) == [
        "failed requests took 40 ms on average, typical ones 38 ms.",
        "They ended as unreachable (75 %), timeout (25 %).",
        "They spent more on pauses before retries at shop -> bank (30 ms against 0 s) "
        "and less on work of bank (0 s against 28 ms).",
    ]


def test_failed_requests_can_be_explained_and_nonsense_is_refused() -> None:
    data = {"services": _SERVICES, "load": {"rate": 60, "mix": "shop.buy"}, "run": {"duration": 5, "replications": 1}}
    results = replicate(Scenario.model_validate(data | {"calls": {"shop -> bank": {"timeout": 0.03}}}), workers=1)
    found = explain(results, "failed")
    assert (found.differences.iloc[0]["where"], found.differences.iloc[0]["part"]) == ("shop -> bank", "lost_s")
    assert found.outcomes["count"].sum() == (results.rows("requests")["outcome"] != "ok").sum()
    assert "They ended as error (100 %)." in found.sentences()
    with pytest.raises(ScenarioError, match="'p0' is no percentile; write p50"):
        explain(results, "p0")
    with pytest.raises(ScenarioError, match="no candidate 'shap'"):
        explain(results, candidate="shap")
    without = replicate(Scenario.model_validate(data | {"run": data["run"] | {"record_attempts": False}}), workers=1)
    with pytest.raises(ScenarioError, match="record_attempts is false"):
        explain(without)


def test_the_command_tells_it_in_words_in_a_table_and_as_a_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = _SERVICES | {"bank": {"workers": 1, "operations": {"pay": [{"work": {"exponential": 0.013}}]}}}
    data = {"services": small, "load": {"rate": 60, "mix": "shop.buy"}, "run": {"duration": 20, "replications": 1}}
    replicate(Scenario.model_validate(data), workers=1, out="results/shop")
    shown = sim("explain", "results/shop", "-q").stdout
    assert "waiting for a worker of bank" in shown
    assert "share of it" in shown
    assert (tmp_path / "results/shop/charts/explain_p99.svg").exists()
    told = json.loads(sim("explain", "results/shop", "--no-charts", "--format", "json").stdout)
    assert told["differences"][0]["where"] == "bank"
    assert "no results" in sim("explain", "nowhere", code=2).stderr


def test_a_waterfall_has_all_attempts_and_says_which_ones_the_answer_waited_for() -> None:
    services = {
        "shop": {"operations": {"buy": [{"work": 0.001}, {"parallel": [[{"call": "bank.pay"}], [{"call": "stock.get"}]]}]}},
        "bank": {"operations": {"pay": [{"work": 0.5}]}},
        "stock": {"operations": {"get": [{"work": 0.002}]}},
    }
    retry = {"max_attempts": 2, "backoff": {"base": 0.05, "jitter": "none"}}
    calls = {"shop -> bank": {"per_try_timeout": 0.1, "retry": retry}}
    result = run(made(services, calls=calls), 1)
    table = waterfall(result.requests, result.attempts, 0)
    diary = [(row.depth, row.target, row.number, round(row.start_s, 6), round(row.end_s, 6), row.outcome, row.on_path)
             for row in table.itertuples()]  # fmt: skip
    assert diary == [
        (0, "shop.buy", 1, 0, 0.251, "error", True),
        (1, "shop.buy", 1, 0, 0.251, "error", True),
        (2, "bank.pay", 1, 0.001, 0.101, "timeout", True),
        (2, "stock.get", 1, 0.001, 0.003, "ok", False),
        (2, "bank.pay", 2, 0.151, 0.251, "timeout", True),
    ]
    assert sequence_diagram(table, "one; two").splitlines() == [
        "sequenceDiagram",
        "    title one, two",
        "    participant p0 as client",
        "    participant p1 as shop",
        "    participant p2 as bank",
        "    participant p3 as stock",
        "    p0->>p1: buy",
        "    p1->>p2: pay",
        "    p1->>p3: get",
        "    p3-->>p1: ok after 2 ms",
        "    p2--xp1: timeout after 100 ms",
        "    Note over p1: pauses 50 ms",
        "    p1->>p2: pay (try 2)",
        "    p2--xp1: timeout after 100 ms",
        "    p1-->>p0: error after 251 ms",
    ]
    ax = plots.waterfall(table)
    named = {
        text.get_text(): patch for text, patch in zip(ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True)
    }
    pale = named["no answer"].get_facecolor()  # as the bars of the attempts that got none
    assert sum(bar.get_facecolor() == pale for bar in ax.patches) == 2
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y0 >= 0  # none of its rows is cut off
    plt.close("all")


def test_the_command_shows_the_median_one_the_p99_one_and_a_failed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = {"shop -> bank": {"timeout": 0.05}}
    load, times = {"rate": 60, "mix": "shop.buy"}, {"duration": 10, "replications": 1}
    data = {"services": _SERVICES, "load": load, "run": times, "calls": calls}
    results = replicate(Scenario.model_validate(data), workers=1, out="results/shop")
    shown = sim("waterfall", "results/shop", "-q").stdout
    assert "median request" in shown
    assert "timeout" in shown
    assert {path.name for path in (tmp_path / "results/shop/charts").glob("*.svg")} == {
        "request_median.svg", "request_p99.svg", "request_failed.svg",
    }  # fmt: skip
    requests = results.rows("requests")
    good = np.sort((requests.ended_s - requests.arrived_s)[requests.outcome == "ok"])
    one = json.loads(sim("waterfall", "results/shop", "--at", "p99", "--no-charts", "--format", "json").stdout)[0]
    assert one["attempts"][0]["end_s"] == pytest.approx(good[int(np.ceil(0.99 * len(good))) - 1])
    assert sim("waterfall", "results/shop", "--at", "7", "--mermaid", "--no-charts").stdout.startswith("sequenceDiagram")
    assert "there is no 99999 request" in sim("waterfall", "results/shop", "--at", "99999", code=2).stderr


def test_a_difference_that_nobody_would_notice_is_told_as_zero() -> None:
    row = {"slow_s": 0.05, "typical_s": 0.05 + 1e-5, "more_s": -1e-5, "share": -1e-4}
    assert _told(row) == ("50 ms", "50 ms", "0 s", "0 %")
    assert _told(row | {"typical_s": 0.04, "more_s": 0.01, "share": 0.5}) == ("50 ms", "40 ms", "10 ms", "50 %")
    assert _told({"slow_s": 8.67e-19, "typical_s": 0.0, "more_s": 8.67e-19, "share": math.nan})[2:] == ("0 s", "–")
