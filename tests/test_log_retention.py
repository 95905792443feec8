"""Stories of logs that forget, of groups that have fallen behind, and of groups that read again."""

from __future__ import annotations

import pytest
from log_shop import done, fates, rows, shop, simulate

from sim.scenario.messaging.log_doubts import doubts_of_logs

#: Ten messages, one a second; a group commits what it has done at once.
TIMES = tuple(float(t) for t in range(10))
EACH = {"commit": "each", "fetch_wait": 0.01, "session_timeout": 2.0, "heartbeat_interval": 0.5, "initial_rebalance_delay": 0.0}


def keep(consuming=(), retention=(), faults=(), **settings):
    """Nobody reads from 0 to 6.5; messages older than 3 s, or so, are deleted each second."""
    return simulate(
        times=TIMES, work=0.1, consuming={**EACH, **dict(consuming)},
        log={"retention": {"check_interval": 1.0, **dict(retention)}},
        faults=[{"crash": "mail", "at": 0.0, "for": 6.5}, *faults], **settings,
    )  # fmt: skip


def test_a_group_that_is_away_for_too_long_finds_the_rest_and_goes_on_there():
    result = keep({"offset_reset": "earliest"}, {"time": 3.0})
    found = rows(result)
    # When it is back (it joins at 6.5) what was published before 3 is gone: 0, 1 and 2.
    assert found.fate.tolist() == ["expired"] * 3 + ["done"] * 7
    assert found.deliveries.tolist() == [0] * 3 + [1] * 7


def test_reset_to_latest_passes_over_what_is_left():
    result = keep({"offset_reset": "latest"}, {"time": 3.0})
    found = rows(result)
    assert found.fate.tolist()[:3] == ["expired"] * 3
    passed = [fate for fate in found.fate if fate == "dropped"]
    assert len(passed) >= 3
    assert found.fate.tolist()[-1] == "done"
    assert set(found.fate) == {"expired", "dropped", "done"}


def test_without_a_reset_it_reads_nothing_any_more():
    found = rows(keep({"offset_reset": "none"}, {"time": 3.0}, duration=12.0, run={"drain": 20}))
    assert (set(found.fate), found.deliveries.sum()) == ({"expired"}, 0)


def test_a_partition_keeps_so_many_messages():
    result = keep({"offset_reset": "earliest"}, {"messages": 2})
    # At 6 the last two are 5 and 6 (published at the same moment as the look or before it).
    assert fates(result)[:4] == ["expired"] * 4
    assert fates(result)[-3:] == ["done"] * 3


def test_what_is_read_in_time_is_done_whatever_is_deleted():
    result = simulate(times=TIMES, work=0.1, consuming=EACH, log={"retention": {"time": 2.0, "check_interval": 1.0}})
    assert fates(result) == ["done"] * 10


def test_what_is_in_hand_when_it_is_deleted_is_done_all_the_same():
    result = simulate(times=(0.0,), work=5.0, consuming=EACH, log={"retention": {"time": 1.0, "check_interval": 1.0}})
    assert (fates(result), done(result)) == (["done"], [5.0])


def test_what_is_fetched_and_not_begun_goes_with_the_rest():
    # One a poll: the second is fetched while the first is worked on, until 5, and deleted at 2 or 3.
    settings = {**EACH, "max_poll_records": 1}
    result = simulate(times=(0.0, 0.0), work=5.0, consuming=settings, log={"retention": {"time": 1.5, "check_interval": 1.0}})
    assert (fates(result), rows(result).deliveries.tolist()) == (["done", "expired"], [1, 0])


def test_a_log_that_nobody_reads_forgets_too():
    result = simulate(times=TIMES, groups={}, log={"retention": {"time": 3.0, "check_interval": 1.0}}, duration=10.0)
    assert set(result.effects.fate) == {"expired", "kept"}


# --- reading again


def again(at=12.0, mail=(), faults=(), **how):
    return simulate(
        times=TIMES, work=0.1, consuming=EACH, mail=mail, faults=[{"replay": "mails.senders", "at": at, **how}, *faults],
        load={"kind": "replay", "times": (*TIMES, 20.0), "mix": "shop.buy"},
    )  # fmt: skip


def test_a_replay_does_everything_once_more():
    result = again()
    found = rows(result)
    assert found.times_done.tolist() == [2] * 10 + [1]
    assert (found.deliveries.tolist(), set(found.fate)) == ([2] * 10 + [1], {"done"})
    assert done(result)[:2] == [0.1, 1.1], "the first time is what counts"


