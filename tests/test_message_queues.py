"""Queues, topics and brokers in motion: stories with numbers you can count on your fingers."""

from __future__ import annotations

import numpy as np
import pytest
from mail_shop import done, fates, rows, simulate

from sim.analysis import backlog, drain_s, messages_by_queue, out_of_order
from sim.scenario.model import Scenario
from sim.single import run

FLAKY = [{"work": 1.0}, {"fail": 1.0}]

# --- who gets what ----------------------------------------------------------------------------------------------------


def test_competing_consumers_take_one_message_each():
    result = simulate({"consumers": 2}, times=[0, 0, 0])
    assert done(result) == [1, 1, 2]
    assert rows(result).number.tolist() == [0, 1, 2]
    assert fates(result) == ["done"] * 3


def test_prefetched_messages_save_the_way_and_wait_at_their_consumer():
    link = {"links": {"mails -> mail": 0.5}}
    # One at a time: there 0.5, work 1, back 0.5, and only then the next sets out.
    assert done(simulate({}, times=[0, 0, 0], **link)) == [1.5, 3.5, 5.5]
    assert done(simulate({"prefetch": 2}, times=[0, 0, 0], **link)) == [1.5, 2.5, 3.5]


def test_a_large_prefetch_hoards():
    # Six are there when the first consumer comes; the second one comes to an empty queue.
    crash = {"faults": [{"crash": "mail", "at": 0.0, "for": 1.0}]}
    process = {"process": {"replicas": 2}}
    shared = simulate({"prefetch": 1}, times=[0.5] * 6, **crash, **process)
    hoarded = simulate({"prefetch": 6}, times=[0.5] * 6, **crash, **process)
    assert max(done(shared)) == 4.0
    assert max(done(hoarded)) == 7.0


def test_a_poll_brings_up_to_a_batch_that_is_worked_on_in_order():
    poll = {"delivery": "poll", "receive_batch": 2, "receive_wait": 10}
    result = simulate(poll, times=[0, 0, 0])
    # The first publish answers the question that waits; the next question finds the two others.
    assert done(result) == [1, 2, 3]
    assert rows(result).started_s.tolist() == [0, 1, 2]


def test_a_short_poll_asks_again_after_a_pause():
    result = simulate({"delivery": "poll", "poll_interval": 2}, times=[1.0, 5.5])
    assert rows(result).started_s.tolist() == [2.0, 6.0 + 1.0], "asked at 0, 2, (worked until 3), 3, 5, 7"


def test_what_a_short_poll_takes_comes_back_when_its_timeout_ends():
    poll = {"delivery": "poll", "poll_interval": 5.0, "visibility_timeout": 2.0, "late_acknowledge": "accepted", "consumers": 2}
    result = simulate(poll, times=(1.0,), work=30.0)
    # Taken at 5, ready again at 7, and the other consumer asks at 10; ready again at 12, and both are busy until 35.
    assert (done(result), rows(result).deliveries.tolist(), rows(result).times_done.tolist()) == ([35.0], [2], [2])


def test_a_long_poll_is_answered_when_a_message_comes():
    result = simulate({"delivery": "poll", "receive_wait": 20}, times=[33.3])
    assert rows(result).started_s.tolist() == [33.3]


def test_a_single_active_consumer_keeps_the_order_and_hands_over_when_it_dies():
    sac = {"single_active_consumer": True, "prefetch": 10, "consumers": 1}
    replicas = {"process": {"replicas": 2}}
    result = simulate(sac, times=[0, 0, 0], **replicas, faults=[{"crash": "mail", "replica": 0, "at": 1.5}])
    assert done(result) == [1.0, 2.5, 3.5], "the other one takes over at once"
    assert rows(result).deliveries.tolist() == [1, 2, 2]


def test_who_may_hold_how_many_in_all():
    result = simulate({"consumers": 5, "max_unacknowledged": 2}, times=[0, 0, 0, 0])
    assert done(result) == [1, 1, 2, 2]


# --- what is promised -------------------------------------------------------------------------------------------------


def test_at_least_once_a_dead_consumers_message_is_done_again():
    result = simulate({}, times=[0.0], faults=[{"crash": "mail", "at": 0.5, "for": 1.0}])
    assert done(result) == [2.5]
    assert rows(result).deliveries.tolist() == [2]


