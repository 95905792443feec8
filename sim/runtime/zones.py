"""Zones in motion: who is where, what lies between, what is cut off or down, and how many calls go from where to where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations
from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.laws import sampler
from sim.policies.zones import OUTSIDE, ZoneGate, dealt
from sim.records import GOOD
from sim.runtime.network import Disturbance, Line
from sim.streams import child, key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.runtime.replica import Replica
    from sim.runtime.service import ServiceGroup
    from sim.runtime.visit import Edge
    from sim.runtime.world import World

Mend = Callable[[], None]


class ZoneSide:
    """An edge as the caller processes in one zone see it: what lies between them and each endpoint, there and back."""

    __slots__ = ("_edge", "_zoning", "back", "there", "zone", "zones")

    def __init__(self, zoning: Zoning, edge: Edge, zone: int, zones: list[int]) -> None:
        self._zoning = zoning
        self._edge = edge
        self.zone = zone
        self.move(zones)

    def move(self, zones: list[int]) -> None:
        """The endpoints are in these zones now."""
        zoning, zone = self._zoning, self.zone
        self.zones = zones
        self.there: list[Line | None] = [zoning.crossing(zone, other) for other in zones]
        self.back: list[Line | None] = [zoning.crossing(other, zone) for other in zones]

    def count(self, endpoint: int, sent_s: float, outcome: int) -> None:
        """An attempt is over; without an endpoint, there was none to be chosen."""
        zoning = self._zoning
        if not zoning.from_s <= sent_s < zoning.until_s:
            return
        to = OUTSIDE if endpoint < 0 else self.zones[endpoint]
        of = self._edge.caller_code, self._edge.target_code, self.zone, to, int(zoning.troubled_at(sent_s))
        found = zoning.calls.setdefault(of, [0, 0])
        found[0] += 1
        found[1] += outcome in GOOD


class Zoning:
    """The zones of a scenario, as numbers. Made only where there are any."""

    def __init__(self, world: World) -> None:
        scenario = world.scenario
        self.world = world
        self.names = scenario.zones
        numbers = range(len(self.names))
        #: What a message from one zone to another passes besides the line between the two services, by direction.
        self._crossings = {
            (one, other): Line(scenario.zone_link(self.names[one], self.names[other])) for one, other in permutations(numbers, 2)
        }
        self._cuts = dict.fromkeys(self._crossings, 0)  # partitions between two zones
        self._sides: dict[tuple[str, str, int], Edge] = {}
        self._trouble: list[list[float]] = []  # from when to when a zone was down, or cut off
        self._boots: dict[tuple[str, int], int] = {}
        self.from_s, self.until_s = scenario.run.warmup, scenario.run.end
        #: Attempts and good ones: by codes of caller and target, zones of both, and whether there was trouble.
        self.calls: dict[tuple[int, int, int, int, int], list[int]] = {}
        self._clients = self.places(scenario.load.zones, scenario.load.clients, outside=True)

    def places(self, shares: Mapping[str, int] | None, count: int, outside: bool = False) -> list[int]:
        """Zones of so many things by index; without shares: in all zones alike, or `outside`."""
        if shares is None and outside:
            return [OUTSIDE] * count
        return [self.names.index(zone) for zone in dealt(shares or dict.fromkeys(self.names, 1), count)]

    def zones_of(self, name: str) -> list[int]:
        """Of the processes of a service or group of proxies, or of the clients, by index."""
        group = self.world.services.get(name) or self.world.proxies.get(name)
        return self._clients if group is None else group.zones

    def crossing(self, one: int, other: int) -> Line | None:
        """What lies between two zones in this direction; None within one, and for who is in none."""
        return self._crossings.get((one, other))

    def cut(self, one: int, other: int) -> bool:
        """Whether nothing gets from one zone to another."""
        return self._cuts.get((one, other), 0) > 0

    # Edges.

    def edge(self, edge: Edge, process: int) -> Edge:
        """An edge as one of its caller processes sees it."""
        zone = self.zones_of(edge.names[0])[process]
        found = self._sides.get((*edge.names, zone))
        if found is None:
            zones = self.world.edges.zones_of_target(edge)
            found = self._sides[(*edge.names, zone)] = edge.on_side(self.world, ZoneSide(self, edge, zone, zones))
        return found

    def moved(self) -> None:
        """A queue is led from elsewhere now."""
        for side in self._sides.values():
            assert side.zone is not None
            side.zone.move(self.world.edges.zones_of_target(side))

    def gate(self, edge: Edge, process: int) -> ZoneGate | None:
        """How a caller process chooses zones on an edge; None where it does not."""
        spec, side = edge.policy.zone_routing, edge.zone
        if spec is None or side is None:
            return None
        caller = edge.names[0]
        if spec.kind == "same_zone_first":
            return ZoneGate(spec, side.zone, side.zones)
        group = self.world.services.get(caller) or self.world.proxies.get(caller)
        if group is None:
            return ZoneGate(spec, side.zone, side.zones, self._clients)
        return ZoneGate(spec, side.zone, side.zones, group.zones, self._fellows(edge, group, process))

    def _fellows(self, edge: Edge, group: ServiceGroup, process: int) -> Callable[[float], list[int]]:
        """What a process believes of its own service, in the way in which it learns of the one that it calls."""
        view = self.world.own_view(group, edge.names[0], process, edge.policy.discovery)

        def look(now_s: float) -> list[int]:
            if now_s >= view.until_s:
                view.renew(now_s)
            return view.known

        return look

    def record(self) -> None:
        """Write how many calls went from where to where."""
        for (caller, target, one, other, troubled), (attempts, good) in sorted(self.calls.items()):
            self.world.recorder.zone_calls((caller, target), (one, other), troubled, attempts, good)

    # Trouble.

    def troubled_at(self, time_s: float) -> bool:
        """Whether a zone was down or cut off then."""
        return any(start_s <= time_s < end_s for start_s, end_s in self._trouble)

    def _begin_trouble(self) -> Mend:
        span = [self.world.now, float("inf")]
        self._trouble.append(span)

        def end() -> None:
            span[1] = self.world.now

        return end

    def outage(self, name: str, silent: bool) -> Mend:
        """All that is in a zone goes down; return how it comes back."""
        world, zone = self.world, self.names.index(name)
        mends = [self._begin_trouble()]
        tiers = [proxy.group for proxy in world.tiers()]
        for group in (*world.services.values(), *tiers):
            mends += [self._fell(replica, silent) for replica in group.replicas if group.zones[replica.index] == zone]
        for registry in world.registries.values():
            mends.append(registry.outage([node for node in registry.nodes if node.zone == zone]))
        for broker in world.brokers.values():
            mends.append(broker.outage([i for i, other in enumerate(broker.zones) if other == zone]))
        mends += [queue.outage() for queue in world.all_queues() if queue.spec.broker is None and queue.zone == zone]
        mends += [log.outage() for log in world.logs.values() if log.spec.broker is None and log.place == zone]
        return _all(mends)

    def _fell(self, replica: Replica, silent: bool) -> Mend:
        """A replica's machine goes; when it is back, the replica starts up again."""
        replica.crash(silent)
        group = replica.service

        def boot() -> None:
            name = group.name, replica.index
            number = self._boots[name] = self._boots.get(name, 0) + 1
            start_key = child(key(self.world.seed, "start up", group.name, "zone", replica.index), number)
            delay_s = sampler(group.spec.start_up).draw(start_key)
            if delay_s > 0:
                self.world.tasks.start(_later(delay_s, replica.restart))
            else:
                replica.restart()

        return boot

    def partition(self, parts: Iterable[Iterable[str]]) -> Mend:
        """Nothing gets from one part to another; return how it heals."""
        numbers = [[self.names.index(zone) for zone in part] for part in parts]
        pairs = [(a, b) for one, other in permutations(numbers, 2) for a in one for b in other]
        wall = Disturbance(None, 0.0, True)
        ended = self._begin_trouble()
        for pair in pairs:
            self._cuts[pair] += 1
            self._crossings[pair].disturbances.append(wall)
        self._looked()

        def heal() -> None:
            ended()
            for pair in pairs:
                self._cuts[pair] -= 1
                self._crossings[pair].disturbances.remove(wall)
            self._looked()
            for registry in self.world.registries.values():
                registry.healed()

        return heal

    def _looked(self) -> None:
        for broker in self.world.brokers.values():
            broker.look()

    def __repr__(self) -> str:
        return f"<Zoning {', '.join(self.names)}; {sum(self._cuts.values())} ways cut>"


def _later(delay_s: float, act: Mend) -> Steps:
    yield delay_s
    act()


def _all(mends: list[Mend]) -> Mend:
    def mend() -> None:
        for each in mends:
            each()

    return mend
