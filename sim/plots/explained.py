"""Charts of single requests and of groups of them: what slow ones spent their time on, one from its first call to its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from sim.analysis.metrics import GOOD_OUTCOMES
from sim.analysis.waterfall import COLUMNS
from sim.plots import style
from sim.plots.rows import Heights, lay_out, size_of, stack, total_latency
from sim.plots.style import INK, PART_LOOKS, PART_NAMES, Look
from sim.units import format_duration

#: Places that have a colour of their own; the rest is one grey piece.
_MOST_PLACES: Final = 7
#: How strong the colour is that fills an attempt without an answer.
_PALE: Final = 0.25
#: Attempts of one request that are drawn.
_MOST_ROWS: Final = 60


def explanation(
    parts: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """What slow requests spent their time on, beside typical ones: one stacked bar for each group and candidate.

    The pieces of a bar add up to the mean latency of its group. The places where slow requests spent most have a colour of their
    own, in all bars the same; everything else is grey.

    Args:
        parts: columns candidate, condition, group, where, part, mean_s, as `sim.study.explain` finds them.
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        looks: of the candidates, for the mark beside each row.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(parts, ("group", "where", "part", "mean_s"), "explanation", condition, looks)
    candidates = style.names_in(rows, "candidate")
    blocks = [(group, candidates) for group in style.names_in(rows, "group")]
    sums = rows.groupby(["group", "candidate", "where", "part"], observed=True)["mean_s"].sum()
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 9.5))
        where = lay_out(ax, blocks, found)
        ends = dict.fromkeys(where, 0.0)
        places = _largest_places(parts)
        colours = style.looks([_label(place) for place in places])
        for place in places:
            _piece(ax, where, ends, sums, [place], colours[_label(place)], _label(place))
        rest = [key[2:] for key in sums.index if key[2:] not in places]
        _piece(ax, where, ends, sums, list(dict.fromkeys(rest)), Look("#D0D0D0"), "everything else")
        total_latency(ax, where, ends, parts.groupby(["condition", "group", "candidate"], observed=True)["mean_s"].sum())
        style.set_title(ax, title, f"What slow requests spend their time on · {name}")
        if legend:
            style.legend_below(ax)
    return ax


def _largest_places(parts: pd.DataFrame) -> list[tuple[str, str]]:
    """Where slow requests, else all, spent most, over the whole table: all panels agree."""
    slow = parts[parts["group"].astype(str) == style.names_in(parts, "group")[0]]
    sums = slow.groupby(["where", "part"], observed=True)["mean_s"].sum().sort_values(ascending=False, kind="stable")
    return [(str(key[0]), str(key[1])) for key in sums.index[sums > 0][:_MOST_PLACES]]


def _label(place: tuple[str, str]) -> str:
    return f"{place[0]}: {PART_NAMES[place[1]]}"


def _piece(
    ax: Axes,
    where: Heights,
    ends: dict[tuple[str, str], float],
    sums: pd.Series[float],
    places: list[tuple[str, str]],
    look: Look,
    label: str,
) -> None:
    """Add one piece, of one place or of several, to the bars of all groups."""
    wanted = sums[[key[2:] in places for key in sums.index]]
    by_bar = wanted.groupby(level=[0, 1], observed=True).sum()
    for group in dict.fromkeys(group for group, _ in where):
        mine = {key: y for key, y in where.items() if key[0] == group}
        values = by_bar[by_bar.index.get_level_values(0) == group].droplevel(0)
        if len(values) and values.sum() > 0:
            stack(ax, mine, ends, values, look, label)
            label = ""


