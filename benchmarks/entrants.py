"""Who takes part, and what each needs before it can run: a package in an environment of its own, a compiler, or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.protocol import UnavailableError
from benchmarks.workloads import Expected, Workload

HERE = Path(__file__).parent
VENVS = HERE / ".venvs"
BUILD = HERE / ".build"
#: Longest time for one installation or compilation, in seconds.
PATIENCE_S = 600


@dataclass(frozen=True)
class Entrant:
    """One contestant.

    Attributes:
        label: how tables and the chart name it.
        module: its file in `contestants`, run with `arguments`.
        packages: what it needs beside the standard library, with versions; it then gets its own environment.
        python: oldest Python that its packages take.
        workloads: what it can express, and `cannot`, why not the others.
        instead: what must come out where it cannot express a workload but something like it, and `like` says what that is.
        share: part of the requests it gets, for those that would take minutes.
    """

    name: str
    label: str
    module: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    workloads: tuple[str, ...] = ("W1", "W2", "W3", "W4")
    cannot: str = ""
    instead: dict[str, dict[str, Expected]] = field(default_factory=dict)
    like: str = ""
    share: float = 1.0

    def expected(self, workload: Workload) -> dict[str, Expected]:
        """What must come out of a workload."""
        return self.instead.get(workload.name, workload.expected)

    def refusal(self, workload: Workload) -> str:
        """Why it cannot express a workload; empty if it can."""
        if workload.name in self.workloads:
            return ""
        return self.cannot if workload.rate_rps else "the shop is a file in sim's language"

    def command(self) -> list[str]:
        """Make ready what is needed; return the words to which the workload, `--requests` and `--seed` are added.

        Raises:
            UnavailableError: it cannot run here; the text says why.
        """
        python = _environment(self) if self.packages else sys.executable
        return [str(python), "-m", f"benchmarks.contestants.{self.module}", *self.arguments]


@dataclass(frozen=True)
class Compiled(Entrant):
    """A contestant in C++: the same words in, the same line out."""

    def command(self) -> list[str]:
        """Compile the program if it is not newer than its source."""
        compiler = shutil.which("g++")
        if compiler is None:
            raise UnavailableError("there is no g++ here")
        source, program = HERE / "contestants" / f"{self.module}.cpp", BUILD / self.module
        BUILD.mkdir(exist_ok=True)
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            _do([compiler, "-std=c++17", "-O2", str(source), "-o", str(program)])
        return [str(program)]


#: What was made ready in this process, or why it could not be: nothing is tried twice.
_READY: dict[str, list[str] | UnavailableError] = {}


def command_of(entrant: Entrant) -> list[str]:
    """`entrant.command()`, once in the life of this process.

    Raises:
        UnavailableError: it cannot run here; the text says why.
    """
    if entrant.name not in _READY:
        try:
            _READY[entrant.name] = entrant.command()
        except UnavailableError as reason:
            _READY[entrant.name] = reason
    ready = _READY[entrant.name]
    if isinstance(ready, UnavailableError):
        raise ready
    return ready


#: M/D/1 at the same load: Pollaczek and Khinchine, and `sim.theory.md1_wait_quantile`.
_CONSTANT_WORK = {"W1": {"mean_s": Expected(3.0, 4.8), "p99_s": Expected(11.356, 12)}}

SIMPY, CPP, OURS = "simpy", "cpp", "sim"
ENTRANTS = (
    Entrant(SIMPY, "SimPy", "raw_simpy", ("--kernel", "stock")),
    Entrant("kernel", "SimPy model, sim's kernel", "raw_simpy", ("--kernel", "compiled")),
    Entrant(OURS, "sim, everything recorded", "ours", workloads=("W1", "W2", "W3", "W4", "W5")),
    Entrant(
        "ciw", "Ciw", "ciw_queue", packages=("ciw==3.2.7",),
        workloads=("W1", "W2"), cannot="a customer cannot hold a server at one node while it is at another",
    ),
    Entrant(
        "salabim", "salabim", "salabim_model", packages=("salabim==26.0.9",), share=0.1,
        workloads=("W1", "W2", "W3"), cannot="not written: attempts that go on when their caller has given up",
    ),
    Entrant("happysim", "happysim", "happysim_model", packages=("happysim==0.2.5",), python=(3, 13), share=0.25),
    Entrant(
        "asyncflow", "asyncflow-sim", "asyncflow_server", packages=("asyncflow-sim==0.1.1",), python=(3, 12),
        workloads=("W1",), cannot="work takes constant time, and no server calls another",
        instead=_CONSTANT_WORK, like="M/D/1: its work takes constant time", share=0.5,
    ),
    Entrant("heapq", "heapq by hand", "heap_loop"),
    Entrant("numba", "numba by hand", "numba_loop", packages=("numba==0.68.1",)),
    Compiled(CPP, "C++ by hand", "by_hand"),
)  # fmt: skip


def _environment(entrant: Entrant) -> Path:
    """The interpreter of the contestant's own environment, made if it is not there yet."""
    place = VENVS / entrant.name
    python, installed = place / "bin" / "python", place / "installed.txt"
    wanted = "\n".join(entrant.packages)
    if installed.exists() and installed.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _do([_interpreter(entrant.python), "-m", "venv", str(place)])
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--python", str(python)] if uv.exists() else [str(python), "-m", "pip", "install"]
    _do([*install, "--quiet", *entrant.packages])
    installed.write_text(wanted)
    return python


def _interpreter(oldest: tuple[int, int]) -> str:
    """Some Python that is new enough: this one, one on the path, or one of pyenv's."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    versions = [f"{oldest[0]}.{minor}" for minor in range(oldest[1], oldest[1] + 3)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python{version}" for version in versions]
    candidates += [str(path) for version in versions for path in sorted(pyenv.glob(f"{version}*/bin/python"))]
    for candidate in candidates:
        # A shim on the path may stand for a version that is not there: ask it.
        found = shutil.which(candidate)
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    raise UnavailableError(f"it needs Python {oldest[0]}.{oldest[1]} or newer, and there is none here")


def _do(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{Path(command[0]).name} took more than {PATIENCE_S} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(said[-1].strip() if said else f"{Path(command[0]).name} failed with {done.returncode}")
