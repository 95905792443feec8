"""Doubts about zones: routing that does nothing, zones that get too much, and outages that take all of something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from sim.policies.zones import dealt
from sim.scenario.edges import CLIENT
from sim.scenario.faults import Partition, ZoneOutage
from sim.scenario.forecast import Edge, Forecast
from sim.scenario.messaging.logs import Log
from sim.scenario.messaging.queues import Queue
from sim.scenario.model import Scenario

#: Load of an endpoint against the mean from which a zone is said to be hot.
_HOT: Final = 1.2


def placements(scenario: Scenario) -> dict[str, dict[str, int]]:
    """What is in each zone at the beginning: how many replicas, proxies, nodes, queues and clients, by their names."""
    found: dict[str, dict[str, int]] = {zone: {} for zone in scenario.zones}
    tiers = [name for name, proxy in scenario.proxies.items() if proxy.placement == "tier"]
    counts = {name: _count(scenario, name) for name in (CLIENT, *scenario.services, *tiers)}
    for name, registry in scenario.registries.items():
        counts[name] = Counter(_dealt(scenario, registry.zones, registry.nodes))
    for name, broker in scenario.brokers.items():
        counts[name] = Counter(_dealt(scenario, broker.zones, broker.nodes))
    mailboxes: dict[str, Queue | Log] = {**scenario.queues, **scenario.logs}
    for name, kept in mailboxes.items():
        if kept.broker is None:
            counts[name] = Counter([kept.zone or scenario.zones[0]])
    for name, by_zone in counts.items():
        for zone, number in by_zone.items():
            found[zone][name] = number
    return found


def doubts_of_zones(scenario: Scenario, edges: list[Edge], expected: Forecast) -> Iterator[str]:
    """What a careful reviewer would say about zones; nothing where there are none."""
    if not scenario.zones:
        return
    told: set[tuple[str, str]] = set()
    busy = {service.name: service.utilisation for service in expected.services}
    routed = False
    for edge in edges:
        for caller, target, routing in _ways(scenario, edge):
            routed = routed or routing is not None
            if routing is None or (caller, target) in told or target in scenario.queues or target in scenario.topics:
                continue
            told.add((caller, target))
            callers, endpoints = _count(scenario, caller), _count(scenario, target)
            if routing == "zone_aware":
                yield from _does_nothing(scenario, edge, caller, target, callers, endpoints)
            elif callers:
                yield from _hot(caller, target, callers, endpoints, busy.get(target))
    yield from _all_in_one(scenario)
    yield from _cut_off(scenario)
    yield from _never_missed(scenario)
    if not routed and not scenario.zone_links and not any(isinstance(f, ZoneOutage | Partition) for f in scenario.faults):
        yield "zones make no difference here: write zone_links, zone_routing of a call, or a fault with zone or partition"


def _ways(scenario: Scenario, edge: Edge) -> Iterator[tuple[str, str, str | None]]:
    """Who chooses among whose endpoints, and by which rule for zones: on the way to a proxy, and from there."""
    service, via, own = edge.target.split(".")[0], edge.policy.via, edge.policy.zone_routing
    if via is None:
        yield edge.caller, service, None if own is None else own.kind
        return
    if scenario.proxies[via].placement == "tier":
        yield edge.caller, via, None if own is None else own.kind
    onward = scenario.policy(via, edge.target).zone_routing
    yield via if scenario.proxies[via].placement == "tier" else edge.caller, service, None if onward is None else onward.kind


def _count(scenario: Scenario, name: str) -> Counter[str]:
    """Processes by zone at the beginning; none for clients that are outside of all."""
    if name == CLIENT:
        shares = scenario.load.zones
        return Counter(dealt(shares, scenario.load.clients)) if shares is not None else Counter()
    spec = scenario.services.get(name) or scenario.proxies[name]
    return Counter(_dealt(scenario, spec.zones, spec.replicas))


def _dealt(scenario: Scenario, shares: Mapping[str, int] | None, count: int) -> list[str]:
    return dealt(shares or dict.fromkeys(scenario.zones, 1), count)


def _does_nothing(
    scenario: Scenario, edge: Edge, caller: str, target: str, callers: Counter[str], endpoints: Counter[str]
) -> Iterator[str]:
    """Zone-aware routing that falls back to all endpoints: always, or just when a zone is down."""
    via = edge.policy.via
    policy = scenario.policy(via, edge.target) if via is not None and target != via else edge.policy
    assert policy.zone_routing is not None
    least, count = policy.zone_routing.min_cluster_size, endpoints.total()
    why = None
    if not callers:
        why = f"{caller} is outside of all zones; write load.zones"
    elif len(callers) < 2:
        why = f"all processes of {caller} are in zone {next(iter(callers))}"
    elif len(endpoints) < 2:
        why = f"all replicas of {target} are in zone {next(iter(endpoints))}"
    elif count < least:
        why = f"{target} has {count} replicas, fewer than min_cluster_size = {least}"
    if why is not None:
        yield f"{caller} -> {target}: zone_routing zone_aware does nothing: {why}; all are chosen alike, whatever their zone"
        return
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, ZoneOutage):
            continue
        left = count - endpoints[fault.zone]
        if left < min(count, least):
            yield (
                f"faults[{i}]: {caller} -> {target}: while zone {fault.zone} is down, {left} of {count} replicas are left, fewer "
                f"than min_cluster_size = {least}: callers that know it choose all alike, whatever their zone"
            )


def _hot(caller: str, target: str, callers: Counter[str], endpoints: Counter[str], busy: float | None) -> Iterator[str]:
    """A zone whose endpoints get much more than the others under same_zone_first."""
    count, processes = endpoints.total(), callers.total()
    elsewhere = sum(number for zone, number in callers.items() if not endpoints[zone]) / processes
    loads = {zone: elsewhere + callers[zone] / processes * count / number for zone, number in endpoints.items()}
    zone = max(loads, key=lambda name: loads[name])
    if loads[zone] < _HOT:
        return
    share, part = callers[zone] / processes, endpoints[zone] / count
    over = ""
    if busy is not None and busy * loads[zone] >= 1:
        over = f", {100 * busy * loads[zone]:.0f} % of what they can do if all calls come from {caller}"
    rest = f" (and its part of the {100 * elsewhere:.0f} % that have none in theirs)" if elsewhere else ""
    yield (
        f"{caller} -> {target}: same_zone_first: zone {zone} has {100 * share:.0f} % of the callers{rest}, {100 * part:.0f} % of "
        f"the replicas, which get {loads[zone]:.2g} times the mean load{over}; deal both out alike, or use zone_aware"
    )


def _all_in_one(scenario: Scenario) -> Iterator[str]:
    """Things that a zone's outage takes altogether."""
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, ZoneOutage):
            continue
        for key, what in (("services", "replicas"), ("proxies", "proxies"), ("registries", "nodes")):
            for name, spec in getattr(scenario, key).items():
                if getattr(spec, "placement", "tier") == "sidecar":
                    continue
                count = spec.nodes if what == "nodes" else spec.replicas
                if set(_dealt(scenario, spec.zones, count)) == {fault.zone}:
                    said = f"all {what} of {name} ({count}) are in zone {fault.zone}, so {name} is gone while it is down"
                    yield f"faults[{i}]: {said}; have more of them, or in other zones"
        for name, broker in scenario.brokers.items():
            left = [zone for zone in _dealt(scenario, broker.zones, broker.nodes) if zone != fault.zone]
            if not left or (broker.confirm == "majority" and broker.copies == broker.nodes and 2 * len(left) <= broker.copies):
                said = f"{len(left)} of the {broker.nodes} nodes of {name} are left while zone {fault.zone} is down"
                yield f"faults[{i}]: {said}, and none of its queues works"
        for name, queue in scenario.queues.items():
            if queue.broker is None and (queue.zone or scenario.zones[0]) == fault.zone:
                yield f"faults[{i}]: queue {name} is in zone {fault.zone}, and is gone while it is down"
        for name, log in scenario.logs.items():
            yield from (f"faults[{i}]: {doubt}" for doubt in _log_left(scenario, name, log, fault.zone))


