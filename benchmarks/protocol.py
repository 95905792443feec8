"""How a contestant is run and measured: it is a program of its own that prints one line of JSON.

::

    python -m benchmarks.contestants.heap_loop W3 --requests 100000 --seed 7
    {"requests": 100000, "mean_s": 0.0401, "p99_s": 0.1016, ..., "cpu_s": 1.62, "setup_s": 0.04, "memory_mib": 9.1}

CPU time is that of the process around the simulation only; imports and what is made beforehand are `setup_s`. Standard library
only: it runs in every contestant's own virtual environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS, Workload


@dataclass
class Observed:
    """What a simulation saw: the latency of every answered request in seconds, and what it counted, if it did."""

    latencies_s: Sequence[float]
    attempts: int | None = None
    timeouts: int | None = None
    events: int | None = None  # entries of the event loop's heap


class UnavailableError(Exception):
    """This contestant cannot run this workload here; the text says why."""


#: A contestant: makes what is needed before the clock starts and returns the simulation, to be called once. The simulation
#: returns what it saw, or a function that reads it after the clock has stopped.
Prepare = Callable[..., Callable[[], Observed | Callable[[], Observed]]]


def compete(prepare: Prepare, options: Sequence[str] = ()) -> None:
    """Run a contestant as a program: `prepare(workload, requests, seed)`, with `--name value` for each of its `options`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--seed", type=int, default=1)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    given = vars(parser.parse_args())
    workload = WORKLOADS[given.pop("workload")]
    requests, seed = given.pop("requests") or workload.requests, given.pop("seed")
    try:
        print(json.dumps(measured(prepare, workload, requests, seed, **given)))
    except UnavailableError as reason:
        print(json.dumps({"unavailable": str(reason)}))


def measured(prepare: Prepare, workload: Workload, requests: int, seed: int, **options: str) -> dict[str, Any]:
    """Prepare, simulate on the clock, read: the figures of one run, times in seconds, memory in MiB."""
    simulate = prepare(workload, requests, seed, **options)
    before_mib = _memory_now_mib()
    setup_s = time.process_time()
    outcome = simulate()
    cpu_s = time.process_time() - setup_s
    memory_mib = memory_peak_mib() - before_mib
    observed = outcome if isinstance(outcome, Observed) else outcome()
    latencies_s = sorted(observed.latencies_s)
    n = len(latencies_s)
    return {
        "requests": n,
        "mean_s": math.fsum(latencies_s) / n if n else None,
        "p99_s": latencies_s[math.ceil(0.99 * n) - 1] if n else None,
        "attempts": observed.attempts,
        "timeouts": observed.timeouts,
        "events": observed.events,
        "cpu_s": cpu_s,
        "setup_s": setup_s,
        "memory_mib": memory_mib,
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def _memory_now_mib() -> float:
    """Memory in use; from here on the peak counts anew, where Linux allows that (imports may have needed more for a moment)."""
    # Where that is forbidden, a peak of the imports would hide a smaller one of the simulation.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS") or memory_peak_mib()


def memory_peak_mib() -> float:
    """The most memory that this process has had in use."""
    # getrusage on Linux begins with the peak of the process that started this one, the kernel's own status does not.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status_mib("VmHWM") or peak / (2**20 if sys.platform == "darwin" else 2**10)


def _status_mib(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":")), None)
