"""A service registry: who is there, as told by heartbeats or by readiness, and when others can read it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from sim.laws import Constant
from sim.policies.zones import Placement
from sim.values import Duration, LawSpec, PositiveDuration, Spec

_INF: Final = math.inf
_NO_TIME: Final = Constant(0.0)
#: Renewals are counted by the minute.
_MINUTE_S: Final = 60.0
#: A real timer is never early; the sums of floats may be.
_SLACK_S: Final = 1e-9
#: What is read only where instances send heartbeats.
_OF_LEASES: Final = (
    "lease_duration", "renewal_adds_lease", "eviction_interval", "max_eviction_percent", "self_preservation_percent",
    "clients_at_start",
)  # fmt: skip

_Count = Annotated[int, Field(ge=1)]
_Percent = Annotated[int, Field(ge=0, le=100)]


class Registry(Spec):
    """Keeps a lease for each instance of a service, and answers who has one; or keeps who is ready.

    ::

        start -- registration_delay --> registered -- heartbeat_interval --> renewed ...            crash
                                                                                 |
        lease        .............................................. lease_duration (twice, with renewal_adds_lease)
        eviction                                                                 ......| the next sweep, every eviction_interval
        answer                                                                         ......| publish_delay, and the next
                                                                                               renewal of the response_cache

    A crashed instance is still in the answer for lease - heartbeat/2 + (eviction_interval + response_cache)/2 on average; what
    callers add is in `Discovery`. A stop with `deregister_on_stop` takes it out at once; so does a crash after `crash_delay`
    where somebody beside the process watches it, and the end of its machine after `vanish_delay`. Without `heartbeat_interval`
    there are no leases: whoever is registered and ready is in the answer, as with Kubernetes.

    Self-preservation: while the renewals of the last whole minute are not more than `self_preservation_percent` of the expected
    ones, (instances + clients_at_start) · 60 s / heartbeat_interval, nothing is evicted: the network is suspected, not the
    instances. One of 6 or fewer instances that crashes is then never evicted at 85 %.

    Not for fixed addresses behind a balancer that checks them itself: those need a `HealthCheck` only.
    Left out: regions, overridden states, the 15-minute correction of the expected renewals.
    Source: Netflix/eureka@2 Lease.java, AbstractInstanceRegistry.java, ResponseCacheImpl.java, MeasuredRate.java.

    >>> gate = RegistryGate(Registry(heartbeat_interval="30s", lease_duration="90s"))
    >>> gate.register(0.0, 7)
    >>> gate.renew(30.0, 7), gate.next_sweep_s, gate.sweep(119.9, []), gate.sweep(120.0, [])
    (True, 120.0, [], [7])
    """

    preset: str | None = Field(
        None, description="in a scenario: a system whose numbers lie below what is written here; `sim presets` lists them"
    )
    heartbeat_interval: PositiveDuration | None = Field(
        30.0, description="time between two renewals by an instance; none: there are no leases, readiness decides"
    )
    lease_duration: PositiveDuration = Field(90.0, description="how long a registration or a renewal is good")
    renewal_adds_lease: bool = Field(
        False, description="whether a renewal is good for twice as long, as in Eureka, where that is a known bug that stays"
    )
    eviction_interval: Duration = Field(0.0, description="time between two sweeps for ended leases; 0: the end is seen at once")
    max_eviction_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        100, description="share of all instances that one sweep evicts at most, rounded up, in random order"
    )
    self_preservation_percent: _Percent = Field(
        0, description="nothing is evicted while no more than this share of the expected renewals arrives; 0: off"
    )
    clients_at_start: Annotated[int, Field(ge=0)] = Field(
        0, description="clients that self-preservation expects beyond those registered; Spring Cloud has 1 where no peer is"
    )
    registration_delay: Duration = Field(0.0, description="from the end of an instance's start to its registration")
    deregister_on_stop: bool = Field(True, description="whether an instance that is stopped, not crashed, says so")
    crash_delay: LawSpec | None = Field(
        None, description="until whoever watches the process says that it has died; none: nobody does, its lease has to end"
    )
    vanish_delay: LawSpec | None = Field(
        None,
        description="until whoever watches the machines says that one has vanished (a silent crash, a zone that is down); none: "
        "nobody does, leases have to end",
    )
    response_cache: Duration = Field(0.0, description="how often the answer to lookups is made anew; 0: always the latest")
    publish_delay: LawSpec = Field(_NO_TIME, description="from a change until readers can see it: a zone or an EndpointSlice")
    nodes: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="nodes of the registry, each with the whole table")
    zones: Placement | None = Field(None, description="zones that the nodes are dealt out to; absent: all `zones`")
    replication_delay: LawSpec = Field(_NO_TIME, description="until the other nodes know what one node was told")
    workers: _Count | Literal["unbounded"] = Field("unbounded", description="lookups that a node handles at once")
    lookup_time: LawSpec = Field(_NO_TIME, description="how long a lookup holds its worker")

    @model_validator(mode="after")
    def _consistent(self) -> Registry:
        if self.heartbeat_interval is None:
            for name in _OF_LEASES:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is read where there are leases only; leave it out, or set a heartbeat_interval")
            return self
        if self.lease_duration <= self.heartbeat_interval:
            raise ValueError(
                f"lease_duration = {self.lease_duration:g} s ends before the next heartbeat comes "
                f"(heartbeat_interval = {self.heartbeat_interval:g} s): instances would come and go; three heartbeats are usual"
            )
        if not self.eviction_interval and (self.max_eviction_percent < 100 or self.self_preservation_percent):
            raise ValueError(
                "max_eviction_percent and self_preservation_percent are rules of a sweep: give an eviction_interval above 0, "
                "or set them to 100 and 0"
            )
        return self


class RegistryGate:
    """The table of one node of a registry. Everything that happens is told in the order of time.

    Sweeps are at start_s + (n + sweep_u) · eviction_interval, renewals of the response cache likewise with cache_u; a node that
    has just started has 1, one that has been there for long a uniform number. The caller calls `sweep` at `next_sweep_s`, which
    renewals may move. A method that changes what readers see takes `delay_s`, a draw of `publish_delay`; where two changes of one
    instance overtake each other, the later change stays. `changes` are (time, instance, whether readers can see it now), without
    the response cache.

    A change at the very time of a renewal of the cache is in the next one.
    """

    __slots__ = (
        "_answer", "_cache_tick", "_expiry_s", "_fresh", "_hidden", "_minute", "_minutes_s", "_pending", "_renewals", "_seen",
        "_sequence", "_shown", "_spec", "_sweep_tick", "_ticks_s", "_visible", "changes",
    )  # fmt: skip

    def __init__(self, spec: Registry, start_s: float = 0.0, sweep_u: float = 1.0, cache_u: float = 1.0) -> None:
        self._spec = spec
        #: Time 0 of the sweeps and of the cache.
        self._ticks_s = start_s + (sweep_u - 1.0) * spec.eviction_interval, start_s + (cache_u - 1.0) * spec.response_cache
        self._sweep_tick = self._cache_tick = 1
        self._expiry_s: dict[int, float] = {}
        self._hidden: set[int] = set()  # not ready when they were last heard of
        self._visible: set[int] = set()  # as it is, before it is published
        self._shown: set[int] = set()  # as it is published
        self._pending: list[tuple[float, int, int, bool]] = []  # (when, sequence, instance, shown)
        self._sequence = 0
        self._seen: dict[int, int] = {}  # the last published change of an instance
        self._fresh: tuple[int, ...] | None = ()  # `_shown` in order, where it has not changed
        self._answer: tuple[int, ...] | None = None  # of the response cache, once somebody has asked
        # The clock of the renewals starts together with that of the sweeps.
        self._minutes_s = self._ticks_s[0]
        self._minute = 0
        self._renewals = [0, 0]  # in the last whole minute, in this one
        self.changes: list[tuple[float, int, bool]] = []

    def __len__(self) -> int:
        """Instances that are registered, ready or not."""
        return len(self._expiry_s)

    def __contains__(self, instance: int) -> bool:
        return instance in self._expiry_s

    def adopt(self, now_s: float, renewed_s: dict[int, float]) -> None:
        """Instances that have been here for long, each with the time of its last renewal, at most one heartbeat ago."""
        heartbeat_s = self._spec.heartbeat_interval
        for instance, last_s in renewed_s.items():
            self._expiry_s[instance] = last_s + self._lease_s(renewal=True)
            self._visible.add(instance)
            self._shown.add(instance)
        self._fresh = None
        if heartbeat_s is None:
            return
        since_s = now_s - 2 * _MINUTE_S
        past = [t - k * heartbeat_s for t in renewed_s.values() for k in range(math.ceil((t - since_s) / heartbeat_s))]
        self._minute = math.floor((since_s - self._minutes_s) / _MINUTE_S)
        for when_s in sorted(past):
            self._count(when_s, 1)
        self._count(now_s, 0)

    def register(self, now_s: float, instance: int, ready: bool = True, delay_s: float = 0.0) -> None:
        """An instance registers, perhaps again: its lease begins anew, and is a single one."""
        self._advance(now_s)
        self._expiry_s[instance] = now_s + self._lease_s(renewal=False)
        (self._hidden.discard if ready else self._hidden.add)(instance)
        self._changed(now_s, instance, delay_s)

    def renew(self, now_s: float, instance: int) -> bool:
        """A heartbeat; False: nobody of that name is known, it has to register again.

        A lease that has ended and was not swept yet lives on.
        """
        self._advance(now_s)
        if instance not in self._expiry_s:
            return False
        self._expiry_s[instance] = now_s + self._lease_s(renewal=True)
        self._count(now_s, 1)
        return True

    def deregister(self, now_s: float, instance: int, delay_s: float = 0.0) -> bool:
        """An instance says that it stops; whether it was known."""
        self._advance(now_s)
        known = self._expiry_s.pop(instance, None) is not None
        if known:
            self._changed(now_s, instance, delay_s)
        return known

    def set_ready(self, now_s: float, instance: int, ready: bool, delay_s: float = 0.0) -> bool:
        """What a check says of a registered instance; whether that is news. Of one that is not registered it says nothing."""
        self._advance(now_s)
        if instance not in self._expiry_s or ready == (instance not in self._hidden):
            return False
        (self._hidden.discard if ready else self._hidden.add)(instance)
        self._changed(now_s, instance, delay_s)
        return True

    @property
    def next_sweep_s(self) -> float:
        """When `sweep` is due: at the next tick, or without an interval when the first lease ends; infinite: never."""
        if self._spec.heartbeat_interval is None:
            return _INF
        if not self._spec.eviction_interval:
            return min(self._expiry_s.values(), default=_INF)
        return self._ticks_s[0] + self._sweep_tick * self._spec.eviction_interval

    def sweep(self, now_s: float, us: Iterable[float], delay_s: float = 0.0) -> list[int]:
        """Evict those whose lease has ended; where the rules allow fewer, uniform numbers choose them, one number each."""
        self._advance(now_s)
        interval_s = self._spec.eviction_interval
        if interval_s:
            self._sweep_tick = _tick_after(now_s + _SLACK_S, self._ticks_s[0], interval_s)
        ended = [instance for instance, expiry_s in self._expiry_s.items() if expiry_s <= now_s + _SLACK_S]
        everybody = len(self._expiry_s)
        room = 0 if self.preserving else everybody - everybody * (100 - self._spec.max_eviction_percent) // 100
        if room < len(ended):
            ended = _drawn(ended, room, us)
        for instance in ended:
            del self._expiry_s[instance]
            self._changed(now_s, instance, delay_s)
        return ended

    @property
    def preserving(self) -> bool:
        """Whether self-preservation forbids evictions, as of the last time that was told."""
        percent, heartbeat_s = self._spec.self_preservation_percent, self._spec.heartbeat_interval
        if not percent or heartbeat_s is None or not self._expiry_s:
            return False
        expected = (len(self._expiry_s) + self._spec.clients_at_start) * (_MINUTE_S / heartbeat_s)
        # Where so few are expected that the threshold is 0, Eureka never evicts.
        threshold = int(expected * percent / 100)
        return threshold == 0 or self._renewals[0] <= threshold

    def instances(self, now_s: float) -> tuple[int, ...]:
        """The answer to a reader, in ascending order: as published, or as it was when the response cache was last renewed."""
        self._advance(now_s)
        if self._answer is None or not self._spec.response_cache:
            self._answer = self._published()
        return self._answer

    def published(self, now_s: float) -> tuple[int, ...]:
        """The same without the response cache: what is pushed to readers."""
        self._advance(now_s)
        return self._published()

    @property
    def next_publication_s(self) -> float:
        """When the next change becomes visible that has happened already; infinite: there is none."""
        return self._pending[0][0] if self._pending else _INF

    def _lease_s(self, renewal: bool) -> float:
        if self._spec.heartbeat_interval is None:
            return _INF
        return self._spec.lease_duration * (2 if renewal and self._spec.renewal_adds_lease else 1)

    def _count(self, now_s: float, renewals: int) -> None:
        """Renewals are counted in whole minutes, and only the last whole one is looked at."""
        minute = math.floor((now_s + _SLACK_S - self._minutes_s) / _MINUTE_S)
        if minute > self._minute:
            self._renewals = [self._renewals[1] if minute == self._minute + 1 else 0, 0]
            self._minute = minute
        self._renewals[1] += renewals

    def _published(self) -> tuple[int, ...]:
        if self._fresh is None:
            self._fresh = tuple(sorted(self._shown))
        return self._fresh

    def _changed(self, now_s: float, instance: int, delay_s: float) -> None:
        visible = instance in self._expiry_s and instance not in self._hidden
        if visible == (instance in self._visible):
            return
        (self._visible.add if visible else self._visible.discard)(instance)
        self._sequence += 1
        if delay_s:
            heappush(self._pending, (now_s + delay_s, self._sequence, instance, visible))
        else:
            self._publish(now_s, self._sequence, instance, visible)

    def _publish(self, when_s: float, sequence: int, instance: int, visible: bool) -> None:
        if sequence < self._seen.get(instance, 0):
            return  # overtaken
        self._seen[instance] = sequence
        if visible != (instance in self._shown):
            (self._shown.add if visible else self._shown.discard)(instance)
            self._fresh = None
            self.changes.append((when_s, instance, visible))

    def _advance(self, now_s: float) -> None:
        """What happens by time alone: minutes, publications, renewals of the response cache."""
        while self._pending and self._pending[0][0] <= now_s:
            when_s, sequence, instance, visible = heappop(self._pending)
            self._renew_answer(when_s)
            self._publish(when_s, sequence, instance, visible)
        self._renew_answer(now_s)
        self._count(now_s, 0)

    def _renew_answer(self, now_s: float) -> None:
        interval_s = self._spec.response_cache
        if interval_s and now_s >= self._ticks_s[1] + self._cache_tick * interval_s:
            self._cache_tick = _tick_after(now_s, self._ticks_s[1], interval_s)
            if self._answer is not None:
                self._answer = self._published()


def _tick_after(now_s: float, zero_s: float, interval_s: float) -> int:
    """The first tick later than now; products, so that ticks do not drift."""
    tick = int((now_s - zero_s) / interval_s)
    while zero_s + tick * interval_s <= now_s:
        tick += 1
    return tick


def _drawn(among: Sequence[int], count: int, us: Iterable[float]) -> list[int]:
    """So many of them, without replacement."""
    left, uniform = list(among), iter(us)
    for i in range(count):
        j = i + int(next(uniform) * (len(left) - i))
        left[i], left[j] = left[j], left[i]
    return left[:count]
