"""The explorer of notebooks: its sliders change the scenario, and text and chart follow, without any browser."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

import sim
from sim.errors import ScenarioError
from sim.explorer import Explorer, scaled
from sim.scenario.faults import Errors
from sim.scenario.load import Poisson
from sim.scenario.yaml import loads

SHOP = """
services:
  shop: {workers: 8, operations: {buy: [{work: {exponential: 4ms}}, {call: bank.pay}]}}
  bank: {workers: 2, operations: {pay: [{work: {exponential: 10ms}}]}}
calls: {shop -> bank: {timeout: 1s}}
load: {rate: 60/s, mix: shop.buy}
run: {duration: 10s, warmup: 1s}
"""


def shop(**changes: object) -> sim.Scenario:
    found = loads(SHOP)
    assert isinstance(found, sim.Scenario)
    return sim.Scenario.model_validate(found.as_data() | changes)


def test_the_chart_and_the_words_follow_every_slider() -> None:
    explorer = Explorer(shop())
    seen = [(explorer.told.value, explorer.chart.value)]
    for control, value in (
        (explorer.load, 2.0),
        (explorer.share, 0.3),
        (explorer.policy, "three tries"),
        (explorer.failing, "shop"),
    ):
        control.value = value  # what a browser's slider does
        seen.append((explorer.told.value, explorer.chart.value))
    assert len(set(seen)) == 5
    changed = explorer.changed()
    assert isinstance(changed.load, Poisson)
    assert changed.load.rate == 120.0
    assert [fault.ratio for fault in changed.faults if isinstance(fault, Errors)] == [0.3]
    assert changed.policy("shop", "bank.pay").retry.max_attempts == 3
    assert changed.policy("shop", "bank.pay").timeout == 1.0  # as written, under the policy
    assert "as written: requests answered well 100 %" in explorer.told.value
    with Image.open(BytesIO(explorer.chart.value)) as picture:
        assert picture.format == "PNG"
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()


def test_long_runs_are_cut_to_what_a_chart_can_follow() -> None:
    explorer = Explorer(shop(run={"duration": 3600.0, "warmup": 1.0}, faults=[{"crash": "bank", "at": 1000.0}]))
    assert explorer.scenario.run.duration == pytest.approx(10_000 / 60)
    assert explorer.scenario.faults == ()


def test_every_kind_of_load_can_be_scaled_but_recorded_times() -> None:
    kinds = [
        {"kind": "steps", "points": [{"at": 0, "rate": 10}], "mix": "shop.buy"},
        {"kind": "spike", "rate": 10, "peak": 30, "at": 1, "for": 1, "mix": "shop.buy"},
        {"kind": "closed", "users": 10, "think": 1.0, "mix": "shop.buy"},
    ]
    loads = [scaled(shop(load=kind), 3.0).as_data()["load"] for kind in kinds]
    assert (loads[0]["points"][0]["rate"], loads[1]["rate"], loads[1]["peak"], loads[2]["users"]) == ("30/s", "30/s", "90/s", 30)
    with pytest.raises(ScenarioError, match="recorded arrival times cannot be scaled"):
        Explorer(shop(load={"kind": "replay", "times": [0.0], "mix": "shop.buy"}))
