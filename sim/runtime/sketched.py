"""Requests without rows: counted, added up and sketched as they end, so that memory does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.records import ENTRY_SUMS, IN_FLIGHT, OUTCOME_SUMS, OUTCOMES, SKETCHED, SKETCHES, Table
from sim.sketch import Sketch

if TYPE_CHECKING:
    import cython

    from sim.runtime.context import Context

#: One table: its columns by name, all of one length.
Columns = dict[str, np.ndarray[Any, Any]]

_OUTCOMES = len(OUTCOMES)


class Cell:
    """The measured requests of one entry with one outcome; times are sums."""

    __slots__ = (
        "backoff", "backoff_s", "ended", "latency", "latency_s", "lost", "lost_s", "measured", "network", "network_s", "queue",
        "queue_s", "service", "service_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.measured = 0
        self.ended = 0
        self.latency_s = self.queue_s = self.service_s = self.network_s = self.backoff_s = self.lost_s = 0.0
        self.latency = Sketch()
        self.queue = Sketch()
        self.service = Sketch()
        self.network = Sketch()
        self.backoff = Sketch()
        self.lost = Sketch()

    def add(self, context: Context, latency_s: float) -> None:
        """Take over where the time of a request went that has ended."""
        self.latency_s += latency_s
        self.queue_s += context.queue_s
        self.service_s += context.service_s
        self.network_s += context.network_s
        self.backoff_s += context.backoff_s
        self.lost_s += context.lost_s
        self.latency.add(latency_s)
        self.queue.add(context.queue_s)
        self.service.add(context.service_s)
        self.network.add(context.network_s)
        self.backoff.add(context.backoff_s)
        self.lost.add(context.lost_s)


class SketchedRequests:
    """All requests of one run.

    Args:
        start_s: when the measured window starts.
        end_s: when it ends.
        names: how many codes of entries there may be.
    """

    def __init__(self, start_s: float, end_s: float, names: int) -> None:
        self._start_s = start_s
        self._end_s = end_s
        self._cells: list[Cell | None] = [None] * (names * _OUTCOMES)
        self._attempts = [0] * names

    def attempt(self, entry: cython.int, arrived_s: float) -> None:
        """An attempt on behalf of a request that arrived at that time."""
        if self._start_s <= arrived_s < self._end_s:
            self._attempts[entry] += 1

    def request(self, context: Context, outcome: cython.int, now_s: float) -> None:
        """A request ended, or is in flight at the end of the run."""
        place: cython.long = context.entry * _OUTCOMES + outcome
        cell = self._cells[place]
        if cell is None:
            cell = self._cells[place] = Cell()
        if outcome != IN_FLIGHT and self._start_s <= now_s < self._end_s:
            cell.ended += 1
        if self._start_s <= context.arrived_s < self._end_s:
            cell.measured += 1
            if outcome != IN_FLIGHT:
                cell.add(context, now_s - context.arrived_s)

    def tables(self) -> dict[str, Columns]:
        """What was counted, see `sim.records`."""
        sums: list[tuple[Any, ...]] = []
        counts: list[tuple[Any, ...]] = []
        for place, cell in enumerate(self._cells):
            if cell is None:
                continue
            entry, outcome = divmod(place, _OUTCOMES)
            parts = [getattr(cell, part) for part in SKETCHED]
            sums.append((entry, outcome, cell.measured, cell.ended, *parts))
            for number, part in enumerate(SKETCHED):
                sketch: Sketch = getattr(cell, part.removesuffix("_s"))
                in_buckets = sketch.counts()
                counts += [(entry, outcome, number, bucket, in_buckets[bucket]) for bucket in in_buckets.nonzero()[0]]
        attempts = [(entry, count) for entry, count in enumerate(self._attempts) if count]
        return {
            OUTCOME_SUMS.name: _columns(OUTCOME_SUMS, sums),
            ENTRY_SUMS.name: _columns(ENTRY_SUMS, attempts),
            SKETCHES.name: _columns(SKETCHES, counts),
        }


def _columns(table: Table, rows: list[tuple[Any, ...]]) -> Columns:
    return {name: np.array([row[place] for row in rows], dtype) for place, (name, dtype) in enumerate(table.dtypes)}
