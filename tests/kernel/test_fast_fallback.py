"""`sim.kernel.fast` where the kernel is missing, and where it is broken."""

import subprocess
import sys
import textwrap

import pytest


def run_with_kernel(error):
    """Import `sim.kernel.fast` in an interpreter in which importing the kernel raises `error`, and say what it is."""
    code = f"""
        import sys
        from importlib.abc import MetaPathFinder

        class Finder(MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "sim.kernel.core":
                    raise {error}

        sys.meta_path.insert(0, Finder())
        import simpy
        from sim.kernel import fast

        assert set(fast.__all__) <= set(vars(fast)), set(fast.__all__) - set(vars(fast))
        print(fast.COMPILED, all(getattr(fast, name) is getattr(simpy, name) for name in simpy.__all__))
        print(fast.util.start_delayed is simpy.util.start_delayed, fast.events.Initialize is simpy.events.Initialize)
        """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)


def test_without_the_kernel_every_name_is_simpys():
    done = run_with_kernel('ModuleNotFoundError("there is none", name="sim.kernel.core")')
    assert done.stdout == "False True\nTrue True\n", done.stderr


@pytest.mark.parametrize("error", ['ImportError("undefined symbol")', 'ModuleNotFoundError("no simpy", name="simpy.core")'])
def test_a_broken_kernel_is_an_error(error):
    done = run_with_kernel(error)
    assert done.returncode == 1
    assert error.split('"')[1] in done.stderr
