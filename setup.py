"""Compiles the kernel and the simulator's hot components; everything else about the package is in pyproject.toml.

Without a C compiler the installation succeeds all the same (the extensions are optional) and the package runs on plain SimPy.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup

#: What is compiled, bottom up. A .py file of this list also runs uncompiled, and gives the same rows.
COMPILED = [
    "sim/streams.py",
    "sim/laws.py",
    "sim/sketch.py",
    "sim/policies/balancing.py",
    "sim/policies/backlog_lines.py",
    "sim/policies/backlog.py",
    "sim/policies/competing.py",
    "sim/policies/batching.py",
    "sim/policies/windows.py",
    "sim/policies/breaker.py",
    "sim/policies/connections.py",
    "sim/policies/flow.py",
    "sim/kernel/entry.py",
    "sim/kernel/resume.pyx",
    "sim/kernel/core.pyx",
    "sim/kernel/resources.pyx",
    "sim/kernel/tasks.py",
    "sim/runtime/ledger.py",
    "sim/runtime/network.py",
    "sim/runtime/context.py",
    "sim/runtime/sketched.py",
    "sim/runtime/recorder.py",
    "sim/runtime/visit.py",
    "sim/runtime/caller.py",
    "sim/runtime/journey.py",
    "sim/runtime/guarded.py",
    "sim/runtime/connected.py",
    "sim/runtime/connections.py",
    "sim/runtime/wire.py",
    "sim/runtime/wired.py",
    "sim/runtime/lines.py",
    "sim/runtime/replica.py",
    "sim/runtime/steps.py",
    "sim/runtime/messages.py",
    "sim/runtime/ways.py",
    "sim/runtime/publishing.py",
    "sim/runtime/producer.py",
    "sim/runtime/deliveries.py",
    "sim/runtime/queue.py",
    "sim/runtime/polled.py",
    "sim/runtime/broker.py",
    "sim/runtime/group.py",
    "sim/runtime/log.py",
    "sim/runtime/reader.py",
    "sim/runtime/origin.py",
    "sim/runtime/arrivals.py",
    "sim/runtime/world.py",
]

# No fused multiply-add: compiled and uncompiled must round the same way, on every machine.
FLAGS = ["-O2", "-ffp-contract=off"] if os.name != "nt" else ["/O2", "/fp:precise"]


def extensions() -> list[Extension]:
    """One optional extension for each source; none without Cython, or where the sources are to run as they are."""
    if os.environ.get("SIM_COMPONENTS") == "source":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [Extension(source.rsplit(".", 1)[0].replace("/", "."), [source], extra_compile_args=FLAGS) for source in COMPILED]
    # Without `nonecheck`, an attribute of None would be read from whatever lies in memory there.
    directives = {"language_level": 3, "nonecheck": True, "initializedcheck": False}
    annotate = bool(os.environ.get("SIM_ANNOTATE"))
    made = cythonize(modules, compiler_directives=directives, annotate=annotate, build_dir="build/cython")
    for extension in made:
        extension.optional = True
    return made


setup(ext_modules=extensions())
