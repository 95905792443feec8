"""Sensitivity: which uncertain input moves a metric, and which one flips the recommendation, and at what value.

::

    services.payment.operations.charge[0].work    5 ms ─────── 30 ms ──┬────┬── 50 ms
                                                      as written       │    └ from here 'one try' is chosen
                                                                       └ up to here 'three tries' is; between, noise decides

Inputs are moved one at a time between their bounds, with the same seeds everywhere; where the verdict at a bound is another one,
the range up to it is halved until the place is known. `together` moves all at once instead (Morris, Sobol).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sim.analysis.decision import Decision, verdict
from sim.analysis.sensitivity import HIGH, LOW, WRITTEN, swings
from sim.compiled import say_if_slow
from sim.errors import ScenarioError
from sim.scenario.model import Comparison, Scenario
from sim.scenario.settings import Pair, Template, templates_of, tidy
from sim.scenario.words import nearest
from sim.study.bench import AS_WRITTEN, Bench
from sim.study.execute import Workers
from sim.study.experiment import Simulate
from sim.study.measure import require_metrics
from sim.study.points import Given, Range, Settings, axis_of, in_columns, label_of, plainly, unit_of

#: Runs of each point; a verdict of fewer seldom tells candidates apart.
REPLICATIONS: Final = 10
#: How close to a flip the search comes, relative to the way from the written value to the bound.
TOLERANCE: Final = 0.05

#: Told after each run: how many are done of how many that are known to be needed, and the last one.
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What inputs do, one at a time.

    `ends` is the tornado: see `sim.analysis.sensitivity.swings`, with the value of the input in base units and as written, and
    the inputs that flip the recommendation first.
    `flips` has one row per input and bound of a comparison: input, end (low or high), bound, chosen (there; None: nobody),
    keeps_until (the last value with the choice as written), changes_at (the nearest without it), settled_from (from where the
    choice of the bound is made; missing where nobody is chosen there) and why (the verdict at the bound); by these seeds,
    others may put them elsewhere. Without a flip the last four are missing. Numbers are in base units.
    """

    name: str
    question: str
    metric: str
    baseline: str | None
    #: What the verdict chooses with everything as written; None: nobody, or there is one candidate.
    chosen: str | None
    ends: pd.DataFrame
    flips: pd.DataFrame
    #: Runs that were simulated now; others were finished before.
    simulated: int
    units: Mapping[str, str] = field(default_factory=dict)
    #: Whether an interrupt came before every flip was found.
    partial: bool = False


@dataclass(frozen=True)
class _Input:
    """An uncertain input: where it is, between what, and what is written."""

    path: str
    between: Range
    #: As written, in the unit of the range.
    number: Decimal
    written: Any

    def bounds(self) -> tuple[tuple[str, Decimal], ...]:
        """Both ends of the range; without one that is what is written already."""
        both = ((LOW, self.between.low), (HIGH, self.between.high))
        return tuple((end, number) for end, number in both if number != self.number)


def sensitivity(
    source: str | Path | Scenario | Comparison,
    inputs: Mapping[str, Given] | None = None,
    *,
    metric: str = "p99_s",
    of: str = "all",
    baseline: str | None = None,
    condition: str | None = None,
    replications: int = REPLICATIONS,
    tolerance: float = TOLERANCE,
    workers: Workers = None,
    on_progress: Tell | None = None,
    seed: int | None = None,
    duration: str | float | None = None,
    archive: str | Path | None = None,
    simulate: Simulate | None = None,
) -> Sensitivity:
    """Move uncertain inputs one at a time between their bounds: what a metric does, and whether the recommendation changes.

    The recommendation is the verdict of `compare` (objectives, success, latency, over all conditions), whatever the metric is.
    A flip is looked for between the written value and the bound, which takes for granted that there is one on the way. What acts
    only together with another input is not seen: `together` sees it.

    Args:
        source: a scenario (then only the metric counts), or candidates under conditions; a value or a file.
        inputs: path → range such as ``"5ms..50ms"``; the value that is written must lie in it. Absent: the `guesses` of the
            scenarios.
        metric: what the tornado shows: `p99_s`, `mean_s`, `success`, …
        of: all requests, or one operation.
        baseline: the candidate that others are compared with; absent: the first.
        condition: only this one.
        replications: runs of each point; more bring the flips of different seeds closer together.
        tolerance: how close a flip is approached, relative to the way from the written value to the bound.
        workers: see `replicate`.
        on_progress: told after each run.
        seed: instead of `run.seed`.
        duration: measured time, instead of `run.duration`.
        archive: directory of finished runs; absent: nothing is kept.
        simulate: makes one run, instead of `sim.run`; nothing is kept then.

    Raises:
        ScenarioError: an input that leads nowhere, is no number, is not within its range or differs between the scenarios.
    """
    say_if_slow()
    if replications < 2 or not 0 < tolerance < 1:
        raise ScenarioError(f"--replications {replications}, --tolerance {tolerance:g}: at least 2 runs, and for example '5 %'")
    found, templates = chosen_templates(source, condition, duration, metric)
    mine = [
        _input_of(templates, path, given, called(templates, path, inputs))
        for path, given in inputs_or_guesses(templates, inputs).items()
    ]
    names = list(dict.fromkeys(candidate for candidate, _ in templates))
    if baseline is not None and baseline not in names:
        raise ScenarioError(f"--baseline: no candidate {baseline!r}; {nearest(baseline, names)}")
    against = None if len(names) == 1 else baseline or names[0]
    bench = Bench(templates, archive, workers, seed, simulate, on_progress)
    try:
        return _Inquiry(bench, mine, replications, tolerance).carry_out(found, metric, of, against)
    finally:
        bench.close()


