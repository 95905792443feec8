"""What `sim check` says of calls over connections, and how their spread is measured."""

from __future__ import annotations

import pandas as pd
import pytest
from test_connections import every, scenario, through

from sim.analysis import balance_metrics, calls_by_replica, connections, imbalance, state_spells
from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads
from sim.single import run
from sim.study.measure import measure


def said(case):
    return [doubt for doubt in doubts(case) if "-> shop" in doubt or "-> pay" in doubt]


def test_nothing_is_said_of_what_is_as_it_should_be():
    assert said(scenario({"max_age": 60}, clients=4, at=every(1, 0, 10))) == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (scenario({}, replicas=5, clients=2), "3 of 5 replicas idle: 2 processes with 1 connection each reach 2 of them"),
        (scenario({"per_process": 2, "use": "spread"}, replicas=5, clients=2), "1 of 5 replicas idle: 2 processes with 2"),
        (scenario({}, replicas=5, clients=5, call={"balancing": "random"}), "by chance 1.6 of 5 replicas get no connection"),
        (scenario({}, clients=2, deployments=[{"scale": "shop", "at": 5, "replicas": 4}]), "connections live for ever"),
        (
            scenario({}, clients=2, shop={"workers": 2, "autoscaling": {"max_replicas": 9}}),
            "shop has autoscaling, and connections",
        ),
        (scenario({}, clients=2, call={"balancing": "least_request"}), "least_request chooses only when a connection is made"),
        (scenario({}, clients=2, call={"balancing": "peak_ewma"}), "sees no call before it chooses"),
        (
            scenario({}, clients=2, call={"retry": {"max_attempts": 2, "avoid_previous_endpoints": True}}),
            "avoid_previous_endpoints has no effect",
        ),
        (scenario({}, clients=2, call={"hedging": {"delay": 0.1}}), "goes to the same replica as the first"),
        (
            scenario({}, clients=2, call={"timeout": 1}, faults=[{"crash": "shop", "at": 1, "silent": True}]),
            "its connections do not notice",
        ),
        (through(pay={"replicas": 3}), "2 of 3 replicas idle"),
    ],
)
def test_what_is_doubted(case, words):
    assert any(words in doubt for doubt in said(case)), said(case)


NARROW = """
services:
  shop: {workers: unlimited, operations: {buy: [{call: bank.pay}]}}
  bank: {workers: unlimited, replicas: 2, max_connections: 3, operations: {pay: [{work: 20ms}]}}
load: {rate: RATE/s, mix: shop.buy}
links: {shop -> bank: 5ms}
calls: {shop -> bank: {connections: {per_process: 50, max_concurrent: CONCURRENT}}}
"""


@pytest.mark.parametrize(("rate", "concurrent", "doubted"), [(200, 1, False), (201, 1, True), (400, 100, False)])
def test_a_server_that_lets_in_fewer_connections_than_are_in_use(rate, concurrent, doubted):
    """A call has a connection to itself for 5 + 20 + 5 ms: 200 of them a second keep 6 in use, 3 at each replica."""
    found = doubts(loads(NARROW.replace("RATE", str(rate)).replace("CONCURRENT", str(concurrent))))
    assert any("max_connections = 3 lets in fewer" in doubt for doubt in found) == doubted


def test_what_ends_connections_settles_the_doubt():
    grows = [{"scale": "shop", "at": 5, "replicas": 4}]
    for spec in ({"max_age": 60}, {"max_requests": 100}):
        assert not any("live for ever" in doubt for doubt in said(scenario(spec, clients=2, deployments=grows)))
    shrinks = [{"scale": "shop", "at": 5, "replicas": 1}]
    assert not any("live for ever" in doubt for doubt in said(scenario({}, clients=2, deployments=shrinks)))


# Measured.


def attempts(*replicas, target="shop.buy"):
    rows = {"target": target, "replica": list(replicas), "started_s": [float(i) for i in range(len(replicas))]}
    return pd.DataFrame(rows)


