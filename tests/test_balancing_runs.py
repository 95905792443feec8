"""Balancing in motion: who gets how many calls, what processes know, and what they forget."""

from __future__ import annotations

import numpy as np
import pytest
from rows import fingerprint

from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.single import run


def scenario(balancing, *, replicas=2, workers=1, work=0.01, rate=20, seconds=60, policy=(), load=(), **rest):
    """One service behind clients."""
    service = {"replicas": replicas, "workers": workers, "discovery_delay": 0.0, "operations": {"do": [{"work": work}]}}
    return Scenario(
        services={"a": service},
        calls={"default": {"balancing": balancing, **dict(policy)}},
        load={"rate": rate, "mix": "a.do", **dict(load)},
        run={"duration": seconds, "warmup": 0.0, "drain": 100.0, "sample_every": seconds},
        **rest,
    )


def shares(result, since_s=0.0, replicas=2):
    """The part of the attempts that each replica got."""
    rows = result.attempts[result.attempts.started_s >= since_s]
    return [round(float((rows.replica == i).mean()), 2) for i in range(replicas)]


def test_weights_are_kept_exactly():
    found = run(scenario({"kind": "weighted_round_robin", "weights": [3, 1]}))
    assert shares(found) == [0.75, 0.25]


SLOW_FIRST = [{"slow": "a", "replica": 0, "factor": 10.0, "at": 0.0}]


def test_peak_ewma_leaves_a_slow_one_alone_where_round_robin_does_not():
    assert shares(run(scenario("round_robin", faults=SLOW_FIRST))) == [0.5, 0.5]
    least, ewma = (shares(run(scenario(kind, workers=50, faults=SLOW_FIRST)))[0] for kind in ("least_request", "peak_ewma"))
    assert ewma < 0.1 < least  # enough workers: few calls are in flight, and only their latency tells


def test_reports_of_utilisation_give_the_faster_server_more():
    # 30 and 10 ms of work: the second can do three times as much.
    faults = [{"slow": "a", "replica": 0, "factor": 3.0, "at": 0.0}]
    case = scenario("utilisation", rate=40, seconds=120, faults=faults)
    assert shares(run(case), since_s=30.0) == pytest.approx([0.25, 0.75], abs=0.05)


def test_servers_without_a_number_of_workers_report_nothing():
    case = scenario("utilisation", workers="unlimited", faults=SLOW_FIRST)
    assert shares(run(case)) == [0.5, 0.5]
    assert any("a.do reports no utilisation" in doubt for doubt in doubts(case))
    assert not any("reports no utilisation" in doubt for doubt in doubts(scenario("utilisation")))


def test_the_same_key_goes_to_the_same_replica_for_all_clients():
    found = run(scenario({"kind": "ring_hash", "keys": 1}, load={"clients": 5}))
    assert sorted(shares(found)) == [0.0, 1.0]
    many = run(scenario({"kind": "maglev", "keys": 10_000}, load={"clients": 5}, seconds=200))
    assert shares(many) == pytest.approx([0.5, 0.5], abs=0.03)


def test_another_seed_hashes_otherwise():
    case = scenario({"kind": "ring_hash", "keys": 1}, seconds=5)
    assert {shares(run(case, seed))[0] for seed in range(8)} == {0.0, 1.0}


def test_each_client_uses_its_own_subset():
    found = run(scenario({"kind": "random", "subset_size": 2}, replicas=10, load={"clients": 30}, seconds=100))
    rows = found.attempts
    clients = rows.groupby(rows.request % 30).replica.nunique()  # clients take turns
    assert set(clients) == {2}
    assert rows.replica.nunique() == 10


def test_pick_first_moves_on_when_its_replica_dies_and_stays_there():
    crash = [{"crash": "a", "replica": 0, "at": 20.0, "for": 10.0}]
    found = run(scenario("pick_first", faults=crash)).attempts
    at = found.replica.to_numpy()
    assert set(at[found.started_s < 20]) == {0}
    assert set(at[found.started_s >= 20]) == {1}