def test_at_most_once_it_is_lost():
    before = {"acknowledge": "before"}
    result = simulate(before, times=[0.0, 0.1], faults=[{"crash": "mail", "at": 0.5, "for": 1.0}])
    assert fates(result) == ["dropped", "done"], "the second waited in the queue"
    assert done(result)[1] == 2.5
    assert rows(result).deliveries.tolist() == [1, 1]
    assert fates(simulate(before, steps=FLAKY)) == ["dropped"]


def test_a_timeout_that_ends_before_the_work_makes_it_twice():
    slow = {"visibility_timeout": 3, "consumers": 2}
    result = simulate({**slow, "late_acknowledge": "accepted"}, work=4.0)
    assert rows(result).deliveries.tolist() == [2]
    assert rows(result).times_done.tolist() == [2], "the second consumer does not know that the first was done at 4 s"
    assert (done(result), fates(result)) == ([4.0], ["done"])
    result = simulate(slow, work=4.0)
    assert rows(result).deliveries.tolist()[0] > 20, "each acknowledgement comes too late to count: it never ends"
    assert fates(result) == ["in_flight"]
    assert fates(simulate({**slow, "max_deliveries": 2}, work=4.0)) == ["done"], "given up, and yet it happened"


def test_what_waits_at_its_consumer_times_out_too():
    result = simulate({"prefetch": 3, "visibility_timeout": 2.5}, times=[0, 0, 0])
    assert rows(result).deliveries.tolist() == [1, 1, 2]
    assert rows(result).times_done.tolist() == [1, 1, 2]


def test_who_has_no_connection_does_not_notice_a_crash():
    unnoticed = {"notices_crash": False, "visibility_timeout": 30}
    result = simulate(unnoticed, times=[0.0], faults=[{"crash": "mail", "at": 0.5, "for": 1.0}])
    assert rows(result).started_s.tolist() == [30.0]


def test_the_last_word_of_a_consumer_that_dies_is_heard():
    poll = {"delivery": "poll", "receive_wait": 10, "visibility_timeout": 30, "notices_crash": False}
    died = [{"crash": "mail", "at": 2.2, "for": 1.0}]
    result = simulate(poll, times=[0.0], links={"mails -> mail": 0.5}, faults=died, run={"drain": 500})
    # Asked from 0.5 s on, there at 1 s, done at 2 s; the process dies at 2.2 s, and its word arrives at 2.5 s.
    assert (done(result), rows(result).deliveries.tolist(), fates(result)) == ([2.0], [1], ["done"])
    assert result.gauges.time_s.max() <= 61, "and the run waits for nothing more"


def test_an_idempotent_consumer_has_each_effect_once():
    slow = {"visibility_timeout": 3, "consumers": 2, "late_acknowledge": "accepted"}
    # Both are at work when the first is done: the second finds the id when it wants to write.
    result = simulate(slow, work=4.0, mail={"deduplicate": {"work": 0.1}})
    assert rows(result).times_done.tolist() == [1]
    # One after the other: the second costs only the look.
    result = simulate({"visibility_timeout": 3}, work=4.0, mail={"deduplicate": {"work": 0.25}})
    assert rows(result).deliveries.tolist() == [2]
    assert rows(result).times_done.tolist() == [1]
    assert result.totals.set_index("name").busy_worker_s["mail"] == 4.25


def test_a_store_that_forgets_lets_it_pass():
    slow = {"visibility_timeout": 3, "consumers": 2, "late_acknowledge": "accepted"}
    assert rows(simulate(slow, work=4.0, mail={"deduplicate": {"window": 2.9}})).times_done.tolist() == [2]
    assert rows(simulate(slow, work=4.0, mail={"deduplicate": {"window": 3.1}})).times_done.tolist() == [1]


def lost_answer(**queue):
    """A publish whose answer is lost, and is sent again."""
    calls = {"shop -> mails": {"per_try_timeout": 1.0, "retry": {"max_attempts": 2}}}
    cut = [{"link": "mails -> shop", "direction": "from", "partition": True, "at": 0.0, "for": 0.5}]
    return simulate(queue, calls=calls, faults=cut, links={"shop -> mails": 0.1}, mail=queue.pop("mail", {}))


