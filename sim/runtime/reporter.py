"""What a replica says of itself to callers that balance by it: with its answers, when it is asked, and when it becomes idle."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Steps, Tasks
from sim.policies.balancing_kinds import Balancing
from sim.policies.prequal import LatencyMemory, ProbeReport
from sim.policies.reported import LoadMeter
from sim.records import DEGRADED, OK, REJECTED
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.caller import Caller
    from sim.runtime.service import ServiceGroup
    from sim.runtime.visit import Visit

_IDLE, _BACK = (salt("reporter", name) for name in ("idle", "back"))


class Wanted:
    """What the callers of a service want to know of its replicas. Of several report windows the longest holds for all."""

    __slots__ = ("latencies", "listeners", "window_s")

    def __init__(self) -> None:
        self.window_s = 0.0  # what reports of utilisation average over; 0: nobody wants any
        self.latencies = False  # whether somebody asks
        self.listeners: list[Caller] = []  # those to whom idle replicas announce themselves

    def add(self, balancing: Balancing) -> bool:
        """What an edge's balancing needs; whether that is anything."""
        if balancing.kind == "utilisation":
            self.window_s = max(self.window_s, balancing.report_window)
        elif balancing.kind == "prequal":
            self.latencies = True
        return balancing.wants_report


class Reporter:
    """One replica's reports, in one life of its process."""

    __slots__ = ("_index", "_key", "_latencies", "_meter", "_pool", "_tasks", "_wanted", "announced")

    def __init__(self, tasks: Tasks, service: ServiceGroup, pool: Pool, index: int, process_key: int, announced: int) -> None:
        spec, wanted = service.spec, service.wanted
        workers = inf if spec.workers == "unlimited" else spec.workers
        self._tasks = tasks
        self._pool = pool
        self._wanted = wanted
        self._index = index
        self._key = child(process_key, _IDLE)
        self.announced = announced  # how often it has said that it is idle, in earlier lives as well
        self._meter = LoadMeter(wanted.window_s, workers, tasks.now_s()) if wanted.window_s > 0 else None
        self._latencies = LatencyMemory() if wanted.latencies else None

    def came(self, visit: Visit) -> None:
        """A visit has arrived: what it finds."""
        visit.found = self._pool.busy + self._pool.waiting

    def began(self) -> None:
        """A worker has taken a visit."""
        if self._meter is not None:
            self._meter.moved(self._tasks.now_s(), self._pool.busy)

    def left(self) -> None:
        """A worker or a place in the line is free; who has nothing to do any more says so."""
        if self._meter is not None:
            self._meter.moved(self._tasks.now_s(), self._pool.busy)
        if self._wanted.listeners and not self._pool.busy:
            self.announce()

    def answered(self, visit: Visit, outcome: int) -> None:
        """An answer leaves, with a report on it if the caller reads it."""
        now_s = self._tasks.now_s()
        if self._latencies is not None and outcome != REJECTED:
            self._latencies.add(visit.found, now_s - visit.received_s)
        if self._meter is not None:
            self._meter.answered(now_s, outcome != OK and outcome != DEGRADED)
            if visit.edge is not None and visit.edge.reports:
                visit.report = self._meter.report(now_s)

    def asked(self) -> ProbeReport:
        """Somebody asks how busy it is."""
        calls = self._pool.busy + self._pool.waiting
        return ProbeReport(calls, self._latencies.median_s(calls) if self._latencies is not None else 0.0)

    def announce(self) -> None:
        """Tell one of those who listen, drawn at random, that this replica is idle."""
        listeners = self._wanted.listeners
        if not listeners:
            return
        self.announced += 1
        bits = child(self._key, self.announced)
        listener = listeners[int(uniform(bits) * len(listeners))]
        self._tasks.start(self._tell(listener, child(bits, _BACK)))

    def _tell(self, listener: Caller, bits: int) -> Steps:
        delay_s = listener.way_back_s(self._index, bits)
        if delay_s < 0:
            return
        if delay_s > 0:
            yield delay_s
        listener.hear(self._index)
