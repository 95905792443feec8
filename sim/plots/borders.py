"""The chart of a border: how far one setting can go, over another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from sim.plots import style
from sim.plots.sweeps import set_setting_axis

#: Times that differ by more are shown on a logarithmic axis: borders bend there.
_WIDE: Final = 5


def borders(
    found: pd.DataFrame,
    ax: Axes | None = None,
    *,
    path: str,
    over: str,
    largest: bool = True,
    units: Mapping[str, str] | None = None,
    candidate: str | None = None,
    title: str | None = None,
) -> Axes:
    """The last good value of a setting over another one, a line per candidate; the band reaches to the nearest that is not good.

    All is good below the line (of `largest`; above it otherwise). A triangle at the end of the range says that the border lies
    beyond; a cross that already the other end was not good.

    Args:
        found: candidate, the setting `over`, best, fails_at (`sim.study.Search.borders`).
        ax: where to draw; None makes a new figure.
        path: the setting that was searched.
        over: the setting along the axis: numbers.
        largest: whether the largest good value was asked for.
        units: of both, as tables have them: ``s``, ``/s`` or ``B``.
        candidate: only this one.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing.
    """
    style.need(found, ("candidate", over, "best", "fails_at"), "borders")
    looks = style.looks(style.candidates_in(found))
    rows = found if candidate is None else style.one_of(found, "candidate", candidate, "borders")[1]
    with style.themed():
        ax = style.new_axes(ax)
        for name in style.candidates_in(rows):
            mine = rows[rows["candidate"] == name].sort_values(over, kind="stable")
            line = mine["best"].fillna(mine["fails_at"])
            low, high = mine["best"].fillna(mine["fails_at"]), mine["fails_at"].fillna(mine["best"])
            style.line_with_band(
                ax, mine[over], line, looks[name], name, band=(mine[over], low, high), marked=[False] * len(mine)
            )
            for marker, there in (
                ("^" if largest else "v", mine["fails_at"].isna()),
                ("x", mine["best"].isna()),
                ("o", mine["best"].notna() & mine["fails_at"].notna()),
            ):
                ax.plot(
                    mine[over][there], line[there], color=looks[name].colour, linestyle="none", marker=marker, markersize=8,
                    clip_on=False, zorder=3,
                )  # fmt: skip
        values = pd.concat([rows["best"], rows["fails_at"]]).dropna()
        set_setting_axis(ax.xaxis, over, (units or {}).get(over, ""), rows[over])
        if (units or {}).get(path) == "s":
            style.set_time_axis(ax.yaxis, path, values, log=bool(values.max() > _WIDE * values.min()))
        else:
            set_setting_axis(ax.yaxis, path, (units or {}).get(path, ""), values)
        style.set_title(ax, title, f"{'Largest' if largest else 'Smallest'} {path} over {over}")
        style.legend_beside(ax, f"bands: between good and not\n{'▲' if largest else '▼'} the border lies beyond, × none is good")
    return ax
