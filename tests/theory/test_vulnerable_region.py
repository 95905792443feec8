"""The border of the metastable region, as it is searched for: ME1 and ME3 of the published results lie on it."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.laws import Constant
from sim.scenario.model import Comparison, Scenario
from sim.theory import survivable_outage_s

pytestmark = pytest.mark.theory

STUDY = Path(__file__).parents[2] / "experiments" / "metastability" / "outage.yaml"


def only(name: str) -> Comparison:
    """One policy of the study."""
    whole = sim.load(STUDY)
    assert isinstance(whole, Comparison)
    return whole.model_copy(update={"candidates": {name: whole.candidates[name]}})


@pytest.mark.parametrize(
    ("policy", "attempts", "rate", "survived_s", "caught_s"), [("one retry", 2, 60, 1, 2), ("three retries", 4, 30, 2, 3)]
)
def test_me3_lies_on_the_border(policy: str, attempts: int, rate: int, survived_s: int, caught_s: int) -> None:
    assert survived_s < survivable_outage_s(rate, 100, attempts, 1.0) < caught_s
    found = sim.search(
        only(policy), largest={"faults[0].for": f"{survived_s}..{caught_s}"}, over={"load.rate": [rate]}, recovers=True,
        tolerance=0.6, duration=90.0, workers=1,
    )  # fmt: skip
    (border,) = found.borders.to_dict("records")
    assert (border["best"], border["fails_at"], border["sure"]) == (survived_s, caught_s, True)


def test_me1_lies_on_the_border() -> None:
    """300/s, an outage of ten seconds, one retry: 140/s come back (after 118 s), 151/s never."""
    assert survivable_outage_s(140, 300, 2, 1.0) > 10 > survivable_outage_s(151, 300, 2, 1.0)
    trap = Scenario(
        services={"a": {"workers": 1, "queue": "unbounded", "operations": {"do": [{"work": Constant(1 / 300)}]}}},
        load={"rate": 140.0, "mix": "a.do"},
        calls={"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": 2}}},
        faults=[{"pause": "a", "at": 5.0, "for": 10.0}],
        run={"duration": 160.0, "drain": 2.0, "record_attempts": False},
    )
    found = sim.search(trap, largest={"load.rate": "140..151"}, recovers=True, tolerance=0.1, workers=1)
    (border,) = found.borders.to_dict("records")
    assert (border["best"], border["fails_at"], border["sure"]) == (140, 151, True)


def test_who_tries_no_more_than_the_backend_can_do_is_never_caught() -> None:
    assert survivable_outage_s(45, 100, 2, 1.0) == float("inf")
    found = sim.search(only("budget of a tenth"), largest={"faults[0].for": "1..8"}, recovers=True, duration=90.0, workers=1)
    assert found.borders["best"].tolist() == [8], "60/s and a tenth are 66/s"
