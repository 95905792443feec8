"""Stories of requests that are answered by messages: a caller, a queue of quotes, one who quotes, a queue of answers."""

from __future__ import annotations

import pytest

from sim.analysis import messages_by_queue
from sim.scenario.forecast import forecast
from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.messaging.systems import QUEUES
from sim.scenario.model import Scenario
from sim.scenario.yaml import dumps, loads
from sim.single import run


def ask(*, times=(0.0,), work=1.0, timeout=10.0, workers="unlimited", shop=(), quote=(), queue=(), answers=(), step=(), **rest):
    """A shop asks for quotes at these times; a way of 0.1 s from each to the next, `work` seconds for a quote."""
    request = {"request": "quotes", "replies": "answers", "timeout": timeout, **dict(step)}
    return Scenario(
        services={
            "shop": {"workers": workers, "operations": {"buy": [request]}, **dict(shop)},
            "quote": {"workers": "unlimited", "operations": {"make": {"steps": [{"work": work}], **dict(quote)}}},
        },
        queues={"quotes": {"consumer": "quote.make", "consumers": 10, **dict(queue)}, "answers": dict(answers)},
        links={"default": 0.1},
        load=rest.pop("load", {"kind": "replay", "times": tuple(times), "mix": "shop.buy"}),
        run={"duration": rest.pop("duration", 30)},
        **{"calls": {"client -> shop": {"timeout": 100}}, **rest},
    )


def simulate(**settings):
    return run(ask(**settings), 1)


def of(result, queue):
    mine = result.effects[result.effects.queue == queue]
    return mine.sort_values(["number", "request"]).reset_index(drop=True)


def fates(result, queue):
    return of(result, queue).fate.tolist()


def test_a_reply_comes_after_four_ways_and_the_work():
    result = simulate()
    [request] = result.requests.itertuples()
    # client 0.1, to the queue 0.1, to the consumer 0.1, work 1, to the answers 0.1, to the shop 0.1, client 0.1
    assert (request.outcome, round(request.ended_s, 9)) == ("ok", 1.6)
    assert [round(part, 9) for part in (request.service_s, request.network_s, request.queue_s)] == [1.0, 0.6, 0.0]
    assert (fates(result, "quotes"), fates(result, "answers")) == (["done"], ["done"])
    # its publish, its delivery, the publish of the reply, the delivery of that; and the client's call
    assert request.attempts == 5
    assert forecast(ask(load={"rate": 2, "mix": "shop.buy"})).attempts == 2 * 30 * 5


def test_the_worker_is_held_while_its_request_is_out():
    ended = simulate(times=(0.0, 0.0), workers=1).requests.ended_s.round(9).tolist()
    assert ended == [1.6, 3.0]


def test_the_time_in_a_line_is_told_as_waiting():
    result = simulate(times=(0.0, 0.0), queue={"consumers": 1})
    second = result.requests.sort_values("ended_s").iloc[1]
    latency_s = second.ended_s - second.arrived_s
    assert latency_s == pytest.approx(second.service_s + second.network_s + second.queue_s)
    assert (round(latency_s, 9), round(second.service_s, 9)) == (3.0, 1.0)  # reply confirmed, acknowledged, next: 0.4 s


def test_a_reply_that_is_too_late_is_counted_and_nothing_else():
    result = simulate(timeout=1.0)
    [request] = result.requests.itertuples()
    assert (request.outcome, round(request.ended_s, 9), round(request.lost_s, 9)) == ("error", 1.2, 0.8)
    assert (fates(result, "quotes"), fates(result, "answers")) == (["done"], ["late"])
    found = messages_by_queue(result.effects).set_index("queue")
    assert (found.late["answers"], found.done["quotes"]) == (1, 1)


def test_a_request_that_is_delivered_again_is_answered_twice_and_the_second_reply_is_discarded():
    result = simulate(queue={"visibility_timeout": 0.9, "late_acknowledge": "accepted"})
    [request] = result.requests.itertuples()
    assert (request.outcome, round(request.ended_s, 9)) == ("ok", 1.6)
    assert of(result, "quotes").times_done.tolist() == [2]
    assert fates(result, "answers") == ["done", "duplicate"]


