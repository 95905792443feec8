"""Charts of a sweep: a metric over a setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from sim.errors import ScenarioError
from sim.plots import style, words
from sim.plots.files import save, small_multiples
from sim.plots.style import Look
from sim.units import format_duration

#: More lines than these nobody can tell apart.
_MOST_LINES: Final = 8


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
            line = rows[rows["_line"] == name].assign(_x=rows[setting].map(positions)).sort_values("_x", kind="stable")
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
    try:
        target.mkdir(parents=True, exist_ok=True)
        for metric in metrics if lines <= _MOST_LINES else ():
            heading = words.capital(f"{words.of_metric(metric).text} by {along}")
            shown: dict[str, Any] = {"setting": along, "metric": metric, "by": by, "units": units}
            figure = small_multiples(metric_over_setting, summary, title=heading, question=question, **shown)
            written += save(figure, target / f"{metric}_by_{_plain(along)}", formats)
    except OSError as exc:
        where = exc.filename or target
        raise ScenarioError(f"{where}: cannot write the charts ({exc.strerror}); choose another directory") from exc
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
    if not isinstance(value, float):
        return f"{name} = {value}"
    return f"{name} = {format_duration(value)}" if unit == "s" else f"{name} = {value:g} {unit}".rstrip()


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
    elif unit == "s":
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
