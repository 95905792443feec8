"""Charts of curves: latency by percentile, its distribution, success over time, and what all charts over time share.

Each function draws the numbers of a table that `sim.analysis` made, as they are, on one axes, and returns that axes.
A table of several conditions may be given whole together with `condition=`: its values then set looks and scale,
so that the panels of several conditions are comparable.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from sim.analysis.words import amount, listing
from sim.plots import style
from sim.plots.style import Look

#: A fault on the time axis: what it is, from when to when, in seconds; an end of None or infinity is the end of the chart.
Window = tuple[str, float, float | None]

_NINES: Final = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_MOSTLY: Final = 0.5  # a line over time of which more bins than this share tell nothing has no band
#: Height of a line of fault names above the axes, in points.
LINE_PT: Final = 14
#: Mark of such a name among the texts of an axes.
FAULT: Final = "fault"
#: Mark of the shares answered well, under an axes.
NOTE: Final = "note"
_TICKS_APART: Final = 0.3  # of ticks on the axis of nines, so that their labels do not touch
_CLOSEST: Final = 1e-7  # how close to 1 the axis of nines goes
_DEEPEST: Final = 10.0  # an interval that reaches farther below its curve, as a factor, tells nothing and has no band
_CURVE: Final = ("probability", "latency_s", "low", "high")


def latency_percentiles(
    curve: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    summary: pd.DataFrame | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Latency of good answers by percentile, one line per candidate, 50, 90, 99 and 99.9 % equally far apart as nines.

    The chart for tails: what one request in a hundred or a thousand meets has as much room as the rest. For the typical
    request, or to read which share is faster than a bound, use `latency_cdf`.

    Args:
        curve: columns candidate, condition, probability (0 to 1), latency_s, low, high (seconds; NaN: no band).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        summary: with the metric success, to write into the chart how many requests have a latency at all.
        looks: from `style.looks`, when several charts shall agree; by default from the order in the table.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(curve, _CURVE, "latency_percentiles", condition, looks)
    with style.themed():
        ax = style.new_axes(ax)
        ax.set_xscale("function", functions=(_to_nines, _from_nines))
        missing = _curves(ax, curve, rows, ("probability", "latency_s"), found)
        largest = min(float(curve["probability"][curve["latency_s"].notna()].max()), 1 - _CLOSEST)
        first = min(0.5, largest / 2)
        ax.xaxis.set_major_locator(FixedLocator(_percentile_ticks(largest)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda p, _: f"{100 * p:.6g} %"))
        ax.set_xlim(first, largest)
        ax.set_xlabel("percentile of good answers (%)")
        shown = curve[curve["probability"] >= first * (1 - 1e-12)]
        style.set_time_axis(ax.yaxis, "latency", shown["latency_s"])
        style.fit_time_axis(ax.yaxis, shown["latency_s"], shown["high"])
        finish(ax, title, f"Latency of good answers by percentile · {name}", legend)
        _note_success(ax, summary, name, found)
        style.note_missing(ax, missing, "no good answers")
    return ax


def latency_cdf(
    curve: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    summary: pd.DataFrame | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Share of good answers that took at most so long, one line per candidate, with intervals as bands along the time.

    The chart for "how many are faster than 200 ms". Percentiles beyond 99 % are squeezed at its top: for them use
    `latency_percentiles`.

    Args:
        curve: columns candidate, condition, probability (0 to 1), latency_s, low, high (seconds; NaN: no band).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        summary: with the metric success, to write into the chart how many requests have a latency at all.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(curve, _CURVE, "latency_cdf", condition, looks)
    with style.themed():
        ax = style.new_axes(ax)
        missing = _curves(ax, curve, rows, ("latency_s", "probability"), found)
        style.set_time_axis(ax.xaxis, "latency", curve["latency_s"])
        style.fit_time_axis(ax.xaxis, curve["latency_s"], curve["high"])
        style.set_ratio_axis(ax.yaxis, "good answers within that time")
        ax.set_ylim(0.0, 1.02)
        finish(ax, title, f"Share of good answers within a time · {name}", legend)
        _note_success(ax, summary, name, found)
        style.note_missing(ax, missing, "no good answers")
    return ax


def latency_ccdf(
    curve: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    summary: pd.DataFrame | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Share of good answers that took longer than a time, on logarithmic axes: who has the heavier tail.

    ::

        100 % -----.___           a straight line that falls slowly: a heavy tail (Pareto)
          1 %      `-. `---.
        0.1 %         `.    `--   one that bends down: an exponential one, or a timeout

    It is `latency_percentiles` with its axes exchanged, for comparing at a bound on the latency: read upwards from 500 ms how
    many miss it. Percentiles below the median are left out.

    Args:
        curve: columns candidate, condition, probability (0 to 1), latency_s, low, high (seconds; NaN: no band).
        ax, condition, summary, looks, legend, title: as of `latency_cdf`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(curve, _CURVE, "latency_ccdf", condition, looks)
    upper = curve["probability"] >= min(0.5, float(curve["probability"].max()))
    with style.themed():
        ax = style.new_axes(ax)
        missing = _curves(
            ax, curve[upper], rows[rows["probability"].isin(curve["probability"][upper])], ("latency_s", "beyond"), found
        )
        style.set_time_axis(ax.xaxis, "latency", curve["latency_s"][upper])
        style.fit_time_axis(ax.xaxis, curve["latency_s"][upper], curve["high"][upper])
        ax.set_yscale("log")
        least = 1 - float(curve["probability"][curve["latency_s"].notna()].max())
        ax.set_ylim(max(least, _CLOSEST) / 1.3, 1.0)
        ax.yaxis.set_major_locator(LogLocator(numticks=8))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.6g} %"))
        ax.set_ylabel("good answers that took longer (%, log scale)")
        finish(ax, title, f"Share of good answers beyond a time · {name}", legend)
        _note_success(ax, summary, name, found)
        style.note_missing(ax, missing, "no good answers")
    return ax


def success_over_time(
    over_time: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    windows: Sequence[Window] = (),
    warmup_s: float = 0.0,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Share of requests answered well, per time bin of their arrival, one stepped line per candidate; faults are shaded.

    Args:
        over_time: columns candidate, condition, time_s (start of the bin), success, success_low, success_high (ratios).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        windows: faults to shade: (label, start in seconds, end in seconds or None).
        warmup_s: until when nothing counts, in seconds; hatched, with its place in the legend.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    columns = ("success", "success_low", "success_high")
    name, _, found = style.shown(over_time, ("time_s", *columns), "success_over_time", condition, looks)
    over_time = telling(over_time, columns)
    _, rows = style.one_of(over_time, "condition", name, "success_over_time")
    with style.themed():
        ax = style.new_axes(ax)
        steps(ax, over_time, rows, columns, found, "time of arrival")
        style.set_ratio_axis(ax.yaxis, "requests answered well")
        lowest = float(np.min(style.finite(over_time[list(columns)].to_numpy().ravel()), initial=1.0))
        # Close to 100 % the axis does not start at 0, or a loss of 1 % would be a hair; the axis label then says so.
        if lowest < 0.9:
            ax.set_ylim(0.0, 1.03)
        else:
            room = max(0.002, 1.1 * (1 - lowest))
            ax.set_ylim(1 - room, 1 + 0.05 * room)
            ax.set_ylabel("requests answered well (%, axis cut)")
        finish(ax, title, f"Requests answered well · {name}", legend, windows, warmup_s)
    return ax


def staleness_cdf(
    stale: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """How long processes went on choosing from replicas that were gone, one stepped line per candidate: a share of all cases.

    ::

        100 %         .------------        a line that starts above 0: these knew before the replica was gone
              .-------'                    a line that ends below 100 %: the others had not learned it when the run ended

    A case is one death as one process saw it. Not for how much that cost: a process with few calls counts like all others.

    Args:
        stale: columns candidate, condition, stale_s (seconds; NaN: never learned), as `sim.analysis.staleness` makes them.
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(stale, ("stale_s",), "staleness_cdf", condition, looks)
    positive = stale["stale_s"][stale["stale_s"] > 0]  # of all conditions: panels side by side have one scale
    log = style.is_wide(positive)
    left, right = (0.5 * float(positive.min()) if log else 0.0), 1.1 * float(positive.max() if len(positive) else 1.0)
    with style.themed():
        ax = style.new_axes(ax)
        for candidate in style.names_in(rows, "candidate"):
            cases = rows[rows["candidate"].astype(str) == candidate]["stale_s"]
            at = np.sort(cases[cases.notna()].to_numpy(dtype=float))
            x = pd.Series([left, *np.maximum(at, left), right])
            y = pd.Series([0.0, *(np.arange(1, len(at) + 1) / len(cases)), len(at) / len(cases)])
            nothing = pd.Series(np.full(len(x), np.nan))
            style.line_with_band(ax, x, y, found[candidate], candidate, band=(x, nothing, nothing), steps=True)
        style.set_time_axis(ax.xaxis, "time until callers knew", positive, log=log)
        ax.set_xlim(left, right)
        style.set_ratio_axis(ax.yaxis, "processes that had learned it")
        ax.set_ylim(0.0, 1.02)
        finish(ax, title, f"How long the dead stay visible · {name}", legend)
    return ax


