"""The verdict: which candidate to choose, under each condition and overall, and why, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import pandas as pd

from sim.analysis import words
from sim.analysis.intervals import (
    HIGHER,
    LOWER,
    NO_DIFFERENCE,
    NO_STATEMENT,
    each_effect,
    headline,
    paired_differences,
    summarise,
)
from sim.analysis.metrics import COSTS, effects_in
from sim.analysis.objectives import FAIL, RANK, UNCERTAIN, Objectives, slo_verdicts

#: What decides nothing, and is told where it differs: of each effect, and what all of it cost.
_OF_EFFECTS = ("completeness", "effect_p99_s")
#: A metric, and of which effect (else: all).
_Number = tuple[str, str]


@dataclass(frozen=True)
class Decision:
    """What to choose and why; `chosen` is None when nothing detectable separates the best candidates.

    Printing it gives the reasons, one a line.
    """

    chosen: str | None
    reasons: list[str]
    #: The same for each condition by itself.
    by_condition: dict[str, str | None] = field(default_factory=dict)
    #: Whether the chosen candidate (or each of the best, if none is chosen) surely meets every objective everywhere.
    meets_objectives: bool = True
    #: For each condition under which no candidate is best: why, and what differs between the best all the same.
    ties: dict[str, str] = field(default_factory=dict)
    #: For each other condition: by what the best one is best, and whether that is enough.
    grounds: dict[str, str] = field(default_factory=dict)
    #: Whether nothing detectable separates the best candidates under any condition: then nothing else names one of them, either.
    tied: bool = False

    def __str__(self) -> str:
        return "\n".join(self.reasons)


def verdict(
    per_replication: pd.DataFrame, objectives: Objectives = (), *, latency: str = "p99_s", focus: str | None = None
) -> Decision:
    """Decide between candidates: objectives first, then paired differences in success, then in a latency percentile.

    A candidate that meets every objective under every condition beats one that does not; an uncertain objective stands
    between. Among equals a detectably higher success ratio wins, and only without one a detectably lower latency: who
    fails its slow requests looks fast. Overall, a candidate beats another that it beats under some condition and that
    beats it under none. Costs (attempts, worker time) and effects are told, not weighed: their price is yours to set.

    Args:
        per_replication: columns candidate, condition, replication, metric, of, value.
        objectives: one sequence for all, or a mapping from (candidate, condition) to its own.
        latency: the metric that decides between equal success ratios.
        focus: the entry operation whose requests decide; absent: all requests.
    """
    case = _Case(per_replication, objectives, latency, focus)
    if not case.candidates:
        return Decision(None, ["There are no results to decide on."], {}, False)
    by_condition: dict[str, str | None] = {}
    ties: dict[str, str] = {}
    grounds: dict[str, str] = {}
    details: list[str] = []
    for condition in case.conditions:
        best = case.best((condition,))
        by_condition[condition] = best[0] if len(best) == 1 else None
        if len(best) > 1:
            ties[condition] = _tie(case, best, condition)
        else:
            grounds[condition] = _why(case, best[0], condition)
        details += _condition_reasons(case, condition, best)
    best = case.best(case.conditions)
    meets = all(case.standing(name, case.conditions) == 0 for name in best)
    first = _headline(case, best, by_condition)
    separated = any(case.beats(one, other, condition) for one, other in permutations(best, 2) for condition in case.conditions)
    chosen = best[0] if len(best) == 1 else None
    return Decision(chosen, [first, *details], by_condition, meets, ties, grounds, tied=len(best) > 1 and not separated)


class _Case:
    """The tables of one decision, and the questions asked of them."""

    def __init__(self, per_replication: pd.DataFrame, objectives: Objectives, latency: str, focus: str | None) -> None:
        self.latency = latency
        self.focus = focus
        self.candidates = [str(name) for name in per_replication["candidate"].unique()]
        self.conditions = tuple(str(name) for name in per_replication["condition"].unique())
        self.summary = summarise(per_replication)
        self._headline = headline(self.summary, focus)
        self.judged = slo_verdicts(self.summary, objectives)
        of_effects = [(metric, of) for metric in _OF_EFFECTS for of in effects_in(per_replication)]
        #: What is told: first the two that decide, then what does not.
        self.deciding: list[_Number] = [("success", "all"), (latency, "all")]
        self.aside: list[_Number] = [number for number in of_effects if number[0] != latency]
        self.costs: list[_Number] = [(metric, "all") for metric in COSTS]
        told = {metric for metric, _ in (*self.deciding, *self.aside, *self.costs)}
        rows = per_replication[per_replication["metric"].isin(told) & self._chosen(per_replication)]
        self._differences: dict[tuple[str, ...], Mapping[Any, Any]] = {}
        for baseline in self.candidates if len(rows) else ():
            for row in paired_differences(rows, baseline).to_dict("records"):
                for of in (row["of"], "all"):
                    self._differences.setdefault((row["candidate"], baseline, row["condition"], row["metric"], of), row)
        by_pair = dict(iter(self.judged.groupby(["candidate", "condition"], sort=False)["verdict"]))
        self._ranks = {pair: max(RANK[verdict] for verdict in verdicts) for pair, verdicts in by_pair.items()}

    def _chosen(self, table: pd.DataFrame) -> pd.Series:
        """The rows that are told: each effect by itself, unless the latency that decides is one of effects."""
        by_latency = (table["metric"] == self.latency) & headline(table, self.focus)
        return by_latency | ((table["metric"] != self.latency) & each_effect(table, self.focus))

    def value(self, candidate: str, condition: str, metric: str) -> str:
        """A candidate's value with its interval, in words."""
        table = self.summary
        chosen = (table["candidate"] == candidate) & (table["condition"] == condition)
        row = table[chosen & (table["metric"] == metric) & self._headline]
        if row.empty:
            return "no value"
        return words.with_interval(metric, *(float(row[column].iloc[0]) for column in ("mean", "low", "high")))

    def objectives(self, candidate: str, condition: str) -> pd.DataFrame:
        """The judged objectives of one candidate under one condition."""
        table = self.judged
        return table[(table["candidate"] == candidate) & (table["condition"] == condition)]

    def standing(self, candidate: str, conditions: tuple[str, ...]) -> int:
        """Rank of the worst verdict on any objective: 0 all pass, 1 uncertain, 2 one fails."""
        return max((self._ranks.get((candidate, condition), 0) for condition in conditions), default=0)

    def difference(self, one: str, other: str, condition: str, number: _Number) -> Mapping[Any, Any] | None:
        """The paired difference `one` minus `other`, if both have the number."""
        return self._differences.get((one, other, condition, *number))

    def beats(self, one: str, other: str, condition: str) -> bool:
        """Whether `one` is better under one condition: in its objectives, else in success, else in latency."""
        ranks = self.standing(one, (condition,)), self.standing(other, (condition,))
        if ranks[0] != ranks[1]:
            return ranks[0] < ranks[1]
        success = self.difference(one, other, condition, self.deciding[0])
        if success is not None and success["verdict"] in (LOWER, HIGHER):
            return bool(success["verdict"] == HIGHER)
        latency = self.difference(one, other, condition, self.deciding[1])
        return latency is not None and bool(latency["verdict"] == LOWER)

    def name(self, number: _Number) -> str:
        """A number's metric in words."""
        return words.metric_words(*number) + words.of_whom(number[0], self.focus)

    def is_silent(self, names: list[str], condition: str) -> bool:
        """Whether one replication is all there is, so that nothing can be said between these candidates."""
        rows = [self.difference(names[0], other, condition, self.deciding[0]) for other in names[1:]]
        return all(row is not None and row["verdict"] == NO_STATEMENT for row in rows)

    def differing(self, names: list[str], condition: str) -> dict[str, list[_Number]]:
        """What differs between the first of these candidates and each other, although it decides nothing."""
        found: dict[str, list[_Number]] = {}
        for other in names[1:]:
            for number in (*self.aside, *self.costs):
                row = self.difference(names[0], other, condition, number)
                if row is not None and row["verdict"] in (LOWER, HIGHER):
                    found.setdefault(other, []).append(number)
        return found

    def best(self, conditions: tuple[str, ...]) -> list[str]:
        """The candidates that nothing beats: one is a choice, several are a tie or a trade."""
        ranks = {name: self.standing(name, conditions) for name in self.candidates}
        contenders = [name for name in self.candidates if ranks[name] == min(ranks.values())]

        def dominated(name: str) -> bool:
            return any(
                any(self.beats(rival, name, c) for c in conditions) and not any(self.beats(name, rival, c) for c in conditions)
                for rival in contenders
                if rival != name
            )

        return [name for name in contenders if not dominated(name)] or contenders


