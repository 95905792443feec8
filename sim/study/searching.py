"""Searches: how far a setting can go until objectives are missed, or until a system no longer recovers by itself.

::

    load.rate   50 ──────────────┬────┬─┬──┬───────────── 400 /s
                ok               ok   ok×  ×              ×        each probe halves what is left

A probe is a handful of runs with the same seeds as all others; where they do not say clearly on which side it lies, it gets
more. Finished runs are kept in the archive of the sweeps, so a search that is repeated or refined simulates only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sim.analysis.intervals import summarise
from sim.analysis.objectives import FAIL, PASS, RANK, UNCERTAIN, slo_verdicts
from sim.compiled import say_if_slow
from sim.errors import ScenarioError
from sim.scenario.doubts import doubts_of_points, overloads
from sim.scenario.model import Comparison, Scenario
from sim.scenario.settings import Pair, Template, lasting, templates_of, tidy
from sim.study.bench import Bench
from sim.study.execute import Workers
from sim.study.experiment import Simulate
from sim.study.measure import trouble_of
from sim.study.points import Axis, Given, Range, Settings, axis_in, in_columns, label_of, unit_of

#: Runs of a probe to begin with, and at most.
REPLICATIONS: Final = 5
AT_MOST: Final = 40
#: How close to the border a search comes, relative to the value.
TOLERANCE: Final = 0.02
#: A probe has recovered, or has not, if chance alone (one half) would say so no more often than this.
_CHANCE: Final = 0.05

#: Told before each probe: what is asked, and how many runs were made until now.
Tell = Callable[[str, int], None]


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    `borders` has one row per candidate and value of `over`: candidate, the setting of `over`, `best` (the last value that is
    good; NaN: none in the range), `fails_at` (the nearest that is not; NaN: all are good), `best_written`, `sure` (whether both
    were clear), `limit` (what is missed at `fails_at`) and `probes`. `probes` has one row per probe: candidate, the settings
    (numbers in base units), replications, verdict (pass, fail; uncertain ones count by their mean), sure, why. `doubts` is what
    ``sim check`` doubts at the borders.
    """

    name: str
    question: str
    path: str
    largest: bool
    over: str | None
    borders: pd.DataFrame
    probes: pd.DataFrame
    #: Runs that were simulated now; others were finished before.
    simulated: int
    units: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False
    doubts: tuple[str, ...] = ()


def search(
    source: str | Path | Scenario | Comparison,
    *,
    largest: Mapping[str, Given] | None = None,
    smallest: Mapping[str, Given] | None = None,
    over: Mapping[str, Given] | None = None,
    recovers: bool = False,
    replications: int = REPLICATIONS,
    at_most: int = AT_MOST,
    tolerance: float = TOLERANCE,
    workers: Workers = None,
    on_probe: Tell | None = None,
    seed: int | None = None,
    duration: str | float | None = None,
    archive: str | Path | None = None,
    simulate: Simulate | None = None,
) -> Search:
    """Find the largest (or smallest) value of a setting with which a candidate meets all objectives under all conditions.

    It halves a range, so it takes for granted that there is one border in it: all is good on one side, nothing on the
    other. A p99 over a number of retries may rise and fall again; sweep such a setting instead. All probes have the same seeds,
    so that the border is not blurred by different arrivals; a probe whose intervals leave an objective open gets more runs until
    it is clear or has `at_most`; then its mean counts, and `sure` is False. Runs end: what gets more work than it can do may
    meet its objectives until they are missed later, so read `Search.doubts`, and search with a longer duration.

    Args:
        source: a scenario, or candidates under conditions; a value or a file.
        largest: one path → range such as ``"50/s..400/s"``, or ``"1s..100s log"``: good below the border.
        smallest: the same, good above it: replicas, workers, timeouts.
        over: one more path → values: a search for each of them, which gives a border line.
        recovers: instead of the objectives: good is where, after the last fault, users are served as before, for good
            (`recovery_s` has a value) in more than half of the runs: the border of the metastable region.
        replications: runs of each probe to begin with.
        at_most: runs of a probe that stays unclear.
        tolerance: how close the border is approached, relative to it; whole numbers to 1.
        workers: see `replicate`.
        on_probe: told what is asked, before each probe.
        seed: instead of `run.seed`.
        duration: measured time, instead of `run.duration`.
        archive: directory of finished runs; absent: nothing is kept.
        simulate: makes one run, instead of `sim.run`; nothing is kept then.

    Raises:
        ScenarioError: no range or two, a path that leads nowhere, no objectives, or no fault to recover from; before any run.
    """
    say_if_slow()
    path, given = _one("largest or smallest", largest or smallest)
    if largest and smallest:
        raise ScenarioError("--largest and --smallest: one of them; values of another setting go into --over")
    _require_numbers(tolerance, replications, at_most)
    found, templates = templates_of(source)
    templates = lasting(templates, duration)
    between = _range_of(templates, path, given)
    along = _values_of(templates, over) if over else None
    for pair, template in templates.items():
        _require_goal(template.scenario, pair, recovers)
    bench = Bench(templates, archive, workers, seed, simulate)
    hunt = _Hunt(bench, path, between, largest is not None, recovers, replications, at_most, tolerance, on_probe)
    return hunt.search(found, along)


