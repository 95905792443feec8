"""Several services: tandem, closed loop, fork-join, fan-out and load balancing, mean and tail."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

import numpy as np

from sim import theory
from sim.laws import Exponential
from sim.single import RunResult
from sim.validation.case import Case, Reading, near, poisson, scenario, service
from sim.validation.queues import TEXTBOOK
from sim.validation.reading import luck_of_line, luck_of_stations, luck_of_work, measured, times

GROUP: Final = "networks"
BALANCING: Final = "balancing"
_MONTE_CARLO: Final = "independent Monte Carlo; Mitzenmacher 2001"


def cases() -> Iterator[Case]:
    """All cases of networks and of balancing."""
    yield _tandem()
    yield _closed_loop()
    yield from starmap(_fork_join, [(0.8, 7.0, 26.3113, 4_000), (0.9, 13.875, 52.5615, 10_000)])
    yield from starmap(_slowest_of_many, [(10, 2.92897, 6.90324, 400), (100, 5.18738, 9.20537, 90)])
    yield from starmap(_round_robin, [(2, 7.588, 10_000, 800), (10, 5.660, 14_000, 400), (100, 5.227, 20_000, 250)])
    yield from starmap(_idle_first, [(0.8, 3.46154, 8_000), (0.9, 6.78571, 25_000)])
    yield from starmap(
        _looking_first,
        [
            ("LB1", "random", 2, 0.9, 10.0, 60_000),
            ("LB2", "two_choices", 10, 0.9, 3.101, 9_000),
            ("LB2", "two_choices", 100, 0.8, 1.970, 9_000),
            ("LB2", "two_choices", 100, 0.9, 2.659, 16_000),
            ("LB2d", {"kind": "two_choices", "replacement": False}, 10, 0.9, 2.972, 9_000),
            ("LB2d", {"kind": "two_choices", "replacement": False}, 100, 0.9, 2.639, 16_000),
            ("LB3", "least_request", 2, 0.8, 2.95574, 6_000),
            ("LB3", "least_request", 2, 0.9, 5.47491, 9_000),
        ],
    )


def _tandem() -> Case:
    # The first service only passes on, with unlimited workers: holding a worker during the calls would be another model.
    stations = {name: service(Exponential(1.0)) for name in ("a", "b", "c")}
    front = service([{"call": f"{name}.do"} for name in stations], workers="unlimited")
    run = scenario({"front": front, **stations}, poisson(0.8, "front.do"), duration_s=12_000, warmup_s=500, attempts=True)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows)}, luck_of_stations(result, stations, rows, 0.8)

    expected = {"mean of time": near(15, 0.02), "p99 of time": near(42.03, 0.05)}
    return Case("Q8", "three M/M/1 in a row", GROUP, "closed form (Jackson 1957)", run, read, expected)


def _closed_loop() -> Case:
    load = {"kind": "closed", "users": 10, "think": {"exponential": 1.0}, "mix": "a.do"}
    run = scenario({"a": service(Exponential(0.1))}, load, duration_s=400, warmup_s=20)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        throughput_rps = len(rows) / result.scenario.run.duration
        luck = luck_of_work(rows["service_s"], 0.1, {"wait": rows["queue_s"]})
        return {"time": times(rows), "throughput": throughput_rps}, luck

    expected = {
        "mean of throughput": near(7.854177, 0.02),
        "mean of time": near(0.2732079, 0.02),
        "p99 of time": near(theory.closed_time_quantile(10, 1, 0.1, 0.99), 0.05),
    }
    return Case("Q10", "ten users who think", GROUP, "exact mean value analysis (Reiser and Lavenberg 1980)", run, read, expected)


def _fork_join(rho: float, mean_s: float, p99_s: float, requests: int) -> Case:
    halves = {name: service(Exponential(1.0)) for name in ("a", "b")}
    front = service([{"parallel": [{"call": "a.do"}, {"call": "b.do"}]}], workers="unlimited")
    run = scenario(
        {"front": front, **halves}, poisson(rho, "front.do"),
        duration_s=requests / rho, warmup_s=12 / (1 - rho) ** 2, attempts=True,
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows)}, luck_of_stations(result, halves, rows, rho)

    expected = {"mean of time": near(mean_s, 0.02), "p99 of time": near(p99_s, 0.05)}
    return Case("Q14", f"fork-join, load {rho:g}", GROUP, "closed form (Nelson and Tantawi 1988)", run, read, expected)


def _slowest_of_many(count: int, mean_s: float, p99_s: float, requests: int) -> Case:
    front = service([{"call": "leaf.do", "count": count, "in_parallel": True}], workers="unlimited")
    leaf = service(Exponential(1.0), workers="unlimited")
    run = scenario({"front": front, "leaf": leaf}, poisson(10, "front.do"), duration_s=requests / 10)

    def read(result: RunResult) -> Reading:
        time_s = times(measured(result))
        return {"time": time_s, "slow": time_s > -np.log(0.01)}, {}

    expected = {"mean of time": near(mean_s, 0.02), "p99 of time": near(p99_s, 0.05)}
    if count == 100:  # T1: of a hundred answers one is nearly always slower than their 99th percentile
        expected["mean of slow"] = near(theory.slow_fan_out(0.01, count), 0.02)
    return Case("Q15", f"wait for all of {count}", GROUP, "closed form; Dean and Barroso 2013", run, read, expected)


def _round_robin(replicas: int, mean_s: float, requests: int, warmup_s: float) -> Case:
    # One client process, so that its turns are the turns: each replica gets exactly every n-th request.
    # Many replicas need few seconds to be seen often, but as long as few to fill up from empty.
    rho, rate_rps = 0.9, 0.9 * replicas
    services = {"a": service(Exponential(1.0), replicas=replicas)}
    run = scenario(services, poisson(rate_rps, "a.do"), duration_s=requests / rate_rps, warmup_s=warmup_s)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        time_s, wait_s = times(rows), rows["queue_s"]
        gaps = rows["arrived_s"][replicas:] - rows["arrived_s"][:-replicas] - 1 / rho
        luck = {"gap": gaps.mean(), "gap × time": (gaps * time_s[:-replicas]).mean()}
        return {"time": time_s}, luck | luck_of_work(rows["service_s"], 1, {"wait": wait_s})

    p99_s = -np.log(0.01) * theory.round_robin_time_mean(rate_rps, 1, replicas)
    expected = {"mean of time": near(mean_s, 0.02), "p99 of time": near(p99_s, 0.05)}
    seeds = 30 if replicas == 100 else 40
    return Case("LB1", f"round robin over {replicas}, E{replicas}/M/1", BALANCING, TEXTBOOK, run, read, expected, seeds)


def _idle_first(rho: float, mean_s: float, requests: int) -> Case:
    run = scenario(
        {"a": service(Exponential(1.0), replicas=2)}, poisson(2 * rho, "a.do"),
        duration_s=requests / (2 * rho), warmup_s=12 / (1 - rho) ** 2, calls={"default": {"balancing": "join_idle_queue"}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows)}, luck_of_line(rows, 2 * rho)

    title = f"join an idle queue of 2, load {rho:g}"
    return Case("JIQ", title, BALANCING, "Markov chain", run, read, {"mean of time": near(mean_s, 0.02)})


def _looking_first(id: str, rule: str | dict[str, Any], replicas: int, rho: float, mean_s: float, requests: int) -> Case:
    # One client process sees all calls in flight, so the least of them is the shortest queue.
    rate_rps = rho * replicas
    run = scenario(
        {"a": service(Exponential(1.0), replicas=replicas)}, poisson(rate_rps, "a.do"),
        duration_s=requests / rate_rps, warmup_s=max(40, 500 / replicas), calls={"default": {"balancing": rule}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows)}, luck_of_line(rows, rate_rps)

    words = {"LB1": "random", "LB2": "two choices", "LB2d": "two different choices", "LB3": "the shortest queue"}[id]
    source = {"LB1": TEXTBOOK, "LB3": "exact (Flatto and McKean 1977)"}.get(id, _MONTE_CARLO)
    return Case(id, f"{words} of {replicas}, load {rho:g}", BALANCING, source, run, read, {"mean of time": near(mean_s, 0.02)})
