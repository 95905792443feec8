"""Up and down again: what a load does to a system depends on where it came from, if there is a trap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.analysis.metrics import GOOD_OUTCOMES
from sim.errors import ScenarioError

UP, DOWN = "up", "down"


def up_and_down(requests: pd.DataFrame, points: Sequence[tuple[float, float]], bins: int = 24) -> pd.DataFrame:
    """How well requests were answered on the way up a ramp of load and on the way down, by the load at which they came.

    ::

        answered well   ████████████████▄          up: it breaks here
                        ████████▄       █          down: it comes back only here; between, it is caught
                        └───────┴───────┴──▶ load

    A system without a trap breaks and comes back at the same load, but for the backlog that it has to work off: ramp slowly.

    Args:
        requests: one replication, decoded.
        points: (time in s, requests per second) of the ramp, in order; it runs straight between them.
        bins: pieces of each way.

    Returns:
        branch (up or down), load_rps (in the middle of the piece), asked, success (NaN where nobody came).

    Raises:
        ScenarioError: fewer than two points, or no way up and no way down.
    """
    ways = [(one, other) for one, other in zip(points, points[1:], strict=False) if other[1] != one[1]]
    if not ways:
        raise ScenarioError("up_and_down: the load never changes; give a ramp: [(0, 50), (300, 400), (600, 50)]")
    arrived = requests["arrived_s"].to_numpy(dtype=float)
    good = requests["outcome"].isin(GOOD_OUTCOMES).to_numpy(dtype=bool)
    parts = []
    for (start_s, first), (end_s, last) in ways:
        edges = np.linspace(start_s, end_s, bins + 1)
        asked, answered = np.histogram(arrived, edges)[0], np.histogram(arrived[good], edges)[0]
        middle = (np.arange(bins) + 0.5) / bins
        with np.errstate(invalid="ignore"):
            success = np.where(asked > 0, answered / np.maximum(asked, 1), np.nan)
        way = {"branch": UP if last > first else DOWN, "load_rps": first + (last - first) * middle}
        parts.append(pd.DataFrame({**way, "asked": asked, "success": success}))
    return pd.concat(parts, ignore_index=True)


def trap_between(branches: pd.DataFrame, well: float = 0.9) -> tuple[float, float]:
    """The loads between which a system may be good or caught: where it comes back on the way down, where it breaks going up.

    NaN where it never broke, or never came back. Between two equal loads there is no trap.

    Args:
        branches: of `up_and_down`: branch, load_rps, success; means over replications are fine.
        well: the share of good answers below which it is broken.

    >>> ways = pd.DataFrame({"branch": ["up"] * 3 + ["down"] * 3, "load_rps": [1, 2, 3, 3, 2, 1.0]})
    >>> ways["success"] = [1, 1, 0, 0, 0, 1.0]
    >>> trap_between(ways)
    (1.0, 3.0)
    """
    up = branches[branches["branch"] == UP].sort_values("load_rps", kind="stable")
    down = branches[branches["branch"] == DOWN].sort_values("load_rps", kind="stable")
    broken = up.loc[up["success"] < well, "load_rps"]
    breaks_at = float(broken.iloc[0]) if len(broken) else math.nan
    caught = down.loc[~(down["success"] >= well), "load_rps"]
    below = down if not len(caught) else down[down["load_rps"] < caught.iloc[0]]
    returns_at = float(below["load_rps"].iloc[-1]) if len(below) and len(broken) else math.nan
    return returns_at, breaks_at
