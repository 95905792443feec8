"""Tied requests: attempts of one call that know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.entry import Entry
from sim.records import IN_FLIGHT
from sim.runtime.context import IN_LINE
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.visit import Visit

_TELL = salt("caller", "tell twin")


class Tie:
    """Attempts of one call that know of each other: the server that begins one tells the others to drop theirs.

    ::

        server A  [line]--begins--> works ------------> answer
        server B  [line .......... x  told by A, one message later; had it begun meanwhile, both would work

    Source: Dean & Barroso, "The tail at scale", CACM 56(2), 2013.
    """

    __slots__ = ("_visits",)

    def __init__(self) -> None:
        self._visits: list[Visit] = []

    def add(self, visit: Visit) -> None:
        """One more attempt is sent."""
        self._visits.append(visit)

    def begun(self, visit: Visit) -> None:
        """A worker takes an attempt: its server tells those of the others."""
        edge = visit.edge
        assert edge is not None
        for other in self._visits:
            if other is not visit and not other.settled:
                # Between servers of one service a message takes as long as from their caller.
                delay_s = edge.there.travel_s(child(other.key, _TELL))
                if delay_s >= 0:
                    edge.tasks.schedule(_Withdrawal(other), edge.tasks.now_s() + delay_s)


class _Withdrawal(Entry):
    """The message to the server of a twin."""

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        self.callbacks = None
        self._visit = visit

    def fire(self) -> None:
        """Drop the twin if it still waits for a worker."""
        visit = self._visit
        if visit.stage == IN_LINE and not visit.settled:
            visit.stop()
            visit.settle(IN_FLIGHT)
