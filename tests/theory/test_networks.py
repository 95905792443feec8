"""Several services: tandem, closed loop, fork-join, fan-out and load balancing, mean and tail."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from harness import (
    SEEDS,
    assert_reproduces,
    luck_of_arrivals,
    luck_of_line,
    luck_of_work,
    measured,
    poisson,
    scenario,
    service,
    times,
)
from rows import records

from sim import theory
from sim.laws import Exponential

pytestmark = pytest.mark.theory


def visits(result, address, rows):
    """Attempt rows of one target for the measured requests; one visit per request, in order of arrival."""
    attempts = records(result, "attempts")
    here = attempts[attempts["target"] == result.names.index(address)]
    return here[(here["request"] >= rows["request"][0]) & (here["request"] <= rows["request"][-1])]


def test_q8_three_stations_in_a_row():
    # The first service only passes on, with unlimited workers: holding a worker during the calls would be another model.
    stations = {name: service(Exponential(1.0)) for name in ("a", "b", "c")}
    front = service([{"call": f"{name}.do"} for name in stations], workers="unlimited")
    case = scenario({"front": front, **stations}, poisson(0.8, "front.do"), duration_s=12_000, warmup_s=500, attempts=True)

    def read(result):
        rows = measured(result)
        time_s = times(rows)
        luck = luck_of_arrivals(rows, 0.8, {"time": time_s})
        for name in stations:
            here = visits(result, f"{name}.do", rows)
            own = luck_of_work(here["service_s"], 1, {"wait": here["queue_s"]})
            luck |= {f"{name} {key}": x for key, x in own.items()}
        return {"time": time_s}, luck

    assert_reproduces(case, read, {"mean of time": (15, 0.02), "p99 of time": (42.03, 0.05)})


def test_q10_closed_loop():
    case = scenario(
        {"a": service(Exponential(0.1))},
        {"kind": "closed", "users": 10, "think": {"exponential": 1.0}, "mix": "a.do"},
        duration_s=400,
        warmup_s=20,
    )

    def read(result):
        rows = measured(result)
        throughput_rps = len(rows) / case.run.duration
        luck = luck_of_work(rows["service_s"], 0.1, {"wait": rows["queue_s"]})
        return {"time": times(rows), "throughput": throughput_rps}, luck

    p99_s = theory.closed_time_quantile(10, 1, 0.1, 0.99)
    expected = {"mean of throughput": (7.854177, 0.02), "mean of time": (0.2732079, 0.02), "p99 of time": (p99_s, 0.05)}
    assert_reproduces(case, read, expected)


@pytest.mark.parametrize(("rho", "mean_s", "requests"), [(0.8, 7.0, 4_000), (0.9, 13.875, 10_000)])
def test_q14_fork_join(rho, mean_s, requests):
    halves = {name: service(Exponential(1.0)) for name in ("a", "b")}
    front = service([{"parallel": [{"call": "a.do"}, {"call": "b.do"}]}], workers="unlimited")
    case = scenario(
        {"front": front, **halves},
        poisson(rho, "front.do"),
        duration_s=requests / rho,
        warmup_s=12 / (1 - rho) ** 2,
        attempts=True,
    )

    def read(result):
        rows = measured(result)
        time_s = times(rows)
        luck = luck_of_arrivals(rows, rho, {"time": time_s})
        for name in halves:
            here = visits(result, f"{name}.do", rows)
            own = luck_of_work(here["service_s"], 1, {"wait": here["queue_s"]})
            luck |= {f"{name} {key}": x for key, x in own.items()}
        return {"time": time_s}, luck

    _, p99_s = oracles.fork_join_time_mean_and_quantile(rho, 1, 0.99, size={0.8: 60, 0.9: 110}[rho])
    assert_reproduces(case, read, {"mean of time": (mean_s, 0.02), "p99 of time": (p99_s, 0.05)})


@pytest.mark.parametrize(
    ("count", "mean_s", "p99_s", "slow", "requests"), [(10, 2.92897, 6.90324, None, 400), (100, 5.18738, 9.20537, 0.634, 90)]
)
def test_q15_t1_wait_for_the_slowest(count, mean_s, p99_s, slow, requests):
    front = service([{"call": "leaf.do", "count": count, "in_parallel": True}], workers="unlimited")
    leaf = service(Exponential(1.0), workers="unlimited")
    case = scenario({"front": front, "leaf": leaf}, poisson(10, "front.do"), duration_s=requests / 10)

    def read(result):
        time_s = times(measured(result))
        # T1: of a hundred answers one is nearly always slower than their 99th percentile.
        return {"time": time_s, "slow": time_s > -np.log(0.01)}, {}

    expected = {"mean of time": (mean_s, 0.02), "p99 of time": (p99_s, 0.05)}
    assert_reproduces(case, read, expected | ({"mean of slow": (slow, 0.02)} if slow else {}))


@pytest.mark.parametrize(("replicas", "mean_s", "requests"), [(2, 7.588, 10_000), (10, 5.660, 14_000), (100, 5.227, 20_000)])
def test_lb1_round_robin(replicas, mean_s, requests):
    # One client process, so that its turns are the turns: each replica gets exactly every n-th request.
    # Many replicas need few seconds to be seen often, but as long as few to fill up from empty.
    rho, rate, warmup_s = 0.9, 0.9 * replicas, {2: 800, 10: 400, 100: 250}[replicas]
    case = scenario(
        {"a": service(Exponential(1.0), replicas=replicas)}, poisson(rate, "a.do"), duration_s=requests / rate, warmup_s=warmup_s
    )

    def read(result):
        rows = measured(result)
        time_s, wait_s = times(rows), rows["queue_s"]
        gaps = rows["arrived_s"][replicas:] - rows["arrived_s"][:-replicas] - 1 / rho
        luck = {"gap": gaps.mean(), "gap × time": (gaps * time_s[:-replicas]).mean()}
        return {"time": time_s}, luck | luck_of_work(rows["service_s"], 1, {"wait": wait_s})

    p99_s = -np.log(0.01) * theory.round_robin_time_mean(rate, 1, replicas)
    seeds = SEEDS[:30] if replicas == 100 else SEEDS
    assert_reproduces(case, read, {"mean of time": (mean_s, 0.02), "p99 of time": (p99_s, 0.05)}, seeds)


@pytest.mark.parametrize(("rho", "requests"), [(0.8, 8_000), (0.9, 25_000)])
def test_join_idle_queue_of_one_process_is_idle_first(rho, requests):
    case = scenario(
        {"a": service(Exponential(1.0), replicas=2)},
        poisson(2 * rho, "a.do"),
        duration_s=requests / (2 * rho),
        warmup_s=12 / (1 - rho) ** 2,
        calls={"default": {"balancing": "join_idle_queue"}},
    )

    def read(result):
        rows = measured(result)
        return {"time": times(rows)}, luck_of_line(rows, 2 * rho)

    assert_reproduces(case, read, {"mean of time": (oracles.idle_first_time_mean(rho, {0.8: 80, 0.9: 120}[rho]), 0.02)})


@pytest.mark.parametrize(
    ("rule", "replicas", "rho", "mean_s", "requests"),
    [
        ("random", 2, 0.9, 10.0, 60_000),  # LB1: each one M/M/1
        ("two_choices", 10, 0.9, 3.101, 9_000),  # LB2, drawn with replacement; independent Monte Carlo
        ("two_choices", 100, 0.8, 1.970, 9_000),
        ("two_choices", 100, 0.9, 2.659, 16_000),
        ({"kind": "two_choices", "replacement": False}, 10, 0.9, 2.972, 9_000),  # LB2d, two different ones; Monte Carlo
        ({"kind": "two_choices", "replacement": False}, 100, 0.9, 2.639, 16_000),
        ("least_request", 2, 0.8, 2.95574, 6_000),  # LB3, join the shortest queue; exact
        ("least_request", 2, 0.9, 5.47491, 9_000),
    ],
)
def test_lb2_lb3_looking_before_choosing(rule, replicas, rho, mean_s, requests):
    # One client process sees all calls in flight, so the least of them is the shortest queue.
    rate = rho * replicas
    case = scenario(
        {"a": service(Exponential(1.0), replicas=replicas)},
        poisson(rate, "a.do"),
        duration_s=requests / rate,
        warmup_s=max(40, 500 / replicas),
        calls={"default": {"balancing": rule}},
    )

    def read(result):
        rows = measured(result)
        return {"time": times(rows)}, luck_of_line(rows, rate)

    assert_reproduces(case, read, {"mean of time": (mean_s, 0.02)})
