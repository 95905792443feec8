"""What breakers and callers think over time: spells of states, and how late callers learn, from the changes that a run wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import pandas as pd

from sim.analysis.curves import RUN

#: What tells one breaker or endpoint, as one caller process knows it, from the others.
KNOWN_BY: Final = ("caller", "process", "target", "endpoint")
_OF_ENDPOINTS: Final = ("ejected", "returned")
#: States of breakers, and of endpoints as outlier detection has them; the other changes are of replicas and registries.
CALLS_STATES: Final = ("closed", "open", "half_open", *_OF_ENDPOINTS)
#: Changes of single connections, of which an endpoint may have several.
OF_CONNECTIONS: Final = ("connected", "draining", "disconnected")
#: What is measured of each service with a registry whose replicas went.
STALENESS: Final = ("deaths", "stale_mean_s", "stale_max_s")


def state_spells(changes: pd.DataFrame, *, end_s: float) -> pd.DataFrame:
    """From when to when each breaker or endpoint was in which state: caller, process, target, endpoint, state, start_s, end_s.

    ::

        changes    2 s open, 7 s half_open, 7.1 s closed
        spells     open 2 to 7 s, half_open 7 to 7.1 s, closed 7.1 s to end_s

    Before its first row a breaker is closed and an endpoint used: that has no spell. Connections are left out; for them see
    `sim.analysis.connections`.

    Args:
        changes: the table of `sim.records`, of one replication, decoded.
        end_s: where the last spell of each ends, clock time; later changes are left out.
    """
    told = (changes["time_s"] < end_s) & ~changes["state"].isin(OF_CONNECTIONS)
    rows = changes[told].astype({"caller": str, "target": str, "state": str})
    rows = rows.assign(ejection=rows["state"].isin(_OF_ENDPOINTS)).sort_values("time_s", kind="stable")
    next_s = rows.groupby([*KNOWN_BY, "ejection"], sort=False)["time_s"].shift(-1)
    rows = rows.assign(start_s=rows["time_s"], end_s=next_s.fillna(end_s))
    return rows[rows["end_s"] > rows["start_s"]][[*KNOWN_BY, "state", "start_s", "end_s"]].reset_index(drop=True)


def staleness(changes: pd.DataFrame) -> pd.DataFrame:
    """How long each process went on choosing from replicas that were gone: a row per death and process.

    ::

        replica     up ........ gone_s                    back_s ...
        process     listed ................ unlisted_s              stale_s = min(unlisted_s, back_s) - gone_s, at least 0

    Columns: caller, process, target, replica, gone_s, unlisted_s, back_s, stale_s; before them candidate, condition, replication
    where `changes` has them. Who heard of a stop before it was over has an unlisted_s before gone_s, and was not stale. NaN:
    never, before the replica's next death or the end of the run. Only services with a registry have such rows, and only
    processes that learned anything of the service at all.

    Args:
        changes: the table of `sim.records`, of one or several replications, decoded.
    """
    labels = [name for name in RUN if name in changes]
    rows = changes.astype({"caller": str, "target": str, "state": str}).sort_values("time_s", kind="stable")
    found = []
    for label, run in rows.groupby(labels, sort=False, observed=True) if labels else [((), rows)]:
        lives = run[run["state"].isin(("down", "up"))].groupby(["target", "endpoint"], sort=False)
        beliefs = run[run["state"].isin(("listed", "unlisted"))]
        known = {key: _told(rows) for key, rows in beliefs.groupby(["caller", "process", "target", "endpoint"], sort=False)}
        processes = beliefs[["caller", "process", "target"]].drop_duplicates()
        for (target, replica), life in lives:
            knowing = processes[processes["target"] == target]
            for gone_s, back_s, next_s in _deaths(_told(life)):
                for caller, process in knowing[["caller", "process"]].itertuples(index=False):
                    unlisted_s = _unlisted(known.get((caller, process, target, replica), []), gone_s, next_s)
                    ends = [end_s for end_s in (unlisted_s, back_s) if not math.isnan(end_s)]
                    stale_s = max(0.0, min(ends) - gone_s) if ends else math.nan
                    found.append((*label, caller, process, target, replica, gone_s, unlisted_s, back_s, stale_s))
    columns = [*labels, "caller", "process", "target", "replica", "gone_s", "unlisted_s", "back_s", "stale_s"]
    return pd.DataFrame(found, columns=columns)


def staleness_metrics(changes: pd.DataFrame) -> pd.DataFrame:
    """`STALENESS` of each service whose replicas went, over all caller processes, as rows of metric, of (the service), value.

    Who never learned of a death counts in neither time: of a run that ends before callers know, both say too little.
    """
    found: list[tuple[str, str, float]] = []
    for service, rows in staleness(changes).groupby("target", sort=False):
        deaths = len(rows[["replica", "gone_s"]].drop_duplicates())
        values = (float(deaths), float(rows["stale_s"].mean()), float(rows["stale_s"].max()))
        found += [(metric, str(service), value) for metric, value in zip(STALENESS, values, strict=True)]
    return pd.DataFrame(found, columns=["metric", "of", "value"]).astype({"value": float})


def _told(rows: pd.DataFrame) -> list[tuple[float, str]]:
    return list(zip(rows["time_s"].tolist(), rows["state"].tolist(), strict=True))


def _deaths(life: list[tuple[float, str]]) -> Iterable[tuple[float, float, float]]:
    """Of each death of a replica: when, when it was back (NaN: never), and when it died next (infinite: never)."""
    for i, (time_s, state) in enumerate(life):
        if state == "down":
            back_s = next((t for t, s in life[i + 1 :] if s == "up"), math.nan)
            yield time_s, back_s, next((t for t, s in life[i + 1 :] if s == "down"), math.inf)


def _unlisted(told: list[tuple[float, str]], gone_s: float, next_s: float) -> float:
    """When a process learned of a death: before it, if it was unlisted then, or the first time after it; NaN: never."""
    before = [row for row in told if row[0] <= gone_s]
    if before and before[-1][1] == "unlisted":
        return before[-1][0]
    return next((time_s for time_s, state in told if state == "unlisted" and gone_s < time_s < next_s), math.nan)
