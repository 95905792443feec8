"""What is done to a run at the wrong time, or wrongly, from Python: an error that says so, never a crash of the interpreter."""

from __future__ import annotations

import gc

import pytest

from sim.errors import ScenarioError
from sim.runtime.world import World
from sim.scenario.model import Scenario


def world(load=None, **rest):
    services = {"shop": {"workers": 1, "operations": {"buy": [{"fail": 1.0}]}}}
    load = load or {"kind": "replay", "times": (0.0,), "mix": "shop.buy"}
    return World(Scenario(services=services, load=load, run={"duration": 5.0}, **rest), 1)


def test_a_request_after_the_end_of_the_run_finds_no_place():
    over = world()
    over.run()
    with pytest.raises(IndexError):  # compiled, too: the columns have been handed over
        next(over.request("shop.buy", 5))
    assert not over.ask("shop.buy", "too late").triggered


def test_a_task_cannot_wait_for_another_task():
    told = []

    def naps():
        yield 1.0

    def waits(here):
        try:
            yield here.tasks.start(naps())
        except TypeError as error:
            told.append(str(error))

    def process(here):
        here.tasks.start(waits(here))
        yield here.env.timeout(2)

    world().run([process])
    assert len(told) == 1
    assert "a task yielded <Task" in told[0]


def test_after_an_error_at_the_very_start_nothing_moves_any_more():
    calls = {"default": {"retry": {"max_attempts": "unlimited"}}}
    stuck = world({"kind": "closed", "users": 1, "think": 0.0, "mix": "shop.buy"}, calls=calls)
    with pytest.raises(ScenarioError, match="10000 attempts failed at one instant"):
        stuck.run()
    moved = []

    def moves():
        moved.append(True)
        yield 0.0

    stuck.tasks.start(moves())
    assert not moved
    del stuck
    gc.collect()
