"""Runs contestants as whole processes, in turn, and keeps what they print."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.entrants import ENTRANTS, OURS, Compiled, Entrant, command_of
from benchmarks.judge import complaints, figures
from benchmarks.protocol import UnavailableError
from benchmarks.workloads import Workload

ROOT = Path(__file__).parents[1]
#: Longest time of one run, in seconds.
PATIENCE_S = 900


@dataclass
class Result:
    """What one contestant did with one workload: runs with seeds 1, 2, ..., or the reason why there are none."""

    entrant: Entrant
    workload: Workload
    runs: list[dict[str, Any]] = field(default_factory=list)
    unavailable: str = ""

    @property
    def wrong(self) -> list[str]:
        """What is wrong with its results."""
        return complaints(self.entrant.expected(self.workload), self.runs) if self.runs else []

    @property
    def trouble(self) -> str:
        """What the run as a whole must not hide: wrong figures, or no figures of `sim` itself."""
        return (self.unavailable if self.entrant.name == OURS else "") or "; ".join(self.wrong)

    def row(self) -> dict[str, Any]:
        """For tables, the chart and the JSON file; speeds are medians, in requests per CPU-second."""
        row: dict[str, Any] = {"name": self.entrant.name, "label": self.entrant.label, "unavailable": self.unavailable}
        if not self.runs or self.unavailable:
            return row
        row |= {"wrong": self.wrong, "like": self.entrant.like if self.workload.name in self.entrant.instead else ""}
        row |= figures(self.runs)
        row |= {name: median(run[name] for run in self.runs) for name in ("requests", "cpu_s", "setup_s", "memory_mib")}
        row["requests_per_cpu_s"] = median(run["requests"] / run["cpu_s"] for run in self.runs)
        events = [run["events"] / run["requests"] for run in self.runs if run["events"]]
        return row | {"events_per_request": median(events) if events else None, "runs": self.runs}


def race(
    workload: Workload, entrants: Sequence[Entrant], requests: int, repeat: int, say: Callable[[str], None] = print
) -> list[Result]:
    """Let contestants run a workload, one after the other, `repeat` times: A B C, A B C, ...

    Taking turns spreads a slow minute of the machine over all of them. What cannot run is reported, never left out.
    """
    results = [Result(entrant, workload) for entrant in entrants]
    for turn in range(1, repeat + 1):
        for result in results:
            if result.unavailable:
                continue
            head = f"{workload.name} {turn}/{repeat} {result.entrant.label}"
            try:
                run = one_run(result.entrant, workload, max(1, round(requests * result.entrant.share)), seed=turn)
            except UnavailableError as reason:
                result.unavailable = str(reason)
                say(f"{head}: not available: {reason}")
            else:
                result.runs.append(run)
                say(f"{head}: {run['cpu_s']:.2f} s, {run['requests'] / run['cpu_s']:,.0f} requests per CPU-second")
    return results


def one_run(entrant: Entrant, workload: Workload, requests: int, seed: int) -> dict[str, Any]:
    """Run one contestant once, as a process of its own.

    Raises:
        UnavailableError: it cannot do that, here or at all, or it failed.
    """
    if refusal := entrant.refusal(workload):
        raise UnavailableError(refusal)
    command = command_of(entrant)
    if isinstance(entrant, Compiled):
        command = [*command, f"requests={requests}", f"seed={seed}", *workload.words()]
    else:
        command = [*command, workload.name, "--requests", str(requests), "--seed", str(seed)]
    try:
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"it took more than {PATIENCE_S} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        raise UnavailableError(f"it failed: {said[-1] if said else done.returncode}")
    run: dict[str, Any] = json.loads(lines[-1])
    if "unavailable" in run:
        raise UnavailableError(run["unavailable"])
    return run


def _environment() -> dict[str, str]:
    """One thread: libraries that would start more would spend CPU time on nothing."""
    return os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def machine() -> dict[str, Any]:
    """Where the numbers come from."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": f"{os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "packages": ", ".join([f"simpy=={version('simpy')}", *(name for entrant in ENTRANTS for name in entrant.packages)]),
    }
