"""What is said about queues, topics and brokers: mistakes with place and cure, doubts, and how presets lie below."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from sim.cli import app
from sim.cli.check import details
from sim.errors import ScenarioError
from sim.scenario.doubts import doubts
from sim.scenario.messaging.broker_load import broker_utilisation
from sim.scenario.messaging.systems import QUEUES
from sim.scenario.model import Scenario
from sim.scenario.yaml import dumps, loads

SHOP = """\
services:
  shop: {{workers: 4, operations: {{buy: [{{publish: {publish}}}]}}}}
  mail: {{workers: 8, replicas: 2, operations: {{send: {{{send}steps: [{{work: 100ms}}]}}}}}}
queues: {{mails: {{consumer: mail.send{queue}}}{queues}}}
{more}
load: {{rate: 10/s, mix: shop.buy}}
{slos}
run: {{duration: 10min}}
"""

RABBIT = "brokers: {rabbit: {}}"


def written(queue="", queues="", more="", publish="mails", send="", slos=""):
    text = SHOP.format(
        queue=f", {queue}" if queue else "",
        queues=f", {queues}" if queues else "",
        more=more,
        publish=publish,
        send=send,
        slos=slos,
    )
    found = loads(text)
    assert isinstance(found, Scenario)
    return found


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ("queues.mails.consumer: no operation 'mail.sent'; did you mean 'mail.send'", {"queue": "consumer: mail.sent"}),
        ("queues.mails.broker: no broker 'rabit'; did you mean 'rabbit'", {"queue": "broker: rabit", "more": RABBIT}),
        ("queues.mails.dead_letter: no queue 'deed'; did you mean 'dead'", {"queue": "dead_letter: deed", "queues": "dead: {}"}),
        ("mails → dead → mails is a circle", {"queue": "dead_letter: dead", "queues": "dead: {dead_letter: mails}"}),
        ("no queue, topic or log 'mails2'; did you mean 'mails'", {"publish": "mails2"}),
        ("topics.all: no queue 'mail'; did you mean 'mails'", {"more": "topics: {all: [mail]}"}),
        ("names a queue twice", {"more": "topics: {all: [mails, mails]}"}),
        ("its queues are on different brokers", {
            "queues": "b: {broker: rabbit}", "more": f"{RABBIT}\ntopics: {{all: [mails, b]}}"}),
        ("topics.mails: a queue has this name already", {"more": "topics: {mails: [mails]}"}),
        ("brokers.shop: a service has this name already", {"more": "brokers: {shop: {}}"}),
        ("copies = 3 need as many nodes, and there are 1", {"more": "brokers: {rabbit: {copies: 3}}"}),
        ("replicate: there is one copy", {"more": "brokers: {rabbit: {replicate: 1ms}}"}),
        ("the queue is on a broker, whose `write` says", {"queue": "broker: rabbit, persist: 1ms", "more": RABBIT}),
        ("mails is reached where rabbit is; write rabbit", {
            "queue": "broker: rabbit", "more": f"{RABBIT}\nlinks: {{shop -> mails: 1ms}}"}),
        ("mails is a queue, which has no nodes; write outage: rabbit", {
            "queue": "broker: rabbit", "more": "brokers: {rabbit: {}}\nfaults: [{outage: mails, node: 0, at: 1s}]"}),
        ("rabbit has nodes 0 to 0, not 1", {"more": "brokers: {rabbit: {}}\nfaults: [{outage: rabbit, node: 1, at: 1s}]"}),
        ("rabbit is a broker, which is slow as a whole", {
            "more": "brokers: {rabbit: {}}\nfaults: [{slow: rabbit, factor: 2, replica: 0, at: 1s}]"}),
        ("blobs is a store, which is slow as a whole", {
            "more": "stores: {blobs: {}}\nfaults: [{slow: blobs, factor: 2, replica: 0, at: 1s}]"}),
        ("notices_crash: false needs a visibility_timeout", {"queue": "notices_crash: false"}),
        ("overflow: reject_dead_letter needs a dead_letter", {"queue": "capacity: 5, overflow: reject_dead_letter"}),
        ("prefetch is read where messages are pushed", {"queue": "delivery: poll, prefetch: 5, receive_wait: 1s"}),
        ("receive_batch, receive_wait and poll_interval are read with delivery: poll only", {"queue": "receive_batch: 5"}),
        ("would ask an empty queue without end", {"queue": "delivery: poll"}),
        ("no preset 'sqs@fiffo' of queues; did you mean 'sqs@fifo'", {"queue": "preset: sqs@fiffo"}),
        ("priority: mails does not look at it; write queues.mails.order: priority", {"publish": "mails, priority: 3"}),
        ("consumers make some 1.2e+09 questions in a run", {
            "queue": "delivery: poll, receive_wait: 1ms, consumers: 1000"}),
    ],
)  # fmt: skip
def test_contradictions_are_named_with_place_and_cure(said, settings):
    queue = settings.pop("queue", "")
    if queue.startswith("consumer: "):
        with pytest.raises(ScenarioError) as told:
            loads(SHOP.format(queue="", queues="", more="", publish="mails", send="", slos="").replace("mail.send", "mail.sent"))
    else:
        with pytest.raises(ScenarioError) as told:
            written(queue, **settings)
    assert said in str(told.value)


# --- presets ----------------------------------------------------------------------------------------------------------


def test_a_preset_lies_below_what_is_written_and_null_switches_off():
    queue = written("preset: sqs@fifo, receive_batch: 5, time_to_live: null, deduplicate: null").queues["mails"]
    assert (queue.receive_batch, queue.receive_wait, queue.visibility_timeout, queue.order) == (5, 20.0, 30.0, "per_key")
    assert queue.time_to_live is None
    assert queue.deduplicate is None
    deeper = written("preset: sqs@fifo, deduplicate: {size: 9}").queues["mails"].deduplicate
    assert deeper is not None
    assert (deeper.window, deeper.size) == (300.0, 9)


@pytest.mark.parametrize("name", QUEUES)
def test_a_scenario_with_a_preset_is_printed_and_read_again(name):
    for own in ("", ", time_to_live: null, requeue: tail, redelivery_delay: 1s, deduplicate: null, notices_crash: true"):
        one = written(f"preset: {name}{own}")
        again = loads(dumps(one))
        assert isinstance(again, Scenario)
        assert (again.hash, again.queues) == (one.hash, one.queues)


def test_known_numbers_of_real_systems():
    rabbit, sqs, nats = (
        written(f"preset: {name}").queues["mails"] for name in ("rabbitmq@4/quorum", "sqs@standard", "nats-jetstream@2")
    )
    assert rabbit.max_deliveries == 21, "a delivery limit of 20 redeliveries"
    assert (rabbit.visibility_timeout, rabbit.overflow, rabbit.requeue) == (1800.0, "drop_head", "head")
    assert (sqs.receive_batch, sqs.receive_wait, sqs.visibility_timeout, sqs.time_to_live) == (10, 20.0, 30.0, 4 * 86400.0)
    assert (nats.max_unacknowledged, nats.visibility_timeout, nats.late_acknowledge) == (1000, 30.0, "accepted")
    assert written("preset: rabbitmq@4/classic").queues["mails"].max_deliveries == "unlimited"


def test_the_list_shows_them_in_a_group_of_their_own():
    shown = CliRunner().invoke(app, ["presets", "sqs@fifo", "--format", "json"]).stdout
    found = json.loads(shown)
    assert [one["of"] for one in found] == ["queues"]
    rows = {row["setting"]: (row["value"], row["source"]) for row in found[0]["on"]}
    assert rows["deduplicate.window"] == ("300s", "Amazon SQS Developer Guide, FIFO key terms: deduplication interval, 5 minutes")


# --- doubts -----------------------------------------------------------------------------------------------------------


def test_a_careful_queue_leaves_no_doubt():
    reads = "consumers: 8, max_deliveries: 5, dead_letter: dead"
    assert doubts(written(reads, queues="dead: {consumer: mail.send}")) == []


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ("queue mails cannot be emptied: 10 messages/s of 100 ms each keep 1 consumers busy, and there is 1, and its backlog "
         "grows without end; leave out queues.mails.single_active_consumer",
         {"queue": "consumers: 4, single_active_consumer: true"}),
        ("visibility_timeout = 500 ms ends before prefetch = 10 messages of 100 ms each are done (1 s): what waits at its "
         "consumer is delivered again while it is worked on, and done twice",
         {"queue": "prefetch: 10, visibility_timeout: 500ms"}),
        ("ends before receive_batch = 10", {"queue": "preset: sqs@standard, visibility_timeout: 500ms"}),
        ("with prefetch = 250 one consumer may hold 25 s of work", {"queue": "prefetch: 250"}),
        ("acknowledge: before is at most once: what a consumer fails at, or holds when it dies, is lost, and the objective "
         "'effect completeness of mail.send >= 99 %' wants it",
         {"queue": "acknowledge: before", "send": "effect: true, ", "slos": "slos: [effect completeness of mail.send >= 99 %]"}),
        ("shop.buy publishes to mails with confirm: false",
         {"publish": "mails, confirm: false", "slos": "slos: [effect completeness of mail.send >= 99 %]"}),
        ("queue dead: the dead letters of mails go there, and nobody reads them",
         {"queue": "max_deliveries: 3, dead_letter: dead", "queues": "dead: {}"}),
        ("queue dead: the dead letters of mails and bills go there", {
            "queue": "max_deliveries: 3, dead_letter: dead", "queues": "bills: {dead_letter: dead}, dead: {}"}),
        ("after 3 deliveries a message is given up without a trace", {"queue": "max_deliveries: 3"}),
        ("queue mails: overflow: drop_head never happens without a capacity; set queues.mails.capacity",
         {"queue": "overflow: drop_head"}),
        ("queue heap: nobody consumes it", {"queues": "heap: {}"}),
        ("shop.buy publishes poison, and max_deliveries is unlimited", {"publish": "mails, poison: 1 %"}),
        ("it keeps an order per key, and what is published there has none", {"queue": "order: per_key"}),
        ("broker rabbit: no queue or log is on it", {"more": "brokers: {rabbit: {}}"}),
        ("broker rabbit cannot keep up: writing and delivering keeps 2 workers busy, and there is 1 on the one node that leads",
         {"queue": "broker: rabbit", "more": "brokers: {rabbit: {workers: 1, write: 150ms, deliver: 50ms}}"}),
    ],
)  # fmt: skip
def test_doubts_say_what_will_happen_and_what_to_change(said, settings):
    found = doubts(written(**settings))
    assert any(said in doubt for doubt in found), found


def test_the_way_of_large_messages_keeps_a_broker_busy_too():
    # 10 messages/s × (1 ms + 2 × 5 MB / 50 MB/s) = 2.01 workers
    large, broker = "mails, payload: 5 MB", "brokers: {rabbit: {workers: WORKERS, write: 1ms, bandwidth: 50 MB/s}}"
    scenario = written(queue="broker: rabbit", publish=large, more=broker.replace("WORKERS", "3"))
    assert broker_utilisation(scenario) == {"rabbit": pytest.approx(0.67)}
    assert "broker    rabbit: 1 node, 1 copy, utilisation 67 %" in details(scenario)
    found = doubts(written(queue="broker: rabbit", publish=large, more=broker.replace("WORKERS", "2")))
    assert any("keeps 2.01 workers busy, and there are 2 on the one node" in doubt for doubt in found), found


def test_idempotent_consumers_have_no_doubt_of_doing_it_twice():
    found = doubts(written("prefetch: 10, visibility_timeout: 500ms", send="deduplicate: {}, "))
    assert any("delivered again while it is worked on; a longer" in doubt for doubt in found)


def test_a_prefetch_that_is_worth_little_work_is_none_to_doubt():
    assert not any("may hold" in doubt for doubt in doubts(written("prefetch: 20, consumers: 4")))


def test_in_python_a_topic_is_a_list_of_queues():
    scenario = written(more="topics: {all: [mails]}")
    assert scenario.topics["all"].subscriptions == ("mails",)
    with pytest.raises(ValidationError, match="at least 1"):
        Scenario.model_validate({**scenario.as_data(), "topics": {"all": []}})


def test_an_inbox_that_no_queue_fills_is_refused():
    data = written().as_data()
    data["services"]["shop"]["operations"]["buy"] = {"deduplicate": {}, "steps": [{"publish": "mails"}]}
    with pytest.raises(ValidationError, match=r"services\.shop\.operations\.buy\.deduplicate: no queue is consumed by it"):
        Scenario.model_validate(data)


def test_poison_that_outlives_the_run_is_doubted():
    def told(**queue):
        scenario = Scenario(
            services={
                "shop": {"workers": 8, "operations": {"buy": [{"publish": "mails", "key": {"keys": 9}, "poison": 0.01}]}},
                "mail": {"workers": 8, "operations": {"send": [{"work": 0.1}]}},
            },
            queues={"mails": {"preset": "sqs@fifo", "consumer": "mail.send", "consumers": 9, "max_deliveries": 5, **queue}},
            load={"rate": 1, "mix": "shop.buy"},
            run={"duration": 60},
        )
        return "\n".join(doubts(scenario))

    assert "poison, which is dead after 5 deliveries, 30 s apart: 150 s, and until then they hold up their key" in told()
    assert "dead after" not in told(visibility_timeout=2.0)


def test_a_commit_of_what_nobody_has_read_is_doubted():
    def told(*steps):
        scenario = Scenario(
            services={"stock": {"workers": 8, "operations": {"take": [*steps, {"commit": "boxes"}]}}},
            load={"rate": 1, "mix": "stock.take"},
        )
        return "\n".join(doubts(scenario))

    assert "services.stock.operations.take.steps[0]: nothing in stock reads boxes before" in told()
    assert "reads boxes before" not in told({"read_version": "boxes"})


@pytest.mark.parametrize(
    ("step", "queues", "doubted"),
    [
        ("{work: 1ms}", "mails: {consumer: mail.send}", True),
        ("{publish: mails}", "mails: {consumer: mail.send}", False),
        ("{call: mail.send}", "", False),
        (
            "{publish: bills}",
            "{bills: {consumer: bank.bill, max_deliveries: 2, dead_letter: mails}, mails: {consumer: mail.send}}",
            False,
        ),
        ("{saga: [{do: {work: 1ms}, undo: {call: mail.send}}, {do: {call: bank.bill}}]}", "", False),
    ],
)
def test_an_objective_of_an_effect_that_nobody_asks_for_is_doubted(step, queues, doubted):
    text = f"""
services:
  shop: {{workers: 4, operations: {{buy: [{step}]}}}}
  mail: {{workers: 4, operations: {{send: {{effect: true, steps: [{{work: 1ms}}]}}}}}}
  bank: {{workers: 4, operations: {{bill: [{{work: 1ms}}]}}}}
queues: {queues if queues.startswith("{") else "{" + queues + "}"}
load: {{rate: 1/s, mix: shop.buy}}
slos: [effect p99 of mail.send <= 1s]
"""
    assert any("nobody asks for mail.send" in doubt for doubt in doubts(loads(text))) == doubted
