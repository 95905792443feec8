"""How long after the last fault all is well again."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.records import GOOD, OUTCOMES

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Again as well as before: nine tenths of the share that was answered well.
AS_BEFORE: Final = 0.9
#: A bin is long enough for so many arrivals, and at least a second.
_PER_BIN: Final = 50
#: What chance does to a bin is forgiven up to so many standard deviations.
_CHANCE: Final = 4.0
#: Equal delays differ by the rounding of the clock times that they lie between.
_DUST_S: Final = 1e-9
_GOOD: Final = tuple(OUTCOMES[code] for code in GOOD)


def recovery_s(requests: pd.DataFrame, *, start_s: float, fault_s: float, clear_s: float, end_s: float) -> float:
    """Seconds from the end of the last fault until users are served as before it, for good; NaN if never within the window.

    ::

        answered well   ####______________###_____#########
                        |   |     |              |
                    start  fault  clear          recovered      (the ### in between did not last)

    *As before*: of the requests that arrive in a bin at least nine tenths of the share are answered well that was answered
    well between start_s and fault_s, or less by no more than chance explains (four standard deviations of a binomial).
    A bin is a second, or longer if fewer than 50 requests arrive in one, so the answer is no finer than that. It is told by
    time of arrival, so what a backlog answers late does not look like health; but slow good answers are good: look at the
    latency, too.

    NaN as well where nobody arrived before the fault, or nobody was answered well.

    Args:
        requests: one replication, decoded.
        start_s: from when the level before the fault is taken: the end of the warm-up.
        fault_s: when the first fault begins.
        clear_s: when the last one ends.
        end_s: when the measured window ends.
    """
    arrived = requests["arrived_s"].to_numpy(dtype=float)
    good = requests["outcome"].isin(_GOOD).to_numpy(dtype=bool)
    return _as_before_s(arrived, good, start_s, fault_s, clear_s, end_s)


def effect_recovery_s(arrived_s: Floats, done_s: Floats, start_s: float, fault_s: float, clear_s: float, end_s: float) -> float:
    """Seconds from the end of the last fault until effects are there as soon as before it, for good; NaN if never.

    *As soon as before*: an effect is in time if it comes no later after the arrival of its request than p99 was of those
    between start_s and fault_s; then the rule of `recovery_s`, with effects in time for good answers. So it tells when a backlog
    is drained: a queue answers its publishers long before that.

    NaN as well where the effect never happened before the fault.

    Args:
        arrived_s: when the requests arrived that asked for it, clock time.
        done_s: when it was there; infinity: never.
        start_s: from when the level before the fault is taken: the end of the warm-up.
        fault_s: when the first fault begins.
        clear_s: when the last one ends.
        end_s: when the measured window ends.
    """
    delay_s = done_s - arrived_s
    before_s = delay_s[(arrived_s >= start_s) & (arrived_s < fault_s) & np.isfinite(done_s)]
    usual_s = float(np.quantile(before_s, 0.99, method="higher")) if len(before_s) else -math.inf
    return _as_before_s(arrived_s, delay_s <= usual_s + _DUST_S, start_s, fault_s, clear_s, end_s)


def _as_before_s(arrived: Floats, good: Any, start_s: float, fault_s: float, clear_s: float, end_s: float) -> float:
    before = (arrived >= start_s) & (arrived < fault_s)
    level = float(good[before].mean()) if before.any() else 0.0
    if level == 0.0 or not clear_s < end_s:
        return math.nan
    bin_s = max(1.0, _PER_BIN * (fault_s - start_s) / int(before.sum()))
    edges = clear_s + bin_s * np.arange(max(1, math.floor((end_s - clear_s) / bin_s + 1e-9)) + 1)
    edges[-1] = end_s  # the rest that makes no bin belongs to the last one
    after = (arrived >= clear_s) & (arrived < end_s)
    asked, answered = (np.histogram(arrived[rows], edges)[0] for rows in (after, after & good))
    chance = _CHANCE * np.sqrt(level * (1 - level) / np.maximum(asked, 1))
    below = np.flatnonzero(answered < asked * (level - np.maximum((1 - AS_BEFORE) * level, chance)))
    if not len(below):
        return 0.0
    last = int(below[-1])
    return math.nan if last == len(asked) - 1 else float(edges[last + 1] - clear_s)
