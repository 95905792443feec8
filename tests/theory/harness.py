"""Runs a scenario under many seeds and compares what was measured with what theory says.

A case passes when the mean over at least 20 seeds lies within the stated tolerance of the published value and the 99 % interval
reaches the tolerance band. On top of that the interval may be at most twice as wide as the band: a case that could not
notice an error of three tolerances is refused, not passed.

Queues at high load have long memories: at ρ = .9 the mean of n times in system has a variance of about 35,900/n, so a plain mean
needs millions of requests. But most of that noise is luck that can be seen and whose true mean is known to be zero: how far the
gaps and the work of this run were from their means, also weighted with the line they met (a gap and a service time do not know
how long the line is). Those *controls* are removed by regression over the seeds (control variates: Lavenberg and Welch 1981;
the weighted ones are martingales: Henderson and Glynn 2002), which leaves a hundredth of the variance.

A control must be luck and nothing else: if service were 5 % longer than described, the regression would explain the error
away. So every control is itself tested to have mean zero, and that is a sharp test: it fails if the work has another mean, if
the work depends on the wait, or if a request's time depends on later arrivals, as it does in any order but FIFO.

A percentile of one run is biased when the run holds few busy periods, so percentiles are taken from all seeds together; their
interval comes from how much each seed's share beyond that value differs (Bahadur's representation, in sections).

Seeds are fixed, so every result is repeatable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rows import records
from scipy import stats

from sim.scenario.model import Scenario
from sim.single import RunResult, run

#: Numbers or samples by name; the second dictionary holds the controls, each with the true mean zero.
Reading = tuple[dict[str, float | np.ndarray], dict[str, float]]
Rows = np.ndarray

SEEDS = range(1, 41)


def scenario(services, load, *, duration_s, warmup_s=0.0, attempts=False, **more) -> Scenario:
    """A scenario with cheap recording: no attempt rows unless asked for, hardly any gauges."""
    settings = {
        "duration": duration_s,
        "warmup": warmup_s,
        "record_attempts": attempts,
        "sample_every": warmup_s + duration_s,
        "drain": 1e6,  # everyone is waited for: the slowest answers belong to the tail
    }
    return Scenario(services=services, load=load, run={**settings, **more.pop("run", {})}, **more)


def service(steps, *, workers=1, **more):
    """A service with one operation, `do`; a law alone is its work."""
    return {"workers": workers, "operations": {"do": steps if isinstance(steps, list) else [{"work": steps}]}, **more}


def poisson(rate_rps, target, **more):
    """Poisson arrivals for one entry operation."""
    return {"kind": "poisson", "rate": rate_rps, "mix": target, **more}


def measured(result: RunResult) -> Rows:
    """Rows of the requests that arrived in the measured window."""
    rows, settings = records(result, "requests"), result.scenario.run
    return rows[(rows["arrived_s"] >= settings.warmup) & (rows["arrived_s"] < settings.end)]


def times(rows: Rows) -> np.ndarray:
    """Time from arrival to answer of each row, in seconds."""
    return rows["ended_s"] - rows["arrived_s"]


def luck_of_arrivals(rows: Rows, rate_rps: float, states: dict[str, np.ndarray]) -> dict[str, float]:
    """How far gaps were from their mean, plainly and weighted with what is known when the gap begins (`states`, by request)."""
    gaps = np.diff(rows["arrived_s"]) - 1 / rate_rps
    return {"gap": gaps.mean()} | {f"gap × {name}": (gaps * state[:-1]).mean() for name, state in states.items()}


def luck_of_work(work_s: np.ndarray, mean_s: float, states: dict[str, np.ndarray]) -> dict[str, float]:
    """How far work was from its mean, plainly and weighted with what is known when the work is drawn."""
    excess = work_s - mean_s
    return {"work": excess.mean()} | {f"work × {name}": (excess * state).mean() for name, state in states.items()}


def luck_of_line(rows: Rows, rate_rps: float, mean_s: float = 1.0) -> dict[str, float]:
    """Both for a FIFO line in which everyone is served: gaps against times in system before, work against the wait."""
    wait_s, time_s = rows["queue_s"], times(rows)
    return luck_of_arrivals(rows, rate_rps, {"time": time_s}) | luck_of_work(rows["service_s"], mean_s, {"wait": wait_s})


def found_in_system(rows: Rows) -> np.ndarray:
    """How many of those that were let in each request finds; who leaves at that very moment has left."""
    entered = rows["outcome"] == 1
    before = np.concatenate(([0], np.cumsum(entered)[:-1]))
    return before - np.searchsorted(np.sort(rows["ended_s"][entered]), rows["arrived_s"], side="right")


def replicate(case: Scenario, read: Callable[[RunResult], Sequence[float]], seeds: Sequence[int]) -> np.ndarray:
    """What `read` makes of each seed's run, one row per seed."""
    return np.array([read(run(case, seed)) for seed in seeds], dtype=float)


