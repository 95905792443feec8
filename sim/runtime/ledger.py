"""What the run waits for at its end: everything that began and has not ended, in the order in which it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sim.kernel.tasks import Reply, Tasks


class Open(Reply):
    """Something that can be entered in a ledger: a request or a visit, whose outcome somebody waits for, or a message."""

    __slots__ = ("_earlier", "_later")

    def __init__(self, tasks: Tasks) -> None:
        self.open(tasks)

    def open(self, tasks: Tasks) -> None:
        """What `__init__` does, as a C call."""
        Reply.open(self, tasks)
        self._earlier: Open | None = None
        self._later: Open | None = None


class Ledger:
    """The open things of a run, and how many sources may still open more; `done` is called when both come to an end.

    A doubly linked list through the things themselves: entering and leaving cost nothing, whatever is open.
    """

    __slots__ = ("_done", "_first", "_last", "sources")

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._first: Open | None = None
        self._last: Open | None = None
        self.sources = 0

    def opened(self, what: Open) -> None:
        """Something began."""
        what._earlier = self._last
        if self._last is None:
            self._first = what
        else:
            self._last._later = what
        self._last = what

    def closed(self, what: Open) -> None:
        """It ended; the last one after the last source ends the run."""
        earlier, later = what._earlier, what._later
        what._earlier = what._later = None
        if earlier is None:
            self._first = later
        else:
            earlier._later = later
        if later is None:
            self._last = earlier
        else:
            later._earlier = earlier
        if self._first is None and self.sources == 0:
            self._done()

    def source_ended(self) -> None:
        """No more requests come from one source."""
        self.sources -= 1
        if self._first is None and self.sources == 0:
            self._done()

    def everything(self) -> list[Open]:
        """All that is open, in the order in which it began."""
        return list(self._all())

    def _all(self) -> Iterator[Open]:
        what = self._first
        while what is not None:
            yield what
            what = what._later


class Presence:
    """Something in the ledger while there is any of it."""

    __slots__ = ("_count", "_ledger", "_open")

    def __init__(self, ledger: Ledger, tasks: Tasks) -> None:
        self._ledger = ledger
        self._open = Open(tasks)
        self._count = 0

    def more(self) -> None:
        """One more."""
        if not self._count:
            self._ledger.opened(self._open)
        self._count += 1

    def less(self) -> None:
        """One less."""
        self._count -= 1
        if not self._count:
            self._ledger.closed(self._open)
