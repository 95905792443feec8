"""Puts the compiled kernel in the place of SimPy's classes, for code that says `import simpy`: a pytest plugin and a launcher.

As a plugin (`-p simpy_swap`) and as `python simpy_swap.py SCRIPT` it swaps what the variable SIMPY_KERNEL says: `stock` nothing,
`kernel` every class, `kernel+resources` all but the resources, which stay SimPy's and have to run on the compiled environment.
"""

import os
import runpy
import sys

import pytest


def swap(kind: str) -> None:
    """Replace classes in all of SimPy's modules; once per process."""
    import simpy.util  # noqa: F401 - with all that it imports

    if kind == "stock":
        return
    from sim.kernel import core

    ours = core.compiled_classes()
    if kind == "kernel":
        from sim.kernel import resources  # noqa: F401 - adds its classes to those of the core

        ours = core.compiled_classes()
    for name, module in list(sys.modules.items()):
        if name == "simpy" or name.startswith("simpy."):
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value in ours:
                    setattr(module, key, ours[value])


def pytest_configure() -> None:
    swap(os.environ["SIMPY_KERNEL"])


@pytest.fixture
def benchmark():
    """Stands in for pytest-benchmark: SimPy's benchmarks are run once, as tests."""
    return lambda function, *args: function(*args)


if __name__ == "__main__":
    swap(os.environ["SIMPY_KERNEL"])
    runpy.run_path(sys.argv[1], run_name="__main__")