def _percentile_ticks(largest: float) -> list[float]:
    """Nines up to the largest percentile, and this one itself where the last nine is far from it."""
    ticks = [p for p in _NINES if p <= largest * (1 + 1e-12)]
    far = not ticks or _to_nines(largest) - _to_nines(ticks[-1]) > _TICKS_APART
    return [*ticks, largest] if far else ticks


def hatch_warmup(ax: Axes, end_s: float) -> None:
    """Mark the time that does not count; not shaded, for shades are faults."""
    left, right = ax.get_xlim()
    if end_s > left:
        ax.axvspan(
            left, min(end_s, right), facecolor="none", edgecolor=style.SHADE, hatch="///", alpha=0.55, linewidth=0, zorder=0.4,
            label="warm-up, not counted",
        )  # fmt: skip
        ax.set_xlim(left, right)


def shade(ax: Axes, windows: Sequence[Window]) -> int:
    """Shade faults over the whole height and name them above the axes; returns how many lines of names there are.

    One that ends when it starts is a moment, and a line. Call it when the time axis has its limits. Equal labels are written
    once; names that would touch are stacked.
    """
    left, right = ax.get_xlim()
    width_pt = 72 * style.width_in(ax)
    ends: list[float] = []  # right end of the last name in each line, in points
    named: set[str] = set()
    for label, start, end in windows:
        stop = right if end is None or not np.isfinite(end) else min(end, right)
        begin = max(start, left)
        moment = stop == start
        if begin > stop or (begin == stop and not moment):
            continue
        if moment:
            ax.axvline(begin, color=style.SHADE, linewidth=1.5, zorder=0.5)
        else:
            ax.axvspan(begin, stop, color=style.SHADE, alpha=0.22, linewidth=0, zorder=0.5)
        if label in named:
            continue
        named.add(label)
        text = style.shorten(label, 34)
        length = 5.6 * len(text)
        wanted = (begin - left) / (right - left) * width_pt
        at = max(0.0, min(wanted, width_pt - length))
        line = next((i for i, taken in enumerate(ends) if taken < at), len(ends))
        ends[line : line + 1] = [at + length + 6]
        ax.annotate(
            # Tied to the fault's begin, so that it stays there when the layout changes the width.
            text, (begin, 1), xycoords=("data", "axes fraction"), xytext=(at - wanted, 3 + LINE_PT * line),
            textcoords="offset points",
            fontsize=10, color=style.INK, va="bottom", ha="left", gid=FAULT,
        )  # fmt: skip
    return len(ends)


