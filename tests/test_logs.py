"""Partitioned logs in motion, their publishers: stories with numbers you can count on your fingers."""

from __future__ import annotations

import numpy as np
import pytest
from log_shop import done, fates, rows, simulate

from sim.analysis import messages_by_queue, out_of_order
from sim.policies.partitions import partition_of

# --- who gets what ----------------------------------------------------------------------------------------------------


def test_a_key_has_one_partition_and_a_partition_one_reader():
    result = simulate(times=np.arange(0, 30, 0.5), send={"key": {"keys": 20}}, log={"partitions": 4}, process={"replicas": 2})
    effects = rows(result)
    assert (effects.groupby("key").partition.nunique() == 1).all()
    assert [partition_of(key, 4) for key in effects.key] == effects.partition.tolist()
    assert set(effects.partition) == {0, 1, 2, 3}
    for _, mine in effects.groupby("partition"):
        assert mine.started_s.is_monotonic_increasing, "in the order of the log"
    assert set(fates(result)) == {"done"}


def test_each_group_reads_all():
    groups = {"senders": {"consumer": "mail.send"}, "others": {"consumer": "mail.look"}}
    result = simulate(times=[0, 1, 2], groups=groups)
    assert done(result) == [1, 2, 3]
    assert done(result, "mails.others") == [0, 1, 2]
    assert rows(result, "mails.others").effect.tolist() == ["mail.look"] * 3


def test_consumers_beyond_the_partitions_have_nothing_to_do():
    for consumers, last in ((1, 4.0), (2, 2.0), (4, 2.0)):
        result = simulate(times=[0] * 4, consuming={"consumers": consumers}, log={"partitions": 2}, producer={"batch_size": 2})
        by_partition = rows(result).groupby("partition").size().to_dict()
        if by_partition == {0: 2, 1: 2}:
            assert max(done(result)) == last
        else:
            assert max(done(result)) == 4.0, "without a key the first batch and the second may go to one partition"


def test_nobody_reads_it_and_it_keeps_what_it_gets():
    result = simulate(times=[0, 1], groups={})
    assert fates(result, "mails") == ["kept", "kept"]


# --- publishers -------------------------------------------------------------------------------------------------------

MACHINE = {"brokers": {"kafka": {"nodes": 3, "copies": 3, "write": 1.0, "replicate": 0.5}}}


@pytest.mark.parametrize(("acks", "answered_s"), [(0, 0.0), (1, 1.0), ("all", 1.5)])
def test_publishers_are_answered_by_nobody_the_leader_or_all_and_readers_see_what_all_have(acks, answered_s):
    result = simulate(log={"broker": "kafka"}, producer={"acks": acks, "idempotent": acks == "all"}, **MACHINE)
    assert result.requests.ended_s.tolist() == [answered_s]
    assert rows(result).started_s.tolist() == [1.5]


def test_a_batch_waits_for_its_linger_or_until_it_is_full():
    for size, answered in ((16, [5.0, 5.0]), (2, [3.0, 3.0])):
        result = simulate(times=[0, 3], producer={"linger": 5, "batch_size": size})
        assert result.requests.ended_s.tolist() == answered
        assert result.requests.queue_s.tolist() == [answered[0], answered[1] - 3]


def test_without_linger_batches_form_while_a_request_is_under_way():
    one = simulate(times=[0, 0.1, 0.2, 0.3], log={"persist": 1.0}, producer={"max_in_flight": 1})
    assert one.requests.ended_s.tolist() == [1, 2, 2, 2]
    five = simulate(times=[0, 0.1, 0.2, 0.3], log={"persist": 1.0})
    assert five.requests.ended_s.round(6).tolist() == [1, 2, 3, 4], "the broker works on one request of a connection at a time"
    assert five.requests.service_s.round(6).tolist() == [1, 1, 1, 1]
    assert five.requests.queue_s.round(6).tolist() == [0, 0.9, 1.8, 2.7]


def test_the_way_to_the_log_is_the_requests():
    result = simulate(links={"shop -> mails": 0.25, "mails -> mail": 1.0})
    assert result.requests.ended_s.tolist() == [0.5]
    assert result.requests.network_s.tolist() == [0.5]
    # The fetch that asked at 0, and came at 1 s, was answered at once.
    assert rows(result).started_s.tolist() == [2.0]


#: Nothing reaches the broker, or nothing comes back, for half a second.
LOST = {"link": "shop -> mails", "partition": True, "at": 0.0, "for": 0.5}
SHORT = {"request_timeout": 2.0, "retry_backoff": 0.1}


def test_an_answer_is_lost_and_the_batch_is_written_twice_unless_it_is_numbered():
    lost = [{**LOST, "direction": "to"}]
    twice = simulate(producer={**SHORT, "idempotent": False}, faults=lost)
    assert len(rows(twice)) == 2
    assert rows(twice).times_done.tolist() == [1, 1]
    assert rows(twice).published_s.tolist() == [0, 0]
    once = simulate(producer=SHORT, faults=lost)
    assert done(once) == [1.0]
    assert 2.08 <= once.requests.ended_s[0] <= 2.12, "sent again after the pause, and known"
    assert once.requests.lost_s[0] == pytest.approx(once.requests.ended_s[0])


