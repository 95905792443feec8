"""Brokers in motion: workers, copies, and nodes that fail."""

from __future__ import annotations

import numpy as np
import pytest
from mail_shop import fates, rows, simulate

from sim.analysis import broker_load
from sim.runtime.world import World


def on_broker(broker, queue=(), **rest):
    return simulate({"broker": "rabbit", **dict(queue)}, brokers={"rabbit": broker}, **rest)


def test_a_broker_writes_with_so_many_workers():
    result = on_broker({"workers": 1, "write": 1.0}, times=[0, 0, 0])
    assert rows(result).acked_s.tolist() == [1, 2, 3]
    assert result.requests.queue_s.tolist() == [0, 1, 2]
    assert result.requests.service_s.tolist() == [1, 1, 1]
    totals = result.totals.set_index("name")
    assert (totals.busy_worker_s["rabbit"], totals.served["rabbit"]) == (3.0, 3)
    load = broker_load(result.totals, result.gauges, ["rabbit"], 60)
    assert load.busy_workers.tolist() == [0.05]


def test_two_queues_share_their_broker_and_deliveries_cost_it_too():
    queue = {"bills": {"consumer": "mail.look", "broker": "rabbit"}}
    result = on_broker({"workers": 1, "write": 1.0, "deliver": 0.5}, {"consumers": 2}, times=[0.0, 0.0], queues=queue)
    # Written by 1 s; its delivery waits behind the second write, until 2 s, and takes half a second.
    assert rows(result).started_s.tolist() == [2.5, 3.0]


@pytest.mark.parametrize(("confirm", "acked_s"), [("one", 1.0), ("majority", 1.5), ("all", 1.5)])
def test_copies_are_waited_for_as_the_broker_says(confirm, acked_s):
    broker = {"nodes": 3, "copies": 3, "write": 1.0, "replicate": 0.5, "confirm": confirm}
    assert rows(on_broker(broker)).acked_s.tolist() == [acked_s]


def test_a_majority_is_the_faster_of_two_copies_and_all_is_the_slower():
    law = {"uniform": {"low": 0.0, "high": 1.0}}
    acked = {
        confirm: rows(
            on_broker({"nodes": 3, "copies": 3, "replicate": law, "confirm": confirm}, times=np.arange(0, 50, 0.05))
        ).acked_s
        for confirm in ("one", "majority", "all")
    }
    published = np.arange(0, 50, 0.05)
    assert (acked["one"] - published).max() == 0
    assert (acked["majority"] - published).mean() < (acked["all"] - published).mean()
    result = on_broker({"nodes": 3, "copies": 3, "replicate": law}, times=published)
    assert rows(result).request.is_monotonic_increasing, "a log confirms in its order, though copies take what they take"


DOWN = [{"outage": "rabbit", "node": 0, "at": 10.0, "for": 20.0}]


def test_a_node_is_lost_and_another_one_leads_after_the_failover():
    broker = {"nodes": 3, "copies": 3, "confirm": "majority", "failover": 5.0}
    result = on_broker(broker, times=[9.5, 11.0, 15.5], faults=DOWN)
    assert result.requests.outcome.tolist() == ["ok", "error", "ok"], "refused while nobody leads"
    assert rows(result).deliveries.tolist() == [2, 1], "the connection broke, so it is delivered again"
    assert rows(result).times_done.tolist() == [2, 1]
    assert fates(result) == ["done", "done"]


def test_confirmed_by_one_what_was_not_copied_is_lost_with_its_node():
    broker = {"nodes": 3, "copies": 3, "confirm": "one", "replicate": 1.0, "failover": 5.0}
    # No consumer until 20 s. The second has been on its way to the copies for half a second when the node dies.
    away = {"faults": [*DOWN, {"crash": "mail", "at": 0.0, "for": 20.0}]}
    result = on_broker(broker, times=[8.0, 9.5], **away)
    assert result.requests.outcome.tolist() == ["ok", "ok"], "both publishers believe that theirs is safe"
    assert fates(result) == ["done", "dropped"]
    result = on_broker({**broker, "confirm": "majority"}, times=[8.0, 9.5], **away)
    assert result.requests.outcome.tolist() == ["ok", "error"], "here the second knows"
    assert fates(result) == ["done"]


def test_the_only_copy_waits_for_its_node_and_is_not_lost():
    result = on_broker({"nodes": 2, "copies": 1}, times=[5.0, 12.0], faults=[*DOWN, {"crash": "mail", "at": 0.0, "for": 20.0}])
    assert result.requests.outcome.tolist() == ["ok", "error"]
    assert rows(result).started_s.tolist() == [30.0]


def test_a_node_that_is_back_before_the_failover_leads_on():
    broker = {"nodes": 3, "copies": 3, "confirm": "one", "replicate": 100.0, "failover": 5.0}
    blink = [{"outage": "rabbit", "node": 0, "at": 10.0, "for": 2.0}, {"crash": "mail", "at": 0.0, "for": 20.0}]
    result = on_broker(broker, times=[9.0], faults=blink)
    assert fates(result) == ["done"], "nothing was lost"


def test_without_a_majority_a_queue_stands_still():
    broker = {"nodes": 3, "copies": 3, "confirm": "majority", "failover": 1.0}
    two = [{"outage": "rabbit", "node": node, "at": 10.0, "for": 20.0} for node in (1, 2)]
    result = on_broker(broker, times=[5.0, 15.0, 31.0], faults=two, work=10.0)
    assert result.requests.outcome.tolist() == ["ok", "error", "ok"]
    result = on_broker({**broker, "confirm": "one"}, times=[5.0, 15.0, 31.0], faults=two)
    assert result.requests.outcome.tolist() == ["ok", "ok", "ok"]


def test_queues_lead_on_different_nodes():
    seen = {}

    def look(world: World):
        yield world.env.timeout(11)
        seen.update({name: queue.up for name, queue in world.queues.items()})

    queue = {"bills": {"consumer": "mail.look", "broker": "rabbit"}}
    on_broker({"nodes": 2, "copies": 1}, queues=queue, faults=DOWN, processes=[look])
    assert seen == {"mails": False, "bills": True}


def test_a_whole_broker_is_down_and_a_slow_one_takes_longer():
    result = on_broker({"nodes": 2}, times=[1.0], faults=[{"outage": "rabbit", "at": 0.0, "for": 5.0}])
    assert result.requests.outcome.tolist() == ["error"]
    result = on_broker({"write": 1.0}, faults=[{"slow": "rabbit", "factor": 3, "at": 0.0, "for": 5.0}])
    assert rows(result).acked_s.tolist() == [3.0]


def test_a_queue_on_a_broker_is_where_the_broker_is():
    result = on_broker({}, links={"shop -> rabbit": 0.25, "rabbit -> mail": 1.0})
    assert rows(result).acked_s.tolist() == [0.25]
    assert rows(result).started_s.tolist() == [1.25]


@pytest.mark.parametrize("node", [0, 1])
def test_a_dead_letter_survives_its_leader_whichever_node_that_is(node):
    queues = {"dead": {"broker": "rabbit"}}
    faults = [{"outage": "rabbit", "node": node, "at": 10.0, "for": 20.0}]
    queue = {"max_deliveries": 1, "dead_letter": "dead"}
    result = on_broker({"nodes": 3, "copies": 3}, queue, times=[1.0], send={"poison": 1.0}, queues=queues, faults=faults)
    assert (fates(result), fates(result, "dead")) == (["dead"], ["kept"])
