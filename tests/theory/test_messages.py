"""Asynchronous work: what piles up while consumers are down or slower than the load, and how long it takes to catch up."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_reproduces, scenario, service
from rows import records

from sim import theory
from sim.laws import Constant, Exponential
from sim.single import run

pytestmark = pytest.mark.theory


def caught_up_s(effects, since_s):
    """Clock time of the first message after `since_s` that finds no line, in seconds."""
    later = effects[effects["acked_s"] > since_s]
    at_once = later["started_s"] - later["acked_s"] < 1e-9
    return later["acked_s"][at_once].min()


def pipeline(work, load, **more):
    """A gateway that publishes each request, and one consumer that works on one message at a time."""
    services = {"gate": service([{"publish": "jobs"}], workers="unlimited"), "worker": service(work)}
    return scenario(services, load, queues={"jobs": {"consumer": "worker.do"}}, **more)


def test_a1_consumers_down_for_a_minute():
    # Even arrivals and constant work: the fluid is exact to one message, so one run says all.
    case = pipeline(
        Constant(0.01),
        {"kind": "constant", "rate": 80, "mix": "gate.do"},
        duration_s=400,
        faults=[{"crash": "worker", "at": 20.0, "for": 60.0}],
    )
    result = run(case, 1)
    effects = records(result, "effects")
    backlog = ((effects["acked_s"] < 80) & ~(effects["done_s"] < 80)).sum()
    assert backlog == pytest.approx(theory.backlog(80, 0, 60), abs=2)
    assert caught_up_s(effects, 80) - 80 == pytest.approx(theory.drain_s(4800, 80, 100), abs=0.1)
    # Nothing was lost on the way, and only what the consumer held when it died was delivered twice.
    assert effects["request"].tolist() == list(range(len(records(result, "requests"))))
    assert np.isfinite(effects["done_s"]).all()
    assert effects["deliveries"].sum() <= len(effects) + 1


def test_a3_a_minute_of_more_than_the_consumers_can_do():
    points = [{"at": 0, "rate": 50}, {"at": 20, "rate": 200}, {"at": 80, "rate": 50}]
    case = pipeline(Exponential(1 / 120), {"kind": "steps", "points": points, "mix": "gate.do"}, duration_s=190)

    def read(result):
        effects = records(result, "effects")
        assert np.isfinite(effects["done_s"]).all()
        waiting = ((effects["acked_s"] <= 80) & (effects["started_s"] > 80)).sum()
        largest_s = (effects["started_s"] - effects["acked_s"]).max()
        return {"backlog": waiting, "drain": caught_up_s(effects, 80) - 80, "delay": largest_s}, {}

    assert_reproduces(
        case,
        read,
        {"mean of backlog": (4800, 0.02), "mean of drain": (68.6, 0.02), "mean of delay": (40, 0.02)},
        seeds=range(1, 21),
    )
