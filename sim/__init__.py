"""Simulate how services talk to each other, and decide with intervals: synchronous or asynchronous, under load and failure.

Describe:
`Scenario`, `Comparison`, `load` · run: `run` · study: `replicate`, `compare`, `sweep`, `search`, `sensitivity`, `optimise`
read: `sim.analysis` · draw: `sim.plots` · play, in a notebook: `explore`
The laws are in `sim.laws`; the command line is ``sim --help``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim import compiled

compiled.choose()

if TYPE_CHECKING:
    from sim.errors import ScenarioError
    from sim.explorer import explore
    from sim.runtime.world import World
    from sim.scenario.model import Comparison, Scenario
    from sim.scenario.yaml import dumps, load
    from sim.single import RunResult, run
    from sim.study import compare, optimise, replicate, search, sensitivity, sweep

# Imported when first used: `sim check` should not wait for pandas.
_HOME = {
    "Comparison": "sim.scenario.model",
    "RunResult": "sim.single",
    "Scenario": "sim.scenario.model",
    "ScenarioError": "sim.errors",
    "World": "sim.runtime.world",
    "compare": "sim.study",
    "dumps": "sim.scenario.yaml",
    "explore": "sim.explorer",
    "load": "sim.scenario.yaml",
    "optimise": "sim.study",
    "replicate": "sim.study",
    "run": "sim.single",
    "search": "sim.study",
    "sensitivity": "sim.study",
    "sweep": "sim.study",
}

__all__ = [
    "Comparison",
    "RunResult",
    "Scenario",
    "ScenarioError",
    "World",
    "compare",
    "dumps",
    "explore",
    "load",
    "optimise",
    "replicate",
    "run",
    "search",
    "sensitivity",
    "sweep",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sim' has no attribute {name!r}; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
