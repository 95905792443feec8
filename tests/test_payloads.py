"""Stories of large messages: what their size costs a broker, and what a claim check costs both sides."""

from __future__ import annotations

import pytest
from mail_shop import done, fates, rows, simulate

from sim.analysis import broker_storage, messages_by_queue
from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.model import Scenario

DISK = {"rabbit": {"workers": 1, "write": 0.1, "bandwidth": 1e6}}  # a megabyte in a second
STORE = {"blobs": {"put": 0.1, "get": 0.2, "bandwidth": 10e6}}
CHECK = {"size": 2e6, "claim_check": "blobs", "reference": 1000}


def mails(queue=(), **settings):
    return simulate({"broker": "rabbit", **dict(queue)}, brokers=DISK, **settings)


def totals(result, name):
    return result.totals.set_index("name").loc[name]


def test_a_message_takes_its_size_to_write_and_to_deliver():
    result = mails(send={"payload": "2 MB"})
    # written 0.1 + 2, handed out 2, worked 1
    assert (rows(result).acked_s.round(6).tolist(), done(result)) == ([2.1], [5.1])
    assert rows(result).bytes.tolist() == [2_000_000]
    assert messages_by_queue(result.effects).megabytes.tolist() == [2.0]


def test_large_messages_wait_for_each_other():
    result = mails(send={"payload": 2e6}, times=(0.0, 0.0))
    assert rows(result).acked_s.round(6).tolist() == [2.1, 4.2]


def test_every_copy_takes_its_size():
    brokers = {"rabbit": {"nodes": 2, "copies": 2, "confirm": "all", "bandwidth": 1e6, "replicate": 0.5}}
    result = simulate({"broker": "rabbit"}, brokers=brokers, send={"payload": 1e6})
    assert rows(result).acked_s.tolist() == [1.0 + 0.5 + 1.0]


def test_a_claim_check_puts_before_the_publish_and_gets_with_the_worker_held():
    result = mails(send={"payload": CHECK}, stores=STORE)
    # put 0.1 + 0.2; 0.1 and a kilobyte written, and a millisecond more to hand it out; get 0.2 + 0.2; work 1
    assert rows(result).published_s.round(6).tolist() == [0.3]
    assert (rows(result).acked_s.round(6).tolist(), done(result)) == ([0.401], [1.802])
    assert rows(result).bytes.tolist() == [1000]
    assert tuple(totals(result, "blobs").round(6)) == (0.7, 2)
    [request] = result.requests.itertuples()
    assert request.ended_s == pytest.approx(request.service_s + request.queue_s) == pytest.approx(0.401)
    assert totals(result, "mail").busy_worker_s == pytest.approx(1.4)


def test_the_broker_is_relieved_of_what_the_store_takes():
    inside, checked = (mails(send={"payload": each}, stores=stores) for each, stores in ((2e6, {}), (CHECK, STORE)))
    busy = [totals(result, "rabbit").busy_worker_s for result in (inside, checked)]
    assert busy == pytest.approx([4.1, 0.102])


def test_a_put_that_fails_ends_the_operation_and_nothing_is_published():
    result = mails(send={"payload": CHECK}, stores=STORE, faults=[{"outage": "blobs", "at": 0, "for": 5}])
    assert (result.requests.outcome.tolist(), len(rows(result))) == (["error"], 0)


def test_a_get_that_fails_brings_the_message_back():
    faults = [{"outage": "blobs", "at": 0.5, "for": 5}]
    result = mails({"redelivery_delay": 1.0}, send={"payload": CHECK}, stores=STORE, faults=faults)
    assert (rows(result).deliveries.tolist(), fates(result)) == ([6], ["done"])


def test_a_payload_that_is_gone_makes_its_message_poison():
    stores = {"blobs": {"time_to_live": 5.0}}
    faults = [{"crash": "mail", "at": 0.0, "for": 10}]
    result = mails({"max_deliveries": 3}, send={"payload": CHECK}, stores=stores, faults=faults)
    assert (rows(result).deliveries.tolist(), fates(result)) == ([3], ["dead"])


def test_an_entry_of_an_outbox_has_put_its_payload_before():
    result = mails(send={"payload": CHECK, "outbox": 1.0}, stores=STORE)
    assert result.requests.ended_s.round(6).tolist() == [0.3]
    assert fates(result) == ["done"]