def _headline(case: _Case, best: list[str], by_condition: dict[str, str | None]) -> str:
    has_objectives = len(case.judged) > 0
    everywhere = " under every condition" if len(case.conditions) > 1 else ""
    rank = case.standing(best[0], case.conditions)
    known = {
        0: f"all objectives are met{everywhere}",
        1: "it may miss an objective, and no other surely meets all",
        2: "no candidate meets all objectives",
    }
    if len(case.candidates) == 1:
        told = {**known, 1: "not every objective is surely met", 2: "but it misses objectives"}
        return f"{best[0]} is the only candidate" + (f": {told[rank]}." if has_objectives else ".")
    if len(best) == 1:
        bad = " as the least bad" if has_objectives and rank else ""
        return f"{best[0]} is chosen{bad}" + (f": {known[rank]}." if has_objectives else ".")
    winners = {name for name in by_condition.values() if name is not None}
    if len(winners) > 1:
        parts = [f"{name or 'no candidate'} under {condition}" for condition, name in by_condition.items()]
        return f"No candidate is best under every condition: {words.listing(parts)}."
    if all(case.is_silent(best, condition) for condition in case.conditions):
        return f"One replication says nothing about {words.listing(best)}: no interval, no statement; run more, 10 for a start."
    if favours := _favours(case, best):
        return f"What is better differs: {favours}: yours to weigh."
    found = [numbers for condition in case.conditions for numbers in case.differing(best, condition).values()]
    differing = [case.name(one) for one in (*case.aside, *case.costs) if any(one in numbers for numbers in found)]
    aside = f" What differs is {words.listing(differing)}: yours to weigh." if differing else ""
    return f"There is {NO_DIFFERENCE} between {words.listing(best)} by which to choose.{aside}"