def waterfall(table: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """One request, one row for each attempt: when it ran, where it queued, when its server worked, and what came of it.

    The frame of a row is the time for which its caller waited; filled is the time in which the server worked or the attempt
    queued, empty in which it waited for others. Rows that the answer waited for are bold. The way there and the way back are
    drawn as equally long. Beyond some sixty attempts only the first are drawn, and it says so.

    Args:
        table: as `sim.analysis.waterfall` makes it.
        ax: where to draw; None makes a new figure.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, or the table is empty.
    """
    chart = "waterfall"
    style.need(table, COLUMNS, chart)
    rows = table.head(_MOST_ROWS).to_dict("records")
    whole_s = float(np.nanmax([*table["end_s"], *table["start_s"], 1e-9]))
    with style.themed():
        ax = style.new_axes(ax, (11.0, 1.6 + 0.34 * len(rows)))
        for y, row in enumerate(rows):
            _attempt_bar(ax, y, row, [other for other in rows if other["depth"] and other["parent"] == row["attempt"]], whole_s)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_yticks(range(len(rows)), [_row_name(row) for row in rows])
        for written, row in zip(ax.get_yticklabels(), rows, strict=True):
            written.set_fontweight("bold" if row["on_path"] else "normal")
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        style.set_time_axis(ax.xaxis, "time since the request arrived", [whole_s], log=False)
        ax.set_xlim(0.0, 1.01 * whole_s)
        more = f" · {len(table) - len(rows)} further attempts are not drawn" if len(table) > len(rows) else ""
        style.set_title(ax, title, f"One request: {rows[0]['target']}, {rows[0]['outcome']}{more}")
        keys = (("queue_s", ""), ("service_s", ""), ("backoff_s", PART_LOOKS["backoff_s"].hatch))
        handles = [Patch(facecolor=PART_LOOKS[part].colour, hatch=hatch, label=PART_NAMES[part]) for part, hatch in keys]
        red = PART_LOOKS["lost_s"].colour
        handles.append(Patch(facecolor=(red, _PALE), edgecolor=red, linewidth=1.8, label="no answer"))
        handles.append(Patch(facecolor="white", edgecolor=red, linewidth=1.8, label="a failed answer"))
        handles.append(Patch(facecolor="white", edgecolor=INK, label="waiting for others, and the network"))
        style.legend_below(ax, handles=handles)
    return ax


def _row_name(row: Mapping[Any, Any]) -> str:
    if row["depth"] == 0:
        return "the request"
    replica = f" [{row['replica']}]" if row["replica"] >= 0 else ""
    again = f", try {row['number']}" if row["number"] > 1 else ""
    return "   " * (int(row["depth"]) - 1) + style.shorten(str(row["target"]), 34) + replica + again


def _attempt_bar(ax: Axes, y: int, row: Mapping[Any, Any], inside: list[dict[Any, Any]], whole_s: float) -> None:
    start_s = float(row["start_s"])
    end_s = float(row["end_s"]) if np.isfinite(row["end_s"]) else whole_s
    failed = row["outcome"] not in GOOD_OUTCOMES
    edge = PART_LOOKS["lost_s"].colour if failed else INK
    ax.barh(y, end_s - start_s, left=start_s, height=0.66, color="white", edgecolor=edge, linewidth=1.8 if failed else 0.9)
    if row["depth"]:
        way_s = float(row["network_s"]) / 2
        received_s = start_s + way_s
        ax.barh(y, row["queue_s"], left=received_s, height=0.66, color=PART_LOOKS["queue_s"].colour, linewidth=0)
        if row["outcome"] in ("timeout", "unreachable", "in_flight"):
            ax.barh(y, end_s - start_s, left=start_s, height=0.66, color=edge, alpha=_PALE, linewidth=0)
        elif row["service_s"] > 0:
            begun_s, ended_s = received_s + float(row["queue_s"]), end_s - way_s
            pauses = list(_pauses(inside))
            for left_s, right_s in pauses:
                look = PART_LOOKS["backoff_s"]
                ax.barh(y, right_s - left_s, left=left_s, height=0.66, color=look.colour, hatch=look.hatch, linewidth=0)
            for left_s, right_s in _free(begun_s, ended_s, [*pauses, *((one["start_s"], one["end_s"]) for one in inside)]):
                ax.barh(y, right_s - left_s, left=left_s, height=0.66, color=PART_LOOKS["service_s"].colour, linewidth=0)
    ax.text(end_s, y, f" {format_duration(end_s - start_s)}", va="center", fontsize=9.5, color=edge)


def _pauses(inside: list[dict[Any, Any]]) -> Iterator[tuple[float, float]]:
    """When a caller did nothing but wait before another try."""
    until: dict[str, float] = {}
    for one in sorted(inside, key=lambda one: (one["start_s"], one["number"])):
        if one["number"] > 1 and one["start_s"] > until.get(one["target"], np.inf):
            yield until[one["target"]], one["start_s"]
        until[one["target"]] = one["end_s"] if np.isfinite(one["end_s"]) else np.inf


def _free(start_s: float, end_s: float, taken: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of an interval outside of others."""
    found, at_s = [], start_s
    for left_s, right_s in sorted(taken, key=lambda one: one[0]):
        if left_s > at_s:
            found.append((at_s, min(left_s, end_s)))
        at_s = max(at_s, right_s if np.isfinite(right_s) else at_s)
    if at_s < end_s:
        found.append((at_s, end_s))
    return [(left_s, right_s) for left_s, right_s in found if right_s > left_s]
