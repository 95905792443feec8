"""Regret: worked out by hand, with the choice it makes and the sentence it adds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import comparison, fake
from typer.testing import CliRunner

import sim
from sim.analysis.regret import deciding_metric, regret
from sim.cli import app
from sim.errors import ScenarioError
from sim.plots import regret_map


def table(values: dict[str, dict[str, list[float]]], metric: str = "p99_s") -> pd.DataFrame:
    rows = [
        (name, condition, r, metric, "all", value)
        for name, conditions in values.items()
        for condition, some in conditions.items()
        for r, value in enumerate(some)
    ]
    return pd.DataFrame(rows, columns=["candidate", "condition", "replication", "metric", "of", "value"])


#: Means: calm 1, 3, 2; crash 9, 4, 5. Best are fast (calm) and slow (crash); regrets 0|5, 2|0, 1|1.
THREE = {
    "fast": {"calm": [0.9, 1.1], "crash": [8.0, 10.0]},
    "slow": {"calm": [2.9, 3.1], "crash": [3.0, 5.0]},
    "both": {"calm": [1.9, 2.1], "crash": [4.0, 6.0]},
}


def test_regret_names_nobody_among_equals() -> None:
    same = regret(table({"one": {"calm": [1.0, 2.0], "crash": [5.0, 6.0]}, "two": {"calm": [1.0, 2.0], "crash": [5.0, 6.0]}}))
    assert same.alike
    assert same.sentences(None) == []
    assert not regret(table(THREE)).alike


def test_the_choice_by_regret_is_never_far_from_the_best() -> None:
    found = regret(table(THREE))
    cells = found.table.set_index(["candidate", "condition"])
    assert found.table["regret"].tolist() == pytest.approx([0, 2, 1, 5, 0, 1])
    assert cells.loc[("both", "crash"), "best"] == "slow"
    # Paired by seed, both is exactly 1 behind slow each time, although either varies by 1.
    assert cells.loc[("both", "crash"), ["low", "high"]].tolist() == pytest.approx([1, 1])
    assert found.totals["candidate"].tolist() == ["both", "slow", "fast"]
    assert found.totals["worst"].tolist() == pytest.approx([1, 2, 5])
    assert found.totals["expected"].tolist() == pytest.approx([1, 1, 2.5])
    assert (found.minimax, found.sure) == ("both", True)
    assert found.sentences("both") == []
    assert found.sentences("fast") == [
        "By regret in p99 it is both: at worst 1 s from the best, under calm.",
        "The verdict's fast is at worst 5 s from the best, under crash.",
    ]


def test_two_replications_leave_wide_intervals() -> None:
    # Behind "a" by 1 and 3 under x: 2 ± t(1) · sqrt(2)/sqrt(2); t(1) is 12.706 at 95 %, 25.452 for two at once.
    found = regret(table({"a": {"x": [1.0, 1.0], "y": [5.0, 5.0]}, "b": {"x": [2.0, 4.0], "y": [5.0, 5.0]}}))
    row = found.totals.set_index("candidate").loc["b"]
    assert (row["worst_low"], row["worst_high"]) == (0, pytest.approx(2 + 25.452, abs=1e-3))
    assert (row["expected_low"], row["expected_high"]) == (0, pytest.approx(1 + 12.706 / 2, abs=1e-3))
    assert not found.sure


def test_sure_is_who_is_apart_from_all_others() -> None:
    first = {"first": {"x": [1.0, 1.0]}, "far": {"x": [9.0, 9.0]}}
    assert regret(table(first)).sure
    assert not regret(table(first | {"near": {"x": [1.2, 0.9]}})).sure


def test_one_replication_is_sure_of_nothing() -> None:
    found = regret(table({name: {under: some[:1] for under, some in each.items()} for name, each in THREE.items()}))
    assert found.totals[["worst_low", "worst_high", "expected_low", "expected_high"]].isna().all(axis=None)
    assert not found.sure


def test_intervals_cover_the_true_worst_case_as_often_as_they_say() -> None:
    chance, covered = np.random.default_rng(3), 0
    for _ in range(40):  # b is 2 behind under x and 1 ahead under y; both vary by 0.5
        noise = chance.normal(0, 0.5, (4, 3))
        ax, ay, bx, by = (list(mean + some) for mean, some in zip((1, 5, 3, 4), noise, strict=True))
        row = regret(table({"a": {"x": ax, "y": ay}, "b": {"x": bx, "y": by}})).totals.set_index("candidate").loc["b"]
        covered += row["worst_low"] <= 2 <= row["worst_high"]
    assert covered >= 36


def test_weights_count_for_the_expectation_only() -> None:
    found = regret(table(THREE), weights={"calm": 9, "crash": 1})
    assert found.totals.set_index("candidate")["expected"].to_dict() == pytest.approx({"both": 1, "slow": 1.8, "fast": 0.5})
    assert (found.least_expected, found.minimax) == ("fast", "both")
    with pytest.raises(ScenarioError, match="no condition 'clam'; there are calm, crash"):
        regret(table(THREE), weights={"clam": 1})


def test_of_success_more_is_better_and_noise_leaves_the_choice_open() -> None:
    noisy = {"a": {"x": [0.9, 0.5, 0.7], "y": [0.6, 0.8, 0.7]}, "b": {"x": [0.5, 0.9, 0.65], "y": [0.8, 0.6, 0.7]}}
    found = regret(table(noisy, "success"))
    assert found.table["regret"].tolist() == pytest.approx([0, 0.05 / 3, 0, 0], abs=1e-9)
    assert found.minimax == "a"
    assert not found.sure
    assert found.sentences(None)[0].startswith("By regret in success it is a (with other seeds it might be another)")


def test_who_has_no_value_is_worse_than_any_number() -> None:
    found = regret(table({"up": {"x": [9.0, 9.0], "y": [1.0, 1.0]}, "down": {"x": [1.0, 1.0], "y": [0.5, math.nan]}}))
    assert found.totals["candidate"].tolist() == ["up", "down"]
    assert found.totals["worst"].tolist() == [8.0, math.inf]
    assert found.totals["worst_low"].tolist() == [8.0, math.inf]
    assert found.sure, "who is never answered is surely worse"
    assert "without bound from the best, under y" in found.sentences("down")[1]
    never = regret(table(THREE | {"dead": {"calm": [math.nan] * 2, "crash": [1.0, 1.0]}}), weights={"calm": 0})
    assert never.least_expected == "dead", "what never happens counts nothing"


def test_success_decides_where_it_differs_and_else_latency() -> None:
    fail = {"a": {"x": [0.9, 0.91]}, "b": {"x": [0.5, 0.51]}}
    assert deciding_metric(table(fail, "success"), None) == "success"
    tie = table({"a": fail["a"], "b": fail["a"]}, "success")
    assert deciding_metric(pd.concat([tie, tie.assign(metric="p99_s")]), None) == "p99_s"


def test_the_map_has_a_number_in_each_cell_that_can_be_read_in_grey() -> None:
    found = regret(table(THREE))
    ax = regret_map(found.table, found.totals, metric="p99_s")
    told = " ".join(text.get_text() for text in ax.texts)
    assert told == "1 s 1 s 1 s 1 s 2 s 0 s 2 s 1 s 0 s 5 s 5 s 2.5 s"
    assert {text.get_text(): text.get_color() for text in ax.texts}["5 s"] == "white", "on dark"
    assert ax.texts[0].get_color() == "black"


def test_the_command_reads_results_and_writes_the_map(tmp_path: Path) -> None:
    sim.compare(comparison(), 2, workers=1, simulate=fake, out=tmp_path / "out")
    result = CliRunner().invoke(app, ["regret", str(tmp_path / "out"), "--metric", "mean_s"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "least regret in the worst case: many" in result.stdout
    assert (tmp_path / "out" / "charts" / "regret.png").exists()
    data = json.loads(CliRunner().invoke(app, ["regret", str(tmp_path / "out"), "--no-charts", "-f", "json"]).stdout)
    assert (data["metric"], data["minimax"], data["weights"]) == ("p99_s", "many", {"quiet": 0.5, "crash": 0.5})
    wrong = CliRunner().invoke(app, ["regret", str(tmp_path / "out"), "--weight", "quiet"], catch_exceptions=False)
    assert (wrong.exit_code, "write CONDITION=NUMBER" in wrong.stderr) == (2, True)
