"""What `sim check` doubts about zones, each with its numbers."""

from __future__ import annotations

import pytest

from sim.errors import ScenarioError
from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads

LIMIT = {"timeout": 1}


def said(routing=None, zones=("a", "b", "c"), shop=None, payment=None, faults=(), zone_links=None, **rest):
    operations = {"buy": [{"call": "payment.charge"}]}
    calls = {"default": LIMIT, "payment": {**LIMIT, **({"zone_routing": routing} if routing else {})}}
    rest.setdefault("load", {"rate": 100.0, "mix": "shop.buy"})
    return doubts(
        Scenario(
            zones=zones,
            zone_links={"default": 0.001} if zone_links is None else zone_links,
            services={
                "shop": {"workers": 40, "replicas": 3, "operations": operations, **(shop or {})},
                "payment": {"workers": 2, "replicas": 9, "operations": {"charge": [{"work": 0.1}]}, **(payment or {})},
                **rest.pop("services", {}),
            },
            calls=rest.pop("calls", calls),
            run={"duration": 600.0, "record_attempts": False},
            faults=faults,
            **rest,
        )
    )


def test_nothing_is_doubtful_where_all_is_well():
    assert said() == []
    assert said("zone_aware") == []
    assert said("same_zone_first") == []


def test_zones_that_make_no_difference():
    assert said(zone_links={}) == [
        "zones make no difference here: write zone_links, zone_routing of a call, or a fault with zone or partition"
    ]


def test_zone_aware_routing_that_falls_back():
    tail = "all are chosen alike, whatever their zone"
    assert said("zone_aware", payment={"replicas": 5, "workers": 4}) == [
        "shop -> payment: zone_routing zone_aware does nothing: payment has 5 replicas, fewer than min_cluster_size = 6; " + tail
    ]
    assert said({"kind": "zone_aware", "min_cluster_size": 5}, payment={"replicas": 5, "workers": 4}) == []
    assert said("zone_aware", shop={"zones": ["b"]}) == [
        "shop -> payment: zone_routing zone_aware does nothing: all processes of shop are in zone b; " + tail
    ]
    [outside] = said(calls={"default": {**LIMIT, "zone_routing": "zone_aware"}}, shop={"replicas": 6, "workers": 40})
    why = "client is outside of all zones; write load.zones; "
    assert outside == f"client -> shop: zone_routing zone_aware does nothing: {why}{tail}"


def test_zone_aware_routing_that_falls_back_while_a_zone_is_down():
    down = [{"zone": "a", "at": 10.0, "for": 10.0}]
    [told] = said("zone_aware", payment={"replicas": 7, "workers": 4}, faults=down)
    assert told == (
        "faults[0]: shop -> payment: while zone a is down, 4 of 7 replicas are left, fewer than min_cluster_size = 6: callers "
        "that know it choose all alike, whatever their zone"
    )


def test_a_hot_zone():
    payment = {"zones": ["a", "b"], "replicas": 6, "workers": 2}
    [told] = said("same_zone_first", shop={"zones": {"a": 2, "b": 1}}, payment=payment)
    assert told == (
        "shop -> payment: same_zone_first: zone a has 67 % of the callers, 50 % of the replicas, which get 1.3 times the mean "
        "load, 111 % of what they can do if all calls come from shop; deal both out alike, or use zone_aware"
    )
    assert said("zone_aware", shop={"zones": {"a": 2, "b": 1}}, payment={"zones": ["a", "b"], "replicas": 6}) == []


def test_a_hot_zone_of_callers_that_have_none_in_theirs():
    [told] = said("same_zone_first", payment={"zones": {"a": 2, "b": 1}})
    assert "zone b has 33 % of the callers (and its part of the 33 % that have none in theirs), 33 % of the replicas" in told


def test_an_outage_that_takes_all_of_something():
    down = [{"zone": "a", "at": 10.0, "for": 10.0}]
    cure = "have more of them, or in other zones"
    assert said(faults=down, payment={"zones": ["a"]}) == [
        f"faults[0]: all replicas of payment (9) are in zone a, so payment is gone while it is down; {cure}"
    ]
    assert said(faults=[{"zone": "b", "at": 10.0, "for": 10.0}], shop={"replicas": 1}) == []
    registries = {"book": {"heartbeat_interval": None, "crash_delay": 0}}
    assert any("all nodes of book (1) are in zone a" in told for told in said(faults=down, registries=registries))
    mail = {"mail": {"workers": 1, "operations": {"send": [{"work": 0.001}]}}}
    told = said(faults=down, services=mail, queues={"mails": {"consumer": "mail.send"}})
    assert "faults[0]: queue mails is in zone a, and is gone while it is down" in told
    assert f"faults[0]: all replicas of mail (1) are in zone a, so mail is gone while it is down; {cure}" in told
    brokers = {"rabbit": {"nodes": 3, "copies": 3, "zones": {"a": 2, "b": 1}}}
    queues = {"mails": {"consumer": "mail.send", "broker": "rabbit"}}
    told = said(faults=down, services=mail, brokers=brokers, queues=queues)
    assert "faults[0]: 1 of the 3 nodes of rabbit are left while zone a is down, and none of its queues works" in told


