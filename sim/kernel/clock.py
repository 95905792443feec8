"""Which clock there is: that of the compiled kernel where it was built, SimPy's own otherwise."""

from __future__ import annotations

from typing import Any

import simpy

try:
    from sim.kernel.core import Environment as _Compiled
except ImportError:
    _Compiled = None


def kernel_of(env: Any) -> Any:
    """The environment itself if it is the compiled kernel's, with a C clock and a C heap; None for SimPy's own."""
    return env if _Compiled is not None and isinstance(env, _Compiled) else None


def new_environment() -> simpy.Environment:
    """A clock at 0 s."""
    return simpy.Environment() if _Compiled is None else _Compiled()
