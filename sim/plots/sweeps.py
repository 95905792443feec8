"""Charts of a sweep: a metric over a setting or over two, and latency over load with its knee."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from sim.analysis.metrics import Floats
from sim.analysis.words import amount
from sim.errors import ScenarioError
from sim.plots import style, words
from sim.plots.files import save, small_multiples
from sim.plots.style import Look
from sim.units import format_duration

#: More lines than these nobody can tell apart.
_MOST_LINES: Final = 8
#: With no more points than these each has its tick, if it has room.
_MOST_TICKS: Final = 8


def metric_over_setting(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    setting: str,
    metric: str,
    by: Sequence[str] = ("candidate",),
    of: str = "all",
    units: Mapping[str, str] | None = None,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """A metric over a swept setting, one line for each value of a second one or each candidate, with intervals as bands.

    Between two points nothing was simulated: the line only leads the eye. A gap is a point without a single value.

    Args:
        summary: of a sweep: the setting, what is in `by`, condition, metric, of, mean, low, high.
        ax: where to draw; None makes a new figure.
        setting: the column along the axis: numbers, or names (then in the order of the table).
        metric: which one.
        by: the columns whose values make lines.
        of: all requests, or an operation.
        units: of the setting and of those in `by`, as tables have them: ``s``, ``/s`` or ``B``; absent: none.
        condition: which one, if the table holds several.
        looks: by the lines' names, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column or the metric is missing, or there are more lines than can be told apart.
    """
    chart = "metric_over_setting"
    style.need(summary, (setting, *by, "condition", "metric", "of", "mean", "low", "high"), chart)
    mine = summary[(summary["metric"] == metric) & (summary["of"] == of)]
    if mine.empty:
        raise ScenarioError(f"{chart}: the table has no metric {metric!r} of {of!r}")
    mine = mine.assign(_line=_lines(mine, by, units or {}))
    _, rows = style.one_of(mine, "condition", condition, chart)
    names = list(dict.fromkeys(mine["_line"]))
    if len(names) > _MOST_LINES:
        raise ScenarioError(f"{chart}: {len(names)} lines cannot be told apart; draw at most {_MOST_LINES}")
    found = looks or style.looks(names)
    word = words.of_metric(metric)
    with style.themed():
        ax = style.new_axes(ax)
        positions = _positions(mine[setting])
        missing = []
        for name in names:
            line = rows[rows["_line"] == name]
            line = line.assign(_x=line[setting].map(positions)).sort_values("_x", kind="stable")
            if not line["mean"].notna().any():
                missing.append(name)
                continue
            style.line_with_band(
                ax, line["_x"], line["mean"], found[name], name,
                band=(line["_x"], line["low"], line["high"]), marked=[True] * len(line),
            )  # fmt: skip
        set_setting_axis(ax.xaxis, setting, (units or {}).get(setting, ""), mine[setting], positions)
        _set_metric_axis(ax.yaxis, word, mine)
        style.set_title(ax, title, words.capital(f"{word.text} by {setting}"))
        if legend:
            style.legend_beside(ax, "bands: 95 % intervals" if ax.collections else None)
        style.note_missing(ax, missing, "no value")
    return ax


def load_latency(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    setting: str,
    metric: str = "p99_s",
    by: Sequence[str] = ("candidate",),
    of: str = "all",
    units: Mapping[str, str] | None = None,
    knees: pd.DataFrame | None = None,
    condition: str | None = None,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Latency over load, a line for each candidate, with the knee of each: where more load costs more than it brings.

    Args:
        summary: of a sweep: the setting, what is in `by`, condition, metric, of, mean, low, high.
        ax: where to draw; None makes a new figure.
        setting: the column of the load, such as ``load.rate``.
        metric: which latency.
        by: the columns whose values make lines.
        of: all requests, or an operation.
        units: of the setting and of those in `by`.
        knees: candidate, condition, at, inside, as `sim.analysis.knees` finds them; only those inside of the points are drawn.
        condition: which one, if the table holds several.
        looks: by the lines' names, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column or the metric is missing, or there are more lines than can be told apart.
    """
    ax = metric_over_setting(
        summary, ax, setting=setting, metric=metric, by=by, of=of, units=units, condition=condition, looks=looks, legend=False,
        title=title or words.capital(f"{words.of_metric(metric).text} under load"),
    )  # fmt: skip
    with style.themed():
        if knees is not None:
            name, _ = style.one_of(summary, "condition", condition, "load_latency")
            found = looks or style.looks(style.names_in(summary, "candidate"))
            for row in knees[knees["inside"] & (knees["condition"].astype(str) == name)].to_dict("records"):
                look, at = found[str(row["candidate"])], _named("knee", row["at"], (units or {}).get(setting, ""))
                label = f"{style.wrap(str(row['candidate']), 32)}: {at}"
                ax.axvline(row["at"], color=look.colour, linestyle=look.line, linewidth=1.4, zorder=1.2, label=label)
        if legend:
            style.legend_beside(ax, "bands: 95 % intervals" if ax.collections else None)
    return ax


