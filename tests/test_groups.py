"""The coordinator of a consumer group, told the time: rounds, sessions and news without the simulator."""

from __future__ import annotations

import pytest

from sim.policies.batching import Accumulator, Batching
from sim.policies.groups import REBALANCING, UNKNOWN, WELL, GroupGate, GroupRules
from sim.policies.partitions import ASSIGNORS, Sticky, assign

EAGER = {"protocol": "eager", "assignor": "range"}


def news(gate):
    told, gate.news = dict(gate.news), []
    return told


def group(partitions=4, **rules):
    return GroupGate(GroupRules(**rules), partitions)


def test_the_first_waits_for_more_and_each_that_comes_begins_the_wait_anew():
    gate = group(**EAGER, initial_rebalance_delay=3.0)
    gate.join("a", (), 0.0)
    assert (news(gate), gate.next_s()) == ({}, 3.0)
    gate.join("b", (), 2.0)
    assert gate.next_s() == 5.0
    gate.due(3.0)
    assert news(gate) == {}
    gate.due(5.0)
    assert news(gate) == {"a": (0, 1), "b": (2, 3)}


def test_a_wait_longer_than_a_round_may_take_is_cut_off():
    gate = group(**EAGER, initial_rebalance_delay=3.0, max_poll_interval=2.0)
    gate.join("a", (), 0.0)
    assert gate.next_s() == 2.0
    gate.due(2.0)
    assert news(gate) == {"a": (0, 1, 2, 3)}
    assert gate.next_s() > 2.0, "or its clock would stand still"


def test_all_come_to_the_barrier_or_are_put_out():
    gate = group(**EAGER, max_poll_interval=10.0)
    gate.found("ab", 0.0)
    assert news(gate) == {"a": (0, 1), "b": (2, 3)}
    gate.join("c", (), 1.0)
    assert gate.heartbeat("a", (0, 1), 2.0) == REBALANCING
    gate.join("a", (), 2.0)
    assert gate.heartbeat("a", (), 3.0) == WELL
    assert news(gate) == {}, "b still works"
    assert gate.heartbeat("b", (2, 3), 10.0) == REBALANCING
    assert gate.due(11.0) == ["b"]
    assert news(gate) == {"a": (0, 1), "c": (2, 3)}
    assert gate.heartbeat("b", (2, 3), 12.0) == UNKNOWN


def test_cooperative_hands_out_in_a_second_round_what_was_given_away_in_the_first():
    gate = group(protocol="cooperative")
    gate.found("ab", 0.0)
    news(gate)
    gate.join("c", (), 1.0)
    gate.join("a", (0, 1), 2.0)
    gate.join("b", (2, 3), 3.0)
    first = news(gate)
    assert first["c"] == ()
    moved = ({0, 1} - set(first["a"])) | ({2, 3} - set(first["b"]))
    assert len(moved) == 1
    for who in "abc":
        gate.join(who, first[who], 4.0)
    assert news(gate)["c"] == tuple(moved)


def test_server_gives_what_has_become_free_with_the_next_heartbeat():
    gate = group(protocol="server")
    gate.found("ab", 0.0)
    news(gate)
    gate.join("c", (), 1.0)
    gate.heartbeat("c", (), 1.0)
    assert news(gate) == {}, "nothing is free"
    gate.heartbeat("a", (0, 1), 2.0)
    gate.heartbeat("b", (2, 3), 2.0)
    told = news(gate)
    (who,) = told
    gave = {"a": {0, 1}, "b": {2, 3}}[who] - set(told[who])
    gate.heartbeat("c", (), 3.0)
    assert news(gate) == {}, "it has not been given away yet"
    gate.heartbeat(who, told[who], 4.0)
    gate.heartbeat("c", (), 5.0)
    assert news(gate) == {"c": tuple(gave)}


def test_server_puts_out_who_does_not_give_away():
    gate = group(protocol="server", max_poll_interval=10.0)
    gate.found("a", 0.0)
    gate.join("b", (), 1.0)
    gate.heartbeat("a", (0, 1, 2, 3), 2.0)
    assert gate.next_s() == 12.0
    gate.heartbeat("a", (0, 1, 2, 3), 11.0)
    assert gate.due(12.0) == ["a"]
    news(gate)
    gate.heartbeat("b", (), 13.0)
    assert news(gate) == {"b": (0, 1, 2, 3)}


@pytest.mark.parametrize("protocol", [EAGER, {"protocol": "cooperative"}, {"protocol": "server"}], ids=str)
def test_silence_for_a_session_is_death(protocol):
    gate = group(**protocol, session_timeout=45.0)
    gate.found("ab", 0.0)
    gate.heartbeat("a", (0, 1), 3.0)
    assert gate.next_s() == 45.0
    assert gate.due(44.9) == []
    assert gate.due(45.0) == ["b"]
    assert gate.reader(0) == "a"


@pytest.mark.parametrize("rule", ASSIGNORS)
def test_every_partition_has_one_reader_and_shares_are_even(rule):
    for members in range(1, 6):
        for partitions in range(1, 8):
            found = assign(rule, list(range(members)), partitions, {0: tuple(range(partitions))})
            assert sorted(p for mine in found.values() for p in mine) == list(range(partitions))
            sizes = [len(mine) for mine in found.values()]
            assert max(sizes) - min(sizes) <= 1


def test_sticky_moves_as_little_as_it_can():
    before = {"a": (0, 1, 2), "b": (3, 4, 5)}
    after = assign("sticky", "abc", 6, before)
    assert {who: len(set(before[who]) - set(after[who])) for who in before} == {"a": 1, "b": 1}
    assert assign("sticky", "ab", 6, before) == before
    assert assign("sticky", "a", 6, before)["a"] == (0, 1, 2, 3, 4, 5)
    assert assign("range", [], 6, {}) == {}


def test_without_a_key_each_run_is_as_long_as_a_batch_and_partitions_get_alike():
    sticky = Sticky(partitions=4, run_length=3, bits=11)
    drawn = [sticky.next() for _ in range(12_000)]
    assert all(len(set(drawn[i : i + 3])) == 1 for i in range(0, len(drawn), 3))
    assert all(0.22 < drawn.count(p) / len(drawn) < 0.28 for p in range(4))


def test_what_waits_for_a_retry_holds_up_what_is_behind_it_and_keeps_its_place_if_numbered():
    for idempotent, order in ((True, ["a", "b", "c"]), (False, ["b", "a", "c"])):
        accumulator = Accumulator(Batching(batch_size=1), idempotent)
        sent = []
        for item in "ab":
            accumulator.add(0, item, 0.0)
            sent += accumulator.ready([0], 0.0)
        accumulator.add(0, "c", 0.0)
        for batch in sent:
            batch.tries = 1
            accumulator.put_back(batch, 1.0)
        assert accumulator.ready([0], 0.5) == []
        assert [accumulator.ready([0], 1.0)[0].items[0] for _ in range(3)] == order