def _require_numbers(tolerance: float, replications: int, at_most: int) -> None:
    if not 0 < tolerance < 1:
        raise ScenarioError(f"--tolerance {tolerance:g}: write for example '2 %'")
    if not 2 <= replications <= at_most:
        raise ScenarioError(f"--replications {replications}: a probe needs from 2 to {at_most} (--at-most) runs")


def _one(what: str, given: Mapping[str, Given] | None) -> tuple[str, Given]:
    if not given or len(given) != 1:
        raise ScenarioError(f"--{what.replace(' or ', ' or --')}: write one PATH=RANGE, for example 'load.rate=50/s..400/s'")
    ((path, values),) = given.items()
    return tidy(path), values


def _range_of(templates: Mapping[Pair, Template], path: str, given: Given) -> Range:
    axis = axis_in(templates, path, given, sampled=True)
    if axis.range is None:
        raise ScenarioError(f"{path}: {given} is no range to search in; write for example {path}=50/s..400/s, without steps")
    return axis.range


def _values_of(templates: Mapping[Pair, Template], over: Mapping[str, Given]) -> Axis:
    path, given = _one("over", over)
    return axis_in(templates, path, given, sampled=False)


def _require_goal(scenario: Scenario, pair: Pair, recovers: bool) -> None:
    if recovers and trouble_of(scenario) is None:
        raise ScenarioError(
            f"--recovers: {' under '.join(pair)} has no fault that begins after the warm-up and ends before the run does; "
            "add one: faults: [{outage: payment, at: 20s, for: 5s}]"
        )
    if not recovers and not scenario.slos:
        raise ScenarioError(f"{' under '.join(pair)} has no slos to meet; add some, for example slos: [p99 <= 300ms]")


@dataclass(frozen=True)
class _Border:
    """Between which probes the border of a candidate lies, beside which value of another setting, and how many it took."""

    candidate: str
    beside: Settings
    good: _Probe | None
    bad: _Probe | None
    probes: int


@dataclass(frozen=True)
class _Probe:
    """What was asked at one point, and what came out."""

    candidate: str
    settings: Settings
    replications: int
    good: bool
    sure: bool
    why: str


