"""From replications to statements: means with 95 % intervals, and paired differences between candidates.

Replications are independent by construction (one seed each), so Student's t applies to their numbers, whatever happens
inside a run. Requests inside a run are *not* independent: an interval over them would be several times too narrow.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.metrics import COSTS, Floats, is_of_effects, is_ratio
from sim.errors import ScenarioError

CONFIDENCE: Final = 0.95
#: The metrics whose differences a decision is argued with, in this order.
DECIDING: Final = ("success", "goodput_rps", "p99_s", "completeness", "effect_p99_s", "attempts_per_request", "busy_s_per_good")
LOWER: Final = "lower"
HIGHER: Final = "higher"
NO_DIFFERENCE: Final = "no detectable difference"
NO_STATEMENT: Final = "one replication: no interval, no statement"
NOT_COMPARABLE: Final = "not comparable"  # no replication in which both candidates have a value

#: Values that differ by less, relative to the larger one, are the same number.
_ROUNDING: Final = 1e-12

_KEYS = ["candidate", "condition", "metric", "of"]


def t_factor(n: Any, confidence: float = CONFIDENCE) -> Floats:
    """Half width of a two-sided Student t interval in standard errors, for samples of size n (NaN below two).

    >>> float(t_factor(10).round(3))
    2.262
    """
    from scipy.special import stdtrit  # lazily: half a second that a worker process need not pay

    size = np.asarray(n, dtype=float)
    degrees = np.where(size >= 2, size - 1, np.nan)
    return np.asarray(stdtrit(degrees, 0.5 + confidence / 2), dtype=float)


def interval_of(values: pd.api.typing.SeriesGroupBy[Any, Any], confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Mean, low, high, n and standard deviation per group; NaN values are left out and missing from n."""
    found = pd.DataFrame({"mean": values.mean(), "std": values.std(), "n": values.count()})
    # Numbers that are all equal have deviation 0, not the rounding dust of the two-pass formula.
    least, most = values.min(), values.max()
    found["mean"] = found["mean"].mask(least == most, least)
    found["std"] = found["std"].mask((least == most) & (found["n"] >= 2), 0.0)
    half = t_factor(found["n"], confidence) * found["std"] / np.sqrt(found["n"].clip(lower=1))
    found["low"], found["high"] = found["mean"] - half, found["mean"] + half
    return found


def headline(table: pd.DataFrame, focus: str | None) -> pd.Series:
    """Which rows of a table with `metric` and `of` tell the story: those of the focus, and of all where it has none.

    The focus is an entry operation; absent, all requests together. Costs (`COSTS`) are always told as a whole: worker time
    cannot be divided between requests, and one cost of some beside another of all would be compared. Of effects it is the
    worst one; see `each_effect`.

    >>> table = pd.DataFrame({"metric": ["p99_s", "p99_s", "completeness"], "of": ["all", "shop.buy", "all"]})
    >>> headline(table, "shop.buy").tolist()
    [False, True, True]
    """
    of_all = table["of"] == "all"
    if focus is None:
        return of_all
    of_focus = (table["of"] == focus) & ~table["metric"].isin(COSTS)
    return of_focus | (of_all & ~table["metric"].isin(set(table.loc[of_focus, "metric"])))


def each_effect(table: pd.DataFrame, focus: str | None) -> pd.Series:
    """The rows of `headline`, with those of each effect by itself in place of the worst one's.

    >>> table = pd.DataFrame({"metric": ["p99_s", "dead", "dead", "dead"], "of": ["all", "all", "mail.send", "log.keep"]})
    >>> each_effect(table, None).tolist()
    [True, False, True, True]
    """
    of_effects = table["metric"].astype(str).map(is_of_effects).astype(bool)
    return (headline(table, focus) & ~of_effects) | (of_effects & (table["of"] != "all"))