def estimate(values: np.ndarray, controls: np.ndarray | None = None) -> tuple[float, float]:
    """Mean over the seeds less what the controls explain, and half-width of its 99 % interval."""
    n = len(values)
    controls = np.empty((n, 0)) if controls is None else controls
    spread = controls.std(axis=0)
    design = np.column_stack((np.ones(n), controls[:, spread > 0] / spread[spread > 0]))
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    residual = values - design @ coefficients
    freedom = n - design.shape[1]
    variance = residual @ residual / freedom * np.linalg.inv(design.T @ design)[0, 0]
    return float(coefficients[0]), float(stats.t.ppf(0.995, freedom) * np.sqrt(variance))


def assert_is_luck(name: str, control: np.ndarray) -> None:
    """A control has mean zero, or the model is not the one it claims to be."""
    error = control.std(ddof=1) / np.sqrt(len(control))
    # Constant work is exactly its mean: then there is no luck, and nothing but rounding.
    assert abs(control.mean()) <= 4.5 * error + 1e-12, f"{name} is not luck: {control.mean():.4g} ± {error:.2g}"


def by_seed(statistic: str, samples: list[float | np.ndarray]) -> np.ndarray:
    """One number per seed whose mean is the statistic: ``mean``, or for ``p99`` Bahadur's representation of the percentile."""
    if statistic == "mean":
        return np.array([np.mean(sample) for sample in samples])
    share = float(statistic[1:]) / 100
    pooled = np.concatenate([np.atleast_1d(sample) for sample in samples])
    value, (low, high) = np.quantile(pooled, share), np.quantile(pooled, [1.5 * share - 0.5, (1 + share) / 2])
    beyond = np.array([np.mean(sample > value) for sample in samples])
    # The slope of the distribution there, from half of the tail to one and a half times the tail.
    slope = (1 - share) / (high - low) if high > low else np.inf
    return value + (beyond - (1 - share)) / slope


def assert_reproduces(
    case: Scenario,
    read: Callable[[RunResult], Reading],
    expected: dict[str, tuple[float, float]],
    seeds: Sequence[int] = SEEDS,
) -> None:
    """Run the case under every seed and compare with published values.

    `expected` maps ``mean of NAME`` or ``p99 of NAME`` to (published value, relative tolerance), NAME being something that
    `read` returns: a number per run, or a sample.
    """
    assert len(seeds) >= 20
    readings = [read(run(case, seed)) for seed in seeds]
    lucks = {name: np.array([luck[name] for _, luck in readings]) for name in readings[0][1]}
    controls = np.column_stack([*lucks.values()]) if lucks else None
    problems = []
    for what, (value, tolerance) in expected.items():
        statistic, _, name = what.partition(" of ")
        found, half_width = estimate(by_seed(statistic, [values[name] for values, _ in readings]), controls)
        band = tolerance * abs(value)
        said = f"{what} = {found:.6g} ± {half_width:.2g}, expected {value:.6g} ± {band:.2g} ({half_width / band:.2f} bands wide)"
        print(said)
        if not abs(found - value) <= band:
            problems.append(said)
        if not half_width <= 2 * band:
            problems.append(f"{said}: too few requests to tell")
    assert not problems, "\n".join(problems)
    for name, control in lucks.items():
        assert_is_luck(name, control)
