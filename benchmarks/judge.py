"""Whether a result is right, before its speed counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.workloads import Expected

#: Figures that are counted over the whole run; the others are read off each run's latencies.
_COUNTED = ("attempts", "timeouts")


def figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Mean and p99 in seconds, each run weighed with its requests; attempts and timeouts per request; None: not reported.

    >>> figures([{"requests": 100, "mean_s": 1.0, "attempts": 300}, {"requests": 300, "mean_s": 2.0, "attempts": 900}])["mean_s"]
    1.75
    """
    total = sum(run["requests"] for run in runs)
    found: dict[str, float | None] = {}
    for name in ("mean_s", "p99_s", *_COUNTED):
        values = [run[name] for run in runs if run.get(name) is not None]
        if len(values) < len(runs) or not total:
            found[name] = None
        elif name in _COUNTED:
            found[name] = sum(values) / total
        else:
            found[name] = sum(value * run["requests"] for value, run in zip(values, runs, strict=True)) / total
    return found


def complaints(expected: Mapping[str, Expected], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the results of several runs with different seeds, taken together; empty if nothing is.

    >>> complaints({"mean_s": Expected(5.0, spread=8.8)}, [{"requests": 200_000, "mean_s": 4.2}])
    ['mean_s is 4.2, not 5 +- 7.9 %']
    """
    total = sum(run["requests"] for run in runs)
    found = figures(runs)
    wrong = []
    for name, reference in expected.items():
        value, tolerance = found[name], reference.tolerance(total)
        if value is None:
            wrong.append(f"{name} is missing")
        elif not abs(value / reference.value - 1) <= tolerance:
            wrong.append(f"{name} is {value:.4g}, not {reference.value:.4g} +- {100 * tolerance:.2g} %")
    return wrong
