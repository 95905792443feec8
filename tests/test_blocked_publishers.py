"""Stories of publishers who have to wait: for room in a queue, for a broker that is too full, for their own buffer."""

from __future__ import annotations

import log_shop
import pytest
from mail_shop import done, fates, rows, simulate

from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.model import Scenario

BLOCK = {"capacity": 1, "overflow": "block"}


def publishes(result, target="mails"):
    mine = result.attempts[result.attempts.target == target]
    return [(row.outcome, round(row.ended_s, 6)) for row in mine.itertuples()]


# --- a queue with `overflow: block`


def test_a_publish_waits_until_there_is_room():
    result = simulate(BLOCK, times=(0.0, 0.0, 0.0, 0.0), work=1.0)
    # One is worked on, one is ready; the third is let in when the second is taken, at 1.
    assert publishes(result) == [("ok", 0.0), ("ok", 0.0), ("ok", 1.0), ("ok", 2.0)]
    assert (done(result), fates(result)) == ([1.0, 2.0, 3.0, 4.0], ["done"] * 4)
    assert result.requests.queue_s.round(6).tolist() == [0.0, 0.0, 1.0, 2.0]


def test_there_is_room_as_soon_as_what_was_written_is_taken():
    result = simulate({**BLOCK, "persist": 0.5}, times=(0.0, 0.0), work=3.0)
    assert publishes(result) == [("ok", 0.5), ("ok", 1.0)], "the first is at its consumer at 0.5"


def test_it_waits_so_long_and_is_rejected():
    result = simulate({**BLOCK, "max_block": 1.5}, times=(0.0, 0.0, 0.0, 0.0), work=1.0)
    assert publishes(result) == [("ok", 0.0), ("ok", 0.0), ("ok", 1.0), ("rejected", 1.5)]
    assert len(rows(result)) == 3
    assert result.requests.queue_s.tolist()[-1] == 1.5, "what it has waited is told"


def test_room_is_also_made_by_what_expires():
    result = simulate({**BLOCK, "time_to_live": 2.0}, times=(0.0, 0.0, 0.5), work=10.0)
    assert publishes(result)[-1] == ("ok", 2.0)


def test_an_outage_ends_the_wait():
    result = simulate(BLOCK, times=(0.0, 0.0, 0.0), work=5.0, faults=[{"outage": "mails", "at": 2, "for": 1}])
    assert publishes(result)[-1] == ("unreachable", 2.0)


def test_a_publisher_that_gives_up_is_written_all_the_same_when_there_is_room():
    result = simulate(BLOCK, times=(0.0, 0.0, 0.0), work=1.0, calls={"shop -> mails": {"timeout": 0.5}})
    assert publishes(result)[-1] == ("timeout", 0.5)
    assert fates(result) == ["done"] * 3


def test_a_publisher_that_gives_up_and_says_so_leaves_its_place():
    calls = {"shop -> mails": {"timeout": 0.5, "cancellation": True}}
    result = simulate(BLOCK, times=(0.0, 0.0, 0.0, 0.7), work=1.0, calls=calls)
    assert publishes(result) == [("ok", 0.0), ("ok", 0.0), ("timeout", 0.5), ("ok", 1.0)]


def test_a_publish_that_nobody_waits_for_is_in_flight_when_the_run_ends_before_there_is_room():
    result = simulate(BLOCK, times=(0.0, 0.0, 0.0), work=50.0, send={"confirm": False}, duration=5.0, run={"drain": 5.0})
    publish = result.attempts[result.attempts.target == "mails"].iloc[-1]
    assert (publish.outcome, publish.caller, publish.request) == ("in_flight", "shop", 2)


# --- a broker above its high-water mark


def rabbit(queue=(), broker=(), **settings):
    return simulate({"broker": "rabbit", **dict(queue)}, brokers={"rabbit": {"high_watermark": 3, **dict(broker)}}, **settings)


def test_a_broker_that_is_too_full_blocks_until_it_has_emptied():
    result = rabbit(broker={"low_watermark": 2}, times=(0.0,) * 5, work=1.0)
    # Three are in at 0, and block; at 2 one is left, and the two others go on at once.
    assert publishes(result) == [("ok", 0.0)] * 3 + [("ok", 2.0)] * 2
    assert done(result) == [1.0, 2.0, 3.0, 4.0, 5.0]
    alarms = [(row.time_s, row.state) for row in result.changes.itertuples()]
    assert alarms == [(0.0, "blocked"), (2.0, "unblocked")]


def test_whoever_publishes_is_blocked_to_whichever_queue():
    result = rabbit(queues={"bills": {"broker": "rabbit"}}, times=(0.0,) * 3, send={}, work=1.0, processes=())
    assert len(publishes(result)) == 3
    scenario = {
        "queues": {"bills": {"broker": "rabbit"}},
        "mail": {"steps": [{"work": 1.0}, {"publish": "bills"}]},
    }
    blocked = rabbit(broker={"max_block": 5.0}, times=(0.0,) * 3, **scenario)
    # The consumer cannot publish, so it cannot acknowledge, so nothing gets out: for five seconds.
    assert publishes(blocked, "bills")[0] == ("rejected", 6.0)


