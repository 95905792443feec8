"""One service and the line in front of it: Q1 to Q6 of the published results, mean and tail."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import Final

import numpy as np

from sim import theory
from sim.laws import Constant, Erlang, Exponential, Law, Lognormal
from sim.records import REJECTED
from sim.single import RunResult
from sim.validation.case import Case, Reading, exactly, near, poisson, scenario, service
from sim.validation.reading import found_in_system, luck_of_arrivals, luck_of_line, luck_of_work, measured, times

GROUP: Final = "one line"
TEXTBOOK: Final = "closed form (Kleinrock 1975)"
ERLANG: Final = "closed form (Erlang 1917)"
#: Three laws of work with the mean 1 s.
LAWS: Final[dict[str, Law]] = {"exponential": Exponential(1.0), "constant": Constant(1.0), "lognormal": Lognormal(1.0, 2)}


def cases() -> Iterator[Case]:
    """All cases of one line."""
    yield from starmap(_one_worker, [(0.5, 3_000, 2, 9.210), (0.8, 7_000, 5, 23.026), (0.9, 14_000, 10, 46.052)])
    yield from starmap(_several_workers, [(2, 1.6, 1.77778, 9_000), (5, 4, 0.554113, 9_000), (10, 9, 0.668732, 18_000)])
    for law in LAWS:
        for load, workers, lost, requests in ((5, 5, 0.284868, 2_500), (5, 10, 0.0183846, 10_000), (10, 10, 0.214582, 3_000)):
            yield _without_a_line(law, load, workers, lost, requests)
    yield from starmap(_short_line, [(1, 9, 0.9, 0.0508137, 8_000), (1, 4, 1.5, 0.365414, 3_000), (5, 10, 4.5, 0.0349490, 7_000)])
    # Work with cv 2 comes in rare giants: its 99th percentile would need ten times the requests.
    constant = {"p50": 1.27594, "p90": 5.01151, "p99": 10.3559}
    yield _any_law("Q6", "M/D/1", Constant(1.0), 2, constant, 5_000)
    yield _any_law("Q5", "M/E2/1", Erlang(2, 1.0), 3, {"p99": 16.1306}, 6_000)
    yield _any_law("Q5", "M/M/1, its wait", Exponential(1.0), 4, {"p99": 21.9101}, 7_000)
    yield _any_law("Q5", "M/G/1, lognormal work", Lognormal(1.0, 2.0), 10, {"p95": 39.7306}, 13_000)


def _one_worker(rho: float, requests: int, mean_s: float, p99_s: float) -> Case:
    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows)}, luck_of_line(rows, rho)

    warmup_s = 8 / (1 - rho) ** 2
    run = scenario({"a": service(Exponential(1.0))}, poisson(rho, "a.do"), duration_s=requests / rho, warmup_s=warmup_s)
    expected = {"mean of time": near(mean_s, 0.02), "p99 of time": near(p99_s, 0.05)}
    return Case("Q1", f"M/M/1, load {rho:g}", GROUP, TEXTBOOK, run, read, expected)


def _several_workers(workers: int, rate_rps: float, wait_s: float, requests: int) -> Case:
    def read(result: RunResult) -> Reading:
        rows = measured(result)
        states = {"wait": rows["queue_s"], "busy": rows["queue_s"] > 0}
        return {"wait": rows["queue_s"]}, luck_of_arrivals(rows, rate_rps, states) | luck_of_work(rows["service_s"], 1, states)

    services = {"a": service(Exponential(1.0), workers=workers)}
    run = scenario(services, poisson(rate_rps, "a.do"), duration_s=requests / rate_rps, warmup_s=300)
    p99_s = theory.mmc_wait_quantile(rate_rps, 1, workers, 0.99)
    expected = {"mean of wait": near(wait_s, 0.02), "p99 of wait": near(p99_s, 0.05)}
    return Case("Q2", f"M/M/{workers}, {rate_rps:g} Erlang", GROUP, ERLANG, run, read, expected)


def _without_a_line(law: str, load: float, workers: int, lost: float, requests: int) -> Case:
    def read(result: RunResult) -> Reading:
        rows = measured(result)
        refused, found = rows["outcome"] == REJECTED, found_in_system(rows)
        served = rows[~refused]
        luck = luck_of_arrivals(rows, load, {"found": found})
        luck |= luck_of_work(served["service_s"], 1, {"found": found[~refused]})
        return {"lost": refused, "time": times(served), "wait": served["queue_s"]}, luck

    # Constant work keeps its rhythm: it takes longer to see as many different states.
    share = 1.5 if law == "constant" else 1
    services = {"a": service(LAWS[law], workers=workers, queue=0)}
    run = scenario(services, poisson(load, "a.do"), duration_s=share * requests / load, warmup_s=60)
    p99_s = {"exponential": -np.log(0.01), "constant": 1.0, "lognormal": Lognormal(1.0, 2).quantile(0.99)}[law]
    expected = {
        "mean of lost": near(lost, 0.02),
        "mean of time": near(1, 0.02),
        "p99 of time": near(p99_s, 0.05),
        "max of wait": exactly(0),
    }
    return Case("Q3", f"Erlang's loss, {load:g} on {workers}, {law} work", GROUP, ERLANG, run, read, expected)


def _short_line(workers: int, places: int, rate_rps: float, lost: float, requests: int) -> Case:
    def read(result: RunResult) -> Reading:
        rows = measured(result)
        refused = rows["outcome"] == REJECTED
        found, served = found_in_system(rows), rows[~refused]
        luck = luck_of_arrivals(rows, rate_rps, {"found": found, "refused": refused})
        luck |= luck_of_work(served["service_s"], 1, {"found": found[~refused]})
        return {"refused": refused, "time": times(served), "wait": served["queue_s"]}, luck

    services = {"a": service(Exponential(1.0), workers=workers, queue={"capacity": places})}
    run = scenario(services, poisson(rate_rps, "a.do"), duration_s=requests / rate_rps, warmup_s=150)
    capacity = workers + places
    expected = {
        "mean of refused": near(lost, 0.02),
        "mean of time": near(theory.mmck_time_mean(rate_rps, 1, workers, capacity), 0.02),
        "p99 of wait": near(theory.mmck_wait_quantile(rate_rps, 1, workers, capacity, 0.99), 0.05),
    }
    return Case("Q4", f"M/M/{workers}/{capacity}, load {rate_rps:g}", GROUP, TEXTBOOK, run, read, expected)


def _any_law(id: str, title: str, law: Law, wait_s: float, tail_s: dict[str, float], requests: int) -> Case:
    rho = 0.8

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        squares = rows["service_s"] ** 2 - (law.variance + 1)
        return {"wait": rows["queue_s"]}, luck_of_line(rows, rho) | {"work²": squares.mean()}

    run = scenario({"a": service(law)}, poisson(rho, "a.do"), duration_s=requests / rho, warmup_s=400)
    expected = {"mean of wait": near(wait_s, 0.02)} | {f"{name} of wait": near(value, 0.05) for name, value in tail_s.items()}
    return Case(id, title, GROUP, "closed form (Pollaczek and Khinchine 1930)", run, read, expected)