def heat_map(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    across: str,
    up: str,
    metric: str,
    of: str = "all",
    units: Mapping[str, str] | None = None,
    candidate: str | None = None,
    condition: str | None = None,
    title: str | None = None,
) -> Axes:
    """A metric over two settings: a cell for each pair of values, with its mean in figures; pale is good, dark is bad.

    For a metric of which neither more nor less is better, dark is more. Cells are as large as each other, whatever lies between
    their values. A hatched cell has no value. For the border between meeting an objective and failing it, see `sim search`.

    Args:
        summary: of a sweep: the two settings, candidate, condition, metric, of, mean.
        ax: where to draw; None makes a new figure.
        across: the setting from left to right.
        up: the setting from bottom to top.
        metric: which one.
        of: all requests, or an operation.
        units: of the settings, as tables have them: ``s``, ``/s`` or ``B``; absent: none.
        candidate: which one, if the table holds several.
        condition: which one, if the table holds several.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column or the metric is missing, or the candidate or the condition is not clear.
    """
    chart = "heat_map"
    style.need(summary, (across, up, "candidate", "condition", "metric", "of", "mean"), chart)
    mine = summary[(summary["metric"] == metric) & (summary["of"] == of)]
    style.need(mine, (), f"{chart}: {metric}")
    _, rows = style.one_of(style.one_of(mine, "condition", condition, chart)[1], "candidate", candidate, chart)
    table = rows.pivot_table(index=up, columns=across, values="mean", sort=_is_number(rows[across]), dropna=False)
    word, values = words.of_metric(metric), table.to_numpy(dtype=float)
    with style.themed():
        ax = style.new_axes(ax, (2.8 + 0.95 * table.shape[1], 1.8 + 0.55 * table.shape[0]))
        ax.set_facecolor("#F2F2F2")
        colours = "cividis" if word.better == "higher" else "cividis_r"
        norm = _norm(mine["mean"])
        ax.imshow(np.ma.masked_invalid(values), cmap=colours, origin="lower", aspect="auto", norm=norm)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = (float(np.asarray(norm(value))) < 0.5) is (word.better == "higher")
                told = amount(metric, float(value)).replace(" ", "\u00a0")
                ax.text(column, row, told, ha="center", va="center", fontsize=10, color="white" if dark else "black")
            else:
                ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="none", edgecolor=style.SHADE, hatch="///"))
        for axis, setting, names in ((ax.xaxis, across, table.columns), (ax.yaxis, up, table.index)):
            unit = (units or {}).get(setting, "")
            axis.set_ticks(range(len(names)), [_value(name, unit) for name in names])
            axis.set_label_text(setting)
        ax.grid(visible=False)
        ax.tick_params(length=0)
        style.set_title(ax, title, words.capital(f"{word.text}{f', {word.better} is better' if word.better else ''}"))
    return ax


def _norm(values: pd.Series[Any]) -> Normalize:
    """How means become colours, the same in all panels: logarithmic where they spread widely."""
    numbers = style.finite(values)
    least, most = float(np.min(numbers, initial=np.inf)), float(np.max(numbers, initial=-np.inf))
    if not len(numbers) or least == most:
        return Normalize(least - 1 if len(numbers) else 0.0, most + 1 if len(numbers) else 1.0)
    return LogNorm(least, most) if least > 0 and style.is_wide(numbers) else Normalize(least, most)