def test_pick_first_leaves_who_is_unreachable_before_discovery_says_so():
    crash = [{"crash": "a", "replica": 0, "at": 20.0, "for": 30.0}]
    case = scenario("pick_first", faults=crash)
    late = case.model_copy(update={"services": {"a": case.services["a"].model_copy(update={"discovery_delay": 100.0})}})
    found = run(late).attempts
    assert int((found.outcome == "unreachable").sum()) == 1
    assert set(found.replica[found.started_s > 21]) == {1}


@pytest.mark.parametrize("policy", [{}, {"concurrency_limit": {"max_concurrent": 1000}}], ids=["plain", "guarded"])
def test_a_process_that_restarts_has_forgotten(policy):
    """A shop that has settled on the second replica goes to the first again after its own restart."""
    services = {
        "shop": {"workers": 10, "discovery_delay": 0.0, "operations": {"buy": [{"call": "a.do"}]}},
        "a": {"replicas": 2, "workers": 10, "discovery_delay": 0.0, "operations": {"do": [{"work": 0.01}]}},
    }
    faults = [{"crash": "a", "replica": 0, "at": 10.0, "for": 5.0}, {"crash": "shop", "at": 30.0, "for": 1.0}]
    case = Scenario(
        services=services,
        calls={"shop -> a": {"balancing": "pick_first", **policy}},
        load={"rate": 20, "mix": "shop.buy"},
        run={"duration": 60, "warmup": 0.0},
        faults=faults,
    )
    found = run(case).attempts
    found = found[found.target == "a.do"]
    periods = [(0, 10, {0}), (10, 30, {1}), (31, 60, {0})]
    for begin_s, end_s, expected in periods:
        assert set(found.replica[(found.started_s >= begin_s) & (found.started_s < end_s)]) == expected


def test_a_replica_that_comes_back_starts_slowly():
    crash = [{"crash": "a", "replica": 0, "at": 20.0, "for": 5.0}]
    found = run(scenario({"kind": "round_robin", "slow_start": {"window": 20.0}}, rate=200, faults=crash)).attempts
    share = [float((found.replica[(found.started_s >= s) & (found.started_s < s + 2)] == 0).mean()) for s in (10, 25, 34, 50)]
    # 10 % grows to 100 %: around 1 s it is still 0.1 of 1.1, around 10 s 0.5 of 1.5.
    assert share == pytest.approx([0.5, 0.1 / 1.1, 0.5 / 1.5, 0.5], abs=0.03)


def test_an_aperture_grows_with_the_load():
    quiet, busy = (run(scenario("aperture", replicas=10, workers=50, rate=rate)).attempts for rate in (2, 600))
    assert quiet.replica.nunique() == 1
    assert busy.replica.nunique() > 5


LEARNING = ["peak_ewma", "aperture", "pick_first", "utilisation", {"kind": "ring_hash", "keys": 7, "hash_balance_factor": 120}]


@pytest.mark.parametrize("balancing", LEARNING, ids=str)
def test_a_guarded_caller_gives_the_rows_of_a_plain_one(balancing):
    crash = [{"crash": "a", "replica": 1, "at": 20.0, "for": 5.0}]
    policy = {"timeout": 0.5, "retry": {"max_attempts": 3, "backoff": {"base": 0.01, "jitter": "full"}}}
    plain = scenario(balancing, replicas=3, work={"exponential": 0.1}, rate=20, policy=policy, faults=crash)
    idle = {**policy, "concurrency_limit": {"max_concurrent": 10**6}}
    guarded = scenario(balancing, replicas=3, work={"exponential": 0.1}, rate=20, policy=idle, faults=crash)
    assert guarded.policy("client", "a.do").guarded
    assert not plain.policy("client", "a.do").guarded
    assert fingerprint(run(plain, 3)) == fingerprint(run(guarded, 3))


def test_rules_see_each_other_call_that_is_over():
    """Calls that were given up are settled, too: nothing stays in flight for an aperture or a full scan."""
    policy = {"timeout": 0.02, "retry": {"max_attempts": 2}}
    case = scenario("aperture", replicas=4, work=0.03, rate=5, policy=policy)
    found = run(case)
    assert set(found.requests.outcome) == {"timeout"}
    assert found.attempts.replica.nunique() == 1  # 0.1 calls in flight
    assert np.isfinite(found.requests.ended_s).all()
