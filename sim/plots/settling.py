"""The chart of a warm-up: where a series settles."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from sim.plots import style


def warmup_over_time(series: pd.DataFrame, ax: Axes | None = None, *, end_s: float, title: str | None = None) -> Axes:
    """Latency by time of arrival, the mean from each moment to the end, and where the warm-up ends.

    Args:
        series: time_s, latency_s and running_s (`sim.analysis.Warmup.series`).
        ax: where to draw; None makes a new figure.
        end_s: the end of the warm-up.
        title: instead of the chart's own.

    Raises:
        ScenarioError: a column is missing.
    """
    style.need(series, ("time_s", "latency_s", "running_s"), "warmup_over_time")
    looks = style.looks(["mean of those who arrived then", "mean from here to the end"])
    with style.themed():
        ax = style.new_axes(ax)
        first, second = looks.items()
        ax.plot(series["time_s"], series["latency_s"], ".", color=first[1].colour, markersize=3, alpha=0.6, label=first[0])
        shown = series[series["time_s"] <= 0.9 * series["time_s"].iloc[-1]]  # of the last few the mean is noise
        ax.plot(shown["time_s"], shown["running_s"], color=second[1].colour, label=second[0], zorder=2.5)
        if end_s > 0:
            ax.axvspan(0, end_s, color="0.5", alpha=0.15, linewidth=0)
        ax.axvline(end_s, color="0.3", linestyle="--", label="end of the warm-up (MSER-5)")
        style.set_time_axis(ax.xaxis, "arrival", [0.0, float(series["time_s"].max())], log=False)
        style.set_time_axis(ax.yaxis, "latency", series["latency_s"], log=False)
        ax.set_ylim(bottom=0.0)
        style.set_title(ax, title, "Where latency settles")
        style.legend_beside(ax)
    return ax
