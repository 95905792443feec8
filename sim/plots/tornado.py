"""The tornado: how far each uncertain input moves a metric, the widest swing at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator

from sim.analysis.sensitivity import HIGH, LOW, WRITTEN
from sim.plots import style, words
from sim.plots.style import Look

#: More bars nobody reads; the swings below are smaller.
_MOST: Final = 12
#: Both ends may lie on the same side, so each has its half of a row.
_AT: Final = {LOW: 0.17, HIGH: -0.17}
_LOOKS: Final[Mapping[str, Look]] = {LOW: Look("#A5C8E8"), HIGH: Look("#2F4B7C", hatch="//")}


def tornado(
    ends: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str,
    baseline: str | None = None,
    case: str | None = None,
    notes: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Axes:
    """One bar per input, from where the metric is as written to where it is at the low and at the high end of the input.

    Whiskers are 95 % intervals of the change against as written (paired by seed); one that reaches far beyond all bars is cut,
    and ends in an arrow. With a baseline it is the difference to it that
    moves, and on the other side of the line at zero the other candidate is the better one, by this metric.

    Args:
        ends: of `sim.analysis.sensitivity.swings`, with `written`, and a column `case` if it holds several cases.
        ax: where to draw; None makes a new figure.
        metric: which one it is.
        baseline: the candidate whose metric is taken away.
        case: which one, if the table holds several.
        notes: what is written under the names of some inputs.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing.
    """
    style.need(ends, ("input", "end", "mean", "change_low", "change_high", "written"), "tornado")
    rows = style.one_of(ends, "case", case, "tornado")[1] if "case" in ends else ends
    inputs = list(dict.fromkeys(rows["input"]))[:_MOST]
    word = words.of_metric(metric)
    written = rows.loc[rows["end"] == WRITTEN, "mean"]
    known = bool(np.isfinite(written.iloc[0]))
    middle = float(written.iloc[0]) if known else 0.0
    with style.themed():
        ax = style.new_axes(ax, (9.0, 1.6 + 0.6 * len(inputs)))
        ends_of = rows[rows["input"].isin(inputs)]
        room = _room(ends_of, middle, *([middle] if baseline is None else [middle, 0.0]))
        for place, name in enumerate(inputs):
            for end, look in _LOOKS.items():
                mine = rows[(rows["input"] == name) & (rows["end"] == end)]
                if not len(mine):  # what is written is this end
                    continue
                if mine["mean"].isna().all() or not known:
                    why = "  no value" if known else "  no value as written"
                    ax.text(middle, _AT[end] - place, why, va="center", fontsize=10, style="italic", color=style.INK)
                    continue
                _bar(ax, _AT[end] - place, middle, mine.iloc[0], look, room)
        ax.axvline(middle, color=style.INK, linewidth=1.2, zorder=3)
        if baseline is not None:
            ax.axvline(0.0, color=style.INK, linewidth=1.0, linestyle=":", zorder=1.5)
        ax.yaxis.set_major_locator(FixedLocator([-place for place in range(len(inputs))]))
        ax.set_yticklabels([_label(rows, name, (notes or {}).get(name, "")) for name in inputs], fontsize=10)
        ax.set_ylim(-len(inputs) + 0.4, 0.6)
        ax.grid(visible=False, axis="y")
        words.set_axis(ax.xaxis, word, rows["mean"], difference=baseline is not None)
        margin = 0.04 * (room[1] - room[0])
        ax.set_xlim(room[0] - margin, room[1] + margin)
        against = "" if baseline is None else f", difference to {baseline}"
        style.set_title(ax, title, words.capital(f"{word.text}{against}, one input at a time"))
        for end, look in _LOOKS.items():
            ax.barh(0, 0, left=middle, color=look.colour, hatch=look.hatch, edgecolor="white", label=f"{end} end of the input")
        style.legend_beside(ax, "whiskers: 95 % intervals (an arrow: they go on)")
    return ax


def _room(rows: pd.DataFrame, middle: float, *more: float) -> tuple[float, float]:
    """From where to where the chart goes: all bars, and of their whiskers as much as the bars are long on either side."""
    bars = style.finite([*rows["mean"], *more])
    whiskers = middle + style.finite([*rows["change_low"], *rows["change_high"]])
    least, most = float(bars.min()), float(bars.max())
    length = (most - least) or float(np.abs(whiskers - middle).max(initial=0.0)) or 1.0
    low = max(least - length, float(whiskers.min(initial=least)))
    high = min(most + length, float(whiskers.max(initial=most)))
    return (low, high) if low < high else (low - length, high + length)


def _bar(ax: Axes, place: float, middle: float, row: pd.Series[Any], look: Look, room: tuple[float, float]) -> None:
    change = float(row["mean"]) - middle
    ax.barh(
        place, change, left=middle, height=0.32, color=look.colour, hatch=look.hatch, edgecolor="white", zorder=2
    )  # fmt: skip
    low, high = middle + float(row["change_low"]), middle + float(row["change_high"])
    if low == low:  # one replication has none
        ends = [max(low, room[0]), min(high, room[1])]
        halo = [withStroke(linewidth=3.0, foreground="white")]
        ax.plot(ends, [place, place], color=style.INK, linewidth=1.2, zorder=3.5, path_effects=halo)
        for end, mark in zip(ends, ("<" if low < room[0] else "|", ">" if high > room[1] else "|"), strict=True):
            ax.plot([end], [place], color=style.INK, marker=mark, markersize=7, zorder=3.5, path_effects=halo)


def _label(rows: pd.DataFrame, name: str, note: str) -> str:
    """An input with its low, written and high values, and what is to be known of it."""
    mine = rows[rows["input"] == name].set_index("end")["written"]
    values = " · ".join(str(mine[end]) for end in (LOW, WRITTEN, HIGH) if end in mine.index)
    return "\n".join(line for line in (style.wrap(name, 34), values, note) if line)
