"""A run as metrics in OpenMetrics text, as Prometheus would have scraped it at the end of the run.

Calls have the name and the buckets that OpenTelemetry's semantic conventions give to them (`rpc.client.call.duration`, as
Prometheus writes it); what they have no name for begins with ``sim_``. Source: OpenMetrics 1.0 (prometheus.io/docs/specs/om).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sim.records import GOOD_OUTCOMES

if TYPE_CHECKING:
    import pandas as pd

#: Upper ends of the buckets that the conventions advise, in seconds.
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


def openmetrics(
    requests: pd.DataFrame, attempts: pd.DataFrame, totals: pd.DataFrame, labels: Mapping[str, str] | None = None
) -> str:
    """Counters and histograms of one run: requests by entry and outcome, calls by edge and outcome, work of services.

    Args:
        requests: rows of `sim.records.REQUESTS`, decoded.
        attempts: rows of `sim.records.ATTEMPTS`, decoded.
        totals: rows of `sim.records.TOTALS`, decoded.
        labels: for every sample, such as candidate and condition.
    """
    return "\n".join([*_lines(requests, attempts, totals, dict(labels or {})), "# EOF"]) + "\n"


def _lines(requests: pd.DataFrame, attempts: pd.DataFrame, totals: pd.DataFrame, labels: dict[str, str]) -> Iterator[str]:
    name = "sim_request_duration_seconds"
    yield from _head(name, "histogram", "Latency of logical requests at their origin.", "seconds")
    ended = requests[requests["ended_s"].notna()].astype({"entry": str, "outcome": str})
    for (entry, outcome), rows in ended.groupby(["entry", "outcome"], sort=True):
        yield from _histogram(name, rows["ended_s"] - rows["arrived_s"], labels | {"entry": str(entry), "outcome": str(outcome)})
    name = "rpc_client_call_duration_seconds"
    yield from _head(name, "histogram", "Duration of calls as their callers saw it, each try by itself.", "seconds")
    calls = attempts[attempts["ended_s"].notna()].astype({"caller": str, "target": str, "outcome": str})
    for (caller, target, outcome), rows in calls.groupby(["caller", "target", "outcome"], sort=True):
        mine = labels | {"service_name": str(caller), "rpc_method": str(target).replace(".", "/", 1), "rpc_system_name": "sim"}
        mine |= {} if outcome in GOOD_OUTCOMES else {"error_type": str(outcome)}
        yield from _histogram(name, rows["ended_s"] - rows["started_s"], mine | {"sim_outcome": str(outcome)})
    name = "sim_busy_worker_seconds"
    yield from _head(name, "counter", "Time for which workers were held, abandoned work included.", "seconds")
    for row in totals.astype({"name": str}).to_dict("records"):
        yield _sample(f"{name}_total", labels | {"service_name": row["name"]}, row["busy_worker_s"])
    yield from _head("sim_served", "counter", "Visits that got a worker.", "")
    for row in totals.astype({"name": str}).to_dict("records"):
        yield _sample("sim_served_total", labels | {"service_name": row["name"]}, row["served"])


def _head(name: str, kind: str, text: str, unit: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _histogram(name: str, seconds: pd.Series[Any], labels: dict[str, str]) -> Iterator[str]:
    values = np.sort(seconds.to_numpy(dtype=float))
    for end_s in BUCKETS_S:
        # A bucket holds what is at most its end.
        yield _sample(f"{name}_bucket", labels | {"le": repr(end_s)}, int(np.searchsorted(values, end_s, side="right")))
    yield _sample(f"{name}_bucket", labels | {"le": "+Inf"}, len(values))
    yield _sample(f"{name}_count", labels, len(values))
    yield _sample(f"{name}_sum", labels, float(values.sum()))


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    plain = value.item() if isinstance(value, np.generic) else value
    return f"{name}{{{inside}}} {plain!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
