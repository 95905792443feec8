"""What of this package runs as C, and how to choose otherwise.

The kernel (`sim.kernel.core`) and the simulator's components are compiled when the package is installed where a C compiler is;
the components' source is plain Python and gives the same rows uncompiled, and plain SimPy is the clock where there is no kernel.
Two environment variables choose by hand, for tests and for finding faults:

    SIM_COMPONENTS=source   the components from their .py files
    SIM_KERNEL=simpy        SimPy's own event loop
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

#: These belong to the kernel: compiled, they stay compiled whatever the components are.
_KERNEL = ("sim.kernel.core", "sim.kernel.entry", "sim.kernel.resources")


class _SourceFinder(MetaPathFinder):
    """Finds the .py file of a module even where a compiled one lies beside it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith("sim.") or name in _KERNEL:
            return None
        found = (FileFinder(place, (SourceFileLoader, [".py"])).find_spec(name) for place in path or ())
        return next((spec for spec in found if spec is not None), None)


def choose() -> None:
    """Obey SIM_COMPONENTS; called once, before anything else of the package is imported."""
    if os.environ.get("SIM_COMPONENTS") == "source":
        sys.meta_path.insert(0, _SourceFinder())


def uses_kernel() -> bool:
    """Whether runs use the compiled kernel: it was built and SIM_KERNEL does not say otherwise."""
    return os.environ.get("SIM_KERNEL") != "simpy" and _built("sim/kernel/core")


def uses_compiled_components() -> bool:
    """Whether the simulator's components run as C."""
    return os.environ.get("SIM_COMPONENTS") != "source" and _built("sim/runtime/caller")


def _built(module: str) -> bool:
    place = Path(__file__).parent.parent / module
    return any(place.with_name(place.name + suffix).exists() for suffix in EXTENSION_SUFFIXES)


@cache
def say_if_slow() -> None:
    """Warn, once per process, that runs take many times longer than they need to because nothing was compiled."""
    if not uses_kernel() or not uses_compiled_components():
        warnings.warn(
            "running uncompiled, on plain SimPy: the same results, some 9 times slower. For speed install a C compiler "
            "(Debian: apt install gcc python3-dev; macOS: xcode-select --install), then install the package again",
            RuntimeWarning,
            stacklevel=3,
        )


def stale() -> list[str]:
    """Source files that are newer than what was compiled from them, in a development checkout; `make build` renews it."""
    root = Path(__file__).parent
    newer = []
    for binary in root.rglob("*"):
        suffix = next((s for s in EXTENSION_SUFFIXES if binary.name.endswith(s)), None)
        if suffix is None:
            continue
        stem = binary.with_name(binary.name.removesuffix(suffix))
        source = stem.with_suffix(".pyx") if stem.with_suffix(".pyx").exists() else stem.with_suffix(".py")
        included = re.findall(r'^include "(.+)"', source.read_text(encoding="utf-8"), re.MULTILINE)
        sources = [source, stem.with_suffix(".pxd"), *(source.with_name(name) for name in included)]
        if any(source.exists() and source.stat().st_mtime > binary.stat().st_mtime for source in sources):
            newer.append(str(stem.relative_to(root.parent)))
    return newer
