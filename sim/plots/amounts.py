"""Charts of amounts over time: goodput, attempts, messages in queues, workers held, lines in front of them, living replicas.

Each function draws the numbers of a table that `sim.analysis` made, as they are, on one axes, and returns that axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict, Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sim.plots import style
from sim.plots.lines import Window, finish, steps, telling
from sim.plots.style import Look

#: What the gauges are of queues.
_AT_CONSUMERS: Final = "unacknowledged (messages)"
_WAITING: Final = "waiting (messages)"
_REACHABLE: Final = "reachable (1) or not (0)"


class OverTime(TypedDict, total=False):
    """What every chart of this module may be told.

    Attributes:
        condition: which one, if the table holds several.
        windows: faults to shade: (label, start in seconds, end in seconds or None).
        warmup_s: until when nothing counts, in seconds; hatched, with its place in the legend.
        looks: from `looks`, when several charts shall agree.
        legend: whether to put one beside the axes.
        title: instead of the chart's own.
    """

    condition: str | None
    windows: Sequence[Window]
    warmup_s: float
    looks: Mapping[str, Look] | None
    legend: bool
    title: str | None


def goodput_over_time(over_time: pd.DataFrame, ax: Axes | None = None, **how: Unpack[OverTime]) -> Axes:
    """Good answers per second, per time bin in which they came, one stepped line per candidate; faults are shaded.

    Args:
        over_time: columns candidate, condition, time_s (start of the bin), goodput_rps, goodput_low, goodput_high (per second).
        ax: where to draw; None makes a new figure.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    columns = ("goodput_rps", "goodput_low", "goodput_high")
    words = ("goodput_over_time", "goodput (good answers/s)", "Good answers per second")
    return _amount_over_time(over_time, ax, columns, words, **how)


def attempts_over_time(table: pd.DataFrame, ax: Axes | None = None, **how: Unpack[OverTime]) -> Axes:
    """Attempts per second, per time bin in which they began, one stepped line per candidate; faults are shaded.

    Beside `goodput_over_time` it shows a retry storm: many attempts, no good answers.

    Args:
        table: columns candidate, condition, time_s (start of the bin), attempts_rps, attempts_low, attempts_high (per second).
        ax: where to draw; None makes a new figure.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    columns = ("attempts_rps", "attempts_low", "attempts_high")
    words = ("attempts_over_time", "attempts (attempts/s)", "Attempts per second")
    return _amount_over_time(table, ax, columns, words, **how)


def backlog_over_time(table: pd.DataFrame, ax: Axes | None = None, **how: Unpack[OverTime]) -> Axes:
    """Messages in all queues together, one stepped line per candidate that has queues; faults are shaded.

    Waiting or at consumers: what lines up while consumers or brokers are down, and how long it takes to drain.

    Args:
        table: columns candidate, condition, time_s (of the sample), backlog, backlog_low, backlog_high (messages).
        ax: where to draw; None makes a new figure.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition is not clear.
    """
    columns = ("backlog", "backlog_low", "backlog_high")
    words = ("backlog_over_time", "backlog (messages)", "Messages in the queues")
    return _amount_over_time(table, ax, columns, words, **how)


def workers_over_time(gauges: pd.DataFrame, ax: Axes | None = None, *, of: str | None = None, **how: Unpack[OverTime]) -> Axes:
    """Workers of a service that are held, over all of its replicas, one stepped line per candidate: how full the pool is.

    Of a queue: messages at consumers, unacknowledged or uncommitted.

    A pool that stays full while its callees are slow is how one service takes others along.

    Args:
        gauges: columns candidate, condition, name, time_s, busy, busy_low, busy_high (`sim.analysis.gauges_over_time`).
        ax: where to draw; None makes a new figure.
        of: which service or queue, if the table holds several.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition or the name is not clear.
    """
    return _gauge_over_time(gauges, ax, of, "workers_over_time", "busy", ("workers held (workers)", _AT_CONSUMERS), how)


def waiting_over_time(gauges: pd.DataFrame, ax: Axes | None = None, *, of: str | None = None, **how: Unpack[OverTime]) -> Axes:
    """Who waits for a worker of a service, over all of its replicas, one stepped line per candidate; of a queue: its messages.

    Args:
        gauges: columns candidate, condition, name, time_s, queued, queued_low, queued_high (`sim.analysis.gauges_over_time`).
        ax: where to draw; None makes a new figure.
        of: which service or queue, if the table holds several.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition or the name is not clear.
    """
    return _gauge_over_time(gauges, ax, of, "waiting_over_time", "queued", ("waiting (requests)", _WAITING), how)


def replicas_over_time(gauges: pd.DataFrame, ax: Axes | None = None, *, of: str | None = None, **how: Unpack[OverTime]) -> Axes:
    """Replicas of a service that are up, one stepped line per candidate: autoscaling, crashes and deployments.

    Of a queue: whether it can be reached.

    Args:
        gauges: columns candidate, condition, name, time_s, alive, alive_low, alive_high (`sim.analysis.gauges_over_time`).
        ax: where to draw; None makes a new figure.
        of: which service, if the table holds several.
        **how: see `OverTime`.

    Raises:
        ScenarioError: a column is missing, the table is empty, or the condition or the name is not clear.
    """
    return _gauge_over_time(gauges, ax, of, "replicas_over_time", "alive", ("replicas that are up (replicas)", _REACHABLE), how)


def _gauge_over_time(
    gauges: pd.DataFrame, ax: Axes | None, of: str | None, chart: str, gauge: str, labels: tuple[str, str], how: OverTime
) -> Axes:
    """A gauge, with its label for services or for queues (which `is_queue` tells apart, where the table has it)."""
    style.need(gauges, ("name",), chart)
    service, rows = style.one_of(gauges, "name", of, chart)
    label = labels[bool("is_queue" in rows and rows["is_queue"].any())]
    what = label.partition(" (")[0].capitalize()
    columns = (gauge, f"{gauge}_low", f"{gauge}_high")
    return _amount_over_time(rows, ax, columns, (chart, label, f"{what}: {service}"), **how)


def _amount_over_time(
    table: pd.DataFrame,
    ax: Axes | None,
    columns: tuple[str, str, str],
    words: tuple[str, str, str],
    *,
    condition: str | None = None,
    windows: Sequence[Window] = (),
    warmup_s: float = 0.0,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Steps, with bands, of what is never below zero; `words` are the chart's name, its axis and what it shows."""
    chart, label, what = words
    name, _, found = style.shown(table, ("time_s", *columns), chart, condition, looks)
    table = telling(table, columns)
    _, rows = style.one_of(table, "condition", name, chart)
    with style.themed():
        ax = style.new_axes(ax)
        steps(ax, table, rows, columns, found, "clock time")
        style.set_number_axis(ax.yaxis, label)
        if chart == "replicas_over_time":
            ax.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))  # there is no half a replica
        highest = float(np.max(style.finite(table[list(columns)].to_numpy().ravel()), initial=0.0))
        ax.set_ylim(0.0, 1.05 * highest or 1.0)
        finish(ax, title, f"{what} · {name}", legend, windows, warmup_s)
    return ax
