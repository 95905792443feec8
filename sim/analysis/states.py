"""What breakers and callers think over time: spells of states, from the changes that a run wrote."""

from __future__ import annotations

from typing import Final

import pandas as pd

#: What tells one breaker or endpoint, as one caller process knows it, from the others.
KNOWN_BY: Final = ("caller", "process", "target", "endpoint")
_OF_ENDPOINTS: Final = ("ejected", "returned")


def state_spells(changes: pd.DataFrame, *, end_s: float) -> pd.DataFrame:
    """From when to when each breaker or endpoint was in which state: caller, process, target, endpoint, state, start_s, end_s.

    ::

        changes    2 s open, 7 s half_open, 7.1 s closed
        spells     open 2 to 7 s, half_open 7 to 7.1 s, closed 7.1 s to end_s

    Before its first row a breaker is closed and an endpoint used: that has no spell.

    Args:
        changes: the table of `sim.records`, of one replication, decoded.
        end_s: where the last spell of each ends, clock time; later changes are left out.
    """
    rows = changes[changes["time_s"] < end_s].astype({"caller": str, "target": str, "state": str})
    rows = rows.assign(ejection=rows["state"].isin(_OF_ENDPOINTS)).sort_values("time_s", kind="stable")
    next_s = rows.groupby([*KNOWN_BY, "ejection"], sort=False)["time_s"].shift(-1)
    rows = rows.assign(start_s=rows["time_s"], end_s=next_s.fillna(end_s))
    return rows[rows["end_s"] > rows["start_s"]][[*KNOWN_BY, "state", "start_s", "end_s"]].reset_index(drop=True)