def test_a_broker_that_goes_down_lets_nobody_wait():
    result = rabbit(times=(0.0,) * 4, work=10.0, faults=[{"outage": "rabbit", "at": 2, "for": 1}])
    assert publishes(result)[-1] == ("unreachable", 2.0)


# --- a producer whose buffer is full


def producer(**settings):
    spec = {"batch_size": 1, "buffer": 2, "max_block": 1.5, "max_in_flight": 1, "request_timeout": 5.0}
    return log_shop.simulate(producer=spec, log={"persist": 1.0}, work=0.0, **settings)


def test_publishes_wait_for_room_in_the_buffer_and_are_rejected_in_the_end():
    result = producer(times=(0.0,) * 5)
    # One is being written, one waits: the buffer is full. At 1 the third has room, and is written from 2 to 3.
    assert publishes(result) == [("ok", 1.0), ("ok", 2.0), ("ok", 3.0), ("rejected", 1.5), ("rejected", 1.5)]
    assert log_shop.fates(result) == ["done"] * 3
    assert result.requests.queue_s.round(6).tolist()[-1] == 1.5


def test_a_process_that_dies_takes_along_what_waits():
    result = producer(times=(0.0,) * 3, faults=[{"crash": "shop", "at": 0.5, "for": 0.1}])
    assert len(log_shop.rows(result)) <= 2


def test_a_buffer_without_a_limit_never_blocks():
    result = log_shop.simulate(producer={"batch_size": 1, "max_in_flight": 1}, log={"persist": 1.0}, times=(0.0,) * 5)
    assert [outcome for outcome, _ in publishes(result)] == ["ok"] * 5


# --- what cannot be, and what is doubted


@pytest.mark.parametrize(
    ("queue", "broker", "message"),
    [
        ({"max_block": 1.0}, {}, "max_block: with overflow: reject no publish waits"),
        ({}, {"high_watermark": "unlimited", "max_block": 1.0}, "max_block: without a high_watermark nobody is blocked"),
        ({}, {"low_watermark": 9}, "low_watermark = 9 lies above high_watermark = 3"),
    ],
)
def test_what_cannot_be_is_told(queue, broker, message):
    with pytest.raises(ValueError, match=message):
        rabbit(queue, broker)


def test_a_buffer_has_room_for_a_batch():
    with pytest.raises(ValueError, match="buffer = 2 has no room for one batch of 16"):
        log_shop.simulate(producer={"buffer": 2})


def doubts(queue=(), broker=(), steps=(), calls=()):
    return "\n".join(
        doubts_of_messages(
            Scenario(
                services={
                    "shop": {"workers": 8, "operations": {"buy": [{"publish": "mails"}]}},
                    "mail": {"workers": 8, "operations": {"send": [{"work": 0.1}, *steps]}},
                },
                queues={
                    "mails": {"consumer": "mail.send", "consumers": 9, "broker": "rabbit", **dict(queue)},
                    "bills": {"broker": "rabbit"},
                },
                brokers={"rabbit": dict(broker)},
                calls=dict(calls),
                load={"rate": 1, "mix": "shop.buy"},
            )
        )
    )


def test_a_reviewer_doubts_brokers_that_block_those_who_would_empty_them():
    told = doubts(broker={"high_watermark": 9, "max_block": 1.0}, steps=[{"publish": "bills"}])
    assert "above its high_watermark mail.send cannot publish to bills" in told


def test_a_reviewer_doubts_publishes_that_may_wait_for_ever():
    assert "queue mails: publishers are blocked for as long as it is full, and shop has no timeout" in doubts(BLOCK)
    assert "broker rabbit: publishers are blocked for as long as it is full" in doubts(broker={"high_watermark": 9})
    assert "blocked for as long" not in doubts(BLOCK, calls={"default": {"timeout": 1.0}})


def test_a_poll_that_takes_a_message_makes_room():
    poll = {"delivery": "poll", "receive_wait": 20.0, "capacity": 1, "overflow": "block"}
    result = simulate(poll, times=(0.0, 0.1, 0.2))
    assert result.requests.ended_s.round(9).tolist() == [0.0, 0.1, 1.0], "the second is taken when the first is done"


def test_who_is_refused_after_being_blocked_is_told_how_long_it_waited():
    broker = {"high_watermark": 1, "write": 1.0}
    # The first is written at 1 and done at 4; then both others go on, and there is room for one.
    result = simulate({"broker": "rabbit", "capacity": 1}, times=[0.0, 2.0, 2.0], work=3.0, brokers={"rabbit": broker})
    assert result.requests.outcome.tolist() == ["ok", "ok", "error"]
    assert result.requests.queue_s.tolist() == [0.0, 2.0, 2.0]