def _log_left(scenario: Scenario, name: str, log: Log, zone: str) -> Iterator[str]:
    """What is left of a log while a zone is down."""
    broker = scenario.brokers.get(log.broker or "")
    if broker is None:
        if (log.zone or scenario.zones[0]) == zone:
            yield f"log {name} is in zone {zone}, and is gone while it is down"
    elif log.producer.acks == "all" and broker.copies == broker.nodes:
        left = sum(other != zone for other in _dealt(scenario, broker.zones, broker.nodes))
        if 0 < left < log.min_insync:
            yield (
                f"{left} of {broker.copies} copies of log {name} are left while zone {zone} is down, fewer than min_insync = "
                f"{log.min_insync}: nothing is written with acks: all; have nodes in more zones, or a smaller min_insync"
            )


def _never_missed(scenario: Scenario) -> Iterator[str]:
    """Registries that nobody tells of a zone that is gone."""
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, ZoneOutage) or not fault.silent:
            continue
        for name, service in scenario.services.items():
            if service.registry is None or not _count(scenario, name)[fault.zone]:
                continue
            spec = scenario.registries[service.registry]
            if spec.heartbeat_interval is None and spec.vanish_delay is None:
                yield (
                    f"faults[{i}]: nobody tells {service.registry} that the replicas of {name} in zone {fault.zone} are gone: it "
                    "has no leases, and machines vanish without a word; write vanish_delay, or silent: false"
                )


def _cut_off(scenario: Scenario) -> Iterator[str]:
    """Parts of a partition without a registry, and brokers without a majority anywhere."""
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, Partition):
            continue
        for name, spec in scenario.registries.items():
            nodes = set(_dealt(scenario, spec.zones, spec.nodes))
            free = nodes - {zone for part in fault.partition for zone in part}
            for part in fault.partition:
                if not free and not nodes & set(part):
                    yield (
                        f"faults[{i}]: no node of {name} is with {', '.join(part)}: who is there hears of no change, and its "
                        "heartbeats are lost; have a node in each zone (nodes, zones)"
                    )
        for name, broker in scenario.brokers.items():
            where = Counter(_dealt(scenario, broker.zones, broker.nodes))
            named = {zone for part in fault.partition for zone in part}
            free_nodes = sum(number for zone, number in where.items() if zone not in named)
            most = max(sum(where[zone] for zone in part) for part in fault.partition) + free_nodes
            if broker.confirm == "majority" and broker.copies == broker.nodes and 2 * most <= broker.copies:
                said = f"no part has a majority of {name} ({most} of {broker.copies} copies at most)"
                yield f"faults[{i}]: {said}: its queues stand still"