def test_a_zone_that_takes_a_log_or_too_many_of_its_copies():
    mail = {"mail": {"workers": 1, "replicas": 3, "operations": {"send": [{"work": 0.001}]}}}
    down = [{"zone": "a", "at": 10.0, "for": 10.0}]
    group = {"groups": {"all": {"consumer": "mail.send"}}}
    told = said(faults=down, services=mail, logs={"orders": group})
    assert "faults[0]: log orders is in zone a, and is gone while it is down" in told
    brokers = {"kafka": {"nodes": 3, "copies": 3}}
    logs = {"orders": {**group, "broker": "kafka", "min_insync": 3}}
    told = "\n".join(said(faults=down, services=mail, brokers=brokers, logs=logs))
    assert "faults[0]: 2 of 3 copies of log orders are left while zone a is down, fewer than min_insync = 3" in told
    logs["orders"]["min_insync"] = 2
    assert "min_insync" not in "\n".join(said(faults=down, services=mail, brokers=brokers, logs=logs))


def test_a_partition_that_leaves_a_part_without_a_registry():
    cut = [{"partition": [["a"], ["b", "c"]], "at": 10.0, "for": 10.0}]
    two = {"heartbeat_interval": None, "crash_delay": 0, "nodes": 2, "zones": ["b", "c"]}
    told = said(faults=cut, registries={"book": two}, payment={"registry": "book"})
    assert told == [
        "faults[0]: no node of book is with a: who is there hears of no change, and its heartbeats are lost; "
        "have a node in each zone (nodes, zones)"
    ]
    assert said(faults=cut, registries={"book": {**two, "zones": ["a", "b"]}}, payment={"registry": "book"}) == []


def test_a_partition_without_a_majority():
    cut = [{"partition": [["a"], ["b"]], "at": 10.0, "for": 10.0}]
    mail = {"mail": {"workers": 1, "replicas": 2, "operations": {"send": [{"work": 0.001}]}}}
    queues = {"mails": {"consumer": "mail.send", "broker": "rabbit"}}
    told = said(zones=("a", "b"), faults=cut, services=mail, queues=queues, brokers={"rabbit": {"nodes": 2, "copies": 2}})
    assert "faults[0]: no part has a majority of rabbit (1 of 2 copies at most): its queues stand still" in told


def test_calls_that_a_partition_swallows_and_nobody_gives_up():
    told = said(faults=[{"partition": [["a"], ["b", "c"]], "at": 10.0, "for": 10.0}], calls={"client -> shop": LIMIT})
    assert told[0].startswith("shop -> payment.charge has no timeout, and zones are cut off from each other")
    told = said(faults=[{"zone": "a", "at": 10.0, "for": 10.0}], calls={"client -> shop": LIMIT})
    assert told[0].startswith("shop -> payment.charge has no timeout, and a zone is down silently")


def test_a_zone_that_nobody_misses():
    down = [{"zone": "a", "at": 10.0, "for": 10.0}]
    table = {"heartbeat_interval": None, "crash_delay": 0, "nodes": 3}
    told = said(faults=down, registries={"book": table}, payment={"registry": "book"})
    assert told == [
        "faults[0]: nobody tells book that the replicas of payment in zone a are gone: it has no leases, and machines vanish "
        "without a word; write vanish_delay, or silent: false"
    ]
    assert said(faults=down, registries={"book": {**table, "vanish_delay": 40}}, payment={"registry": "book"}) == []


@pytest.mark.parametrize("zones", ["[{}]", "[[a]]", "[{a: 4}]", "[a, 1]"])
def test_what_is_no_name_of_a_zone_is_told(zones):
    with pytest.raises(ScenarioError, match=r"services.A.zones: .* is not the name of a zone; write a list of names, or shares"):
        loads(
            f"zones: [a]\nservices: {{A: {{workers: 1, zones: {zones}, operations: {{op: []}}}}}}\n"
            "load: {rate: 1/s, mix: A.op}\n"
        )