def chosen_templates(
    source: str | Path | Scenario | Comparison, condition: str | None, duration: str | float | None, metric: str
) -> tuple[Scenario | Comparison, dict[Pair, Template]]:
    """What a source holds, and the templates of its scenarios, of one condition or all.

    Raises:
        ScenarioError: there is no such condition or metric.
    """
    found, templates = templates_of(source)
    require_metrics(found, (metric,))
    conditions = list(dict.fromkeys(name for _, name in templates))
    if condition is not None:
        if condition not in conditions:
            raise ScenarioError(f"--condition: no condition {condition!r}; {nearest(condition, conditions)}")
        templates = {pair: template for pair, template in templates.items() if pair[1] == condition}
    if duration is not None:
        templates = {pair: template.rebased({"run.duration": duration}) for pair, template in templates.items()}
    return found, templates


def called(templates: Mapping[Pair, Template], path: str, inputs: Mapping[str, Given] | None) -> str:
    """What messages call an input: the option that asked for it, or the guess with its place."""
    if inputs:
        return f"--input {path}"
    return f"{next(iter(templates.values())).where('guesses', path)}guesses.{path}"


def range_of(templates: Mapping[Pair, Template], path: str, given: Given, name: str) -> Range:
    """The range of an input, which messages call `name`.

    Raises:
        ScenarioError: the path leads nowhere, or it is no range.
    """
    shapes = [template.type_of(path) for template in templates.values()]
    try:
        found = axis_of(path, given, shapes[0], sampled=True).range
    except ScenarioError as error:
        raise ScenarioError([f"{name}{message.removeprefix(path)}" for message in error.messages]) from error
    if found is None:
        raise ScenarioError(f"{name}: {given} is no range; write for example {path}=5ms..50ms, without steps")
    return found


def inputs_or_guesses(templates: Mapping[Pair, Template], inputs: Mapping[str, Given] | None) -> dict[str, Given]:
    """The inputs that were asked for; without any, what the scenarios say is guessed.

    Raises:
        ScenarioError: there is nothing; or scenarios guess differently.
    """
    found: dict[str, Given] = {tidy(path): given for path, given in (inputs or {}).items()}
    for template in () if found else templates.values():
        for path, given in template.scenario.guesses.items():
            if found.setdefault(tidy(path), given) != given:
                place = called({("", ""): template}, path, None)
                raise ScenarioError(f"{place}: candidates or conditions differ in it; give --input {path}=RANGE")
    if not found:
        cure = "write for example --input 'load.rate=50/s..200/s', or guesses: {load.rate: 50/s..200/s} into the scenario"
        raise ScenarioError(f"--input: no input; {cure}")
    return found


def require_guesses(source: str | Path | Scenario | Comparison) -> None:
    """Refuse a guess that is no range, and one whose range does not hold what is written.

    Raises:
        ScenarioError: there is one; or the source is wrong.
    """
    problems: list[str] = []
    for pair, template in templates_of(source)[1].items():
        for path, given in template.scenario.guesses.items():
            try:
                _input_of({pair: template}, tidy(path), given, called({pair: template}, tidy(path), None))
            except ScenarioError as error:
                problems += error.messages
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))


def _input_of(templates: Mapping[Pair, Template], path: str, given: Given, name: str) -> _Input:
    between = range_of(templates, path, given, name)
    written = {plainly(value): value for value in (template.value_at(path) for template in templates.values())}
    if len(written) > 1:
        told = ", ".join(list(written)[:3])
        raise ScenarioError(f"{name}: candidates or conditions differ in it ({told}); an input is what all of them share")
    ((text, value),) = written.items()
    if isinstance(value, Mapping) and value:
        raise ScenarioError(f"{name}: is {text} and no number; name the one in it: {path}.{next(iter(value))}")
    low, number, high = in_columns([between.written(between.low), value, between.written(between.high)])
    if value is None or isinstance(number, str):
        raise ScenarioError(f"{name}: is no number as written ({text}); write one into the scenario, within the range")
    if not low <= number <= high:
        raise ScenarioError(f"{name}: {text} is written, which lies outside of {given}; the range has to hold it")
    share = Decimal(repr((number - low) / (high - low)))
    return _Input(path, between, between.rounded(between.low + (between.high - between.low) * share), value)


