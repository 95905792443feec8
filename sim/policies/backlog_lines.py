"""Ready messages in line: the oldest first, by rank, or by key with one delivery of a key at a time."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cython

#: Where a message is: not yet to be delivered; ready; delivered and not acknowledged; failed, in its pause; out of the queue.
DELAYED, READY, UNACKNOWLEDGED, PAUSED, GONE = range(5)
_READY, _GONE = READY, GONE


class Item:
    """A message, as its queue sees it."""

    __slots__ = ("deliveries", "era", "expires_s", "group", "number", "place", "rank", "state")

    def __init__(self, group: int = -1, rank: int = 0) -> None:
        self.group = group  # its key; -1: none
        self.rank = rank  # its priority, 0 goes first
        self.number = -1  # in the order in which the queue took them
        self.place = -1  # in line; who goes to the end of it gets a new one
        self.state = _GONE
        self.era = 0  # of its latest delivery: the permit to settle it
        self.deliveries = 0
        self.expires_s = inf

    def __repr__(self) -> str:
        words = ("delayed", "ready", "unacknowledged", "paused", "gone")
        return f"<{type(self).__name__} {self.number} {words[self.state]}>"


class ReadyLine:
    """Ready messages. Who stands in it has a `place`; `restore` puts a message back to where it was."""

    __slots__ = ()

    def append(self, item: Item) -> None:
        """To the end; its place is larger than all others."""
        raise NotImplementedError

    def restore(self, item: Item) -> None:
        """Back to its place; a message that was popped."""
        raise NotImplementedError

    def pop(self, after: Item | None) -> Item | None:
        """The next that may go; None if nobody may."""
        raise NotImplementedError

    def discard(self, item: Item) -> None:
        """A message that stands in line leaves the queue."""

    def settle(self, item: Item) -> None:
        """A message leaves the queue that was delivered at least once."""


def _insert(line: deque[Item], item: Item) -> None:
    """By place: what comes back belongs near the head."""
    at = 0
    for other in line:
        if other.place > item.place:
            break
        at += 1
    line.insert(at, item)


class FifoLine(ReadyLine):
    """The oldest first. Who has left the queue is skipped."""

    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line: deque[Item] = deque()

    def append(self, item: Item) -> None:
        """To the end."""
        self._line.append(item)

    def restore(self, item: Item) -> None:
        """Back to its place."""
        _insert(self._line, item)

    def pop(self, after: Item | None) -> Item | None:
        """The oldest."""
        line = self._line
        while line:
            item = line.popleft()
            if item.state == _READY:
                return item
        return None


class RankedLine(ReadyLine):
    """The lowest rank first, among equals the oldest."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Item]] = []  # places are different, so messages are never compared

    def append(self, item: Item) -> None:
        """To the end of its rank."""
        heappush(self._heap, (item.rank, item.place, item))

    def restore(self, item: Item) -> None:
        """Back to its place in its rank."""
        self.append(item)

    def pop(self, after: Item | None) -> Item | None:
        """The lowest rank."""
        while self._heap:
            item = heappop(self._heap)[2]
            if item.state == _READY:
                return item
        return None


class KeyedLine(ReadyLine):
    """The oldest whose key has nothing out: per key, one after the other. A message without a key is alone with it.

    ::

        a1 b1 a2 a3 b2        take: a1     take: b1     take: nobody, a and b are blocked      a1 settled; take: a2
    """

    __slots__ = ("_heads", "_lines", "_out")

    def __init__(self) -> None:
        self._lines: dict[int, deque[Item]] = {}
        #: (place, group) of heads that may go; those that are no heads any more are skipped.
        self._heads: list[tuple[int, int]] = []
        self._out: dict[int, dict[Item, None]] = {}  # popped, and neither restored nor settled

    def append(self, item: Item) -> None:
        """To the end of its key's line; also back, after a pause."""
        self._lines.setdefault(_group(item), deque()).append(item)
        self._returned(item)

    def restore(self, item: Item) -> None:
        """Back to its place in its key's line; the key is free when all that was out is back."""
        _insert(self._lines.setdefault(_group(item), deque()), item)
        self._returned(item)

    def pop(self, after: Item | None) -> Item | None:
        """The oldest of the key of `after`, if there is one; else the oldest of a key that is free."""
        if after is not None:
            line = self._lines.get(_group(after))
            if line:
                return self._take(_group(after), line)
        while self._heads:
            place, group = heappop(self._heads)
            line = self._lines.get(group)
            if line and line[0].place == place and group not in self._out:
                return self._take(group, line)
        return None

    def discard(self, item: Item) -> None:
        """Take a message out of its key's line."""
        group = _group(item)
        self._lines[group].remove(item)
        self._show(group)

    def settle(self, item: Item) -> None:
        """Its key goes on when nothing else of it is out."""
        self._returned(item)

    def _take(self, group: cython.long, line: deque[Item]) -> Item:
        item = line.popleft()
        self._out.setdefault(group, {})[item] = None
        if not line:
            del self._lines[group]
        return item

    def _returned(self, item: Item) -> None:
        group = _group(item)
        out = self._out.get(group)
        if out is not None and item in out:
            del out[item]
            if not out:
                del self._out[group]
        self._show(group)

    def _show(self, group: cython.long) -> None:
        """Enter the head of a key's line among those that may go."""
        line = self._lines.get(group)
        if line and group not in self._out:
            heappush(self._heads, (line[0].place, group))
        elif line is not None and not line:
            del self._lines[group]


def _group(item: Item) -> int:
    return item.group if item.group >= 0 else -2 - item.number
