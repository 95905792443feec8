"""A chart of spells: which breaker was open, which endpoint ejected, from when to when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from sim.plots import style
from sim.plots.lines import LINE_PT, Window, shade
from sim.plots.style import Look

#: Looks of the states that keep calls away; those that let them through are the thin line.
STATE_LOOKS: Final[Mapping[str, Look]] = {
    "open": Look("#A63D40"),
    "half_open": Look("#E8B04A", hatch="///"),
    "ejected": Look("#2F4B7C", hatch="xx"),
}
_COLUMNS: Final = ("caller", "process", "target", "endpoint", "state", "start_s", "end_s")
_HEIGHT: Final = 0.62


def states_over_time(
    spells: pd.DataFrame,
    ax: Axes | None = None,
    *,
    start_s: float = 0.0,
    windows: Sequence[Window] = (),
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """When breakers were open or half-open and endpoints ejected, in one run: a row per caller process and target.

    ::

        frontend 0 -> backend.get             ----████▒█▒---------
        frontend 1 -> backend.get, replica 0  -----xxxxx----------

    The thin line is a closed breaker, or an endpoint in use. Only those are here that changed at least once. A spell shorter
    than a pixel is still drawn as a hair. Not for hundreds of callers: choose some, or one run of a smaller scenario.

    Args:
        spells: as `sim.analysis.state_spells` makes them, of one run: columns caller, process, target, endpoint, state,
            start_s, end_s.
        ax: where to draw; None makes a new figure.
        start_s: left end of the time axis.
        windows: faults to shade: (label, start in seconds, end in seconds or None).
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, or nothing changed.
    """
    style.need(spells, _COLUMNS, "states_over_time")
    rows = spells.assign(who=[_name(row) for row in spells[["caller", "process", "target", "endpoint"]].itertuples(index=False)])
    names = sorted(rows["who"].unique())
    end_s = float(rows["end_s"].max())
    with style.themed():
        ax = style.new_axes(ax, (9.0, 1.6 + 0.42 * len(names)))
        ax.hlines(np.arange(len(names)), start_s, end_s, color=style.SHADE, linewidth=1.0, zorder=1.5)
        for state, look in STATE_LOOKS.items():
            mine = rows[rows["state"].astype(str) == state]
            ax.barh(
                [names.index(who) for who in mine["who"]], mine["end_s"] - mine["start_s"], left=mine["start_s"], height=_HEIGHT,
                color=look.colour, hatch=look.hatch, edgecolor="white" if look.hatch else look.colour, linewidth=0.6, zorder=2.5,
            )  # fmt: skip
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(start_s, end_s)
        ax.grid(visible=False, axis="y")
        style.set_time_axis(ax.xaxis, "clock time", [start_s, end_s], log=False)
        style.set_title(ax, title, "State of breakers and endpoints", pad=8 + LINE_PT * shade(ax, windows))
        if legend:
            seen = [state for state in STATE_LOOKS if (rows["state"].astype(str) == state).any()]
            ax.legend(
                [Patch(facecolor=STATE_LOOKS[s].colour, hatch=STATE_LOOKS[s].hatch, edgecolor="white") for s in seen],
                [s.replace("_", "-") for s in seen], loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0,
            )  # fmt: skip
    return ax


def _name(row: tuple[str, int, str, int]) -> str:
    caller, process, target, endpoint = row
    return f"{caller} {process} → {target}" + (f", replica {endpoint}" if endpoint >= 0 else "")
