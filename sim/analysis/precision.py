"""How precise a number shall be, written as a sentence, and how many replications that takes: ``p99 ± 2 %``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from sim import units
from sim.analysis.intervals import summarise
from sim.analysis.metrics import is_ratio, percentile_name
from sim.errors import ScenarioError

_FORM: Final = re.compile(
    r"(?P<effect>effect\s+)?(?P<metric>success|goodput|completeness|mean|recovery|p\d{1,2}(?:\.\d+)?)"
    r"(?:\s+of\s+(?P<of>\S+))?\s*(?:±|\+/?-)\s*(?P<amount>.+)"
)
_EXAMPLE: Final = "'p99 ± 2 %', 'success ± 0.1 %' or 'mean of shop.buy ± 1ms'"
#: In one step at most so many times what there is: the spread of a few replications is not known well.
_STEP: Final = 2.0


@dataclass(frozen=True)
class Precision:
    """Half the width that the 95 % interval of a metric may have: absolute in base units, or relative to the value."""

    text: str
    metric: str
    of: str
    half: float
    relative: bool

    def reached(self, row: pd.Series) -> bool:
        """Whether a row of a summary (mean, low, high) is as precise."""
        return self._half_of(row) <= self._wanted(row)

    def needed(self, row: pd.Series) -> int:
        """About how many replications it takes, at most twice as many as there were; more than these while it is not reached.

        The width of an interval falls with the root of their number. Without a value or an interval: twice as many.
        """
        count = max(2, int(row["n"]))
        if self.reached(row):
            return count
        half, wanted = self._half_of(row), self._wanted(row)
        if not (math.isfinite(half) and wanted > 0):
            return math.ceil(_STEP * count)
        return max(count + 1, min(math.ceil(_STEP * count), math.ceil(1.1 * count * (half / wanted) ** 2)))

    def _wanted(self, row: pd.Series) -> float:
        return self.half * abs(float(row["mean"])) if self.relative else self.half

    def _half_of(self, row: pd.Series) -> float:
        # The interval of a ratio ends at 0 and 1; its wider side tells how precise it is.
        half = max(float(row["high"]) - float(row["mean"]), float(row["mean"]) - float(row["low"]))
        return half if half == half else math.inf


def precision_of(text: str) -> Precision:
    """Read how precise something shall be.

    Percent of a time or rate is relative to it; of a ratio (success, completeness) it is percentage points.

    Raises:
        ScenarioError: it is no such sentence.

    >>> precision_of("p99 ± 2 %")
    Precision(text='p99 ± 2 %', metric='p99_s', of='all', half=0.02, relative=True)
    >>> precision_of("success of shop.buy +- 0.1 %").half, precision_of("mean ± 5ms").half
    (0.001, 0.005)
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ScenarioError(f"--until {text!r}: write for example {_EXAMPLE}")
    word, amount = found["metric"], found["amount"].strip()
    name = {"success": "success", "completeness": "completeness", "goodput": "goodput_rps", "recovery": "recovery_s"}.get(word)
    if name is None:
        plain = word if word == "mean" else percentile_name(float(word[1:]))
        name = f"{'effect_' if found['effect'] else ''}{plain}_s"
    kind = "ratio" if amount.endswith("%") or is_ratio(name) else "rate" if name == "goodput_rps" else "duration"
    try:
        half = units.parse(amount, kind, bare_numbers=False)
    except ValueError as exc:
        raise ScenarioError(f"--until {text!r}: {exc}; write for example {_EXAMPLE}") from exc
    if not half > 0:
        raise ScenarioError(f"--until {text!r}: the width must be above zero")
    return Precision(text.strip(), name, found["of"] or "all", half, kind == "ratio" and not is_ratio(name))


def replications_needed(per_replication: pd.DataFrame, wanted: Precision) -> tuple[int, bool]:
    """How many replications all candidates and conditions need, about, and whether that is what there are: (count, reached).

    Stopping at the first narrow interval makes intervals slightly too optimistic, as chance may have made it narrow; with
    ten or more replications to begin with, 95 % become some 94 %.

    Source: Law, "Simulation Modeling and Analysis", 5th ed., 9.4.1 (the sequential procedure); Chow and Robbins (1965).

    Raises:
        ScenarioError: no run has this metric.
    """
    mine = per_replication[(per_replication["metric"] == wanted.metric) & (per_replication["of"] == wanted.of)]
    if mine.empty:
        raise ScenarioError(f"--until {wanted.text!r}: no run has a {wanted.metric} of {wanted.of!r}")
    rows = summarise(mine)
    counts = [wanted.needed(row) for _, row in rows.iterrows()]
    return int(np.max(counts)), all(wanted.reached(row) for _, row in rows.iterrows())
