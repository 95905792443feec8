"""Consumer groups in motion: commits, crashes, replays and rebalances, with times."""

from __future__ import annotations

import numpy as np
import pytest
from log_shop import fates, rows, simulate

EAGER = {"protocol": "eager", "assignor": "range"}
COOPERATIVE = {"protocol": "cooperative"}
SERVER = {"protocol": "server"}
PROTOCOLS = pytest.mark.parametrize("protocol", [EAGER, COOPERATIVE, SERVER], ids=lambda p: p["protocol"])

#: The only process dies after a message was done at 7.35 s, and is back a second later.
CRASH = {"faults": [{"crash": "mail", "at": 8.0, "for": 1.0}]}
EACH_SECOND = {"times": np.arange(0.25, 10, 1.0), "work": 0.1}


# --- commits and replays ----------------------------------------------------------------------------------------------


def repeated(result):
    """How many of the messages up to 7.25 s were done twice: the last ones, and no others."""
    times = rows(result).times_done.tolist()
    count = times.count(2)
    assert times == [1] * (8 - count) + [2] * count + [1] * 2
    assert rows(result).deliveries.tolist() == times
    assert set(fates(result)) == {"done"}
    return count


@PROTOCOLS
def test_what_was_done_since_the_last_commit_is_done_again(protocol):
    # A member commits every 5 s at moments of its own, with a poll, up to the message that this poll brings.
    found = [repeated(simulate(consuming=protocol, seed=seed, **EACH_SECOND, **CRASH)) for seed in range(1, 13)]
    assert set(found) <= {0, 1, 2, 3, 4, 5}
    assert len(set(found)) > 2, "they are equally likely"


def test_a_short_interval_repeats_little_and_each_repeats_nothing_that_was_committed():
    often = simulate(consuming={"commit_interval": 1.0}, **EACH_SECOND, **CRASH)
    assert rows(often).times_done.sum() <= 12
    each = simulate(consuming={"commit": "each"}, **EACH_SECOND, **CRASH)
    assert rows(each).times_done.sum() == 10
    # It dies while it works: that one was begun twice and done once.
    at_work = simulate(consuming={"commit": "each"}, **EACH_SECOND, faults=[{"crash": "mail", "at": 7.3, "for": 1.0}])
    assert rows(at_work).deliveries.tolist() == [1] * 7 + [2] + [1] * 2
    assert rows(at_work).times_done.tolist() == [1] * 10


def test_after_a_batch_all_of_it_is_committed_or_nothing():
    # The first is alone, and so is the second, that the next fetch brought at once; three came meanwhile, and are one batch.
    crash = {"faults": [{"crash": "mail", "at": 3.5, "for": 1.0}]}
    result = simulate(times=[0, 0.1, 0.2, 0.3, 0.4], consuming={"commit": "batch"}, **crash)
    assert rows(result).times_done.tolist() == [1, 1, 2, 1, 1]
    assert rows(result).deliveries.tolist() == [1, 1, 2, 2, 1], "it died while it worked on the fourth"


def test_committed_before_the_work_it_is_lost_with_its_consumer():
    crash = {"faults": [{"crash": "mail", "at": 2.5, "for": 1.0}]}
    result = simulate(times=[0, 0.1, 0.2, 0.3, 10], consuming={"commit": "before"}, **crash)
    # The first is alone, the second alone in the fetch that waited, the rest together: the one at work and what waited for it.
    assert fates(result) == ["done", "done", "dropped", "dropped", "done"]
    assert rows(result).times_done.max() == 1
    failing = simulate(steps=[{"work": 1.0}, {"fail": 1.0}], consuming={"commit": "before", "max_deliveries": 1})
    assert fates(failing) == ["dead"]


def test_an_idempotent_consumer_knows_what_is_replayed():
    result = simulate(mail={"deduplicate": {"work": 0.01}}, **EACH_SECOND, **CRASH)
    assert rows(result).times_done.tolist() == [1] * 10
    assert 10 <= rows(result).deliveries.sum() <= 15


def test_a_failed_message_holds_up_its_partition_until_it_is_given_up():
    poison = {"steps": [{"work": 1.0}, {"fail": 1.0}]}
    held = simulate(times=[0, 1], run={"drain": 20}, **poison)
    assert fates(held) == ["in_flight", "in_flight"]
    assert rows(held).deliveries.tolist()[1] == 0
    passed = simulate(
        times=[0, 1],
        queues={"dead": {}},
        consuming={"max_deliveries": 3, "redelivery_delay": 0.5, "dead_letter": "dead"},
        **poison,
    )
    assert fates(passed) == ["dead", "dead"]
    assert rows(passed).deliveries.tolist() == [3, 3]
    letters = rows(passed, "dead")
    assert letters.published_s.tolist() == [4.0, 8.0], "three tries of a second with two pauses, one message after the other"
    assert set(letters.dead_letter_of) == {"mails.senders"}


def test_messages_handled_are_uncommitted_until_the_commit():
    result = simulate(times=[0, 0, 0], work=0.1, run={"sample_every": 0.5}, duration=10)
    gauges = result.gauges[result.gauges.name == "mails.senders"].set_index("time_s")
    assert gauges.busy[1.0] == 3
    assert gauges.busy[6.0] == 0
    partition = result.gauges[result.gauges.name == "mails.senders/0"].set_index("time_s")
    assert partition.busy[1.0] == 3