def test_a_publish_that_is_sent_again_is_two_messages_unless_the_broker_knows_it():
    assert fates(lost_answer()) == ["done", "done"]
    assert fates(lost_answer(deduplicate={"window": 120})) == ["done"]
    assert fates(lost_answer(deduplicate={"window": 0.5})) == ["done", "done"], "the window is over"
    result = lost_answer(mail={"deduplicate": {}})
    assert fates(result) == ["done", "duplicate"]
    assert rows(result).times_done.tolist() == [1, 0]
    assert result.requests.outcome.tolist() == ["ok"]


def test_a_message_that_was_never_safe_is_not_known():
    calls = {"shop -> mails": {"retry": {"max_attempts": 2, "backoff": {"base": 5, "jitter": "none"}}}}
    result = simulate(
        {"deduplicate": {"window": 120}, "persist": 1.0}, calls=calls, faults=[{"outage": "mails", "at": 0.5, "for": 1.0}]
    )
    assert fates(result) == ["done"]
    assert done(result) == [1.0 + 5.0 + 1.0 + 1.0]


def test_nobody_is_told_that_a_message_is_safe_while_it_is_still_being_written():
    """The first copy is written from 0 to 1 s, but the queue goes down; what is sent again meanwhile is refused."""
    again = {"per_try_timeout": 0.3, "retry": {"max_attempts": 3, "backoff": {"base": 0.1, "jitter": "none"}}}
    queue = {"deduplicate": {"window": 120}, "persist": 1.0}
    result = simulate(queue, calls={"shop -> mails": again}, faults=[{"outage": "mails", "at": 0.5, "for": 1.0}])
    assert result.attempts[result.attempts.target == "mails"].outcome.tolist() == ["timeout", "rejected", "unreachable"]
    assert result.requests.outcome.tolist() == ["error"]
    assert rows(result).empty
    result = simulate(queue, calls={"shop -> mails": again | {"retry": {"max_attempts": 9, "backoff": {"base": 0.1}}}})
    assert (fates(result), result.requests.outcome.tolist()) == (["done"], ["ok"])


# --- what is given up -------------------------------------------------------------------------------------------------


def test_a_poisoned_message_ends_in_the_dead_letters():
    queue = {"max_deliveries": 3, "redelivery_delay": 1, "dead_letter": "dead"}
    result = simulate(queue, send={"poison": 1.0}, queues={"dead": {}})
    assert fates(result) == ["dead"]
    assert rows(result).deliveries.tolist() == [3]
    assert fates(result, "dead") == ["kept"]
    letter = rows(result, "dead").iloc[0]
    assert letter.acked_s == 3 * 1.0 + 2 * 1.0
    assert letter.dead_letter_of == "mails"
    assert np.isnan(letter.done_s)
    assert result.gauges[result.gauges.name == "dead"].queued.iloc[-1] == 1


def test_dead_letters_may_have_a_consumer():
    queue = {"max_deliveries": 1, "dead_letter": "dead"}
    result = simulate(queue, steps=FLAKY, queues={"dead": {"consumer": "mail.look"}})
    assert fates(result, "dead") == ["done"]
    assert rows(result, "dead").effect.tolist() == ["mail.look"]


def test_every_tenth_message_is_poisoned_whoever_gets_it():
    many = [0.01 * i for i in range(2000)]
    result = simulate(
        {"consumers": 50, "max_deliveries": 2, "redelivery_delay": 0.01}, times=many, work=0.001, send={"poison": 0.1}
    )
    dead = (rows(result).fate == "dead").mean()
    assert dead == pytest.approx(0.1, abs=0.02)
    assert set(rows(result).deliveries[rows(result).fate == "dead"]) == {2}


