"""Charts of the tables that `sim.analysis` makes: one function each, table and axes in, axes out, no formula inside.

They read tables only, so they work on last month's files. `small_multiples` repeats a chart over conditions, `charts`
writes them all. `looks` gives a candidate the same colour, line, marker and hatch everywhere.
"""

from sim.plots.borders import borders
from sim.plots.explained import explanation, waterfall
from sim.plots.files import charts, small_multiples
from sim.plots.hysteresis import hysteresis
from sim.plots.lines import (
    attempts_over_time,
    backlog_over_time,
    goodput_over_time,
    latency_cdf,
    latency_percentiles,
    staleness_cdf,
    success_over_time,
)
from sim.plots.regret import regret_map
from sim.plots.rows import difference_forest, effect_times, metric_bars, outcomes, where_time_went
from sim.plots.spells import states_over_time
from sim.plots.style import Look, looks
from sim.plots.sweeps import metric_over_setting, sweep_charts
from sim.plots.tornado import tornado

__all__ = [
    "Look",
    "attempts_over_time",
    "backlog_over_time",
    "borders",
    "charts",
    "difference_forest",
    "effect_times",
    "explanation",
    "goodput_over_time",
    "hysteresis",
    "latency_cdf",
    "latency_percentiles",
    "looks",
    "metric_bars",
    "metric_over_setting",
    "outcomes",
    "regret_map",
    "small_multiples",
    "staleness_cdf",
    "states_over_time",
    "success_over_time",
    "sweep_charts",
    "tornado",
    "waterfall",
    "where_time_went",
]