def test_those_who_are_set_back_say_that_they_leave():
    # Nobody waits for a session of 45 s to end: the second time is over a moment after 5.
    consuming = {**EACH, "session_timeout": 45.0, "heartbeat_interval": 3.0}
    fault = {"replay": "mails.senders", "at": 5.0}
    result = simulate(times=(0.0,), work=0.1, consuming=consuming, faults=[fault], duration=7.0, run={"drain": 1.0})
    assert rows(result).times_done.tolist() == [2]


def test_an_idempotent_consumer_does_nothing_once_more():
    found = rows(again(mail={"deduplicate": {}}))
    assert (found.times_done.tolist(), found.deliveries.tolist()) == ([1] * 11, [2] * 10 + [1])


def test_a_replay_begins_at_an_offset():
    assert rows(again(to=7)).times_done.tolist() == [1] * 7 + [2] * 3 + [1]
    assert rows(again(to=99)).times_done.tolist() == [1] * 11, "the end is the furthest"


def test_a_replay_begins_at_a_time():
    assert rows(again(since=6.5)).times_done.tolist() == [1] * 6 + [2] * 4 + [1]


def test_a_group_that_is_set_to_the_end_passes_over_what_is_there():
    result = simulate(
        times=(0.0,) * 5, work=1.0, consuming={**EACH, "max_poll_records": 1},
        faults=[{"replay": "mails.senders", "at": 1.5, "to": "latest"}],
    )  # fmt: skip
    assert fates(result) == ["done"] + ["dropped"] * 4


def test_what_is_deleted_cannot_be_replayed():
    result = simulate(
        times=TIMES, work=0.1, consuming=EACH, log={"retention": {"messages": 4, "check_interval": 1.0}},
        load={"kind": "replay", "times": (*TIMES, 20.0), "mix": "shop.buy"}, faults=[{"replay": "mails.senders", "at": 12.5}],
    )  # fmt: skip
    assert rows(result).times_done.tolist() == [1] * 6 + [2] * 4 + [1]


# --- what cannot be, and what is doubted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"log": {"retention": {}}}, "retention keeps everything"),
        ({"faults": [{"replay": "mails", "at": 1}]}, "no group 'mails' of a log; did you mean|no group 'mails' of a log"),
        ({"faults": [{"replay": "mails.senders", "at": 1, "to": 3, "since": 2}]}, "two places to begin at"),
        ({"faults": [{"replay": "mails.senders", "at": 1, "for": 2}]}, "a group is set once"),
    ],
)
def test_what_cannot_be_is_told(settings, message):
    with pytest.raises(ValueError, match=message):
        shop(**settings)


def doubts(**settings):
    return "\n".join(doubts_of_logs(shop(load={"rate": 1, "mix": "shop.buy"}, work=0.1, **settings)))


def test_a_reviewer_doubts_what_is_deleted_unread_and_what_is_done_twice():
    crash = {"faults": [{"crash": "mail", "at": 1, "for": 60}]}
    assert "takes mail down for 60 s, and the log keeps messages for 30 s" in doubts(log={"retention": 30.0}, **crash)
    assert "deleted unread" not in doubts(log={"retention": 90.0}, **crash)
    replay = {"faults": [{"replay": "mails.senders", "at": 30}]}
    assert "replays what is done, and mail.send does it once more" in doubts(**replay)
    assert "once more" not in doubts(mail={"deduplicate": {}}, **replay)


def test_what_is_deleted_in_the_middle_of_its_work_has_its_row_all_the_same():
    # One is worked on for longer than the run; the log keeps the latest only.
    kept = {"retention": {"messages": 1, "check_interval": 1.0}}
    result = simulate(times=[0.0, 1.0, 2.0], work=500.0, log=kept, consuming={"max_poll_records": 1}, duration=10.0)
    assert rows(result)[["request", "fate"]].to_numpy().tolist() == [[0, "expired"], [1, "expired"], [2, "in_flight"]]


def test_what_was_committed_before_its_work_is_done_though_it_is_deleted_meanwhile():
    kept = {"retention": {"messages": 1, "check_interval": 1.0}}
    again = [{"replay": "mails.senders", "to": "latest", "at": 50.0}]  # so what is committed is kept for it
    result = simulate(times=[0.0, 0.1], work=5.0, log=kept, consuming={"commit": "before"}, faults=again)
    assert rows(result).fate.tolist() == ["done", "done"]
    assert rows(result).done_s.tolist() == [5.0, 10.0]
