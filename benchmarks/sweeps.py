"""What a sweep costs beyond its simulations, and how well it uses two cores: `python -m benchmarks.sweeps`.

- **Two cores**: a sweep of `POINTS` runs by one process and by two. The *clock* is the parallel efficiency as everybody means
  it, the time of one over twice that of two. It counts where the sweep has two cores to itself, so what share of them it got
  stands beside it. What others on the machine change little: *CPU*, that of one process over that of two, with starting the
  workers, sending tasks, and what two cores take from each other; and *busy*, the time in which the workers had a run over twice
  the time of the sweep: what is missing they waited, when it began, in between, or at its end. Starting counts in both.
- **A point**: CPU of a large sweep of tiny runs less that of a small one, over the runs between them: what does not grow falls
  out. The simulations themselves, timed alone, are taken off; reducing rows to numbers, keeping them and the tables are in it.
- **A worker**: CPU of the small sweep by two processes less that by one, over two: a new Python that imports the simulator.
- **Memory**: what it takes at most to summarise ten million rows of requests, and a table of ten million points.

Every measurement is a process of its own. Results go to benchmarks/results/sweeps.json and sweeps.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.entrants import HERE
from benchmarks.protocol import memory_peak_mib
from benchmarks.runner import PATIENCE_S, ROOT
from benchmarks.workloads import W1, W4

WORKERS = 2
#: Runs of the sweep on two cores, and requests of each.
POINTS, REQUESTS = 96, 200_000
#: Tiny runs of the small sweep and of the large one, of twenty requests each.
FEW, MANY, TINY = 20, 820, 20
#: Rows of requests in all, and how many points they are of; rows of a table of points, and of how many points.
ROWS, ROW_POINTS, TABLE_POINTS = 10_000_000, 20, 10_000


def swept(points: int, requests: int, workers: int) -> dict[str, float]:
    """A sweep of W4 over its load, here, and what it took; the workers have ended."""
    from loky import get_reusable_executor

    import sim
    from benchmarks.contestants.ours import scenario

    given, rates = scenario(W4, requests), [W4.rate_rps * (1 - i / (2 * points)) for i in range(points)]
    with tempfile.TemporaryDirectory() as place:
        began_s = time.monotonic()
        sim.sweep(given, {"load.rate": rates}, 1, workers, out=Path(place) / "sweep")
        took_s = time.monotonic() - began_s
        with sqlite3.connect(Path(place) / ".runs" / "runs.sqlite") as base:
            (inside_s,) = base.execute("select sum(elapsed_s) from runs").fetchone()
    if workers > 1:
        get_reusable_executor().shutdown(wait=True)
    return {"took_s": took_s, "inside_s": inside_s, "cpu_s": _cpu_s()}


def simulated(requests: int, repeat: int) -> dict[str, float]:
    """CPU of one simulation of W4 alone, when all is imported."""
    import sim
    from benchmarks.contestants.ours import scenario

    given = scenario(W4, requests)
    sim.run(given)
    before_s = _cpu_s()
    for seed in range(repeat):
        sim.run(given, seed)
    return {"cpu_s": (_cpu_s() - before_s) / repeat}


def keep_rows(place: Path, rows: int, points: int) -> dict[str, float]:
    """A sweep of W1 that keeps so many rows of requests."""
    import sim
    from benchmarks.contestants.ours import scenario

    loads = [W1.rate_rps * (1 - i / (2 * points)) for i in range(points)]
    long = scenario(W1, round(rows / points * W1.rate_rps * points / sum(loads)))
    sim.sweep(long, {"load.rate": loads}, 1, 1, out=place / "rows", rows=("requests",))
    return {}


def pool_rows(place: Path) -> dict[str, float]:
    """Summarise the rows that `keep_rows` has kept."""
    from sim.study import load_sweep

    found = load_sweep(place / "rows").latencies([50.0, 99.0, 99.99])
    return {"rows": int(found["n"].sum()), "points": len(found)}


def keep_table(place: Path, rows: int, points: int) -> dict[str, float]:
    """A table of points such as a sweep writes, with so many rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance, each = np.random.default_rng(1), rows // points
    writer = None
    for first in range(0, points, points // 10):
        point = np.repeat(np.arange(first, first + points // 10), each)
        columns = {"point": point, "candidate": ["shop"] * len(point), "condition": ["base"] * len(point)}
        columns |= {"load.rate": point / 10, "replication": np.tile(np.arange(each), points // 10), "seed": point}
        columns |= {name: chance.exponential(1.0, len(point)) for name in ("mean_s", "p99_s")}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(place / "points.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return {}


def summarise_table(place: Path) -> dict[str, float]:
    """Means with intervals of the table that `keep_table` has made."""
    from sim.analysis.sweeps import summarise_file

    found = summarise_file(place / "points.parquet", ["load.rate"])
    return {"rows": int(found.loc[found["metric"] == "mean_s", "n"].sum()), "points": found["point"].nunique()}


def _cpu_s() -> float:
    """CPU time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _alone(name: str, *numbers: float | str) -> dict[str, float]:
    """One of the functions above, in a process of its own; with the most memory that it took."""
    words = [sys.executable, "-m", "benchmarks.sweeps", "--one", name, *map(str, numbers)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"{name} {' '.join(map(str, numbers))}: {found}", flush=True)
    return found


def two_cores() -> dict[str, float]:
    """How well two processes use two cores."""
    one, two = (_alone("swept", POINTS, REQUESTS, workers) for workers in (1, WORKERS))
    room_s = WORKERS * two["took_s"]
    return {
        "cpu_s": one["cpu_s"],
        "clock": one["took_s"] / room_s,
        "got": two["cpu_s"] / room_s,
        "cpu": one["cpu_s"] / two["cpu_s"],
        "busy": two["inside_s"] / room_s,
    }


def a_point() -> dict[str, float]:
    """CPU of a point beyond its simulation, and of starting a worker."""
    alone = _alone("simulated", TINY, 200)["cpu_s"]
    few, many = (_alone("swept", points, TINY, WORKERS)["cpu_s"] for points in (FEW, MANY))
    here = _alone("swept", FEW, TINY, 1)["cpu_s"]
    return {"simulation_s": alone, "beyond_s": (many - few) / (MANY - FEW) - alone, "worker_s": (few - here) / WORKERS}


def memory() -> dict[str, Any]:
    """The most memory that it takes to summarise many rows."""
    with tempfile.TemporaryDirectory() as place:
        _alone("keep_rows", place, ROWS, ROW_POINTS)
        _alone("keep_table", place, ROWS, TABLE_POINTS)
        return {"requests": _alone("pool_rows", place), "points": _alone("summarise_table", place)}


def text(cores: dict[str, float], point: dict[str, float], rows: dict[str, Any]) -> str:
    """All of it in Markdown.

    >>> cores = {"cpu_s": 60.0, "clock": 0.86, "got": 0.97, "cpu": 0.9, "busy": 0.88}
    >>> point = {"simulation_s": 0.001, "beyond_s": 0.008, "worker_s": 2.0}
    >>> peak = {"rows": 10_000_000, "points": 20, "peak_mib": 400.0}
    >>> print(text(cores, point, {"requests": peak, "points": peak}).splitlines()[2])
    | parallel efficiency on two cores by the clock, of 96 runs and 60 CPU-s | 86 %, with 97 % of two cores |
    """
    lines = [
        "| sweeps | |",
        "|---|---|",
        f"| parallel efficiency on two cores by the clock, of {POINTS} runs and {cores['cpu_s']:.0f} CPU-s "
        f"| {100 * cores['clock']:.0f} %, with {100 * cores['got']:.0f} % of two cores |",
        f"| CPU of one process over that of two, starting them included | {100 * cores['cpu']:.0f} % |",
        f"| time in which both workers had a run, starting them included | {100 * cores['busy']:.0f} % |",
        f"| CPU of a point beyond its simulation | {1000 * point['beyond_s']:.1f} ms |",
        f"| CPU of starting a worker, once | {point['worker_s']:.1f} s |",
    ]
    for name, what in (("requests", "latencies by point from rows of requests"), ("points", "intervals from a table of runs")):
        found = rows[name]
        told = f"{found['rows']:,.0f} rows, {found['points']:,.0f} points"
        lines.append(f"| most memory, {what}: {told} | {found['peak_mib']:,.0f} MiB |")
    return "\n".join(lines) + "\n"


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    task.__name__: task for task in (swept, simulated, keep_rows, pool_rows, keep_table, summarise_table)
}


def _one(name: str, *words: str) -> None:
    """Do one measurement here, and print it."""
    found = TASKS[name](*(int(word) if word.isdecimal() else Path(word) for word in words))
    print(json.dumps({**found, "peak_mib": memory_peak_mib()}))


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _one(*given.one)
        return
    found = {"cores": two_cores(), "point": a_point(), "rows": memory()}
    out = HERE / "results"
    out.mkdir(exist_ok=True)
    (out / "sweeps.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "sweeps.md").write_text(text(**found))
    print(text(**found))


if __name__ == "__main__":
    main()
