"""The chart of a border: how far one setting can go, over another one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from sim.analysis.words import with_unit
from sim.plots import style
from sim.plots.sweeps import set_setting_axis

#: Times that differ by more are shown on a logarithmic axis: borders bend there.
_WIDE: Final = 5
#: The height of a lane for what lies beyond the range, as a share of the range of borders.
_LANE: Final = 0.05


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

    All is good below the line (of `largest`; above it otherwise). Beyond a dotted line at an end of the range each candidate has
    a lane of its own: there the border lies beyond that end, and nobody knows how far; or nothing in the range is good.

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
    rows = rows.sort_values(over, kind="stable")
    unit = (units or {}).get(path, "")
    with style.themed():
        ax = style.new_axes(ax)
        values = pd.concat([rows["best"], rows["fails_at"]]).dropna()
        set_setting_axis(ax.xaxis, over, (units or {}).get(over, ""), rows[over])
        if unit == "s":
            style.set_time_axis(ax.yaxis, path, values, log=bool(values.max() > _WIDE * values.min()))
        else:
            set_setting_axis(ax.yaxis, path, unit, values)
        for name in style.candidates_in(rows):
            mine = rows[rows["candidate"] == name]
            known = mine["best"].notna() & mine["fails_at"].notna()
            low, high = mine["best"].where(known), mine["fails_at"].where(known)
            style.line_with_band(ax, mine[over], low, looks[name], name, band=(mine[over], low, high), marked=[True] * len(mine))
        told = ["bands: between good and not"]
        for beyond, up in ((True, largest), (False, not largest)):
            told += _lanes(ax, rows, over, looks, values, unit, beyond=beyond, up=up)
        _hide_ticks_of_lanes(ax, float(values.min()), float(values.max()))
        style.set_title(ax, title, f"{'Largest' if largest else 'Smallest'} {path} over {over}")
        style.legend_beside(ax, "\n".join(told))
    return ax


def _lanes(
    ax: Axes,
    rows: pd.DataFrame,
    over: str,
    looks: Mapping[str, style.Look],
    values: pd.Series[Any],
    unit: str,
    *,
    beyond: bool,
    up: bool,
) -> list[str]:
    """Draw what has no border in the range, one lane for each candidate, and say what the lanes are.

    Args:
        ax: where.
        rows: of `borders`, in order.
        over: the setting along the axis.
        looks: of the candidates.
        values: all numbers of borders, whose spread makes the lanes as high as they are.
        unit: of the borders.
        beyond: where all was good; else where nothing was.
        up: whether the lanes lie above the end of the range.
    """
    there = rows["fails_at"].isna() if beyond else rows["best"].isna()
    if not there.any():
        return []
    end = float(rows.loc[there, "best" if beyond else "fails_at"].iloc[0])
    names = style.candidates_in(rows[there])
    for i, name in enumerate(names):
        lane = _beside(ax, end, values, (len(names) - i) if up else -(i + 1))
        mine = rows[rows["candidate"] == name]
        line = pd.Series(lane, mine.index).where(there.loc[mine.index])
        look = looks[name]
        ax.plot(
            mine[over], line, color=look.colour, linestyle=look.line, marker=look.marker, markersize=7, markeredgecolor="white",
            markeredgewidth=0.7, zorder=2.5,
        )  # fmt: skip
    ax.axhline(_beside(ax, end, values, 0.5 if up else -0.5), color=style.INK, linewidth=1.0, linestyle=":", zorder=1.5)
    what = "the border lies beyond" if beyond else "not even good at"
    return [f"{'above' if up else 'below'} the dotted line:\n{what} {with_unit(end, unit)}"]


def _hide_ticks_of_lanes(ax: Axes, least: float, most: float) -> None:
    """Lanes have no height that means anything, so nothing is written beside them."""
    told = ax.yaxis.get_major_formatter()
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, place: told(value, place) if least <= value <= most else ""))


def _beside(ax: Axes, end: float, values: pd.Series[Any], lanes: float) -> float:
    """So many lanes away from an end of the range, on an axis that may be logarithmic."""
    least, most = float(values.min()), float(values.max())
    if ax.get_yscale() == "log":
        return end * math.exp(math.log(most / least) * _LANE * lanes)
    return end + _LANE * lanes * ((most - least) or abs(most) or 1.0)
