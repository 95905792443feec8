"""Where the time of a workload goes: `python -m benchmarks.profile [W4] [--requests 20000]`, or `make profile`.

Counts the instructions that the run executes under valgrind's callgrind, from the first event to the last, and adds them up by
what they are for. Instructions can be repeated to a hundredth on a noisy machine, where a sampling profile cannot. They are not
time: what waits for memory (1,000 replicas) costs more than it counts. Writes benchmarks/results/profile.md. Needs valgrind.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.entrants import HERE
from benchmarks.runner import ROOT
from benchmarks.workloads import WORKLOADS

#: What a C function belongs to, by its name or file; the first that fits.
PARTS = (
    ("event loop: the heap", r"sim/kernel/core|agenda"),
    (
        "objects: making, dropping, counting references",
        r"tp_new|tp_dealloc|obmalloc|gcmodule|GC_|object\.h|typeobject|malloc|memset",
    ),
    ("waking and waiting", r"sim/kernel/"),
    ("visits", r"runtime/(visit|context|ledger|network)"),
    ("callers: calls, retries, breakers, balancing", r"runtime/caller|policies/"),
    ("replicas: workers, lines, steps", r"runtime/(replica|steps)"),
    ("origins and arrivals", r"runtime/(origin|arrivals)"),
    ("recording", r"runtime/(recorder|sketched)|memmove"),
    ("chance: keys and laws", r"sim/(streams|laws)|math/|libm"),
)
_LINE = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S.*)$")
_RUN = (
    "from benchmarks.contestants.ours import prepare; from benchmarks.workloads import WORKLOADS; "
    "prepare(WORKLOADS[{name!r}], {requests}, 1)()"
)


def counted(name: str, requests: int) -> Counter[str]:
    """Instructions of one run, by part."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "callgrind"
        words = ["valgrind", "--tool=callgrind", "--toggle-collect=*Environment_run_on*", f"--callgrind-out-file={out}"]
        program = _RUN.format(name=name, requests=requests)
        subprocess.run([*words, sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
        listed = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", str(out)], check=True, capture_output=True, text=True
        ).stdout
    return by_part(listed)


def by_part(listed: str) -> Counter[str]:
    """Add up the lines of callgrind_annotate.

    >>> dict(by_part("1,000 ( 0.1%)  sim/runtime/visit.c:Visit_fire\\n20 ( 0.1%)  foo.c:bar\\n7 (1.0%)  PROGRAM TOTALS"))
    {'visits': 1000, 'the rest': 20}
    """
    found: Counter[str] = Counter()
    for line in listed.splitlines():
        match = _LINE.match(line)
        if match is not None and "PROGRAM TOTALS" not in line:
            part = next((name for name, pattern in PARTS if re.search(pattern, match[2])), "the rest")
            found[part] += int(match[1].replace(",", ""))
    return found


def text(name: str, requests: int, found: Counter[str]) -> str:
    """The table in Markdown."""
    total = sum(found.values())
    lines = [
        f"<!-- Written by `python -m benchmarks.profile {name} --requests {requests}`. Do not edit by hand. -->",
        "",
        f"{name}, everything recorded: {total / requests:,.0f} instructions per request.",
        "",
        "| part | instructions per request | share |",
        "|---|---:|---:|",
        *(f"| {part} | {count / requests:,.0f} | {count / total:.0%} |" for part, count in found.most_common()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where the time of a workload goes.")
    parser.add_argument("workload", nargs="?", default="W4", choices=list(WORKLOADS))
    parser.add_argument("--requests", type=int, default=20_000)
    given = parser.parse_args()
    table = text(given.workload, given.requests, counted(given.workload, given.requests))
    (HERE / "results" / "profile.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
