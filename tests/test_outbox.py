"""Outboxes: what is published when, however the process, the broker and the confirmations do."""

from __future__ import annotations

import pytest
from mail_shop import done, fates, rows, simulate
from pydantic import ValidationError

from sim.scenario.model import Scenario
from sim.single import run


def test_the_user_waits_for_nothing_and_the_message_goes_out_with_the_next_look():
    result = simulate({"consumers": 5}, times=(0.0, 1.0, 2.0, 25.0), send={"outbox": 10.0})
    found = rows(result)
    assert result.requests.ended_s.tolist() == [0.0, 1.0, 2.0, 25.0]
    looks = found.published_s.tolist()
    assert looks[0] == looks[1] == looks[2] < 10.0, "all that is there goes out together"
    assert looks[3] == pytest.approx(looks[0] + 10 * round((looks[3] - looks[0]) / 10))
    assert 25.0 < looks[3] < 35.0
    assert done(result) == [round(look + 1.0, 9) for look in looks]


def test_while_the_broker_is_down_nobody_fails_and_afterwards_nothing_is_missing():
    outage = [{"outage": "mails", "at": 0.5, "for": 20.0}]
    direct = simulate({"consumers": 5}, times=(1.0, 5.0, 9.0), faults=outage)
    assert direct.requests.outcome.tolist() == ["error"] * 3
    result = simulate({"consumers": 5}, times=(1.0, 5.0, 9.0), faults=outage, send={"outbox": 2.0})
    assert result.requests.outcome.tolist() == ["ok"] * 3
    assert fates(result) == ["done"] * 3
    [time_s] = set(done(result))  # with the first look after the outage
    assert 21.5 < time_s < 23.5


def test_it_outlives_the_process():
    # The process that wrote it is dead when the relay would look, and back 8 s later: then it is published.
    crash = [{"crash": "shop", "at": 0.001, "for": 15.0}]
    result = simulate({}, times=(0.0,), send={"outbox": 1.0}, faults=crash)
    assert result.requests.outcome.tolist() == ["ok"]
    assert fates(result) == ["done"]
    assert 15.0 < rows(result).published_s.item() < 16.1


def test_another_replica_goes_on_where_the_one_that_wrote_is_gone():
    result = run(
        Scenario(
            services={
                "shop": {"replicas": 2, "workers": "unlimited", "operations": {"buy": [{"publish": "mails", "outbox": 1.0}]}},
                "mail": {"workers": "unlimited", "operations": {"send": [{"work": 1.0}]}},
            },
            queues={"mails": {"consumer": "mail.send"}},
            load={"kind": "replay", "times": (0.0, 0.0), "mix": "shop.buy"},  # one at each replica
            faults=[{"crash": "shop", "replica": 0, "at": 0.001}],
            run={"duration": 30},
        )
    )
    assert result.requests.outcome.tolist() == ["ok", "ok"]
    assert fates(result) == ["done", "done"]
    assert rows(result).published_s.max() < 1.1


def test_a_lost_confirmation_brings_the_same_message_twice_and_an_inbox_knows_it():
    # Confirmations take longer than the relay waits; the broker has it all the same.
    slow = {"persist": 3.0}
    policy = {"calls": {"shop -> mails": {"timeout": 2.0}}}
    late = simulate(slow, times=(0.0,), send={"outbox": 1.0}, duration=30.0, run={"drain": 0.0}, **policy)
    twice = [fate for fate in fates(late) if fate == "done"]
    assert len(twice) > 1, "at least once"
    known = simulate(slow, times=(0.0,), send={"outbox": 1.0}, duration=30.0, mail={"deduplicate": {"window": 3600.0}}, **policy)
    assert fates(known).count("done") == 1
    assert fates(known).count("duplicate") >= 1


def test_the_same_draws_as_without_an_outbox():
    keyed = {"key": {"keys": 5}, "poison": 0.3}
    direct = simulate({"max_deliveries": 1}, times=range(20), work={"exponential": 1.0}, send=keyed)
    later = simulate({"max_deliveries": 1}, times=range(20), work={"exponential": 1.0}, send={**keyed, "outbox": 0.5})
    assert (rows(direct).sort_values("request").key.tolist()) == rows(later).sort_values("request").key.tolist()
    assert rows(direct).sort_values("request").fate.tolist() == rows(later).sort_values("request").fate.tolist()


def test_contradictions_are_told():
    with pytest.raises(ValidationError, match="its relay waits for confirmations; leave out confirm: false"):
        simulate({}, send={"outbox": 1.0, "confirm": False})
    with pytest.raises(ValidationError, match=r"above 0|greater than 0|positive"):
        simulate({}, send={"outbox": 0.0})