def sweep_charts(
    summary: pd.DataFrame,
    directory: str | Path,
    *,
    settings: Sequence[str],
    metrics: Sequence[str],
    units: Mapping[str, str],
    name: str = "sweep",
    question: str = "",
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Write one chart per metric of a sweep over one or two settings; of more there is none.

    `name` stands over the chart where there is only one condition.

    The setting with the most different numbers goes along the axis, the other one makes the lines.

    Raises:
        ScenarioError: the directory cannot be written.
    """
    if not 1 <= len(settings) <= 2 or summary.empty:
        return []
    along = max(settings, key=lambda path: _suits(summary, path))
    by = [path for path in settings if path != along]
    by = ["candidate", *by] if summary["candidate"].nunique() > 1 or not by else by
    lines = len(summary.drop_duplicates(by))
    if summary["condition"].nunique() == 1:
        summary = summary.assign(condition=name)
    target = Path(directory)
    written: list[Path] = []
    for metric in metrics if lines <= _MOST_LINES else ():
        heading = words.capital(f"{words.of_metric(metric).text} by {along}")
        shown: dict[str, Any] = {"setting": along, "metric": metric, "by": by, "units": units}
        figure = small_multiples(metric_over_setting, summary, title=heading, question=question, **shown)
        written += save(figure, target / f"{metric}_by_{_plain(along)}", formats)
    return written


def _suits(summary: pd.DataFrame, path: str) -> tuple[bool, int]:
    """How well a setting suits the axis: numbers before names, then the more the better."""
    values = summary[path]
    return _is_number(values), values.nunique()


def _plain(path: str) -> str:
    """A path as the name of a file."""
    return re.sub(r"\W+", "_", path).strip("_")


def _lines(rows: pd.DataFrame, by: Sequence[str], units: Mapping[str, str]) -> list[str]:
    """What the line of each row is called."""
    columns = [[_named(name, value, units.get(name, "")) for value in rows[name].tolist()] for name in by]
    return [", ".join(parts) for parts in zip(*columns, strict=True)]


def _named(name: str, value: Any, unit: str) -> str:
    if name == "candidate":
        return str(value)
    return f"{name} = {_value(value, unit)}"


def _value(value: Any, unit: str) -> str:
    """One value of a setting in words."""
    if not isinstance(value, float):
        return str(value)
    return format_duration(value) if unit == "s" else f"{value:g} {unit}".rstrip()


def _is_number(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))


def _positions(values: pd.Series[Any]) -> dict[Any, float]:
    """Where each value of the setting stands: a number where it is, a name at its place in the order."""
    different = list(dict.fromkeys(values))
    return {value: float(value) if _is_number(values) else float(i) for i, value in enumerate(different)}


def set_setting_axis(
    axis: Axis, setting: str, unit: str, values: pd.Series[Any], positions: Mapping[Any, float] | None = None
) -> None:
    """Label an axis of the values of a setting: numbers in their unit, or names at their positions."""
    if not _is_number(values):
        positions = positions or _positions(values)
        axis.set_major_locator(FixedLocator(list(positions.values())))
        names = {place: str(value) for value, place in positions.items()}
        axis.set_major_formatter(FuncFormatter(lambda place, _: style.shorten(names.get(place, ""), 24)))
        axis.set_label_text(setting)
        return
    if unit == "s":
        style.set_time_axis(axis, setting, values)
    else:
        style.set_number_axis(axis, f"{setting} ({unit})" if unit else setting)
        if style.is_wide(values) and values.min() > 0:
            set_scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale  # type: ignore[attr-defined]
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(FuncFormatter(style.plain))
            axis.set_label_text(f"{axis.get_label_text()}, log scale")
    points = np.unique(style.finite(values))
    if isinstance(axis, XAxis) and _have_room(points, axis.get_scale() == "log"):
        axis.set_major_locator(FixedLocator(list(points)))
        axis.set_minor_locator(NullLocator())


def _have_room(points: Floats, log: bool) -> bool:
    """Whether each of the points can have its own tick."""
    places = np.log(points) if log else points
    return 2 <= len(points) <= _MOST_TICKS and bool(np.diff(places).min() * 1.5 * _MOST_TICKS >= np.ptp(places))


def _set_metric_axis(axis: Axis, word: words.Word, rows: pd.DataFrame) -> None:
    """From zero, unless all ratios are close to 100 %: then the axis is cut, and says so."""
    if word.kind == "time":
        style.set_time_axis(axis, word.text, rows["mean"])
        style.fit_time_axis(axis, rows["mean"], rows["high"])
        axis.set_label_text(f"{axis.get_label_text()}{f', {word.better} is better' if word.better else ''}")
        return
    words.set_axis(axis, word, rows["mean"])
    least = float(np.min(style.finite(rows["mean"]), initial=1.0))
    if word.kind == "ratio" and word.better == "higher" and least >= 0.9:
        room = max(0.002, 1.2 * (1 - least))
        axis.axes.set_ylim(1 - room, 1 + 0.05 * room)
        axis.set_label_text(axis.get_label_text().replace("(%)", "(%, axis cut)"))
    elif word.kind == "ratio":
        axis.axes.set_ylim(0.0, 1.03)
    else:
        axis.axes.set_ylim(bottom=0.0)