def test_an_idempotent_consumer_replies_again_and_does_nothing_again():
    queue = {"visibility_timeout": 1.15, "late_acknowledge": "accepted"}
    result = simulate(queue=queue, quote={"deduplicate": {"work": 0.2}})
    assert (of(result, "quotes").times_done.tolist(), of(result, "quotes").deliveries.tolist()) == ([1], [2])
    assert fates(result, "answers") == ["done", "duplicate"]


def test_a_consumer_that_dies_is_replaced_and_the_caller_waits_longer():
    result = simulate(faults=[{"crash": "quote", "at": 0.8, "for": 1.0}])
    [request] = result.requests.itertuples()
    # 1.8 back, 0.1 to it, 1 work, 0.1, 0.1, 0.1
    assert (request.outcome, round(request.ended_s, 9)) == ("ok", 3.2)
    assert (fates(result, "quotes"), fates(result, "answers")) == (["done"], ["done"])


def test_a_consumer_that_dies_between_reply_and_acknowledgement_replies_twice():
    # The work is done at 1.3, the reply is confirmed at 1.5: until then the request is not acknowledged.
    result = simulate(faults=[{"crash": "quote", "at": 1.45, "for": 0.5}])
    assert result.requests.outcome.tolist() == ["ok"]
    assert fates(result, "answers") == ["done", "duplicate"]
    assert of(result, "quotes").times_done.tolist() == [2]


def test_a_caller_that_dies_leaves_a_reply_for_nobody():
    result = simulate(faults=[{"crash": "shop", "at": 0.5, "for": 0.1}])
    assert result.requests.outcome.tolist() == ["unreachable"]
    assert (fates(result, "quotes"), fates(result, "answers")) == (["done"], ["late"])


def test_a_consumer_tries_again_while_the_queue_of_replies_is_down():
    result = simulate(faults=[{"outage": "answers", "at": 1.3, "for": 2.0}], calls={
        "default": {"retry": {"max_attempts": 100, "backoff": {"base": 0.1, "kind": "constant"}}},
        "client -> shop": {"timeout": 100, "retry": {"max_attempts": 1}},
    })  # fmt: skip
    assert (result.requests.outcome.tolist(), fates(result, "answers")) == (["ok"], ["done"])
    assert 3.3 <= result.requests.ended_s[0] <= 4.0


def test_a_node_that_alone_had_a_reply_takes_it_along():
    # The reply is there at 1.4, and handed out until 2.4: the node goes down in between.
    result = simulate(
        brokers={"rabbit": {"deliver": 1.0}}, answers={"broker": "rabbit"}, timeout=5.0,
        faults=[{"outage": "rabbit", "at": 1.5, "for": 9.0}],
    )  # fmt: skip
    assert result.requests.outcome.tolist() == ["error"]
    assert fates(result, "answers") == ["dropped"]


def test_a_request_that_failed_for_good_is_answered_by_nobody():
    result = simulate(quote={"steps": [{"work": 0.1}, {"fail": 1.0}]}, queue={"max_deliveries": 2}, timeout=5.0)
    assert result.requests.outcome.tolist() == ["error"]
    assert (fates(result, "quotes"), fates(result, "answers")) == (["dead"], [])


def test_a_saga_undoes_what_it_does_not_know_of():
    saga = {"saga": [{"do": {"request": "quotes", "replies": "answers", "timeout": 1.0}, "undo": {"call": "quote.make"}}]}
    scenario = ask().as_data()
    scenario["services"]["shop"]["operations"]["buy"] = [saga]
    result = run(Scenario.model_validate(scenario), 1)
    assert (result.attempts.target == "quote.make").sum() == 1


