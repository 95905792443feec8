"""Effects of many kinds on one page: one panel per effect, conditions from top to bottom, in each a line per candidate.

::

    payment outage   ●──────●                 blue:  median and p99 of the first candidate
                         ▲────────▲  76 %     black: ... of another one, where not all happened
    e-mail outage    ●──────●
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sim.analysis.words import SAME, amount, change
from sim.plots import style, words
from sim.plots.rows import IDENTICAL, Heights, difference_mark, mark_missing, metrics_of
from sim.plots.style import INK, Look

_ROW_IN: Final = 0.17
#: A line of the legend.
_KEY_IN: Final = 0.22
#: Between two blocks, in rows.
_GAP: Final = 0.9
_SMALL: Final = 9.5


def effect_times(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    of: str | None = None,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Time to acknowledgement and time to effect, from median to p99: of one effect, with the conditions as blocks of rows; or
    under one condition, with the effects as blocks. In each block every candidate has a row, in the order of the legend.

    Hollow: from the publisher's send until the broker had the message; an effect by a synchronous call has none. Full:
    from the arrival of the request until the effect was there. Only effects that happened have a time, so the
    share that happened stands beside the row, where it is below 100 %.

    Args:
        summary: columns candidate, condition, metric, of, mean, low, high, with ack_p50_s, ack_p99_s, effect_p50_s,
            effect_p99_s (seconds) and, where known, completeness.
        ax: where to draw; None makes a new figure.
        of: which effect, if the table holds several.
        condition: which one, if the table holds several; without it, all conditions of the effect are shown.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, there is no effect in the table, or neither effect nor condition is clear.
    """
    chart = "effect_times"
    times = metrics_of(summary, ["ack_p50_s", "ack_p99_s", "effect_p50_s", "effect_p99_s"], None, chart)
    named = times[times["of"].astype(str) != "all"]
    times = named if len(named) else times
    mine = times if of is None else style.one_of(times, "of", of, chart)[1]
    conditions = style.names_in(times, "condition")
    over_conditions = of is not None and condition is None and len(conditions) > 1
    name, mine = (of or "", mine) if over_conditions else style.one_of(mine, "condition", condition, chart)
    column, names = ("condition", conditions) if over_conditions else ("of", style.names_in(mine, "of"))
    candidates = style.candidates_in(times)
    found = looks or style.looks(style.candidates_in(summary))
    with style.themed():
        ax = style.new_axes(ax, size_of(len(names), len(candidates), 9.5, 1.6 + _KEY_IN * (len(candidates) + 3)))
        where = _lay_out(ax, names, candidates)
        for (block, candidate), y in where.items():
            row = mine[(mine[column].astype(str) == block) & (mine["candidate"].astype(str) == candidate)]
            by_metric = row.drop_duplicates("metric").set_index("metric")[["mean", "low", "high"]]
            _dumbbell(ax, y, by_metric, ("ack_p50_s", "ack_p99_s"), found[candidate], full=False)
            _dumbbell(ax, y, by_metric, ("effect_p50_s", "effect_p99_s"), found[candidate], full=True)
            happened = row[row["metric"].astype(str).str.startswith("effect_")]
            if len(happened):
                mark_missing(ax, {(block, candidate): y}, happened, "mean", "none happened", _SMALL)
        style.set_time_axis(ax.xaxis, "time, median to p99", times["mean"])
        style.fit_time_axis(ax.xaxis, times["mean"], times["high"])
        _completeness(ax, where, _metric(summary, "completeness", over_conditions, name), column)
        style.set_title(ax, title, f"Time to acknowledgement and to effect · {name}")
        for candidate in candidates:
            ax.add_line(_key(style.wrap(candidate, 32), found[candidate], full=True))
        whole = Look(INK, marker="o")
        ax.add_line(_key("acknowledged: broker has it (no such time without a queue)", whole, full=False))
        ax.add_line(_key("effect is there", whole, full=True))
        if legend:
            style.legend_below(ax, "left end: median, right end: p99; at the margin: share that happened, where not all did")
    return ax


