"""A sum over the last seconds, in slots that fall out whole: how Finagle and tower count for their retry budgets."""

from __future__ import annotations

import math
from typing import Literal

#: Whose way of moving on from slot to slot.
Counting = Literal["finagle", "tower"]


class SlottedSum:
    """A sum of what was added during about the last `window_s` seconds.

    ::

        finagle   |####|####|####|####|####|####|####|####|####|##  |      nine full slots and the running one
        tower     |####|    |####|    |####|    |####|    |####|    |##    five of ten and the running one

    A slot is as long as a tenth of the window, or longer: it ends with the first look at the sum after that. tower empties one
    slot more than has passed whenever that look comes any later than exactly then, which is always; so it remembers about half
    of the window. Times must not fall between calls.

    Source: twitter/util `WindowedAdder`; tower@0.5 `TpsBudget`, which Envoy's `budget_interval` repeats.
    """

    __slots__ = ("_at", "_began_s", "_full", "_now", "_slot_s", "_tower")

    def __init__(self, window_s: float, counting: Counting = "finagle", slots: int = 10) -> None:
        self._tower = counting == "tower"
        self._slot_s = window_s / slots
        self._full = [0] * (slots if self._tower else slots - 1)  # whole slots, as a ring
        self._at = 0  # where in the ring the running slot will stand
        self._now = 0  # the running slot
        self._began_s: float | None = None  # when it began: with the first look at all

    def add(self, now_s: float, amount: int) -> None:
        """Count `amount`, which may be negative."""
        self._move(now_s)
        self._now += amount

    def total(self, now_s: float) -> int:
        """The sum of what has not fallen out."""
        self._move(now_s)
        return self._now + sum(self._full)

    def _move(self, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = now_s
            return
        passed = (now_s - self._began_s) / self._slot_s
        if passed < 1.0:
            return
        ring = self._full
        self._put(self._now)
        self._now = 0
        empty = math.ceil(passed) - 1 if self._tower else math.floor(passed) - 1
        for _ in range(min(empty, len(ring))):
            self._put(0)
        self._began_s = now_s

    def _put(self, amount: int) -> None:
        self._full[self._at] = amount
        self._at = (self._at + 1) % len(self._full)
