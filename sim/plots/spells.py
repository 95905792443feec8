"""A chart of spells: which breaker was open, which endpoint ejected, from when to when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sim.plots import style
from sim.plots.lines import LINE_PT, Window, hatch_warmup, shade
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
    condition: str | None = None,
    start_s: float = 0.0,
    warmup_s: float = 0.0,
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
            start_s, end_s; and condition, if there are several, of one run each: all of them set rows and scale.
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        start_s: left end of the time axis.
        warmup_s: until when nothing counts, in seconds; hatched.
        windows: faults to shade: (label, start in seconds, end in seconds or None).
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, nothing changed, or the condition is not clear.
    """
    style.need(spells, _COLUMNS, "states_over_time")
    known_by = spells[["caller", "target", "process", "endpoint"]].astype({"caller": str, "target": str})
    names = [_name(*row) for row in sorted(set(known_by.itertuples(index=False, name=None)))]
    spells = spells.assign(who=[_name(*row) for row in known_by.itertuples(index=False, name=None)])
    end_s = float(spells["end_s"].max())
    rows = style.one_of(spells, "condition", condition, "states_over_time")[1] if "condition" in spells else spells
    with style.themed():
        ax = style.new_axes(ax, (9.0, 1.6 + 0.42 * len(names)))
        ax.hlines(np.arange(len(names)), start_s, end_s, color=style.SHADE, linewidth=1.0, zorder=1.5)
        for state, look in STATE_LOOKS.items():
            mine = rows[rows["state"].astype(str) == state]
            ax.barh(
                [names.index(who) for who in mine["who"]], mine["end_s"] - mine["start_s"], left=mine["start_s"], height=_HEIGHT,
                color=look.colour, hatch=look.hatch, edgecolor="white" if look.hatch else look.colour, linewidth=0.6, zorder=2.5,
                label=state.replace("_", "-") if len(mine) else "_none",
            )  # fmt: skip
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(start_s, end_s)
        ax.grid(visible=False, axis="y")
        style.set_time_axis(ax.xaxis, "clock time", [start_s, end_s], log=False)
        hatch_warmup(ax, warmup_s)
        style.set_title(ax, title, "State of breakers and endpoints", pad=8 + LINE_PT * shade(ax, windows))
        if legend:
            style.legend_beside(ax)
    return ax


def _name(caller: str, target: str, process: int, endpoint: int) -> str:
    return f"{caller} {process} → {target}" + (f", replica {endpoint}" if endpoint >= 0 else "")
