"""Reading how evenly calls are spread over replicas, and how many connections were made for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import pandas as pd

#: What is measured of each service that is called over connections.
BALANCE: Final = ("busiest_over_mean", "calls_cv", "idle_replicas", "new_connections")


def calls_by_replica(attempts: pd.DataFrame, start_s: float = -math.inf, end_s: float = math.inf) -> pd.DataFrame:
    """One row per service and replica with the calls (attempts, messages not counted) that began in [start_s, end_s).

    Columns: service (of a way through a proxy: the proxies), replica, calls, and its share of the service's calls. A replica
    without calls has no row.
    """
    rows = attempts[(attempts["started_s"] >= start_s) & (attempts["started_s"] < end_s) & (attempts["replica"] >= 0)]
    targets = rows["target"].astype(str)
    services = targets[targets.str.contains(".", regex=False)].str.split(".").str[0]
    found = pd.DataFrame({"service": services, "replica": rows.loc[services.index, "replica"]})
    calls = found.groupby(["service", "replica"]).size().rename("calls").reset_index()
    return calls.assign(share=calls["calls"] / calls.groupby("service")["calls"].transform("sum"))


def imbalance(
    attempts: pd.DataFrame, replicas: Mapping[str, int], start_s: float = -math.inf, end_s: float = math.inf
) -> pd.DataFrame:
    """One row per service of `replicas` (name → how many it has) that was called in [start_s, end_s).

    ::

        busiest_over_mean = calls of the busiest replica / mean        1: all alike; n: one of n has them all
        calls_cv          = standard deviation / mean, over replicas   0: all alike; Poisson chance alone gives 1 / √mean

    Columns: service, replicas, calls, idle_replicas, busiest_over_mean, calls_cv. Where more replicas were called than `replicas`
    says, as in a rollout, those that were called count.
    """
    found = []
    for service, rows in calls_by_replica(attempts, start_s, end_s).groupby("service"):
        if service not in replicas:
            continue
        count, calls = max(replicas[str(service)], len(rows)), rows["calls"].to_numpy(dtype=float)
        mean = calls.sum() / count
        idle = count - len(rows)
        variance = (((calls - mean) ** 2).sum() + idle * mean**2) / count
        found.append((service, count, int(calls.sum()), idle, calls.max() / mean, math.sqrt(variance) / mean))
    return pd.DataFrame(found, columns=["service", "replicas", "calls", "idle_replicas", "busiest_over_mean", "calls_cv"])


def connections(changes: pd.DataFrame, start_s: float = -math.inf, end_s: float = math.inf) -> pd.DataFrame:
    """One row per caller, target and replica to which connections were made in [start_s, end_s): `made`, and `open` just before
    end_s, those included that take no new calls."""
    rows = changes[changes["state"].isin(("connected", "disconnected")) & (changes["time_s"] < end_s)]
    rows = rows.astype({"caller": str, "target": str, "state": str})
    made = rows["state"] == "connected"
    counted = rows.assign(made=made & (rows["time_s"] >= start_s), open=made.astype(int) - (~made).astype(int))
    found = counted.groupby(["caller", "target", "endpoint"])[["made", "open"]].sum().reset_index()
    return found.rename(columns={"endpoint": "replica"}).astype({"made": int, "open": int})


def balance_metrics(
    attempts: pd.DataFrame, changes: pd.DataFrame, replicas: Mapping[str, int], *, start_s: float, end_s: float
) -> pd.DataFrame:
    """`BALANCE` of each service of `replicas` over the measured window, as rows of metric, of (the service), value.

    Without rows of attempts only the number of connections is known.
    """
    found: list[tuple[str, str, float]] = []
    spread = {str(row["service"]): row for row in imbalance(attempts, replicas, start_s, end_s).to_dict("records")}
    made = connections(changes, start_s, end_s).groupby("target")["made"].sum()
    for service in replicas:
        if service in spread:
            found += [(metric, service, float(spread[service][metric])) for metric in BALANCE[:-1]]
        found.append((BALANCE[-1], service, float(made.get(service, 0))))
    return pd.DataFrame(found, columns=["metric", "of", "value"]).astype({"value": float})
