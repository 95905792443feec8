"""Queue disciplines: who is next in the line in front of busy workers, and who has waited too long to be worth it."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from sim.policies.kinds import refuse_foreign
from sim.values import PositiveDuration, Spec

DisciplineKind = Literal["fifo", "lifo", "priority", "earliest_deadline", "adaptive_lifo", "codel"]

_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "controlled_delay": ("adaptive_lifo",),
    "lifo_above": ("adaptive_lifo",),
    "target": ("adaptive_lifo", "codel"),
    "interval": ("adaptive_lifo", "codel"),
}


class Discipline(Spec):
    """The order of a line, and how long one may stand in it. A bare word is the kind: `discipline: lifo`.

    ::

        fifo               first come, first served
        lifo               last come, first served
        priority           smallest number first; FIFO among equals; who is being served is not interrupted
        earliest_deadline  whose deadline comes first; those without one last; FIFO among equals
        adaptive_lifo      FIFO while the line is short, LIFO once it has not been empty for `interval`
        codel              FIFO; a wait of at most `interval`, or of `target` once the line has not been empty for `interval`

    FIFO and LIFO have the same mean wait and very different tails: under overload FIFO makes everybody late, LIFO only those
    at the bottom. Adaptive LIFO keeps FIFO's fairness in good times; with `controlled_delay` it also drops, as Facebook runs it,
    those at the bottom for whom nobody waits any more. Controlled delay keeps a burst (it is gone within `interval`) and cuts a
    standing line short. Priorities starve the unimportant under overload; deadlines do not help when nearly all will be missed:
    shed load then (`Shedding`).

    Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015, and HHVM's job queue (`lifo_above` is its lifoSwitchThreshold);
    Cobham 1954 for priorities.
    """

    kind: DisciplineKind = Field("fifo", description="the order in which those who wait are served")
    controlled_delay: bool = Field(False, description="adaptive_lifo: whether waits are limited as by codel")
    lifo_above: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="adaptive_lifo: newest first while more than this many wait; absent: once a line has stood for `interval`",
    )
    target: PositiveDuration = Field(0.005, description="longest wait once a line has stood for `interval`")
    interval: PositiveDuration = Field(0.1, description="how long a line may stand; also the longest wait until then")

    @model_validator(mode="before")
    @classmethod
    def _bare_kind(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _fits(self) -> Discipline:
        refuse_foreign(self, "discipline", self.kind, _OWNERS)
        if self.target > self.interval:
            raise ValueError(
                f"discipline: target = {self.target:g} s must not be longer than interval = {self.interval:g} s: "
                "waits are to be shorter in a standing line"
            )
        return self


class Line:
    """Those who wait, each a hashable thing that stands in the line once. Use `line_of` to make one.

    >>> line = line_of(Discipline(kind="priority"))
    >>> for name, priority in (("b", 2), ("a", 1), ("c", 2)):
    ...     _ = line.append(name, now_s=0.0, priority=priority)
    >>> line.pop(0.0), line.pop(0.0), line.pop(0.0), line.pop(0.0)
    ('a', 'b', 'c', None)
    """

    __slots__ = ()

    def append(self, item: Hashable, now_s: float, priority: int = 0, due_s: float = math.inf) -> float:
        """Join the line; the longest time, in seconds, that this one may wait, or infinity.

        Whoever owns the line enforces it: with a timer and `discard`, or by asking `expired` whenever a worker is free.
        `due_s` is the clock time of its deadline.
        """
        raise NotImplementedError

    def pop(self, now_s: float) -> Any:
        """Take out whoever is next, or None; expired or not."""
        raise NotImplementedError

    def discard(self, item: Hashable) -> None:
        """Take out one who leaves; nothing happens if it has gone already."""
        raise NotImplementedError

    def expired(self, now_s: float) -> list[Any]:
        """Take out those who have waited as long as they may, in order of arrival; they are to be rejected."""
        return []

    def __len__(self) -> int:
        raise NotImplementedError


class _ByArrival(Line):
    """FIFO, LIFO, and what changes between them; every operation takes constant time."""

    __slots__ = ("_items", "_newest_first")

    def __init__(self, newest_first: bool) -> None:
        self._items: OrderedDict[Hashable, None] = OrderedDict()
        self._newest_first = newest_first

    def append(self, item: Hashable, now_s: float, priority: int = 0, due_s: float = math.inf) -> float:
        self._items[item] = None
        return math.inf

    def pop(self, now_s: float) -> Any:
        return self._items.popitem(last=self._newest_first)[0] if self._items else None

    def discard(self, item: Hashable) -> None:
        self._items.pop(item, None)

    def __len__(self) -> int:
        return len(self._items)


class _Standing(_ByArrival):
    """A line that knows since when it has not been empty: adaptive LIFO and controlled delay."""

    __slots__ = ("_adaptive", "_controlled", "_empty_s", "_interval_s", "_lifo_above", "_long", "_short", "_target_s")

    def __init__(self, spec: Discipline) -> None:
        super().__init__(newest_first=False)
        self._adaptive = spec.kind == "adaptive_lifo"
        self._controlled = spec.controlled_delay or spec.kind == "codel"
        self._lifo_above = spec.lifo_above
        self._target_s, self._interval_s = spec.target, spec.interval
        self._empty_s = -math.inf  # when it was empty for the last time
        # When those who wait expire, by how long they may: in each of the two the times only grow.
        self._short: OrderedDict[Hashable, float] = OrderedDict()
        self._long: OrderedDict[Hashable, float] = OrderedDict()

    def append(self, item: Hashable, now_s: float, priority: int = 0, due_s: float = math.inf) -> float:
        if not self._items:
            self._empty_s = now_s
        self._items[item] = None
        if not self._controlled:
            return math.inf
        stands = now_s - self._empty_s > self._interval_s
        limit_s = self._target_s if stands else self._interval_s
        (self._short if stands else self._long)[item] = now_s + limit_s
        return limit_s

    def pop(self, now_s: float) -> Any:
        if not self._items:
            return None
        newest_first = self._adaptive and (
            now_s - self._empty_s > self._interval_s if self._lifo_above is None else len(self._items) > self._lifo_above
        )
        item = self._items.popitem(last=newest_first)[0]
        self._forget(item)
        return item

    def discard(self, item: Hashable) -> None:
        self._items.pop(item, None)
        self._forget(item)

    def _forget(self, item: Hashable) -> None:
        if self._long.pop(item, None) is None:
            self._short.pop(item, None)

    def expired(self, now_s: float) -> list[Any]:
        gone: list[Any] = []
        for class_ in (self._long, self._short):  # those of the long limit came first
            while class_ and next(iter(class_.values())) <= now_s:
                item = class_.popitem(last=False)[0]
                del self._items[item]
                gone.append(item)
        return gone


class _Sorted(Line):
    """Smallest key first, FIFO among equals; O(log n). Those who left stay in the heap until they come up, or are too many."""

    __slots__ = ("_by_deadline", "_entries", "_heap", "_numbers")

    def __init__(self, by_deadline: bool) -> None:
        self._by_deadline = by_deadline
        self._heap: list[tuple[float, int, Hashable]] = []
        self._entries: dict[Hashable, int] = {}  # the number of the entry that is valid
        self._numbers = count()

    def append(self, item: Hashable, now_s: float, priority: int = 0, due_s: float = math.inf) -> float:
        number = next(self._numbers)
        self._entries[item] = number
        heapq.heappush(self._heap, (due_s if self._by_deadline else priority, number, item))
        return math.inf

    def pop(self, now_s: float) -> Any:
        while self._heap:
            _, number, item = heapq.heappop(self._heap)
            if self._entries.get(item) == number:
                del self._entries[item]
                return item
        return None

    def discard(self, item: Hashable) -> None:
        self._entries.pop(item, None)
        if len(self._heap) > 2 * len(self._entries) + 16:
            self._heap = [entry for entry in self._heap if self._entries.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._entries)


def line_of(spec: Discipline) -> Line:
    """An empty line of the given discipline."""
    if spec.kind in ("fifo", "lifo"):
        return _ByArrival(newest_first=spec.kind == "lifo")
    if spec.kind in ("priority", "earliest_deadline"):
        return _Sorted(by_deadline=spec.kind == "earliest_deadline")
    return _Standing(spec)
