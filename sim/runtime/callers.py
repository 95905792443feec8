"""The caller that a process needs on an edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.runtime.caller import Caller
from sim.runtime.connected import ConnectedCaller
from sim.runtime.guarded import GuardedCaller
from sim.runtime.wired import WiredCaller

if TYPE_CHECKING:
    import cython

    from sim.runtime.visit import Edge
    from sim.runtime.world import World


def new_caller(
    world: World, edge: Edge, process_key: cython.ulonglong, process: cython.long, callers: Callable[[Edge], Caller]
) -> Caller:
    """A process's caller on an edge, as plain as its policy lets it be; `callers` are the same process's on other edges."""
    caller: Caller
    edge = world.edge_from(edge, process)
    service = world.services.get(edge.names[1].split(".")[0])
    if edge.names in world.edges.wires:
        caller = WiredCaller(world, edge, process_key, process, callers)
    elif edge.policy.connections is not None:
        caller = ConnectedCaller(world, edge, process_key, process, callers)
    elif edge.policy.guarded:
        caller = GuardedCaller(world, edge, process_key, process, callers)
    else:
        caller = Caller(world, edge, process_key, process)
    world.callers.append(caller)
    # Proxies say nothing of themselves, and what the replicas behind them say is for their callers: the proxies.
    if service is not None and not edge.proxied and edge.policy.balancing.kind == "join_idle_queue":
        service.wanted.listeners.append(caller)
    return caller
