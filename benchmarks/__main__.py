"""Run the benchmarks: `python -m benchmarks [W1 W3 ...] [--repeat 5] [--quick] [--only NAME ...]`.

Results of whole runs go to benchmarks/results (one JSON file per workload, tables in README.md, the README's table in speed.md)
and docs/images/speed.png. With `--quick` or `--only` they go to benchmarks/.build/trial instead: such numbers are for a look.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.entrants import BUILD, ENTRANTS, HERE, SIMPY, Entrant, command_of
from benchmarks.protocol import UnavailableError
from benchmarks.runner import ROOT, Result, machine, race
from benchmarks.workloads import WORKLOADS

QUICKER = 10


def main(arguments: list[str] | None = None) -> int:
    """Run, check, store, and tell; exit code 1 if somebody was wrong or `sim` did not run, 2 for words it does not know."""
    given = _arguments(arguments)
    trial = given.quick or bool(given.only)
    out = BUILD / "trial" if trial else HERE / "results"
    chosen = [entrant for entrant in ENTRANTS if not given.only or entrant.name in given.only]
    _make_ready(chosen)
    refused = []
    for name in given.workloads or WORKLOADS:
        workload = WORKLOADS[name]
        requests = workload.requests // (QUICKER if given.quick else 1)
        results = race(workload, chosen, requests, given.repeat, lambda line: print(line, flush=True))
        _store(out, name, results)
        print(report.table(workload, [result.row() for result in results]), flush=True)
        refused += [f"{name} {result.entrant.label}: {result.trouble}" for result in results if result.trouble]
    picture = out / "speed.png" if trial else ROOT / "docs" / "images" / "speed.png"
    _tell(out, picture)
    print(f"written: {out}/README.md, {out}/speed.md, {picture}")
    for line in refused:
        print(f"not right: {line}", file=sys.stderr)
    return 1 if refused else 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast sim is, beside others, on the same models."
    )
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"some of {', '.join(WORKLOADS)}; absent: all")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each contestant, of which the median counts (5)")
    parser.add_argument(
        "--quick", action="store_true", help=f"a {QUICKER}th of the requests; for a look, results stay as they are"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[entrant.name for entrant in ENTRANTS], help="some contestants; for a look, too"
    )
    given = parser.parse_args(arguments)
    unknown = [name for name in given.workloads if name not in WORKLOADS]
    if unknown or given.repeat < 1:
        parser.error(
            f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}" if unknown else "--repeat must be at least 1"
        )
    return given


def _make_ready(chosen: list[Entrant]) -> None:
    for entrant in chosen:
        print(f"getting {entrant.label} ready ...", flush=True)
        with contextlib.suppress(UnavailableError):  # reported with every workload that it misses
            command_of(entrant)


def _store(out: Path, name: str, results: list[Result]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    content = {"workload": name, "machine": machine(), "results": [result.row() for result in results]}
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _tell(out: Path, picture: Path) -> None:
    """Write tables and chart from all results that are stored, those of earlier runs too."""
    stored: dict[str, dict[str, Any]] = {
        name: json.loads((out / f"{name}.json").read_text()) for name in WORKLOADS if (out / f"{name}.json").exists()
    }
    rows = {name: content["results"] for name, content in stored.items()}
    where = sorted({"; ".join(map(str, content["machine"].values())) for content in stored.values()})
    text = ["# Speed", "", "<!-- Written by `python -m benchmarks`. Do not edit by hand. -->", "", *where, ""]
    text += [report.table(WORKLOADS[name], rows[name]) for name in rows]
    (out / "README.md").write_text("\n".join(text))
    (out / "speed.md").write_text(report.summary(rows))
    if any(SIMPY in report.speeds(of) for of in rows.values()):
        report.chart(rows, picture)


if __name__ == "__main__":
    sys.exit(main())