ASKS = {"request": "quotes", "replies": "answers", "timeout": 1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": {"request": "bills"}}, "request: no queue, topic or log .bills."),
        ({"step": {"replies": "bills"}}, "replies: no queue or log .bills."),
        ({"queue": {"consumer": None}}, "nobody consumes quotes, so nobody replies"),
        ({"answers": {"capacity": 3}}, "queues.answers.capacity: answers carries replies"),
        ({"answers": {"preset": "sqs@standard", "prefetch": 1, "capacity": 3}}, "capacity and prefetch are not read"),
        ({"queue": {"dead_letter": "answers", "max_deliveries": 2}}, "answers carries replies, and nobody waits"),
        ({"shop": {"operations": {"buy": [{"publish": "answers"}, ASKS]}}}, r"buy.steps\[0\].publish: answers carries replies"),
        (
            {"logs": {"orders": {"groups": {"all": {"consumer": "quote.make", "dead_letter": "answers"}}}}},
            "logs.orders.groups.all.dead_letter: answers carries replies",
        ),
        ({"topics": {"both": ["answers"]}}, "topics.both.subscriptions: answers carries replies"),
        ({"quote": {"steps": [{"call": "shop.buy"}]}}, "circle"),
    ],
)
def test_what_cannot_be_is_told_with_place_and_cure(settings, message):
    with pytest.raises(ValueError, match=message):
        ask(**settings)


@pytest.mark.parametrize("name", [*QUEUES])
def test_of_a_preset_a_queue_of_replies_reads_what_is_about_it(name):
    scenario = ask(answers={"preset": name})
    assert run(scenario, 1).requests.ended_s.round(9).tolist() == [1.6]
    assert loads(dumps(scenario)).hash == scenario.hash
    assert "answers" not in doubts(answers={"preset": name})


def test_of_a_preset_a_log_of_replies_reads_what_is_about_it():
    assert by_log(replies={"preset": "kafka@4"}).requests.ended_s.round(9).tolist() == [1.605], "its linger is 5 ms"


def doubts(**settings):
    return "\n".join(doubts_of_messages(ask(load={"rate": 1, "mix": "shop.buy"}, **settings)))


def test_a_reviewer_doubts_timeouts_that_are_too_short_and_requests_that_outlive_them():
    assert "timeout = 1 s ends before the reply is there, which takes 1.4 s" in doubts(timeout=1.0)
    assert "waits 10 s for a reply, and its requests are worked on long after: queue quotes has no time_to_live." in doubts()
    assert doubts(queue={"time_to_live": 10.0}) == ""


def test_a_dead_letter_is_no_request_any_more():
    data = ask(quote={"steps": [{"work": 1.0}, {"fail": 1.0}]}, timeout=5.0).as_data()
    data["services"]["support"] = {"workers": 1, "operations": {"look": [{"work": 0.5}]}}
    data["queues"]["quotes"] |= {"max_deliveries": 1, "dead_letter": "dead"}
    data["queues"]["dead"] = {"consumer": "support.look"}
    result = run(Scenario.model_validate(data), 1)
    assert [fates(result, queue) for queue in ("quotes", "dead", "answers")] == [["dead"], ["done"], []]
    # A way of 0.1 s there and back, and five seconds in which nobody answers.
    assert [(row.outcome, round(row.ended_s, 9)) for row in result.requests.itertuples()] == [("error", 5.2)]


def test_a_reply_is_not_written_where_nobody_leads_once_its_broker_takes_messages_again():
    data = ask(timeout=20.0).as_data()
    data["brokers"] = {"rabbit": {"nodes": 2, "high_watermark": 1}}
    data["services"]["slow"] = {"workers": 1, "operations": {"eat": [{"work": 5.0}]}}
    # `full` is kept by the second node, and `answers` by the first, which is down when the broker is empty again.
    data["queues"]["answers"] = {"broker": "rabbit"}
    data["queues"]["full"] = {"broker": "rabbit", "consumer": "slow.eat"}
    data["services"]["shop"]["operations"]["buy"] = [{"publish": "full"}, ASKS | {"timeout": 20.0}]
    data["faults"] = [{"outage": "rabbit", "node": 0, "at": 3.0, "for": 4.0}]
    result = run(Scenario.model_validate(data), 1)
    # Eaten at 5.4, told at 5.5, refused at 5.5: the quote is made again until somebody takes the reply, after 7.
    [written_s] = of(result, "answers").acked_s
    assert written_s > 7.0