class _Inquiry:
    """One-at-a-time: the points, their runs, and the search for flips."""

    def __init__(self, bench: Bench, inputs: Sequence[_Input], replications: int, tolerance: float) -> None:
        self._bench, self._inputs, self._replications, self._tolerance = bench, inputs, replications, tolerance
        self._slos = {pair: template.scenario.slos for pair, template in bench.templates.items()}
        self._focus = next(iter(bench.templates.values())).scenario.focus

    def carry_out(self, found: Scenario | Comparison, metric: str, of: str, baseline: str | None) -> Sensitivity:
        points: list[tuple[_Input | None, str, Settings]] = [(None, WRITTEN, {})]
        for one in self._inputs:
            points += [(one, end, {one.path: one.between.written(number)}) for end, number in one.bounds()]
        questions = [(self._bench.scenarios(settings), label_of(settings) or AS_WRITTEN) for _, _, settings in points]
        tables = self._bench.measured_all(questions, self._replications)
        ends = self._tornado(points, tables, metric, of, baseline)
        chosen, partial = None, False
        flips: list[tuple[Any, ...]] = []
        if baseline is not None:
            chosen = self._choice(tables[0])
            try:
                for (moved, end, _), table in zip(points[1:], tables[1:], strict=True):
                    assert moved is not None
                    flips.append(self._flip(moved, end, self._verdict(table), chosen))
            except KeyboardInterrupt:
                partial = True
        columns = ["input", "end", "bound", "chosen", "keeps_until", "changes_at", "settled_from", "why"]
        units = {one.path: unit_of([one.between.written(one.between.low)]) for one in self._inputs}
        table, simulated = pd.DataFrame(flips, columns=columns), self._bench.simulated
        ends = _flipping_first(ends, set(table.loc[table["changes_at"].notna(), "input"]))
        return Sensitivity(found.name, found.question, metric, baseline, chosen, ends, table, simulated, units, partial)

    def _verdict(self, metrics: pd.DataFrame) -> Decision:
        return verdict(metrics, self._slos, focus=self._focus)

    def _choice(self, metrics: pd.DataFrame) -> str | None:
        return self._verdict(metrics).chosen

    def _tornado(
        self,
        points: Sequence[tuple[_Input | None, str, Settings]],
        tables: Sequence[pd.DataFrame],
        metric: str,
        of: str,
        baseline: str | None,
    ) -> pd.DataFrame:
        parts, values = [], []
        for (one, end, settings), table in zip(points, tables, strict=True):
            rows = table[(table["metric"] == metric) & (table["of"] == of)]
            for each in self._inputs if one is None else (one,):
                parts.append(rows.assign(input=each.path, end=end))
                values.append((each.path, end, settings.get(each.path, each.written)))
        rows = pd.concat(parts, ignore_index=True)
        if rows.empty:
            raise ScenarioError(f"--metric: no run has a {metric} of {of!r}")
        written = pd.DataFrame(values, columns=["input", "end", "written"])
        written["value"] = written.groupby("input", sort=False)["written"].transform(lambda some: in_columns(list(some)))
        return swings(rows, baseline).merge(written, on=["input", "end"], how="left")

    def _flip(self, one: _Input, end: str, decided: Decision, chosen: str | None) -> tuple[Any, ...]:
        """Where the choice changes on the way from the written value to a bound, with what is decided there."""
        bound, there = one.between.low if end == LOW else one.between.high, decided.chosen
        row = (one.path, end, _base(one, bound), there)
        if there == chosen:
            return (*row, None, None, None, None)
        keeps, changes = self._border(one, one.number, bound, lambda choice: choice == chosen)
        surely = None
        if there is not None:
            surely = self._border(one, changes, bound, lambda choice: choice != there)[1]
        places = (None if number is None else _base(one, number) for number in (keeps, changes, surely))
        return (*row, *places, decided.reasons[0])

    def _border(self, one: _Input, good: Decimal, bad: Decimal, holds: Callable[[str | None], bool]) -> tuple[Decimal, Decimal]:
        """The last number at which something holds, and the first at which it does not; at `bad` it surely does not."""
        whole_way = abs(bad - one.number)
        if good != one.number and not holds(self._choice_at(one, good)):
            return good, good
        while abs(bad - good) > Decimal(self._tolerance) * whole_way:
            middle = one.between.rounded(one.between.between(min(good, bad), max(good, bad), 0.5))
            if one.between.whole:
                middle = Decimal(int(middle))
            if middle in (good, bad):
                break
            if holds(self._choice_at(one, middle)):
                good = middle
            else:
                bad = middle
        return good, bad

    def _choice_at(self, one: _Input, number: Decimal) -> str | None:
        settings = {one.path: one.between.written(number)}
        return self._choice(self._bench.measured(self._bench.scenarios(settings), label_of(settings), self._replications))


def _flipping_first(ends: pd.DataFrame, flipping: Set[str]) -> pd.DataFrame:
    """The same rows with the inputs that flip the recommendation on top of each candidate and condition."""
    case = ends.groupby(["candidate", "condition"], sort=False, observed=True).ngroup()
    order = pd.DataFrame({"case": case, "later": ~ends["input"].isin(flipping)}).sort_values(["case", "later"], kind="stable")
    return ends.loc[order.index].reset_index(drop=True)


def _base(one: _Input, number: Decimal) -> float:
    """A number of an input in base units."""
    (found,) = in_columns([one.between.written(number)])
    return float(found)
