"""Stories of requests that are answered by messages: a caller, a queue of quotes, one who quotes, a queue of answers."""

from __future__ import annotations

import pytest

from sim.analysis import messages_by_queue
from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.model import Scenario
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": {"request": "bills"}}, "request: bills is no queue, and one queue is asked"),
        ({"step": {"replies": "bills"}}, "replies: no queue 'bills'"),
        ({"queue": {"consumer": None}}, "nobody consumes quotes, so nobody replies"),
        ({"answers": {"capacity": 3}}, "queues.answers.capacity: answers carries replies"),
        ({"queue": {"dead_letter": "answers", "max_deliveries": 2}}, "answers carries replies, and nobody waits"),
        ({"topics": {"both": ["answers"]}}, "topics.both.subscriptions: answers carries replies"),
        ({"quote": {"steps": [{"call": "shop.buy"}]}}, "circle"),
    ],
)
def test_what_cannot_be_is_told_with_place_and_cure(settings, message):
    with pytest.raises(ValueError, match=message):
        ask(**settings)


def doubts(**settings):
    return "\n".join(doubts_of_messages(ask(load={"rate": 1, "mix": "shop.buy"}, **settings)))


def test_a_reviewer_doubts_timeouts_that_are_too_short_and_requests_that_outlive_them():
    assert "timeout = 1 s ends before the reply is there, which takes 1.4 s" in doubts(timeout=1.0)
    assert "waits 10 s for a reply, and without a time_to_live" in doubts()
    assert doubts(queue={"time_to_live": 10.0}) == ""
