"""Proxies in motion: processes that take calls, and make them in their callers' place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.runtime.service import ServiceGroup, operation_target
from sim.runtime.steps import ForwardStep, Plan, WorkStep
from sim.runtime.visit import Target, View
from sim.scenario.services import Operation
from sim.streams import salt

if TYPE_CHECKING:
    from sim.runtime.visit import Edge
    from sim.runtime.world import World
    from sim.scenario.proxies import Proxy


class ProxyGroup:
    """The processes of a proxy: those of a tier, or those beside the replicas of one calling service."""

    def __init__(
        self, world: World, name: str, group_name: str, spec: Proxy, processes: int, slots: int, zones: list[int] | None = None
    ) -> None:
        self.world = world
        self.name = name  # in the scenario
        self.group_name = group_name  # in tables
        self.spec = spec
        self.group = ServiceGroup(world, group_name, spec.service(processes), slots, zones)
        self._targets: dict[str, Target] = {}
        self._salt = salt("forward")
        self._work = salt("work", 1)

    @property
    def beside(self) -> bool:
        """Whether each process has one of its own."""
        return self.spec.placement == "sidecar"

    def leg(self, to: str) -> str:
        """Name of the way to this proxy for calls of an operation, for tables."""
        return f"{self.group_name}.{to}"

    def target(self, to: str) -> Target:
        """The proxies, as the target of edges for calls of an operation."""
        target = self._targets.get(to)
        if target is None:
            plan = Plan(to, self.world.code(self.leg(to)), Operation(), passes_on=True)
            forward = self.world.edges.of_proxy(self, to)
            plan.steps = (WorkStep(self.spec.work, self._work), ForwardStep(forward, self._salt))
            target = self._targets[to] = operation_target(self.group, plan)
        return target

    def view(self, edge: Edge, process: int) -> View:
        """What a caller process knows of the proxies: its own one, or those of the tier."""
        return View([process]) if self.beside else edge.target.view


def proxy_groups(world: World) -> dict[tuple[str, str], ProxyGroup]:
    """All groups by proxy and calling service; a tier serves all of them, and is there once."""
    found: dict[tuple[str, str], ProxyGroup] = {}
    scenario = world.scenario
    used = {policy.via for policy in scenario.calls.values()}
    clients = scenario.load.clients
    callers = {"client": (clients, clients)}
    callers |= {name: (group.spec.replicas, len(group.replicas)) for name, group in world.services.items()}
    for name, spec in scenario.proxies.items():
        if name not in used:
            continue
        tier = ProxyGroup(world, name, name, spec, spec.replicas, spec.replicas) if spec.placement == "tier" else None
        for caller, (processes, slots) in callers.items():
            zones = None if world.zoning is None else world.zoning.zones_of(caller)
            found[name, caller] = tier or ProxyGroup(world, name, f"{name}@{caller}", spec, processes, slots, zones)
    return found