def _curves(ax: Axes, curve: pd.DataFrame, rows: pd.DataFrame, xy: tuple[str, str], found: Mapping[str, Look]) -> list[str]:
    """Draw one line per candidate with the interval of its latency as a band; returns the candidates without a value.

    An interval that reaches down to nothing, as of two replications of a far percentile, tells nothing and would cover
    everything: there is no band. Where most of a curve is so, there is none at all, and not one in pieces. A curve that lies on
    another one is named in the axes: the last drawn would hide the others.
    """
    missing = []
    drawn: dict[tuple[float, ...], list[str]] = {}
    for candidate in style.names_in(curve, "candidate"):
        line = rows[rows["candidate"].astype(str) == candidate]
        line = line.assign(beyond=1 - line["probability"])
        if line["latency_s"].notna().any():
            drawn.setdefault(tuple(float(f"{value:.4g}") for value in line["latency_s"]), []).append(candidate)
            x, y = line[xy[0]], line[xy[1]]
            low = line["low"].where(line["low"] > line["latency_s"] / _DEEPEST)
            low = low if low.isna().mean() <= _MOSTLY else low * np.nan
            band = (line["beyond" if "beyond" in xy else "probability"], low, line["high"])
            if xy[0] == "latency_s":
                style.line_with_band(ax, x, y, found[candidate], candidate, band=band, sideways=True)
            else:
                # The percentiles that people quote carry the marks.
                nines = np.isclose(line["probability"].to_numpy(dtype=float)[:, None], _NINES, rtol=0, atol=1e-9).any(axis=1)
                style.line_with_band(ax, x, y, found[candidate], candidate, band=band, marked=nines if nines.any() else None)
        elif len(line):
            missing.append(candidate)
    alike = [f"{listing(names)} are the same curve" for names in drawn.values() if len(names) > 1]
    if alike:
        told = "\n".join(style.wrap(one, 40) for one in alike)
        ax.text(0.02, 0.97, told, transform=ax.transAxes, fontsize=10, color=style.INK, style="italic", va="top", zorder=5)
    return missing


