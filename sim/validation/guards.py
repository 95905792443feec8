"""Breakers, hedges, limits and caches: CB1 to CB3, H1, Q3 as a bulkhead, P3, RL1, C1 and C3 of the published results."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

import numpy as np

from sim import theory
from sim.laws import Exponential
from sim.records import OK, REJECTED, SHORT_CIRCUITED, STATES
from sim.single import RunResult
from sim.validation.case import Case, Expected, Reading, even, exactly, near, poisson, scenario, service
from sim.validation.queues import ERLANG, LAWS
from sim.validation.reading import found_in_system, luck_of_arrivals, luck_of_work, measured, times

BREAKERS: Final = "circuit breakers"
HEDGES: Final = "hedged calls"
LIMITS: Final = "limits and caches"
_CLOSED, _OPEN = STATES.index("closed"), STATES.index("open")
_SEEDS: Final = 20


def cases() -> Iterator[Case]:
    """All cases of breakers, hedges, limits and caches."""
    yield from starmap(_in_a_row, [(0.5, 62, 40_000), (0.9, 6.935, 4_000)])
    yield from starmap(_healthy_window, [(10, 0.3669), (20, 0.2447), (100, 0.0271)])
    yield from starmap(_outage, [("resilience4j@2", 10, 100, 60, 10), ("hystrix@1.5", 40, 20, 5, 1)])
    yield _hedge(told=False)
    yield _hedge(told=True)
    yield _adaptive_hedge()
    for law in LAWS:
        for load, places, lost, requests in ((5, 5, 0.284868, 1_500), (5, 10, 0.0183846, 8_000), (10, 10, 0.214582, 2_000)):
            yield _bulkhead(law, load, places, lost, requests)
    yield _connection_pool()
    for depth, rejected, where in ((1, 0.500, "service"), (5, 0.1035, "service"), (10, 0.0508, "service"), (5, 0.1035, "caller")):
        yield _token_bucket(depth, rejected, where)
    yield from map(_hit_ratio, ("call", "operation"))
    yield _stampede(collapsing=False)
    yield _stampede(collapsing=True)


def _in_a_row(failure: float, calls: float, requests: int) -> Case:
    # One call a second that takes no time, and a probe half a second after opening: so seconds closed are calls.
    breaker = {"circuit_breaker": {"consecutive_failures": 5, "open_duration": 0.5}}
    services = {"a": service([{"fail": failure}], workers="unlimited")}
    run = scenario(services, even(1), duration_s=requests, calls={"default": breaker})

    def read(result: RunResult) -> Reading:
        changes = result.arrays["changes"]
        closed, opened = (changes["time_s"][changes["state"] == state] for state in (_CLOSED, _OPEN))
        begins = np.append(0.0, closed)  # the probe that closed it does not count
        ends = opened[np.searchsorted(opened, begins[begins < opened[-1]], side="right")]
        luck = (measured(result)["outcome"] != OK).mean() - failure
        return {"calls": ends - begins[: len(ends)]}, {"failures": luck}

    title = f"calls until 5 failures in a row, {failure:.0%} fail"
    expected = {"mean of calls": near(calls, 0.02)}
    return Case("CB1", title, BREAKERS, "closed form", run, read, expected, _SEEDS)


def _healthy_window(size: int, opens: float) -> Case:
    # Many clients, each with a breaker of its own, make as many calls as its window holds, and one more that shows its state.
    failure, clients = 0.4, 60
    breaker = {"window_type": "count", "window_size": size, "open_duration": 1e6}
    run = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")}, even(100, clients=clients),
        duration_s=(size + 1) * clients / 100, calls={"default": {"circuit_breaker": breaker}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        all_outcomes = measured(result)["outcome"]
        outcomes = all_outcomes[: size * clients].reshape(size, clients)
        opened = (all_outcomes[size * clients :] == SHORT_CIRCUITED).astype(float)
        # Which windows are over it is luck whose mean is known; whether the breaker saw the same is not.
        over = (outcomes != OK).sum(axis=0) >= size / 2
        luck = {"over": over.mean() - _at_least((size + 1) // 2, size, failure)}
        return {"opened": opened, "too early": (outcomes == SHORT_CIRCUITED).any()}, luck

    expected = {"mean of opened": near(opens, 0.02), "mean of too early": exactly(0)}
    title = f"a window of {size} over 50 %, 40 % fail"
    return Case("CB2", title, BREAKERS, "closed form (binomial)", run, read, expected, _SEEDS)


def _at_least(least: int, size: int, chance: float) -> float:
    """P(at least so many of a number of draws come out)."""
    return sum(math.comb(size, n) * chance**n * (1 - chance) ** (size - n) for n in range(least, size + 1))


def _outage(preset: str, rate_rps: float, calls: int, open_s: float, probes: int) -> Case:
    run = scenario(
        {"a": service([{"fail": 1.0, "work": 0.001}], workers="unlimited")}, even(rate_rps), duration_s=10 * open_s,
        calls={"default": {"preset": preset, "circuit_breaker": {}}}, attempts=True,
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        sent_s, changes = result.arrays["attempts"]["started_s"], result.arrays["changes"]
        opened_s = changes["time_s"][changes["state"] == _OPEN]
        # Then so many probes in each open time, which begins when the last of them has failed.
        rounds = [((sent_s > since) & (sent_s <= until)).sum() for since, until in zip(opened_s, opened_s[1:], strict=False)]
        numbers = {"calls": (sent_s <= opened_s[0]).sum(), "open": np.diff(opened_s)}
        return {**numbers, "probes": np.array(rounds), "fewest": -np.array(rounds)}, {}

    expected = {
        "mean of calls": exactly(calls),
        "max of probes": exactly(probes),
        "max of fewest": exactly(-probes),
        "mean of open": Expected(open_s, probes / rate_rps + 1 / rate_rps),
    }
    return Case("CB3", f"total outage, {preset}", BREAKERS, "configuration of the system", run, read, expected, seeds=1)


def _hedge(*, told: bool) -> Case:
    delay_s = -np.log(0.05)
    calls = {"default": {"hedging": {"delay": delay_s}, "cancellation": told}}
    run = scenario({"a": service(Exponential(1.0), workers="unlimited")}, poisson(100, "a.do"), duration_s=30, calls=calls)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        busy_s = result.totals["busy_worker_s"].sum() / len(rows)
        return {"time": times(rows), "load": rows["attempts"], "hedges": rows["attempts"] - 1, "busy": busy_s}, {}

    expected = {
        "p99 of time": near(3.80045, 0.05),
        "p99.9 of time": near(4.95174, 0.05),
        "mean of time": near(1 - np.exp(-delay_s) / 2, 0.02),
        "mean of load": near(1.05, 0.02),
        "mean of hedges": near(0.05, 0.05),
        "mean of busy": near(
            1.0 if told else 1.05, 0.02
        ),  # exponential work does not age: with cancellation, hedges cost nothing
    }
    title = f"a hedge at p95, {'cancelled' if told else 'not cancelled'}"
    return Case("H1", title, HEDGES, "closed form; Dean and Barroso 2013", run, read, expected, _SEEDS)


def _adaptive_hedge() -> Case:
    hedging = {"percentile": 50, "window": 9, "max_delay": 60, "cancel_losers": False}
    run = scenario(
        {"a": service(Exponential(1.0), workers="unlimited")}, poisson(60, "a.do"), duration_s=30, warmup_s=15,
        calls={"default": {"hedging": hedging}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        return {"time": times(rows), "hedges": rows["attempts"] - 1}, {}

    # Losers that end by themselves tell how long they took, so the percentile is that of a single attempt.
    expected = {"mean of hedges": near(0.5, 0.05), "mean of time": near(0.75, 0.02)}
    return Case("H1", "a hedge at whatever the median is", HEDGES, "closed form", run, read, expected, _SEEDS)


def _bulkhead(law: str, load: float, places: int, lost: float, requests: int) -> Case:
    limit = {"concurrency_limit": {"max_concurrent": places, "max_queue": 0}}
    services = {"a": service(LAWS[law], workers="unlimited")}
    run = scenario(services, poisson(load, "a.do"), duration_s=requests / load, warmup_s=60, calls={"client -> a": limit})

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        refused = rows["outcome"] == REJECTED
        found, served = found_in_system(rows), rows[~refused]
        luck = luck_of_arrivals(rows, load, {"found": found})
        luck |= luck_of_work(served["service_s"], 1, {"found": found[~refused]})
        return {"lost": refused, "time": times(served), "sent of the refused": rows["attempts"][refused]}, luck

    expected = {"mean of lost": near(lost, 0.02), "mean of time": near(1, 0.02), "max of sent of the refused": exactly(0)}
    return Case("Q3", f"a bulkhead of {places}, {load:g} Erlang, {law} work", LIMITS, ERLANG, run, read, expected)


def _connection_pool() -> Case:
    """C connections with one call at a time, in front of enough workers: M/M/C."""
    rate_rps, work_s, most = 50.0, 0.1, 6
    run = scenario(
        {"back": service({"exponential": work_s}, workers="unlimited")}, poisson(rate_rps, "back.do"), duration_s=400,
        warmup_s=20, calls={"back": {"connections": {"per_process": most, "max_concurrent": 1}}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        wait_s = rows["queue_s"]
        begun = np.sort(rows["arrived_s"] + wait_s)
        done = np.searchsorted(np.sort(rows["ended_s"]), rows["arrived_s"], side="right")
        busy = np.minimum(most, np.maximum(0, np.searchsorted(begun, rows["arrived_s"], side="right") - done))
        luck = luck_of_arrivals(rows, rate_rps, {"wait": wait_s, "busy": busy})
        return {"wait": wait_s, "waits": wait_s > 1e-9}, luck | luck_of_work(rows["service_s"], work_s, {"wait": wait_s})

    expected = {
        "mean of waits": near(0.587516, 0.02),
        "mean of wait": near(0.05875, 0.02),
        "p99 of wait": near(theory.mmc_wait_quantile(rate_rps, 1 / work_s, most, 0.99), 0.05),
    }
    return Case("P3", "a pool of 6 HTTP/1.1 connections", LIMITS, ERLANG, run, read, expected)


def _token_bucket(depth: int, rejected: float, where: str) -> Case:
    limit = {"kind": "token_bucket", "rate": 100, "burst": depth}
    limits: dict[str, Any] = {"rate_limit": limit} if where == "service" else {}
    calls = {"default": {"rate_limit": limit}} if where == "caller" else {}
    services = {"a": service([], workers="unlimited", **limits)}
    run = scenario(services, poisson(100, "a.do"), duration_s=60, warmup_s=5, calls=calls)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        refused = rows["outcome"] == REJECTED
        before = np.append(False, refused[:-1])
        numbers = {"refused": refused, "sent of the refused": rows["attempts"][refused]}
        return numbers, luck_of_arrivals(rows, 100, {"refused": refused, "refused before": before})

    expected = {"mean of refused": near(rejected, 0.02), "mean of sent of the refused": exactly(where == "service")}
    return Case("RL1", f"a bucket of {depth} at the {where}", LIMITS, "independent Monte Carlo", run, read, expected)


def _hit_ratio(where: str) -> Case:
    cache = {"max_age": 10}
    on_operation = {"cache": cache} if where == "operation" else {}
    services = {
        "a": {"workers": "unlimited", "operations": {"do": {"steps": [{"call": "b.do"}], **on_operation}}},
        "b": service([], workers="unlimited"),
    }
    calls = {"a -> b": {"cache": cache}} if where == "call" else {}
    run = scenario(services, poisson(1, "a.do"), duration_s=2_000, calls=calls)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        # A hit makes no call; nor does it make the answer younger.
        return {"hits": rows["attempts"] == 1, "misses": rows["attempts"] == 2}, {}

    expected = {"mean of hits": near(0.909091, 0.02), "mean of misses": near(1 - 0.909091, 0.02)}
    return Case("C1", f"hit ratio, cache of the {where}", LIMITS, "closed form (Jung 2003)", run, read, expected, _SEEDS)


def _stampede(*, collapsing: bool) -> Case:
    rate_rps, fetch_s = 10, 1.0
    run = scenario(
        {"a": service(fetch_s, workers="unlimited")}, poisson(rate_rps, "a.do"), duration_s=600, attempts=True,
        calls={"default": {"cache": {"max_age": 4, "request_collapsing": collapsing}}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows, began_s = measured(result), result.arrays["attempts"]["started_s"]
        # Who begins within the time of a fetch belongs to the same stampede: the answer is good for longer.
        heads = np.flatnonzero(np.append(True, np.diff(began_s) > fetch_s))
        crowds = np.diff(np.append(heads, len(began_s)))
        joined = (rows["attempts"] == 0) & (times(rows) > 0)
        return {"crowd": crowds[:-1], "time": times(rows), "some joined": joined.any()}, {}

    expected = {
        "mean of crowd": near(1 if collapsing else 1 + rate_rps * fetch_s, 0.02),
        "max of time": exactly(fetch_s),
        "mean of some joined": exactly(collapsing),
    }
    title = f"a stampede, {'collapsed' if collapsing else 'each for himself'}"
    return Case("C3", title, LIMITS, "closed form", run, read, expected, _SEEDS)
