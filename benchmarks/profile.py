"""Where the time of a workload goes: `python -m benchmarks.profile [W4] [--requests 20000]`, or `make profile`.

Counts the instructions that the run executes under valgrind's callgrind, from the first event to the last, and adds them up by
what they are for. Instructions can be repeated to a hundredth on a noisy machine, where a sampling profile cannot. They are not
time: what waits for memory (1,000 replicas) costs more than it counts. Writes benchmarks/results/profile.md, and refuses to
(exit code 1) where the workload has become more than 5 % dearer than what stands there: a mechanism has to be free for who does
not use it. `--accept` writes all the same. Counts of other compilers or processors differ by some percent. Needs valgrind.
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

RESULT = HERE / "results" / "profile.md"
#: How much dearer a workload may become unnoticed, as a ratio.
TOLERANCE = 0.05
#: W4 at commit 1ae123f, which had no policies but timeouts, retries and breakers, counted on the machine of the stored table.
BEFORE_THE_POLICIES = 21_066

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
        *([f"Before there were the policies that it does not use: {BEFORE_THE_POLICIES:,}.", ""] if name == "W4" else []),
        "| part | instructions per request | share |",
        "|---|---:|---:|",
        *(f"| {part} | {count / requests:,.0f} | {count / total:.0%} |" for part, count in found.most_common()),
    ]
    return "\n".join(lines) + "\n"


def stored(name: str) -> float | None:
    """Instructions per request in the stored table; None if it is of another workload."""
    text_before = RESULT.read_text() if RESULT.exists() else ""
    found = re.search(rf"^{name}, everything recorded: ([\d,]+) instructions", text_before, re.M)
    return None if found is None else float(found[1].replace(",", ""))


def main() -> int:
    """Count, compare, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where the time of a workload goes.")
    parser.add_argument("workload", nargs="?", default="W4", choices=list(WORKLOADS))
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--accept", action="store_true", help="store the count even if it is more than 5 %% higher")
    given = parser.parse_args()
    before, found = stored(given.workload), counted(given.workload, given.requests)
    print(text(given.workload, given.requests, found))
    if before is not None:
        change = found.total() / given.requests / before - 1
        print(f"{change:+.1%} against what is stored.")
        if change > TOLERANCE and not given.accept:
            print(f"That is more than {TOLERANCE:.0%}: find out why, or store it with --accept.", file=sys.stderr)
            return 1
    RESULT.write_text(text(given.workload, given.requests, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
