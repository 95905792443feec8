"""Instances that go, and outages that a system does or does not recover from: SD1, SD2, ME1 and ME3 of the published results."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

import numpy as np

from sim.records import OK, UNREACHABLE
from sim.scenario.model import Scenario
from sim.single import RunResult
from sim.validation.case import Case, Expected, Reading, even, exactly, near, poisson, scenario, service
from sim.validation.reading import records

STALENESS: Final = "stale discovery"
METASTABLE: Final = "metastable failures"
_EUREKA: Final = {"heartbeat_interval": 30, "lease_duration": 90, "eviction_interval": 60, "response_cache": 30}
_POLL: Final = {"refresh_interval": 30, "cache": 30}
_DNS: Final = {"heartbeat_interval": None, "crash_delay": 0, "publish_delay": 10}
_BRONSON: Final = "closed form; Bronson et al. 2021"
#: When outages begin.
BEGIN_S: Final = 5.0


def cases() -> Iterator[Case]:
    """All cases of stale discovery and of metastable failures."""
    spring = {"preset": "spring-cloud@2025", "cache": 30}
    yield _visible("SD1", "Eureka, lease of 90 s as named", _EUREKA, _POLL, "crash", (150.0, 240.0), 400)
    yield _visible("SD1b", "Eureka, lease of 180 s as it is", {"preset": "eureka@2"}, spring, "crash", (240.0, 330.0), 250)
    yield _visible("SD1c", "Eureka, a graceful end", _EUREKA, _POLL, "stop", (45.0, 90.0), 300)
    yield _visible("SD2", "DNS, published after 10 s, TTL 30 s", _DNS, {"mode": "dns", "ttl": 30}, "crash", (25.0, 40.0), 40)
    yield from starmap(_recovery, [(120, 33), (140, 118)])
    yield _never()
    # A trap exists only where rate · attempts > 100 / s, and only a long enough outage falls into it. Four attempts, 30 / s and
    # 2 s are published as 0 of 10, but it is a narrow escape: 90 wait at the end, 100 would be the trap. A plain recursion over
    # tries is caught in 12 of 100 runs, so among 20 in up to 7 (99.9 %).
    yield _trap(2, 60, 1, exactly(0))
    yield _trap(2, 60, 2, exactly(1))
    yield _trap(4, 30, 2, Expected(0.12, 0.23))
    yield _trap(4, 30, 3, exactly(1))


def _visible(
    id: str, title: str, registry: dict[str, Any], discovery: dict[str, Any], fault: str,
    visible_s: tuple[float, float], seeds: int,
) -> Case:  # fmt: skip
    """One replica of ten goes at 20 s; 25 processes find out."""
    mean_s, longest_s = visible_s
    end_s = longest_s + 25.0
    shop = {"replicas": 10, "workers": "unlimited", "registry": "book", "operations": {"buy": [{"work": 0.001}]}}
    run = scenario(
        {"shop": shop}, even(50.0, "shop.buy", clients=25), duration_s=end_s, registries={"book": registry},
        calls={"default": {"discovery": discovery}}, faults=[{fault: "shop", "replica": 3, "at": 20.0}], run={"drain": end_s},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        changes = result.changes
        late_s = (changes.time_s[changes.state == "unlisted"] - 20.0).to_numpy()
        failed = (records(result, "requests")["outcome"] == UNREACHABLE).sum()
        # A copy on top is renewed by a call, and a process makes one every half second.
        beyond = (late_s > longest_s + 0.6).sum()
        return {"visible": late_s, "failed": failed, "beyond": beyond, "informed": len(late_s)}, {}

    expected = {
        "mean of visible": Expected(mean_s, 0.02 * mean_s, estimated=True),
        "max of visible": near(longest_s, 0.1),
        "mean of beyond": exactly(0),
        "mean of informed": exactly(25),
        # Failed calls: rate / N for as long as it is visible.
        "mean of failed": Expected(5.0 * mean_s, 0.02 * 5.0 * mean_s, estimated=True),
    }
    return Case(id, title, STALENESS, "closed form; Eureka's Lease.java", run, read, expected, seeds)


def outage(served_rps: float, rate_rps: float, attempts: int, outage_s: float, after_s: float) -> Scenario:
    """Build constant work in one line, clients who stop waiting after a second and try again, and a time without any work."""
    return scenario(
        {"a": service(1 / served_rps)}, poisson(rate_rps, "a.do"), duration_s=BEGIN_S + outage_s + after_s,
        calls={"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": attempts}}},
        faults=[{"pause": "a", "at": BEGIN_S, "for": outage_s}], run={"drain": 2.0},
    )  # fmt: skip


def _recovery(rate_rps: float, about_s: float) -> Case:
    end_s = BEGIN_S + 10

    def read(result: RunResult) -> Reading:
        rows = records(result, "requests")
        good_s = rows["ended_s"][(rows["outcome"] == OK) & (rows["arrived_s"] > BEGIN_S)]
        came = (rows["arrived_s"] > BEGIN_S) & (rows["arrived_s"] <= end_s + about_s)
        early = (rows["arrived_s"] > BEGIN_S) & (rows["arrived_s"] <= end_s)
        # Luck: how many have come by the time at which it should have recovered.
        luck = {"came": came.sum() - rate_rps * (10 + about_s), "early": early.sum() - rate_rps * 10}
        # Who is the first to be answered in time has come up to a second before.
        return {"recovery": good_s.min() - 1 - end_s}, luck

    published_s = (19 * rate_rps - 300) / (300 - 2 * rate_rps)
    title = f"recovery from 10 s of outage, {rate_rps}/s"
    run = outage(300, rate_rps, 2, 10, 2 * about_s)
    return Case("ME1", title, METASTABLE, _BRONSON, run, read, {"mean of recovery": near(published_s, 0.05)}, seeds=20)


def _never() -> Case:
    def read(result: RunResult) -> Reading:
        rows = records(result, "requests")
        good, arrived_s = rows["outcome"] == OK, rows["arrived_s"]
        return {"good before": good[arrived_s < BEGIN_S - 1], "good after": good[arrived_s > BEGIN_S + 10 + 60]}, {}

    expected = {"mean of good before": exactly(1), "mean of good after": exactly(0)}
    return Case("ME1", "no recovery, 151/s", METASTABLE, _BRONSON, outage(300, 151, 2, 10, 120), read, expected, seeds=10)


def _trap(attempts: int, rate_rps: float, outage_s: float, stuck: Expected) -> Case:
    def read(result: RunResult) -> Reading:
        rows = records(result, "requests")
        share = np.mean(rows["outcome"][rows["arrived_s"] > BEGIN_S + outage_s + 40] == OK)
        return {"stuck": share < 0.05, "undecided": 0.05 <= share <= 0.95}, {}

    expected = {"mean of stuck": stuck, "mean of undecided": exactly(0)}
    title = f"{attempts} tries, {rate_rps}/s, outage of {outage_s:g} s"
    run = outage(100, rate_rps, attempts, outage_s, 60)
    return Case("ME3", title, METASTABLE, "independent Monte Carlo", run, read, expected, seeds=20)
