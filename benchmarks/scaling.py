"""What `sim` costs as runs and systems grow: `python -m benchmarks.scaling [--full] [--repeat 3]`.

CPU time per request and memory per recorded request from 10,000 to 1,000,000 requests (`--full`: 10,000,000), for a single queue
(W1, one attempt per request) and for the chain with retries (W4, three); and CPU time per request from 3 to 1,000 replicas per
service at the same load on each. Memory per recorded request is the growth of the peak between two sizes, divided by the requests
between them: what does not grow falls out. Every run is a process of its own. With the replicas grows what does not fit into the
processor's cache, so C++ by hand runs beside it: its growth is what memory costs anybody. Results go to
benchmarks/results/scaling.json and scaling.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks.entrants import CPP, ENTRANTS, HERE, command_of
from benchmarks.protocol import UnavailableError, measured
from benchmarks.runner import PATIENCE_S, ROOT
from benchmarks.workloads import W1, W4, WORKLOADS, Workload

SIZES = (10_000, 100_000, 1_000_000)
REPLICAS = (3, 10, 30, 100, 300, 1_000)
#: Requests of each run with many replicas.
REQUESTS = 200_000


def widened(workload: Workload, replicas: int) -> Workload:
    """The same with so many replicas per service, and the same load on each.

    >>> widened(W4, 30).rate_rps
    2118.0
    """
    return replace(workload, replicas=replicas, rate_rps=workload.rate_rps * replicas / workload.replicas)


def one(workload: Workload, replicas: int, requests: int, repeat: int) -> dict[str, Any]:
    """Medians of several runs of `sim`, each a process of its own."""
    words = [sys.executable, "-m", "benchmarks.scaling", "--one", workload.name, str(replicas), str(requests)]
    runs = []
    for seed in range(1, repeat + 1):
        done = subprocess.run([*words, str(seed)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        runs.append(json.loads(done.stdout))
    row = {name: median(run[name] for run in runs) for name in ("requests", "cpu_s", "memory_mib", "mean_s")}
    row["cpu_us_per_request"] = median(1e6 * run["cpu_s"] / run["requests"] for run in runs)
    print(f"{workload.name}, {replicas} replicas, {requests:,} requests: {row['cpu_us_per_request']:.1f} µs each", flush=True)
    return {"workload": workload.name, "replicas": replicas} | row


def by_hand(workload: Workload, requests: int, repeat: int) -> float | None:
    """CPU time of a request in C++ by hand, in microseconds, a median; None without a compiler."""
    try:
        command = command_of(next(entrant for entrant in ENTRANTS if entrant.name == CPP))
    except UnavailableError:
        return None
    found = []
    for seed in range(1, repeat + 1):
        words = [*command, *workload.words(), f"requests={requests}", f"seed={seed}"]
        run = json.loads(subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout)
        found.append(1e6 * run["cpu_s"] / run["requests"])
    return median(found)


def growth(rows: Sequence[dict[str, Any]]) -> list[float | None]:
    """Bytes per recorded request of each row, against the row before it.

    >>> growth([{"requests": 0, "memory_mib": 5.0}, {"requests": 2**20, "memory_mib": 105.0}])
    [None, 100.0]
    """
    between = [
        2**20 * (after["memory_mib"] - before["memory_mib"]) / (after["requests"] - before["requests"])
        for before, after in zip(rows, rows[1:], strict=False)
    ]
    return [None, *between]


def text(by_size: dict[str, list[dict[str, Any]]], by_replicas: list[dict[str, Any]]) -> str:
    """Both tables in Markdown."""
    lines = ["| workload | requests | CPU per request | peak memory | per recorded request |", "|---|---:|---:|---:|---:|"]
    for name, rows in by_size.items():
        for row, bytes_each in zip(rows, growth(rows), strict=True):
            each = f"{bytes_each:,.0f} B" if bytes_each is not None else "–"
            cells = (f"{row['requests']:,.0f}", f"{row['cpu_us_per_request']:.1f} µs", f"{row['memory_mib']:,.1f} MiB", each)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    title = f"| replicas per service (W4, {REQUESTS:,} requests) | CPU per request | grown | C++ by hand | grown | mean latency |"
    lines += ["", title, "|---:|---:|---:|---:|---:|---:|"]
    for row in by_replicas:
        cells = [f"{row['replicas']:,}"]
        for name in ("cpu_us_per_request", "by_hand_us"):
            us, least = row[name], by_replicas[0][name]
            cells += ["–", "–"] if us is None else [f"{us:.1f} µs", f"{us / least:.1f}×"]
        lines.append(f"| {' | '.join(cells)} | {1000 * row['mean_s']:.1f} ms |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all sizes, print and store the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--full", action="store_true", help="up to 10,000,000 requests")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each size, of which the median counts (3)")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        from benchmarks.contestants.ours import prepare

        name, replicas, requests, seed = given.one
        workload = widened(WORKLOADS[name], int(replicas))
        print(json.dumps(measured(prepare, workload, int(requests), int(seed))))
        return
    sizes = (*SIZES, 10_000_000) if given.full else SIZES
    by_size = {w.name: [one(w, w.replicas, size, given.repeat) for size in sizes] for w in (W1, W4)}
    by_replicas = [
        one(W4, replicas, REQUESTS, given.repeat) | {"by_hand_us": by_hand(widened(W4, replicas), REQUESTS, given.repeat)}
        for replicas in REPLICAS
    ]
    out = HERE / "results"
    out.mkdir(exist_ok=True)
    (out / "scaling.json").write_text(json.dumps({"requests": by_size, "replicas": by_replicas}, indent=1) + "\n")
    (out / "scaling.md").write_text(text(by_size, by_replicas))
    print(text(by_size, by_replicas))


if __name__ == "__main__":
    main()
