"""What holds for every log: each message in one place, an order per partition, and what is promised, whoever dies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messaging_strategies import logs, readers
from rows import fingerprint
from test_properties import seeds, thorough

from sim.analysis import out_of_order
from sim.scenario.faults import Crash
from sim.scenario.model import Scenario
from sim.single import run

#: What never gives a message up.
patient = readers.map(
    lambda settings: {**settings, "max_deliveries": "unlimited", "redelivery_delay": 0.1, "max_poll_interval": 50}
)
numbered = st.just({"acks": "all", "idempotent": True, "delivery_timeout": 300.0})
eventual = {"safety": numbered, "reading": patient, "forgetful": False}


def per_group(result):
    return result.effects.groupby("queue", observed=True)


@thorough
@given(logs(), seeds)
def test_every_message_ends_in_exactly_one_place(scenario, seed):
    result = run(scenario, seed)
    published = result.attempts[result.attempts.target == "orders"]
    twice = scenario.logs["orders"].producer.idempotent is False
    for _, mine in per_group(result):
        times = mine.groupby("number").size()
        assert twice or times.empty or times.max() == 1
        assert set(mine.request) <= set(published.request)
        assert (mine.partition >= 0).all()
    # A publisher never believes in a message of which nothing is known, in any group.
    believed = set(published.request[published.outcome == "ok"])
    for name in scenario.consumers("orders"):
        assert believed <= set(result.effects.request[result.effects.queue == name])


@thorough
@given(logs(), seeds)
def test_the_rows_of_messages_agree_with_themselves(scenario, seed):
    result = run(scenario, seed)
    rows = result.effects
    happened = rows.times_done > 0
    assert (happened == rows.done_s.notna()).all()
    assert ((rows.fate == "done") <= happened).all()
    assert (rows.times_done <= rows.deliveries).all()
    assert (rows[happened].acked_s <= rows[happened].started_s).all()
    assert (rows[happened].started_s <= rows[happened].done_s).all()
    assert result.requests.attempts.sum() == len(result.attempts) + rows.deliveries.sum()
    assert (result.gauges[["busy", "queued", "alive"]] >= 0).all().all()
    ended = result.requests[result.requests.ended_s.notna()]
    parts = ended[["queue_s", "service_s", "network_s", "backoff_s", "lost_s"]]
    assert ((parts.sum(axis=1) - (ended.ended_s - ended.arrived_s)).abs() < 1e-6).all()
    assert (parts >= -1e-9).all().all()


@thorough
@given(logs(**eventual), seeds)
def test_at_least_once_loses_nothing(scenario, seed):
    result = run(scenario, seed)
    rows = result.effects
    assert set(rows.fate) <= {"done", "duplicate"}
    believed = result.requests.request[result.requests.outcome == "ok"]
    if not any(isinstance(fault, Crash) and fault.crash == "shop" for fault in scenario.faults):
        assert len(believed) == len(result.requests), "tried until it is written"
    for _, mine in per_group(result):
        assert mine.request.is_unique
        assert set(believed) <= set(mine.request) <= set(result.requests.request)


@thorough
@given(
    logs(**eventual, outage=False),
    seeds,
)
def test_numbered_batches_keep_the_order_of_a_partition(scenario, seed):
    result = run(scenario, seed)
    assert out_of_order(result.effects).sum() == 0
    for _, mine in result.effects.groupby(["queue", "partition"], observed=True):
        in_order = mine.sort_values("number")
        assert in_order.acked_s.is_monotonic_increasing
        assert in_order.done_s.is_monotonic_increasing


@thorough
@given(logs(**eventual), seeds)
def test_effectively_once_has_each_effect_once(scenario, seed):
    result = run(scenario, seed)
    operation = scenario.services["worker"].operations["a"]
    if operation.deduplicate is not None:
        rows = result.effects[result.effects.effect == "worker.a"]
        assert set(rows.times_done) <= {1}


@thorough
@given(logs(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))


# --- crashes at every step --------------------------------------------------------------------------------------------


DEATHS = [{"crash": "mail"}, {"crash": "shop"}, {"outage": "kafka", "node": 0}, {"outage": "kafka"}]


def one_key(fault, commit):
    """Three messages of a key, at 0, 0.1 and 0.2 s: written in 0.2 s, copied in 0.1 s, a way of 0.1 s, a second of work."""
    senders = {"consumer": "mail.send", "commit": commit, "session_timeout": 6.0, "heartbeat_interval": 2.0}
    return Scenario(
        services={
            "shop": {"workers": "unlimited", "operations": {"buy": [{"publish": "mails", "key": {"keys": 1}}]}},
            "mail": {"workers": 1, "operations": {"send": {"steps": [{"work": 1.0}], "deduplicate": {}}}},
        },
        logs={"mails": {"broker": "kafka", "producer": {"request_timeout": 1.0}, "groups": {"all": senders}}},
        brokers={"kafka": {"nodes": 3, "copies": 3, "write": 0.2, "replicate": 0.1, "failover": 0.5}},
        links={"kafka": 0.1},
        load={"kind": "replay", "times": (0.0, 0.1, 0.2), "mix": "shop.buy"},
        faults=[fault],
        run={"duration": 10, "drain": 200},
    )


@pytest.mark.parametrize("commit", ["each", "interval"])
@pytest.mark.parametrize("fault", DEATHS, ids=str)
def test_whoever_dies_at_whatever_step_each_confirmed_message_has_its_effect_once_and_in_order(fault, commit):
    for at_s in np.arange(0.0, 4.0, 0.1).round(2):
        result = run(one_key({**fault, "at": at_s, "for": 1.0}, commit), 1)
        rows = result.effects
        assert set(result.requests.request[result.requests.outcome == "ok"]) <= set(rows.request), at_s
        assert rows.request.is_unique, at_s
        assert rows.times_done.tolist() == [1] * len(rows), at_s
        assert set(rows.fate) <= {"done"}, at_s
        assert out_of_order(rows).sum() == 0, at_s
