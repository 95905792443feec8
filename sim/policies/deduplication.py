"""Ids that were seen already: what brokers and idempotent consumers forget a repeated message by."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from sim.laws import Constant
from sim.values import LawSpec, PositiveDuration, Spec


class Deduplication(Spec):
    """Remembers ids for `window`, at most `size` of them; the oldest goes first.

    ::

        seen ------------- window ------------> forgotten      (seeing it again in between makes it no younger)

    A store that is too small or a window that is too short lets late repeats pass: after an outage of an hour, repeats are an
    hour old. A broker's store catches a publish that is sent again because its answer was lost. It cannot catch a second
    delivery: that is for the consumer's own store (`Inbox`).

    Source: Amazon SQS FIFO (5 minutes), NATS JetStream (`duplicate_window`, 2 minutes).

    >>> gate = DeduplicationGate(Deduplication(window="5min"))
    >>> gate.remember(7, now_s=0.0)
    >>> gate.knows(7, now_s=299.0), gate.knows(7, now_s=300.0)
    (True, False)
    """

    window: PositiveDuration | Literal["forever"] = Field("forever", description="how long an id is remembered")
    size: Annotated[int, Field(ge=1, le=10**9)] | Literal["unbounded"] = Field(
        "unbounded", description="ids that are remembered at most; the oldest are forgotten first"
    )


class Inbox(Deduplication):
    """Ids of the messages that a consumer has dealt with, written together with their effect: effectively once.

    Whoever finds its id does only `work`. Of two deliveries at work at the same time the one that is ready first has the effect;
    the other finds the id when it wants to write its own, and has none. All replicas share the store, as a table in the
    database behind them. Not needed where doing it twice does no harm.

    Source: the transactional inbox (idempotent consumer) of Richardson, "Microservices Patterns", 2018, 3.3.6.
    """

    work: LawSpec = Field(Constant(0.0), description="what a message costs that was dealt with already, a law")


class DeduplicationGate:
    """One store of ids, told the time."""

    __slots__ = ("_seen_s", "_size", "_window_s")

    def __init__(self, spec: Deduplication) -> None:
        self._window_s = inf if spec.window == "forever" else spec.window
        self._size = inf if spec.size == "unbounded" else spec.size
        self._seen_s: OrderedDict[int, float] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        """Ids that it holds."""
        return len(self._seen_s)

    def knows(self, id_: int, now_s: float) -> bool:
        """Whether an id was remembered less than a window ago."""
        seen_s = self._seen_s.get(id_)
        return seen_s is not None and now_s - seen_s < self._window_s

    def remember(self, id_: int, now_s: float) -> None:
        """Remember an id from now on; one that is known keeps its age."""
        seen = self._seen_s
        while seen:
            oldest, seen_s = next(iter(seen.items()))
            if now_s - seen_s < self._window_s:
                break
            del seen[oldest]
        if id_ in seen:
            return
        seen[id_] = now_s
        if len(seen) > self._size:
            seen.popitem(last=False)