def test_a_retry_that_never_sees_a_failing_reply_is_doubted():
    settings = {"step": {"reply_failures": True}, "queue": {"time_to_live": 10.0}}
    assert "never what was answered with a failure" in doubts(
        calls={"shop -> quotes": {"retry": {"max_attempts": 3}}}, **settings
    )
    assert doubts(calls={"client -> shop": {"timeout": 9, "retry": {"max_attempts": 3}}}, **settings) == ""


FAILS = {"steps": [{"work": 0.5}, {"fail": 1.0}]}


def test_a_consumer_that_says_that_it_failed_ends_the_step_and_is_not_asked_again():
    result = simulate(quote=FAILS, step={"reply_failures": True}, queue={"max_deliveries": 9})
    [request] = result.requests.itertuples()
    # 0.1, to the queue 0.1, to the consumer 0.1, 0.5 of work in vain, to the answers 0.1, to the shop 0.1, 0.1
    assert (request.outcome, round(request.ended_s, 9), round(request.service_s, 9)) == ("error", 1.1, 0.5)
    assert (fates(result, "quotes"), fates(result, "answers")) == (["failed"], ["done"])
    assert of(result, "quotes").deliveries.tolist() == [1]


def test_of_a_call_for_several_requests_each_caller_is_told():
    scenario = ask(step={"reply_failures": True}, queue={"prefetch": 2, "batch": {"size": 2, "wait": 0.5}}, times=(0.0, 0.0))
    result = run(scenario, 1)
    assert (fates(result, "quotes"), result.requests.outcome.tolist()) == (["done", "done"], ["ok", "ok"])
    result = simulate(quote=FAILS, step={"reply_failures": True}, times=(0.0, 0.0), queue={"prefetch": 2, "batch": {"size": 2}})
    assert (fates(result, "quotes"), result.requests.outcome.tolist()) == (["failed", "failed"], ["error", "error"])


def test_at_most_once_can_say_that_it_failed_too():
    result = simulate(quote=FAILS, step={"reply_failures": True}, queue={"acknowledge": "before"})
    assert (fates(result, "quotes"), result.requests.outcome.tolist()) == (["failed"], ["error"])


def test_a_failure_that_cannot_be_told_brings_the_request_back():
    # The answers are down when the first failure is told at 0.8; the second one, a second later, is heard.
    result = simulate(quote=FAILS, step={"reply_failures": True}, faults=[{"outage": "answers", "at": 0.8, "for": 0.5}])
    assert (fates(result, "quotes"), result.requests.outcome.tolist()) == (["failed"], ["error"])
    assert of(result, "quotes").deliveries.tolist() == [2]


def among_many(**settings):
    return run(among_many_scenario(**settings), 1)


def among_many_scenario(**settings):
    """The same request to a topic with a fast and a slow one who quotes."""
    data = ask(**settings).as_data()
    data["services"]["slow"] = {"workers": "unlimited", "operations": {"make": [{"work": 2.0}]}}
    data["queues"]["slow_quotes"] = {"consumer": "slow.make"}
    data["topics"] = {"all": ["quotes", "slow_quotes"]}
    data["services"]["shop"]["operations"]["buy"]["steps"][0]["request"] = "all"
    return Scenario.model_validate(data)


def test_of_a_topic_the_first_reply_counts_and_the_second_is_discarded():
    result = among_many()
    assert (result.requests.outcome.tolist(), result.requests.ended_s.round(9).tolist()) == (["ok"], [1.6])
    assert fates(result, "answers") == ["done", "duplicate"]
    assert (fates(result, "quotes"), fates(result, "slow_quotes")) == (["done"], ["done"])
    result = among_many(quote=FAILS, step={"reply_failures": True})
    assert (result.requests.outcome.tolist(), result.requests.ended_s.round(9).tolist()) == (["error"], [1.1])


