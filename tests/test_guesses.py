"""Numbers that a scenario calls guessed or measured: what is asked of them, and who uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from studies import comparison, fake, scenario
from typer.testing import CliRunner

import sim
from sim.cli import app
from sim.errors import ScenarioError
from sim.report.settings import assumptions
from sim.scenario.model import Scenario
from sim.scenario.origins import origin_of
from sim.scenario.yaml import loads
from sim.study import sensitivity

SHOP = """\
services:
  shop: {workers: 4, operations: {buy: [{work: {exponential: 20ms}}, {call: bank.pay}]}}
  bank: {workers: 8, operations: {pay: [{work: 5ms}]}}
load: {rate: 100/s, mix: shop.buy}
run: {duration: 1s, replications: 2}
guesses:
  services.shop.workers: 2..8
  services.shop.operations.buy[0].work.exponential: 10ms..40ms
measured:
  services.shop: traces of a day
"""


def checked(place: Path, text: str) -> Any:
    (place / "shop.yaml").write_text(text)
    return CliRunner().invoke(app, ["check", str(place / "shop.yaml")], catch_exceptions=False)


def test_a_check_shows_the_guesses(tmp_path: Path) -> None:
    result = checked(tmp_path, SHOP)
    assert result.exit_code == 0
    assert "guess     services.shop.workers 2..8\n" in result.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("workers: 2", "wrkers: 2", "shop.yaml:7: guesses.services.shop.wrkers: unknown key 'wrkers'; did you mean 'workers'?"),
        ("buy[0]", "buy[7]", "shop.yaml:8: guesses.services.shop.operations.buy[7].work.exponential: there is no [7]"),
        (
            "  services.shop: t",
            "  services.shp: t",
            "shop.yaml:10: measured.services.shp: unknown name 'shp'; did you mean 'shop'?",
        ),
        ("  services.shop: t", "  services.shop.workers: t", "measured.services.shop.workers: is under guesses, too"),
        (
            "2..8",
            "6..8",
            "shop.yaml:7: guesses.services.shop.workers: 4 is written, which lies outside of 6..8; the range has to hold it",
        ),
        (
            "2..8",
            "some",
            "shop.yaml:7: guesses.services.shop.workers: some is no range; write for example services.shop.workers=5ms..50ms",
        ),
        ("2..8", "8..2", "shop.yaml:7: guesses.services.shop.workers: 8..2: the first end must be below the second"),
        ("2..8", "2", "guesses.services.shop.workers: 2 should be text"),
    ],
)
def test_a_guess_that_leads_nowhere_or_is_none_is_told_with_its_place(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    result = checked(tmp_path, SHOP.replace(right, wrong, 1))
    assert result.exit_code == 2
    assert said in result.stderr


def test_guesses_change_no_row_and_survive_being_written() -> None:
    plain = loads(SHOP[: SHOP.index("guesses")])
    told = loads(SHOP)
    assert isinstance(plain, Scenario)
    assert isinstance(told, Scenario)
    assert told.digest == plain.digest
    assert loads(sim.dumps(told)) == told


def test_a_sensitivity_without_inputs_moves_the_guesses() -> None:
    guessed = scenario(guesses={"load.rate": "20/s..80/s", "services.shop.workers": "1..4"})
    found = sensitivity(guessed, replications=2, workers=1, simulate=fake)
    asked = sensitivity(scenario(), dict(guessed.guesses), replications=2, workers=1, simulate=fake)
    assert found.ends.equals(asked.ends)
    assert set(found.ends["input"]) == {"load.rate", "services.shop.workers"}
    alone = sensitivity(guessed, {"load.rate": "30/s..50/s"}, replications=2, workers=1, simulate=fake)
    assert set(alone.ends["input"]) == {"load.rate"}, "who asks for an input gets that alone"
    with pytest.raises(ScenarioError, match=r"--input: no input; write for example .*, or guesses: \{load\.rate: 50/s"):
        sensitivity(scenario(), workers=1)


def test_candidates_that_guess_differently_have_to_be_asked_about_one_range() -> None:
    found = comparison(guesses={"load.rate": "20/s..80/s"})
    other = {name: dict(conditions) for name, conditions in found.candidates.items()}
    other["many"]["quiet"] = scenario(8, guesses={"load.rate": "20/s..90/s"})
    with pytest.raises(
        ScenarioError, match=r"guesses\.load\.rate: candidates or conditions differ in it; give --input load\.rate="
    ):
        sensitivity(found.model_copy(update={"candidates": other}), workers=1, simulate=fake)


def test_a_report_says_of_each_number_whether_it_is_guessed_or_measured() -> None:
    told = loads(SHOP)
    assert isinstance(told, Scenario)
    written = {row[0]: (row[1], row[2]) for row in assumptions(told, {})[0].rows}
    assert written["services.shop.workers"] == ("4", "guessed: 2..8")
    assert written["services.shop.operations.buy.steps[0].work.exponential.mean"] == ("20ms", "guessed: 10ms..40ms")
    assert written["services.shop.operations.buy.steps[1].call"] == ("bank.pay", "measured: traces of a day")
    assert written["load.rate"] == ("100/s", "written")
    assert origin_of(told, "services.shopping.workers") == "written", "another name that begins alike"
    clock = told.model_copy(update={"measured": {"services.bank.operations.pay[0].work.constant": "a clock"}})
    assert origin_of(clock, "services.bank.operations.pay.steps[0].work") == "measured: a clock", "a constant is written so"
