"""Which partition gets a message, and which member of a group reads which partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sim.streams import child, salt

_PARTITION, _SWITCH = (salt("partitions", name) for name in ("key", "sticky"))

#: What a member reads, by member.
Assignment = dict[Any, tuple[int, ...]]


def partition_of(key: int, partitions: int) -> int:
    """The partition of a key: the same for all publishers, whoever they are and whatever was published before.

    Kafka takes murmur2(key) mod n; this takes a hash of the house, as even, and with other collisions. With another number of
    partitions almost every key moves, and its order is broken across the change.

    Source: kafka@3 clients, `BuiltInPartitioner.partitionForKey`.

    >>> [partition_of(key, 4) for key in range(6)] == [partition_of(key, 4) for key in range(6)]
    True
    """
    return child(_PARTITION, key) % partitions


class Sticky:
    """The partitions of one publisher's messages without a key: one at random for as many as fill a batch, then another one.

    ::

        2 2 2 2 | 0 0 0 0 | 3 3 3 3     a batch of 4: fuller batches than with one partition per message, as even in the long run

    Source: kafka@3 clients, `BuiltInPartitioner` (KIP-794: switches once `batch.size` bytes were produced).

    >>> sticky = Sticky(partitions=1, run_length=2, bits=7)
    >>> [sticky.next() for _ in range(3)]
    [0, 0, 0]
    """

    __slots__ = ("_bits", "_left", "_now", "_partitions", "_run_length", "_runs")

    def __init__(self, partitions: int, run_length: int, bits: int) -> None:
        self._partitions = partitions
        self._run_length = run_length
        self._bits = child(bits, _SWITCH)
        self._runs = 0
        self._left = 0
        self._now = 0

    def next(self) -> int:
        """The partition of the next message."""
        if not self._left:
            self._now = child(self._bits, self._runs) % self._partitions
            self._runs += 1
            self._left = self._run_length
        self._left -= 1
        return self._now


def _range(members: Sequence[Any], partitions: int, owned: Mapping[Any, Sequence[int]]) -> Assignment:
    """Neighbours together: the first members get one more where it does not come out even."""
    found, start = {}, 0
    for place, member in enumerate(members):
        size = partitions // len(members) + (place < partitions % len(members))
        found[member] = tuple(range(start, start + size))
        start += size
    return found


def _round_robin(members: Sequence[Any], partitions: int, owned: Mapping[Any, Sequence[int]]) -> Assignment:
    """One each, in turn."""
    return {member: tuple(range(place, partitions, len(members))) for place, member in enumerate(members)}


def _sticky(members: Sequence[Any], partitions: int, owned: Mapping[Any, Sequence[int]]) -> Assignment:
    """As even as can be, and as few moves as that allows: each keeps what it has, up to its share."""
    share, extra = divmod(partitions, len(members))
    kept: dict[Any, list[int]] = {}
    taken: set[int] = set()
    # Who holds most may keep one more, for then fewer move.
    for member in sorted(members, key=lambda each: -len(owned.get(each, ()))):
        mine = [p for p in owned.get(member, ()) if p < partitions and p not in taken]
        size = share
        if extra and len(mine) > share:
            size, extra = share + 1, extra - 1
        kept[member] = mine[:size]
        taken.update(kept[member])
    free = [p for p in range(partitions) if p not in taken]
    for member in members:
        while free and len(kept[member]) < share:
            kept[member].append(free.pop(0))
    for member in members:
        if free and extra and len(kept[member]) == share:
            kept[member].append(free.pop(0))
            extra -= 1
    return {member: tuple(sorted(kept[member])) for member in members}


#: By name: from the members in the order in which they came, the number of partitions, and what each reads now.
ASSIGNORS: Final[Mapping[str, Callable[[Sequence[Any], int, Mapping[Any, Sequence[int]]], Assignment]]] = {
    "range": _range,
    "round_robin": _round_robin,
    "sticky": _sticky,
}


def assign(rule: str, members: Sequence[Any], partitions: int, owned: Mapping[Any, Sequence[int]]) -> Assignment:
    """Who reads what: every partition has one reader; members beyond the number of partitions read nothing.

    Source: kafka@3 clients, `RangeAssignor`, `RoundRobinAssignor`, `CooperativeStickyAssignor`; of one topic.

    >>> assign("range", "ab", 5, {})
    {'a': (0, 1, 2), 'b': (3, 4)}
    >>> assign("round_robin", "ab", 5, {})
    {'a': (0, 2, 4), 'b': (1, 3)}
    >>> assign("sticky", "abc", 5, {"a": (0, 1, 2), "b": (3, 4)})
    {'a': (0, 1), 'b': (3, 4), 'c': (2,)}
    """
    return ASSIGNORS[rule](members, partitions, owned) if members else {}
