"""Tables and the chart, from the rows of `runner.Result.row` and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.entrants import CPP, OURS, SIMPY
from benchmarks.workloads import WORKLOADS, Workload

Rows = Sequence[Mapping[str, Any]]

_HEAD = (
    "contestant", "requests per CPU-second", "× SimPy", "C++ is faster by", "CPU s", "requests", "events per request",
    "memory MiB", "set-up s", "mean", "p99",
)  # fmt: skip


def speeds(rows: Rows) -> dict[str, float]:
    """Requests per CPU-second of those whose results are right, by name."""
    return {row["name"]: row["requests_per_cpu_s"] for row in rows if not row["unavailable"] and not row["wrong"]}


def table(workload: Workload, rows: Rows) -> str:
    """One workload in Markdown; who was wrong or did not run stands below with the reason."""
    counted = speeds(rows)
    shown = sorted((row for row in rows if row["name"] in counted), key=lambda row: counted[row["name"]])
    lines = ["| " + " | ".join(_HEAD) + " |", "|---|" + "---:|" * (len(_HEAD) - 1)]
    lines += ["| " + " | ".join(_cells(workload, row, counted)) + " |" for row in shown]
    notes = [f"- {row['label']}: {row['like']}" for row in shown if row["like"]]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["unavailable"]:
            reasons.setdefault(row["unavailable"], []).append(row["label"])
        elif row["wrong"]:
            speed = f"{row['requests_per_cpu_s']:,.0f} requests per CPU-second do not count"
            notes.append(f"- {row['label']} is **WRONG**: {'; '.join(row['wrong'])} ({speed})")
    notes += [f"- {'; '.join(labels)} did not run: {reason}" for reason, labels in reasons.items()]
    return "\n".join([f"## {workload.name}: {workload.title}", "", *lines, *([""] if notes else []), *notes, ""])


def _cells(workload: Workload, row: Mapping[str, Any], counted: Mapping[str, float]) -> list[str]:
    speed = counted[row["name"]]
    return [
        f"**{row['label']}**" if row["name"] == OURS else row["label"],
        f"{speed:,.0f}",
        _times(speed / counted[SIMPY]) if SIMPY in counted else "–",
        _times(counted[CPP] / speed) if CPP in counted else "–",
        f"{row['cpu_s']:.2f}",
        f"{row['requests']:,.0f}",
        f"{row['events_per_request']:.1f}" if row["events_per_request"] else "–",
        f"{row['memory_mib']:.1f}",
        f"{row['setup_s']:.2f}",
        _time(row["mean_s"]),
        _time(row["p99_s"]),
    ]


def summary(results: Mapping[str, Rows]) -> str:
    """All workloads side by side, for the README: requests per CPU-second, and in brackets how many times SimPy."""
    names = [name for name in WORKLOADS if name in results]
    labels = {row["name"]: row["label"] for name in names for row in results[name]}
    lines = ["| requests per CPU-second (× SimPy) | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for contestant, label in labels.items():
        cells = [_summed(results[name], contestant) for name in names]
        if set(cells) != {"–"}:
            lines.append("| " + " | ".join([f"**{label}**" if contestant == OURS else label, *cells]) + " |")
    likes = {f"\\* {row['like']}." for name in names for row in results[name] if row.get("like")}
    return "\n".join([*lines, *([""] if likes else []), *sorted(likes), ""])


def _summed(rows: Rows, contestant: str) -> str:
    counted = speeds(rows)
    row = next((row for row in rows if row["name"] == contestant), None)
    if row is None or row["unavailable"]:
        return "–"
    if contestant not in counted:
        return "wrong"
    star = "\\*" if row["like"] else ""
    ratio = f" ({_times(counted[contestant] / counted[SIMPY])})" if SIMPY in counted else ""
    return f"{_rounded(counted[contestant])}{star}{ratio}"


def chart(results: Mapping[str, Rows], path: Path) -> None:
    """Draw one panel per workload, bars of requests per CPU-second on a common logarithmic axis; everybody in the same order."""
    import matplotlib.pyplot as plt

    from sim.plots.style import themed

    names = [name for name in WORKLOADS if SIMPY in speeds(results.get(name, ()))]
    ratios: dict[str, list[float]] = {}
    for name in names:
        counted = speeds(results[name])
        for contestant, speed in counted.items():
            ratios.setdefault(contestant, []).append(speed / counted[SIMPY])
    order = sorted(ratios, key=lambda contestant: median(ratios[contestant]))
    lines, columns = -(-len(names) // 2), min(2, len(names))
    with themed():
        size = (5 * columns, 0.6 + 3.4 * lines)
        figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
        for ax, name in zip(grid.flat, names, strict=False):
            _panel(ax, order, {row["name"]: row for row in results[name]}, speeds(results[name]))
            ax.set_title(f"{name}: {WORKLOADS[name].title}")
        for ax in grid[-1]:
            ax.set_xlabel("requests per CPU-second (log scale)")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _panel(ax: Any, order: Sequence[str], rows: Mapping[str, Mapping[str, Any]], counted: Mapping[str, float]) -> None:
    low, high = 1_000, 4e7
    for place, name in enumerate(order):
        if name not in counted:
            ax.text(low * 1.15, place, "wrong" if rows[name].get("wrong") else "–", va="center")
            continue
        # Dark for ours, hatched for the yardstick, light for the rest: the difference survives in grey.
        colour, hatch = {OURS: ("#0B3C5D", ""), SIMPY: ("#C9C9C9", "//")}.get(name, ("#C9C9C9", ""))
        ax.barh(place, counted[name], color=colour, hatch=hatch, edgecolor="#333333", linewidth=0.8)
        text = ", ".join(filter(None, (_rounded(counted[name]), rows[name]["like"].partition(":")[0])))
        ax.text(counted[name] * 1.12, place, text, va="center", fontweight="bold" if name == OURS else "normal")
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_formatter(lambda value, _: _rounded(value).replace(".0", ""))
    ax.set_yticks(range(len(order)), [rows[name]["label"] for name in order])
    ax.grid(axis="y", visible=False)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 0.995 else f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:,.0f}×"


def _rounded(value: float) -> str:
    """Two digits that mean something.

    >>> _rounded(13_245), _rounded(874_000), _rounded(2_049_000), _rounded(950)
    ('13 k', '870 k', '2.0 M', '950')
    """
    digits = float(f"{value:.2g}")
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if digits >= size:
            return f"{digits / size:.1f}{unit}" if digits / size < 10 else f"{digits / size:.0f}{unit}"
    return f"{digits:.0f}"


def _time(time_s: float) -> str:
    return f"{time_s:.3g} s" if time_s >= 1 else f"{1000 * time_s:.3g} ms"