def test_too_long_a_line_rejects_or_drops_its_oldest():
    burst = [0.0, 0.1, 0.2, 0.3]  # one is at its consumer, one may wait
    result = simulate({"capacity": 1}, times=burst)
    assert result.requests.outcome.tolist() == ["ok", "ok", "error", "error"]
    result = simulate({"capacity": 1, "overflow": "drop_head", "dead_letter": "dead"}, times=burst, queues={"dead": {}})
    assert result.requests.outcome.tolist() == ["ok"] * 4
    assert fates(result) == ["done", "dropped", "dropped", "done"]
    assert rows(result, "dead").request.tolist() == [1, 2]
    result = simulate({"capacity": 1, "overflow": "reject_dead_letter", "dead_letter": "dead"}, times=burst, queues={"dead": {}})
    assert result.requests.outcome.tolist() == ["ok", "ok", "error", "error"]
    assert rows(result, "dead").request.tolist() == [2, 3]


def test_dead_letters_for_which_there_is_no_room_are_lost():
    queue = {"max_deliveries": 1, "dead_letter": "dead", "consumers": 2}
    result = simulate(queue, times=[0, 0], steps=FLAKY, queues={"dead": {"capacity": 1}})
    assert sorted(fates(result, "dead")) == ["dropped", "kept"]


def test_messages_expire_in_line_and_go_to_the_dead_letters():
    result = simulate({"time_to_live": 1.5, "dead_letter": "dead"}, times=[0, 0, 0], queues={"dead": {}})
    assert fates(result) == ["done", "done", "expired"]
    assert rows(result, "dead").acked_s.tolist() == [1.5]


def test_a_delay_and_a_priority():
    assert done(simulate({"delay": 5}, times=[0.0])) == [6.0]
    scenario = {
        "services": {
            "shop": {
                "workers": "unlimited",
                "operations": {"plain": [{"publish": "mails", "priority": 5}], "vip": [{"publish": "mails"}]},
            },
            "mail": {"workers": 1, "operations": {"send": [{"work": 1.0}]}},
        },
        "queues": {"mails": {"consumer": "mail.send", "order": "priority"}},
        "load": {"kind": "poisson", "rate": 5, "mix": {"shop.plain": 1, "shop.vip": 1}},
        "run": {"duration": 4, "drain": 100},
    }
    result = run(Scenario.model_validate(scenario))
    order = result.effects.sort_values("started_s")
    entries = result.requests.entry.astype(str).to_numpy()[order.request].tolist()
    vips = entries.count("shop.vip")
    assert entries[1 : 1 + vips] == ["shop.vip"] * vips, "nobody plain is begun while a vip waits, but the one that came first"
    for of in (entries[1 : 1 + vips], entries[1 + vips :]):
        assert len(of) > 3
    assert order.number[1 : 1 + vips].is_monotonic_increasing


# --- order ------------------------------------------------------------------------------------------------------------


def test_requeue_decides_where_a_failed_message_goes():
    # The first one fails once: an injected error in the first second.
    fault = [{"errors": "mail", "ratio": 1.0, "at": 0.0, "for": 0.05}]
    late = {"times": [0.0, 0.1, 0.2, 0.3], "faults": fault}
    assert done(simulate({"redelivery_delay": 1.0, "requeue": "tail"}, **late)) == [4.1, 1.1, 2.1, 3.1]
    assert done(simulate({"redelivery_delay": 1.0, "requeue": "head"}, **late)) == [2.1, 1.1, 3.1, 4.1]


def test_messages_of_bad_requests_fail_at_every_delivery():
    fault = [{"errors": "mail.send", "ratio": 0.5, "at": 0.0, "same_requests": True}]
    result = simulate({"max_deliveries": 4, "redelivery_delay": 0.1, "consumers": 40}, times=[0.0] * 40, faults=fault)
    found = rows(result)
    assert set(zip(found.fate, found.deliveries, strict=True)) == {("done", 1), ("dead", 4)}
    assert 10 < (found.fate == "dead").sum() < 30


def test_what_waits_for_its_delay_is_in_the_backlog():
    fault = [{"errors": "mail", "ratio": 1.0, "at": 0.0, "for": 0.05}]
    result = simulate({"redelivery_delay": 5.0}, faults=fault, run={"sample_every": 1.0})
    table = backlog(result.gauges, ["mails"]).set_index("time_s")
    assert table.loc[[3.0, 5.0, 7.0], ["waiting", "unacknowledged"]].to_numpy().tolist() == [[1, 0], [0, 1], [0, 0]]


