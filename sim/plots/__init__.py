"""Charts of the tables that `sim.analysis` makes: one function each, table and axes in, axes out, no formula inside.

They read tables only, so they work on last month's files. `small_multiples` repeats a chart over conditions, `charts`
writes them all. `looks` gives a candidate the same colour, line, marker and hatch everywhere.
"""

from sim.plots.amounts import (
    OverTime,
    attempts_over_time,
    backlog_over_time,
    goodput_over_time,
    replicas_over_time,
    waiting_over_time,
    workers_over_time,
)
from sim.plots.borders import borders
from sim.plots.effects import effect_differences, effect_times
from sim.plots.explained import explanation, waterfall
from sim.plots.files import charts, small_multiples
from sim.plots.hysteresis import hysteresis
from sim.plots.lines import (
    latency_ccdf,
    latency_cdf,
    latency_percentiles,
    staleness_cdf,
    success_over_time,
)
from sim.plots.network import attempts_per_tier, topology_under_load
from sim.plots.recovering import recovery_after_fault
from sim.plots.regret import regret_map
from sim.plots.rows import difference_forest, metric_bars, outcomes, where_time_went
from sim.plots.settling import warmup_over_time
from sim.plots.spells import states_over_time
from sim.plots.style import Look, looks
from sim.plots.sweeps import heat_map, load_latency, metric_over_setting, sweep_charts
from sim.plots.tornado import tornado

__all__ = [
    "Look",
    "OverTime",
    "attempts_over_time",
    "attempts_per_tier",
    "backlog_over_time",
    "borders",
    "charts",
    "difference_forest",
    "effect_differences",
    "effect_times",
    "explanation",
    "goodput_over_time",
    "heat_map",
    "hysteresis",
    "latency_ccdf",
    "latency_cdf",
    "latency_percentiles",
    "load_latency",
    "looks",
    "metric_bars",
    "metric_over_setting",
    "outcomes",
    "recovery_after_fault",
    "regret_map",
    "replicas_over_time",
    "small_multiples",
    "staleness_cdf",
    "states_over_time",
    "success_over_time",
    "sweep_charts",
    "topology_under_load",
    "tornado",
    "waiting_over_time",
    "warmup_over_time",
    "waterfall",
    "where_time_went",
    "workers_over_time",
]
