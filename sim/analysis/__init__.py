"""Reading: tables in, tables out. Numbers of a replication, intervals, paired differences, curves, objectives, the verdict.

It imports floor 0, numpy, pandas and scipy only, never a live object of a run, so it works on last month's Parquet files.
"""

from sim.analysis.balance import balance_metrics, calls_by_replica, connections, imbalance
from sim.analysis.critical import time_spent
from sim.analysis.curves import (
    attempts_over_time,
    backlog_over_time,
    gauges_over_time,
    latency_cdf,
    over_time,
    time_parts,
)
from sim.analysis.decision import Decision, verdict
from sim.analysis.edges import edges
from sim.analysis.hysteresis import trap_between, up_and_down
from sim.analysis.intervals import paired_differences, summarise
from sim.analysis.knee import knee, knees
from sim.analysis.messages import backlog, broker_load, broker_storage, drain_s, messages_by_queue, out_of_order
from sim.analysis.metrics import METRICS, run_metrics
from sim.analysis.objectives import slo_verdicts
from sim.analysis.read_models import done_though_failed, read_staleness
from sim.analysis.recovery import effect_recovery_s, recovery_s
from sim.analysis.regret import Regret, regret
from sim.analysis.states import staleness, staleness_metrics, state_spells
from sim.analysis.traffic import traffic_by_edge, traffic_metrics
from sim.analysis.waterfall import pick_request, sequence_diagram, waterfall
from sim.analysis.zones import cross_zone, cross_zone_share

__all__ = [
    "METRICS",
    "Decision",
    "Regret",
    "attempts_over_time",
    "backlog",
    "backlog_over_time",
    "balance_metrics",
    "broker_load",
    "broker_storage",
    "calls_by_replica",
    "connections",
    "cross_zone",
    "cross_zone_share",
    "done_though_failed",
    "drain_s",
    "edges",
    "effect_recovery_s",
    "gauges_over_time",
    "imbalance",
    "knee",
    "knees",
    "latency_cdf",
    "messages_by_queue",
    "out_of_order",
    "over_time",
    "paired_differences",
    "pick_request",
    "read_staleness",
    "recovery_s",
    "regret",
    "run_metrics",
    "sequence_diagram",
    "slo_verdicts",
    "staleness",
    "staleness_metrics",
    "state_spells",
    "summarise",
    "time_parts",
    "time_spent",
    "traffic_by_edge",
    "traffic_metrics",
    "trap_between",
    "up_and_down",
    "verdict",
    "waterfall",
]