def test_imbalance_by_hand():
    rows = attempts(0, 0, 0, 1, 1, 1, 2, 2, -1, 0)
    assert calls_by_replica(rows).calls.tolist() == [4, 3, 2]
    [row] = imbalance(rows, {"shop": 4}).itertuples()
    assert (row.replicas, row.calls, row.idle_replicas) == (4, 9, 1)
    assert row.busiest_over_mean == pytest.approx(4 / 2.25)
    assert row.calls_cv == pytest.approx(((1.75**2 + 0.75**2 + 0.25**2 + 2.25**2) / 4) ** 0.5 / 2.25)
    [early] = imbalance(rows, {"shop": 2}, 0.0, 6.0).itertuples()
    assert (early.busiest_over_mean, early.calls_cv) == (1, 0)
    assert imbalance(attempts(0, 1, target="mails"), {"shop": 2}).empty  # messages are not calls


def test_connections_made_and_open():
    found = run(scenario({"max_requests": 1}, at=(0.0, 1.0, 2.0, 3.0)))
    spread = connections(found.changes)
    assert spread.made.tolist() == [2, 2]
    assert spread.open.tolist() == [0, 0]
    assert connections(found.changes, 1.5, 2.05).made.sum() == 1
    assert connections(found.changes, 1.5, 2.05).open.sum() == 1


def test_a_study_measures_the_spread_of_services_that_are_called_over_connections():
    case = scenario({}, clients=2, replicas=4, at=every(0.5, 0, 60))
    numbers = measure(run(case), case).set_index(["metric", "of"]).value
    assert numbers["new_connections", "shop"] == 2
    assert numbers["idle_replicas", "shop"] == 2
    assert numbers["busiest_over_mean", "shop"] == 2
    assert numbers["calls_cv", "shop"] == 1
    without = scenario(None, clients=2, replicas=4, at=every(0.5, 0, 60))
    assert not (measure(run(without), without).of == "shop").any()
    behind = through(at=every(0.5, 0, 60), clients=4)
    numbers = measure(run(behind), behind).set_index(["metric", "of"]).value
    assert numbers["new_connections", "lb"] == numbers["new_connections", "pay"] == 4


def test_without_rows_of_attempts_connections_are_counted_all_the_same():
    case = scenario({}, clients=2, at=every(0.5, 0, 10))
    few = case.model_copy(update={"run": case.run.model_copy(update={"record_attempts": False})})
    found = run(Scenario.model_validate(few.as_data()))
    numbers = balance_metrics(found.attempts, found.changes, {"shop": 2}, start_s=0.0, end_s=100.0)
    assert numbers.values.tolist() == [["new_connections", "shop", 2.0]]


def test_spells_of_states_are_not_those_of_connections():
    breaker = {"circuit_breaker": {"consecutive_failures": 1, "open_duration": 1.0}}
    case = scenario({}, at=(0.0, 1.0), replicas=1, call=breaker, faults=[{"crash": "shop", "at": 1.05}])
    assert state_spells(run(case).changes, end_s=10.0).state.tolist() == ["open"]


# Presets.


def test_a_kubernetes_service_is_a_choice_for_each_connection():
    case = scenario(None, call={"preset": "kube-proxy@iptables"}, clients=2)
    policy = case.policy("client", "shop.buy")
    assert (policy.balancing.kind, policy.connections.per_process, policy.connections.follow_discovery) == ("random", 1, False)
    pooled = scenario(None, call={"preset": "kube-proxy@ipvs", "connections": {"max_concurrent": 1, "per_process": 20}})
    policy = pooled.policy("client", "shop.buy")
    assert (policy.balancing.kind, policy.connections.per_process, policy.connections.max_concurrent) == ("round_robin", 20, 1)


def test_an_nlb_draws_a_replica_for_each_connection():
    case = through(at=every(0.5, 0, 30), lb={"lb -> default": {"preset": "aws-nlb@2024"}}, connections={"max_requests": 1})
    assert case.policy("lb", "pay.do").balancing.kind == "random"
    rows = run(case).attempts
    chosen = rows[rows.caller == "lb"].replica.tolist()
    assert {0, 1} == set(chosen)
    assert chosen != sorted(chosen)
    assert any(a == b for a, b in zip(chosen, chosen[1:], strict=False))  # no turns


def test_grpc_has_one_connection_and_what_its_server_says():
    policy = scenario(None, call={"preset": "grpc@1.7x", "connections": {"max_age": 60}}).policy("client", "shop.buy")
    spec = policy.connections
    assert (spec.per_process, spec.max_concurrent, spec.max_age, spec.max_age_jitter) == (1, 100, 60, 0.1)
