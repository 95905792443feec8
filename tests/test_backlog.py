"""The gate of one queue, consumers' turns and stores of ids: short stories with times."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sim.policies.backlog import DEAD, DROPPED, EXPIRED, IN_PROCESS, KNOWN, NEW, Backlog, BacklogGate
from sim.policies.backlog_lines import Item
from sim.policies.competing import Turns
from sim.policies.deduplication import Deduplication, DeduplicationGate


def gate(count: int = 0, *, before: bool = False, **rules: Any) -> tuple[BacklogGate, list[Item]]:
    """A queue under some rules with so many messages, one a second from 0 s on."""
    made = BacklogGate(Backlog(**rules), before)
    entries = [Item() for _ in range(count)]
    for second, entry in enumerate(entries):
        assert made.accept(entry, float(second)) == []
    return made, entries


def taken(queue: BacklogGate, now_s: float, most: int = 100) -> list[int]:
    """Numbers of the messages that go out now, one question each."""
    found = []
    while len(found) < most and (entry := queue.take(now_s)) is not None:
        found.append(entry.number)
    return found


def state(queue: BacklogGate) -> tuple[int, int, int]:
    return queue.ready, queue.unacknowledged, queue.stored


# --- out and back -----------------------------------------------------------------------------------------------------


def test_the_oldest_goes_first_and_is_stored_until_it_is_acknowledged() -> None:
    queue, (a, b, c) = gate(3)
    assert taken(queue, 3.0, 2) == [0, 1]
    assert state(queue) == (1, 2, 3)
    assert queue.acknowledge(b, b.era)
    assert queue.acknowledge(a, a.era)
    assert state(queue) == (1, 0, 1)
    assert not queue.acknowledge(a, a.era), "once"
    assert taken(queue, 4.0) == [c.number]


def test_a_failed_message_pauses_and_goes_behind_the_others_or_back_to_its_place() -> None:
    for requeue, order in (("tail", [1, 2, 0]), ("head", [0, 1, 2])):
        queue, (a, _, _) = gate(3, requeue=requeue, redelivery_delay=5)
        queue.take(3.0)
        assert queue.refuse(a, a.era, 4.0) == []
        assert state(queue) == (2, 0, 3)
        assert queue.next_s == 9.0
        assert queue.due(8.9) == []
        assert queue.ready == 2
        queue.due(9.0)
        assert taken(queue, 9.0) == order


def test_what_a_dead_consumer_held_goes_back_to_its_place_at_once_in_order() -> None:
    queue, entries = gate(5)
    taken(queue, 5.0, 3)
    for entry in reversed(entries[:3]):
        queue.give_back(entry, entry.era, 6.0)
    assert taken(queue, 6.0) == [0, 1, 2, 3, 4]


def test_only_the_latest_delivery_may_be_settled() -> None:
    queue, (a,) = gate(1, visibility_timeout=30)
    queue.take(1.0)
    first = a.era
    queue.due(31.0)
    queue.take(31.0)
    assert not queue.acknowledge(a, first)
    assert queue.refuse(a, first, 32.0) == []
    assert queue.give_back(a, first, 32.0) == []
    assert state(queue) == (0, 1, 1)
    assert queue.acknowledge(a, a.era)


def test_late_acknowledgements_may_count() -> None:
    queue, (a,) = gate(1, visibility_timeout=30, late_acknowledge="accepted")
    queue.take(0.0)
    queue.due(30.0)
    assert queue.acknowledge(a, 1), "while it is ready"
    assert taken(queue, 31.0) == []
    queue, (a,) = gate(1, visibility_timeout=30, late_acknowledge="accepted")
    queue.take(0.0)
    queue.due(30.0)
    queue.take(30.0)
    assert queue.acknowledge(a, 1), "while another consumer has it"
    assert not queue.acknowledge(a, 2)
    assert state(queue) == (0, 0, 0)


def test_after_its_last_delivery_a_message_is_dead_however_it_ends() -> None:
    for ending in ("refuse", "give_back"):
        queue, (a,) = gate(1, max_deliveries=2)
        queue.take(0.0)
        queue.refuse(a, a.era, 0.0)
        queue.due(1.0)
        queue.take(1.0)
        assert getattr(queue, ending)(a, a.era, 2.0) == [(a, DEAD)]
        assert state(queue) == (0, 0, 0)
    queue, (a,) = gate(1, max_deliveries=1, visibility_timeout=10)
    queue.take(0.0)
    assert queue.due(10.0) == [(a, DEAD)]


def test_a_failure_that_nobody_tells_waits_for_the_timeout() -> None:
    queue, (a,) = gate(1, visibility_timeout=30, redelivery_delay="visibility_timeout", max_deliveries=1)
    queue.take(0.0)
    assert queue.refuse(a, a.era, 1.0) == []
    assert state(queue) == (0, 1, 1)
    assert queue.due(29.9) == []
    assert queue.due(30.0) == [(a, DEAD)]


def test_acknowledged_before_the_work_it_is_gone_when_it_is_taken() -> None:
    queue, (a,) = gate(1, before=True)
    assert queue.take(0.0) is a
    assert state(queue) == (0, 0, 0)
    assert queue.give_back(a, a.era, 1.0) == []


def test_no_more_than_so_many_are_unacknowledged() -> None:
    queue, (a, *_) = gate(3, max_unacknowledged=2)
    assert taken(queue, 3.0) == [0, 1]
    queue.acknowledge(a, a.era)
    assert taken(queue, 3.0) == [2]


# --- room and time ----------------------------------------------------------------------------------------------------


def test_a_full_queue_rejects_or_drops_its_oldest() -> None:
    queue, (a, _) = gate(2, capacity=2)
    assert not queue.admits(0)
    queue.take(2.0)
    assert queue.admits(0), "only ready ones count"
    assert not queue.admits(1), "and those that are being written"
    queue, (a, _) = gate(2, capacity=2, overflow="drop_head")
    assert queue.admits(5)
    new = Item()
    assert queue.accept(new, 2.0) == [(a, DROPPED)]
    assert taken(queue, 2.0) == [1, 2]


def test_messages_expire_when_their_time_has_come_but_not_at_a_consumer() -> None:
    queue, (a, b, c) = gate(3, time_to_live=10)
    queue.take(2.0)
    assert queue.next_s == 10.0
    assert queue.due(11.0) == [(b, EXPIRED)]
    assert state(queue) == (1, 1, 2)
    assert queue.give_back(a, a.era, 11.5) == [(a, EXPIRED)], "it comes back too late"
    assert taken(queue, 11.5) == [c.number]


def test_one_that_expires_in_its_pause_does_not_come_back() -> None:
    queue, (a,) = gate(1, time_to_live=10, redelivery_delay=5)
    queue.take(6.0)
    queue.refuse(a, a.era, 7.0)
    assert queue.due(10.0) == [(a, EXPIRED)]
    assert queue.due(12.0) == []
    assert state(queue) == (0, 0, 0)


def test_a_delayed_message_waits_first() -> None:
    queue, (a, _) = gate(2, delay=10)
    assert state(queue) == (0, 0, 2)
    assert queue.next_s == 10.0
    queue.due(10.0)
    assert taken(queue, 10.0) == [a.number]


# --- orders -----------------------------------------------------------------------------------------------------------


def test_by_priority_the_lowest_rank_goes_first_and_among_equals_the_oldest() -> None:
    queue, _ = gate(order="priority")
    for rank in (5, 0, 5, 1):
        queue.accept(Item(rank=rank), 0.0)
    first = queue.take(1.0)
    assert first is not None
    assert first.number == 1
    queue.give_back(first, first.era, 1.0)
    assert taken(queue, 2.0) == [1, 3, 0, 2]


def keyed(groups: str, **rules: Any) -> tuple[BacklogGate, list[Item]]:
    """Messages of keys a, b, ...; a dash has none."""
    queue, _ = gate(order="per_key", **rules)
    entries = [Item(group=-1 if name == "-" else ord(name)) for name in groups]
    for entry in entries:
        queue.accept(entry, 0.0)
    return queue, entries


def test_a_key_has_one_delivery_at_a_time() -> None:
    queue, (a1, b1, _, _, _) = keyed("abab-")
    assert taken(queue, 1.0) == [0, 1, 4], "without a key it waits for nobody"
    queue.acknowledge(b1, b1.era)
    assert taken(queue, 1.0) == [3]
    queue.acknowledge(a1, a1.era)
    assert taken(queue, 1.0) == [2]


def test_a_failed_message_blocks_its_key_until_it_has_been_done() -> None:
    queue, (a1, a2, _) = keyed("aab", redelivery_delay=5)
    assert taken(queue, 0.0) == [0, 2]
    queue.refuse(a1, a1.era, 1.0)
    assert taken(queue, 1.0) == [], "not even in its pause"
    queue.due(6.0)
    assert taken(queue, 6.0) == [0]
    queue.acknowledge(a1, a1.era)
    assert taken(queue, 7.0) == [a2.number]


def test_one_receive_takes_more_of_one_key_and_the_key_is_free_when_all_are_back() -> None:
    queue, (a1, a2, a3, _) = keyed("aaab", visibility_timeout=30)
    assert queue.take(0.0) is a1
    assert queue.take(0.0, a1) is a2
    queue.acknowledge(a1, a1.era)
    assert taken(queue, 1.0) == [3], "the second is still out"
    queue.due(30.0)
    assert taken(queue, 30.0, 1) == [a2.number]
    assert queue.take(30.0, a2) is a3


def test_a_dead_or_expired_message_frees_its_key() -> None:
    queue, (a1, a2) = keyed("aa", max_deliveries=1)
    queue.take(0.0)
    assert queue.refuse(a1, a1.era, 0.0) == [(a1, DEAD)]
    assert taken(queue, 0.0) == [a2.number]
    queue, (a1, a2) = keyed("aa", time_to_live=10, redelivery_delay=100)
    queue.take(0.0)
    queue.refuse(a1, a1.era, 0.0)
    later = Item(group=ord("a"))
    queue.accept(later, 5.0)
    assert queue.due(10.0) == [(a1, EXPIRED), (a2, EXPIRED)]
    assert taken(queue, 10.0) == [later.number]


def test_the_broker_loses_a_message_wherever_it_is() -> None:
    queue, (a, b, c) = gate(3, delay=0)
    queue.take(3.0)
    assert [queue.lose(each) for each in (a, b)] == [[(a, DROPPED)], [(b, DROPPED)]]
    assert queue.lose(b) == []
    assert taken(queue, 3.0) == [c.number]
    assert not queue.acknowledge(a, a.era)


# --- publishes that are sent again, consumers, ids --------------------------------------------------------------------


def test_a_publish_that_is_sent_again_is_known_for_a_while() -> None:
    queue, _ = gate(deduplicate={"window": 120})
    assert queue.sent_before(7, 0.0) == NEW
    assert queue.sent_before(7, 0.5) == IN_PROCESS
    queue.wrote(7, 1.0, True)
    assert queue.sent_before(7, 120.0) == KNOWN
    assert queue.sent_before(7, 121.0) == NEW, "its window is over"
    queue.wrote(7, 122.0, False)
    assert queue.sent_before(7, 122.5) == NEW, "the publish had failed"
    queue, _ = gate()
    assert queue.sent_before(7, 0.0) == NEW
    assert queue.sent_before(7, 0.0) == NEW, "without a store nothing is known"


def test_a_store_forgets_its_oldest() -> None:
    store = DeduplicationGate(Deduplication(size=2))
    for id_ in (1, 2, 1, 3):
        store.remember(id_, 0.0)
    assert [store.knows(id_, 1e9) for id_ in (1, 2, 3)] == [False, True, True]
    store = DeduplicationGate(Deduplication(window=10))
    store.remember(1, 0.0)
    store.remember(2, 11.0)
    assert len(store) == 1


def test_consumers_take_turns_as_long_as_they_may_hold_more() -> None:
    turns = Turns(credit=2, single=False)
    for name in "ab":
        turns.add(name)
    assert [turns.next() for _ in range(5)] == ["a", "b", "a", "b", None]
    turns.free("b")
    assert turns.next() == "b"
    turns.free("a")
    turns.remove("a")
    turns.free("a")
    assert turns.next() is None
    assert not turns.may("a")


def test_a_turn_that_was_for_nothing_stays_the_next_one() -> None:
    turns = Turns(credit=2, single=False)
    for name in "ab":
        turns.add(name)
    turns.skip(turns.next())
    assert [turns.next() for _ in range(4)] == ["a", "b", "a", "b"]


def test_a_single_active_consumer_gets_all_until_it_is_gone() -> None:
    turns = Turns(credit=2, single=True)
    for name in "ab":
        turns.add(name)
    assert [turns.next() for _ in range(3)] == ["a", "a", None]
    assert (turns.may("a"), turns.may("b")) == (True, False)
    turns.remove("a")
    assert turns.next() == "b"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"redelivery_delay": 0.0001}, "a pause of 0.0001 s is too short"),
        ({"visibility_timeout": 0.0001}, "a pause of 0.0001 s is too short"),
        ({"late_acknowledge": "accepted"}, "late_acknowledge: accepted says nothing without a visibility_timeout"),
        ({"redelivery_delay": "visibility_timeout"}, "says nothing without a visibility_timeout"),
        ({"overflow": "drop_head", "capacity": 1, "order": "per_key"}, "would drop what is next of a key"),
    ],
)
def test_rules_that_do_not_fit_are_told(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Backlog(**rules)
