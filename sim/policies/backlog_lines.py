"""Ready messages in line: the oldest first, by rank, or by key with one delivery of a key at a time."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cython

    from sim.policies.backlog import Entry

_READY = 1  # as in `sim.policies.backlog`


class Line:
    """Ready messages. Who stands in it has a `place`; `restore` puts a message back to where it was."""

    __slots__ = ()

    def append(self, entry: Entry) -> None:
        """To the end; its place is larger than all others."""
        raise NotImplementedError

    def restore(self, entry: Entry) -> None:
        """Back to its place; a message that was popped."""
        raise NotImplementedError

    def pop(self, after: Entry | None) -> Entry | None:
        """The next that may go; None if nobody may."""
        raise NotImplementedError

    def discard(self, entry: Entry) -> None:
        """A message that stands in line leaves the queue."""

    def settle(self, entry: Entry) -> None:
        """A message leaves the queue that was delivered at least once."""


def _insert(line: deque[Entry], entry: Entry) -> None:
    """By place: what comes back belongs near the head."""
    at = 0
    for other in line:
        if other.place > entry.place:
            break
        at += 1
    line.insert(at, entry)


class FifoLine(Line):
    """The oldest first. Who has left the queue is skipped."""

    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()

    def append(self, entry: Entry) -> None:
        """To the end."""
        self._line.append(entry)

    def restore(self, entry: Entry) -> None:
        """Back to its place."""
        _insert(self._line, entry)

    def pop(self, after: Entry | None) -> Entry | None:
        """The oldest."""
        line = self._line
        while line:
            entry = line.popleft()
            if entry.state == _READY:
                return entry
        return None


class RankedLine(Line):
    """The lowest rank first, among equals the oldest."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Entry]] = []  # places are different, so messages are never compared

    def append(self, entry: Entry) -> None:
        """To the end of its rank."""
        heappush(self._heap, (entry.rank, entry.place, entry))

    def restore(self, entry: Entry) -> None:
        """Back to its place in its rank."""
        self.append(entry)

    def pop(self, after: Entry | None) -> Entry | None:
        """The lowest rank."""
        while self._heap:
            entry = heappop(self._heap)[2]
            if entry.state == _READY:
                return entry
        return None


class KeyedLine(Line):
    """The oldest whose key has nothing out: per key, one after the other. A message without a key is alone with it.

    ::

        a1 b1 a2 a3 b2        take: a1     take: b1     take: nobody, a and b are blocked      a1 settled; take: a2
    """

    __slots__ = ("_heads", "_lines", "_out")

    def __init__(self) -> None:
        self._lines: dict[int, deque[Entry]] = {}
        self._heads: list[
            tuple[int, int]
        ] = []  # (place, group) of heads that may go; those that are no heads any more are skipped
        self._out: dict[int, dict[Entry, None]] = {}  # popped, and neither restored nor settled

    def append(self, entry: Entry) -> None:
        """To the end of its key's line; also back, after a pause."""
        self._lines.setdefault(_group(entry), deque()).append(entry)
        self._returned(entry)

    def restore(self, entry: Entry) -> None:
        """Back to its place in its key's line; the key is free when all that was out is back."""
        _insert(self._lines.setdefault(_group(entry), deque()), entry)
        self._returned(entry)

    def pop(self, after: Entry | None) -> Entry | None:
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

    def discard(self, entry: Entry) -> None:
        """Take a message out of its key's line."""
        group = _group(entry)
        self._lines[group].remove(entry)
        self._show(group)

    def settle(self, entry: Entry) -> None:
        """Its key goes on when nothing else of it is out."""
        self._returned(entry)

    def _take(self, group: cython.long, line: deque[Entry]) -> Entry:
        entry = line.popleft()
        self._out.setdefault(group, {})[entry] = None
        if not line:
            del self._lines[group]
        return entry

    def _returned(self, entry: Entry) -> None:
        group = _group(entry)
        out = self._out.get(group)
        if out is not None and entry in out:
            del out[entry]
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


def _group(entry: Entry) -> int:
    return entry.group if entry.group >= 0 else -2 - entry.number
