"""Zones in motion: what lies between them, outages of all that is in one, partitions, and who calls whom meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from sim.analysis import cross_zone, cross_zone_share
from sim.scenario.model import Scenario
from sim.single import run
from sim.study.measure import measure

FIRST = {"zone_routing": "same_zone_first"}
ONCE = {"timeout": 1.0}
WORK = {"workers": "unlimited", "discovery_delay": 0.0}


def shop(replicas=2, payments=2, zones=("a", "b"), calls=None, at=(0.0,), services=None, shop=None, payment=None, **rest):
    """Requests for `shop.buy`, which calls `payment.charge`, at given times; both have replicas in all zones."""
    length = rest.pop("length", 100.0)
    load = {"kind": "replay", "times": at, "mix": "shop.buy", **rest.pop("load", {})}
    return Scenario(
        zones=zones,
        services={
            "shop": {**WORK, "replicas": replicas, "operations": {"buy": [{"call": "payment.charge"}]}, **(shop or {})},
            "payment": {**WORK, "replicas": payments, "operations": {"charge": [{"work": 0.1}]}, **(payment or {})},
            **(services or {}),
        },
        calls=calls or {"default": ONCE},
        load=load,
        run={"duration": length, "sample_every": length, "warmup": 0.0},
        **rest,
    )


def with_steps(case, *steps, **changes):
    """The same with other steps of `shop.buy`."""
    data = {**case.as_data(), **changes}
    data["services"]["shop"]["operations"]["buy"] = list(steps)
    return Scenario.model_validate(data)


def every(step_s, start_s, end_s):
    """Times from start to end."""
    return tuple(start_s + i * step_s for i in range(round((end_s - start_s) / step_s)))


def latencies(result):
    return [round(row.ended_s - row.arrived_s, 6) for row in result.requests.itertuples()]


def inner(result, zones):
    """Calls of the shop: when, from which zone to which, and how they ended; replica i is in zone i mod `zones`."""
    attempts = result.attempts.set_index("attempt")
    rows = attempts[attempts.caller == "shop"]
    parents = attempts.replica.reindex(rows.parent).to_numpy()
    pairs = zip(parents, rows.itertuples(), strict=True)
    return [(row.started_s, parent % zones, row.replica % zones, row.outcome) for parent, row in pairs]


# What lies between.


def test_a_message_to_another_zone_takes_the_way_between_the_zones_as_well():
    found = run(shop(replicas=1, zone_links={"default": 0.01}, links={"default": 0.001}, at=(0.0, 1.0, 2.0, 3.0)))
    # From the only shop, in a: to a and b in turn. The clients are outside of all zones, near to all.
    assert sorted(latencies(found)) == [0.104, 0.104, 0.124, 0.124]


def test_pairs_of_zones_may_differ_and_are_the_same_both_ways():
    links = {"default": 0.01, "b -> a": 0.03}
    case = shop(1, 3, zones=("a", "b", "c"), zone_links=links, at=(0.0, 1.0, 2.0))
    assert sorted(latencies(run(case))) == [0.1, 0.12, 0.16]
    back = shop(1, 3, zones=("a", "b", "c"), zone_links=links, at=(0.0, 1.0, 2.0), shop={"zones": ["b"]})
    assert sorted(latencies(run(back))) == [0.1, 0.12, 0.16]


def test_clients_may_be_in_zones():
    calls = {"default": ONCE, "payment": FIRST}
    case = shop(zone_links={"default": 0.01}, load={"zones": ["a"]}, shop={"zones": ["b"]}, calls=calls)
    assert latencies(run(case)) == [0.12]


def test_what_lies_between_zones_may_lose_messages():
    case = shop(zone_links={"default": {"loss": 1.0}}, at=every(1.0, 0.0, 40.0))
    for _, one, other, outcome in inner(run(case), 2):
        assert outcome == ("ok" if one == other else "timeout")


def test_a_scenario_without_zones_has_none_of_this():
    found = run(shop(zones=()))
    assert len(found.zone_calls) == 0
    assert "cross_zone" not in set(measure(found, found.scenario).metric)


# Who is where.


def test_replicas_that_a_deployment_starts_are_dealt_on():
    case = shop(
        2, 3, zones=("a", "b", "c"), deployments=[{"scale": "payment", "at": 10.0, "replicas": 5}], at=every(0.5, 20.0, 60.0)
    )
    found = run(case).zone_calls
    mine = found[found.caller == "shop"].groupby("to_zone", observed=False).attempts.sum()
    assert mine["a"] == pytest.approx(2 / 5 * 80, abs=3)  # 0 and 3; b has 1 and 4
    assert mine["b"] == pytest.approx(2 / 5 * 80, abs=3)
    assert mine["c"] == pytest.approx(1 / 5 * 80, abs=3)


def test_zones_are_counted_per_edge_and_pair():
    found = run(shop(calls={"default": ONCE}, at=every(1.0, 0.0, 40.0)))
    rows = {(r.caller, r.target, r.from_zone, r.to_zone): r.attempts for r in found.zone_calls.itertuples() if r.caller == "shop"}
    expected: dict[tuple, int] = {}
    for _, one, other, _ in inner(found, 2):
        of = ("shop", "payment.charge", "ab"[one], "ab"[other])
        expected[of] = expected.get(of, 0) + 1
    assert rows == expected
    crossing = sum(count for (_, _, one, other), count in expected.items() if one != other)
    assert cross_zone_share(found.zone_calls) == crossing / 40
    [share] = measure(found, found.scenario).query("metric == 'cross_zone'").value
    assert share == crossing / 40


# Outages.


def test_all_that_is_in_a_zone_goes_and_comes_together():
    case = shop(
        1,
        1,
        shop={"zones": ["a"]},
        payment={"zones": ["b"], "start_up": 2.0},
        services={"mail": {**WORK, "zones": ["a"], "operations": {"send": {"effect": True, "steps": [{"work": 0.01}]}}}},
        queues={"mails": {"consumer": "mail.send", "zone": "b"}},
        faults=[{"zone": "b", "at": 10.5, "for": 5.0}],
        at=every(1.0, 0.0, 30.0),
    )
    buys = {"default": ONCE, "payment": {"timeout": 0.5}}
    found = run(with_steps(case, {"call": "payment.charge", "required": False}, {"publish": "mails"}, calls=buys))
    # Down from 10.5 s; at 15.5 s the queue is back at once, payment after its start-up of 2 s.
    assert list(found.requests.outcome) == ["ok"] * 11 + ["error"] * 5 + ["degraded"] * 2 + ["ok"] * 12
    published = found.attempts[found.attempts.target == "mails"]
    assert list(published.outcome) == ["ok"] * 11 + ["unreachable"] * 5 + ["ok"] * 14
    assert list(found.effects.fate) == ["done"] * 25


def test_a_zone_that_vanishes_answers_nobody_and_one_that_refuses_answers_at_once():
    down = {"zone": "b", "at": 9.95, "for": 5.0}
    settings = {"at": (9.9, 11.0), "payment": {"zones": ["b"], "discovery_delay": 9}}
    silent = run(shop(1, 1, faults=[down], **settings))
    assert [row[3] for row in inner(silent, 2)] == ["timeout", "timeout"]
    assert latencies(silent) == [1.0, 1.0]
    loud = run(shop(1, 1, faults=[{**down, "silent": False}], **settings))
    assert [row[3] for row in inner(loud, 2)] == ["unreachable", "unreachable"]
    assert latencies(loud) == [0.05, 0.0]


def test_only_the_zone_that_is_down_is_hurt_and_it_is_counted_apart():
    calls = {"default": ONCE, "payment": {**ONCE, **FIRST}}
    down = [{"zone": "b", "at": 10.0, "for": 10.0}]
    found = run(shop(2, 2, calls=calls, faults=down, at=every(0.5, 0.25, 40.25), shop={"discovery_delay": 5.0}))
    calls = found.zone_calls[found.zone_calls.caller == "client"]
    during = calls[calls.troubled == 1].groupby("to_zone", observed=False)[["attempts", "good"]].sum()
    assert during.loc["a"].attempts == during.loc["a"].good
    assert (during.loc["b"].attempts, during.loc["b"].good) == (5, 0)  # every other call until 15 s, when clients know
    assert calls[calls.troubled == 0].good.sum() == calls[calls.troubled == 0].attempts.sum() == 60


def test_outages_at_drawn_times_come_again_and_again():
    faults = [{"zone": "b", "mtbf": 10.0, "mttr": 5.0}]
    found = run(shop(1, 1, payment={"zones": ["b"]}, faults=faults, at=every(0.5, 0.0, 100.0)))
    good = (found.requests.outcome == "ok").to_numpy()
    assert np.count_nonzero(good[1:] != good[:-1]) > 4


def test_a_proxy_and_its_sidecar_fall_with_their_zone():
    calls = {"default": ONCE, "payment": {"via": "edge", **ONCE}}
    tier = {"proxies": {"edge": {"replicas": 2, "discovery_delay": 0}}, "calls": calls}
    down = [{"zone": "b", "at": 10.0, "for": 10.0}]
    found = run(shop(1, 1, payment={"zones": ["a"]}, faults=down, at=every(1.0, 0.5, 30.5), **tier))
    assert set(found.requests.outcome) == {"ok"}  # the proxy in a is left
    used = found.attempts[(found.attempts.caller == "shop")]
    assert set(used[(used.started_s > 10) & (used.started_s < 20)].replica) == {0}
    mesh = {"proxies": {"mesh": {"placement": "sidecar"}}, "calls": {"default": ONCE, "payment": {"via": "mesh", **ONCE}}}
    found = run(shop(2, 2, zone_links={"default": 0.01}, at=every(1.0, 0.5, 30.5), **mesh))
    assert set(latencies(found)) == {0.1005, 0.1205}  # to the sidecar on the same machine, and on from its zone
    found = run(shop(2, 2, faults=down, shop={"discovery_delay": 20}, at=every(1.0, 0.5, 30.5), **mesh))
    assert (found.requests.outcome == "ok").sum() in (25, 26)  # half of the calls for ten seconds


# Partitions.


def test_exactly_the_calls_across_are_lost():
    cut = [{"partition": [["a"], ["b", "c"]], "at": 10.0, "for": 10.0}]
    case = shop(3, 3, zones=("a", "b", "c"), faults=cut, at=every(0.1, 0.05, 30.0))
    found = inner(run(case), 3)
    lost = {(time_s, one, other) for time_s, one, other, outcome in found if outcome == "timeout"}
    # An answer takes 0.1 s: who sends in the last tenth before the cut does not get one.
    across = {(t, one, other) for t, one, other, _ in found if (one == 0) != (other == 0) and 9.9 < t < 20}
    assert lost == across
    assert len(lost) > 30
    assert {outcome for t, one, other, outcome in found if (t, one, other) not in lost} == {"ok"}


def test_a_zone_that_is_not_named_reaches_all():
    case = shop(3, 3, zones=("a", "b", "c"), faults=[{"partition": ["a", "b"], "at": 0.0}], at=every(0.1, 0.05, 20.0))
    for _, one, other, outcome in inner(run(case), 3):
        assert outcome == ("timeout" if {one, other} == {0, 1} else "ok")


def test_who_cannot_connect_learns_it_after_the_connect_timeout():
    case = shop(1, 1, payment={"zones": ["b"]}, calls={"default": {"timeout": 5.0, "connect_timeout": 0.3}},
                faults=[{"partition": [["a"], ["b"]], "at": 0.0}])  # fmt: skip
    found = run(case)
    assert list(found.attempts[found.attempts.caller == "shop"].outcome) == ["unreachable"]
    assert latencies(found) == [0.3]


def test_a_queue_cannot_deliver_across_and_does_when_it_is_over():
    mail = {**WORK, "zones": ["b"], "operations": {"send": {"effect": True, "steps": [{"work": 0.01}]}}}
    case = shop(1, 1, services={"mail": mail}, payment={"zones": ["a"]}, at=(12.0,),
                queues={"mails": {"consumer": "mail.send", "zone": "a", "redelivery_delay": 1.0}},
                faults=[{"partition": [["a"], ["b"]], "at": 10.0, "for": 10.5}])  # fmt: skip
    [row] = run(with_steps(case, {"publish": "mails"})).effects.itertuples()
    assert row.fate == "done"
    assert row.acked_s == 12.0
    assert row.done_s == pytest.approx(21.01)


def test_a_leader_without_a_majority_hands_over_to_the_larger_part():
    case = shop(1, 1, zones=("a", "b", "c"), payment={"zones": ["b"]}, shop={"zones": ["b"]}, at=every(1.0, 0.5, 30.5),
                brokers={"rabbit": {"nodes": 3, "copies": 3, "failover": 2.0}}, queues={"mails": {"broker": "rabbit"}},
                faults=[{"partition": [["a"], ["b", "c"]], "at": 10.0, "for": 10.0}])  # fmt: skip
    found = run(with_steps(case, {"publish": "mails"}))
    outcomes = list(found.requests.outcome)
    assert outcomes[:10] == ["ok"] * 10
    assert outcomes[12:] == ["ok"] * 18  # a node in b leads after two seconds, and goes on when a is back
    assert "ok" not in outcomes[10:12]


def test_copies_in_other_zones_take_the_way_there_and_back():
    case = shop(1, 1, zones=("a", "b"), payment={"zones": ["a"]}, shop={"zones": ["a"]}, zone_links={"default": 0.02},
                brokers={"rabbit": {"nodes": 2, "copies": 2, "confirm": "all", "replicate": 0.001}},
                queues={"mails": {"broker": "rabbit"}})  # fmt: skip
    assert latencies(run(with_steps(case, {"publish": "mails"}))) == [0.041]


# Registries.

LEASES = {"heartbeat_interval": 1.0, "lease_duration": 3.0, "nodes": 2}


def listed(result, process, state):
    """(time, replica of payment) that a shop process learned of."""
    mine = result.changes[(result.changes.caller == "shop") & (result.changes.process == process)]
    rows = mine[mine.state == state]
    return [(round(row.time_s, 3), row.endpoint) for row in rows.itertuples()]


def test_each_side_of_a_cut_evicts_the_other_and_finds_it_again():
    case = shop(registries={"book": LEASES}, payment={"registry": "book"}, at=(0.0,),
                calls={"default": {**ONCE, "discovery": {"mode": "push"}}},
                faults=[{"partition": [["a"], ["b"]], "at": 20.0, "for": 20.0}])  # fmt: skip
    found = run(case)
    for process in (0, 1):
        [(gone_s, gone)] = listed(found, process, "unlisted")
        [(back_s, back)] = listed(found, process, "listed")
        assert gone == back == 1 - process  # the node in its zone has lost the heartbeats of the other zone
        assert 22.0 <= gone_s <= 23.0
        assert 40.0 <= back_s <= 41.0


def test_a_crash_across_the_cut_is_told_when_it_has_healed():
    faults = [{"partition": [["a"], ["b"]], "at": 20.0, "for": 20.0}, {"crash": "payment", "replica": 1, "at": 25.0}]
    case = shop(registries={"book": {"heartbeat_interval": None, "crash_delay": 0, "nodes": 2}}, payment={"registry": "book"},
                calls={"default": {**ONCE, "discovery": {"mode": "push"}}}, at=(0.0,), faults=faults)  # fmt: skip
    found = run(case)
    assert listed(found, 1, "unlisted") == [(25.0, 1)]
    assert listed(found, 0, "unlisted") == [(40.0, 1)]


def test_nodes_in_the_own_zone_are_asked_first_and_others_while_they_are_down():
    registry = {**LEASES, "zones": ["b", "a"], "lookup_time": 0.0}
    case = shop(registries={"book": registry}, payment={"registry": "book"}, at=(0.0,), zone_links={"default": {"loss": 1.0}},
                calls={"default": {**ONCE, "discovery": {"refresh_interval": 2}, **FIRST}})  # fmt: skip
    assert listed(run(case), 0, "unlisted") == []  # all its lookups stay in the zone, where nothing is lost


def test_a_zone_that_vanishes_is_missed_by_whoever_watches_the_machines():
    registry = {"heartbeat_interval": None, "crash_delay": 1, "vanish_delay": 7, "nodes": 3, "zones": ["b", "a"]}
    settings = {"registries": {"book": registry}, "payment": {"registry": "book"}, "at": (0.0,)}
    calls = {"default": {**ONCE, "discovery": {"mode": "push"}}}
    down = {"zone": "b", "at": 20.0, "for": 30.0}
    silent = run(shop(calls=calls, faults=[down], **settings))
    assert listed(silent, 0, "unlisted") == [(27.0, 1)]  # nodes 0 and 2 are down, too: the one in a hears it
    assert listed(silent, 0, "listed") == [(50.0, 1)]
    unseen = {**settings, "registries": {"book": {**registry, "vanish_delay": None}}}
    assert listed(run(shop(calls=calls, faults=[down], **unseen)), 0, "unlisted") == []


# Choosing.


def test_the_own_zone_first_spills_over_while_nobody_is_there():
    case = shop(2, 2, calls={"default": ONCE, "payment": {**ONCE, **FIRST}}, at=every(0.5, 0.25, 40.25),
                faults=[{"crash": "payment", "replica": 0, "at": 10.0, "for": 10.0}])  # fmt: skip
    for time_s, one, other, outcome in inner(run(case), 2):
        assert outcome == "ok"
        assert other == (1 if 10 < time_s < 20 else one)


def test_zone_aware_calls_cross_as_often_as_envoy_lets_them():
    """Callers a a b (2/3, 1/3), endpoints 3 and 3: of a's calls 3/4 stay, of b's all; so 2/3 · 1/4 cross."""
    calls = {"default": ONCE, "payment": {**ONCE, "zone_routing": "zone_aware"}}
    case = shop(3, 6, calls=calls, shop={"zones": {"a": 2, "b": 1}}, at=every(0.02, 0.0, 60.0))
    found = run(case).zone_calls
    mine = found[found.caller == "shop"]
    table = cross_zone(found, by_zone=True).set_index("from_zone").cross_zone
    assert table["a"] == pytest.approx(0.25, abs=0.03)
    assert table["b"] == 0
    per_zone = mine.groupby("to_zone", observed=False).attempts.sum() / mine.attempts.sum()
    assert per_zone["a"] == pytest.approx(0.5, abs=0.02)


def test_zone_aware_knows_which_of_its_own_kind_are_left():
    """When the other caller of the zone has crashed, a third of the callers is in a: fewer than endpoints, so all calls stay."""
    calls = {"default": ONCE, "payment": {**ONCE, "zone_routing": "zone_aware"}}
    case = shop(4, 6, calls=calls, shop={"zones": {"a": 3, "b": 1}}, at=every(0.02, 0.0, 60.0),
                faults=[{"crash": "shop", "replica": 0, "at": 30.0}, {"crash": "shop", "replica": 1, "at": 30.0}])  # fmt: skip
    rows = [(t, other) for t, one, other, _ in _by_zone(run(case), [0, 0, 1, 0]) if one == 0]
    crossed = [other != 0 for t, other in rows if t < 30]
    assert np.mean(crossed) == pytest.approx(1 / 3, abs=0.05)  # 75 % against 50 %
    assert not any(other for t, other in rows if t > 30.1)


def _by_zone(result, shops):
    attempts = result.attempts.set_index("attempt")
    rows = attempts[attempts.caller == "shop"]
    parents = attempts.replica.reindex(rows.parent).to_numpy()
    pairs = zip(parents, rows.itertuples(), strict=True)
    return [(row.started_s, shops[parent], row.replica % 2, row.outcome) for parent, row in pairs]


def test_in_the_panic_of_outlier_detection_zones_make_no_difference():
    """Two of three endpoints in each zone are ejected: 33 % are left, so all are used, and the zone is not chosen."""
    broken = [{"errors": "payment", "ratio": 1.0, "replica": i, "at": 0.0} for i in range(4)]
    outliers = {"consecutive_5xx": 1, "max_ejection_percent": 100, "base_ejection_time": 1000, "interval": 1000}
    calls = {"default": ONCE, "payment": {**ONCE, "zone_routing": "zone_aware", "outlier_detection": outliers}}
    settings = {"calls": calls, "faults": broken, "at": every(0.05, 0.0, 60.0)}
    found = [(one, other) for t, one, other, _ in inner(run(shop(2, 6, **settings)), 2) if t > 30]
    assert np.mean([one != other for one, other in found]) == pytest.approx(0.5, abs=0.06)
    outliers["healthy_panic_threshold_percent"] = 0
    found = [(one, other) for t, one, other, _ in inner(run(shop(2, 6, **settings)), 2) if t > 30]
    assert np.mean([one != other for one, other in found]) == pytest.approx(0.5, abs=0.06)  # two are left: too few for the rule


# What cannot be.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faults": [{"zone": "d", "at": 1}]}, "faults.0..zone: no zone 'd'"),
        ({"faults": [{"partition": [["a"], ["a", "b"]], "at": 1}]}, "faults.0..partition: a is in two parts"),
        ({"faults": [{"partition": [["a", "b"]], "at": 1}]}, "one part is no cut; name two at least"),
        ({"calls": {"payment": {"zone_routing": "zone_awar"}}}, "'zone_awar' is no rule for zones; write same_zone_first or"),
        ({"payment": {"zones": {"a": "two"}}}, "the share of a should be a whole number from 1 to 1000, not 'two'"),
        ({"zone_links": {"a -> d": 0.1}}, "zone_links.a -> d: no zone 'd'"),
        ({"zone_links": {"a": 0.1}}, "names no two zones; write default, or 'a -> b'"),
        ({"zones": ("a", "a")}, "zones: a stands twice"),
        ({"payment": {"zones": ["a", "a"]}}, "a, a names a zone twice"),
        ({"payment": {"zones": {"a": 0}}}, "the share of a should be a whole number from 1 to 1000, not 0"),
        ({"payment": {"zones": ["x"]}}, "services.payment.zones: no zone 'x'"),
        ({"zones": (), "payment": {"zones": ["x"]}}, r"no zone 'x'; write zones: \[x, ...\]"),
        ({"zones": (), "calls": {"payment": FIRST}}, "calls.payment.zone_routing: there are no zones here"),
        ({"queues": {"q": {"zone": "z"}}}, "queues.q.zone: no zone 'z'"),
        ({"brokers": {"r": {}}, "queues": {"q": {"zone": "a", "broker": "r"}}}, "the queue is where its node of r is"),
        ({"proxies": {"m": {"placement": "sidecar", "zones": ["a"]}}}, "zones is read by a tier only"),
    ],
)
def test_mistakes_are_told_with_their_place(changes, message):
    with pytest.raises(ValidationError, match=message):
        shop(**changes)
