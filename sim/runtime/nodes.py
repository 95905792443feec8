"""The nodes of a registry: how each is reached, by whom first, and what stands between them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Steps, Tally, Tasks
from sim.laws import sampler
from sim.policies.registry import Registry as RegistrySpec
from sim.policies.registry import RegistryGate
from sim.policies.zones import OUTSIDE
from sim.runtime.network import crossed_s
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.network import Line
    from sim.runtime.registry import OwnView
    from sim.runtime.world import World

_SWEEP, _CACHE = (salt("registry", name) for name in ("sweep", "cache"))
#: What is done to the table of a node about an instance.
Act = Callable[["Node", int], None]


class Node:
    """One node of a registry: its table, the workers that answer, whether it is up, and who wants to be told of changes."""

    def __init__(self, tasks: Tasks, spec: RegistrySpec, node_key: int, tally: Tally, zone: int) -> None:
        self.key = node_key
        self.zone = zone
        self.gate = RegistryGate(spec, 0.0, uniform(child(node_key, _SWEEP)), uniform(child(node_key, _CACHE)))
        self.pool = Pool(tasks, inf if spec.workers == "unbounded" else spec.workers, inf, tally)
        self.outages = 0  # faults that keep it down
        self.era = 0  # how often it went down: what it had begun then is lost
        self.served = 0
        self.writes = 0  # so far; names the draws of a write
        self.told = 0  # changes of the table that those who want to be told know of
        self.readers: list[OwnView] = []
        self.missed: list[tuple[int, Act, Node]] = []  # changes that others could not tell it, in order

    def delay_key(self, purpose: int) -> int:
        """What names the draws of one more write."""
        self.writes += 1
        return child(child(self.key, self.writes), purpose)


class Nodes:
    """All nodes of a registry. Messages to and between them take lines, and cross zones where there are zones."""

    def __init__(self, world: World, name: str, spec: RegistrySpec) -> None:
        self._world = world
        self._name = name
        self.tally = Tally()
        zones = world.places(spec.zones, spec.nodes) or [OUTSIDE] * spec.nodes
        self.each = [
            Node(world.tasks, spec, key(world.seed, "registry", name, i), self.tally, zone) for i, zone in enumerate(zones)
        ]
        self.slow_factors: list[float] = []  # of active faults; they multiply
        self._lookup = sampler(spec.lookup_time)

    def lines(self, service: str) -> tuple[Line, Line]:
        """The ways from a service to the registry and back."""
        network = self._world.network
        return network.line(service, self._name), network.line(self._name, service)

    def zone_of(self, caller: str, process: int) -> int:
        """The zone of a process that reads or writes here."""
        zoning = self._world.zoning
        return OUTSIDE if zoning is None else zoning.zones_of(caller)[process]

    def crossing(self, one: int, other: int) -> Line | None:
        """What lies between two zones."""
        return None if self._world.zoning is None else self._world.zoning.crossing(one, other)

    def cut(self, node: Node, zone: int) -> bool:
        """Whether a partition lies between a node and a zone."""
        return self._world.zoning is not None and self._world.zoning.cut(node.zone, zone)

    def turns(self, index: int, zone: int) -> list[Node]:
        """The nodes in the order in which a replica or process tries them: those in its zone first."""
        count = len(self.each)
        turns = [self.each[(index + i) % count] for i in range(count)]
        return turns if zone == OUTSIDE else sorted(turns, key=lambda node: node.zone != zone)

    def up(self, index: int, zone: int) -> Node | None:
        """The node of a replica or process, or the next one that is up and not cut off from it."""
        turns = self.turns(index, zone)
        return next((node for node in turns if not node.outages and not self.cut(node, zone)), None)

    def reach(self, node: Node, there: Line, zone: int, bits: int) -> Steps:
        """Travel to a node from a zone; whether it is there and up."""
        delay_s = crossed_s(there.travel_s(bits), self.crossing(zone, node.zone), bits)
        if delay_s > 0:
            yield delay_s
        if delay_s < 0 or node.outages:
            return False
        node.served += 1
        return True

    def work(self, node: Node, bits: int) -> Steps:
        """Hold one of the node's workers for a lookup."""
        ticket = None if node.pool.take() else node.pool.line_up()
        try:
            if ticket is not None:
                yield ticket
            duration_s = self._lookup.draw(bits) * prod(self.slow_factors)
            if duration_s > 0:
                yield duration_s
        finally:
            if ticket is None or ticket.granted:
                node.pool.free()
            else:
                node.pool.leave(ticket)
