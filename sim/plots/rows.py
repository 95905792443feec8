"""Charts of rows: paired differences, where the time went, outcomes, single figures.

Each function draws the numbers of a table that `sim.analysis` made, as they are, on one axes, and returns that axes.
Candidates are rows from top to bottom, in blocks where there is a second name (a condition).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Text

from sim.analysis.words import SAME, amount, change
from sim.errors import ScenarioError
from sim.plots import style, words
from sim.plots.style import INK, OUTCOME_LOOKS, PART_LOOKS, PART_NAMES, Look
from sim.records import OUTCOMES
from sim.units import format_duration

Blocks = Sequence[tuple[str, Sequence[str]]]
Heights = Mapping[tuple[str, str], float]
#: A part that is a smaller share of the longest bar cannot be seen, and needs no place in the legend.
_SEEN: Final = 1e-3
#: What stands beside a difference that is none in any replication.
IDENTICAL: Final = "identical"
_SUMMARY: Final = ("candidate", "condition", "metric", "of", "mean", "low", "high")


def difference_forest(
    differences: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str | None = None,
    of: str = "all",
    looks: Mapping[str, Look] | None = None,
    title: str | None = None,
) -> Axes:
    """Paired differences to the baseline in one metric, with intervals, a line at zero, and the verdict beside each row.

    A full mark is a difference that the intervals can tell from zero, a hollow one is not. The rows of several conditions
    stand in blocks. There is no legend: the rows carry the names, the right margin the numbers.

    Args:
        differences: columns condition, candidate, baseline, metric, of, difference, low, high, verdict.
        ax: where to draw; None makes a new figure.
        metric: which one, if the table holds several.
        of: all, or an entry operation or effect.
        looks: from `style.looks`, when several charts shall agree.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, no row is left, or the metric is not clear.
    """
    chart = "difference_forest"
    columns = ("condition", "candidate", "baseline", "metric", "of", "difference", "low", "high", "verdict")
    style.need(differences, columns, chart)
    _, mine = style.one_of(differences, "of", of, chart)
    name, rows = style.one_of(mine, "metric", metric, chart)
    word = words.of_metric(name)
    found = looks or style.looks(style.candidates_in(differences))
    blocks = _blocks(rows, "condition")
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 9.5))
        baseline = style.names_in(rows, "baseline")[0]
        where = lay_out(ax, blocks, found)
        ax.axvline(0.0, color=INK, linewidth=1.2, zorder=1.2)
        for row in rows.to_dict("records"):
            _difference(ax, where[str(row["condition"]), str(row["candidate"])], row, found[str(row["candidate"])])
        values = rows[["difference", "low", "high"]].to_numpy(dtype=float).ravel()
        if not np.any(style.finite(values)):  # no difference at all: some width around zero
            values = np.array([-word.grain, word.grain])
            ax.set_xlim(*values)
        words.set_axis(ax.xaxis, word, values, difference=True)
        style.set_title(ax, title, f"{words.capital(word.text)}: difference to {baseline}, paired by seed")
    return ax


def _difference(ax: Axes, y: float, row: Mapping[Any, Any], look: Look) -> None:
    told = difference_mark(ax, y, row, look, size=10)
    verdict, numbers = str(row["verdict"]), change(row).replace("percentage points", "pp")
    if np.isnan(float(row["difference"])):
        said = verdict
    elif numbers == SAME:
        said = IDENTICAL
    elif np.isnan([float(row["low"]), float(row["high"])]).any():
        said = f"one replication: no statement\n{numbers}"
    else:
        said = f"{verdict}\n{numbers}"
    beside(ax, y, said, bold=told)


def difference_mark(ax: Axes, y: float, row: Mapping[Any, Any], look: Look, *, size: float) -> bool:
    """Draw a difference and its interval, with marks of so many points; full, and True returned, if it is told from zero."""
    told = row["verdict"] in ("lower", "higher")
    middle, low, high = (float(row[column]) for column in ("difference", "low", "high"))
    broad = size / 5
    ax.plot(
        [low, high], [y, y], color=look.colour, linewidth=1.2 * broad, solid_capstyle="butt", zorder=2,
        marker="|", markersize=1.1 * size, markeredgewidth=broad,
    )  # fmt: skip
    ax.plot(
        [middle], [y], color=look.colour, marker=look.marker, markersize=size, linestyle="none", zorder=3,
        markerfacecolor=look.colour if told else "white", markeredgecolor=look.colour, markeredgewidth=broad,
    )  # fmt: skip
    return told


def where_time_went(
    parts: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    group: str = "all",
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Mean latency of good answers, split into where it was spent: one stacked bar per candidate.

    The parts of a bar add up to its length. Draw `group="slowest 1 %"` beside it: what fills the tail is seldom what fills
    the mean.

    Args:
        parts: columns candidate, condition, group, part (as in `sim.records.PARTS`), mean_s (seconds).
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        group: which requests.
        looks: of the candidates, for the mark beside each row.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, the table is empty, the condition is not clear, or the group is not there.
    """
    style.need(parts, ("group",), "where_time_went")
    _, mine = style.one_of(parts, "group", group, "where_time_went")
    found = looks or style.looks(style.candidates_in(parts))
    name, rows, _ = style.shown(mine, ("part", "mean_s"), "where_time_went", condition)
    blocks = [("", style.names_in(rows, "candidate"))]
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 9.0))
        where = lay_out(ax, blocks, found)
        ends = dict.fromkeys(where, 0.0)
        wholes_s = mine.groupby(["condition", "candidate"], observed=True)["mean_s"].sum()
        for part in style.names_in(rows, "part"):
            values = rows[rows["part"].astype(str) == part].set_index("candidate")["mean_s"]
            look = PART_LOOKS.get(part, Look(style.SHADE, hatch="||"))
            shown = bool((mine[mine["part"].astype(str) == part]["mean_s"] > _SEEN * wholes_s.max()).any())
            stack(ax, where, ends, values, look, PART_NAMES.get(part, part) if shown else "")
        total_latency(ax, where, ends, wholes_s)
        mark_missing(ax, where, rows, "mean_s", "no good answers")
        whose = "good answers" if group == "all" else f"the {group} of good answers"
        style.set_title(ax, title, f"Where the time of {whose} went · {name}")
        if legend:
            style.legend_below(ax)
    return ax


