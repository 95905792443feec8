"""Charts of the calls between services: where tries multiply, and the topology with load and failures on its edges."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from sim.analysis.edges import Slot, arranged, column_of, layers, stacked
from sim.analysis.words import amount
from sim.plots import style
from sim.plots.rows import Blocks, beside, beyond, lay_out, size_of
from sim.plots.style import INK, Look

_COLUMNS: Final = ("caller", "target", "attempts_rps", "retries_rps", "failed")
#: Looks of edges by the share of attempts that fail, from which share on: darker and more broken, so that grey shows it, too.
_TROUBLE: Final = ((0.0, Look("#8C8C8C")), (0.01, Look("#E69F00", (0, (7, 2)))), (0.1, Look("#A63D40", (0, (1, 1)))))
#: Inches of a panel that fills a screen.
_TALL: Final = 7.0
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 1.8, 0.52, 1.6, 0.3
#: Room for a line of numbers above its arrow, for calls that pass a column by, and for arrows that go back, in inches.
_LINE, _PASSAGE, _BACK = 0.24, 0.3, 0.4
#: Attempts per second and failed ones between two services.
Flows = dict[tuple[str, str], dict[str, float]]


def attempts_per_tier(
    edges: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    edge: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Attempts per second on every edge, from the clients down, a bar for each candidate: full first tries, hatched retries.

    Retries multiply from tier to tier: three tries in each of three layers are up to 27 at the bottom. Beside each bar stands
    the share of attempts that failed.

    Args:
        edges: columns candidate, condition, caller, target, attempts_rps, retries_rps, failed (`sim.analysis.edges`).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        edge: only this one, as `edge_names` names it.
        looks: from `style.looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    name, rows, found = style.shown(edges, _COLUMNS, "attempts_per_tier", condition, looks)
    named = rows.assign(edge=edge_names(rows))
    order = [one for one in tiers(edges) if edge in (None, one)]
    ordered = named[named["edge"].isin(order)].sort_values("edge", key=lambda names: names.map(order.index), kind="stable")
    blocks: Blocks = [
        (one if edge is None else "", style.names_in(ordered[ordered["edge"] == one], "candidate")) for one in order
    ]
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 9.5))
        where = lay_out(ax, blocks, found)
        for row in ordered.to_dict("records"):
            block = str(row["edge"]) if edge is None else ""
            look, y = found[str(row["candidate"])], where[block, str(row["candidate"])]
            first_rps = float(row["attempts_rps"]) - float(row["retries_rps"])
            ax.barh(y, first_rps, height=0.62, color=look.colour, linewidth=0)
            ax.barh(
                y, row["retries_rps"], left=first_rps, height=0.62, facecolor="white", edgecolor=look.colour, hatch="////",
                linewidth=1.0,
            )  # fmt: skip
            beside(ax, y, f"{amount('share_error', float(row['failed']))} failed")
        style.set_number_axis(ax.xaxis, "attempts (attempts/s)")
        ax.set_xlim(0.0, beyond(edges["attempts_rps"]))
        style.set_title(ax, title, f"Attempts on {edge or 'every edge'} · {name}")
        if legend:
            ax.bar([0.0], [0.0], color=style.SHADE, label="first tries")
            ax.bar([0.0], [0.0], facecolor="white", edgecolor=style.SHADE, hatch="////", label="retries")
            style.legend_below(ax)
    return ax


def edge_names(edges: pd.DataFrame) -> list[str]:
    """What the edge of each row is called."""
    return [f"{one} → {other}" for one, other in zip(edges["caller"], edges["target"], strict=True)]


def tiers(edges: pd.DataFrame) -> list[str]:
    """The names of all edges, from the clients down."""
    depth = layers(_pairs(edges), _first(edges))
    named = edges.assign(edge=edge_names(edges), tier=[depth.get(_service(str(one)), 0) for one in edges["caller"]])
    return list(dict.fromkeys(named.sort_values("tier", kind="stable")["edge"]))


def grid_for(edges: pd.DataFrame) -> dict[str, Any]:
    """How `attempts_per_tier` is laid out in small multiples: what they are over, and the size of one.

    A panel for each condition with all edges in it, two side by side where they are tall; of a single condition, where they would
    be tall, a panel for each edge.
    """
    names, order = style.names_in(edges, "candidate"), tiers(edges)
    one_panel = size_of([(edge, names) for edge in order], 10.5, 0.5)
    if one_panel[1] <= _TALL:
        return {"columns": 1, "panel": one_panel}
    if len(style.names_in(edges, "condition")) > 1:
        return {"columns": 2, "panel": (7.0, one_panel[1]), "share": False}
    return {"over": "edge", "columns": 2, "panel": size_of([("", names)], 7.0, 0.7), "share": False}


def topology_under_load(
    edges: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    candidate: str | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Who calls whom, with attempts per second and the share that failed on every edge; broader is more, darker fails more.

    Services stand from left to right as far from the clients as calls go. Calls of several operations of a service are one edge.
    Not for more than some thirty services: there the labels touch.

    Args:
        edges: columns candidate, condition, caller, target, attempts_rps, retries_rps, failed (`sim.analysis.edges`).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        candidate: which one, if the table holds several.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition or the candidate is not clear.
    """
    chart = "topology_under_load"
    name, rows, _ = style.shown(edges, _COLUMNS, chart, condition)
    who, mine = style.one_of(rows, "candidate", candidate, chart)
    flows = _flows(mine)
    columns = arranged(flows, _first(mine))
    middles, tallest = _stacked(columns, flows)
    at = column_of(columns)
    with style.themed():
        ax = style.new_axes(ax, room_for(mine))
        most = max(flow["attempts_rps"] for flow in flows.values())
        for (one, other), flow in flows.items():
            _arrow(ax, _way(one, other, at, middles, flows), flow, most)
        for node, column in at.items():
            x, y = column * (_WIDTH + _ACROSS), middles[node, column] - _HEIGHT / 2
            box = FancyBboxPatch((x, y), _WIDTH, _HEIGHT, "round,pad=0.03", facecolor="white", edgecolor=INK, linewidth=1.2)
            ax.add_patch(box).set_zorder(3)
            ax.text(x + _WIDTH / 2, y + _HEIGHT / 2, style.wrap(style.shorten(node, 42), 21), ha="center", va="center",
                    fontsize=10, zorder=4)  # fmt: skip
        ax.set_xlim(-0.15, len(columns) * (_WIDTH + _ACROSS) - _ACROSS + 0.15)
        ax.set_ylim(tallest, 0.0)
        ax.set_aspect("equal", anchor="NW")
        ax.set_axis_off()
        style.set_title(ax, title, f"Who calls whom, attempts per second and failed ones · {who}, {name}")
        if legend:
            for least, look in _TROUBLE:
                told = f"{100 * least:g} % or more of attempts fail" if least else "fewer than 1 % of attempts fail"
                ax.add_line(Line2D([], [], color=look.colour, linestyle=look.line, linewidth=3.0, label=told))
            ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.02), ncols=3, borderaxespad=0.0)
    return ax