def telling(table: pd.DataFrame, columns: tuple[str, str, str]) -> pd.DataFrame:
    """The same table without the intervals of those lines over time of which most reach down to nothing.

    So they do with two replications; bands of them would cover everything. All bins of a line or none: single bands would look
    like spells in which more is known.
    """
    value, low = table[columns[0]], table[columns[1]]
    idle = (low <= value / _DEEPEST).where((value > 0) & low.notna()).astype(float)
    share = idle.groupby([table["candidate"].astype(str), table["condition"].astype(str)]).transform("mean")
    return table.assign(**{column: table[column].where(~(share > _MOSTLY)) for column in columns[1:]})


def steps(
    ax: Axes, table: pd.DataFrame, rows: pd.DataFrame, columns: tuple[str, str, str], found: Mapping[str, Look], clock: str
) -> None:
    """Draw one stepped line per candidate with its band; the last bin is as long as the others."""
    starts = np.unique(table["time_s"].to_numpy(dtype=float))
    bin_s = float(np.diff(starts).min()) if len(starts) > 1 else 1.0
    missing = []
    for candidate in style.names_in(table, "candidate"):
        line = rows[rows["candidate"].astype(str) == candidate]
        if len(line) and line[columns[0]].isna().all():
            missing.append(candidate)
        elif len(line):
            last = line.tail(1).assign(time_s=line["time_s"].iloc[-1] + bin_s)
            line = pd.concat([line, last])
            value, low, high = (line[column] for column in columns)
            band = (line["time_s"], low, high)
            style.line_with_band(ax, line["time_s"], value, found[candidate], candidate, band=band, steps=True)
    style.set_time_axis(ax.xaxis, clock, [*starts, starts[-1] + bin_s], log=False)
    ax.set_xlim(starts[0], starts[-1] + bin_s)
    style.note_missing(ax, missing, "no requests")


def finish(ax: Axes, title: str | None, own: str, legend: bool, windows: Sequence[Window] = (), warmup_s: float = 0.0) -> None:
    """Mark the warm-up and the faults, and write title and legend."""
    hatch_warmup(ax, warmup_s)
    style.set_title(ax, title, own, pad=8 + LINE_PT * shade(ax, windows))
    if legend:
        style.legend_beside(ax, "bands: 95 % intervals" if ax.collections else None)


def _note_success(ax: Axes, summary: pd.DataFrame | None, condition: str, found: Mapping[str, Look]) -> None:
    """Write under the axes which share of requests was answered well: a latency of few good answers is no good latency."""
    if summary is None:
        return
    where = {"condition": condition, "metric": "success", "of": "all"}
    mine = summary[np.logical_and.reduce([summary[column].astype(str) == name for column, name in where.items()])]
    shares = {str(row["candidate"]): float(row["mean"]) for row in mine.to_dict("records")}
    known = [name for name in found if np.isfinite(shares.get(name, np.nan))]
    # Spaces that do not break keep a name and its figure together.
    notes = [f"{style.shorten(name, 28)} {amount('success', shares[name])}".replace(" ", "\u00a0") for name in known]
    if notes:
        text = "answered well: " + ", ".join(notes)
        text = textwrap.fill(text, int(11.5 * style.width_in(ax)), break_long_words=False, break_on_hyphens=False)
        ax.annotate(
            text, (0.0, 0.0), xycoords="axes fraction",
            xytext=(0, -46), textcoords="offset points", fontsize=10, color=style.INK, va="top", gid=NOTE,
        )  # fmt: skip


def _to_nines(probability: Any) -> Any:
    """Positions on the axis of nines: 90 % at 1, 99 % at 2, 99.9 % at 3."""
    return -np.log10(np.maximum(1 - np.asarray(probability, dtype=float), _CLOSEST))


def _from_nines(position: Any) -> Any:
    return 1 - 10.0 ** -np.asarray(position, dtype=float)