def outcomes(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    condition: str | None = None,
    of: str = "all",
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """How requests ended: one stacked bar of shares per candidate, trouble first, the share of `ok` in figures beside it.

    When less than 40 % went wrong everywhere in the table, the axis is cut, and says so: `ok` fills the bars beyond it.

    Args:
        summary: columns candidate, condition, metric, of, mean, low, high, with the metrics share_ok, share_error, …
        ax: where to draw; None makes a new figure.
        condition: which one, if the table holds several.
        of: all, or an entry operation.
        looks: of the candidates, for the mark beside each row.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column or the shares are missing, or the condition is not clear.
    """
    chart = "outcomes"
    shares = metrics_of(summary, [f"share_{outcome}" for outcome in OUTCOMES], of, chart)
    name, rows = style.one_of(shares, "condition", condition, chart)
    found = looks or style.looks(style.candidates_in(summary))
    blocks = [("", style.names_in(rows, "candidate"))]
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 9.0))
        where = lay_out(ax, blocks, found)
        ends = dict.fromkeys(where, 0.0)
        for outcome in [*(o for o in OUTCOMES if o not in ("ok", "degraded")), "degraded", "ok"]:
            values = rows[rows["metric"].astype(str) == f"share_{outcome}"].set_index("candidate")["mean"]
            shown = bool((shares[shares["metric"].astype(str) == f"share_{outcome}"]["mean"] > 0).any())
            stack(ax, where, ends, values, OUTCOME_LOOKS[outcome], outcome.replace("_", " ") if shown else "")
            if outcome == "ok":
                for candidate, share in values.dropna().items():
                    beside(ax, where["", str(candidate)], f"{amount('share_ok', float(share))} ok")
        best = shares[shares["metric"].astype(str) == "share_ok"]["mean"].min()
        cut = bool(best > 0.6)
        ax.set_xlim(0.0, max(1.3 * (1 - float(best)), 0.001) if cut else 1.0)
        style.set_ratio_axis(ax.xaxis, "share of requests")
        if cut:
            ax.set_xlabel("share of requests (%, axis cut, the rest is ok)")
        mark_missing(ax, where, rows, "mean", "no requests")
        style.set_title(ax, title, f"How requests ended · {name}")
        if legend:
            style.legend_below(ax)
    return ax


def metric_bars(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str,
    condition: str | None = None,
    of: str = "all",
    looks: Mapping[str, Look] | None = None,
    title: str | None = None,
) -> Axes:
    """One figure per candidate as a bar from zero with its interval, for example the price: attempts_per_request.

    For comparing candidates use `difference_forest`: two bars with overlapping intervals may well differ when paired.

    Args:
        summary: columns candidate, condition, metric, of, mean, low, high.
        ax: where to draw; None makes a new figure.
        metric: which one.
        condition: which one, if the table holds several.
        of: all, or an entry operation or effect.
        looks: from `style.looks`, when several charts shall agree.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing, no row is left, or the condition is not clear.
    """
    mine = metrics_of(summary, [metric], of, "metric_bars")
    name, rows = style.one_of(mine, "condition", condition, "metric_bars")
    word = words.of_metric(metric)
    found = looks or style.looks(style.candidates_in(summary))
    blocks = [("", style.names_in(rows, "candidate"))]
    with style.themed():
        ax = style.new_axes(ax, size_of(blocks, 8.5))
        where = lay_out(ax, blocks, found)
        for row in rows.to_dict("records"):
            look, y = found[str(row["candidate"])], where["", str(row["candidate"])]
            ax.barh(y, row["mean"], height=0.6, color=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0)
            for colour, broad in (("white", 3.0), (INK, 0.0)):  # an outline, to be seen on every colour
                ax.plot(
                    [row["low"], row["high"]], [y, y], color=colour, marker="|", markersize=11 + broad, linewidth=1.6 + broad,
                    markeredgewidth=1.6 + broad, zorder=3,
                )  # fmt: skip
            beside(ax, y, amount(metric, float(row["mean"])))
        values = mine[["mean", "low", "high"]].to_numpy(dtype=float).ravel()
        words.set_axis(ax.xaxis, word, values)
        ax.set_xlim(0.0, beyond(values))
        style.set_title(ax, title, f"{words.capital(word.text)} · {name}")
    return ax


