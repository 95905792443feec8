"""Faults in motion: each fault of the timeline breaks things and mends them again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from sim.kernel.tasks import Steps
from sim.scenario.faults import (
    Crash,
    Errors,
    Fault,
    Flush,
    LinkFault,
    Outage,
    Partition,
    Pause,
    ReplayGroup,
    Slow,
    Stop,
    ZoneOutage,
)
from sim.streams import child, key, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.runtime.replica import Replica
    from sim.runtime.world import World
    from sim.runtime.zones import Zoning


def start_faults(world: World, faults: tuple[Fault, ...]) -> None:
    """Put all faults on the clock."""
    seen: dict[str, int] = {}
    for fault in faults:
        # The stream is named by what breaks, so that a candidate with one more fault keeps the others' times.
        name = f"{type(fault).__name__} {_target(fault)}"
        seen[name] = seen.get(name, 0) + 1
        for part, act in enumerate(_acts(world, fault)):
            world.tasks.start(_timeline(fault, act, key(world.seed, "fault", name, seen[name], part)))


def _target(fault: Fault) -> str:
    match fault:
        case Crash(crash=target) | Slow(slow=target) | Errors(errors=target) | LinkFault(link=target) | Outage(outage=target):
            return target
        case Pause(pause=target) | Flush(flush=target) | Stop(stop=target) | ZoneOutage(zone=target):
            return target
        case ReplayGroup(replay=target):
            return target
        case Partition():
            return fault.sides
        case _:
            assert_never(fault)


def _timeline(fault: Fault, act: Callable[[], Callable[[], None]], stream: int) -> Steps:
    """Break at the fixed time, or again and again at drawn times."""
    if fault.at is not None:
        if fault.at > 0:
            yield fault.at
        mend = act()
        if fault.for_ is not None:
            yield fault.for_
            mend()
        return
    assert fault.mtbf is not None
    assert fault.mttr is not None
    number = 0
    while True:
        yield -fault.mtbf * math.log1p(-uniform(child(stream, 2 * number)))
        mend = act()
        yield -fault.mttr * math.log1p(-uniform(child(stream, 2 * number + 1)))
        mend()
        number += 1


def _acts(world: World, fault: Fault) -> list[Callable[[], Callable[[], None]]]:
    """What the fault breaks: one act, or one for each replica that fails by its own clock."""
    match fault:
        case Outage(outage=name) if name in world.registries:
            registry = world.registries[name]
            return [lambda: registry.outage(registry.nodes if fault.node == "all" else [registry.nodes[fault.node]])]
        case Outage(outage=name) if name in world.brokers:
            broker = world.brokers[name]
            nodes = list(range(len(broker.nodes))) if fault.node == "all" else [fault.node]
            return [lambda: broker.outage(nodes)]
        case Outage(outage=name) if name in world.stores:
            return [world.stores[name].outage]
        case Outage(outage=queue):
            return [(world.queues.get(queue) or world.replies.get(queue) or world.logs[queue]).outage]
        case Slow(slow=name) if name in world.registries or name in world.brokers or name in world.stores:
            machine = world.registries.get(name) or world.brokers.get(name) or world.stores[name]
            return [lambda: _slow(machine.slow_factors, fault.factor)]
        case Flush():
            return [lambda: _flush(world, fault)]
        case ReplayGroup(replay=name):
            return [lambda: _replay(world, name, fault)]
        case LinkFault():
            return [lambda: world.network.disturb(fault)]
        case ZoneOutage(zone=zone, silent=silent):
            return [lambda: _zoning(world).outage(zone, silent)]
        case Partition(partition=parts):
            return [lambda: _zoning(world).partition(parts)]
        case Crash(crash=service) | Slow(slow=service) | Pause(pause=service) | Errors(errors=service) | Stop(stop=service):
            name = service.split(".")[0]
            group = world.services.get(name) or world.proxies.get(name)
            if group is None:
                return []  # a proxy that nobody calls through has no processes
            replicas = group.replicas
            if fault.replica == "each":
                return [_together(fault, [replica]) for replica in replicas]
            return [_together(fault, replicas if fault.replica == "all" else [replicas[fault.replica]])]
        case _:
            assert_never(fault)


def _zoning(world: World) -> Zoning:
    assert world.zoning is not None  # a scenario without zones has no such faults
    return world.zoning


def _slow(factors: list[float], factor: float) -> Callable[[], None]:
    factors.append(factor)
    return lambda: factors.remove(factor)


def _together(fault: Crash | Slow | Pause | Errors | Stop, replicas: list[Replica]) -> Callable[[], Callable[[], None]]:
    def act() -> Callable[[], None]:
        mends = [_hurt(fault, replica) for replica in replicas]

        def mend_all() -> None:
            for mend in mends:
                mend()

        return mend_all

    return act


def _hurt(fault: Crash | Slow | Pause | Errors | Stop, replica: Replica) -> Callable[[], None]:
    """Break one replica; return how to mend it. Overlapping faults add up and end one by one."""
    match fault:
        case Crash():
            replica.crash(fault.silent)
            return replica.restart
        case Stop():
            return _stop(fault, replica)
        case Slow():
            return _slow(replica.slow_factors, fault.factor)
        case Pause():
            replica.pause()
            return replica.resume
        case Errors():
            _, _, operation = fault.errors.partition(".")
            of_requests = key(replica.world.seed, "bad requests", fault.errors) if fault.same_requests else 0
            injected = (operation or None, fault.ratio, of_requests)
            replica.errors.append(injected)
            return lambda: replica.errors.remove(injected)
        case _:
            assert_never(fault)


def _stop(fault: Stop, replica: Replica) -> Callable[[], None]:
    """Stop a replica; return how it is started again, at the latest when it has ended."""
    ended, wanted = False, False

    def stop() -> Steps:
        nonlocal ended
        yield from replica.stop(fault.drain, fault.grace)
        ended = True
        if wanted:
            replica.restart()

    def start() -> None:
        nonlocal wanted
        wanted = True
        if ended:
            replica.restart()

    replica.tasks.start(stop())
    return start


def _flush(world: World, fault: Flush) -> Callable[[], None]:
    world.flush(fault.flush)
    return lambda: None


def _replay(world: World, name: str, fault: ReplayGroup) -> Callable[[], None]:
    log, group = name.split(".")
    world.logs[log].groups[group].replay(fault.to, fault.since)
    return lambda: None
