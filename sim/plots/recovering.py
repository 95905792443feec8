"""The chart of a recovery: how well users are served after the last fault, and when that is as before for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sim.plots import style
from sim.plots.lines import finish, steps
from sim.plots.style import Look
from sim.units import format_duration


def recovery_after_fault(
    over_time: pd.DataFrame,
    ax: Axes | None = None,
    *,
    clear_s: float,
    summary: pd.DataFrame | None = None,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Share of requests answered well by the time since the last fault's end, one line per candidate, with when it recovered.

    ::

        100 % ----.           .------     a triangle on the time axis: recovered, in the mean over the runs
                   `.________.'     ▲
                    fault  0 s

    What comes before 0 is the fault, and the level before it. A candidate without a triangle did not recover in some run.

    Args:
        over_time: columns candidate, condition, time_s (start of the bin), success, success_low, success_high (ratios).
        ax: where to draw; None makes a new figure.
        clear_s: when the last fault ends, clock time in seconds.
        summary: with the metric recovery_s, for the marks.
        condition: which one, if the table holds several.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    columns = ("success", "success_low", "success_high")
    name, rows, found = style.shown(over_time, ("time_s", *columns), "recovery_after_fault", condition, looks)
    since = rows.assign(time_s=rows["time_s"] - clear_s)
    with style.themed():
        ax = style.new_axes(ax)
        steps(ax, over_time.assign(time_s=over_time["time_s"] - clear_s), since, columns, found, "time since the fault's end")
        ax.axvline(0.0, color=style.INK, linewidth=1.2, zorder=1.2)
        lowest = float(np.min(style.finite(over_time["success_low"]), initial=1.0))
        ax.set_ylim(0.0 if lowest < 0.9 else lowest - 0.002, 1.0 + 0.04 * (1.0 if lowest < 0.9 else 1.002 - lowest))
        style.set_ratio_axis(ax.yaxis, "requests answered well")
        for row in _recovered(summary, name):
            candidate, after_s = str(row["candidate"]), float(row["mean"])
            look = found[candidate]
            ax.plot([after_s], [0.0], marker="^", markersize=12, color=look.colour, markeredgecolor="white", zorder=4,
                    linestyle="none", clip_on=False, transform=ax.get_xaxis_transform(),
                    label=f"{style.wrap(candidate, 32)}: recovered after {format_duration(after_s)}")  # fmt: skip
        finish(ax, title, f"Recovery after the last fault · {name}", legend, warmup_s=-np.inf)
    return ax


def _recovered(summary: pd.DataFrame | None, condition: str) -> Sequence[Mapping[Any, Any]]:
    if summary is None:
        return []
    wanted = {"metric": "recovery_s", "of": "all", "condition": condition}
    rows = summary[np.logical_and.reduce([summary[column].astype(str) == value for column, value in wanted.items()])]
    return rows[rows["mean"].notna()].to_dict("records")
