"""Calls over connections: the gate by itself, and stories of what begins and ends a connection, with their times."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim.policies.connections import CLOSED, DRAINING, OPEN, Connection, Connections, ConnectionsGate
from sim.scenario.model import Scenario
from sim.single import run

LATENCY_S = 0.01


def made(gate, endpoint=0, now_s=0.0, call="first", u=0.5):
    """A connection that was made at once, for a call."""
    connection = Connection(endpoint)
    gate.add(connection, now_s, call)
    gate.established(connection, now_s, u)
    return connection


# The gate.


def test_http1_uses_the_connection_that_was_free_last():
    gate = ConnectionsGate(Connections(per_process=3, max_concurrent=1))
    one, two = made(gate, call="a"), made(gate, call="b")
    gate.done(two, "b", 1.0)
    gate.done(one, "a", 2.0)
    assert gate.take(3.0, "c") is one
    assert gate.take(3.0, "d") is two
    assert gate.take(3.0, "e") is None
    assert gate.may_open()


def test_http2_opens_another_connection_when_all_are_full():
    gate = ConnectionsGate(Connections(per_process=2, max_concurrent=2))
    one = made(gate, call="a")
    assert gate.take(0.0, "b") is one
    assert gate.take(0.0, "c") is None
    two = made(gate, call="c")
    assert gate.take(0.0, "d") is two
    assert (gate.take(0.0, "e"), gate.may_open()) == (None, False)
    gate.done(one, "a", 1.0)
    assert gate.take(1.0, "e") is one


def test_spread_makes_all_first_and_then_takes_turns():
    gate = ConnectionsGate(Connections(per_process=2, use="spread"))
    one = made(gate, call="a")
    assert gate.take(0.0, "b") is None
    two = made(gate, call="b")
    assert [gate.take(0.0, call) for call in "cdef"] == [one, two, one, two]


def test_after_its_last_request_a_connection_drains():
    gate = ConnectionsGate(Connections(max_requests=2))
    one = made(gate, call="a")
    assert gate.take(1.0, "b") is one
    assert (one.state, gate.may_open()) == (DRAINING, True)
    gate.done(one, "a", 2.0)
    gate.done(one, "b", 3.0)
    assert (one.state, one.closed_s) == (CLOSED, 3.0)
    assert gate.changes == [(0.0, 0, "connected"), (1.0, 0, "draining"), (3.0, 0, "disconnected")]


@pytest.mark.parametrize(("u", "age_s"), [(0.0, 90.0), (0.5, 100.0), (0.75, 105.0)])
def test_an_age_varies_by_a_tenth(u, age_s):
    gate = ConnectionsGate(Connections(max_age=100.0))
    one = made(gate, u=u)
    assert gate.take(age_s - 0.001, "b") is one
    assert gate.take(age_s, "c") is None
    assert (one.state, gate.changes[-1]) == (DRAINING, (pytest.approx(age_s), 0, "draining"))


def test_what_ran_out_bears_the_time_at_which_it_did():
    gate = ConnectionsGate(Connections(idle_timeout=10.0, max_age=15.0, max_age_jitter=0))
    one = made(gate, call="a")
    gate.done(one, "a", 3.0)
    gate.advance(12.9)
    assert one.state == OPEN
    gate.advance(40.0)
    assert gate.changes[1:] == [(13.0, 0, "disconnected")]
    two = made(gate, now_s=40.0, call="b")
    gate.done(two, "b", 50.0)
    gate.advance(90.0)
    assert gate.changes[3:] == [(55.0, 0, "draining"), (55.0, 0, "disconnected")]


def test_a_connection_that_retires_with_a_call_on_it_ends_with_the_call():
    gate = ConnectionsGate(Connections(max_age=10.0, max_age_jitter=0))
    one = made(gate, call="a")
    gate.done(one, "a", 12.0)
    gate.advance(40.0)
    assert gate.changes[1:] == [(10.0, 0, "draining"), (12.0, 0, "disconnected")]


def test_who_may_wait():
    gate = ConnectionsGate(Connections(max_queue=1))
    assert (gate.may_wait(0), gate.may_wait(1)) == (True, False)
    assert ConnectionsGate(Connections()).may_wait(10**9)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use": "spread", "per_process": "unlimited"}, "give per_process a number"),
        ({"max_age_grace": 1}, "write max_age"),
        ({"max_wait": 1, "max_queue": 0}, "lets nobody wait"),
    ],
)
def test_settings_that_contradict_each_other(settings, words):
    with pytest.raises(ValidationError, match=words):
        Connections(**settings)


# In motion.


def scenario(connections, at=(0.0,), replicas=2, call=None, shop=None, length=100.0, clients=1, **rest):
    """Clients that call `shop.buy`, 0.1 s of work, over connections; 10 ms each way."""
    own = {} if connections is None else {"connections": connections}
    operations = {"buy": [{"work": 0.1}], "look": [{"work": 0.1}]}
    spec = {"replicas": replicas, "workers": "unlimited", "discovery_delay": 0, "operations": operations}
    return Scenario(
        services={"shop": {**spec, **(shop or {})}, **rest.pop("services", {})},
        calls={"shop": {**own, **(call or {})}, **rest.pop("calls", {})},
        links={"default": LATENCY_S},
        load={"kind": "replay", "times": at, "mix": rest.pop("mix", "shop.buy"), "clients": clients},
        run={"duration": length, "sample_every": length},
        **rest,
    )


def every(step_s, start_s, end_s):
    return tuple(start_s + i * step_s for i in range(round((end_s - start_s) / step_s)))


def outcomes(found):
    return list(found.requests.outcome)


def took(found):
    """Milliseconds of each request."""
    return [round(1000 * (b - a)) for a, b in zip(found.requests.arrived_s, found.requests.ended_s, strict=True)]


def life(found, **only):
    """(time, endpoint, state) of connections."""
    rows = found.changes[found.changes.state.isin(["connected", "draining", "disconnected"])]
    for column, value in only.items():
        rows = rows[rows[column] == value]
    return [(round(row.time_s, 6), row.endpoint, row.state) for row in rows.itertuples()]


def test_the_replica_is_chosen_once_and_the_first_call_pays_a_round_trip():
    found = run(scenario({}, at=(0.0, 1.0, 1.0, 2.0)))
    assert took(found) == [140, 120, 120, 120]
    assert found.attempts.replica.nunique() == 1
    assert life(found) == [(0.02, found.attempts.replica[0], "connected")]


@pytest.mark.parametrize(("round_trips", "ms"), [(0, 120), (1, 140), (3, 180)])
def test_what_a_handshake_costs(round_trips, ms):
    found = run(scenario({"round_trips": round_trips}))
    assert took(found) == [ms]
    assert found.attempts.network_s[0] == pytest.approx((ms - 100) / 1000)
    assert found.attempts.started_s[0] == 0


def test_calls_that_come_while_it_is_made_share_it():
    found = run(scenario({}, at=(0.0, 0.015)))
    assert took(found) == [140, 125]
    assert len(life(found)) == 1


def test_http1_waits_for_a_free_connection():
    found = run(scenario({"max_concurrent": 1, "per_process": 1}, at=(0.0, 0.0, 0.0)))
    assert took(found) == [140, 260, 380]
    assert found.requests.queue_s.round(6).tolist() == [0, 0.14, 0.26]


def test_whom_the_line_refuses():
    found = run(scenario({"max_concurrent": 1, "max_queue": 1}, at=(0.0, 0.0, 0.0)))
    assert outcomes(found) == ["ok", "ok", "rejected"]
    found = run(scenario({"max_concurrent": 1, "max_wait": 0.05}, at=(0.0, 0.0)))
    assert (outcomes(found), took(found)) == (["ok", "rejected"], [140, 50])
    found = run(scenario({"max_concurrent": 1}, at=(0.0, 0.0), call={"timeout": 0.2}))
    assert (outcomes(found), took(found)) == (["ok", "timeout"], [140, 200])
    assert len(found.attempts) == 2  # the second got a place at 0.14, and no answer


def test_calls_that_wait_get_the_places_of_a_connection_that_is_made_at_once():
    case = scenario({"max_requests": 1}, at=(0.0, 0.0, 0.0)).as_data() | {"links": {"default": 0}}
    found = run(Scenario.model_validate(case))
    assert took(found) == [100, 100, 100]  # the first is full at once, takes no more calls, and does not count any longer
    assert len(life(found)) == 9


def test_operations_of_a_process_share_its_connections():
    found = run(scenario({}, at=every(0.5, 0, 10), mix={"shop.buy": 1, "shop.look": 1}))
    assert set(found.requests.entry) == {"shop.buy", "shop.look"}
    assert len(life(found)) == 1
    apart = {"shop.look": {"timeout": 5}}  # of which something else is said
    assert len(life(run(scenario({}, at=every(0.5, 0, 10), mix={"shop.buy": 1, "shop.look": 1}, calls=apart)))) == 2


def test_processes_have_connections_of_their_own():
    found = run(scenario({}, at=every(0.5, 0, 10), clients=4))
    assert sorted(found.changes.process) == [0, 1, 2, 3]


def test_round_robin_deals_connections_and_not_calls():
    found = run(scenario({"per_process": 6, "max_concurrent": 1}, at=(0.0,) * 6, replicas=3))
    assert sorted(endpoint for _, endpoint, _ in life(found)) == [0, 0, 1, 1, 2, 2]


def test_least_request_counts_connections():
    calls = {"balancing": "least_request"}
    found = run(scenario({"per_process": 6, "max_concurrent": 1}, at=(0.0,) * 6, replicas=3, call=calls))
    assert sorted(endpoint for _, endpoint, _ in life(found)) == [0, 0, 1, 1, 2, 2]


def test_a_death_resets_the_connection_and_its_calls():
    found = run(scenario({}, at=(0.0, 0.97, 1.0, 2.0), replicas=1, faults=[{"crash": "shop", "at": 1.05, "for": 0.5}]))
    assert outcomes(found) == ["ok", "unreachable", "unreachable", "ok"]
    assert took(found)[1:3] == [90, 60]  # the reset is 10 ms on its way
    assert life(found) == [(0.02, 0, "connected"), (1.06, 0, "disconnected"), (2.02, 0, "connected")]


def test_a_call_on_its_way_to_the_dead_ends_with_its_connection():
    found = run(scenario({}, at=(0.0, 1.055), replicas=1, faults=[{"crash": "shop", "at": 1.05, "for": 0.5}]))
    assert (outcomes(found), took(found)) == (["ok", "unreachable"], [140, 5])


def test_a_retry_after_a_reset_makes_a_new_connection():
    again = {"retry": {"max_attempts": 2}}
    fault = [{"crash": "shop", "replica": 0, "at": 1.05}]
    found = run(scenario({}, at=(0.0, 1.0), call={**again, "balancing": {"kind": "pick_first"}}, faults=fault))
    assert outcomes(found) == ["ok", "ok"]
    assert found.attempts.replica.tolist() == [0, 0, 1]
    assert took(found) == [140, 60 + 140]


def test_who_vanishes_without_a_word_is_believed_in():
    fault = [{"crash": "shop", "replica": 0, "at": 10.0, "for": 20.0, "silent": True}]
    calls = {"timeout": 1.0, "connect_timeout": 0.1, "balancing": {"kind": "pick_first"}}
    found = run(scenario({}, at=every(1, 0, 40), call=calls, faults=fault))
    # Everybody knows at once that it is gone, but the connection stays; when it is back it knows nothing of it.
    assert outcomes(found) == ["ok"] * 10 + ["timeout"] * 20 + ["unreachable"] + ["ok"] * 9
    assert life(found)[1:] == [(30.02, 0, "disconnected"), (31.02, 1, "connected")]  # pick_first tries another
    found = run(scenario({"keepalive": 5.5}, at=every(1, 0, 40), call=calls, faults=fault))
    # The call at 15 s, too, ends with its connection.
    assert outcomes(found) == ["ok"] * 10 + ["timeout"] * 5 + ["unreachable"] + ["ok"] * 24
    assert life(found)[1:] == [(15.5, 0, "disconnected"), (16.02, 1, "connected")]


def test_a_connection_that_cannot_be_made():
    gone = {"shop": {"discovery_delay": 100}, "at": (1.0,), "replicas": 1}
    assert took(run(scenario({}, faults=[{"crash": "shop", "at": 0.5}], **gone))) == [20]
    silent = [{"crash": "shop", "at": 0.5, "silent": True}]
    found = run(scenario({}, faults=silent, call={"connect_timeout": 0.3}, **gone))
    assert (outcomes(found), took(found)) == (["unreachable"], [300])
    assert outcomes(run(scenario({}, faults=silent, call={"timeout": 0.3}, **gone))) == ["timeout"]
    # What is lost is sent again after 1, 2, 4 s: it is back at 5 s, and the third repetition at 8 s finds it.
    found = run(scenario({}, faults=[{"crash": "shop", "at": 0.5, "for": 4.5, "silent": True}], **gone))
    assert (outcomes(found), took(found)) == (["ok"], [7140])
    found = run(scenario({}, faults=silent, length=200.0, **gone))
    assert (outcomes(found), took(found)) == (["unreachable"], [127_000])


def test_a_stop_drains_connections():
    stop = {"stop": "shop", "replica": 0, "at": 10.0, "drain": 1.0, "grace": 5.0}
    call = {"balancing": {"kind": "pick_first"}}
    found = run(scenario({}, at=every(0.5, 0.25, 20), call=call, faults=[stop], shop={"operations": {"buy": [{"work": 1.0}]}}))
    assert set(outcomes(found)) == {"ok"}
    assert life(found) == [(0.27, 0, "connected"), (10.01, 0, "draining"), (10.27, 1, "connected"), (10.77, 0, "disconnected")]


def test_an_age_ends_a_connection_and_grace_cuts_what_is_left():
    work = {"operations": {"buy": [{"work": 3.0}]}}
    ages = {"max_age": 10.0, "max_age_jitter": 0.0}
    found = run(scenario(ages, at=every(1, 0, 15), shop=work))
    assert set(outcomes(found)) == {"ok"}
    assert [state for _, _, state in life(found)][:4] == ["connected", "draining", "connected", "disconnected"]
    assert [time_s for time_s, _, _ in life(found)][1:4] == [10.02, 11.02, 13.02]
    found = run(scenario({**ages, "max_age_grace": 1.5}, at=every(1, 0, 15), shop=work))
    assert [i for i, outcome in enumerate(outcomes(found)) if outcome != "ok"] == [9, 10]  # at 11.52 they had 3.02 s and no more
    assert found.requests.ended_s[9] == found.requests.ended_s[10] == pytest.approx(11.52)


def test_a_connection_without_calls_is_closed():
    found = run(scenario({"idle_timeout": 5.0}, at=(0.0, 4.0, 20.0)))
    assert [time_s for time_s, _, _ in life(found)] == [0.02, 9.12, 20.02, 25.14]
    assert took(found) == [140, 120, 140]


def test_http1_closes_a_connection_whose_answer_nobody_waits_for():
    slow = [{"slow": "shop", "factor": 10, "at": 1.0, "for": 1.0}]
    for concurrent, opened in ((1, 2), (100, 1)):
        found = run(scenario({"max_concurrent": concurrent}, at=(0.0, 1.0, 2.0), call={"timeout": 0.5}, faults=slow))
        assert outcomes(found) == ["ok", "timeout", "ok"]
        assert len([1 for *_, state in life(found) if state == "connected"]) == opened


def test_a_caller_that_dies_takes_its_connections_with_it():
    front = {"front": {"workers": "unlimited", "discovery_delay": 0, "operations": {"ask": [{"call": "shop.buy"}]}}}
    crash = [{"crash": "front", "at": 5.0, "for": 1.0}]
    found = run(scenario({}, at=(0.0, 4.95, 7.0), services=front, mix="front.ask", faults=crash))
    assert outcomes(found) == ["ok", "unreachable", "ok"]
    assert [(time_s, state) for time_s, _, state in life(found)] == [
        (0.03, "connected"),
        (5.0, "disconnected"),
        (7.03, "connected"),
    ]


def test_connections_follow_what_is_known_only_if_told_to():
    books = {"book": {"heartbeat_interval": 0.5, "lease_duration": 1.0}}
    gone = [{"crash": "shop", "replica": 0, "at": 10.0, "silent": True}]
    for follows, lost in ((False, 30), (True, 3)):
        check = {"mode": "poll", "refresh_interval": 1.9}
        call = {"timeout": 0.5, "balancing": {"kind": "pick_first"}, "discovery": check}
        policy = {"follow_discovery": follows}
        shop = {"registry": "book"}
        found = run(scenario(policy, at=every(1, 0, 40), call=call, faults=gone, registries=books, shop=shop))
        assert abs(outcomes(found).count("timeout") - lost) <= 1


def test_a_breaker_of_endpoints_has_nothing_to_choose():
    with pytest.raises(ValidationError, match="has nothing to choose"):
        scenario({}, call={"circuit_breaker": {"scope": "per_client_x_endpoint"}})


# Growing: new replicas get no load until connections are made again.


def grown(connections, **rest):
    """3 replicas, and 6 from 100 s on; twelve client processes, 120 calls a second for ten minutes."""
    case = scenario(connections, clients=12, replicas=3, length=600.0, call={"balancing": "random"}, **rest)
    data = case.as_data() | {"deployments": [{"scale": "shop", "at": 100.0, "replicas": 6}]}
    data["load"] = {"rate": 120, "mix": "shop.buy", "clients": 12}
    return run(Scenario.model_validate(data))


def calls_of_new(found, start_s, end_s):
    rows = found.attempts[found.attempts.started_s.between(start_s, end_s)]
    return (rows.replica >= 3).mean()


def test_new_replicas_idle_while_connections_live():
    found = grown({})
    assert calls_of_new(found, 0, 600) == 0
    assert set(found.requests.outcome) == {"ok"}


def test_with_an_age_new_replicas_fill_up_within_it():
    found = grown({"max_age": 120.0})
    assert calls_of_new(found, 0, 108) == 0  # the first connections are 108 s old
    assert 0.2 < calls_of_new(found, 232, 600) < 0.8  # all are made anew by 132 s, and again by 264 s
    reconnected = found.changes[(found.changes.state == "connected") & (found.changes.time_s > 100)]
    assert reconnected.groupby("process").time_s.min().max() < 0.1 * 12 + 132 + 0.1
    assert set(found.requests.outcome) == {"ok"}


def test_balanced_per_call_new_replicas_have_their_share_at_once():
    assert 0.45 < calls_of_new(grown(None), 101, 600) < 0.55


# A balancer of connections.


def through(at=(0.0,), proxy=None, connections=None, lb=None, call=None, pay=None, clients=1, **rest):
    """Clients that call `pay.do`, 0.1 s of work, through a balancer of connections; 10 ms from each to the next."""
    operations = {"do": [{"work": 0.1}], "else": [{"work": 0.1}]}
    spec = {"replicas": 2, "workers": "unlimited", "discovery_delay": 0, "operations": operations}
    return Scenario(
        services={"pay": {**spec, **(pay or {})}},
        proxies={"lb": {"layer": 4, "replicas": 1, "discovery_delay": 0, **(proxy or {})}},
        calls={
            "client -> pay": {"via": "lb", "connections": connections or {}, **(call or {})},
            **(lb or {}),
            **rest.pop("calls", {}),
        },
        links={"default": LATENCY_S},
        load={"kind": "replay", "times": at, "mix": "pay.do", "clients": clients},
        run={"duration": 100.0, "sample_every": 100.0},
        **rest,
    )


def backends(found):
    rows = found.attempts[found.attempts.caller == "lb"]
    return rows.replica.tolist()


def test_a_balancer_of_connections_chooses_once_for_each():
    found = run(through(at=(0.0, 1.0, 2.0)))
    assert took(found) == [180, 140, 140]  # the round trips to the balancer and on to the replica, for the first
    assert len(set(backends(found))) == 1
    assert life(found, caller="client") == [(0.02, 0, "connected")]
    assert life(found, caller="lb") == [(0.05, backends(found)[0], "connected")]
    found = run(through(at=(0.0, 1.0, 2.0), connections={"max_requests": 1}))
    assert backends(found) in ([0, 1, 0], [1, 0, 1])
    assert took(found) == [180] * 3


def test_what_the_packets_of_a_call_take():
    assert took(run(through(at=(0.0, 1.0), proxy={"work": 0.001}))) == [181, 141]


def test_the_death_of_a_replica_resets_the_callers_connection():
    crash = [{"crash": "pay", "replica": "all", "at": 1.06, "for": 0.5}]
    found = run(through(at=(0.0, 1.0, 3.0), faults=crash))
    assert outcomes(found) == ["ok", "unreachable", "ok"]
    assert took(found)[1] == 80  # the answer and the reset come two links back
    assert [(time_s, state) for time_s, _, state in life(found, caller="client")] == [
        (0.02, "connected"),
        (1.08, "disconnected"),
        (3.02, "connected"),
    ]


def test_the_death_of_the_balancer_does_so_too():
    crash = [{"crash": "lb", "at": 1.06, "for": 0.5}]
    found = run(through(at=(0.0, 1.0, 3.0), faults=crash))
    assert outcomes(found) == ["ok", "unreachable", "ok"]
    assert [state for *_, state in life(found, caller="lb")] == ["connected", "disconnected", "connected"]


def test_that_a_replica_will_stop_goes_through_to_the_caller():
    stop = [{"stop": "pay", "replica": i, "at": 10.0, "for": 50.0, "drain": 2.0, "grace": 5.0} for i in (0,)]
    found = run(through(at=every(0.5, 0.25, 20), lb={"lb -> pay": {"balancing": {"kind": "pick_first"}}}, faults=stop))
    assert set(outcomes(found)) == {"ok"}
    assert [(t, s) for t, _, s in life(found, caller="client")] == [
        (0.27, "connected"),
        (10.02, "draining"),
        (10.02, "disconnected"),
        (10.27, "connected"),
    ]
    assert backends(found)[19:21] == [0, 1]


def test_a_caller_that_gives_up_gives_up_behind_the_balancer():
    found = run(through(call={"timeout": 0.15, "cancellation": True}, pay={"operations": {"do": [{"work": 5.0}]}}))
    assert found.totals.set_index("name").busy_worker_s["pay"] == pytest.approx(0.17 - 0.06)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"lb": {"lb -> pay": {"retry": {"max_attempts": 2}}}}, "reads no calls; write it for its callers"),
        ({"lb": {"lb -> pay": {"connections": {}}}}, "reads no calls; write it for its callers"),
        ({"lb": {"lb -> default": {"preset": "envoy@1.40"}}}, "reads no calls; take another"),
        ({"call": {"connections": None}}, "say which there are"),
        (
            {
                "call": {"via": None, "connections": None, "fallback": {"call": "pay.else"}},
                "calls": {"client -> pay.else": {"via": "lb"}},
            },
            "say which",
        ),
    ],
)
def test_what_a_balancer_of_connections_cannot_be(data, words):
    with pytest.raises(ValidationError, match=words):
        through(**data)
