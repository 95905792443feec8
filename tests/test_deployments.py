"""Replicas that are replaced, or become more or fewer: short stories with times that one can count."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from test_finding import TABLE, every, news, outcomes, scenario

from sim.scenario.model import Scenario
from sim.single import run


def lives(result):
    """(time, replica, up or down) in truth."""
    return news(result, "down", "up", caller="shop")


def deployed(deployments, replicas=3, **rest):
    shop = {"start_up": 5.0, **rest.pop("shop", {})}
    return scenario(replicas, registry=TABLE, shop=shop, deployments=deployments, **rest)


def test_a_rollout_replaces_one_after_the_other():
    found = run(deployed([{"rollout": "shop", "at": 10.0, "drain": 2.0}], at=every(0.25, 5.0, 60.0)))
    one_by_one = [(15.0, 3, "up"), (17.0, 0, "down"), (20.0, 4, "up"), (22.0, 1, "down"), (25.0, 5, "up"), (27.0, 2, "down")]
    assert lives(found) == one_by_one
    assert outcomes(found) == ["ok"] * 220
    assert [row for row in news(found) if row[0] == 15.0] == [(15.0, 0, "unlisted"), (15.0, 3, "listed")]


def test_a_rollout_without_a_surge_stops_first():
    found = run(deployed([{"rollout": "shop", "at": 10.0, "max_surge": 0, "max_unavailable": 1}]))
    assert lives(found)[:4] == [(10.0, 0, "down"), (15.0, 1, "down"), (15.0, 3, "up"), (20.0, 2, "down")]


def test_blue_green_is_a_surge_of_all():
    found = run(deployed([{"rollout": "shop", "at": 10.0, "max_surge": 3, "ready_delay": 4.0}]))
    assert lives(found) == [(15.0, i, "up") for i in (3, 4, 5)] + [(19.0, i, "down") for i in (0, 1, 2)]


def test_the_second_rollout_begins_when_the_first_has_ended_and_uses_its_places():
    twice = [{"rollout": "shop", "at": at_s, "max_surge": 3} for at_s in (10.0, 12.0)]
    assert [(s, i) for s, i, state in lives(run(deployed(twice))) if state == "up"] == [
        (15.0, 3), (15.0, 4), (15.0, 5), (20.0, 6), (20.0, 7), (20.0, 8),
    ]  # fmt: skip
    late = [{"rollout": "shop", "at": at_s, "max_surge": 0, "max_unavailable": 3} for at_s in (10.0, 50.0)]
    assert [i for _, i, state in lives(run(deployed(late))) if state == "up"] == [3, 4, 5, 0, 1, 2]


def test_more_and_fewer():
    found = run(deployed([{"scale": "shop", "replicas": 5, "at": 10.0}, {"scale": "shop", "replicas": 2, "at": 30.0}]))
    assert lives(found) == [(15.0, 3, "up"), (15.0, 4, "up")] + [(30.0, i, "down") for i in (2, 3, 4)]
    assert found.gauges[found.gauges.name == "shop"].alive.iloc[0] == 3


def test_a_drain_shorter_than_the_callers_are_late_costs_calls():
    calls = {"default": {"discovery": {"mode": "push", "push_delay": 3.0}}}
    for drain_s, failed in ((0.0, True), (4.0, False)):
        found = run(deployed([{"rollout": "shop", "at": 10.0, "drain": drain_s}], calls=calls, at=every(0.25, 5.0, 60.0)))
        assert ("unreachable" in outcomes(found)) == failed


def test_who_has_just_come_works_slowly_at_first():
    cold = {"warm_up": 10.0, "cold_factor": 3.0}
    crash = [{"crash": "shop", "at": 10.0, "for": 5.0}]
    found = run(scenario(1, registry=TABLE, shop=cold, faults=crash, at=(1.0, 15.5, 20.0, 24.0, 30.0)))
    assert [round(1000 * s) for s in found.requests.service_s] == [100, 290, 200, 120, 100]


def test_without_a_registry_all_callers_learn_late():
    data = deployed([{"scale": "shop", "replicas": 2, "at": 10.0}], replicas=1, at=every(0.5, 0.25, 30.25)).as_data()
    data["services"]["shop"] |= {"registry": None, "discovery_delay": 4.0}
    data["registries"], data["calls"] = {}, {}
    found = run(Scenario.model_validate(data))
    assert found.attempts[found.attempts.replica == 1].started_s.min() in (19.25, 19.75)
    assert outcomes(found) == ["ok"] * 60


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        ({"rollout": "shop", "at": 1, "max_surge": 0}, "cannot begin; allow one of them"),
        ({"rollout": "shoop", "at": 1}, "no service 'shoop'; did you mean 'shop'"),
        ({"scale": "shop", "at": 1}, "replicas"),
        ({"deploy": "shop"}, "is not a deployment; write one of rollout, scale"),
        ({"rollout": "shop", "at": 1, "max_surge": 100_000}, "would need more than 100,000 replicas"),
    ],
)
def test_what_cannot_be_is_told(deployment, words):
    with pytest.raises(ValidationError, match=words):
        deployed([deployment])


def test_a_warm_up_needs_both_numbers():
    with pytest.raises(ValidationError, match="say nothing without each other"):
        deployed([], shop={"warm_up": 3.0})
