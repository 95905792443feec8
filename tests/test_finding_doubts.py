"""What `sim check` doubts about registries, discovery, health checks, stops and proxies, each with its numbers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario

EUREKA = {"preset": "eureka@2"}
TABLE = {"heartbeat_interval": None, "crash_delay": 0}
SPRING = {"default": {"timeout": 1, "discovery": {"preset": "spring-cloud@2025"}}}
PUSH = {"default": {"timeout": 1, "discovery": {"mode": "push"}}}


def said(registry=TABLE, calls=PUSH, replicas=10, shop=None, faults=(), rate=100.0, clients=1, duration=600.0, **rest):
    spec = {"workers": 40, "replicas": replicas, "registry": "book", "operations": {"buy": [{"work": 0.1}]}, **(shop or {})}
    return doubts(
        Scenario(
            services={"shop": spec},
            registries={"book": registry, **rest.pop("registries", {})},
            calls=calls,
            load={"rate": rate, "mix": "shop.buy", "clients": clients},
            run={"duration": duration, "record_attempts": False},
            faults=faults,
            **rest,
        )
    )


def test_nothing_is_doubtful_where_all_is_well():
    assert said() == []
    assert said(EUREKA, SPRING) == []


def test_what_nobody_uses():
    assert said(registries={"other": {}}) == [
        "registry other: no service registers there; set services.NAME.registry, or leave it out"
    ]
    assert said(proxies={"edge": {}}) == ["proxy edge: no call goes through it; set calls.SELECTOR.via, or leave it out"]
    assert said(proxies={"edge": {}}, calls={"default": {"via": "edge"}, "edge -> shop": {}}) == []


@pytest.mark.parametrize(("preset", "last"), [("eureka@2", 6), ("spring-cloud-eureka@2025", 12)])
def test_self_preservation_among_few(preset, last):
    [doubt] = said({"preset": preset}, replicas=last)
    assert "registry book evicts nobody" in doubt
    assert f"of {last} instances one crash leaves {2 * (last - 1)} renewals a minute" in doubt
    assert said({"preset": preset}, replicas=last + 1) == []
    assert said({"preset": preset, "self_preservation_percent": 0}, replicas=last) == []


@pytest.mark.parametrize(
    ("registry", "discovery", "drain", "words"),
    [
        # An answer of up to 30 s, a poll of 30 s, a copy of 35 s; half of that in the mean.
        (EUREKA, {"preset": "spring-cloud@2025"}, 5, "for up to 90 s after it stops serving, 42.5 s in the mean"),
        (EUREKA, {"preset": "spring-cloud@2025"}, 95, None),
        (TABLE, {"mode": "push", "push_delay": 3}, 1, "for up to 2 s after it stops serving, 2 s in the mean"),
        ({**TABLE, "publish_delay": 60}, {"mode": "dns", "ttl": 30}, 0, "for up to 90 s after it stops serving"),
        (TABLE, {"mode": "dns", "keeps": "forever"}, 0, "callers never learn that shop has stopped"),
        # Nobody says it: two leases, a sweep, and what is above.
        ({**EUREKA, "deregister_on_stop": False}, {"mode": "push"}, 0, "up to 240 s after it stops serving, 195 s in the mean"),
        (TABLE, {"mode": "push"}, 0, None),
    ],
)
def test_a_drain_that_is_shorter_than_until_callers_know(registry, discovery, drain, words):
    fault = {"stop": "shop", "replica": 0, "at": 10, "for": 100, "drain": drain}
    found = said(registry, {"default": {"discovery": discovery}}, faults=[fault])
    if words is None:
        assert found == []
    else:
        [doubt] = found
        assert words in doubt


def test_a_proxy_s_view_counts_where_calls_go_through_one():
    calls = {"default": {"via": "edge"}, "edge -> shop": {"discovery": {"refresh_interval": 20}}}
    fault = {"stop": "shop", "replica": 0, "at": 10, "for": 100, "drain": 5}
    [doubt] = said(calls=calls, proxies={"edge": {}}, faults=[fault])
    assert "edge -> shop: callers still choose shop for up to 15 s" in doubt


def test_a_deployment_whose_drain_is_shorter_than_until_callers_know():
    rollout = {"rollout": "shop", "at": 60, "drain": 10}
    [doubt] = said(EUREKA, SPRING, deployments=[rollout])  # 30 + 30 + 35 s at worst, 47.5 s in the mean
    assert doubt.startswith(
        "deployments[0]: client -> shop: callers still choose shop for up to 85 s after it stops serving, 37.5 s"
    )
    assert said(EUREKA, SPRING, deployments=[{**rollout, "drain": 95}]) == []
    assert said(EUREKA, SPRING, deployments=[{"scale": "shop", "replicas": 12, "at": 60}]) == []
    assert len(said(EUREKA, SPRING, deployments=[{"scale": "shop", "replicas": 8, "at": 60}])) == 1


def test_a_crash_that_nobody_tells_the_registry():
    table, fault = {"heartbeat_interval": None}, {"crash": "shop", "replica": 0, "at": 20}
    [doubt] = said(table, faults=[fault])
    assert "faults[0]: client -> shop: nobody tells the registry that shop has crashed" in doubt
    assert said(table, faults=[{**fault, "for": 30}]) == []  # back before the run ends
    assert said(table, shop={"readiness": {}}, faults=[fault]) == []
    checked = {"default": {"timeout": 1, "discovery": {"mode": "push"}, "health_check": {}}}
    assert said(table, checked, faults=[fault]) == []


@pytest.mark.parametrize("placement", ["tier", "sidecar"])
def test_what_is_written_beside_a_proxy_does_not_choose_behind_it(placement):
    calls = {"shop": {"via": "edge", "balancing": "peak_ewma", "discovery": {"mode": "push"}}}
    [doubt] = said(calls=calls, proxies={"edge": {"placement": placement}})
    assert doubt.startswith("calls.shop: discovery and balancing are about choosing ")
    assert doubt.endswith("write `edge -> shop: {discovery: …}` for that")
    preset = {"shop": {"via": "edge", "preset": "istio@1.24"}}
    assert "preset: istio@1.24 is about choosing" in said(calls=preset, proxies={"edge": {"placement": placement}})[0]
    behind = {**calls, "edge -> default": {"discovery": {"mode": "push"}}}
    assert said(calls=behind, proxies={"edge": {"placement": placement}}) == []


@pytest.mark.parametrize(("at", "seen"), [(265, True), (270, False)])
def test_a_crash_that_nobody_sees_before_the_end(at, seen):
    fault = {"crash": "shop", "replica": 0, "at": at}
    found = said(EUREKA, SPRING, faults=[fault], duration=600)  # 180 + 60 + 30 + 30 + 35 = 335 s at worst
    assert (not found) is seen
    if not seen:
        assert "242 s in the mean and up to 335 s" in found[0]
        assert "doubled lease 180 s + eviction_interval 60 s + response_cache 30 s" in found[0]


def test_checks_that_say_nothing():
    slow = {"interval": 2, "unhealthy_threshold": 2, "timeout": 5}
    [doubt] = said(shop={"readiness": slow})
    assert "services.shop.readiness: timeout = 5 s is longer than interval × unhealthy_threshold = 4 s" in doubt
    assert said(shop={"readiness": {**slow, "timeout": 4}}) == []
    free = {"workers": "unlimited", "readiness": {}}
    [doubt] = said(shop=free)
    assert "services.shop.readiness: nothing here makes it fail" in doubt
    assert said(shop=free, faults=[{"pause": "shop", "at": 20, "for": 10}]) == []


def test_more_checks_than_calls():
    calls = {"default": {"timeout": 1, "discovery": {"mode": "push"}, "health_check": {"interval": 2}}}
    [doubt] = said(calls=calls, clients=30)  # 30 · 10 / 2 s
    assert "client -> shop: more checks than calls: 30 processes check 10 endpoints every 2 s, 150/s" in doubt
    assert said(calls=calls, clients=20) == []


# What is refused, because it would never end.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"registry": {"heartbeat_interval": 0.0009}}, "registries.book.heartbeat_interval: 0.0009 s is too short"),
        ({"registry": {"eviction_interval": 1e-9}}, "registries.book.eviction_interval: 1e-09 s is too short"),
        ({"registry": {"response_cache": 1e-9}}, "registries.book.response_cache: 1e-09 s is too short"),
        ({"calls": {"default": {"discovery": {"refresh_interval": 1e-9}}}}, "calls.default.discovery.refresh_interval: 1e-09 s"),
        ({"calls": {"default": {"discovery": {"mode": "dns", "ttl": 1e-9}}}}, "calls.default.discovery.ttl: 1e-09 s"),
        ({"calls": {"shop": {"discovery": {"cache": 1e-9}}}}, "calls.shop.discovery.cache: 1e-09 s"),
        ({"calls": {"shop": {"discovery": {"retry_interval": 1e-9}}}}, "calls.shop.discovery.retry_interval: 1e-09 s"),
        ({"calls": {"shop": {"health_check": {"timeout": 1e-9}}}}, "calls.shop.health_check.timeout: 1e-09 s"),
        ({"shop": {"readiness": {"interval": 1e-9}}}, "services.shop.readiness.interval: 1e-09 s"),
        (
            {"replicas": 10_000, "clients": 1000},
            "1,000 processes of client that each know 10,000 replicas hold 10,000,000",
        ),
        (
            {"registry": {"heartbeat_interval": 0.001}, "replicas": 1000},
            "1,000 replicas of shop make some 6e\\+08 heartbeats in a run, one each every 1 ms; take at least 6 ms",
        ),
        (
            {"calls": {"default": {"discovery": {"refresh_interval": 0.001}}}, "clients": 1000},
            "calls.client -> shop.discovery: 1,000 processes of client make some 6e\\+08 lookups",
        ),
        (
            {"calls": {"default": {"health_check": {"interval": 0.001}}}, "clients": 100},
            "calls.client -> shop.health_check.interval: 100 processes of client × 10 make some 6e\\+08 checks",
        ),
        ({"shop": {"readiness": {"interval": 0.001}}, "replicas": 1000}, "1,000 replicas make some 6e\\+08 checks in a run"),
    ],
)
def test_what_would_never_end_is_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        said(**settings)


def test_a_proxy_between_makes_what_is_known_few():
    calls = {"default": {"via": "edge"}, "edge -> shop": {}}
    said(replicas=10_000, clients=1000, proxies={"edge": {}}, calls=calls)
    with pytest.raises(ValidationError, match="1,000 processes of edge that each know"):
        said(replicas=10_000, clients=1000, proxies={"edge": {"placement": "sidecar"}}, calls=calls)


def test_what_a_proxy_s_policies_cannot_be_together_is_told():
    calls = {"default": {"via": "edge"}, "edge -> default": {"discovery": {"mode": "push"}}}
    calls["edge -> shop"] = {"discovery": {"refresh_interval": 3}}
    with pytest.raises(ValidationError, match=r"calls.edge -> shop.discovery: over what edge -> default says, for edge"):
        said(calls=calls, proxies={"edge": {}})


def test_nothing_goes_to_a_queue_through_a_proxy():
    queue = {"queues": {"mails": {"consumer": "shop.buy"}}, "proxies": {"edge": {}}}
    with pytest.raises(ValidationError, match=r"calls.mails.via: mails is a queue or topic, and messages go to it directly"):
        said(calls={"mails": {"via": "edge"}}, **queue)


def test_faults_of_sidecars_and_nodes_without_number_are_told():
    fault = {"stop": "edge", "at": 1}
    calls = {"default": {"via": "edge"}}
    with pytest.raises(ValidationError, match=r"faults\[0\].stop: edge is a sidecar"):
        said(calls=calls, proxies={"edge": {"placement": "sidecar"}}, faults=[fault])
    with pytest.raises(ValidationError, match="less than or equal to 1000"):
        said({**TABLE, "nodes": 1001})
