"""Client-side discovery: what one caller process believes of a service, and how late it learns what is true."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field, model_validator

from sim.laws import Constant
from sim.policies.kinds import refuse_foreign
from sim.values import Duration, LawSpec, PositiveDuration, Spec

_INF: Final = math.inf
_NO_TIME: Final = Constant(0.0)
#: When a lookup that failed is made again where nothing is said, and none would follow an answer.
_RETRY_S: Final = 1.0


class Discovery(Spec):
    """How a caller learns which instances there are: it polls, is pushed to, or resolves a name.

    ::

        poll    ask --answer-- refresh_interval --> ask ...     late by refresh_interval/2 on average, refresh_interval at most
        dns     ask --answer-- ttl (or `keeps`) --> ask ...     late by ttl/2, at most ttl
        push    change -- push_delay --> learned                late by push_delay
        cache   on top of all: what callers choose from is copied every so often, and is late by cache/2 more

    Each process has a phase of its own, so that after a crash some learn of it at once and some late. With a publication
    delay P at the source, DNS is late by P + ttl/2 on average and by P + ttl at most. A process that `keeps` an answer for longer
    than the time to live is late by that: a Java process with a security manager keeps it forever. The copy on top is made when a
    call finds the old one to be over; one without instances is not kept.

    When a lookup fails, the process goes on with what it knows (`keep_stale`), or knows nobody (`empty`).
    Not for callers behind a balancer with one fixed address: they have nothing to discover, the balancer has.

    Source: Netflix/eureka@2 TimedSupervisorTask.java (the next fetch is an interval after the end of the last one);
    spring-cloud-commons CachingServiceInstanceListSupplier.java; RFC 1035 (ttl).

    >>> belief = Belief(Discovery(refresh_interval="30s"), [1, 2], u=0.5)
    >>> belief.due_s, belief.learn(15.0, [1]), belief.known(15.0), belief.due_s
    (15.0, True, [1], 45.0)
    """

    preset: str | None = Field(
        None, description="in a scenario: a system whose numbers lie below what is written here; `sim presets` lists them"
    )
    mode: Literal["poll", "push", "dns"] = Field("poll", description="whether the caller asks, is told, or resolves a name")
    refresh_interval: PositiveDuration = Field(30.0, description="poll: from an answer to the next lookup")
    push_delay: LawSpec = Field(_NO_TIME, description="push: from a change at the registry until this process knows it")
    ttl: PositiveDuration = Field(30.0, description="dns: how long an answer may be used")
    keeps: PositiveDuration | Literal["forever"] | None = Field(
        None, description="dns: how long an answer is used instead, whatever its ttl"
    )
    cache: Duration = Field(0.0, description="how long calls use a copy of what was learned; 0: none")
    retry_interval: PositiveDuration | None = Field(
        None, description="from a failed lookup to the next; none: as after an answer, or 1 s where no lookup follows one"
    )
    on_failure: Literal["keep_stale", "empty"] = Field("keep_stale", description="what is believed after a lookup that failed")
    initial: Literal["known", "empty"] = Field(
        "known", description="whether a process begins with what is true, at some phase, or asks first and knows nobody before"
    )

    @property
    def period_s(self) -> float:
        """How long an answer is used before the next lookup, in seconds; infinite where no lookup follows."""
        match self.mode:
            case "poll":
                return self.refresh_interval
            case "dns":
                return _INF if self.keeps == "forever" else self.keeps or self.ttl
        return _INF

    @model_validator(mode="after")
    def _of_one_mode(self) -> Discovery:
        owners = {"refresh_interval": ("poll",), "push_delay": ("push",), "ttl": ("dns",), "keeps": ("dns",)}
        refuse_foreign(self, "discovery", self.mode, owners)
        return self


class Belief:
    """What one process believes of one service. The next lookup is due at `due_s`; each is followed by `learn` or `failed`.

    `known` gives one and the same list until it changes. For dns, `due_s` is when the answer is over: whoever has calls all the
    time asks then, whoever has few asks at the next call.
    """

    __slots__ = (
        "_as_of_s", "_copy", "_empty", "_over_s", "_period_s", "_retry_s", "_view", "_window_s", "due_s",
    )  # fmt: skip

    def __init__(
        self, spec: Discovery, instances: Iterable[int] = (), start_s: float = 0.0, u: float = 1.0, cache_u: float = 1.0
    ) -> None:
        """A process that starts now; `u` and `cache_u` are the uniform phases of its lookups and of its copies."""
        self._period_s = spec.period_s
        usual_s = _RETRY_S if math.isinf(self._period_s) else self._period_s
        self._retry_s = usual_s if spec.retry_interval is None else spec.retry_interval
        self._empty = spec.on_failure == "empty"
        self._window_s = spec.cache
        known = spec.initial == "known"
        self._view: list[int] = list(instances) if known else []
        self._copy = self._view
        self._over_s = start_s + cache_u * spec.cache if known and spec.cache else start_s
        self._as_of_s = -_INF
        #: When it asks next, in seconds; infinite: never by itself.
        self.due_s = start_s + (u * self._period_s if known else 0.0)

    @property
    def cached_until_s(self) -> float:
        """When the copy on top is over; without a cache, always over."""
        return self._over_s if self._window_s else -_INF

    def learn(self, now_s: float, instances: Iterable[int], as_of_s: float | None = None) -> bool:
        """An answer, or a push, of what the registry knew at `as_of_s` (now); whether anything is new.

        What is older than what was learned already changes nothing.
        """
        self.due_s = now_s + self._period_s
        as_of_s = now_s if as_of_s is None else as_of_s
        if as_of_s < self._as_of_s:
            return False
        self._as_of_s = as_of_s
        return self._believe(list(instances))

    def failed(self, now_s: float) -> bool:
        """A lookup got no answer, or the stream of pushes broke; whether anything changes."""
        self.due_s = now_s + self._retry_s
        return self._empty and self._believe([])

    def known(self, now_s: float) -> list[int]:
        """The instances that a call may choose from, in the order of the registry."""
        if not self._window_s:
            return self._view
        if now_s >= self._over_s or not self._copy:
            self._copy = self._view
            self._over_s = now_s + self._window_s
        return self._copy

    def _believe(self, instances: list[int]) -> bool:
        if instances == self._view:
            return False
        self._view = instances
        return True