def summarise(per_replication: pd.DataFrame, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Mean over replications with a Student t interval: candidate, condition, metric, of, mean, low, high, n.

    The interval says where the mean over *all* seeds lies, not how much single runs differ. For a percentile the mean is
    that of the replications' percentiles, which is not the percentile of all requests pooled; the two agree when every
    replication is long enough to hold its tail (for p99.9 some ten thousand good answers).

    One replication has a mean and no interval (NaN). A replication without a value (no good answer, so no latency) is
    left out and missing from n: compare n with the number of replications before trusting such a mean. No metric can be
    negative and no ratio above 1, so intervals end there. Where every replication gave exactly the same the interval has
    no width, which is not certainty.

    Args:
        per_replication: columns candidate, condition, replication, metric, of, value.
        confidence: coverage of the intervals.
    """
    groups = per_replication.groupby(_KEYS, sort=False, observed=True)["value"]
    found = possible(interval_of(groups, confidence).reset_index())
    return found[[*_KEYS, "mean", "low", "high", "n"]]


def possible(found: pd.DataFrame) -> pd.DataFrame:
    """Intervals (metric, low, high) that end where the metric can: none is negative, and no ratio above 1."""
    ratio = found["metric"].astype(str).map(is_ratio).to_numpy(dtype=bool)
    low, high = found["low"].clip(lower=0.0), found["high"].mask(ratio, found["high"].clip(upper=1.0))
    return found.assign(low=low, high=high)


def paired_differences(
    per_replication: pd.DataFrame, baseline: str | None = None, *, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Differences to a baseline, replication by replication: candidate minus baseline under the same seed.

    Both saw the same arrivals, work and faults, so chance largely cancels and the interval is narrower than that of two
    separate averages; `variance_reduction` says by how much (variance of an unpaired difference over that of the paired
    one; infinite where all differences are equal). An interval that excludes 0 is a verdict of "lower" or "higher"; one
    that contains it is "no detectable difference", as are differences that are all exactly 0. Replications in which either
    has no value do not count; of one alone nothing can be said ("one replication: no interval, no statement"), and without
    any the verdict is "not comparable".

    Each interval covers with 95 % by itself: of twenty true ties, one will look like a difference. Against several
    candidates `joint_low` and `joint_high` (Bonferroni) cover *all* differences of a metric to the baseline together with 95 %;
    `p_value` is that of the paired t test, and `p_holm` (Holm 1979), never above what Bonferroni allows, says the same of all of
    them: below 0.05 the difference stands also among that many. Both count the candidates under one condition, not the metrics.

    Args:
        per_replication: columns candidate, condition, replication, metric, of, value.
        baseline: the candidate to compare with; by default the first in the table.
        confidence: coverage of each interval.

    Returns:
        condition, metric, of, candidate, baseline, difference, low, high, relative, relative_low, relative_high (all
        three over the baseline's mean, which is taken as known), variance_reduction, n, verdict, joint_low, joint_high, p_value,
        p_holm.

    Raises:
        ScenarioError: the baseline is not in the table.
    """
    known = [str(name) for name in per_replication["candidate"].unique()]
    if baseline is None and known:
        baseline = known[0]
    if baseline not in known:
        raise ScenarioError(f"baseline: no candidate {baseline!r} in the results; known: {', '.join(known) or 'none'}")
    return _differences(_pairs(per_replication, baseline), baseline, confidence)


def _pairs(per_replication: pd.DataFrame, baseline: str) -> pd.DataFrame:
    plain = per_replication.astype({"candidate": str, "condition": str})
    keys = ["condition", "metric", "of", "replication"]
    base = plain.loc[plain["candidate"] == baseline, [*keys, "value"]]
    others = plain[plain["candidate"] != baseline]
    pairs = others.merge(base, on=keys, how="left", suffixes=("", "_base"))
    pairs["difference"] = pairs["value"] - pairs["value_base"]
    # The same numbers added in another order differ in their last digits: that is no difference.
    larger = np.maximum(pairs["value"].abs(), pairs["value_base"].abs())
    pairs.loc[pairs["difference"].abs() <= _ROUNDING * larger, "difference"] = 0.0
    missing = pairs["difference"].isna()
    pairs.loc[missing, ["value", "value_base"]] = np.nan
    return pairs


def _differences(pairs: pd.DataFrame, baseline: str, confidence: float) -> pd.DataFrame:
    groups = pairs.groupby(["condition", "metric", "of", "candidate"], sort=False)
    found = interval_of(groups["difference"], confidence).rename(columns={"mean": "difference"})
    base = interval_of(groups["value_base"], confidence)
    unpaired = interval_of(groups["value"], confidence)["std"] ** 2 + base["std"] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found["variance_reduction"] = unpaired.to_numpy() / found["std"].to_numpy() ** 2
        scale = np.abs(base["mean"].to_numpy())
        for column, source in (("relative", "difference"), ("relative_low", "low"), ("relative_high", "high")):
            found[column] = np.where(scale > 0, found[source].to_numpy() / scale, np.nan)
    cases = [found["n"] == 0, found["n"] == 1, found["high"] < 0, found["low"] > 0]
    found["verdict"] = np.select(cases, [NOT_COMPARABLE, NO_STATEMENT, LOWER, HIGHER], NO_DIFFERENCE)
    columns = ["difference", "low", "high", "relative", "relative_low", "relative_high"]
    found = _jointly(found, confidence).reset_index().assign(baseline=baseline)
    told = ["variance_reduction", "n", "verdict", "joint_low", "joint_high", "p_value", "p_holm"]
    return found[["condition", "metric", "of", "candidate", "baseline", *columns, *told]]


def _jointly(found: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """What can be said of all candidates of a condition and metric at once."""
    from scipy.special import stdtr

    family = [found.index.get_level_values(name) for name in ("condition", "metric", "of")]
    several = (found["n"] >= 2).groupby(family, sort=False).transform("sum").clip(lower=1).to_numpy(dtype=float)
    errors = found["std"].to_numpy() / np.sqrt(found["n"].clip(lower=1).to_numpy())
    difference = found["difference"].to_numpy()
    half = np.full(len(found), np.nan)
    for count in np.unique(several):
        mine = several == count
        half[mine] = t_factor(found["n"].to_numpy()[mine], 1 - (1 - confidence) / count) * errors[mine]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, np.abs(difference) / errors)
        degrees = np.where(found["n"] >= 2, found["n"] - 1, np.nan)
        p_value = np.asarray(2 * stdtr(degrees, -ratio), dtype=float)
    found = found.assign(joint_low=difference - half, joint_high=difference + half, p_value=p_value)
    found["p_holm"] = holm(found["p_value"], found.groupby(family, sort=False).ngroup())
    return found


def holm(p_values: pd.Series[float], family: pd.Series[int]) -> pd.Series[float]:
    """The p values of several tests, so that the chance to call *any* true tie of a family a difference stays below the level.

    The smallest counts as many times as there are tests, the next one time fewer, and so on; none may be below one before it.
    Missing ones (NaN) are no tests.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> holm(pd.Series([0.01, 0.04, 0.03, 0.04]), pd.Series([0, 0, 0, 1])).tolist()
    [0.03, 0.06, 0.06, 0.04]
    """
    there = p_values.dropna().sort_values(kind="stable")
    tests = there.groupby(family)
    times = tests.transform("size") - tests.cumcount()
    return (there * times).groupby(family).cummax().clip(upper=1.0).reindex(p_values.index)