def by_log(requests=(), replies=(), **settings):
    """The same through two logs."""
    data = ask(**settings).as_data()
    data["queues"] = {}
    group = {"consumer": "quote.make", "consumers": 2, "commit": "each"}
    data["logs"] = {"quotes": {"partitions": 2, "groups": {"all": group}, **dict(requests)}, "answers": dict(replies)}
    return run(Scenario.model_validate(data), 1)


def test_through_logs_a_reply_takes_the_same_ways():
    result = by_log()
    assert (result.requests.outcome.tolist(), result.requests.ended_s.round(9).tolist()) == (["ok"], [1.6])
    assert (fates(result, "quotes.all"), fates(result, "answers")) == (["done"], ["done"])
    assert result.requests.attempts.tolist() == [5]
    lingers = {"producer": {"linger": 0.2}}
    assert by_log(lingers, lingers).requests.ended_s.round(9).tolist() == [2.0]


def test_of_two_queues_whose_requests_outlive_their_caller_one_doubt_tells():
    slow = among_many_scenario(load={"rate": 1, "mix": "shop.buy"})
    [doubt] = [said for said in doubts_of_messages(slow) if "worked on long after" in said]
    assert forecast(slow).attempts == 30 * 8, "a call, a publish, two deliveries, two replies delivered"
    assert "queue quotes has no time_to_live and slow_quotes has no time_to_live." in doubt


def test_a_failure_is_told_through_logs():
    result = by_log(quote=FAILS, step={"reply_failures": True})
    assert (result.requests.outcome.tolist(), result.requests.ended_s.round(9).tolist()) == (["error"], [1.1])
    assert fates(result, "quotes.all") == ["failed"]


def test_a_reply_in_a_log_waits_for_those_who_cannot_fetch_it():
    # There at 1.4; the only node is down from 1.35, the producer sends again after some 0.1 s, until the node is back at 2.0.
    log = {"broker": "kafka", "producer": {"request_timeout": 0.5, "delivery_timeout": 20.0}}
    brokers = {"kafka": {"write": 0.01}}
    result = by_log(log, log, brokers=brokers, faults=[{"outage": "kafka", "at": 1.35, "for": 0.65}])
    assert (result.requests.outcome.tolist(), fates(result, "answers")) == (["ok"], ["done"])
    assert 2.1 < result.requests.ended_s[0] < 4.0
    # Lost on the way to the shop between 1.42 and 1.6: fetched again after a request timeout.
    cut = {"link": "kafka -> shop", "direction": "from", "partition": True, "at": 1.42, "for": 0.01}
    lost = by_log(log, log, brokers=brokers, faults=[cut])
    assert (lost.requests.outcome.tolist(), lost.requests.ended_s.round(9).tolist()) == (["ok"], [2.12])


def test_a_request_that_a_log_has_twice_is_answered_twice():
    # Written at 0.2, and the producer's answer is lost: it is sent again after a second and a pause.
    requests = {"producer": {"idempotent": False, "request_timeout": 1.0, "delivery_timeout": 20.0}}
    cut = {"link": "quotes -> shop", "direction": "from", "partition": True, "at": 0.15, "for": 0.1}
    result = by_log(requests, faults=[cut])
    assert (len(of(result, "quotes.all")), result.requests.outcome.tolist()) == (2, ["ok"])
    assert fates(result, "answers") == ["done", "duplicate"]


def test_nobody_waits_for_a_reply_beyond_the_deadline_that_came_along():
    calls = {"default": {"propagate_deadline": True}, "client -> shop": {"timeout": 1.0}}
    result = simulate(times=(0.0, 2.0), work=5.0, workers=1, calls=calls)
    assert of(result, "quotes").published_s.round(6).tolist() == [0.1, 2.1], "the only worker was free at 1"
