"""Zones in the choice of an endpoint: which of those that are usable a caller process considers, given where each of them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from sim.policies.balancing import Balancer, Indices
from sim.policies.kinds import refuse_foreign
from sim.streams import child, salt, uniform
from sim.values import Name, Spec

#: Envoy counts shares of hosts in ten-thousandths, rounded down.
_WHOLE: Final = 10_000
#: The largest share of a zone.
_MOST: Final = 1000
#: The zone of who is in none, and in the place of a zone: all endpoints.
OUTSIDE: Final = -1

_ENABLED, _LOCAL, _REST = (salt("zones", name) for name in ("enabled", "local", "rest"))
_Kind = Literal["same_zone_first", "zone_aware"]
_OWNERS: Final = {"min_cluster_size": ("zone_aware",), "routing_enabled_percent": ("zone_aware",)}


def _as_shares(value: Any) -> Any:
    if isinstance(value, str):
        return {value: 1}
    if isinstance(value, list | tuple) and not all(isinstance(zone, str) for zone in value):
        odd = next(zone for zone in value if not isinstance(zone, str))
        raise ValueError(f"{odd!r} is not the name of a zone; write a list of names, or shares, such as {{a: 4, b: 2}}")
    if isinstance(value, list | tuple) and len(set(map(str, value))) < len(value):
        named = ", ".join(map(str, value))
        raise ValueError(f"{named} names a zone twice; to put more there, write shares, such as {{a: 4, b: 2}}")
    if isinstance(value, Mapping):
        for zone, share in value.items():
            if isinstance(share, bool) or not isinstance(share, int) or not 1 <= share <= _MOST:
                raise ValueError(f"the share of {zone} should be a whole number from 1 to {_MOST}, not {share!r}")
    return dict.fromkeys(value, 1) if isinstance(value, list | tuple) else value


#: In which zones something is: a zone, a list of them (equal shares), or shares by zone.
Placement = Annotated[dict[Name, Annotated[int, Field(ge=1, le=_MOST)]], BeforeValidator(_as_shares), Field(min_length=1)]


def dealt(shares: Mapping[str, int], count: int) -> list[str]:
    """The zone of each of `count` things by index: dealt out in turn, in proportion to the shares and evenly mixed.

    At each turn the zone that lacks most gets one; of equals the first. So any number of them is within one of its shares, and
    whatever comes later (a higher index) is dealt on from there.

    >>> dealt({"a": 1, "b": 1, "c": 1}, 4), dealt({"a": 4, "b": 2}, 6)
    (['a', 'b', 'c', 'a'], ['a', 'b', 'a', 'a', 'b', 'a'])
    """
    total = sum(shares.values())
    owed = dict.fromkeys(shares, 0)
    found = []
    for _ in range(count):
        for zone, share in shares.items():
            owed[zone] += share
        chosen = max(owed, key=lambda zone: owed[zone])
        owed[chosen] -= total
        found.append(chosen)
    return found


class ZoneRouting(Spec):
    """Which zones a caller process considers, before its `balancing` chooses among the endpoints there. A bare word is the kind.

    ::

        same_zone_first   those in its own zone, if one is usable there; else all
        zone_aware        as many calls to its own zone as leave all endpoints the same load; the rest to zones with room

    `zone_aware` is Envoy's rule. With u the zone's share of the usable endpoints and o its share of the callers (the
    originating cluster: replicas of the calling service, or proxies of the tier, that the process knows of), both in
    ten-thousandths, rounded down:

    ::

        own zone        u >= o > 0:  all calls                   u < o:  a share u / o of them
        other zones     the rest of the calls, in proportion to what they have left:  max(0, u - o)

    It assumes that callers have equal load, wherever they are. It does nothing (all endpoints are considered) with fewer than
    `min_cluster_size` usable endpoints, with endpoints or callers in one zone only, or in the panic of `outlier_detection` or of
    a `health_check`. Envoy has it with round robin, least request and random, not with hashing.

    `same_zone_first` looks at nothing but what is there: with two thirds of the callers in a zone that has a third of the
    endpoints these get twice the load of the mean. What is usable is what the process has been told of, less what its health
    checks, outlier detection and breakers leave out. Not for few endpoints per zone: a zone that loses one of its two has half
    its capacity, and no call goes elsewhere.

    A caller outside of all zones considers all endpoints. A `subset_size` is drawn before, from all endpoints that are known.

    Source: envoy@1.40 load_balancer_impl.cc, ZoneAwareLoadBalancerBase; kubernetes KEP-4444 and KEP-3015 (trafficDistribution:
    PreferSameZone, formerly PreferClose); spring-cloud-commons ZonePreferenceServiceInstanceListSupplier.
    """

    kind: _Kind = Field(description="the rule")
    min_cluster_size: Annotated[int, Field(ge=1)] = Field(
        6, description="zone_aware: with fewer usable endpoints all of them are considered"
    )
    routing_enabled_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        100, description="zone_aware: share of the calls to which the rule applies; the others consider all endpoints"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_kind(cls, data: Any) -> Any:
        if isinstance(data, str) and data not in get_args(_Kind):
            raise ValueError(f"{data!r} is no rule for zones; write {' or '.join(get_args(_Kind))}")
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _fits(self) -> ZoneRouting:
        refuse_foreign(self, "zone_routing", self.kind, _OWNERS)
        return self

    @model_serializer(mode="wrap", when_used="json")
    def _short(self, full: Callable[[Any], dict[str, Any]]) -> Any:
        said = full(self)
        return said["kind"] if set(said) == {"kind"} else said


class ZoneGate:
    """One caller process's choice of a zone, for each attempt. Zones are numbers; `OUTSIDE` is none.

    >>> gate = ZoneGate(ZoneRouting(kind="same_zone_first"), 1, [0, 1, 1])
    >>> gate.narrow([0, 1, 2], [0, 1, 2], 0), gate.source, gate.narrow([0, 1, 2], [0], 0), gate.source
    ([1, 2], 1, [0], -1)
    """

    __slots__ = (
        "_all", "_by_zone", "_fellow_zones", "_fellows", "_known", "_local_share", "_residual", "_spec", "_usable", "_zone",
        "_zones", "fellows", "source",
    )  # fmt: skip

    def __init__(
        self,
        spec: ZoneRouting,
        zone: int,
        zones: list[int],
        fellow_zones: list[int] | None = None,
        fellows: Callable[[float], Indices] | None = None,
    ) -> None:
        """A process in a zone.

        Args:
            spec: the rule.
            zone: where the process is.
            zones: of the endpoints, by index.
            fellow_zones: of the processes of the originating cluster, by index; for zone_aware.
            fellows: which of these the process knows of at a time in seconds.
        """
        self._spec = spec
        self._zone = zone
        self._zones = zones
        self._fellow_zones = fellow_zones or []
        self._all: Indices = list(range(len(self._fellow_zones)))
        self.fellows = fellows if fellows is not None else lambda now_s: self._all
        self._known: Indices | None = None  # what was looked at last, as the three lists below
        self._usable: Indices | None = None
        self._fellows: Indices | None = None
        self._by_zone: dict[int, Indices] = {}
        self._local_share = _WHOLE  # of the calls that stay in the zone, in ten-thousandths; -1: the rule does not apply
        self._residual: list[tuple[int, int]] = []  # sums of what is left, and the zones
        self.source = OUTSIDE  # the zone that was chosen last

    def narrow(self, known: Indices, usable: Indices, bits: int, fellows: Indices | None = None) -> Indices:
        """The endpoints to choose from, a list that is the same as long as the endpoints are; `source` says of which zone."""
        if usable is not self._usable or known is not self._known or fellows is not self._fellows:
            self._known, self._usable, self._fellows = known, usable, fellows
            self._look(known, usable, fellows)
        self.source = self._choose(bits)
        return usable if self.source == OUTSIDE else self._by_zone[self.source]

    def all_of(self, usable: Indices) -> Indices:
        """No zone is chosen: in panic."""
        self.source = OUTSIDE
        return usable

    def _look(self, known: Indices, usable: Indices, fellows: Indices | None) -> None:
        self._by_zone = {}
        for endpoint in usable:
            self._by_zone.setdefault(self._zones[endpoint], []).append(endpoint)
        if self._zone == OUTSIDE:
            self._local_share = -1
        elif self._spec.kind == "same_zone_first":
            self._local_share = _WHOLE if self._zone in self._by_zone else -1
        else:
            self._measure({self._zones[i] for i in known}, len(usable), self._all if fellows is None else fellows)

    def _measure(self, zones: set[int], count: int, fellows: Indices) -> None:
        """Shares of the zones, and what each has left."""
        callers = Counter(self._fellow_zones[i] for i in fellows)
        self._local_share, self._residual = -1, []
        if len(zones) < 2 or len(callers) < 2 or not callers[self._zone] or count < self._spec.min_cluster_size:
            return
        known = len(fellows)
        share = {zone: (_WHOLE * len(i) // count, _WHOLE * callers[zone] // known) for zone, i in self._by_zone.items()}
        upstream, local = share.get(self._zone, (0, 0))
        if upstream > 0 and upstream >= local:
            self._local_share = _WHOLE
            return
        self._local_share = upstream * _WHOLE // local if local else 0
        total = 0
        for zone in sorted(self._by_zone):
            room = share[zone][0] - share[zone][1]
            if zone != self._zone and room > 0:
                total += room
                self._residual.append((total, zone))

    def _choose(self, bits: int) -> int:
        if self._local_share < 0:
            return OUTSIDE
        spec = self._spec
        if spec.routing_enabled_percent < 100 and uniform(child(bits, _ENABLED)) * 100 >= spec.routing_enabled_percent:
            return OUTSIDE
        if self._local_share == _WHOLE or int(uniform(child(bits, _LOCAL)) * _WHOLE) < self._local_share:
            return self._zone
        u = uniform(child(bits, _REST))
        if not self._residual:  # by rounding, hardly ever: any of the zones
            return sorted(self._by_zone)[int(u * len(self._by_zone))]
        drawn = int(u * self._residual[-1][0])
        return next(zone for total, zone in self._residual if drawn < total)


class Zoned(Balancer):
    """A balancing rule over the endpoints of the zone that a `ZoneGate` chooses for each attempt.

    A rule that does not learn has a state of its own for each zone and for all of them together, as Envoy's has; one that learns
    has one state, since what it knows is about endpoints.
    """

    learns = True

    def __init__(self, make: Callable[[], Balancer], gate: ZoneGate) -> None:
        self._make = make
        self._gate = gate
        self._rule = make()
        self._apart = not self._rule.learns
        self._rules: dict[int, Balancer] = {OUTSIDE: self._rule}
        self._known: Indices = []
        self._fellows: Indices = []
        self.counts = self._rule.counts
        self.probes_endpoints = self._rule.probes_endpoints

    def look(self, now_s: float, key: int, known: Indices) -> Indices:
        """What the rule uses of it, in whatever zone."""
        self._known = self._rule.look(now_s, key, known) if self._rule.learns else known
        self._fellows = self._gate.fellows(now_s)
        return self._known

    def narrow(self, endpoints: Indices, panic: bool, bits: int) -> Indices:
        """The endpoints of the zone that is chosen, of those that are usable."""
        return self._gate.all_of(endpoints) if panic else self._gate.narrow(self._known, endpoints, bits, self._fellows)

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Choose a zone, and an endpoint there."""
        return self.pick_in(self.narrow(endpoints, False, bits), in_flight, bits)

    def pick_in(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Choose one of the endpoints of the zone that has been chosen."""
        rule = self._rule
        if self._apart:
            source = self._gate.source
            rule = self._rules.get(source) or self._rules.setdefault(source, self._make())
        return rule.pick(endpoints, in_flight, bits)

    def sent(self, endpoint: int, now_s: float) -> None:
        """Pass it on."""
        if self._rule.learns:
            self._rule.sent(endpoint, now_s)

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """Pass it on."""
        if self._rule.learns:
            self._rule.settled(endpoint, now_s, latency_s, outcome, report)

    def probes(self) -> Iterable[int]:
        """Pass it on."""
        found: Iterable[int] = self._rule.probes()
        return found

    def heard(self, endpoint: int, now_s: float, report: object) -> None:
        """Pass it on."""
        self._rule.heard(endpoint, now_s, report)
