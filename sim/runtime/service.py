"""All replicas of a service, and how callers learn of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.kernel.tasks import Steps, Tally
from sim.runtime.replica import Replica, ReplicaOperation
from sim.runtime.reporter import Wanted
from sim.runtime.versions import Rows
from sim.runtime.visit import Target, View
from sim.streams import key

if TYPE_CHECKING:
    from sim.policies.balancing_kinds import Balancing
    from sim.runtime.connections import Pool
    from sim.runtime.log import PartitionedLog
    from sim.runtime.registry import Registry
    from sim.runtime.steps import Plan
    from sim.runtime.world import World
    from sim.scenario.services import Service


class Consumed(Protocol):
    """What replicas take messages from: a queue, or a log through its group."""

    @property
    def ready(self) -> int:
        """Messages that could be worked on."""

    @property
    def at_consumers(self) -> int:
        """Messages that have been handed out, and are not done with."""

    def attach(self, replica: Replica) -> None:
        """Start a replica's consumers."""

    def detach(self, replica: Replica) -> None:
        """End them."""


class ServiceGroup:
    """All replicas of a service, and what callers believe of them (`discovery_delay` late)."""

    def __init__(self, world: World, name: str, spec: Service, slots: int | None = None, zones: list[int] | None = None) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self.tally = Tally()
        self.wanted = Wanted()  # by callers that balance by what replicas say of themselves
        self.alive = spec.replicas
        slots = spec.replicas if slots is None else slots
        self.zones = world.places(spec.zones, slots) if zones is None else zones  # of the replicas; empty without zones
        self.replicas = [Replica(world, self, index) for index in range(slots)]
        self.view = View(list(range(spec.replicas)))  # of all callers, where there is no registry
        self.registry: Registry | None = None
        self.lives: list[tuple[float, int, bool]] = []  # where there is a registry: when a replica died or came back
        self.rows = Rows()  # what `read_version` and `commit` are about
        self.queues: list[Consumed] = []  # whose messages this service consumes
        self.logs: list[PartitionedLog] = []  # to which it may publish
        self.pools: list[Pool] = []  # of connections to its replicas
        self.relay_key = key(world.seed, "relay", name)  # of what publishes from its outbox

    def first_alive(self) -> Replica | None:
        """The replica with the smallest index that is up, if any is."""
        return next((replica for replica in self.replicas if replica.alive), None)

    def report(self, balancing: Balancing) -> None:
        """Let the replicas say of themselves what an edge's balancing wants to know."""
        if self.wanted.add(balancing):
            for replica in self.replicas:
                replica.report(True)

    def changed(self, replica: Replica) -> None:
        """Tell the callers that a replica died or came back: through the registry, or all of them after the discovery delay."""
        if not replica.alive:
            for pool in self.pools:
                pool.lost(replica)
        if self.registry is not None:
            self.lives.append((self.world.now, replica.index, replica.alive))
            self.registry.changed(replica)
        else:
            self.world.tasks.start(self._tell(replica.index, replica.alive))

    def stopping(self, replica: Replica) -> None:
        """Tell the callers that a replica will stop."""
        self.closing(replica)
        if self.registry is not None:
            self.registry.stopping(replica)
        else:
            self.world.tasks.start(self._tell(replica.index, False))

    def closing(self, replica: Replica) -> None:
        """Tell those that are connected to a replica to make no more calls there."""
        for pool in self.pools:
            pool.stopping(replica)

    def _tell(self, index: int, alive: bool) -> Steps:
        if self.spec.discovery_delay > 0:
            yield self.spec.discovery_delay
        others = [i for i in self.view.known if i != index]
        self.view.known = sorted([*others, index]) if alive else others

    def connections_of(self, index: int) -> int:
        """Connections that one of its replicas has let in and that are still there; idle ones whose time is over are not."""
        found = 0
        for pool in self.pools:
            pool.gate.advance(self.world.now)
            found += sum(each.endpoint == index and (each.accepted or each.life >= 0) for each in pool.channels())
        return found

    def spent(self) -> tuple[float, int]:
        """Integral of the workers held so far, in seconds, and visits that got one."""
        return sum(r.pool.busy_worker_s for r in self.replicas), sum(r.served for r in self.replicas)

    def consumers_start(self, replica: Replica) -> None:
        """Let a replica take messages."""
        for queue in self.queues:
            queue.attach(replica)

    def consumers_stop(self, replica: Replica) -> None:
        """Take a replica away from its queues; the messages it holds go back, and those that it has not sent are gone."""
        for queue in self.queues:
            queue.detach(replica)
        for log in self.logs:
            log.process_died(self.name, replica.index)


def operation_target(service: ServiceGroup, plan: Plan) -> Target:
    """One operation at all replicas of its service, as the target of edges."""
    return Target([ReplicaOperation(replica, plan) for replica in service.replicas], service.view)