def test_a_request_is_lost_and_a_later_one_overtakes_it_unless_they_are_numbered():
    # Both have key 0. The first is sent again at about 2.1 s; the second is there at 1 s.
    key = {"send": {"key": {"keys": 1}}}
    free = simulate(times=[0, 1], work=0.1, producer={**SHORT, "idempotent": False}, faults=[LOST], **key)
    assert rows(free).started_s[1] == 1.0
    assert out_of_order(free.effects).sum() == 1
    assert messages_by_queue(free.effects).out_of_order.tolist() == [1]
    kept = simulate(times=[0, 1], work=0.1, producer=SHORT, faults=[LOST], **key)
    assert out_of_order(kept.effects).sum() == 0
    assert (rows(kept).started_s > 2).all(), "the second is refused until the first is there"
    single = simulate(times=[0, 1], work=0.1, producer={**SHORT, "idempotent": False, "max_in_flight": 1}, faults=[LOST], **key)
    assert out_of_order(single.effects).sum() == 0, "nothing is sent while the first is under way"


def test_acks_0_loses_unseen_what_is_lost_on_the_way():
    result = simulate(times=[0, 1], producer={"acks": 0, "idempotent": False}, faults=[LOST])
    assert result.requests.outcome.tolist() == ["ok", "ok"]
    assert fates(result) == ["dropped", "done"]


def test_a_publish_fails_when_its_batch_was_tried_for_long():
    down = [{"outage": "mails", "at": 0.0, "for": 50.0}]
    result = simulate(producer={"request_timeout": 1.0, "delivery_timeout": 3.0}, faults=down)
    assert result.requests.outcome.tolist() == ["error"]
    assert 2 <= result.requests.ended_s[0] <= 3
    assert len(rows(result)) == 0
    longer = simulate(producer={"request_timeout": 1.0, "delivery_timeout": 100.0}, faults=down)
    assert 50 <= longer.requests.ended_s[0] <= 51.2, "pauses are a second at most, give or take"


def test_later_batches_do_not_wait_for_one_that_was_given_up():
    down = [{"outage": "mails", "at": 0.0, "for": 3.5}]
    times = [0, 2]
    result = simulate(times=times, work=0.1, producer={"request_timeout": 1.0, "delivery_timeout": 3.0}, faults=down)
    assert result.requests.outcome.tolist() == ["error", "ok"]
    assert fates(result) == ["done"]


LOSING = {"nodes": 3, "copies": 3, "replicate": 1.0, "failover": 5.0}


def test_acks_1_loses_what_only_the_leader_had_and_all_does_not():
    down = [{"outage": "kafka", "node": 0, "at": 10.0, "for": 100.0}]
    one = simulate(
        times=[8, 9.5], log={"broker": "kafka"}, producer={"acks": 1, "idempotent": False}, faults=down,
        brokers={"kafka": LOSING},
    )  # fmt: skip
    assert one.requests.outcome.tolist() == ["ok", "ok"], "both publishers believe that theirs is safe"
    assert fates(one) == ["done", "dropped"]
    every = simulate(times=[8, 9.5], log={"broker": "kafka"}, faults=down, brokers={"kafka": LOSING})
    assert every.requests.outcome.tolist() == ["ok", "ok"]
    assert fates(every) == ["done", "done"]
    assert every.requests.ended_s[1] > 16, "sent again until another one leads"


def test_partitions_lead_on_different_nodes_and_the_others_go_on():
    down = [{"outage": "kafka", "node": 0, "at": 10.0, "for": 20.0}]
    result = simulate(
        times=np.arange(10.5, 14, 0.1), work=0.01, send={"key": {"keys": 30}}, log={"broker": "kafka", "partitions": 3},
        brokers={"kafka": {**LOSING, "replicate": 0.01}}, faults=down,
    )  # fmt: skip
    effects = rows(result)
    assert (effects.started_s[effects.partition == 0] >= 15).all()
    others = effects[effects.partition != 0]
    assert (others.started_s - others.published_s).max() < 0.1


def test_too_few_copies_in_sync_and_nothing_is_written():
    down = [{"outage": "kafka", "node": node, "at": 0.0, "for": 20.0} for node in (1, 2)]
    machine = {"brokers": {"kafka": {"nodes": 3, "copies": 3}}}
    result = simulate(times=[5], log={"broker": "kafka", "min_insync": 2}, faults=down, **machine)
    assert 20 <= result.requests.ended_s[0] <= 21.2
    enough = simulate(times=[5], log={"broker": "kafka", "min_insync": 1}, faults=down, **machine)
    assert enough.requests.ended_s.tolist() == [5.0]


def test_what_a_dying_process_had_not_sent_is_gone():
    process = {"shop": {"replicas": 1}}
    crash = [{"crash": "shop", "at": 3.0, "for": 1.0}]
    result = simulate(times=[0, 10], producer={"linger": 5}, faults=crash, send={"confirm": False}, **process)
    assert fates(result) == ["dropped", "done"]
    told = simulate(times=[0, 10], producer={"linger": 5}, faults=crash, **process)
    assert fates(told) == ["done"], "here its publisher knows, for it has died, too"
    assert told.requests.outcome.tolist() == ["unreachable", "ok"]
