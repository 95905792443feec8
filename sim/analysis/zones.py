"""What crosses zones, and how it fares: from the table `zone_calls` that a run writes where there are zones."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd

from sim.analysis.curves import RUN

_EDGE: Final = ["caller", "target"]


def cross_zone_share(zone_calls: pd.DataFrame) -> float:
    """Attempts from one zone to another, of those with a zone at both ends; NaN if there are none.

    >>> cross_zone_share(pd.DataFrame({"from_zone": ["a", "a", None], "to_zone": ["a", "b", "a"], "attempts": [3, 1, 9]}))
    0.25
    """
    one, other = zone_calls["from_zone"].astype(object), zone_calls["to_zone"].astype(object)
    placed = zone_calls["attempts"][one.notna() & other.notna()]
    return float(placed[one != other].sum() / placed.sum()) if placed.sum() else math.nan


def cross_zone(zone_calls: pd.DataFrame, *, by_zone: bool = False) -> pd.DataFrame:
    """How much of an edge's traffic crosses zones, and how much of it is answered well.

    Columns: caller, target; with `by_zone` from_zone, the caller's; attempts, cross_zone (share of those with a zone at both
    ends), success, and troubled_success (of attempts that began while a zone was down or cut off; NaN without). Before them
    candidate, condition, replication where `zone_calls` has them.

    Args:
        zone_calls: the table of `sim.records`, of one replication or several, decoded.
        by_zone: whether callers in each zone have a row of their own; callers outside of all zones are left out then.
    """
    labels = [name for name in RUN if name in zone_calls] + _EDGE + (["from_zone"] if by_zone else [])
    rows = zone_calls.astype(dict.fromkeys([*_EDGE, "from_zone", "to_zone"], object))
    found = []
    for label, mine in rows.groupby(labels, sort=False, observed=True):
        hurt = mine[mine["troubled"] == 1]
        numbers = {
            "attempts": int(mine["attempts"].sum()),
            "cross_zone": cross_zone_share(mine),
            "success": _share(mine),
            "troubled_success": _share(hurt),
        }
        found.append({**dict(zip(labels, label, strict=True)), **numbers})
    return pd.DataFrame(found, columns=[*labels, "attempts", "cross_zone", "success", "troubled_success"])


def _share(rows: pd.DataFrame) -> float:
    return float(rows["good"].sum() / rows["attempts"].sum()) if len(rows) else math.nan
