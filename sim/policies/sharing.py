"""Processor sharing: everybody is served at the same time, each the slower the more there are."""

from __future__ import annotations

import heapq
import math


class SharingGate:
    """The arithmetic of `cores` processors shared equally: n jobs run at rate min(1, cores / n) each.

    ::

        V(t): service that a job present all the time has had    dV/dt = min(1, cores / n)
        a job of work w that enters at t ends when V = V(t) + w   O(log n) for each entry and end

    That is what an event loop or a preemptive scheduler comes to, where FIFO workers run a few and let the rest wait. Under
    Poisson load with one core the mean time is that of M/M/1, 1 / (μ - λ), whatever the law of the work, and a job of size x
    takes x / (1 - ρ): a short job does not wait for a long one. Not for work that waits for something else than a processor
    (`leave` when it begins to wait), nor for threads that are bound to a core.

    Kleinrock 1967; Kelly, *Reversibility and Stochastic Networks* (1979) for the insensitivity.

    >>> gate = SharingGate(cores=1)
    >>> first = gate.enter(0.0, 1.0)
    >>> second = gate.enter(0.5, 1.0)
    >>> gate.next_end_s(0.5)
    1.5
    >>> gate.ended(1.5) == [first], gate.next_end_s(1.5)
    (True, 2.0)
    """

    __slots__ = ("_cores", "_ended", "_heap", "_jobs", "_next_id", "_now_s", "_served")

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._served = 0.0  # V, at _now_s
        self._now_s = -math.inf  # when the number of jobs changed for the last time
        self._heap: list[tuple[float, int]] = []  # (V at its end, id), also of those who left
        self._jobs: dict[int, tuple[float, float]] = {}  # V at its entry and at its end
        self._ended: dict[int, float] = {}  # the work of those whose end has passed and has not been told
        self._next_id = 0

    def __len__(self) -> int:
        """Jobs that are being served."""
        return len(self._jobs)

    def enter(self, now_s: float, work_s: float) -> int:
        """A job begins that would take `work_s` alone; its id. `now_s` must not fall between calls."""
        self._advance(now_s)
        job = self._next_id
        self._next_id += 1
        self._jobs[job] = (self._served, self._served + work_s)
        heapq.heappush(self._heap, (self._served + work_s, job))
        return job

    def next_end_s(self, now_s: float) -> float:
        """Clock time at which the next job ends if nobody enters or leaves before; infinity without jobs, `now_s` if one has."""
        return now_s if self._ended else max(now_s, self._end_s())

    def ended(self, now_s: float) -> list[int]:
        """The ids of those whose end has come, in order of their ends; each is told once."""
        self._pass_ends(now_s)
        told = list(self._ended)
        self._ended.clear()
        return told

    def leave(self, job: int, now_s: float) -> float:
        """A job is abandoned; the service it has had, in seconds, alone on a core. `ended` does not tell of it any more."""
        self._advance(now_s)
        if job not in self._jobs:
            return self._ended.pop(job)
        entered, end = self._jobs.pop(job)
        if len(self._heap) > 2 * len(self._jobs) + 16:
            self._heap = [entry for entry in self._heap if entry[1] in self._jobs]
            heapq.heapify(self._heap)
        self._drop_gone()
        return min(self._served, end) - entered

    def _rate(self) -> float:
        return min(1.0, self._cores / len(self._jobs))

    def _end_s(self) -> float:
        # From the last change and not from now: the same number each time it is asked, and then it is reached.
        return self._now_s + max(0.0, self._heap[0][0] - self._served) / self._rate() if self._heap else math.inf

    def _pass_ends(self, now_s: float) -> None:
        while self._heap and (end_s := self._end_s()) <= now_s:
            end, job = heapq.heappop(self._heap)
            self._served = max(self._served, end)
            self._now_s = end_s
            entered, _ = self._jobs.pop(job)
            self._ended[job] = end - entered
            self._drop_gone()

    def _advance(self, now_s: float) -> None:
        self._pass_ends(now_s)
        if self._jobs:
            self._served += (now_s - self._now_s) * self._rate()
        self._now_s = now_s

    def _drop_gone(self) -> None:
        while self._heap and self._heap[0][1] not in self._jobs:
            heapq.heappop(self._heap)
