"""Sensitivity: swings that can be worked out by hand, flips where theory puts them, and what the command says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from studies import comparison, fake, scenario
from typer.testing import CliRunner

import sim
from sim import plots
from sim.analysis.sensitivity import indices_of, sample_of, swings
from sim.cli import app
from sim.cli.sensing import flips_in_words
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.study import Sensitivity, sensitivity, together
from sim.study.sensing import _flipping_first


def table(rows: list[tuple[str, str, str, int, float]]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["input", "end", "candidate", "replication", "value"])
    return found.assign(condition="base")


# --- the tornado ------------------------------------------------------------------------------------------------------


def test_a_swing_is_paired_with_what_is_written() -> None:
    rows = [("work", end, "one", r, value) for end, values in
            {"low": (1.0, 3.0), "written": (2.0, 4.0), "high": (5.0, 9.0)}.items() for r, value in enumerate(values)]  # fmt: skip
    rows += [("load", end, "one", r, value) for end, values in
             {"written": (2.0, 4.0), "high": (2.5, 4.5)}.items() for r, value in enumerate(values)]  # fmt: skip
    found = swings(table(rows)).set_index(["input", "end"])
    assert list(dict.fromkeys(found.index.get_level_values("input"))) == ["work", "load"], "the widest first"
    assert found["mean"].tolist() == [2.0, 3.0, 7.0, 3.0, 3.5]
    # Both replications fall by exactly 1, although they differ by 2: the seeds are the same.
    assert found.loc[("work", "low"), ["change", "change_low", "change_high"]].tolist() == [-1.0, -1.0, -1.0]
    # 3 and 5 more: 4 ± t(1) · sqrt(2)/sqrt(2) = 4 ± 12.706
    assert found.loc[("work", "high"), ["change", "change_low", "change_high"]].tolist() == pytest.approx(
        [4, -8.706, 16.706], abs=1e-3
    )


def test_with_a_baseline_the_difference_of_candidates_swings() -> None:
    rows = [("work", end, name, r, value + r) for end, (one, other) in
            {"low": (1.0, 5.0), "written": (2.0, 2.0), "high": (4.0, 1.0)}.items()
            for name, value in (("one", one), ("other", other)) for r in range(3)]  # fmt: skip
    found = swings(table(rows), "one")
    assert found["candidate"].unique().tolist() == ["other"]
    assert found["mean"].tolist() == [4.0, 0.0, -3.0]
    assert found["change"].tolist() == [4.0, 0.0, -3.0]


def test_without_a_value_as_written_the_tornado_says_so() -> None:
    ends = pd.DataFrame({"input": "work", "end": ["low", "written"], "mean": [1.0, np.nan], "written": ["1ms", "2ms"]})
    ax = plots.tornado(ends.assign(change_low=np.nan, change_high=np.nan), metric="p99_s")
    assert [text.get_text().strip() for text in ax.texts] == ["no value as written"]
    plt.close("all")


def test_whiskers_far_beyond_the_bars_are_cut_and_end_in_arrows() -> None:
    ends = pd.DataFrame({"input": "work", "end": ["low", "written", "high"], "mean": [1.0, 2.0, 4.0], "written": ["1", "2", "4"]})
    ends = ends.assign(change_low=[-20.0, 0.0, 1.5], change_high=[18.0, 0.0, 2.5])
    ax = plots.tornado(ends, metric="p99_s", notes={"work": "flips from 3 up"})
    assert ax.get_xlim() == pytest.approx((-2 - 0.36, 7 + 0.36)), "bars from 1 to 4, their length on either side, and a margin"
    assert {line.get_marker(): line.get_xdata()[0] for line in ax.lines if line.get_marker() in "<>"} == {"<": -2.0, ">": 7.0}
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "|"] == [3.5, 4.5]
    assert ax.get_yticklabels()[0].get_text() == "work\n1 · 2 · 4\nflips from 3 up"
    plt.close("all")


def test_what_flips_stands_on_top_of_what_moves_more() -> None:
    ends = pd.DataFrame({"candidate": "a", "condition": ["x"] * 3 + ["y"] * 2, "input": ["far", "far", "flips", "far", "flips"]})
    assert _flipping_first(ends, {"flips"})["input"].tolist() == ["flips", "far", "far", "flips", "far"]


# --- what flips the recommendation ------------------------------------------------------------------------------------


def rivals(**changes: Any) -> Comparison:
    """Two candidates, told apart by their workers."""
    return Comparison(
        name="rivals", candidates={n: {"all": scenario(w, slos=[], **changes)} for n, w in (("few", 1), ("many", 8))}
    )


def crossing(border: float, noise: float = 0.0) -> Any:
    """`few` takes a second; `many` takes load / border seconds, give or take."""

    def simulate(given: Scenario, seed: int) -> SimpleNamespace:
        found = fake(given, 7)
        many = given.services["shop"].workers == 8
        chance = np.random.default_rng((seed, many))
        latency_s = (given.load.rate / border if many else 1.0) * (1 + noise * chance.standard_normal())
        found.requests["ended_s"] = found.requests["arrived_s"] + latency_s
        return found

    return simulate


def test_the_input_that_flips_the_recommendation_is_found_with_its_value() -> None:
    inputs = {"load.rate": "10..90", "services.payment.workers": "1..4"}
    found = sensitivity(rivals(), inputs, workers=1, replications=2, tolerance=0.04, simulate=crossing(60))
    assert found.chosen == "many"  # 40/s are written: 0.67 s against 1 s
    flips = found.flips.set_index(["input", "end"])
    assert flips["chosen"].tolist() == ["many", "few", "many", "many"]
    flip = flips.loc[("load.rate", "high")]
    assert flip["keeps_until"] <= 60 <= flip["changes_at"] <= flip["settled_from"] <= 60 + 2 * 0.04 * 50
    assert "few is chosen" in flip["why"]
    assert list(dict.fromkeys(found.ends["input"])) == ["load.rate", "services.payment.workers"]
    assert flips.drop(("load.rate", "high"))[["keeps_until", "changes_at", "settled_from"]].isna().all(axis=None)
    top = found.ends[found.ends["input"] == "load.rate"].set_index("end")
    assert found.ends["input"].iloc[0] == "load.rate"
    assert top["value"].tolist() == [10, 40, 90]
    assert top["mean"].tolist() == pytest.approx([10 / 60 - 1, 40 / 60 - 1, 90 / 60 - 1])


def test_noise_leaves_an_interval_that_holds_the_flip() -> None:
    found = sensitivity(
        rivals(), {"load.rate": "40..200"}, workers=1, replications=12, tolerance=0.08, simulate=crossing(60, 0.2)
    )
    (flip,) = found.flips.to_dict("records")  # 40/s are written: that bound needs no runs
    assert flip["keeps_until"] < 60 < flip["settled_from"]
    # Both vary by 0.2 s, so a difference has to be t(11) · 0.28 s / sqrt(12) = 0.18 s, 11/s on either side.
    assert 8 < flip["settled_from"] - flip["keeps_until"] < 60


def test_whole_numbers_flip_between_two_neighbours() -> None:
    def simulate(given: Scenario, seed: int) -> SimpleNamespace:
        return crossing(given.load.rate * given.services["payment"].workers / 5.5)(given, seed)  # type: ignore[operator]

    found = sensitivity(
        rivals(), {"services.payment.workers": "1..40"}, workers=1, replications=2, tolerance=0.01, simulate=simulate
    )
    flip = found.flips[found.flips["end"] == "high"].iloc[0]
    assert (found.chosen, flip["chosen"]) == ("few", "many")
    assert (flip["keeps_until"], flip["changes_at"], flip["settled_from"]) == (5, 6, 6)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "--input: no input"),
        ({"load.rte": "1..2"}, "did you mean 'rate'"),
        ({"load.rate": "50..60"}, "40/s is written, which lies outside of 50..60"),
        ({"load.rate": "10,20"}, "--input load.rate: 10,20 is no range"),
        ({"services.shop.workers": "1..9"}, "differ in it .1, 8.; an input is what all of them share"),
        ({"services.shop.operations.buy.steps[0].work": "1ms..1s"}, "name the one in it: .*steps.0..work.exponential"),
        ({"links.default.loss": "0..0.1"}, "is no number as written .null."),
    ],
)
def test_bad_inputs_are_refused_before_any_run(inputs: dict[str, str], said: str) -> None:
    def never(given: Scenario, seed: int) -> Any:
        raise AssertionError("it has run")

    with pytest.raises(ScenarioError, match=said):
        sensitivity(rivals(), inputs, workers=1, simulate=never)


def test_finished_runs_are_shared_with_sweeps(tmp_path: Path) -> None:
    sim.sweep(comparison(), {"load.rate": [20, 80]}, 2, workers=1, archive=tmp_path, duration=1.0)
    question: dict[str, Any] = {"workers": 1, "replications": 2, "archive": tmp_path, "duration": 1.0, "tolerance": 0.5}
    first = sensitivity(comparison(), {"load.rate": "20..80"}, **question)
    # Written and both ends, two candidates, two conditions, two replications are 24 runs; the sweep has made 16 of them.
    probes = int(first.flips["keeps_until"].notna().sum())
    assert first.simulated == 8 if not probes else first.simulated >= 8
    assert sensitivity(comparison(), {"load.rate": "20..80"}, **question).simulated == 0


# --- all at once ------------------------------------------------------------------------------------------------------


def test_morris_and_sobol_know_the_shares_of_a_sum() -> None:
    """3a + b of two uniform inputs: changes of 3 and 1; shares of variance 0.9 and 0.1; nothing acts together."""
    shares = sample_of("morris", 3, 10, 1)
    found = indices_of("morris", ["a", "b", "idle"], shares, list(3 * shares[:, 0] + shares[:, 1]), 1)
    assert found["input"].tolist() == ["a", "b", "idle"]
    assert found["effect"].tolist() == pytest.approx([3, 1, 0])
    assert found["spread"].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    shares = sample_of("sobol", 3, 512, 1)
    assert len(shares) == 512 * 5
    found = indices_of("sobol", ["a", "b", "idle"], shares, list(3 * shares[:, 0] + shares[:, 1]), 1)
    assert found["total"].tolist() == pytest.approx([0.9, 0.1, 0.0], abs=0.03)
    assert found["first"].tolist() == pytest.approx([0.9, 0.1, 0.0], abs=0.06)


def test_inputs_that_move_together_are_a_sweep_over_the_points() -> None:
    inputs = {"load.rate": "20..80", "services.payment.workers": "1..4"}
    found = together(rivals(), inputs, "morris", size=4, replications=1, workers=1, simulate=crossing(60))
    assert len(found.swept.points) == 4 * 3 * 2, "trajectories of three points, two candidates"
    many = found.indices[found.indices["candidate"] == "many"]
    assert many["input"].tolist() == ["load.rate", "services.payment.workers"]
    assert many["effect"].tolist() == pytest.approx([1.0, 0.0]), "60/s more are a second more"
    with pytest.raises(ScenarioError, match=r"--size 3: .*a power of two"):
        together(rivals(), inputs, "sobol", size=3)
    with pytest.raises(ScenarioError, match="no method 'moris'; did you mean 'morris'"):
        together(rivals(), inputs, "moris")


def test_without_the_extra_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "SALib.sample.morris", None)
    with pytest.raises(ScenarioError, match=r"pip install 'sim\[sensitivity\]'"):
        sample_of("morris", 2, 4, 1)


# --- the command and the chart ----------------------------------------------------------------------------------------

RIVALS = """\
base:
  services: {shop: {workers: 2, operations: {buy: [{work: {exponential: 10ms}}]}}}
  load: {rate: 50/s, mix: shop.buy}
  run: {duration: 3s}
