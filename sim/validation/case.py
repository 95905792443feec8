"""What a case consists of: a scenario, what is read from its runs, and what others say that must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.laws import Law
from sim.scenario.model import Scenario
from sim.single import RunResult

#: A number of a run, or a sample of many.
Sample = float | np.ndarray[Any, Any]
#: Numbers or samples of a run by name, and its controls: luck, each with the true mean zero (see `sim.validation.judging`).
Reading = tuple[Mapping[str, Sample], Mapping[str, float]]

Read = Callable[[RunResult], Reading]

#: Seeds of a case, unless it says otherwise.
SEEDS = 40


@dataclass(frozen=True)
class Expected:
    """A number that others proved, published or measured.

    Attributes:
        value: theirs.
        band: how far the simulated one may be from it, in the same unit.
        estimated: it has an error of its own, so the interval of the simulated one need only touch the band.
        runs: the single runs whose mean it is: the band is then two standard errors of so many runs.
    """

    value: float
    band: float
    estimated: bool = False
    runs: tuple[float, ...] = ()


def near(value: float, tolerance: float) -> Expected:
    """A number within a ratio of itself."""
    return Expected(value, tolerance * abs(value))


def exactly(value: float) -> Expected:
    """A number that arithmetic gives, up to rounding."""
    return Expected(float(value), 1e-9 * max(1.0, abs(value)))


def as_measured(runs: Sequence[float]) -> Expected:
    """A ratio measured in several runs: two of their standard errors."""
    return Expected(float(np.mean(runs)), 0.0, estimated=True, runs=tuple(runs))


def mean_as_measured(runs_s: Sequence[float]) -> Expected:
    """A mean time measured in several runs, in seconds: 1.5 ms + 3 %."""
    mean_s = float(np.mean(runs_s))
    return Expected(mean_s, 0.0015 + 0.03 * mean_s, estimated=True)


@dataclass(frozen=True)
class Case:
    """One thing to reproduce.

    Attributes:
        id: what published lists call it, such as Q1; several cases may share one.
        title: what it is, in a few words, different for each case.
        group: the kind of thing it is about.
        source: who proved, published or measured it.
        scenario: what is simulated.
        read: what is taken from each run.
        expected: by ``mean of NAME``, ``p99 of NAME`` or ``max of NAME``, NAME being something that `read` returns.
        seeds: how many runs; 1 where nothing is left to chance.
    """

    id: str
    title: str
    group: str
    source: str
    scenario: Scenario
    read: Read
    expected: Mapping[str, Expected]
    seeds: int = SEEDS

    @property
    def name(self) -> str:
        """The id and the title."""
        return f"{self.id} {self.title}"


def scenario(
    services: Mapping[str, Any], load: Mapping[str, Any], *, duration_s: float, warmup_s: float = 0.0, attempts: bool = False,
    **more: Any,
) -> Scenario:  # fmt: skip
    """Build a scenario with cheap recording: no rows of attempts unless asked for, hardly any gauges."""
    settings = {
        "duration": duration_s,
        "warmup": warmup_s,
        "record_attempts": attempts,
        "sample_every": warmup_s + duration_s,
        "drain": 1e6,  # everyone is waited for: the slowest answers belong to the tail
    }
    data = {"services": services, "load": load, "run": {**settings, **more.pop("run", {})}, **more}
    return Scenario.model_validate(data)


def service(steps: Law | float | list[Any] | Mapping[str, Any], *, workers: int | str = 1, **more: Any) -> dict[str, Any]:
    """Build a service with one operation, `do`; a law alone is its work."""
    return {"workers": workers, "operations": {"do": steps if isinstance(steps, list) else [{"work": steps}]}, **more}


def poisson(rate_rps: float, target: str, **more: Any) -> dict[str, Any]:
    """Build a load of Poisson arrivals for one entry operation."""
    return {"kind": "poisson", "rate": rate_rps, "mix": target, **more}


def even(rate_rps: float, target: str = "a.do", **more: Any) -> dict[str, Any]:
    """Build a load of evenly spaced arrivals for one entry operation."""
    return {"kind": "constant", "rate": rate_rps, "mix": target, **more}