def test_out_of_order_is_counted_per_key():
    fault = [{"errors": "mail", "ratio": 1.0, "at": 0.0, "for": 0.05}]
    result = simulate({"redelivery_delay": 1.0}, times=[0.0, 0.1, 0.2], send={"key": {"keys": 1}}, faults=fault)
    assert rows(result).key.tolist() == [0, 0, 0]
    assert out_of_order(result.effects).sum() == 1
    result = simulate({"redelivery_delay": 1.0}, times=[0.0, 0.1, 0.2], faults=fault)
    assert rows(result).key.tolist() == [-1] * 3
    assert out_of_order(result.effects).sum() == 0, "without a key there is no order to keep"


def test_per_key_one_message_is_worked_on_at_a_time_and_its_key_waits_for_it():
    fifo = {"order": "per_key", "consumers": 5, "redelivery_delay": 1.0}
    fault = [{"errors": "mail", "ratio": 1.0, "at": 0.0, "for": 0.05}]
    result = simulate(fifo, times=[0.0, 0.1, 0.2], send={"key": {"keys": 1}}, faults=fault)
    assert done(result) == [2.0, 3.0, 4.0]
    result = simulate(fifo, times=[0.0, 0.1, 0.2])
    assert done(result) == [1.0, 1.1, 1.2]


def test_a_batch_of_a_key_stops_at_its_first_failure():
    fifo = {
        "order": "per_key",
        "delivery": "poll",
        "receive_batch": 10,
        "receive_wait": 10,
        "consumers": 3,
        "redelivery_delay": 5.0,
    }
    sometimes = [{"work": 1.0}, {"fail": 0.4}]
    result = simulate(fifo, times=[0.01 * i for i in range(20)], send={"key": {"keys": 1}}, steps=sometimes, run={"drain": 300})
    found = rows(result)
    assert found.deliveries.max() > 2
    assert (found.started_s.to_numpy()[1:] >= found.done_s.to_numpy()[:-1] - 1e-9).all(), "one after the other, whoever fails"


def test_what_lies_behind_a_failure_in_its_batch_has_been_delivered_for_nothing():
    fifo = {"order": "per_key", "delivery": "poll", "receive_batch": 10, "receive_wait": 10, "redelivery_delay": 5.0}
    # The first one is alone in its batch; the second fails twice, and takes with it the third, which nobody has touched.
    poison = {"key": {"keys": 1}, "poison": 0.3}
    result = simulate({**fifo, "max_deliveries": 2}, times=[0.01 * i for i in range(20)], send=poison, run={"drain": 300})
    assert (rows(result).fate == "dead").mean() > 0.4, "far more than the three in ten that are poison"


def test_what_one_connection_carries_keeps_its_order():
    jitter = {"links": {"mails -> mail": {"uniform": {"low": 0.0, "high": 1.0}}}}
    result = simulate({"prefetch": 100}, times=[0.01 * i for i in range(100)], work=0.001, **jitter)
    assert rows(result).started_s.is_monotonic_increasing


# --- publishers -------------------------------------------------------------------------------------------------------


def test_without_a_confirm_nobody_waits_and_losses_are_unseen():
    slow = {"persist": 5.0}
    result = simulate(slow, send={"confirm": False})
    assert (result.requests.ended_s - result.requests.arrived_s).tolist() == [0.0]
    assert done(result) == [6.0]
    for fault, queue in (
        ({"outage": "mails", "at": 0.0, "for": 5.0}, {}),
        ({"slow": "mail", "factor": 1, "at": 50.0}, {"capacity": 1}),
    ):
        result = simulate(queue, times=[1.0, 1.0, 1.0], send={"confirm": False}, faults=[fault])
        assert result.requests.outcome.tolist() == ["ok"] * 3
        assert "dropped" in fates(result)
        assert len(rows(result)) == 3


def topic(subscriptions, queues, **rest):
    services = {
        "shop": {"workers": "unlimited", "operations": {"buy": [{"publish": "orders"}]}},
        "mail": {"workers": "unlimited", "operations": {"send": [{"work": 1.0}]}},
        "bill": {"workers": "unlimited", "operations": {"write": [{"work": 2.0}]}},
    }
    load = {"kind": "replay", "times": (0.0,), "mix": "shop.buy"}
    return run(
        Scenario(
            services=services, queues=queues, topics={"orders": subscriptions}, load=load, **{"run": {"duration": 60}, **rest}
        )
    )


