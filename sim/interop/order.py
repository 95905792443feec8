"""In which order a visit makes its calls: runs of one target, and loops over several, as one template for all visits.

::

    recorded      quote price product price product price      quote price      quote price product price
    loop          quote (price product)x2 price                quote (..)x0 price   quote (price product)x1 price
    template      quote, repeat [price, product] {0: 1, 1: 1, 2: 1}, price

Order matters where a callee stands still under load: calls that come 100 ms apart wait less than the same calls in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: Longer rounds are not looked for.
_LONGEST = 6
#: A round is one if at least this share of the visits runs it twice or more in a row,
_LEAST_LOOPS = 0.1
#: and a target has runs of their own if this share of its callers make the same number of them.
_SAME_RUNS = 0.9

#: Targets of one round; a plain call is a round of one.
Round = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A part of the template: a round, and how often each visit ran it at this place, in the order of the visits."""

    round: Round
    times: tuple[int, ...]


def template_of(sequences: Sequence[Sequence[str]]) -> list[Part]:
    """The parts of recorded sequences of targets, in order of their mean place.

    Targets with runs at several places get a part for each run, unless the number of runs varies: then all calls count at the
    first place.

    >>> [(part.round, part.times) for part in template_of(["qppp", "qpp"])]
    [(('q',), (1, 1)), (('p',), (3, 2))]
    >>> [(part.round, part.times) for part in template_of(["qpxpxp", "qpxpxp", "qp"])]
    [(('q',), (1, 1, 1)), (('p', 'x'), (2, 2, 0)), (('p',), (1, 1, 1))]
    >>> [(part.round, part.times) for part in template_of(["pqppp", "pqppp"])]
    [(('p',), (1, 1)), (('q',), (1, 1)), (('p',), (3, 3))]
    """
    folded: list[list[Round]] = [[(target,) for target in sequence] for sequence in sequences]
    while (found := _loop(folded)) is not None:
        folded = [_fold(sequence, found) for sequence in folded]
    runs = [_runs(sequence) for sequence in folded]
    apart = _apart(runs)
    places: dict[tuple[Round, int], list[int]] = {}
    counts: list[Counter[tuple[Round, int]]] = []
    for sequence in runs:
        seen: Counter[Round] = Counter()
        count: Counter[tuple[Round, int]] = Counter()
        for what, number in sequence:
            which = what, seen[what] if what in apart else 0
            if which not in count:
                places.setdefault(which, []).append(len(count))
            count[which] += number
            seen[what] += 1
        counts.append(count)
    ordered = sorted(places, key=lambda which: (sum(places[which]) / len(places[which]), which))
    return [Part(which[0], tuple(count[which] for count in counts)) for which in ordered]


def _loop(sequences: Sequence[Sequence[Round]]) -> Round | None:
    """The round of different targets that most visits run twice or more in a row, the shortest of them."""
    votes: Counter[Round] = Counter()
    for sequence in sequences:
        first = next((found for length in range(2, _LONGEST + 1) if (found := _repeated(sequence, length))), None)
        if first is not None:
            votes[first] += 1
    if not votes:
        return None
    (found, visits), *_ = votes.most_common()
    return found if visits >= max(2, _LEAST_LOOPS * len(sequences)) else None


def _repeated(sequence: Sequence[Round], length: int) -> Round | None:
    for i in range(len(sequence) - 2 * length + 1):
        once = sequence[i : i + length]
        if len(set(once)) == length and all(len(what) == 1 for what in once) and once == sequence[i + length : i + 2 * length]:
            return tuple(target for (target,) in once)
    return None


def _fold(sequence: Sequence[Round], found: Round) -> list[Round]:
    singles = [(target,) for target in found]
    folded: list[Round] = []
    i = 0
    while i < len(sequence):
        if list(sequence[i : i + len(found)]) == singles:
            folded.append(found)
            i += len(found)
        else:
            folded.append(sequence[i])
            i += 1
    return folded


def _runs(sequence: Sequence[Round]) -> list[tuple[Round, int]]:
    runs: list[tuple[Round, int]] = []
    for what in sequence:
        if runs and runs[-1][0] == what:
            runs[-1] = what, runs[-1][1] + 1
        else:
            runs.append((what, 1))
    return runs


def _apart(runs: Sequence[Sequence[tuple[Round, int]]]) -> set[Round]:
    """What visits run at several places, almost always at equally many."""
    numbers: dict[Round, Counter[int]] = {}
    for sequence in runs:
        for what, number in Counter(what for what, _ in sequence).items():
            numbers.setdefault(what, Counter())[number] += 1
    return {what for what, counter in numbers.items() if max(counter.values()) >= _SAME_RUNS * counter.total()}
