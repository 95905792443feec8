"""Connections dealt to replicas are balls thrown into bins, and a replica that got j of n of them is a queue of its own."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import comb

import numpy as np
import pytest
from scipy import stats

from sim.scenario.model import Scenario
from sim.single import run

pytestmark = pytest.mark.theory


def busiest(balls, bins):
    """Probability that the fullest of some bins holds exactly m of the balls, by m, where each ball falls into any of them.

    Bin after bin: ways[b] is the number of ways to put b of the balls into the bins so far with at most m in each.
    """
    at_most = []
    for most in range(balls + 1):
        ways = [1, *[0] * balls]
        for _ in range(bins):
            ways = [sum(comb(b, own) * ways[b - own] for own in range(min(most, b) + 1)) for b in range(balls + 1)]
        at_most.append(ways[balls] / bins**balls)
    return np.diff([0.0, *at_most])


@pytest.mark.parametrize(("balls", "bins"), [(4, 3), (6, 3), (5, 4)])
def test_the_oracle_itself_by_enumeration(balls, bins):
    counted = Counter(max(Counter(dealt).values()) for dealt in product(range(bins), repeat=balls))
    assert [counted[m] / bins**balls for m in range(balls + 1)] == pytest.approx(busiest(balls, bins))


def pinned(processes, replicas, balancing, rate_rps, service_rps, duration_s, warmup_s=0.0):
    """Callers, each with one connection, which get a Poisson share of the calls each."""
    back = {"replicas": replicas, "workers": 1, "operations": {"do": [{"work": {"exponential": 1 / service_rps}}]}}
    front = {"replicas": processes, "workers": "unlimited", "operations": {"ask": [{"call": "back.do"}]}}
    return Scenario(
        services={"front": front, "back": back},
        calls={"front": {"balancing": "random"}, "back": {"balancing": balancing, "connections": {}}},
        load={"kind": "poisson", "rate": rate_rps, "mix": "front.ask"},
        run={"duration": duration_s, "warmup": warmup_s, "sample_every": duration_s + warmup_s, "drain": 1e6},
    )


def dealt(result, replicas):
    """Connections that each replica got."""
    return np.bincount(result.changes[result.changes.state == "connected"].endpoint, minlength=replicas)


@pytest.mark.parametrize(("processes", "replicas"), [(6, 3), (8, 8)])
def test_connections_dealt_at_random_are_balls_in_bins(processes, replicas):
    seeds = 400
    case = pinned(processes, replicas, "random", 20.0 * processes, 1e4, 1.0)
    counts = np.array([dealt(run(case, seed), replicas) for seed in range(seeds)])
    assert (counts.sum(axis=1) == processes).all()
    fullest = np.bincount(counts.max(axis=1), minlength=processes + 1)
    expected = seeds * busiest(processes, replicas)
    rare = expected < 5
    seen, wanted = [np.append(each[~rare], each[rare].sum()) for each in (fullest, expected)]
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    assert stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue > 0.001
    assert counts.max(axis=1).mean() == pytest.approx(np.arange(processes + 1) @ busiest(processes, replicas), rel=0.05)
    empty = replicas * (1 - 1 / replicas) ** processes
    assert (counts == 0).sum(axis=1).mean() == pytest.approx(empty, rel=0.15)


def test_one_process_deals_in_turns_exactly():
    for connections, replicas in ((6, 3), (7, 3), (2, 5)):
        case = Scenario(
            services={"back": {"replicas": replicas, "workers": "unlimited", "operations": {"do": [{"work": 0.001}]}}},
            calls={"back": {"connections": {"per_process": connections, "use": "spread"}}},
            load={"rate": 100, "mix": "back.do"},
            run={"duration": 5},
        )
        low, more = divmod(connections, replicas)
        assert sorted(dealt(run(case), replicas)) == sorted([low + 1] * more + [low] * (replicas - more))


def test_a_replica_with_j_connections_is_a_queue_of_its_own_mean_and_tail():
    """Of n connections at rate λ/n each, j at one replica: M/M/1 at jλ/n. A call meets 1 + Binomial(n - 1, 1/k) of them."""
    processes, replicas, rate_rps, service_rps = 6, 3, 60.0, 80.0
    case = pinned(processes, replicas, "random", rate_rps, service_rps, 60.0, warmup_s=6.0)
    times_s: dict[int, list[np.ndarray]] = {}
    for seed in range(1, 121):
        result = run(case, seed)
        counts = dealt(result, replicas)
        rows = result.attempts[(result.attempts.target == "back.do") & (result.attempts.started_s > 6.0)]
        for replica, group in rows.groupby("replica"):
            times_s.setdefault(int(counts[replica]), []).append((group.ended_s - group.started_s).to_numpy())
    weight = stats.binom(processes - 1, 1 / replicas)
    for j in (1, 2, 3, 4):
        seen = np.concatenate(times_s[j])
        spare_rps = service_rps - j * rate_rps / processes
        assert seen.mean() == pytest.approx(1 / spare_rps, rel=0.02)
        assert np.quantile(seen, 0.99) == pytest.approx(np.log(100) / spare_rps, rel=0.05)
    calls = {j: sum(map(len, groups)) for j, groups in times_s.items()}
    total = sum(calls.values())
    for j in (1, 2, 3, 4):
        assert calls[j] / total == pytest.approx(weight.pmf(j - 1), abs=0.05)
    # All calls together, each kind with the weight that it has in the mean over all dealings.
    mixture_s = sum(weight.pmf(j - 1) / (service_rps - j * rate_rps / processes) for j in range(1, processes + 1))
    measured_s = sum(weight.pmf(j - 1) * np.concatenate(times_s[j]).mean() for j in times_s) / sum(
        weight.pmf(j - 1) for j in times_s
    )
    assert measured_s == pytest.approx(mixture_s, rel=0.02)
    # What balancing each call at random would give: a third of the load for each.
    assert mixture_s > 1.1 / (service_rps - rate_rps / replicas)