candidates: {one: {}, two: {services: {shop: {workers: 4}}}}
"""


def test_the_command_draws_the_tornado_and_says_what_flips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rivals.yaml").write_text(RIVALS)
    arguments = ["sensitivity", "rivals.yaml", "-w", "1", "-r", "3", "--tolerance", "50 %", "--input", "load.rate=50/s..280/s"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "As written: " in result.stdout
    place = tmp_path / "results" / "rivals-sensitivity"
    assert sorted(path.name for path in place.iterdir()) == ["ends.csv", "flips.csv", "tornado.png", "tornado.svg"]
    again = CliRunner().invoke(app, [*arguments, "--no-charts", "--format", "json"], catch_exceptions=False)
    found = json.loads(again.stdout)
    assert found["simulated_runs"] == 0
    assert [row["written"] for row in found["ends"]] == ["50/s", "280/s"], "what is written is the low end"
    wrong = CliRunner().invoke(app, ["sensitivity", "rivals.yaml", "--input", "load.rate"], catch_exceptions=False)
    assert (wrong.exit_code, "--input load.rate: write PATH=VALUES" in wrong.stderr) == (2, True)


def test_flips_are_told_in_sentences() -> None:
    flips = pd.DataFrame(
        [
            ("work", "high", 0.06, "one try", 0.04, 0.042, 0.05, "it is faster."),
            ("load", "low", 60.0, None, 100.0, 90.0, None, "there is a tie."),
            ("fail", "high", 0.1, "three tries", None, None, None, None),
        ],
        columns=["input", "end", "bound", "chosen", "keeps_until", "changes_at", "settled_from", "why"],
    )
    found = Sensitivity("rivals", "", "p99_s", "one try", "three tries", pd.DataFrame(), flips, 0, {"work": "s", "load": "/s"})
    assert flips_in_words(found) == [
        "As written: 'three tries' is chosen.",
        "Flips hold for these seeds; other seeds may put them beyond these ends (try --seed).",
        "work: up to 40 ms the choice stays; from 50 ms on 'one try' is chosen; between, noise decides. At 60 ms: it is faster.",
        "load: down to 100/s the choice stays; from 90/s on nobody is surely the best. At 60/s: there is a tie.",
        "fail: no flip between its bounds.",
    ]
