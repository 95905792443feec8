"""Which clock there is: that of the compiled kernel where it was built, SimPy's own otherwise."""

from __future__ import annotations

import importlib
from typing import Any

import simpy

from sim.compiled import uses_kernel

#: The compiled environment, or None.
_Compiled: Any = importlib.import_module("sim.kernel.core").Environment if uses_kernel() else None


def kernel_of(env: Any) -> Any:
    """The environment itself if it is the compiled kernel's, with a C clock and a C heap; None for SimPy's own."""
    return env if _Compiled is not None and isinstance(env, _Compiled) else None


def new_environment() -> simpy.Environment:
    """A clock at 0 s."""
    return simpy.Environment() if _Compiled is None else _Compiled()
