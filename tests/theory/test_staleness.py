"""How long callers keep choosing who is gone: SD1, SD1b, SD1c and SD2 of the published results, through the scenario language."""

from __future__ import annotations

import numpy as np
import pytest
from harness import estimate

from sim.scenario.model import Scenario
from sim.single import run

pytestmark = pytest.mark.theory

EUREKA = {"heartbeat_interval": 30, "lease_duration": 90, "eviction_interval": 60, "response_cache": 30}
POLL = {"refresh_interval": 30, "cache": 30}


def case(registry, discovery, fault, replicas=10, clients=25, rate=50.0, end_s=400.0):
    """One replica goes at 20 s; `clients` processes find out."""
    return Scenario(
        services={
            "shop": {"replicas": replicas, "workers": "unlimited", "registry": "book", "operations": {"buy": [{"work": 0.001}]}}
        },
        registries={"book": registry},
        calls={"default": {"discovery": discovery}},
        load={"kind": "constant", "rate": rate, "mix": "shop.buy", "clients": clients},
        faults=[{fault: "shop", "replica": 3, "at": 20.0}],
        run={"duration": end_s, "sample_every": end_s, "record_attempts": False},
    )


def windows(scenario, seeds):
    """Mean and longest time that it stays visible, over processes, and failed calls: a row for each seed."""
    found = []
    for seed in seeds:
        result = run(scenario, seed)
        changes = result.changes
        lateness_s = changes[changes.state == "unlisted"].time_s - 20.0
        assert len(lateness_s) == scenario.load.clients
        found.append((lateness_s.mean(), lateness_s.max(), (result.requests.outcome == "unreachable").sum()))
    return np.array(found)


@pytest.mark.parametrize(
    ("registry", "discovery", "fault", "mean_s", "longest_s", "seeds"),
    [
        (EUREKA, POLL, "crash", 150.0, 240.0, 400),
        ({"preset": "eureka@2"}, {"preset": "spring-cloud@2025", "cache": 30}, "crash", 240.0, 330.0, 250),
        (EUREKA, POLL, "stop", 45.0, 90.0, 300),
        (
            {"heartbeat_interval": None, "crash_delay": 0, "publish_delay": 10},
            {"mode": "dns", "ttl": 30},
            "crash",
            25.0,
            40.0,
            40,
        ),
    ],
    ids=["SD1", "SD1b", "SD1c", "SD2"],
)
def test_the_time_that_a_dead_instance_stays_visible(registry, discovery, fault, mean_s, longest_s, seeds):
    end_s = longest_s + 25.0
    found = windows(case(registry, discovery, fault, end_s=end_s), range(1, seeds + 1))
    mean, half_width = estimate(found[:, 0])
    print(f"visible for {mean:.4g} ± {half_width:.2g} s, expected {mean_s}; longest {found[:, 1].max():.4g}, at most {longest_s}")
    assert mean == pytest.approx(mean_s, rel=0.02, abs=half_width)
    assert half_width < 0.03 * mean_s
    # A copy on top is renewed by a call, and a process makes one every half second.
    assert 0.9 * longest_s < found[:, 1].max() <= longest_s + 0.6
    # Failed calls: rate / N for as long as it is visible.
    failures, half_width = estimate(found[:, 2])
    assert failures == pytest.approx(50.0 / 10 * mean_s, rel=0.02, abs=half_width)
