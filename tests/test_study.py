"""Studies: the same results however they are run, and stored whole."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from rich.console import Console
from studies import assert_same, comparison, fake, scenario

from sim.cli.show import show_results
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.study import compare, default_directory, load_results, replicate
from sim.study.execute import run_tasks
from sim.study.experiment import circumstances
from sim.study.measure import TABLES, compensations_of, effects_asked_for, trouble_of
from sim.study.results import RowsInMemory
from sim.study.store import Writer
from sim.study.tasks import Finished, Task, expected_requests, in_running_order, plan

# --- plan -------------------------------------------------------------------------------------------------------------


def test_every_candidate_and_condition_gets_the_same_seeds() -> None:
    tasks = plan(comparison().scenarios())
    assert [task.index for task in tasks] == list(range(12))
    seeds = {(task.candidate, task.condition): [] for task in tasks}
    for task in tasks:
        seeds[task.candidate, task.condition].append(task.seed)
    assert list(seeds.values()) == [[7, 8, 9]] * 4
    assert {task.seed for task in plan(comparison().scenarios(), replications=2, seed=100)} == {100, 101}


def test_different_seeds_cannot_be_compared() -> None:
    rival = scenario(run={"seed": 8})
    with pytest.raises(ScenarioError, match=r"run.seed = 7 for a under base, but 8 for b under base"):
        plan([("a", "base", scenario()), ("b", "base", rival)])
    assert len(plan([("a", "base", scenario()), ("b", "base", rival)], 1, seed=3)) == 2


@pytest.mark.parametrize("wrong", [{"replications": 0}, {"workers": 0}, {"seed": -1}, {"rows": ("request",)}])
def test_impossible_requests_are_explained(wrong: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=next(iter(wrong))):
        replicate(scenario(), simulate=fake, **wrong)


def test_long_runs_first_within_a_replication() -> None:
    short, long = scenario(load={"rate": 1.0, "mix": "shop.buy"}), scenario(load={"rate": 1000.0, "mix": "shop.buy"})
    order = in_running_order(plan([("short", "base", short), ("long", "base", long)], replications=2))
    assert [(task.replication, task.candidate) for task in order] == [(0, "long"), (0, "short"), (1, "long"), (1, "short")]


@pytest.mark.parametrize(
    ("load", "requests"),
    [
        ({"rate": 40.0}, 140.0),
        ({"kind": "steps", "points": [{"at": 0.0, "rate": 10.0}, {"at": 2.5, "rate": 100.0}]}, 125.0),
        ({"kind": "replay", "times": [0.0, 1.0, 2.0]}, 3.0),
        ({"kind": "closed", "users": 6, "think": 0.97}, 21.0),
    ],
)
def test_the_cost_of_a_run_follows_its_load(load: dict[str, Any], requests: float) -> None:
    assert expected_requests(scenario(load={"mix": "shop.buy", **load})) == pytest.approx(requests)


def test_scenarios_travel_to_workers() -> None:
    given = scenario(faults=[{"crash": "payment", "at": 1.0, "for": 1.0}])
    copy = pickle.loads(pickle.dumps(given))
    assert copy == given
    assert copy.hash == given.hash


# --- what is asked for ------------------------------------------------------------------------------------------------


def shop_with(steps: list[dict[str, Any]], **changes: Any) -> Scenario:
    send = {"steps": [{"work": 0.01}], "effect": True}
    return scenario(
        services={
            "shop": {"workers": 1, "operations": {"buy": steps}},
            "email": {"workers": 1, "operations": {"send": send, "log": [{"work": 0.01}]}},
        },
        queues={"mails": {"consumer": "email.send"}, "logs": {"consumer": "email.log"}},
        **changes,
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"call": "email.send"}], {"email.send": 1}),
        ([{"publish": "mails"}], {"email.send": 1}),
        ([{"publish": "logs"}], {"email.log": 1}),  # whatever comes through a queue is an effect
        ([{"call": "email.log"}], {}),
        ([{"call": "email.send", "count": 2}, {"publish": "mails"}], {"email.send": 3}),
        ([{"parallel": [{"call": "email.send"}, [{"publish": "logs"}]]}], {"email.send": 1, "email.log": 1}),
        ([{"repeat": [{"call": "email.send", "count": 2}, {"publish": "logs"}], "count": 3}], {"email.send": 6, "email.log": 3}),
        ([{"repeat": [{"call": "email.send"}], "count": {1: 1, 2: 1}}], {}),
        ([{"repeat": [{"call": "email.send", "probability": 0.5}], "count": 0}, {"publish": "mails"}], {"email.send": 1}),
        ([{"call": "email.send", "probability": 0.5}], {}),  # drawn: the rows must say
        ([{"call": "email.send", "count": {1: 1, 2: 1}}], {}),
        ([{"call": "email.send", "count": {2: 1, 3: 0}}], {"email.send": 2}),
        ([{"call": "email.send", "probability": 0}], {}),
        ([{"call": "email.send"}, {"publish": "mails", "probability": 0.5}], {}),
        ([{"call": "email.log", "probability": 0.5}, {"publish": "logs"}], {"email.log": 1}),  # the call is no effect
        ([{"call": "email.log"}, {"publish": "logs", "probability": 0.5}], {}),
    ],
)
def test_effects_that_a_request_asks_for(steps: list[dict[str, Any]], expected: dict[str, int]) -> None:
    assert effects_asked_for(shop_with(steps)) == {"shop.buy": expected}


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([{"crash": "payment", "at": 1.0, "for": 1.0}], (1.0, 2.0)),
        ([{"crash": "payment", "at": 1.0, "for": 0.5}, {"slow": "shop", "factor": 2.0, "at": 0.6, "for": 0.1}], (0.6, 1.5)),
        ([], None),
        ([{"crash": "payment", "at": 1.0}], None),  # until the end
        ([{"crash": "payment", "mtbf": 1.0, "mttr": 0.1}], None),
        ([{"crash": "payment", "at": 0.5, "for": 1.0}], None),  # with the warm-up there is no time before it
        ([{"crash": "payment", "at": 3.0, "for": 0.5}], None),  # and none after it
    ],
)
def test_from_when_to_when_the_trouble_lasts(faults: list[dict[str, Any]], expected: tuple[float, float] | None) -> None:
    assert trouble_of(scenario(faults=faults)) == expected


def test_a_flush_is_over_at_once() -> None:
    cached = {"shop -> payment": {"cache": {"max_age": 1.0}}}
    assert trouble_of(scenario(faults=[{"flush": "shop -> payment", "at": 1.0}], calls=cached)) == (1.0, 1.0)


def test_compensations_are_what_only_an_undo_makes_run() -> None:
    refund = {"do": [{"call": "email.log"}], "undo": [{"call": "email.send"}]}
    assert compensations_of(shop_with([{"saga": [refund]}])) == {"email.send"}
    assert compensations_of(shop_with([{"saga": [refund]}, {"call": "email.send"}])) == set()
    assert compensations_of(shop_with([{"repeat": [{"saga": [refund]}], "count": 2}])) == {"email.send"}


def test_messages_that_beget_messages_have_no_fixed_number() -> None:
    loop = [{"publish": "again", "probability": 0.5}]
    services = {"shop": {"workers": 1, "operations": {"buy": [{"publish": "again"}], "loop": loop}}}
    given = scenario(services=services, queues={"again": {"consumer": "shop.loop"}})
    assert effects_asked_for(given) == {"shop.buy": {}}


def test_effects_below_what_is_drawn_have_no_fixed_number() -> None:
    again = [{"call": "mail.send"}, {"publish": "again", "probability": 0.5}]
    services = {
        "shop": {
            "workers": 1,
            "operations": {
                "buy": [{"publish": "again"}, {"call": "mail.send"}],
                "look": [{"call": "mail.send", "count": 2}],
            },
        },
        "mail": {"workers": 1, "operations": {"again": again, "send": {"steps": [], "effect": True}}},
    }
    mix = {"shop.buy": 1, "shop.look": 1}
    given = scenario(services=services, queues={"again": {"consumer": "mail.again"}}, load={"rate": 1.0, "mix": mix}, slos=[])
    assert effects_asked_for(given) == {"shop.buy": {}, "shop.look": {"mail.send": 2}}


def test_a_million_ways_to_an_effect_are_counted_at_once() -> None:
    layers = {f"l{i}": [{"call": f"s.l{i + 1}"}, {"call": f"s.l{i + 1}"}] for i in range(60)}
    operations = {**layers, "l60": {"steps": [], "effect": True}}
    given = scenario(services={"s": {"workers": 1, "operations": operations}}, load={"rate": 1.0, "mix": "s.l0"}, slos=[])
    assert effects_asked_for(given) == {"s.l0": {"s.l60": 2**60}}


# --- the same results, however they are made --------------------------------------------------------------------------


def test_serial_equals_parallel_row_for_row(tmp_path: Path) -> None:
    here = compare(comparison(), workers=1)
    spread = compare(comparison(), workers=2)
    stored = compare(comparison(), workers=2, out=tmp_path / "out")
    assert len(here.rows("requests")) > 500
    assert_same(here, spread)
    assert_same(here, stored)
    assert_same(here, load_results(tmp_path / "out"))
    assert str(here.verdict()) == str(load_results(tmp_path / "out").verdict())


def test_a_failed_renaming_brings_the_old_results_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate(scenario(), 1, workers=1, simulate=fake, seed=1, out=tmp_path / "out")
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if "writing" in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replicate(scenario(), 1, workers=1, simulate=fake, seed=2, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert load_results(tmp_path / "out").runs[0].seed == 1


def test_results_come_in_the_order_of_tasks_not_of_finishing() -> None:
    def late_first(task: Task) -> Finished:
        time.sleep(0.2 if task.index == 0 else 0.0)
        return Finished(task.index, pd.DataFrame(), None, 0.0)

    came: list[int] = []
    tasks = plan([("a", "base", scenario())], replications=4)
    assert run_tasks(tasks, late_first, lambda task, _: came.append(task.index), workers=2)
    assert sorted(came) == [0, 1, 2, 3]
    found = replicate(scenario(), 4, workers=2, simulate=_late_first)
    assert [run.index for run in found.runs] == [0, 1, 2, 3]
    assert np.all(np.diff(found.rows().groupby("replication").size()) == 1)


def _late_first(given: Scenario, seed: int) -> Any:
    time.sleep(0.2 if seed == 7 else 0.0)
    return fake(given, seed)


def test_a_function_that_exists_only_here_runs_in_workers() -> None:
    factor = 2

    def local(given: Scenario, seed: int) -> Any:
        return fake(given, seed * factor)

    found = replicate(scenario(), workers=2, simulate=local)
    assert [len(found.rows(replication=r)) for r in range(3)] == [14, 16, 18]


def test_numbers_are_those_of_the_runs() -> None:
    found = replicate(scenario(), workers=1, simulate=fake)
    means = found.metrics[(found.metrics["metric"] == "mean_s") & (found.metrics["of"] == "all")]["value"]
    assert means.to_numpy() == pytest.approx([0.0035, 0.004, 0.0045])
    row = found.summary[(found.summary["metric"] == "p95_s") & (found.summary["of"] == "all")].iloc[0]
    assert row["mean"] == pytest.approx(0.004), "the objective's percentile is measured"
    assert found.objectives()["verdict"].tolist() == ["pass"]
    assert found.verdict().chosen == "shop"


def test_progress_is_told_after_every_run() -> None:
    told: list[tuple[int, int, str]] = []
    replicate(scenario(), workers=1, simulate=fake, on_progress=lambda *news: told.append(news))
    assert told == [(r + 1, 3, f"shop · base · replication {r} (seed {7 + r})") for r in range(3)]


def test_only_the_wanted_rows_are_kept() -> None:
    found = replicate(scenario(), workers=1, simulate=fake, rows=("requests",))
    assert len(found.rows("requests", columns=["arrived_s"]).columns) == 4
    with pytest.raises(ScenarioError, match="'attempts' was not kept"):
        found.rows("attempts")
    with pytest.raises(ScenarioError, match="no table 'request'; did you mean 'requests'"):
        found.rows("request")
    with pytest.raises(ScenarioError, match="no candidate 'shpo'; did you mean 'shop'"):
        found.rows(candidate="shpo")


def test_baseline_must_be_a_candidate() -> None:
    with pytest.raises(ScenarioError, match="baseline: no candidate 'fwe'; did you mean 'few'"):
        compare(comparison(), baseline="fwe", simulate=fake)
    found = compare(comparison(), 2, workers=1, baseline="many", simulate=fake)
    assert set(found.differences()["baseline"]) == {"many"}


def test_candidates_must_share_their_conditions() -> None:
    both = {"a": {"quiet": scenario()}, "b": {"crash": scenario()}}
    said = r"candidates.b: has the conditions crash, but a has quiet; give all the same"
    with pytest.raises(ValidationError, match=said):
        Comparison(candidates=both)
    unchecked = Comparison.model_construct(candidates=both)
    with pytest.raises(ScenarioError, match=said):
        compare(unchecked, simulate=fake)
    with pytest.raises(ScenarioError, match=said):
        list(unchecked.scenarios())
    with pytest.raises(ValidationError, match="at least one"):
        Comparison(candidates={"a": {}})


def test_the_focus_is_what_is_told() -> None:
    mixed = scenario(load={"rate": 40.0, "mix": {"shop.buy": 1, "payment.charge": 1}}, focus="payment.charge")
    found = replicate(mixed, 2, workers=1)
    tables = found.tables(bin_s=1.0)
    direct = found.rows("requests", columns=["entry", "arrived_s", "ended_s"])
    latencies = (direct["ended_s"] - direct["arrived_s"])[(direct["entry"] == "payment.charge") & (direct["arrived_s"] >= 0.5)]
    told = tables["summary"].set_index(["metric", "of"])["mean"]
    own = found.summary.set_index(["metric", "of"])["mean"]
    assert told["mean_s", "all"] == own["mean_s", "payment.charge"] < own["mean_s", "all"]
    assert tables["latency_cdf"]["latency_s"].max() <= latencies.max()
    assert told["completeness", "all"] == own["completeness", "all"], "effects are told as a whole"
    attempts = tables["attempts_over_time"]
    widths = np.diff([*attempts["time_s"], 3.5])
    in_focus = int((direct["entry"] == "payment.charge").sum())  # one attempt for each, in two replications
    assert (attempts["attempts_rps"] * widths).sum() == pytest.approx(in_focus / 2)


def test_tables_for_charts(tmp_path: Path) -> None:
    found = compare(comparison(), 2, workers=1, out=tmp_path / "out")
    tables = found.tables(bin_s=0.5)
    over_time = ["over_time", "attempts_over_time", "gauges_over_time", "edges"]
    assert list(tables) == ["summary", "differences", *over_time, "latency_cdf", "time_parts", "faults", "warmup"]
    assert tables["warmup"].to_numpy().tolist() == [["quiet", 0.5], ["crash", 0.5]]
    assert set(tables["summary"]["condition"]) == {"quiet", "crash"}
    assert tables["over_time"].groupby(["candidate", "condition"]).size().tolist() == [7] * 4
    assert set(tables["over_time"]["n"]) == {2}
    assert tables["faults"].to_numpy().tolist() == [["crash", "crash of payment", 1.0, 2.0]]
    from_rows = found.rows("requests", candidate="few", condition="crash", replication=1)
    measured = from_rows[(from_rows["arrived_s"] >= 0.5) & (from_rows["arrived_s"] < 3.5)]
    value = found.metrics.set_index(["candidate", "condition", "replication", "metric", "of"])["value"]
    assert value["few", "crash", 1, "success", "all"] == (measured["outcome"] == "ok").mean()


def test_queues_have_a_backlog_over_time() -> None:
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"publish": "mails"}, {"publish": "kept"}]}},
        "payment": {"workers": 1, "operations": {"charge": [{"work": {"exponential": 0.02}}]}},
    }
    found = replicate(scenario(services=services, queues={"mails": {"consumer": "payment.charge"}, "kept": {}}), 2, workers=1)
    table = found.tables()["backlog_over_time"]
    gauges = found.rows("gauges")
    mine = gauges[(gauges["name"] == "mails") & (gauges["time_s"] <= 3.5)]
    expected = (mine["busy"] + mine["queued"]).groupby(mine["time_s"]).sum() / 2
    assert table["backlog"].tolist() == expected.tolist()
    assert table["backlog"].max() > 0


def test_how_long_the_dead_were_chosen_from_is_told_where_there_is_a_registry() -> None:
    registry = {
        "registries": {"book": {"heartbeat_interval": None, "crash_delay": "500ms"}},
        "calls": {"payment": {"discovery": {"mode": "push"}}},
    }
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "payment.charge"}]}},
        "payment": {"workers": 1, "replicas": 2, "registry": "book", "operations": {"charge": [{"work": {"exponential": 0.02}}]}},
    }
    found = replicate(
        scenario(services=services, faults=[{"crash": "payment", "replica": 0, "at": 1.0}], **registry), 2, workers=1
    )
    numbers = found.summary.set_index(["metric", "of"])["mean"]
    assert (numbers["deaths", "payment"], numbers["stale_max_s", "payment"]) == (1, pytest.approx(0.5))
    assert found.tables()["staleness"]["stale_s"].tolist() == pytest.approx([0.5, 0.5])


def test_charts_of_a_single_run_are_about_the_scenario_and_not_about_base() -> None:
    tables = replicate(scenario(faults=[{"crash": "payment", "at": 1.0}]), 2, workers=1, simulate=fake).tables()
    assert {name: set(table["condition"]) for name, table in tables.items() if len(table)} == {
        name: {"shop"}
        for name in (
            "summary", "over_time", "attempts_over_time", "gauges_over_time", "edges", "latency_cdf", "time_parts", "faults",
            "warmup",
        )
    }  # fmt: skip


def test_states_of_breakers_are_a_table_where_there_are_any() -> None:
    calls = {"shop -> payment": {"circuit_breaker": {"consecutive_failures": 3, "open_duration": 0.5}}}
    crash = [{"crash": "payment", "at": 1.0, "for": 1.0}]
    both = Comparison(
        candidates={"none": {"base": scenario(faults=crash)}, "some": {"base": scenario(faults=crash, calls=calls)}}
    )
    found = compare(both, 2, workers=1)
    states = found.tables()["states"]
    assert set(states["candidate"]) == {"some"}
    assert set(states["seed"]) == {7}, "one run stands for all"
    assert set(states["state"]) == {"open", "half_open", "closed"}
    opened = states[states["state"] == "open"]
    assert opened["start_s"].between(1.0, 3.0).all()  # up at 2.0, and a second later they know
    assert (opened["end_s"] - opened["start_s"]).min() == pytest.approx(0.5, abs=0.1)
    assert "states" not in compare(both, 2, workers=1, rows=("requests", "attempts")).tables()


def test_a_fault_that_not_all_candidates_have_names_them() -> None:
    crash = [{"crash": "payment", "at": 1.0}]
    both = Comparison(candidates={"a": {"base": scenario()}, "b": {"base": scenario(faults=crash)}})
    faults = compare(both, 1, workers=1, simulate=fake).faults()
    assert faults["label"].tolist() == ["crash of payment (b only)"]
    assert faults["end_s"].isna().all()


def test_every_kind_of_fault_has_a_name_on_the_time_axis() -> None:
    faults = [{"stop": "payment", "replica": 0, "at": 1.0, "for": 1.0}, {"pause": "payment", "at": 2.0}]
    found = replicate(scenario(faults=faults), 1, workers=1, simulate=fake).faults()
    assert found["label"].tolist() == ["stop of payment, replica 0", "pause of payment"]
    many = [{"stop": "payment", "replica": 0, "at": 1.0 + i / 4, "for": 0.1} for i in range(4)]
    assert replicate(scenario(faults=many), 1, workers=1, simulate=fake).faults()["label"].tolist() == ["stop of payment"] * 4


def test_results_say_what_they_are(tmp_path: Path) -> None:
    found = compare(comparison(), workers=1, simulate=fake)
    assert repr(found) == "<Results few or many workers?: 2 candidates × 2 conditions, 12 runs, seeds 7 to 9; in memory>"
    stored = replicate(scenario(), 1, workers=1, simulate=fake, out=tmp_path / "out")
    assert repr(stored) == f"<Results shop: 1 candidates × 1 conditions, 1 runs, seed 7; {tmp_path / 'out'}>"


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_results_directory_says_everything(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "out"
    found = compare(comparison(), workers=1, simulate=fake, out=out)
    names = ["differences.csv", "manifest.json", "metrics.csv", "rows", "summary.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert len(list((out / "rows").iterdir())) == 12 * len(TABLES)
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing temporary is left"
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["partial"], manifest["stopped_by"], manifest["seeds"]) == (False, None, [7, 8, 9])
    assert [case["hash"] for case in manifest["cases"]] == [given.hash for _, _, given in comparison().scenarios()]
    assert [case["replications"] for case in manifest["cases"]] == [[0, 1, 2]] * 4
    assert {"sim", "python", "numpy", "simpy"} <= set(manifest["versions"])
    assert {"date", "command_line", "settings"} <= set(manifest)
    again = load_results(out)
    assert again.scenarios == found.scenarios
    pd.testing.assert_frame_equal(pd.read_csv(out / "summary.csv"), found.summary, check_dtype=False)
    rows = pd.read_parquet(out / "rows" / "requests-00000.parquet")
    assert list(rows.columns[:4]) == ["candidate", "condition", "replication", "request"]


def test_rows_of_a_stored_study_do_not_pass_through_the_parent(tmp_path: Path) -> None:
    found = replicate(scenario(), workers=1, simulate=fake, out=tmp_path / "out")
    assert not isinstance(found.source, RowsInMemory)
    kept = replicate(scenario(), workers=1, simulate=fake)
    assert isinstance(kept.source, RowsInMemory)


def test_an_earlier_result_is_kept_as_previous(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        replicate(scenario(), 1, workers=1, simulate=fake, seed=seed, out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.previous"]
    assert load_results(tmp_path / "out").runs[0].seed == 3
    assert load_results(tmp_path / "out.previous").runs[0].seed == 2


def test_rows_are_those_of_their_own_study_or_an_error(tmp_path: Path) -> None:
    first = replicate(scenario(), 1, workers=1, simulate=fake, seed=1, out=tmp_path / "out")
    loaded = load_results(tmp_path / "out")
    assert len(first.rows()) == len(loaded.rows()) == 1
    second = replicate(scenario(), 1, workers=1, simulate=fake, seed=2, out=tmp_path / "out")
    assert len(second.rows()) == 2
    for one in (first, loaded):
        with pytest.raises(ScenarioError, match=r"a later study has been written there; load these results from .*out\.previous"):
            one.rows()
        with pytest.raises(ScenarioError, match="a later study has been written there"):
            one.tables()
    assert len(load_results(tmp_path / "out.previous").rows()) == 1
    replicate(scenario(), 1, workers=1, simulate=fake, seed=3, out=tmp_path / "out")
    with pytest.raises(ScenarioError, match="were replaced or removed meanwhile; run the study again"):
        first.rows()
    assert len(first.summary) > 0, "the numbers are in memory"


def test_results_without_an_id_are_read_until_something_else_is_there(tmp_path: Path) -> None:
    replicate(scenario(), 1, workers=1, simulate=fake, seed=1, out=tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    del manifest["run_id"]  # as an earlier version wrote it
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    old = load_results(tmp_path / "out")
    assert len(old.rows()) == 1
    replicate(scenario(), 1, workers=1, simulate=fake, seed=2, out=tmp_path / "out")
    with pytest.raises(ScenarioError, match="a later study"):
        old.rows()


def test_names_are_text_even_when_they_look_like_something_else(tmp_path: Path) -> None:
    both = Comparison(candidates={"NA": {"1": scenario()}, "2": {"1": scenario(8)}})
    found = compare(both, workers=1, simulate=fake, out=tmp_path / "out")
    again = load_results(tmp_path / "out")
    pd.testing.assert_frame_equal(again.metrics, found.metrics)
    assert again.metrics["value"].isna().any(), "missing values are still missing"
    assert again.differences()["baseline"].unique().tolist() == ["NA"]


@pytest.mark.parametrize("kind", ["file", "directory of something else"])
def test_what_is_not_results_is_never_replaced(tmp_path: Path, kind: str) -> None:
    taken = tmp_path / "home"
    if kind == "file":
        taken.write_text("mine")
    else:
        (taken / "letters").mkdir(parents=True)
    with pytest.raises(ScenarioError, match="choose another directory"):
        replicate(scenario(), workers=1, simulate=fake, out=taken)
    assert taken.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_unwritable_directory_is_found_before_the_first_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def never(given: Scenario, seed: int) -> Any:
        raise AssertionError("started a run that could not be stored")

    said = rf"/out: cannot write the results: {tmp_path}/file is a file; choose another directory$"
    with pytest.raises(ScenarioError, match=said):
        replicate(scenario(), workers=1, simulate=never, out=tmp_path / "file" / "deep" / "out")


def test_leftovers_of_a_killed_study_are_removed(tmp_path: Path) -> None:
    program = f"import os\nfrom sim.study.store import Writer\nWriter({str(tmp_path / 'out')!r})\nos.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    (left,) = tmp_path.glob(".out.writing-*")
    for name in (".out2.writing-1", ".out.writing-b.writing-1"):  # of studies called out2 and out.writing-b
        (tmp_path / name).mkdir()
    writer = Writer(tmp_path / "out")
    assert not left.exists()
    writer.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.writing-b.writing-1", ".out2.writing-1"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "holds no results"),
        ("not json", "cannot be read as results"),
        ("[]", "cannot be read as results"),
        ('{"format": 99}', "update sim"),
        ('{"format": 1}', "cannot be read back"),
    ],
)
def test_a_directory_that_is_no_results_is_explained(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ScenarioError, match=message):
        load_results(tmp_path)


def test_default_directories_stay_inside_results() -> None:
    assert default_directory("a/../../b").as_posix() == "results/a-..-..-b"
    assert default_directory("..").as_posix() == "results/study"
    assert default_directory("größer 2").as_posix() == "results/größer-2"


def test_costs_are_of_all_requests_whatever_the_focus(capsys: pytest.CaptureFixture[str]) -> None:
    mixed = scenario(load={"rate": 40.0, "mix": {"shop.buy": 1, "payment.charge": 1}}, focus="payment.charge")
    found = replicate(mixed, 2, workers=1)
    own = found.summary.set_index(["metric", "of"])["mean"]
    told = found.tables(bin_s=1.0)["summary"].set_index(["metric", "of"])["mean"]
    assert own["attempts_per_request", "payment.charge"] < own["attempts_per_request", "all"]
    for metric in ("attempts_per_request", "busy_s_per_good"):
        assert told[metric, "all"] == own[metric, "all"]
    show_results(Console(width=140), found)
    shown = capsys.readouterr().out
    assert "attempts per request (all requests)" in shown
    assert "busy worker time per good request (all requests)" in shown
    assert "success (all requests)" not in shown


def test_calls_that_are_tried_more_than_once_are_shown_with_their_tries(capsys: pytest.CaptureFixture[str]) -> None:
    crash = [{"crash": "payment", "at": 1.0, "for": 1.0}]
    thrice = scenario(faults=crash, calls={"payment": {"retry": {"max_attempts": 3}}})
    both = Comparison(candidates={"once": {"base": scenario(faults=crash)}, "thrice": {"base": thrice}})
    show_results(Console(width=140), compare(both, 2, workers=1))
    [shown] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tries per call to ")]
    target, once, three = shown.strip().split("  ", 1)[0], *[cell for cell in shown.split("  ")[1:] if cell.strip()][:2]
    assert (target, once.strip()) == ("tries per call to payment.charge", "1 [1, 1]")
    # Three tries of the calls of two seconds in three: one of the crash, one until callers know that payment is back.
    assert float(three.split()[0]) == pytest.approx(1 + 2 * 2 / 3, rel=0.1)


def test_deployments_and_flushes_are_moments_in_charts_and_only_faults_are_survived() -> None:
    case = scenario(
        faults=[{"slow": "payment", "factor": 3, "at": 1.0, "for": 1.0}, {"flush": "shop -> payment", "at": 2.0}],
        calls={"payment": {"cache": {"max_age": 1.0}}},
        deployments=[{"rollout": "payment", "at": 2.5}, {"scale": "payment", "replicas": 3, "at": 3.0}],
    )
    found = replicate(case, 1, workers=1, simulate=fake)
    rows = [("payment 3 × slower", 1.0, 2.0), ("flush of shop -> payment", 2.0, 2.0)]
    assert list(found.faults()[["label", "start_s", "end_s"]].itertuples(index=False, name=None)) == rows
    rows += [("rollout of payment", 2.5, 2.5), ("payment to 3 replicas", 3.0, 3.0)]
    marks = found.tables()["faults"]
    assert list(marks[["label", "start_s", "end_s"]].itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize(
    ("path", "program"),
    [("/home/me/sim/__main__.py", "sim"), ("/usr/bin/sim", "sim"), ("study.py", "study.py")],
)
def test_a_manifest_says_a_command_that_a_reader_can_type(path: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [path, "run", "my shop.yaml"])
    told = circumstances("shop", "", datetime.now().astimezone())
    assert told["command_line"] == f"{program} run 'my shop.yaml'"
