"""One run: scenario and seed in, tables out."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.cards import card
from sim.compiled import say_if_slow
from sim.records import FATES, GOOD, OUTCOMES, SKETCHED, STATES, TABLES
from sim.runtime.world import UserProcess, World
from sim.scenario.model import Scenario
from sim.units import format_duration

if TYPE_CHECKING:
    import pandas as pd

#: Columns that hold codes of names (services, queues, operations).
_NAMED = ("entry", "caller", "target", "effect", "queue", "name", "dead_letter_of")
#: Tables whose rows are numbered in order, with the name of that column: it is made when the table is read.
_NUMBERED = {table.name: table.number for table in TABLES if table.number}
#: Columns that hold numbers of zones.
_ZONES = ("from_zone", "to_zone")
#: Columns that hold codes of fixed words.
_CODED = {"outcome": OUTCOMES, "fate": FATES, "part": SKETCHED, "state": STATES}


@dataclass(frozen=True)
class RunResult:
    """The rows of one run: `arrays` of columns as written (row numbers are not), and DataFrames whose codes are names.

    Columns are those of `sim.records`. All requests are there, those of the warm-up too; the measured ones arrive in
    [run.warmup, run.warmup + run.duration).
    """

    scenario: Scenario
    seed: int
    names: tuple[str, ...]
    arrays: dict[str, dict[str, np.ndarray[Any, Any]]]

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per logical request."""
        return self._frame("requests")

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """Counts and sums per entry and outcome, where requests have no rows (`run.record_requests` is false)."""
        return self._frame("outcomes")

    @cached_property
    def entries(self) -> pd.DataFrame:
        """Attempts per entry, where requests have no rows."""
        return self._frame("entries")

    @cached_property
    def sketches(self) -> pd.DataFrame:
        """Counts per bucket of latency and its parts, where requests have no rows; see `sim.sketch`."""
        return self._frame("sketches")

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """One row per call attempt on any edge."""
        return self._frame("attempts")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """One row per message, and per synchronous run of an operation marked `effect`."""
        return self._frame("effects")

    @cached_property
    def gauges(self) -> pd.DataFrame:
        """Samples of workers, lines and living replicas."""
        return self._frame("gauges")

    @cached_property
    def totals(self) -> pd.DataFrame:
        """Work done by each service from the end of the warm-up on."""
        return self._frame("totals")

    @cached_property
    def changes(self) -> pd.DataFrame:
        """One row per change of state of a circuit breaker, and per ejection of an endpoint and its return."""
        return self._frame("changes")

    @cached_property
    def zone_calls(self) -> pd.DataFrame:
        """Attempts per edge and pair of zones, those during trouble apart; no rows where the scenario has no zones."""
        return self._frame("zone_calls")

    @cached_property
    def traffic(self) -> pd.DataFrame:
        """Bytes, processor time and connections per edge; no rows where no calls have a protocol."""
        return self._frame("traffic")

    def _frame(self, table: str) -> pd.DataFrame:
        import pandas as pd

        arrays = self.arrays[table]
        number = _NUMBERED.get(table)
        columns: dict[str, Any] = {number: np.arange(len(next(iter(arrays.values()))))} if number else {}
        for column, values in arrays.items():
            categories = self.names if column in _NAMED else self.scenario.zones if column in _ZONES else _CODED.get(column)
            columns[column] = pd.Categorical.from_codes(values, dtype=_type_of(categories)) if categories else values
        return pd.DataFrame(columns, copy=False)

    def __repr__(self) -> str:
        sums = self.arrays.get("outcomes")
        outcomes = self.arrays["requests"]["outcome"] if sums is None else np.repeat(sums["outcome"], sums["measured"])
        counts = np.bincount(outcomes, minlength=len(OUTCOMES))
        shown = ", ".join(f"{name} {count:,}" for name, count in zip(OUTCOMES, counts, strict=True) if count)
        return f"<RunResult {self.scenario.name} seed {self.seed}: {len(outcomes):,} requests ({shown or 'none'})>"

    def _repr_html_(self) -> str:
        if "outcomes" in self.arrays:  # no rows of requests: what there is stands in the line
            return card(repr(self).strip("<>"))
        requests, settings = self.requests, self.scenario.run
        mine = requests[(requests["arrived_s"] >= settings.warmup) & (requests["arrived_s"] < settings.end)]
        rows = []
        for entry, group in mine.groupby("entry", observed=True):
            good = group[group["outcome"].isin([OUTCOMES[code] for code in GOOD])]
            times_s = (good["ended_s"] - good["arrived_s"]).quantile([0.5, 0.9, 0.99])
            share = f"{len(good) / len(group):.2%}"
            rows.append([entry, f"{len(group):,}", share, *(format_duration(value) if len(good) else "–" for value in times_s)])
        columns = ["entry", "requests", "answered well", "p50", "p90", "p99"]
        return card(repr(self).strip("<>"), "One run is one sample: intervals need replications.", [("", columns, rows)])


@functools.lru_cache(maxsize=64)
def _type_of(names: tuple[str, ...]) -> pd.CategoricalDtype:
    """The type of a column of names: making it takes longer than all the rest of a column of a short run."""
    import pandas as pd

    return pd.CategoricalDtype(pd.Index(names))


def run(scenario: Scenario, seed: int | None = None, *, processes: Iterable[UserProcess] = ()) -> RunResult:
    """Simulate a scenario once.

    Args:
        scenario: what to simulate.
        seed: of all random streams; absent: `scenario.run.seed`. The same seed gives the same rows.
        processes: your own SimPy processes beside the built-in ones: functions that take the `World` and return a generator.

    One run is one sample: use `sim.study.replicate` for numbers with intervals.

    >>> from sim.laws import Exponential
    >>> result = run(Scenario(
    ...     services={"shop": {"workers": 1, "operations": {"buy": [{"work": Exponential(1.0)}]}}},
    ...     load={"rate": 0.5, "mix": "shop.buy"}, run={"duration": 1000},
    ... ))
    >>> bool((result.requests.outcome == "ok").all())
    True
    """
    say_if_slow()
    return simulate(scenario, seed, processes)


def simulate(scenario: Scenario, seed: int | None = None, processes: Iterable[UserProcess] = ()) -> RunResult:
    """What `run` does, without a word about how: for the processes of a study."""
    used = scenario.run.seed if seed is None else seed
    world = World(scenario, used)
    return RunResult(scenario, used, world.names, world.run(processes))
