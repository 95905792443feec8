"""`sim validate`: published numbers beside simulated ones, with a verdict, and an exit code for a pipeline."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from test_cli import sim

from sim.errors import ScenarioError
from sim.validation import all_cases, chosen, judge, table
from sim.validation.case import Case, exactly, near

QUICK = "R2"  # nothing is left to chance in it: one run


def test_every_number_stands_beside_the_expected_one() -> None:
    rows = json.loads(sim("validate", QUICK, "-q", "-w", "1", "--format", "json").stdout)
    assert {row["id"] for row in rows} == {"R2"}
    bottom = next(row for row in rows if row["what"] == "mean of attempts at the bottom")
    assert (bottom["expected"], bottom["simulated"], bottom["half_width"], bottom["verdict"]) == (64, 64, 0, "reproduced")
    written = sim("validate", QUICK, "-w", "1", "--format", "csv")
    assert [row["case"] for row in csv.DictReader(io.StringIO(written.stdout))] == [row["case"] for row in rows]
    assert "8 of 8 numbers of 2 cases are reproduced" in written.stderr
    assert "4 tries in each of 3 layers" in sim("validate", QUICK, "-q", "-w", "1").stdout


def test_a_number_that_is_not_reproduced_is_told_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    right = chosen([QUICK])[0]
    wrong = replace(right, expected={**right.expected, "mean of attempts at the bottom": exactly(63)})
    monkeypatch.setattr(table, "all_cases", lambda: (wrong,))
    told = sim("validate", "-w", "1", code=1)
    assert "too far" in told.stdout
    assert "3 of 4 numbers of 1 cases are reproduced" in told.stderr


def test_cases_are_chosen_by_id_group_or_name_and_nothing_else() -> None:
    assert {case.id for case in chosen(["q1", "LB3"])} == {"Q1", "LB3"}
    assert {case.group for case in chosen(["circuit breakers"])} == {"circuit breakers"}
    assert chosen([]) == list(all_cases())
    with pytest.raises(ScenarioError, match=r"no case 'Q99'; known are the groups one line, .*; and Q1, Q2, "):
        chosen(["Q99"])
    assert "no case 'Q99'" in sim("validate", "Q99", code=2).stderr


def test_the_list_names_sources_and_what_only_tests_check() -> None:
    told = sim("validate", "--list").stdout
    assert "Kleinrock 1975" in told
    assert "Only in the tests:" in told


def of_seeds(expected: float) -> Case:
    """A case whose number is the seed of its run."""
    numbers = {"mean of x": near(expected, 0.1)}
    return replace(chosen([QUICK])[0], read=lambda result: ({"x": float(result.seed)}, {}), expected=numbers, seeds=21)


def test_a_wide_interval_is_no_success_and_a_control_that_is_not_luck_no_excuse() -> None:
    # Seeds 1 to 21 have the mean 11, with a 99 % interval of 11 ± 3.85: more than two bands of 1.1.
    (found,) = judge(of_seeds(11.0))
    assert (found.simulated, found.doubt) == (pytest.approx(11.0), "too few requests to tell")
    assert found.half_width == pytest.approx(3.85, abs=0.01)
    assert judge(of_seeds(20.0))[0].doubt == "too far"
    biased = replace(of_seeds(11.0), read=lambda result: ({"x": 11.0}, {"tilt": 1.0 + result.seed / 100}))
    assert [found.doubt for found in judge(biased)] == ["", "not luck"]
