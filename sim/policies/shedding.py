"""Load shedding: a server refuses some of what it is asked, early and cheaply, to be able to do the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.policies.kinds import refuse_foreign
from sim.values import Duration, PositiveDuration, Ratio, Spec

if TYPE_CHECKING:
    import cython

_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "from_busy": ("utilisation",),
    "all_busy": ("utilisation",),
    "averaged_over": ("utilisation",),
    "max_wait": ("wait",),
    "averaged_calls": ("wait",),
    "per_priority": ("utilisation", "wait"),
    "target": ("dagor",),
    "window": ("dagor",),
    "window_calls": ("dagor",),
    "decrease_ratio": ("dagor",),
    "increase_ratio": ("dagor",),
}
#: Classes of users within a priority, DAGOR's.
_USERS: Final = 128


class Shedding(Spec):
    """Refuse (`rejected`) before a request joins the line. Priority 0 is the most important.

    ::

        utilisation  busy workers, averaged:  0 ------- from_busy ------------------- all_busy ------ 1
                     refused                  nobody    a growing share of requests   everybody
        wait         refused if (waiting + 1) · mean work / workers > max_wait
        dagor        every `window`: mean wait > target?  yes: admit the most important 95 % of what was admitted
                                                          no: 1 % of all that came more than was admitted

    `per_priority` makes both thresholds of `utilisation`, and `max_wait`, smaller by that share for each step of priority:
    the unimportant are refused first. `dagor` finds the level by itself: priority first, then a number per request (give all
    requests of a user the same one, so that some users are served well instead of all badly).

    Why not a shorter line alone: it refuses whoever comes, in order of arrival; and a queue that is always full makes
    everybody wait its whole length. When not: on a server whose workers wait for others (they are all busy, and it has nothing
    to do), use a limit per edge there; and retries of what is refused come on top, use a budget.

    Source: `utilisation` is the scaled trigger of Envoy's overload manager and Netflix's prioritised load shedding (2024), which
    sheds lower priorities at lower utilisation; `wait` is Little's law; `dagor`: Zhou et al., "Overload Control for Scaling
    WeChat Microservices", SoCC 2018 (20 ms, 1 s or 2000 requests, 5 %, 1 %, 128 user levels).

    >>> gate = shedding_gate(Shedding(kind="wait", max_wait="50ms"), workers=2)
    >>> gate.served(0.1)
    >>> [gate.admits(0.0, priority=0, queued=queued, busy_ratio=1.0, u=0.5) for queued in (0, 1)]
    [True, False]
    """

    kind: Literal["utilisation", "wait", "dagor"] = Field(description="what overload is told by")
    from_busy: Ratio = Field(0.8, description="utilisation: share of busy workers from which some are refused")
    all_busy: Ratio = Field(1.0, description="utilisation: share of busy workers at which all are refused")
    averaged_over: Duration = Field(1.0, description="utilisation: time constant of its average; 0: as it is this moment")
    max_wait: PositiveDuration = Field(0.1, description="wait: longest wait that is foreseen for somebody who is let in")
    averaged_calls: Annotated[int, Field(ge=1)] = Field(100, description="wait: requests that make up the mean work")
    per_priority: Ratio = Field(0.0, description="share by which thresholds are smaller for each step of priority")
    target: PositiveDuration = Field(0.02, description="dagor: mean wait above which it is overloaded")
    window: PositiveDuration = Field(1.0, description="dagor: time after which the level is set anew")
    window_calls: Annotated[int, Field(ge=1)] = Field(2000, description="dagor: or after this many requests")
    decrease_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="dagor: share that is admitted less under overload"
    )
    increase_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01, description="dagor: share of all that is admitted more without"
    )

    @model_validator(mode="after")
    def _fits(self) -> Shedding:
        refuse_foreign(self, "shedding", self.kind, _OWNERS)
        if self.from_busy >= self.all_busy:
            raise ValueError(f"shedding: from_busy = {self.from_busy:g} must be smaller than all_busy = {self.all_busy:g}")
        return self


class SheddingGate:
    """The state of one server's shedding; tell it of waits and work as they end. Use `shedding_gate` to make one."""

    __slots__ = ()

    def admits(self, now_s: float, priority: cython.long, queued: cython.long, busy_ratio: float, u: float) -> cython.bint:
        """Whether a request is let in: `queued` wait now, `busy_ratio` of the workers are busy, `u` is a uniform number."""
        raise NotImplementedError

    def started(self, waited_s: float) -> None:
        """A worker took a request that had waited so long (0 if a worker was free)."""

    def served(self, work_s: float) -> None:
        """A request has held its worker for so long."""


