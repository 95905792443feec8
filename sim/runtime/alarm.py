"""Alarms: who rings at a moment that may be out of date by then."""

from __future__ import annotations

from typing import Protocol

from sim.kernel.entry import Entry


class Rung(Protocol):
    """Something that comes due."""

    def ring(self) -> None:
        """Something may be due; or not any more."""


class Alarm(Entry):
    """Rings once, when its moment in the heap has come."""

    __slots__ = ("_rung",)

    def __init__(self, rung: Rung) -> None:
        self.callbacks = None
        self._rung = rung

    def fire(self) -> None:
        """Its moment has come."""
        self._rung.ring()