def effect_differences(
    differences: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str | None = None,
    of: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Paired differences to the baseline in one metric of one effect, with intervals, conditions as blocks of narrow rows.

    It says what `difference_forest` says in a third of the room, for studies with many effects: a full mark is a difference
    that the intervals can tell from zero, a hollow one is not; its numbers stand beside the row. Where no candidate differs
    in any replication, the block says so once.

    Args:
        differences: columns condition, candidate, baseline, metric, of, difference, low, high, verdict.
        ax: where to draw; None makes a new figure.
        metric: which one, if the table holds several.
        of: which effect, if the table holds several.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one below the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, no row is left, or metric or effect is not clear.
    """
    chart = "effect_differences"
    columns = ("condition", "candidate", "baseline", "metric", "of", "difference", "low", "high", "verdict")
    style.need(differences, columns, chart)
    effect, mine = style.one_of(differences, "of", of, chart)
    name, mine = style.one_of(mine, "metric", metric, chart)
    conditions, candidates = style.names_in(mine, "condition"), style.names_in(mine, "candidate")
    found = looks or style.looks(style.candidates_in(differences))
    with style.themed():
        ax = style.new_axes(ax, size_of(len(conditions), len(candidates), 9.5, 1.6 + _KEY_IN * len(candidates)))
        where = _lay_out(ax, conditions, candidates)
        ax.axvline(0.0, color=INK, linewidth=1.0, zorder=1.2)
        values = mine[["difference", "low", "high"]].to_numpy(dtype=float).ravel()
        words.set_axis(ax.xaxis, words.of_metric(name), values, difference=True)
        for condition in conditions:
            rows = mine[mine["condition"].astype(str) == condition].to_dict("records")
            heights = [where[condition, str(row["candidate"])] for row in rows]
            texts = [change(row).replace("percentage points", "pp").replace(SAME, IDENTICAL) for row in rows]
            if set(texts) == {IDENTICAL}:
                heights, texts = [float(np.mean(heights))], [IDENTICAL]
            else:
                for row, y in zip(rows, heights, strict=True):
                    difference_mark(ax, y, row, found[str(row["candidate"])], size=6)
            for y, text in zip(heights, texts, strict=True):
                ax.text(1.01, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=_SMALL, color=INK)
        style.set_title(ax, title, effect)
        for candidate in candidates:
            ax.add_line(_key(style.wrap(candidate, 32), found[candidate], full=True))
        hollow = Line2D([], [], label="not told from zero", **{**_drawn(Look(INK, marker="o"), full=False), "linestyle": "-"})
        ax.add_line(hollow)
        if legend:
            style.legend_below(ax, f"difference to {style.names_in(mine, 'baseline')[0]}, with 95 % interval")
    return ax


def size_of(blocks: int, candidates: int, width: float, around: float = 0.5) -> tuple[float, float]:
    """Inches that so many blocks of rows need, with so much `around` them."""
    return width, around + _ROW_IN * blocks * (candidates + _GAP)


def _lay_out(ax: Axes, names: Sequence[str], candidates: Sequence[str]) -> dict[tuple[str, str], float]:
    """Give every (block, candidate) a height and name the blocks at the left edge, with lines between them."""
    deep = len(candidates) + _GAP
    where = {(name, one): i * deep + j for i, name in enumerate(names) for j, one in enumerate(candidates)}
    above = -(1 + _GAP) / 2  # half a gap, and half a row
    for i in range(1, len(names)):
        ax.axhline(i * deep + above, color=style.SHADE, linewidth=0.6, zorder=1)
    ax.set_ylim(len(names) * deep + above, above)
    middles = [i * deep + (len(candidates) - 1) / 2 for i in range(len(names))]
    ax.set_yticks(middles, [style.wrap(style.shorten(name, 44), 22) for name in names])
    ax.tick_params(axis="y", length=0, pad=8)
    ax.grid(visible=False, axis="y")
    return where


def _dumbbell(ax: Axes, y: float, values: pd.DataFrame, metrics: tuple[str, str], look: Look, *, full: bool) -> None:
    """Median and p99 as two marks on one line, each with its interval as a paler, broader line."""
    if not set(metrics) <= set(values.index) or not np.isfinite(values.loc[list(metrics), "mean"]).all():
        return
    for metric in metrics:
        ends = values.loc[metric, ["low", "high"]].to_numpy(dtype=float)
        ax.plot(ends, [y, y], color=look.colour, linewidth=5, alpha=0.25, solid_capstyle="butt", zorder=1.8)
    ax.plot(values.loc[list(metrics), "mean"].to_numpy(dtype=float), [y, y], zorder=2.5, **_drawn(look, full=full))


def _drawn(look: Look, *, full: bool) -> dict[str, Any]:
    return {
        "color": look.colour, "linewidth": 1.6, "linestyle": "-" if full else (0, (2, 1.5)), "marker": look.marker,
        "markersize": 6, "markeredgewidth": 1.2, "markerfacecolor": look.colour if full else "white",
        "markeredgecolor": look.colour,
    }  # fmt: skip


def _key(label: str, look: Look, *, full: bool) -> Line2D:
    return Line2D([], [], label=label, **_drawn(look, full=full))


def _metric(summary: pd.DataFrame, metric: str, over_conditions: bool, name: str) -> pd.DataFrame:
    """The rows of a metric under the condition, or of the effect, of that name."""
    chosen = "of" if over_conditions else "condition"
    return summary[(summary["metric"].astype(str) == metric) & (summary[chosen].astype(str) == name)]


def _completeness(ax: Axes, where: Heights, rows: pd.DataFrame, column: str) -> None:
    shares = {(str(row[column]), str(row["candidate"])): float(row["mean"]) for row in rows.to_dict("records")}
    for key, y in where.items():
        if shares.get(key, 1.0) < 1.0:
            ax.text(
                1.01, y, amount("completeness", shares[key]), transform=ax.get_yaxis_transform(), va="center", fontsize=_SMALL,
                color=INK,
            )  # fmt: skip