def test_a_topic_gives_each_queue_its_own_copy_and_answers_when_all_have_it():
    queues = {"mails": {"consumer": "mail.send", "persist": 1.0}, "bills": {"consumer": "bill.write", "persist": 3.0}}
    result = topic(["mails", "bills"], queues)
    assert done(result, "mails") == [2.0]
    assert done(result, "bills") == [5.0]
    assert (result.requests.ended_s.tolist(), result.requests.service_s.tolist()) == ([3.0], [3.0])


def test_a_queue_of_a_topic_that_has_no_room_fails_the_publish_and_the_others_keep_it():
    queues = {"mails": {"consumer": "mail.send"}, "bills": {"consumer": "bill.write"}}
    result = topic(["mails", "bills"], queues, faults=[{"outage": "bills", "at": 0.0, "for": 1.0}])
    assert result.requests.outcome.tolist() == ["error"]
    assert (fates(result, "mails"), fates(result, "bills")) == (["done"], [])
    twice = {"calls": {"shop": {}, "orders": {"retry": {"max_attempts": 2, "backoff": {"base": 2, "jitter": "none"}}}}}
    result = topic(["mails", "bills"], queues, faults=[{"outage": "bills", "at": 0.0, "for": 1.0}], **twice)
    assert result.requests.outcome.tolist() == ["ok"]
    assert (fates(result, "mails"), fates(result, "bills")) == (["done", "done"], ["done"]), "a duplicate for who had it"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_table_of_queues():
    queue = {"max_deliveries": 2, "redelivery_delay": 1, "dead_letter": "dead", "consumers": 9}
    result = simulate(queue, times=[0.0, 1.0, 2.0], send={"poison": 0.5}, queues={"dead": {}})
    table = messages_by_queue(result.effects).set_index("queue")
    poisoned = int(table.dead["mails"])
    assert 0 < poisoned < 3
    assert table.messages.to_dict() == {"dead": poisoned, "mails": 3}
    assert table.kept["dead"] == table.dead_letters["dead"] == table.redelivered["mails"] == poisoned
    assert table.deliveries_per_message["mails"] == (3 + poisoned) / 3
    assert table.effect_p50_s["mails"] == 1.0


def test_backlog_and_drain():
    away = [{"crash": "mail", "at": 0.0, "for": 20.5}]
    result = simulate({}, times=np.arange(0, 60, 2.0), faults=away, run={"sample_every": 1.0})
    table = backlog(result.gauges, ["mails"]).set_index("time_s")
    assert table.loc[19.0, ["waiting", "unacknowledged", "up"]].tolist() == [10, 0, True]
    assert table.loc[29.0, ["waiting", "unacknowledged"]].tolist() == [6, 1], "8 done by 28.5 s, 15 came by 28 s"
    # The k-th begins at 20.5 s + k, or when it comes, at 2 k: the one of 42 s is the first that does not wait.
    assert drain_s(result.effects, "mails", 20.5) == 21.5
    assert np.isnan(drain_s(result.effects, "mails", 59.0))


def test_a_consumer_that_dies_with_its_last_word_on_the_way_has_done_what_it_has_done():
    queue = {"delivery": "poll", "receive_wait": 20.0, "acknowledge": "before"}
    # There at 1, asked for from 1 on, with the consumer at 2, done at 3; its word would be there at 4.
    result = simulate(queue, links={"mails": 1.0}, faults=[{"crash": "mail", "at": 3.5, "for": 1.0}])
    assert (fates(result), done(result)) == (["done"], [3.0])


def test_a_dead_letter_for_a_machine_that_goes_at_that_moment_waits_for_it():
    letters = {"letters": {"consumer": "mail.look"}}
    faults = [{"zone": "x", "at": 5.0, "for": 10.0}]
    queue = {"acknowledge": "before", "dead_letter": "letters"}
    result = simulate(queue, work=8.0, queues=letters, zones=["x"], faults=faults)
    assert (fates(result), fates(result, "letters")) == (["dropped"], ["done"])
    assert done(result, "letters") == [15.0]