def room_for(edges: pd.DataFrame) -> tuple[float, float]:
    """Width and height that a topology of these edges needs, in inches, with room for a title of usual length."""
    flows = _flows(edges)
    columns = arranged(flows, _first(edges))
    return max(8.6, 1.0 + len(columns) * (_WIDTH + _ACROSS)), 0.6 + _stacked(columns, flows)[1]


def _service(address: str) -> str:
    return address.partition(".")[0]


def _pairs(edges: pd.DataFrame) -> list[tuple[str, str]]:
    return [(_service(str(one)), _service(str(other))) for one, other in zip(edges["caller"], edges["target"], strict=True)]


def _first(edges: pd.DataFrame) -> str:
    """Where calls begin: who is called by nobody."""
    pairs = _pairs(edges)
    called = {other for _, other in pairs}
    return next((one for one, _ in pairs if one not in called), pairs[0][0])


def _flows(edges: pd.DataFrame) -> Flows:
    """Attempts per second, and the share of them that failed, between services."""
    flows: Flows = {}
    for pair, row in zip(_pairs(edges), edges.to_dict("records"), strict=True):
        flow = flows.setdefault(pair, {"attempts_rps": 0.0, "failed_rps": 0.0})
        flow["attempts_rps"] += float(row["attempts_rps"])
        flow["failed_rps"] += float(row["attempts_rps"]) * float(row["failed"])
    return flows