# --- who is a member --------------------------------------------------------------------------------------------------

TWO = {"process": {"replicas": 2}, "log": {"partitions": 4}, "send": {"key": {"keys": 30}}}
STEADY = {"times": np.arange(0.0, 90, 0.1), "work": 0.01, "duration": 100}


@PROTOCOLS
def test_a_dead_member_is_missed_when_its_session_has_timed_out(protocol):
    result = simulate(consuming=protocol, **TWO, **STEADY, faults=[{"crash": "mail", "replica": 1, "at": 20.0}])
    effects = rows(result)
    waited = effects[effects.started_s - effects.published_s > 30.0]
    assert waited.partition.nunique() == 2, "those of the dead one"
    # Its last heartbeat was at most 3 s old; then it takes the others' heartbeat to learn of it: `server` 3 s, too.
    assert 20 + 42 <= waited.started_s.min() <= 20 + 45 + 3
    assert (effects.times_done >= 1).all()


@PROTOCOLS
def test_a_member_that_is_stopped_says_so_and_nothing_is_done_twice(protocol):
    result = simulate(consuming=protocol, **TWO, **STEADY, faults=[{"stop": "mail", "replica": 1, "at": 20.0}])
    effects = rows(result)
    assert (effects.times_done == 1).all()
    waited = effects[effects.started_s - effects.published_s > 1.0]
    assert waited.started_s.max() <= 20 + 3.1, "the other one learns of it with its next heartbeat"


@PROTOCOLS
def test_who_works_for_too_long_between_two_polls_is_put_out_and_its_work_is_done_twice(protocol):
    slow = {**protocol, "max_poll_interval": 5.0, "consumers": 2, "initial_rebalance_delay": 0.0}
    result = simulate(times=[0.0, 0.1], work=8.0, consuming=slow, run={"drain": 100})
    effects = rows(result)
    assert effects.times_done.min() >= 2
    assert effects.deliveries.max() > 2, "the next one works for too long, too: it goes on like that"
    enough = simulate(times=[0.0, 0.1], work=8.0, consuming={**slow, "max_poll_interval": 20.0})
    assert rows(enough).times_done.tolist() == [1, 1]


def test_whose_heartbeats_are_lost_is_put_out_too():
    cut = [{"link": "mail -> mails", "partition": True, "at": 20.0, "for": 60.0}]
    result = simulate(times=np.arange(0, 100, 1.0), work=0.1, duration=100, faults=cut)
    effects = rows(result)
    assert (effects.times_done >= 1).all()
    assert 80 <= effects.started_s[effects.published_s > 25].min() <= 80 + 30 + 3, "its requests time out after 30 s"


# --- rebalances -------------------------------------------------------------------------------------------------------


def joined(protocol, **rest):
    """Two members; a message that takes one of them 10 s begins at about 19 s; a third member comes at 20 s."""
    slow = [{"slow": "mail", "replica": 1, "factor": 1000, "at": 19.0, "for": 0.5}]
    settings = {**TWO, **STEADY, "process": {"replicas": 2, **rest}}
    settings["log"] = {"partitions": 6}
    return rows(simulate(consuming=protocol, faults=slow, deployments=[{"scale": "mail", "replicas": 3, "at": 20.0}], **settings))


def begun_between(effects, start_s, end_s):
    return effects[(effects.started_s > start_s) & (effects.started_s < end_s)]


def test_eager_all_wait_for_the_slowest():
    effects = joined(EAGER)
    long = effects[effects.done_s - effects.started_s > 5]
    assert len(long) == 1
    free_s = long.done_s.iloc[0]
    # The other one learns of the rebalance with a heartbeat, 3 s later at most, and stops.
    assert begun_between(effects, 23.05, free_s).empty
    after = begun_between(effects, free_s, free_s + 0.5)
    assert after.partition.nunique() == 6


def test_cooperative_only_what_moves_waits():
    effects = joined(COOPERATIVE)
    free_s = effects[effects.done_s - effects.started_s > 5].done_s.iloc[0]
    assert begun_between(effects, 23.05, free_s).partition.nunique() == 3, "the other one reads on"
    settled = begun_between(effects, free_s + 4, free_s + 20)
    assert settled.partition.nunique() == 6
    assert (settled.started_s - settled.published_s).max() < 0.1


def test_server_nobody_waits_for_the_slowest():
    effects = joined(SERVER)
    free_s = effects[effects.done_s - effects.started_s > 5].done_s.iloc[0]
    # Of the other one's three partitions one goes to the third, which is told of it with its own heartbeat.
    assert begun_between(effects, 19.1, free_s).partition.nunique() == 3
    early = begun_between(effects, 26.2, free_s)
    assert (early.started_s - early.published_s).max() < 0.1
    settled = begun_between(effects, free_s + 4, free_s + 20)
    assert settled.partition.nunique() == 6
    assert (settled.started_s - settled.published_s).max() < 0.1


def test_the_first_of_a_group_waits_for_more():
    # All are away until 20 s; then the first rebalance waits 3 s for more members.
    away = [{"crash": "mail", "at": 0.0, "for": 20.0}]
    result = simulate(times=[21], consuming={"session_timeout": 10.0}, faults=away)
    assert rows(result).started_s.tolist() == [23.0]
    at_once = simulate(times=[21], consuming={"session_timeout": 10.0, "initial_rebalance_delay": 0.0}, faults=away)
    assert rows(at_once).started_s.tolist() == [21.0]
