"""What protocols cost: bytes, processor time and connections, from the table `traffic` that a run writes where there are some."""

from __future__ import annotations

from typing import Final

import pandas as pd

from sim.analysis.curves import RUN

_EDGE: Final = ["caller", "target"]


def traffic_metrics(traffic: pd.DataFrame, requests: float) -> dict[str, float]:
    """What a measured request cost on all edges with a protocol; nothing if there are none, or no requests.

    Bytes are both ways together, with headers and segments; processor time is at both ends, for messages and handshakes.

    >>> sizes = {"request_bytes": [900], "response_bytes": [3100]}
    >>> rows = pd.DataFrame({**sizes, "caller_cpu_s": [0.001], "target_cpu_s": [0.003], "connections": [2]})
    >>> traffic_metrics(rows, 2)
    {'wire_bytes_per_request': 2000.0, 'wire_cpu_s': 0.002, 'new_connections_per_request': 1.0}
    """
    if traffic.empty or requests <= 0:
        return {}
    sums = traffic[["request_bytes", "response_bytes", "caller_cpu_s", "target_cpu_s", "connections"]].sum()
    return {
        "wire_bytes_per_request": float(sums["request_bytes"] + sums["response_bytes"]) / requests,
        "wire_cpu_s": float(sums["caller_cpu_s"] + sums["target_cpu_s"]) / requests,
        "new_connections_per_request": float(sums["connections"]) / requests,
    }


def traffic_by_edge(traffic: pd.DataFrame) -> pd.DataFrame:
    """The table by edge, means over its replications where it is of several.

    Columns: candidate and condition where `traffic` has them, caller, target, and all numbers of the table.
    """
    labels = [name for name in RUN[:2] if name in traffic] + _EDGE
    numbers = [name for name in traffic if name not in (*RUN, *_EDGE)]
    rows = traffic.astype(dict.fromkeys(_EDGE, object))
    return rows.groupby(labels, sort=False, observed=True)[numbers].mean().reset_index()