class _Hunt:
    """The search itself: what is asked next, and what has come out."""

    def __init__(
        self,
        bench: Bench,
        path: str,
        between: Range,
        largest: bool,
        recovers: bool,
        replications: int,
        at_most: int,
        tolerance: float,
        tell: Tell | None,
    ) -> None:
        self.probes: list[_Probe] = []
        self._bench, self._path, self._between, self._largest, self._recovers = bench, path, between, largest, recovers
        self._first, self._at_most, self._tolerance, self._tell = replications, at_most, tolerance, tell
        self._borders: list[_Border] = []

    def search(self, found: Scenario | Comparison, along: Axis | None) -> Search:
        """Find the border of every candidate at every value of another setting, as far as nobody interrupts it."""
        partial = False
        try:
            for value in along.values if along is not None else (None,):
                beside = {} if along is None else {along.path: value}
                for candidate in dict.fromkeys(name for name, _ in self._bench.templates):
                    before = len(self.probes)
                    good, bad = self._border(candidate, beside)
                    self._borders.append(_Border(candidate, beside, good, bad, len(self.probes) - before))
        except KeyboardInterrupt:
            if not self.probes:
                raise
            partial = True
        finally:
            self._bench.close()
        over = None if along is None else along.path
        settings = [self._path] if over is None else [over, self._path]
        units = {name: unit_of([probe.settings[name] for probe in self.probes]) for name in settings if self.probes}
        tables = self._borders_table(over), self._probes_table(settings)
        return Search(
            found.name, found.question, self._path, self._largest, over, *tables, self._bench.simulated, units, partial,
            self._doubts(),
        )  # fmt: skip

    def _doubts(self) -> tuple[str, ...]:
        """What arithmetic alone says about the last good values; of an overload, that only the end of the run hides it."""
        several = len({candidate for candidate, _ in self._bench.templates}) > 1
        points, short = [], set()
        for border in self._borders:
            if border.good is None:
                continue
            label = f"{f'{border.candidate}, ' if several else ''}{label_of(border.good.settings)}"
            for scenario in self._bench.scenarios(border.good.settings, border.candidate).values():
                points.append((label, scenario))
                short.update(overloads(scenario))
        found = doubts_of_points(points)
        hint = "; what was searched for holds only because the run is short: give a longer --duration"
        return tuple(doubt + hint * any(doubt.endswith(one) for one in short) for doubt in found)

    def _border(self, candidate: str, beside: Settings) -> tuple[_Probe | None, _Probe | None]:
        """Halve the range until the border is known well enough: the last good probe and the first bad one, None without any."""
        low, high = self._between.low, self._between.high
        good_end, bad_end = (low, high) if self._largest else (high, low)
        good = self._ask(candidate, beside, good_end)
        if not good.good:
            return None, good
        bad = self._ask(candidate, beside, bad_end)
        if bad.good:
            return bad, None
        while (middle := self._middle(good_end, bad_end)) is not None:
            probe = self._ask(candidate, beside, middle)
            if probe.good:
                good, good_end = probe, middle
            else:
                bad, bad_end = probe, middle
        return good, bad

    def _middle(self, one: Decimal, other: Decimal) -> Decimal | None:
        """Between the ends, or None when they are close enough."""
        low, high = min(one, other), max(one, other)
        if self._between.whole:
            return None if high - low <= max(Decimal(1), Decimal(self._tolerance) * low) else (low + high) // 2
        if high - low <= Decimal(self._tolerance) * high:
            return None
        return self._between.rounded(self._between.between(low, high, 0.5))

    def _ask(self, candidate: str, beside: Settings, number: Decimal) -> _Probe:
        settings = {**beside, self._path: self._between.written(number)}
        scenarios = self._bench.scenarios(settings, candidate)
        replications = self._first
        while True:
            label = label_of(settings)
            if self._tell is not None:
                self._tell(f"{candidate}: {label} ({replications} runs)", self._bench.simulated)
            metrics = self._bench.measured(scenarios, label, replications)
            verdict, good, why = _recovered(metrics) if self._recovers else _objectives(metrics, scenarios)
            if verdict != UNCERTAIN or replications >= self._at_most:
                break
            replications = min(2 * replications, self._at_most)
        self.probes.append(_Probe(candidate, settings, replications, good, verdict != UNCERTAIN, why))
        return self.probes[-1]

    def _borders_table(self, over: str | None) -> pd.DataFrame:
        """What `Search.borders` is."""
        rows = []
        for border in self._borders:
            ends = border.good, border.bad
            written = [None if one is None else one.settings[self._path] for one in ends]
            sure = all(one is None or one.sure for one in ends)
            limit = "" if border.bad is None else border.bad.why
            rows.append((border.candidate, *border.beside.values(), *written, sure, limit, border.probes))
        beside = [] if over is None else [over]
        table = pd.DataFrame(rows, columns=["candidate", *beside, "best_written", "fails_written", "sure", "limit", "probes"])
        for name, column in (("best", "best_written"), ("fails_at", "fails_written")):
            there = [value for value in table[column] if value is not None]
            numbers = iter(in_columns(there))
            table[name] = np.array([np.nan if value is None else next(numbers) for value in table[column]], dtype=float)
        if over is not None and len(table):
            table[over] = in_columns(table[over].tolist())
        return table[["candidate", *beside, "best", "fails_at", "best_written", "sure", "limit", "probes"]]

    def _probes_table(self, settings: Sequence[str]) -> pd.DataFrame:
        """What `Search.probes` is."""
        columns = {path: in_columns([probe.settings[path] for probe in self.probes]) for path in settings}
        return pd.DataFrame(
            {
                "candidate": [probe.candidate for probe in self.probes],
                **columns,
                "replications": [probe.replications for probe in self.probes],
                "verdict": [PASS if probe.good else FAIL for probe in self.probes],
                "sure": [probe.sure for probe in self.probes],
                "why": [probe.why for probe in self.probes],
            }
        )


def _objectives(metrics: pd.DataFrame, scenarios: Mapping[Pair, Scenario]) -> tuple[str, bool, str]:
    """The worst verdict on all objectives, whether the means meet them, and what decided."""
    judged = slo_verdicts(summarise(metrics), {pair: one.slos for pair, one in scenarios.items()})
    worst = max(judged["verdict"], key=lambda verdict: RANK[verdict])
    slos = {slo.text: slo for one in scenarios.values() for slo in one.slos}
    good, missed = True, []
    for row in judged.to_dict("records"):
        met = slos[row["slo"]].met(row["value"])
        good = good and met and row["verdict"] != FAIL
        if not met or row["verdict"] == worst != PASS:
            missed.append(f"{row['slo']} ({row['verdict']}: {row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}])")
    return worst, good, "; ".join(missed)


def _recovered(metrics: pd.DataFrame) -> tuple[str, bool, str]:
    """Whether more than half of the runs recovered under every condition, as far as their number tells."""
    from scipy.stats import binom

    mine = metrics[(metrics["metric"] == "recovery_s") & (metrics["of"] == "all")]
    if mine.empty:
        raise ScenarioError("the last fault does not end before the run does; make run.duration longer, or the range shorter")
    worst, good, said = PASS, True, []
    for condition, values in mine.groupby("condition", sort=False)["value"]:
        count, back = len(values), int(values.notna().sum())
        more, fewer = float(binom.sf(back - 1, count, 0.5)), float(binom.cdf(back, count, 0.5))
        verdict = PASS if more <= _CHANCE else FAIL if fewer <= _CHANCE else UNCERTAIN
        worst = max(worst, verdict, key=lambda one: RANK[one])
        good = good and 2 * back > count
        said.append(f"{back} of {count} recovered{f' under {condition}' if mine['condition'].nunique() > 1 else ''}")
    return worst, good, ", ".join(said)
