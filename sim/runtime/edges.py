"""Who calls whom in a world: every edge, built once, and what lies on it: lines, a proxy, a protocol, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.runtime.connections import FlowTable, Pool, connected
from sim.runtime.visit import Edge
from sim.runtime.wire import Way, Wire
from sim.streams import key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.runtime.messages import Mailbox
    from sim.runtime.proxy import ProxyGroup
    from sim.runtime.service import ServiceGroup
    from sim.runtime.visit import Target
    from sim.runtime.world import World
    from sim.scenario.calls import CallPolicy


class Edges:
    """Every edge of a world by caller and target.

    Args:
        world: whose services, proxies and network they join.
        targets: what edges lead to, by name.
        mailboxes: queues, topics and logs, by name.
        proxies: by proxy and calling service.
    """

    def __init__(
        self,
        world: World,
        targets: Mapping[str, Target],
        mailboxes: Mapping[str, Mailbox],
        proxies: Mapping[tuple[str, str], ProxyGroup],
    ) -> None:
        self._world = world
        self.targets = targets
        self._mailboxes = mailboxes
        self._proxies = proxies
        self.by_names: dict[tuple[str, str], Edge] = {}
        self.wires: dict[tuple[str, str], Wire] = {}  # of those whose calls have a protocol
        self._ways: dict[tuple[str, str], Way] = {}
        self._pools: dict[tuple[str, int, str], dict[CallPolicy, Pool]] = {}  # by caller process and target: by what is said

    def edge(self, caller: str, to: str) -> Edge:
        """The one edge from a service to a target: all its steps share it, and with it each process's balancer."""
        edge = self.by_names.get((caller, to))
        if edge is None:
            edge = self.by_names[caller, to] = self._new_edge(caller, to)
            fallback = edge.policy.fallback
            if fallback is not None and fallback.call is not None:
                edge.fallback = self.edge(caller, fallback.call)
        return edge

    def of_proxy(self, proxy: ProxyGroup, to: str) -> Edge:
        """The edge from a proxy to an operation. A sidecar's lines are those of the service beside it."""
        name, service = proxy.group_name, to.split(".")[0]
        edge = self.by_names.get((name, to))
        if edge is None:
            policy = self._world.scenario.policy(proxy.name, to)
            place = name.partition("@")[2] if proxy.beside else name, service
            edge = self._joined((name, to), policy, place, self.targets[to], self._world.services[service], to)
            self.by_names[name, to] = edge
        return edge

    def way(self, source: str, destination: str) -> Way:
        """One direction of a link, as protocols see it; the same for all edges between the two."""
        if (source, destination) not in self._ways:
            self._ways[source, destination] = Way(self._world, source, destination)
        return self._ways[source, destination]

    def pool(self, edge: Edge, process: int) -> Pool:
        """A caller process's connections to the target of an edge; operations for which the same is said share them."""
        caller, service = edge.names[0], edge.names[1].split(".")[0]
        own = self._pools.setdefault((caller, process, service), {})
        pool = own.get(edge.policy)
        if pool is None:
            draws = key(self._world.seed, "connections", caller, process, service, len(own))
            group = self._reached(edge)
            names = edge.caller_code, process, self._world.code(group.name)
            kind = FlowTable if self._forwards_connections(caller) else Pool
            pool = own[edge.policy] = kind(edge, group.replicas, draws, names, self.wires.get(edge.names))
            group.pools.append(pool)
        return pool

    def all_pools(self) -> list[Pool]:
        """Of all processes that have made a call over connections."""
        return [pool for own in self._pools.values() for pool in own.values()]

    def zones_of_target(self, edge: Edge) -> list[int]:
        """The zones of an edge's endpoints, by index."""
        mailbox = None if edge.proxied else self._mailboxes.get(edge.names[1])
        return self._reached(edge).zones if mailbox is None else [mailbox.zone]

    def _new_edge(self, caller: str, to: str) -> Edge:
        world, names = self._world, (caller, to)
        policy = world.scenario.policy(caller, to)
        if to in self._mailboxes:
            place = caller, world.scenario.place(to)
            near = to in world.logs  # to the producer in the same process, which sends on
            return self._joined(names, policy, place, self.targets[to], None, to, near=near)
        if policy.via is None:
            service = to.split(".")[0]
            return self._joined(names, policy, (caller, service), self.targets[to], world.services[service], to)
        proxy = self._proxies[policy.via, caller]
        where, place, leg = proxy.target(to), (caller, proxy.name), proxy.leg(to)
        return self._joined(names, policy, place, where, proxy.group, leg, near=proxy.beside, proxied=True)

    def _joined(
        self,
        names: tuple[str, str],
        policy: CallPolicy,
        place: tuple[str, str],
        where: Target,
        group: ServiceGroup | None,
        leg: str,
        *,
        near: bool = False,
        proxied: bool = False,
    ) -> Edge:
        """An edge between the two of `place`, `near` if both are on one machine; `leg` is what tables call its end."""
        network, wire, back = self._world.network, None, place[::-1]
        if group is not None:
            group.report(policy.balancing)
            if policy.connections is not None:
                if policy.protocol is not None and not near:
                    wire = self.wires[names] = Wire(self._world, names, policy, place, proxied)
                where = connected(where, group.replicas, wire)
        if near:
            lines = network.loopback, network.loopback
        elif wire is None:
            lines = network.line(*place), network.line(*back)
        else:
            lines = network.sure_line(*place), network.sure_line(*back)
        codes = self._world.code(names[0]), self._world.code(leg)
        number = sum(source == names[0] for source, _ in self.by_names)
        return Edge(self._world, policy, names, where, *lines, codes, number, proxied)

    def _reached(self, edge: Edge) -> ServiceGroup:
        """Whose replicas an edge leads to: those of a service, or the proxies in between."""
        caller, to = edge.names
        if edge.proxied and edge.policy.via is not None:
            return self._proxies[edge.policy.via, caller].group
        return self._world.services[to.split(".")[0]]

    def _forwards_connections(self, caller: str) -> bool:
        """Whether a caller is a proxy of layer 4."""
        return caller in self._world.proxies and self._world.scenario.proxies[caller.partition("@")[0]].layer == 4
