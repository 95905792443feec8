"""SimPy's names on the compiled kernel: the same model, several times as fast.

::

    import sim.kernel.fast as simpy

    env = simpy.Environment()
    workers = simpy.Resource(env, capacity=8)

`COMPILED` tells whether the kernel was compiled where this was installed; without it every name is SimPy's own, and everything
works at SimPy's speed. What differs from SimPy on purpose stands in `sim/kernel/core.pyx`. SimPy's submodules are attributes as
there: `simpy.events.Initialize`, `simpy.resources.base.Put`, `simpy.util.start_delayed`.

>>> env = Environment()
>>> def clock(env, tick):
...     while True:
...         print(env.now)
...         yield env.timeout(tick)
>>> _ = env.process(clock(env, 2))
>>> env.run(until=5)
0
2
4
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import simpy

from sim.compiled import uses_kernel

if TYPE_CHECKING:
    from simpy import (
        AllOf,
        AnyOf,
        Container,
        Environment,
        Event,
        FilterStore,
        Interrupt,
        PreemptiveResource,
        PriorityItem,
        PriorityResource,
        PriorityStore,
        Process,
        RealtimeEnvironment,
        Resource,
        SimPyException,
        Store,
        Timeout,
        core,
        events,
        exceptions,
        resources,
        rt,
        util,
    )

__all__ = [
    "COMPILED",
    "AllOf",
    "AnyOf",
    "Container",
    "Environment",
    "Event",
    "FilterStore",
    "Interrupt",
    "PreemptiveResource",
    "PriorityItem",
    "PriorityResource",
    "PriorityStore",
    "Process",
    "RealtimeEnvironment",
    "Resource",
    "SimPyException",
    "Store",
    "Timeout",
    "core",
    "events",
    "exceptions",
    "resources",
    "rt",
    "util",
]


def _compiled_classes() -> dict[Any, Any]:
    """SimPy's class -> ours; empty where nothing was compiled, or SIM_KERNEL says SimPy."""
    if not uses_kernel():
        return {}
    try:
        kernel = importlib.import_module("sim.kernel.core")
        importlib.import_module("sim.kernel.resources")
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("sim.kernel."):
            raise  # compiled, but broken: slow would hide it
        return {}
    return dict(kernel.compiled_classes())


def _mirrored(module: ModuleType, ours: dict[Any, Any]) -> ModuleType:
    """A module like one of SimPy's, with our classes where we have them."""
    mirror = ModuleType(module.__name__.replace("simpy", __name__, 1), module.__doc__)
    for name, value in vars(module).items():
        if isinstance(value, ModuleType) and value.__name__.startswith("simpy."):
            setattr(mirror, name, _mirrored(value, ours))
        elif not name.startswith("__"):
            setattr(mirror, name, ours.get(value, value) if isinstance(value, type) else value)
    return mirror


_ours = _compiled_classes()

#: Whether the kernel was compiled; if not, all names are SimPy's.
COMPILED = bool(_ours)

if not TYPE_CHECKING:
    importlib.import_module("simpy.util")  # SimPy does not import it by itself
    globals().update({name: value for name, value in vars(_mirrored(simpy, _ours)).items() if name in __all__})
