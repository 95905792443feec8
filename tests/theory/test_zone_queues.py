"""Two zones under unequal load: with the own zone first each is an M/M/c of its own; zone-aware, both carry the same."""

from __future__ import annotations

import pytest
from harness import assert_reproduces

from sim import theory
from sim.laws import Exponential
from sim.validation.case import poisson, scenario, service
from sim.validation.reading import measured, records, times

pytestmark = pytest.mark.theory

RATE, WORKERS, WAY_S = 1.8, 2, 0.2


def two_zones(routing):
    """Two thirds of the callers are in a, and half of the servers. The front only passes on: a thinned Poisson stream each."""
    front = service([{"call": "back.do"}], workers="unlimited", replicas=3, zones={"a": 2, "b": 1})
    return scenario(
        {"front": front, "back": service(Exponential(1.0), workers=WORKERS, replicas=2)},
        poisson(RATE, "front.do"),
        zones=("a", "b"),
        zone_links={"default": WAY_S},
        calls={"front": {"balancing": "random"}, "back": {"zone_routing": routing, "balancing": "random"}},
        duration_s=16_000,
        warmup_s=200,
        attempts=True,
    )


def read(result):
    """Waits at each zone's server, and times of whole requests."""
    rows = measured(result)
    attempts = records(result, "attempts")
    here = attempts[attempts["target"] == result.names.index("back.do")]
    here = here[(here["request"] >= rows["request"][0]) & (here["request"] <= rows["request"][-1])]
    by_zone = {zone: here["queue_s"][here["replica"] == i] for i, zone in enumerate("ab")}
    return {"time": times(rows), **{f"wait in {zone}": waits for zone, waits in by_zone.items()}}, {}


def test_with_the_own_zone_first_each_zone_is_a_queue_of_its_own():
    loads = {"a": RATE * 2 / 3, "b": RATE / 3}
    waits_s = {zone: theory.mmc_wait_mean(load, 1.0, WORKERS) for zone, load in loads.items()}
    assert_reproduces(
        two_zones("same_zone_first"),
        read,
        {
            "mean of wait in a": (waits_s["a"], 0.03),
            "p99 of wait in a": (theory.mmc_wait_quantile(loads["a"], 1.0, WORKERS, 0.99), 0.05),
            "mean of wait in b": (waits_s["b"], 0.04),
            "p99 of wait in b": (theory.mmc_wait_quantile(loads["b"], 1.0, WORKERS, 0.99), 0.05),
            "mean of time": (1 + waits_s["a"] * 2 / 3 + waits_s["b"] / 3, 0.02),
        },
    )


def test_zone_aware_calls_load_both_zones_alike_and_pay_for_the_way():
    """A quarter of the calls of a cross, 1/6 of all: there and back."""
    wait_s = theory.mmc_wait_mean(RATE / 2, 1.0, WORKERS)
    p99_s = theory.mmc_wait_quantile(RATE / 2, 1.0, WORKERS, 0.99)
    assert_reproduces(
        two_zones({"kind": "zone_aware", "min_cluster_size": 2}),
        read,
        {
            "mean of wait in a": (wait_s, 0.03),
            "mean of wait in b": (wait_s, 0.03),
            "p99 of wait in a": (p99_s, 0.05),
            "p99 of wait in b": (p99_s, 0.05),
            "mean of time": (1 + wait_s + 2 * WAY_S / 6, 0.02),
        },
    )
