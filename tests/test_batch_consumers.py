"""Stories of consumers that handle several messages with one call."""

from __future__ import annotations

import log_shop
import pytest
from mail_shop import done, fates, rows, simulate
from test_replies import ask, of

from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.model import Scenario
from sim.single import run


def together(batch, queue=(), **settings):
    return simulate({"prefetch": 10, "batch": {"size": 3, **batch}, **dict(queue)}, **settings)


def calls(result):
    """Visits that had a worker."""
    return int(result.totals.set_index("name").served["mail"])


def test_a_call_takes_what_is_there_while_the_next_ones_gather():
    result = together({}, times=(0.0, 0.1, 0.2, 0.3, 0.4))
    # The first goes at once, alone; three have come when it is done; the fifth is left for a third call.
    assert done(result) == [1.0, 2.0, 2.0, 2.0, 3.0]
    assert (calls(result), fates(result)) == (3, ["done"] * 5)


def test_it_waits_for_more_but_not_longer_than_it_should():
    result = together({"wait": 0.5}, times=(0.0, 0.2, 0.7))
    assert done(result) == [1.5, 1.5, 2.5]


def test_a_full_call_waits_no_longer():
    assert done(together({"wait": 5.0}, times=(0.0, 0.2, 0.3))) == [1.3] * 3


def test_every_message_costs_a_little_more():
    result = together({"wait": 0.5, "each": 0.1}, times=(0.0, 0.0, 0.0), work=1.0)
    assert done(result) == pytest.approx([1.3] * 3)
    assert result.totals.set_index("name").busy_worker_s["mail"] == pytest.approx(1.3)


def test_a_call_that_fails_brings_all_back_and_nothing_has_happened():
    steps = [{"work": 1.0}, {"fail": 1.0}]
    result = together({"wait": 0.1}, {"max_deliveries": 2, "redelivery_delay": 1.0}, times=(0.0, 0.0), steps=steps)
    found = rows(result)
    assert (found.fate.tolist(), found.deliveries.tolist(), found.times_done.tolist()) == (["dead"] * 2, [2, 2], [0, 0])


def test_poison_takes_along_those_beside_it():
    queue = {"max_deliveries": 2, "redelivery_delay": 1.0}
    alone, beside = ({"wait": 0.1, "on_failure": rule} for rule in ("each", "all"))
    poison = {"send": {"poison": 0.5}, "times": (0.0,) * 3}
    spared, given_up = fates(together(alone, queue, **poison)), fates(together(beside, queue, **poison))
    assert set(spared) == {"dead", "done"}
    assert given_up == ["dead"] * 3


def test_a_consumer_that_dies_in_the_middle_of_a_call_loses_nothing():
    faults = [{"crash": "mail", "at": 0.5, "for": 0.5}]
    result = together({"wait": 0.1}, times=(0.0,) * 3, faults=faults)
    assert (fates(result), rows(result).deliveries.tolist()) == (["done"] * 3, [2] * 3)


def test_an_idempotent_consumer_pays_for_what_is_new():
    queue = {"visibility_timeout": 1.5, "late_acknowledge": "accepted"}
    result = together({"wait": 0.1, "each": 1.0}, queue, times=(0.0, 0.0), mail={"deduplicate": {"work": 0.01}})
    assert rows(result).times_done.tolist() == [1, 1]
    # The first call of a half and 1 s a message ends at 2.5. At 1.5 its message is there again, at 2 a new one: half a second and
    # 1 s for that one, not 2. What is known and alone costs what the inbox says: a worker's 0.01 s.
    queue = {"visibility_timeout": 1.5, "late_acknowledge": "accepted"}
    both = together({"wait": 1.0, "each": 1.0}, queue, times=(0.0, 2.0), work=0.5, mail={"deduplicate": {"work": 0.01}})
    assert done(both) == [2.5, 4.0]
    alone = together({"each": 1.0}, queue, times=(0.0,), work=1.0, mail={"deduplicate": {"work": 0.01}})
    assert (done(alone), rows(alone).deliveries.tolist()) == ([2.0], [2])
    assert alone.totals.set_index("name").busy_worker_s["mail"] == pytest.approx(2.01)


def test_the_first_one_decides_how_long_is_waited():
    # A call from 1 to 11. Meanwhile one comes at 5, whose second is over, and one at 10.8: both are called for at once.
    result = together({"wait": 1.0}, times=(0.0, 5.0, 10.8), work=10.0)
    assert rows(result).started_s.round(6).tolist() == [1.0, 11.0, 11.0]


def test_each_request_of_a_call_has_a_reply_of_its_own():
    queue = {"prefetch": 5, "consumers": 1, "batch": {"size": 5, "wait": 0.1}}
    result = run(ask(times=(0.0, 0.0, 0.0), queue=queue), 1)
    assert result.requests.outcome.tolist() == ["ok"] * 3
    assert sorted(of(result, "answers").request) == [0, 1, 2]


def test_who_polls_calls_for_what_a_question_brings():
    queue = {"delivery": "poll", "receive_wait": 2.0, "receive_batch": 5, "prefetch": 1}
    result = together({}, queue, times=(0.0,) * 6, work=1.0)
    assert calls(result) < 6
    assert fates(result) == ["done"] * 6


def test_a_group_calls_for_what_a_poll_brings():
    consuming = {"fetch_wait": 0.01, "commit": "batch", "batch": {"size": 4, "each": 0.1}}
    result = log_shop.simulate(times=(0.0,) * 8, work=1.0, consuming=consuming, producer={"linger": 0.1})
    assert int(result.totals.set_index("name").served["mail"]) == 2
    assert log_shop.done(result) == [1.5] * 4 + [2.9] * 4


def test_a_group_tries_those_that_failed_again():
    batch = {"size": 8, "on_failure": "each"}
    consuming = {"fetch_wait": 0.01, "batch": batch, "max_deliveries": 3, "redelivery_delay": 0.1}
    result = log_shop.simulate(times=(0.0,) * 8, work=1.0, consuming=consuming, producer={"linger": 0.1}, send={"poison": 0.4})
    found = log_shop.rows(result)
    assert set(zip(found.fate, found.deliveries, strict=True)) == {("done", 1), ("dead", 3)}


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ({"batch": {"size": 3}}, "3 messages never come together with prefetch = 1; write prefetch: 3"),
        (
            {"delivery": "poll", "receive_wait": 1.0, "receive_batch": 3, "batch": {"size": 3, "wait": 1.0}},
            "a call takes what a question brings",
        ),
    ],
)
def test_what_cannot_be_is_told(queue, message):
    with pytest.raises(ValueError, match=message):
        simulate(queue)


def test_a_claim_check_is_for_one_message_at_a_time():
    with pytest.raises(ValueError, match="mails has a batch, which gets no payloads"):
        together({}, send={"payload": {"size": 1e6, "claim_check": "blobs"}}, stores={"blobs": {}})


def test_a_reviewer_doubts_calls_that_fail_because_of_one_message():
    scenario = Scenario(
        services={
            "shop": {"workers": 8, "operations": {"buy": [{"publish": "mails", "poison": 0.01}]}},
            "mail": {"workers": 8, "operations": {"send": [{"work": 1.0}]}},
        },
        queues={"mails": {"consumer": "mail.send", "prefetch": 9, "batch": {"size": 9}, "max_deliveries": 3}},
        load={"rate": 5, "mix": "shop.buy"},
    )
    told = "\n".join(doubts_of_messages(scenario))
    assert "up to 8 good ones are given up with it" in told
    assert "cannot be emptied" not in told, "a call of a second for nine is enough for five a second"