def size_of(blocks: Blocks, width: float, around: float = 1.6) -> tuple[float, float]:
    """Inches that a chart of these rows needs, with so much `around` them: more for long names and for blocks."""
    lines = max((1 + _label(name).count("\n") for _, names in blocks for name in names), default=1)
    count = sum(len(names) for _, names in blocks) + (0.85 * len(blocks) if len(blocks) > 1 else 0.0)
    return width, around + max(0.46, 0.23 * lines) * count


def lay_out(ax: Axes, blocks: Blocks, looks: Mapping[str, Look]) -> dict[tuple[str, str], float]:
    """Give every (block, candidate) a height, name it at the left edge with its mark; returns the heights."""
    where: dict[tuple[str, str], float] = {}
    ticks: list[tuple[float, str, bool]] = []
    y = 0.0
    for header, names in blocks:
        if len(blocks) > 1:
            ticks.append((y - 0.1, style.wrap(header, 30), True))
            y += 0.75
        for name in names:
            where[header, name] = y
            ticks.append((y, _label(name), False))
            style.swatch(ax, y, looks[name])
            y += 1.0
        y += 0.1
    ax.set_ylim(y - 0.5, -0.6)
    ax.set_yticks([tick for tick, _, _ in ticks], [label for _, label, _ in ticks])
    ax.tick_params(axis="y", length=0, pad=18)
    for written, (_, _, is_header) in zip(ax.get_yticklabels(), ticks, strict=True):
        written.set_fontweight("bold" if is_header else "normal")
    ax.grid(visible=False, axis="y")
    return where


def beside(ax: Axes, y: float, text: str, *, bold: bool = False) -> Text:
    """Write to the right of a row, outside the data."""
    return ax.text(
        1.015, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=10.5, color=INK,
        fontweight="bold" if bold else "normal", linespacing=1.15,
    )  # fmt: skip


def metrics_of(summary: pd.DataFrame, metrics: Sequence[str], of: str | None, chart: str) -> pd.DataFrame:
    """The rows of these metrics (and of one entry or effect), or an error that names what is missing."""
    style.need(summary, _SUMMARY, chart)
    rows = summary[summary["metric"].astype(str).isin(metrics)]
    if of is not None:
        rows = rows[rows["of"].astype(str) == of]
    if rows.empty:
        where = f" of {of!r}" if of is not None else ""
        raise ScenarioError(f"{chart}: no {' or '.join(metrics)}{where} in the table; make it with sim.analysis.summarise")
    return rows


def _label(name: str) -> str:
    return style.wrap(style.shorten(name, 52), 28)


def beyond(values: Any) -> float:
    """Where an axis from zero ends so that every value is inside; 1 when there is none above zero."""
    return 1.05 * max(float(np.max(style.finite(values), initial=0.0)), 0.0) or 1.0


def _blocks(rows: pd.DataFrame, column: str) -> list[tuple[str, list[str]]]:
    return [(name, style.names_in(rows[rows[column].astype(str) == name], "candidate")) for name in style.names_in(rows, column)]


def stack(ax: Axes, where: Heights, ends: dict[tuple[str, str], float], values: pd.Series[Any], look: Look, label: str) -> None:
    """Add one layer to the bars, named in the legend if it has a label; NaN adds nothing."""
    for key, y in where.items():
        value = float(values.get(key[1], np.nan))
        if np.isfinite(value):
            bar = ax.barh(
                y, value, left=ends[key], height=0.62, color=look.colour, hatch=look.hatch, linewidth=0, label=label or "_"
            )
            label = ""  # once is enough for the legend
            bar[0].set_edgecolor("white" if style.lightness(look.colour) < 60 else INK)  # the colour of the hatch
            ends[key] += value


def total_latency(ax: Axes, where: Heights, ends: Mapping[tuple[str, str], float], totals: pd.Series[float]) -> None:
    """Finish stacks that add up to mean latencies: their axis, up to the largest total of all panels, and their sums beside."""
    style.set_time_axis(ax.xaxis, "mean latency", totals, log=False)
    ax.set_xlim(0.0, beyond(totals))
    for key, end_s in ends.items():
        beside(ax, where[key], format_duration(end_s) if end_s else "")


def mark_missing(ax: Axes, where: Heights, rows: pd.DataFrame, column: str, why: str, size: float = 10.5) -> None:
    """Say why, at the rows of candidates that have nothing to show."""
    for (_, candidate), y in where.items():
        if not rows[rows["candidate"].astype(str) == candidate][column].notna().any():
            ax.text(0.02, y, why, transform=ax.get_yaxis_transform(), va="center", fontsize=size, style="italic", color=INK)