def test_what_is_too_large_is_rejected():
    result = mails({"max_size": 1e6}, send={"payload": 2e6})
    assert (result.attempts.outcome.tolist()[-1], len(rows(result))) == ("rejected", 0)
    unseen = mails({"max_size": 1e6}, send={"payload": 2e6, "confirm": False})
    assert fates(unseen) == ["dropped"]


def test_sizes_are_drawn_with_the_mean_and_spread_that_are_said():
    result = mails(send={"payload": {"size": 1e3, "cv": 0.5}}, times=[0.001 * i for i in range(4000)], work=0.0)
    size = rows(result).bytes
    assert size.mean() == pytest.approx(1e3, rel=0.03)
    assert size.std() / size.mean() == pytest.approx(0.5, rel=0.06)


def test_what_a_queue_keeps_rises_and_falls():
    result = mails(send={"payload": 2e6}, times=(0.0, 0.0))
    kept = broker_storage(result.effects, {"mails": 1})
    assert kept.bytes.tolist()[0] == 2_000_000
    assert (kept.bytes.max(), kept.bytes.tolist()[-1]) == (4_000_000, 0)
    assert kept.messages.tolist() == [1, 2, 1, 0]
    copied = broker_storage(result.effects, {"mails": 3, "nothing": 1})
    assert (copied.bytes.max(), copied.messages.max()) == (12_000_000, 6)


def test_a_log_keeps_what_was_read_as_long_as_it_says():
    result = mails(send={"payload": 2e6}, times=(0.0, 0.0))
    [first, second] = sorted(result.effects.acked_s)
    kept = broker_storage(result.effects, {"mails": 3}, {"mails": 60.0})
    assert kept.time_s.tolist() == [first, second, first + 60, second + 60]
    assert kept.bytes.tolist() == [6e6, 12e6, 6e6, 0]
    assert broker_storage(result.effects, {"mails": 1}, {"mails": float("inf")}).messages.tolist() == [1, 2]


def test_a_log_takes_the_sizes_of_its_batches():
    scenario = Scenario(
        services={
            "shop": {"workers": "unlimited", "operations": {"buy": [{"publish": "mails", "payload": "1 MB"}]}},
            "mail": {"workers": "unlimited", "operations": {"send": [{"work": 1.0}]}},
        },
        logs={"mails": {"broker": "kafka", "max_size": "2 MB", "groups": {"senders": {"consumer": "mail.send"}}}},
        brokers={"kafka": {"bandwidth": "1 MB/s"}},
        load={"kind": "replay", "times": (0.0,), "mix": "shop.buy"},
        run={"duration": 30},
    )
    from sim.single import run

    effects = run(scenario, 1).effects
    assert (effects.acked_s.tolist(), effects.done_s.tolist()) == ([1.0], [3.0])


def test_units_of_sizes_are_checked():
    with pytest.raises(ValueError, match="is not a size; write for example 512 B"):
        mails(send={"payload": "2 sacks"})
    with pytest.raises(ValueError, match="no store 'blob'"):
        mails(send={"payload": {**CHECK, "claim_check": "blob"}}, stores=STORE)


def doubts(queue=(), store=(), **payload):
    return "\n".join(
        doubts_of_messages(
            Scenario(
                services={
                    "shop": {"workers": 8, "operations": {"buy": [{"publish": "mails", "payload": payload}]}},
                    "mail": {"workers": 8, "operations": {"send": [{"work": 0.1}]}},
                },
                queues={"mails": {"consumer": "mail.send", "consumers": 9, **dict(queue)}},
                stores={"blobs": dict(store)},
                load={"rate": 1, "mix": "shop.buy"},
            )
        )
    )


def test_a_reviewer_doubts_what_is_too_large_unused_or_gone():
    assert "max_size = 1 MB rejects the larger ones; a payload.claim_check" in doubts({"max_size": 1e6}, size=0.9e6, cv=1)
    assert "store blobs: no publish uses it" in doubts(size=1)
    assert "store blobs: its payloads go after 60 s" in doubts(store={"time_to_live": 60.0}, size=1e6, claim_check="blobs")
    assert doubts(size=1e6, claim_check="blobs") == ""
