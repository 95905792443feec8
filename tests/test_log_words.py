"""What is said about logs before a run: contradictions, doubts, presets, and what is written and read again."""

from __future__ import annotations

import pytest
from log_shop import rows, shop, simulate
from pydantic import ValidationError

from sim.scenario.doubts import doubts
from sim.scenario.messaging.log_doubts import hottest
from sim.scenario.messaging.log_systems import LOGS
from sim.scenario.messaging.logs import Log
from sim.scenario.model import Scenario


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ("logs.mails.groups.senders.consumer: no operation 'mail.sent'", {"groups": {"senders": {"consumer": "mail.sent"}}}),
        ("logs.mails.broker: no broker 'kafka'", {"log": {"broker": "kafka"}}),
        ("logs.mails.min_insync: 2 copies can never be up, for without a broker there is one", {"log": {"min_insync": 2}}),
        ("logs.mails.groups.senders.dead_letter: no queue 'dead'", {"consuming": {"max_deliveries": 2, "dead_letter": "dead"}}),
        ("protocol: cooperative needs assignor: sticky, not range", {"consuming": {"assignor": "range"}}),
        ("idempotent: true needs max_in_flight of at most 5, not 6", {"producer": {"max_in_flight": 6}}),
        ("acks = 1 cannot be idempotent", {"producer": {"acks": 1}}),
        ("delivery_timeout = 10s must be at least linger + request_timeout = 30s", {"producer": {"delivery_timeout": 10}}),
        ("redelivery_delay: a failed message would be tried again at once", {"consuming": {"redelivery_delay": 0}}),
        ("priority: mails is a log, which knows no priorities; leave it out", {"send": {"priority": 1}}),
        ("no preset 'kafka@5' of logs; did you mean 'kafka@4'", {"log": {"preset": "kafka@5"}}),
        ("node: mails is a log, which has no nodes; leave it out", {"faults": [{"outage": "mails", "node": 0, "at": 1}]}),
        ("logs.mails: a queue has this name already", {"queues": {"mails": {}}}),
        ("fetch_wait: 0.0001 s is too short to be simulated", {"consuming": {"fetch_wait": 0.0001}}),
    ],
)
def test_contradictions_are_named_with_place_and_cure(said, settings):
    with pytest.raises(ValidationError) as told:
        shop(**settings)
    assert said in str(told.value)


LOAD = {"load": {"rate": 50.0, "mix": "shop.buy"}}
WANTED = {"slos": ["effect p99 of mail.send <= 5s"]}


@pytest.mark.parametrize(
    ("said", "settings", "cure"),
    [
        ("3 consumers share 2 partitions, so 1 have nothing to do", {"log": {"partitions": 2}, "consuming": {"consumers": 3}},
         {"log": {"partitions": 3}, "consuming": {"consumers": 3}}),
        ("with acks: 1 what only the leader has is lost with it", {"producer": {"acks": 1, "idempotent": False}, **WANTED},
         WANTED),
        ("commit: before is at most once", {"consuming": {"commit": "before"}, **WANTED},
         {"consuming": {"commit": "each"}, **WANTED}),
        ("a poll brings max_poll_records = 500 messages of 1 s each", {}, {"consuming": {"max_poll_records": 100}}),
        ("session_timeout = 5 s is less than 3 × heartbeat_interval = 3 s", {"consuming": {"session_timeout": 5}}, {}),
        ("it falls behind, and its lag grows without end", {"work": 0.1, **LOAD}, {"work": 0.01, **LOAD}),
        ("one partition is hot", {"work": 0.05, **LOAD, "log": {"partitions": 8}, "consuming": {"consumers": 8},
                                  "send": {"key": {"keys": 100, "zipf": 1.5}}},
         {"work": 0.05, **LOAD, "log": {"partitions": 8}, "consuming": {"consumers": 8}, "send": {"key": {"keys": 10_000}}}),
        ("lets a later batch overtake one that is sent again", {"producer": {"idempotent": False}, "send": {"key": {"keys": 9}}},
         {"send": {"key": {"keys": 9}}}),
        ("after 3 tries a message is passed over without a trace", {"consuming": {"max_deliveries": 3}}, {}),
        ("the first such message stops its partition for ever", {"send": {"poison": 0.01}}, {}),
        ("log mails: nobody reads it", {"groups": {}}, {}),
    ],
)  # fmt: skip
def test_doubts_and_what_cures_them(said, settings, cure):
    assert any(said in doubt for doubt in doubts(shop(**settings)))
    assert not any(said in doubt for doubt in doubts(shop(**cure)))


def test_the_fullest_partition_gets_what_its_keys_get():
    assert hottest(shop(log={"partitions": 4}), "mails") == 0.25
    assert hottest(shop(log={"partitions": 4}, send={"key": {"keys": 1}}), "mails") == 1.0
    zipf = hottest(shop(log={"partitions": 4}, send={"key": {"keys": 100, "zipf": 1.0}}), "mails")
    assert 0.25 < zipf < 0.5


@pytest.mark.parametrize("name", LOGS)
def test_presets_lie_below_what_is_written_and_come_back(name):
    log = {"preset": name, "producer": {"linger": 0.0}, "consuming": {"commit_interval": 5.0, "max_poll_records": 7}}
    scenario = shop(log=log)
    mails = scenario.logs["mails"]
    assert mails.producer.linger == 0.0
    assert mails.producer.max_in_flight == 5
    assert mails.group("senders").max_poll_records == 7
    assert mails.group("senders").protocol == ("server" if name == "kafka@4/consumer" else "eager")
    again = Scenario.model_validate(scenario.as_data())
    assert again.logs["mails"].group("senders") == mails.group("senders")
    assert again.logs["mails"].producer == mails.producer
    assert again.hash == scenario.hash


def test_a_group_says_otherwise_even_what_would_be_there_without_a_word():
    log = Log.model_validate({"consuming": {"commit": "each"}, "groups": {"a": {"consumer": "x.y", "commit": "interval"}}})
    assert log.group("a").commit == "interval"
    again = Log.model_validate(log.model_dump(mode="json", exclude_defaults=True))
    assert again.group("a").commit == "interval"


def test_a_request_that_takes_longer_than_its_publisher_waits_is_written_again_and_again():
    # Written in 100 ms, sent again after 20 ms: without idempotence several writes of one publisher are under way at a time.
    result = simulate(
        times=[0.0, 0.1, 0.2],
        brokers={"kafka": {"nodes": 3, "copies": 3, "write": 0.1, "replicate": 0.0005}},
        log={"broker": "kafka", "producer": {"request_timeout": 0.02, "delivery_timeout": 1.0, "idempotent": False}},
    )
    found = rows(result)
    assert len(found) > 3, "each is there several times"
    assert set(found.fate) == {"done"}
