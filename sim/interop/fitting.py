"""Numbers into the scenario language: recorded seconds as a law, recorded calls as steps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.interop.order import template_of
from sim.interop.spans import RecordedCall, RecordedVisit

#: Denser in the tail, where the straight lines between quantiles are longest.
_PROBABILITIES = (
    *(0.0, 0.02),
    *(step / 20 for step in range(1, 19)),
    *(0.925, 0.95, 0.965, 0.98, 0.99, 0.995, 0.999, 1.0),
)
#: Up to here every single value is kept.
_FEW = 40
#: Two calls ran at the same time if they share more than this part of the shorter one.
_OVERLAP = 0.1


def milliseconds(seconds: float) -> str:
    """Seconds as text for a scenario, to three digits.

    >>> milliseconds(0.0042137), milliseconds(1.8436), milliseconds(0)
    ('4.21ms', '1840ms', '0ms')
    """
    rounded = float(f"{seconds * 1e3:.3g}")
    if rounded <= 0:
        return "0ms"
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(rounded)))}f}ms"


def quantiles_of(seconds: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities and values of an empirical law: straight lines between some thirty quantiles, or up to 40 single values.

    The i-th of n values stands at probability (i - ½)/n (Hazen), flat at both ends, so that no value counts more than another.

    >>> [list(map(float, part)) for part in quantiles_of([0.004, 0.002])]
    [[0.0, 0.25, 0.75, 1.0], [0.002, 0.002, 0.004, 0.004]]
    """
    values = np.maximum(np.asarray(seconds, dtype=float), 0.0)
    if not len(values):
        raise ValueError("a law needs at least one recorded value")
    few = len(values) <= _FEW
    inner = (np.arange(len(values)) + 0.5) / len(values) if few else np.array(_PROBABILITIES[1:-1])
    probabilities = np.concatenate([[0.0], inner, [1.0]])
    return probabilities, np.quantile(values, probabilities, method="hazen")


def law_of(seconds: ArrayLike) -> Any:
    """An empirical law as data for a scenario, to three digits: `quantiles_of`, or a constant if all values are alike.

    >>> law_of([0.004, 0.002])
    {'quantiles': {'p0': '2.00ms', 'p25': '2.00ms', 'p75': '4.00ms', 'p100': '4.00ms'}}
    """
    probabilities, values = quantiles_of(seconds)
    texts = [milliseconds(value) for value in values]
    if texts[0] == texts[-1]:
        return texts[0]
    return {"quantiles": {f"p{100 * p:.4g}": text for p, text in zip(probabilities, texts, strict=True)}}


def one_way_s(round_trips_s: ArrayLike) -> NDArray[np.float64]:
    """One-way times of which two independent draws have the mean and the variance of the recorded round trips.

    Halves would have the right mean and half of the variance, so their spread is widened by √2 around the mean. Times
    below zero become zero, the mean is kept. Not for long tails, which would squeeze the rest: cut them off first.
    """
    values = np.asarray(round_trips_s, dtype=float)
    mean = values.mean() / 2
    wide = np.maximum(0.0, mean + (values - values.mean()) / math.sqrt(2))
    return np.asarray(wide * (mean / wide.mean()) if wide.mean() > 0 else wide)


def steps_of(visits: Sequence[RecordedVisit], rename: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """The calls of one operation as steps: in the order in which they usually begin, in parallel where they overlap.

    How often a target is called follows the recorded counts; counts of different steps are taken as independent. Calls one after
    the other follow `sim.interop.order`: runs of one target, and loops. Targets whose calls overlap in at least half of the
    visits that make both run in parallel; where any do, all calls to one target are one step.

    Args:
        visits: recorded runs of the operation, at least one.
        rename: gives a called operation another name.
    """
    counted = [Counter(call.target for call in visit.calls) for visit in visits]
    order = _order(visits)
    together, overlapping = _overlaps(visits)

    def in_parallel(one: str, other: str) -> bool:
        pair = (min(one, other), max(one, other))
        return overlapping[pair] * 2 >= together[pair] > 0

    def step(target: str) -> dict[str, Any]:
        counts = Counter(visit[target] for visit in counted)
        parallel = {"in_parallel": True} if in_parallel(target, target) else {}
        return {"call": rename(target), **_count(counts), **parallel}

    if not any(in_parallel(one, other) for one in order for other in order):
        return _in_a_row(visits, rename)
    steps: list[dict[str, Any]] = []
    left = list(order)
    while left:
        group = _connected(left, in_parallel)
        left = [target for target in left if target not in group]
        branches: list[list[str]] = []
        for target in group:
            # A branch is a sequence: the first one with which the target never overlaps.
            free = (branch for branch in branches if not any(in_parallel(target, other) for other in branch))
            branch = next(free, None)
            if branch is None:
                branches.append([target])
            else:
                branch.append(target)
        if len(branches) == 1:
            steps.extend(step(target) for target in branches[0])
        else:
            steps.append({"parallel": [[step(target) for target in branch] for branch in branches]})
    return steps


def _in_a_row(visits: Sequence[RecordedVisit], rename: Callable[[str], str]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for part in template_of([[call.target for call in visit.calls] for visit in visits]):
        counts = Counter(part.times)
        if len(part.round) == 1:
            steps.append({"call": rename(part.round[0]), **_count(counts)})
        else:
            (count,) = counts if len(counts) == 1 else [{number: counts[number] for number in sorted(counts)}]
            steps.append({"repeat": [{"call": rename(target)} for target in part.round], "count": count})
    return steps


def _order(visits: Sequence[RecordedVisit]) -> list[str]:
    """Targets by the mean place of their first call among the targets of a visit."""
    places: dict[str, list[int]] = {}
    for visit in visits:
        for place, target in enumerate(dict.fromkeys(call.target for call in visit.calls)):
            places.setdefault(target, []).append(place)
    return sorted(places, key=lambda target: (float(np.mean(places[target])), target))


def _overlaps(visits: Sequence[RecordedVisit]) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """In how many visits a pair of targets was called, and in how many of these at the same time."""
    together: Counter[tuple[str, str]] = Counter()
    overlapping: Counter[tuple[str, str]] = Counter()
    for visit in visits:
        both: set[tuple[str, str]] = set()
        at_once: set[tuple[str, str]] = set()
        for i, one in enumerate(visit.calls):
            for other in visit.calls[i + 1 :]:
                pair = (min(one.target, other.target), max(one.target, other.target))
                both.add(pair)
                if _overlap(one, other):
                    at_once.add(pair)
        together.update(both)
        overlapping.update(at_once)
    return together, overlapping


def _overlap(one: RecordedCall, other: RecordedCall) -> bool:
    shared_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    return shared_s > _OVERLAP * min(one.seconds, other.seconds)


def _connected(targets: list[str], linked: Callable[[str, str], bool]) -> list[str]:
    """The first target and all that are linked to it, directly or through others, in order."""
    group, fringe = {targets[0]}, [targets[0]]
    while fringe:
        one = fringe.pop()
        found = [other for other in targets if other not in group and linked(one, other)]
        group.update(found)
        fringe.extend(found)
    return [target for target in targets if target in group]


def _count(counts: Counter[int]) -> dict[str, Any]:
    if len(counts) == 1:
        (count,) = counts
        return {} if count == 1 else {"count": count}
    if set(counts) == {0, 1}:
        return {"probability": f"{100 * counts[1] / counts.total():.3g} %"}
    return {"count": {count: counts[count] for count in sorted(counts)}}
