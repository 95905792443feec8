"""What holds for every queue, topic and broker: what is promised is kept, whoever dies, whenever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messaging_strategies import asking, batches, fitting, messagings
from policy_strategies import some
from rows import fingerprint
from test_properties import seeds, thorough

from sim.analysis import out_of_order
from sim.scenario.model import Scenario
from sim.single import run

GIVEN_UP = ("dead", "expired", "dropped")

#: In order, and never given up.
pushed = some(prefetch=st.just(3), deduplicate=st.just({}))
polled = st.sampled_from([1, 4]).map(lambda batch: {"delivery": "poll", "receive_wait": 2.0, "receive_batch": batch})
in_order = st.one_of(pushed, polled).map(lambda queue: {"order": "per_key", **queue})
keyed = st.just({"key": {"keys": 3}})

#: Queues that give nothing up, and machines that lose nothing when one node dies.
faithful = some(
    prefetch=st.sampled_from([1, 3]),
    requeue=st.just("head"),
    redelivery_delay=st.sampled_from([0.01, 0.5]),
    visibility_timeout=st.sampled_from([20.0]),
    single_active_consumer=st.booleans(),
    deduplicate=st.just({"window": 100.0}),
    order=st.just("per_key"),
    batch=batches,
).map(fitting)
safe_machines = some(write=st.just(0.01), replicate=st.just({"exponential": 0.05}), failover=st.just(0.5)).map(
    lambda broker: {"nodes": 3, "copies": 3, "confirm": "majority", **broker}
)
confirmed = some(key=st.just({"keys": 3}))


def messages(result):
    return result.effects[result.effects.queue.notna()]


@thorough
@given(messagings(), seeds)
def test_every_message_ends_in_exactly_one_place(scenario, seed):
    result = run(scenario, seed)
    rows = messages(result)
    for name, mine in rows.groupby("queue", observed=True):
        numbers = mine.number[mine.number >= 0]
        assert sorted(numbers) == list(range(len(numbers))), "each one that the queue took has one row"
        assert set(mine.fate[mine.number < 0]) <= {"dropped"}, "what it never took is lost"
        spec = scenario.queues[name]
        if spec.max_deliveries != "unlimited":
            assert mine.deliveries.max() <= spec.max_deliveries
        assert spec.consumer is not None or set(mine.fate) <= {"kept", "dropped"}
    # What one queue gives up goes on, with one row each. A late effect makes the first row `done`; a lost node buries none.
    for name in ("q0", "q1"):
        mine, letters = rows[rows.queue == name], rows[rows.dead_letter_of == name]
        assert letters.groupby("request").size().max() <= mine.groupby("request").size().max() or letters.empty
        if not scenario.brokers and scenario.queues[name].overflow != "reject_dead_letter":
            assert mine.fate.isin(["dead", "expired"]).sum() <= len(letters)
    # A publisher may not hear of a message that is safe, but never believes in one that is not.
    ok = result.attempts[result.attempts.target.isin(["q0", "both"]) & (result.attempts.outcome == "ok")]
    believed, there = ok.groupby("request").size(), rows[rows.queue == "q0"].groupby("request").size()
    assert (believed.clip(upper=1).sub(there, fill_value=0) <= 0).all()


@thorough
@given(messagings(), seeds)
def test_the_rows_of_messages_agree_with_themselves(scenario, seed):
    result = run(scenario, seed)
    rows = messages(result)
    happened = rows.times_done > 0
    assert (happened == rows.done_s.notna()).all()
    assert ((rows.fate == "done") <= happened).all()
    assert (rows.times_done <= rows.deliveries).all()
    assert not (happened & rows.fate.isin(GIVEN_UP)).any(), "what happened has happened"
    assert (rows[happened].started_s <= rows[happened].done_s).all()
    assert (rows[happened].acked_s <= rows[happened].started_s).all()
    assert result.requests.attempts.sum() == len(result.attempts) + rows.deliveries.sum()
    assert (result.gauges[["busy", "queued", "alive"]] >= 0).all().all()


@thorough
@given(messagings(queue=faithful, broker=safe_machines, publish=confirmed), seeds)
def test_at_least_once_loses_nothing(scenario, seed):
    rows = messages(run(scenario, seed))
    assert set(rows.fate) <= {"done", "duplicate"}
    assert rows.groupby("request").times_done.sum().min() >= 1 or rows.empty


@thorough
@given(messagings(queue=faithful, broker=safe_machines, publish=confirmed), seeds)
def test_effectively_once_has_each_effect_once(scenario, seed):
    data = scenario.as_data()
    for name in "ab":
        operation = data["services"]["worker"]["operations"][name]
        data["services"]["worker"]["operations"][name] = {"steps": operation["steps"], "deduplicate": {}}
    rows = messages(run(Scenario.model_validate(data), seed))
    per_effect = rows.groupby(["request", "effect"], observed=True).times_done.sum()
    assert set(per_effect) <= {1}


@thorough
@given(messagings(queue=in_order, broker=safe_machines, publish=keyed), seeds)
def test_in_order_per_key_holds_per_key(scenario, seed):
    result = run(scenario, seed)
    assert out_of_order(result.effects).sum() == 0
    for _, mine in messages(result).groupby(["queue", "key"], observed=True):
        mine = mine.sort_values("number")
        assert (mine.started_s.to_numpy()[1:] >= mine.done_s.to_numpy()[:-1] - 1e-9).all(), "one after the other"


@thorough
@given(messagings(), seeds)
def test_the_same_seed_gives_the_same_rows(scenario, seed):
    assert fingerprint(run(scenario, seed)) == fingerprint(run(scenario, seed))


@thorough
@given(asking(), seeds)
def test_every_request_and_every_reply_is_accounted_for_once(scenario, seed):
    result = run(scenario, seed)
    rows = messages(result)
    replies, asked = rows[rows.queue == "answers"], rows[rows.queue.isin(["q0", "q1"])]
    assert not asked.times_done[asked.fate == "failed"].any()
    assert set(replies.fate) <= {"done", "duplicate", "late", "dropped", "in_flight"}
    sent = result.attempts[(result.attempts.target == "answers") & (result.attempts.outcome == "ok")]
    assert len(sent) <= len(replies), "a reply that its consumer knows to be safe is somewhere"
    numbers = replies.number.to_numpy()
    assert sorted(numbers) == list(range(len(numbers))) or scenario.logs, "a log counts what it never had, too"
    # At most one reply counts, somebody has worked for each, and who was answered well has one.
    counted = replies[replies.fate == "done"].groupby("request").size()
    assert counted.max() <= 1 or counted.empty
    assert set(replies.request) <= set(asked.request[asked.deliveries > 0]), "somebody has worked for each"
    tried = result.attempts[result.attempts.target == "answers"].groupby("request").size()
    assert (replies.groupby("request").size() <= tried.reindex(replies.request.unique()).sort_index()).all()
    answered = result.requests[result.requests.outcome == "ok"]
    assert set(answered.index if "request" not in answered else answered.request) <= set(counted.index)
    assert result.requests.attempts.sum() == len(result.attempts) + rows.deliveries.sum()
    parts = ["queue_s", "service_s", "network_s", "backoff_s", "lost_s"]
    ended = result.requests[result.requests.outcome != "in_flight"]
    assert np.allclose(ended.ended_s - ended.arrived_s, ended[parts].sum(axis=1), atol=1e-9)


# --- crashes at every step --------------------------------------------------------------------------------------------

#: Three messages of one key: published at 0, 0.1 and 0.2 s, written for 0.2 s, copied in 0.1 s, a way of 0.1 s, a second of work.
STEPS = np.arange(0.0, 5.0, 0.05).round(2)


def story(fault, *, broker=None, **queue):
    return run(
        Scenario(
            services={
                "shop": {"workers": "unlimited", "operations": {"buy": [{"publish": "mails", "key": {"keys": 1}}]}},
                "mail": {"workers": 1, "operations": {"send": {"steps": [{"work": 1.0}], "deduplicate": {}}}},
            },
            queues={"mails": {"consumer": "mail.send", "broker": "rabbit", **queue}},
            brokers={"rabbit": {"nodes": 3, "copies": 3, "write": 0.2, "replicate": 0.1, "failover": 0.5, **(broker or {})}},
            links={"rabbit": 0.1},
            load={"kind": "replay", "times": (0.0, 0.1, 0.2), "mix": "shop.buy"},
            faults=[fault],
            run={"duration": 10, "drain": 200},
        )
    )


QUEUES = [
    {},
    {"prefetch": 3},
    {"order": "per_key", "prefetch": 3},
    {"preset": "sqs@fifo", "receive_batch": 3},
    {"preset": "rabbitmq@4/quorum"},
    {"preset": "nats-jetstream@2", "prefetch": 3},
]


DEATHS = [{"crash": "mail"}, {"outage": "rabbit", "node": 0}, {"outage": "rabbit"}]
PUBLISHER = {"crash": "shop"}


@pytest.mark.parametrize(
    ("fault", "queue"),
    [*((fault, queue) for fault in DEATHS for queue in QUEUES), *((PUBLISHER, queue) for queue in QUEUES[2:4])],
    ids=str,
)
def test_whoever_dies_at_whatever_step_each_confirmed_message_has_its_effect_once(fault, queue):
    for at_s in STEPS:
        result = story({**fault, "at": at_s, "for": 1.0}, **queue)
        rows = messages(result)
        confirmed_ones = result.requests.request[result.requests.outcome == "ok"]
        assert set(confirmed_ones) <= set(rows.request), at_s
        assert rows.groupby("request").times_done.sum().tolist() == [1] * rows.request.nunique(), at_s
        assert set(rows.fate) <= {"done", "duplicate"}, at_s
        if queue.get("order") == "per_key" or queue.get("preset") == "sqs@fifo":
            assert out_of_order(result.effects).sum() == 0, at_s


def test_confirmed_by_one_loses_at_most_what_was_not_copied():
    lost = {}
    for at_s in STEPS:
        result = story({"outage": "rabbit", "node": 0, "at": at_s, "for": 50.0}, broker={"confirm": "one", "replicate": 0.4})
        rows = messages(result)
        lost[at_s] = rows.request[rows.fate == "dropped"].tolist()
        for message in rows[rows.fate == "dropped"].itertuples():
            assert message.acked_s <= at_s < message.acked_s + 0.4
    # Confirmed at 0.3, 0.4 and 0.5 s, copied 0.4 s later.
    assert lost[0.25] == []
    assert lost[0.55] == [1, 2], "the first is at its consumer, which does it all the same"
    assert lost[0.85] == [2]
    assert lost[0.95] == []