class UtilisationGate(SheddingGate):
    """Sheds a share that grows with the share of busy workers, as requests found it lately."""

    __slots__ = ("_all", "_average", "_averaged_s", "_from", "_per_priority", "_seen_s")

    def __init__(self, spec: Shedding) -> None:
        self._from, self._all, self._per_priority = spec.from_busy, spec.all_busy, spec.per_priority
        self._averaged_s = spec.averaged_over
        self._average = 0.0
        self._seen_s = -math.inf

    def admits(self, now_s: float, priority: cython.long, queued: cython.long, busy_ratio: float, u: float) -> cython.bint:
        """Refuse with the probability that belongs to the utilisation; every arrival is a look at it."""
        old = math.exp((self._seen_s - now_s) / self._averaged_s) if self._averaged_s > 0 else 0.0
        self._average += (1 - old) * (busy_ratio - self._average)
        self._seen_s = now_s
        scale = max(0.0, 1 - self._per_priority * priority)
        return u * (self._all - self._from) * scale >= self._average - self._from * scale


class WaitGate(SheddingGate):
    """Sheds those whose wait, as foreseen from the line and the mean work, is too long."""

    __slots__ = ("_max_wait_s", "_mean_s", "_per_priority", "_weight", "_workers")

    def __init__(self, spec: Shedding, workers: float) -> None:
        self._max_wait_s, self._per_priority = spec.max_wait, spec.per_priority
        self._weight = 2 / (spec.averaged_calls + 1)
        self._workers = workers
        self._mean_s = -1.0  # nothing known yet

    def admits(self, now_s: float, priority: cython.long, queued: cython.long, busy_ratio: float, u: float) -> cython.bint:
        """Whoever finds a free worker is let in, and everybody as long as nothing is known of the work."""
        if busy_ratio < 1 or self._mean_s < 0:
            return True
        wait_s = (queued + 1) * self._mean_s / self._workers
        return wait_s <= self._max_wait_s * max(0.0, 1 - self._per_priority * priority)

    def served(self, work_s: float) -> None:
        """Take a time into the average."""
        self._mean_s = work_s if self._mean_s < 0 else self._mean_s + self._weight * (work_s - self._mean_s)


class DagorGate(SheddingGate):
    """Sheds all beyond a level of importance, which follows the mean wait from window to window."""

    __slots__ = ("_admitted", "_came", "_ends_s", "_level", "_spec", "_started", "_total", "_waited_s")

    def __init__(self, spec: Shedding) -> None:
        self._spec = spec
        self._level = math.inf  # the least important level that is admitted
        self._came: dict[int, int] = {}  # requests of this window by level
        self._total = self._admitted = self._started = 0
        self._waited_s = 0.0
        self._ends_s = -math.inf

    def admits(self, now_s: float, priority: cython.long, queued: cython.long, busy_ratio: float, u: float) -> cython.bint:
        """Admit down to the level; `u` is the user's."""
        if now_s >= self._ends_s or self._total >= self._spec.window_calls:
            self._open_window(now_s + self._spec.window)
        level = priority * _USERS + int(u * _USERS)
        self._came[level] = self._came.get(level, 0) + 1
        self._total += 1
        admitted = level <= self._level
        self._admitted += admitted
        return admitted

    def started(self, waited_s: float) -> None:
        """Take a wait into the mean of this window."""
        self._started += 1
        self._waited_s += waited_s

    def _open_window(self, ends_s: float) -> None:
        if self._started or not self._admitted:  # else nothing is known: all who were let in still wait
            overloaded = self._waited_s > self._spec.target * self._started
            self._level = self._lower() if overloaded else self._higher()
        self._came.clear()
        self._total = self._admitted = self._started = 0
        self._waited_s = 0.0
        self._ends_s = ends_s

    def _lower(self) -> float:
        """The level that would have admitted so much less; the most important one that came is never refused."""
        levels = sorted(level for level in self._came if level <= self._level)
        left, aim = self._admitted, (1 - self._spec.decrease_ratio) * self._admitted
        while left > aim and len(levels) > 1:
            left -= self._came[levels.pop()]
        return levels[-1] if levels else self._level

    def _higher(self) -> float:
        """The level that would have admitted so much more."""
        admitted, aim = self._admitted, self._admitted + self._spec.increase_ratio * self._total
        level = self._level
        for higher in sorted(each for each in self._came if each > self._level):
            if admitted >= aim:
                return level
            level = higher
            admitted += self._came[higher]
        return math.inf


def shedding_gate(spec: Shedding, workers: float) -> SheddingGate:
    """The gate of a spec, for a server with so many workers."""
    if spec.kind == "utilisation":
        return UtilisationGate(spec)
    return WaitGate(spec, workers) if spec.kind == "wait" else DagorGate(spec)