def _favours(case: _Case, best: list[str]) -> str:
    """Which condition favours whom over whom, of the best; empty where none beats another anywhere."""
    parts = []
    for condition in case.conditions:
        beaten: dict[str, list[str]] = {}
        for one, other in permutations(best, 2):
            if case.beats(one, other, condition):
                beaten.setdefault(one, []).append(other)
        parts += [f"{condition} favours {one} over {words.listing(others)}" for one, others in beaten.items()]
    return "; ".join(parts)


def _tie(case: _Case, best: list[str], condition: str) -> str:
    """Why none of these is best under a condition, and what differs all the same."""
    if case.is_silent(best, condition):
        return NO_STATEMENT
    if any(case.beats(one, other, condition) for one, other in permutations(best, 2)):
        return f"none of {words.listing(best)} beats all others"
    deciding = words.listing([case.name(number) for number in case.deciding])
    text = f"{NO_DIFFERENCE} between {words.listing(best)} in {deciding}"
    told = []
    for other, numbers in case.differing(best, condition).items():
        changes = []
        for number in numbers:
            row = case.difference(best[0], other, condition, number)
            assert row is not None
            changes.append(f"{case.name(number)} {words.change(row)}")
        told.append(f"{words.listing(changes)} ({best[0]} against {other})")
    missed = "" if case.standing(best[0], (condition,)) < RANK[FAIL] else "; all miss objectives"
    return f"{text}{missed}" + (f"; what differs: {'; '.join(told)}" if told else "")


def _condition_reasons(case: _Case, condition: str, best: list[str]) -> Iterator[str]:
    prefix = f"{condition}: " if len(case.conditions) > 1 else ""
    for name in case.candidates:
        text = _objective_words(case, name, condition)
        if text:
            yield f"{prefix}{name} {text}."
    if len(case.candidates) > 1:
        if len(best) == 1:
            yield f"{prefix}{best[0]} is best{_why(case, best[0], condition)}."
        else:
            yield f"{prefix}{_tie(case, best, condition)}."
        for name in case.candidates:
            if name != best[0]:
                yield f"{prefix}{best[0]} against {name}: {_difference_words(case, best[0], name, condition)}."
    for name in case.candidates:
        price = "; ".join(f"{case.name(cost)} {case.value(name, condition, cost[0])}" for cost in case.costs)
        yield f"{prefix}price of {name}: {price}."


def _why(case: _Case, winner: str, condition: str) -> str:
    others = [name for name in case.candidates if name != winner]
    rank = case.standing(winner, (condition,))
    equals = [name for name in others if case.standing(name, (condition,)) == rank]
    if not equals:
        return ", the only one that meets every objective" if rank == 0 else ", by its objectives" if others else ""
    success, latency = case.deciding
    rows = [case.difference(winner, other, condition, success) for other in equals]
    decided = {success if row is not None and row["verdict"] == HIGHER else latency for row in rows}
    by = words.listing([case.name(number) for number in case.deciding if number in decided])
    return f", by {by}{_all_miss(rank)}"


def _all_miss(rank: int) -> str:
    """What is said where the best of them miss an objective all the same."""
    return ", though it misses objectives, as all do" if rank == RANK[FAIL] else ""


def _objective_words(case: _Case, candidate: str, condition: str) -> str:
    judged = case.objectives(candidate, condition)
    if judged.empty:
        return ""
    texts = []
    for state, word in ((FAIL, "misses"), (UNCERTAIN, "may or may not meet")):
        rows = judged[judged["verdict"] == state]
        named = [
            f"{row['slo']} ({words.with_interval(row['metric'], row['value'], row['low'], row['high'])})"
            for row in rows.to_dict("records")
        ]
        if named:
            texts.append(f"{word} {words.listing(named)}")
    if not texts:
        return "meets its objective" if len(judged) == 1 else f"meets all {len(judged)} objectives"
    return " and ".join(texts)


def _difference_words(case: _Case, one: str, other: str, condition: str) -> str:
    parts = []
    for number in (*case.deciding, *case.aside):
        row = case.difference(one, other, condition, number)
        if row is None:
            continue
        change = words.change(row)
        verdict_words = "" if change == words.SAME else f" ({row['verdict']})"
        parts.append(f"{case.name(number)} {change}{verdict_words}")
    return "; ".join(parts)