def _stacked(columns: Sequence[Sequence[Slot]], flows: Flows) -> tuple[dict[tuple[str, int], float], float]:
    """Heights of all slots: as far apart as the most arrows that come to a service need, with room for arrows that go back."""
    coming = max(Counter(other for _, other in flows).values())
    middles, tallest = stacked(columns, max(_HEIGHT + _DOWN, _LINE * coming + 0.1), _PASSAGE)
    at = column_of(columns)
    return middles, tallest + (_BACK if any(at[other] <= at[one] for one, other in flows) else 0.0)


def _way(
    one: str, other: str, at: Mapping[str, int], middles: Mapping[tuple[str, int], float], flows: Flows
) -> list[tuple[float, float]]:
    """Where calls go: out of a box, between those of the columns on their way, and to their own place at the other box."""
    x = {name: at[name] * (_WIDTH + _ACROSS) for name in (one, other)}
    y = {name: middles[name, at[name]] for name in (one, other)}
    if at[other] <= at[one]:  # back, or within a column: below the boxes
        return [(x[name] + _WIDTH / 2, y[name] + _HEIGHT / 2 + 0.03) for name in (one, other)]
    callers = sorted(
        (caller for caller, called in flows if called == other and at[caller] < at[other]),
        key=lambda name: middles.get((name, at[other] - 1), 0.0),
    )
    place = (callers.index(one) - (len(callers) - 1) / 2) * _LINE
    points = [(x[one] + _WIDTH + 0.04, y[one])]
    for column in range(at[one] + 1, at[other]):
        left = column * (_WIDTH + _ACROSS)
        points += [(left, middles[one, column]), (left + _WIDTH, middles[one, column])]
    return [*points, (x[other] - 0.06, y[other] + place)]


def _arrow(ax: Axes, way: Sequence[tuple[float, float]], flow: Mapping[str, float], most: float) -> None:
    failed = flow["failed_rps"] / flow["attempts_rps"] if flow["attempts_rps"] else 0.0
    look = next(look for least, look in reversed(_TROUBLE) if failed >= least)
    broad = 1.0 + 4.0 * float(np.sqrt(flow["attempts_rps"] / most))
    (x1, y1), (x2, y2) = way[-2:]
    forward = x2 > x1
    neck_in = 0.04 + 0.025 * broad
    neck = (x2 - neck_in, y2) if forward else (x2, y2 + neck_in)  # the head by itself: a broken line would break it, too
    back = [(x1, y1), (x1, y1 + _BACK), (x2, y2 + _BACK), neck]
    path = _path([*way[:-1], neck]) if forward else Path(back, [Path.MOVETO, *[Path.CURVE4] * 3])
    ax.add_patch(PathPatch(path, fill=False, color=look.colour, linestyle=look.line, linewidth=broad, capstyle="butt", zorder=1))
    ax.add_patch(
        FancyArrowPatch(
            neck, (x2, y2), arrowstyle="-|>", mutation_scale=8 + 4 * broad, color=look.colour, shrinkA=0, shrinkB=0, zorder=1
        )
    )
    told = f"{style.plain(float(format(flow['attempts_rps'], '.3g')))}/s, {amount('share_error', failed)}"
    # Before the head and above it, where arrows come in side by side.
    x, y = (x2 - 0.2, y2 - 0.02 - broad / 144) if forward else ((x1 + x2) / 2, max(y1, y2) + 0.26)
    ax.text(x, y, told, ha="right" if forward else "center", va="bottom", fontsize=8.5, color=INK, zorder=2,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.3})  # fmt: skip


def _path(way: Sequence[tuple[float, float]]) -> Path:
    """Level out of a box and level into the next one, straight past the boxes between."""
    points, codes = [way[0]], [Path.MOVETO]
    for start, end in itertools.pairwise(way):
        middle = start[0] + 0.35 * (end[0] - start[0])
        points += [(middle, start[1]), (middle, end[1]), end]
        codes += [Path.CURVE4] * 3
    return Path(points, codes)
