"""Ask a scenario exactly what was recorded: the same pages at the same moments, instead of its own load."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from sim.errors import ScenarioError
from sim.laws import Constant
from sim.runtime.world import World
from sim.scenario.load import Closed
from sim.scenario.model import Scenario
from sim.single import RunResult, run

if TYPE_CHECKING:
    import pandas as pd


def replay(scenario: Scenario, recorded: pd.DataFrame, seed: int | None = None) -> RunResult:
    """Simulate a scenario with recorded arrivals in place of its load; the run lasts as long as the recording.

    Args:
        scenario: what to simulate; its load's mix must know the recorded pages.
        recorded: `Calibration.recorded` or `recorded_pages`: `page` and `arrived_s` are used.
        seed: of everything but the arrivals; absent: `scenario.run.seed`.

    It separates two questions: whether the services are modelled well, and whether that minute's arrivals were typical. For
    planning use the scenario's own load; one recorded minute is one sample.

    Raises:
        ScenarioError: a page is no entry operation of the scenario, or nothing was recorded.
    """
    if recorded.empty:
        raise ScenarioError("recorded: no traces to replay")
    if unknown := sorted(set(recorded["page"]) - set(scenario.load.mix)):
        raise ScenarioError(f"recorded: {', '.join(unknown)} is no entry of the scenario; known: {', '.join(scenario.load.mix)}")
    asked = recorded.sort_values("arrived_s", kind="stable")
    arrivals = list(zip(asked["arrived_s"].astype(float).tolist(), asked["page"].astype(str).tolist(), strict=True))
    length = scenario.run.model_copy(update={"warmup": 0.0, "duration": arrivals[-1][0] + 1e-9})
    # The load itself asks nothing, but keeps the run open until its end: its one user thinks longer.
    load = Closed(mix=scenario.load.mix, users=1, think=Constant(length.duration + 1))
    return run(scenario.model_copy(update={"load": load, "run": length}), seed, processes=[lambda world: _ask(world, arrivals)])


def _ask(world: World, arrivals: list[tuple[float, str]]) -> Generator[simpy.Event, Any, Any]:
    for number, (arrived_s, page) in enumerate(arrivals):
        if arrived_s > world.env.now:
            yield world.env.timeout(arrived_s - world.env.now)
        world.ask(page, f"recorded {number}")
