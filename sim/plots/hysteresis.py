"""The chart of a load that goes up and down again."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.hysteresis import DOWN, UP
from sim.plots import style


def hysteresis(branches: pd.DataFrame, ax: Axes | None = None, *, candidate: str | None = None, title: str | None = None) -> Axes:
    """Answered well over load, on the way up and on the way down; between the lines it depends on where the system comes from.

    Args:
        branches: branch, load_rps, success (`sim.analysis.up_and_down`), low and high where replications give them, and
            `candidate` if it holds several.
        ax: where to draw; None makes a new figure.
        candidate: which one, if the table holds several.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing.
    """
    style.need(branches, ("branch", "load_rps", "success"), "hysteresis")
    rows = style.one_of(branches, "candidate", candidate, "hysteresis")[1] if "candidate" in branches else branches
    looks = style.looks([UP, DOWN])
    with style.themed():
        ax = style.new_axes(ax)
        lines = {}
        for branch, look in looks.items():
            mine = rows[rows["branch"] == branch].sort_values("load_rps", kind="stable")
            low, high = (mine[name] if name in mine else mine["success"] * math.nan for name in ("low", "high"))
            style.line_with_band(
                ax, mine["load_rps"], mine["success"], look, f"on the way {branch}", band=(mine["load_rps"], low, high)
            )
            lines[branch] = mine.set_index("load_rps")["success"]
        both = pd.concat(lines, axis=1).sort_index().interpolate(method="index")
        caught = (both[DOWN] < both[UP] - 0.1).to_numpy()
        ax.fill_between(both.index, both[DOWN], both[UP], where=caught, color=style.SHADE, alpha=0.25, linewidth=0)
        style.set_number_axis(ax.xaxis, "offered load (requests/s)")
        style.set_ratio_axis(ax.yaxis, "requests answered well")
        ax.set_ylim(0.0, 1.03)
        style.set_title(ax, title, "Up and down again: shaded, it depends on where it comes from")
        style.legend_beside(ax)
    return ax
