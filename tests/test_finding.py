"""How callers find replicas, in motion: registries, what processes learn from them, health checks, stops, proxies."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim.scenario.model import Scenario
from sim.single import run

PUSH = {"default": {"discovery": {"mode": "push"}}}
LEASES = {"heartbeat_interval": 10, "lease_duration": 30}
TABLE = {"heartbeat_interval": None, "crash_delay": 0}


def scenario(replicas=2, registry=LEASES, calls=PUSH, at=(0.0,), shop=None, length=200.0, **rest):
    """Requests for `shop.buy` at given times; its replicas are in a registry."""
    spec = {"replicas": replicas, "workers": "unlimited", "registry": "book", "operations": {"buy": [{"work": 0.1}]}}
    settings = {"duration": length, "sample_every": length}
    return Scenario(
        services={"shop": {**spec, **(shop or {})}, **rest.pop("services", {})},
        registries={"book": registry},
        calls=calls,
        load={"kind": "replay", "times": at, "mix": rest.pop("entry", "shop.buy"), "clients": rest.pop("clients", 1)},
        run=settings,
        **rest,
    )


def news(result, *states, caller="client"):
    """(time, endpoint, state) of what changed, for these states."""
    rows = result.changes[(result.changes.caller == caller) & result.changes.state.isin(states or ["listed", "unlisted"])]
    return [(round(row.time_s, 6), row.endpoint, row.state) for row in rows.itertuples()]


def outcomes(result):
    return list(result.requests.outcome)


def every(step_s, start_s, end_s):
    """Times from start to end."""
    return tuple(start_s + i * step_s for i in range(round((end_s - start_s) / step_s)))


# Registries with leases.


def test_a_crash_is_known_when_the_lease_of_the_last_heartbeat_has_ended():
    found = run(scenario(faults=[{"crash": "shop", "replica": 1, "at": 50.0}], at=every(1.0, 0.0, 100.0)))
    [(time_s, endpoint, state)] = news(found)
    assert (endpoint, state) == (1, "unlisted")
    assert 70.0 < time_s <= 80.0  # the last heartbeat was in the ten seconds before 50
    rows = found.requests
    failed = rows[rows.outcome == "unreachable"].arrived_s
    assert len(failed) in (round(time_s - 50) // 2, round(time_s - 50) // 2 + 1)  # every other call, until then
    assert failed.min() in (50.0, 51.0)
    assert failed.max() <= time_s


def test_who_comes_back_registers_again():
    found = run(scenario(registry={**LEASES, "registration_delay": 5}, faults=[{"crash": "shop", "at": 50.0, "for": 60.0}]))
    assert news(found)[2:] == [(115.0, 0, "listed"), (115.0, 1, "listed")]
    assert news(found, "down", "up", caller="shop") == [(50.0, 0, "down"), (50.0, 1, "down"), (110.0, 0, "up"), (110.0, 1, "up")]


def test_a_short_absence_stays_unnoticed():
    assert news(run(scenario(faults=[{"crash": "shop", "at": 50.0, "for": 15.0}]))) == []


def test_self_preservation_suspects_the_network_and_not_everybody():
    cut = [{"link": "shop -> book", "at": 100.0, "for": 600.0, "partition": True}]
    eureka = {"preset": "eureka@2"}
    assert news(run(scenario(10, registry=eureka, faults=cut, length=900.0))) == []
    trusting = {**eureka, "self_preservation_percent": 0, "max_eviction_percent": 100}
    gone = news(run(scenario(10, registry=trusting, faults=cut, length=900.0)))
    assert sorted((i, state) for _, i, state in gone) == [(i, state) for i in range(10) for state in ("listed", "unlisted")]
    assert all(250 < time_s <= 370 for time_s, _, state in gone if state == "unlisted")
    assert all(700 <= time_s <= 730 for time_s, _, state in gone if state == "listed")  # the next heartbeat, and the cache


def test_with_nobody_listed_calls_are_unreachable_at_once():
    found = run(scenario(faults=[{"crash": "shop", "at": 10.0}], at=(5.0, 60.0)))
    rows = found.requests
    assert list(rows.outcome) == ["ok", "unreachable"]
    assert rows.ended_s[1] == rows.arrived_s[1]


# Registries where somebody watches.


def test_a_stop_tells_the_registry_and_serves_meanwhile():
    fault = {"stop": "shop", "replica": 0, "at": 10.0, "drain": 4.0, "for": 20.0}
    calls = {"default": {"discovery": {"mode": "push", "push_delay": 3.0}}}
    found = run(scenario(registry=TABLE, calls=calls, faults=[fault], at=every(0.5, 8.0, 40.0)))
    assert outcomes(found) == ["ok"] * 64
    assert news(found) == [(13.0, 0, "unlisted"), (33.0, 0, "listed")]
    assert news(found, "down", "up", caller="shop") == [(14.0, 0, "down"), (30.0, 0, "up")]


def test_a_drain_that_is_too_short_refuses_those_who_do_not_know_yet():
    fault = {"stop": "shop", "replica": 0, "at": 10.0, "drain": 1.0}
    calls = {"default": {"discovery": {"mode": "push", "push_delay": 3.0}}}
    found = run(scenario(registry=TABLE, calls=calls, faults=[fault], at=every(0.5, 8.0, 20.0)))
    assert sum(outcome == "unreachable" for outcome in outcomes(found)) == 2  # from 11 to 13 s every other one


@pytest.mark.parametrize(("grace", "outcome", "down_s"), [(5.0, "ok", 3.0), (1.0, "unreachable", 2.0)])
def test_who_stops_finishes_what_is_inside_while_its_grace_lasts(grace, outcome, down_s):
    fault = {"stop": "shop", "at": 1.0, "grace": grace}
    found = run(scenario(1, shop={"operations": {"buy": [{"work": 3.0}]}}, registry=TABLE, faults=[fault]))
    assert outcomes(found) == [outcome]
    assert news(found, "down", caller="shop") == [(down_s, 0, "down")]


def test_who_stops_lets_nobody_in_after_its_drain():
    calls = {"default": {"discovery": {"mode": "push", "push_delay": 50.0}}}
    fault = {"stop": "shop", "at": 1.0, "grace": 10.0}
    shop = {"operations": {"buy": [{"work": 3.0}]}}
    assert outcomes(run(scenario(1, shop=shop, calls=calls, registry=TABLE, faults=[fault], at=(0.0, 2.0)))) == [
        "ok",
        "unreachable",
    ]


def test_who_is_to_be_started_before_it_has_ended_is_started_then():
    found = run(scenario(1, registry=TABLE, faults=[{"stop": "shop", "at": 10.0, "drain": 10.0, "for": 3.0}]))
    assert news(found, "down", "up", caller="shop") == [(20.0, 0, "down"), (20.0, 0, "up")]


def test_who_crashes_while_it_stops_is_started_once():
    faults = [{"stop": "shop", "at": 10.0, "drain": 10.0, "for": 30.0}, {"crash": "shop", "at": 12.0, "for": 3.0}]
    found = run(scenario(1, registry=TABLE, faults=faults))
    lives = news(found, "down", "up", caller="shop")
    assert lives == [(12.0, 0, "down"), (15.0, 0, "up"), (20.0, 0, "down"), (40.0, 0, "up")]


def test_readiness_takes_out_who_hangs_and_brings_it_back():
    ready = {"interval": 2, "timeout": 1, "unhealthy_threshold": 3}
    fault = {"pause": "shop", "replica": 1, "at": 20.0, "for": 20.0}
    found = run(scenario(registry=TABLE, shop={"readiness": ready}, faults=[fault]))
    (out_s, _, _), (back_s, _, _) = news(found)
    assert 25.0 < out_s <= 27.0  # the third check that began after 20 s, and a second until it has failed
    assert 40.0 <= back_s < 42.0


def test_who_comes_back_is_listed_once_it_is_ready():
    ready = {"interval": 2, "initial_delay": 7}
    found = run(
        scenario(registry=TABLE, shop={"readiness": ready}, faults=[{"crash": "shop", "replica": 1, "at": 20, "for": 10}])
    )
    (out_s, _, _), (back_s, _, _) = news(found)
    assert out_s == 20.0
    assert 37.0 <= back_s < 39.0


def test_nobody_says_that_a_machine_has_vanished():
    gone = [{"crash": "shop", "replica": 1, "silent": True, "at": 20.0}]
    assert news(run(scenario(registry=TABLE, faults=gone))) == []
    assert news(run(scenario(registry=TABLE, shop={"readiness": {}}, faults=gone))) == []


def test_who_answers_with_errors_or_dies_before_it_answers_fails_its_check():
    ready = {"interval": 2, "timeout": 10, "unhealthy_threshold": 1}
    errors = [{"errors": "shop", "ratio": 1.0, "at": 20.0}]
    [(out_s, _, _)] = news(run(scenario(1, registry=TABLE, shop={"readiness": ready}, faults=errors)))
    assert 20.0 <= out_s < 22.0
    busy = {"workers": 1, "readiness": ready, "operations": {"buy": [{"work": 50.0}]}}
    found = run(scenario(1, registry={"heartbeat_interval": None}, shop=busy, faults=[{"crash": "shop", "at": 6.0}]))
    assert news(found) == [(6.0, 0, "unlisted")]  # the check that waited for the worker


def test_an_overloaded_replica_fails_its_checks():
    ready = {"interval": 2, "timeout": 1, "unhealthy_threshold": 2}
    busy = {"workers": 1, "readiness": ready, "operations": {"buy": [{"work": 12.0}]}}
    found = run(scenario(1, registry=TABLE, shop=busy, at=(20.0,)))
    (out_s, _, _), (back_s, _, _) = news(found)
    assert 23.0 < out_s <= 25.0
    assert 32.0 <= back_s < 34.0


# What a process learns.


def test_a_poll_is_late_by_at_most_its_interval_and_a_copy_by_as_much_again():
    fault = [{"crash": "shop", "replica": 1, "at": 50.0}]
    for cache_s in (0.0, 20.0):
        calls = {"default": {"discovery": {"refresh_interval": 10, "cache": cache_s}}}
        found = run(scenario(registry=TABLE, calls=calls, faults=fault, clients=40, at=every(0.05, 0.0, 100.0)))
        lateness = [time_s - 50.0 for time_s, _, _ in news(found)]
        assert len(lateness) == 40
        assert min(lateness) > 0.0
        assert 0.8 * (10 + cache_s) < max(lateness) < 10 + cache_s + 2.0  # a copy is renewed by a call, one every two seconds
        assert 0.3 * (10 + cache_s) < sum(lateness) / 40 < 0.7 * (10 + cache_s) + 1.0


def test_a_registry_that_is_down_leaves_what_is_known_or_nobody():
    faults = [{"outage": "book", "at": 20.0, "for": 30.0}, {"crash": "shop", "replica": 0, "at": 25.0}]
    for on_failure, seen in (("keep_stale", []), ("empty", [0, 1])):
        calls = {"default": {"discovery": {"refresh_interval": 5, "on_failure": on_failure}}}
        found = run(scenario(registry=TABLE, calls=calls, faults=faults))
        during = [endpoint for time_s, endpoint, state in news(found) if time_s < 50.0 and state == "unlisted"]
        assert during == seen
    assert news(found)[-1][1:] == (1, "listed")  # and it knows who is left
    assert news(found)[-1][0] <= 55.0


def test_who_is_pushed_to_learns_what_it_missed_when_the_registry_is_back():
    faults = [{"outage": "book", "at": 20.0, "for": 30.0}, {"crash": "shop", "replica": 0, "at": 25.0}]
    assert news(run(scenario(registry=TABLE, faults=faults))) == [(50.0, 0, "unlisted")] or news(
        run(scenario(registry=TABLE, faults=faults))
    ) == [(51.0, 0, "unlisted")]


def test_of_pushes_that_overtake_each_other_the_later_one_holds():
    calls = {"default": {"discovery": {"mode": "push", "push_delay": {"exponential": 2.0}}}}
    found = run(scenario(5, registry=TABLE, calls=calls, clients=10, faults=[{"crash": "shop", "at": 10.0, "for": 50.0}]))
    listed = {(row.process, row.endpoint): row.state for row in found.changes[found.changes.caller == "client"].itertuples()}
    assert set(listed.values()) == {"listed"}
    assert len(listed) == 50


def test_a_push_that_was_due_while_the_registry_was_down_comes_when_it_is_back():
    slow = {"heartbeat_interval": None, "publish_delay": 5}
    faults = [{"stop": "shop", "replica": 0, "at": 18.0}, {"outage": "book", "at": 20.0, "for": 10.0}]
    assert news(run(scenario(registry=slow, faults=faults))) == [(30.0, 0, "unlisted")]


def test_an_answer_that_the_registry_did_not_finish_is_none():
    slow = {**TABLE, "lookup_time": 6}
    calls = {"default": {"discovery": {"refresh_interval": 10, "on_failure": "empty"}}}
    found = run(scenario(1, registry=slow, calls=calls, clients=10, faults=[{"outage": "book", "at": 30.0, "for": 0.1}]))
    lost = [time_s for time_s, _, state in news(found) if state == "unlisted"]
    assert lost
    assert all(30.0 <= time_s <= 36.0 for time_s in lost)


def test_services_share_a_registry():
    pay = {"replicas": 3, "workers": 1, "registry": "book", "operations": {"do": [{"work": 0.1}]}}
    found = run(scenario(services={"pay": pay}, faults=[{"crash": "pay", "replica": 0, "at": 20.0}], at=every(1.0, 0.0, 99.0)))
    assert news(found) == []
    assert outcomes(found) == ["ok"] * 99


def test_a_process_that_is_started_again_asks_anew():
    services = {"front": {"workers": "unlimited", "discovery_delay": 0, "operations": {"get": [{"call": "shop.buy"}]}}}
    faults = [{"crash": "front", "at": 20.0, "for": 10.0}, {"crash": "shop", "replica": 0, "at": 22.0}]
    calls = {"front -> shop": {"discovery": {"refresh_interval": 1000}}}
    found = run(scenario(registry=TABLE, calls=calls, services=services, faults=faults, entry="front.get", at=(31.0, 32.0)))
    assert news(found, caller="front") == [(30.0, 0, "unlisted")]
    assert outcomes(found) == ["ok", "ok"]


def test_lookups_load_the_registry_and_wait_for_its_workers():
    calls = {"default": {"discovery": {"refresh_interval": 10}}}
    slow = {"heartbeat_interval": None, "lookup_time": 1.0, "workers": 1}
    found = run(scenario(registry=slow, calls=calls, clients=20, at=(0.0,)))
    total = found.totals.set_index("name").loc["book"]
    # Twenty processes would ask twice a second; one worker answers once a second, so nobody asks more often than that.
    assert 195 <= total.served <= 401
    assert 195 <= total.busy_worker_s <= 400
    assert found.gauges[found.gauges.name == "book"].queued.max() > 5


def test_nodes_tell_each_other_and_stand_in_for_each_other():
    two = {**TABLE, "nodes": 2, "replication_delay": 4}
    fault = {"stop": "shop", "replica": 0, "at": 10.0, "for": 100.0}
    found = run(scenario(registry=two, clients=2, at=(0.0, 0.0), faults=[fault]))
    assert news(found)[:2] == [(10.0, 0, "unlisted"), (14.0, 0, "unlisted")]
    down = {"outage": "book", "node": 1, "at": 5.0, "for": 25.0}
    found = run(scenario(registry=two, clients=2, at=(0.0, 0.0), faults=[fault, down]))
    assert news(found)[:2] == [(10.0, 0, "unlisted"), (30.0, 0, "unlisted")]  # node 1 hears of it when it is back
    found = run(scenario(registry={**LEASES, "nodes": 2}, faults=[{"outage": "book", "node": 1, "at": 20.0, "for": 100.0}]))
    assert news(found) == []  # heartbeats of replica 1 go to node 0 meanwhile


# Checks by callers.


def test_a_caller_that_checks_leaves_out_who_does_not_answer():
    check = {"interval": 2, "timeout": 1, "unhealthy_threshold": 2}
    case = scenario(
        calls={"default": {"health_check": check}},
        registry={"heartbeat_interval": None},
        faults=[{"crash": "shop", "replica": 1, "silent": True, "at": 20.0, "for": 20.0}],
        at=every(1.0, 0.0, 60.0),
    )
    found = run(case)
    (out_s, _, _), (back_s, _, _) = news(found, "ejected", "returned")
    assert 23.0 < out_s <= 25.0
    assert 40.0 <= back_s < 42.0
    rows = found.requests
    assert rows[rows.outcome != "ok"].arrived_s.between(20.0, out_s).all()


def test_who_comes_later_is_checked_from_when_it_is_known_and_who_never_comes_is_not():
    check = {"interval": 2, "timeout": 1, "unhealthy_threshold": 1, "initially": "unhealthy"}
    case = scenario(
        calls={"default": {"health_check": check, "discovery": {"mode": "push"}}},
        registry={"heartbeat_interval": None},
        deployments=[{"scale": "shop", "replicas": 3, "at": 20.0}],
        at=every(0.1, 0.0, 30.0),
    )
    found = run(case)
    assert news(found, "ejected") == []  # of a replica that is not there yet
    assert set(found.attempts.outcome) == {"ok"}
    first_s = found.attempts[found.attempts.replica == 2].started_s.min()
    assert 20.0 < first_s < 20.5  # not up to an interval later


def test_a_check_that_is_too_long_on_its_way_fails():
    check = {"interval": 2, "timeout": 1, "unhealthy_threshold": 1}
    for latency_s, outcome in ((0.4, "ok"), (0.6, "unreachable")):
        calls = {"default": {"health_check": check}}
        found = run(scenario(calls=calls, registry={"heartbeat_interval": None}, links={"default": latency_s}, at=(0.0, 50.0)))
        assert outcomes(found)[1] == outcome


@pytest.mark.parametrize(("panic", "outcome"), [(0, "unreachable"), (50, "timeout")])
def test_in_panic_a_caller_uses_all(panic, outcome):
    check = {"interval": 2, "timeout": 1, "unhealthy_threshold": 2, "panic_threshold_percent": panic}
    calls = {"default": {"timeout": 3.0, "health_check": check}}
    faults = [{"crash": "shop", "silent": True, "at": 20.0}]
    assert outcomes(run(scenario(calls=calls, registry={"heartbeat_interval": None}, faults=faults, at=(0.0, 50.0)))) == [
        "ok",
        outcome,
    ]


# Proxies.


def through(proxy, calls, at=(0.0,), pay=None, **rest):
    """Requests for shop.buy, which calls pay.do through a proxy named edge."""
    spec = {"workers": "unlimited", "discovery_delay": 0.0}
    services = {
        "shop": {**spec, "replicas": 2, "operations": {"buy": [{"call": "pay.do"}]}},
        "pay": {**spec, "replicas": 2, "operations": {"do": [{"work": 0.1}]}, **(pay or {})},
    }
    return Scenario(
        services=services,
        proxies={"edge": proxy},
        calls={"shop -> pay": {"via": "edge"}, **calls},
        load={"kind": "replay", "times": at, "mix": "shop.buy"},
        run={"duration": 100.0, "sample_every": 1.0},
        **rest,
    )


def took(result):
    rows = result.requests
    return [round(1000 * (b - a)) for a, b in zip(rows.arrived_s, rows.ended_s, strict=True)]


def test_a_tier_is_a_hop_and_a_sidecar_is_none():
    links = {"default": 0.01}
    assert took(run(through({"work": 0.002}, {}, links=links))) == [20 + 2 + 20 + 100 + 20]
    assert took(run(through({"placement": "sidecar", "work": 0.002}, {}, links=links))) == [20 + 2 + 100 + 20]


def test_a_proxy_passes_on_what_it_gets():
    assert outcomes(run(through({}, {"edge -> pay": {"timeout": 0.05}}))) == ["error"]
    found = run(through({}, {"edge -> pay": {"timeout": 0.05}}))
    assert list(found.attempts.outcome) == ["error", "timeout", "timeout"]
    found = run(through({}, {}, pay={"workers": 1, "queue": 0}, at=(0.0, 0.0, 0.0)))
    assert list(found.attempts[found.attempts.target == "edge.pay.do"].outcome).count("rejected") == 1
    found = run(through({}, {}, faults=[{"crash": "pay", "at": 0}], at=(1.0,)))
    assert list(found.attempts.outcome) == ["error", "unreachable", "unreachable"]


def test_a_timeout_of_the_proxy_is_no_deadline_of_the_caller():
    calls = {"edge -> pay": {"timeout": 0.05}, "shop -> pay": {"via": "edge", "timeout": 10, "retry": {"max_attempts": 3}}}
    found = run(through({"work": 0}, calls))
    assert (found.attempts.target == "edge.pay.do").sum() == 3
    calls["shop -> pay"]["fallback"] = "value"  # the same with all layers
    found = run(through({"work": 0}, calls))
    assert (found.attempts.target == "edge.pay.do").sum() == 3


def test_wide_selectors_do_not_reach_a_proxy():
    case = through({}, {"default": {"retry": {"max_attempts": 3}}, "pay": {"timeout": 1}, "edge -> default": {"timeout": 2}})
    assert case.policy("shop", "pay.do").retry.max_attempts == 3
    assert case.policy("edge", "pay.do").retry.max_attempts == 1
    assert case.policy("edge", "pay.do").timeout == 2


def test_a_sidecar_lives_and_dies_with_its_replica():
    crash = {"crash": "shop", "replica": 0, "at": 10.0, "for": 10.0}
    found = run(through({"placement": "sidecar"}, {}, faults=[crash], at=every(1, 5, 30)))
    alive = found.gauges.set_index("name").alive
    assert (alive["edge@shop"].min(), alive["edge@shop"].max()) == (1, 2)
    assert outcomes(found).count("ok") == 25
    sidecars = found.attempts[found.attempts.target == "edge@shop.pay.do"]
    beside = found.attempts.set_index("attempt").replica
    assert (sidecars.replica == beside[sidecars.parent].to_numpy()).all()


def test_a_tier_that_is_dead_is_unreachable_and_a_retry_finds_the_other():
    dead = [{"crash": "edge", "replica": 0, "at": 10.0}]
    late = {"discovery_delay": 1000.0}
    found = run(through(late, {}, faults=dead, at=every(1, 11, 21)))
    assert outcomes(found).count("error") == 5
    again = {"shop -> pay": {"via": "edge", "retry": {"max_attempts": 2}}}
    assert outcomes(run(through(late, again, faults=dead, at=every(1, 11, 21)))) == ["ok"] * 10


def test_the_death_of_a_proxy_that_nobody_calls_through_is_nobodys():
    dead = [{"crash": "edge", "replica": 0, "at": 10.0}, {"slow": "edge", "factor": 2, "at": 10.0}]
    found = run(through({}, {"shop -> pay": {}}, faults=dead, at=every(1, 5, 15)))
    assert outcomes(found) == ["ok"] * 10
    assert "edge" not in set(found.totals.name)


def test_a_proxy_with_one_core_is_a_bottleneck():
    found = run(through({"replicas": 1, "cores": 1, "work": 0.1}, {}, at=(0.0, 0.0)))
    assert took(found) == [300, 300]  # two share one core, and then each is served at once


def test_the_same_request_draws_the_same_work_through_a_proxy():
    pay = {"operations": {"do": [{"work": {"exponential": 0.1}}]}}
    direct, via = (
        run(through({"work": 0}, calls, pay=pay, at=every(0.5, 0, 20))).requests.service_s for calls in ({"shop -> pay": {}}, {})
    )
    assert direct.to_numpy() == pytest.approx(via.to_numpy())


def test_a_retry_through_a_proxy_draws_anew():
    pay = {"operations": {"do": [{"fail": 0.5}]}}
    calls = {"shop -> pay": {"via": "edge", "retry": {"max_attempts": 20}}}
    assert outcomes(run(through({}, calls, pay=pay, at=every(0.5, 0, 20)))) == ["ok"] * 40


def test_a_proxy_has_a_view_of_its_own():
    pay = {"registry": "book"}
    calls = {"edge -> pay": {"discovery": {"refresh_interval": 7}}}
    case = through({}, calls, pay=pay, registries={"book": TABLE}, faults=[{"crash": "pay", "replica": 0, "at": 20.0}])
    found = news(run(case), caller="edge")
    assert [(endpoint, state) for _, endpoint, state in found] == [(0, "unlisted")] * 2
    assert all(20 < time_s <= 27 for time_s, _, _ in found)


# What cannot be.


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"shop": {"registry": "bock"}}, "no registry 'bock'; did you mean 'book'"),
        ({"shop": {"registry": None, "readiness": {}}}, "nobody reads it where there is no registry"),
        ({"shop": {"registry": None}}, "nothing here has a registry to learn from"),
        ({"faults": [{"outage": "bok", "at": 1}]}, "no queue, log, registry, broker or store 'bok'"),
        ({"faults": [{"outage": "book", "node": 1, "at": 1}]}, "has nodes 0 to 0, not 1"),
        ({"faults": [{"slow": "book", "factor": 2, "replica": 1, "at": 1}]}, "slow as a whole"),
        ({"proxies": {"shop": {}}}, "has this name already"),
        ({"calls": {"default": {"via": "edge"}}}, "no proxy 'edge'"),
        ({"calls": {"shop -> default": {}}}, "only proxies have a default of their own"),
        ({"proxies": {"edge": {"placement": "sidecar", "replicas": 3}}}, "one sidecar for each replica"),
        ({"registry": {"preset": "eureka@3"}}, "no preset 'eureka@3'; did you mean 'eureka@2'"),
        ({"registry": {"heartbeat_interval": 30, "lease_duration": 20}}, "ends before the next heartbeat comes"),
    ],
)
def test_what_cannot_be_is_told(data, words):
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        scenario(**data)


def test_a_preset_lies_below_what_is_written():
    case = scenario(registry={"preset": "eureka@2", "eviction_interval": 10.0})
    book = case.registries["book"]
    assert (book.renewal_adds_lease, book.eviction_interval, book.response_cache) == (True, 10.0, 30.0)
    calls = {"default": {"discovery": {"preset": "spring-cloud@2025"}}, "shop": {"discovery": {"cache": 0}}}
    assert scenario(calls=calls).policy("client", "shop.buy").discovery.cache == 0
    assert scenario(calls=calls).policy("client", "shop.buy").discovery.refresh_interval == 30
