"""How far apart things are in their zones: mean latency between their processes, besides the links between services."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sim.policies.zones import dealt
from sim.scenario.edges import CLIENT

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


def way_s(scenario: Scenario, one: str, other: str) -> float:
    """Mean latency one way, in seconds."""
    return scenario.link(one, other).latency.mean + crossing_s(scenario, one, other)


def written_s(scenario: Scenario, name: str, confirm: str | None = None) -> float:
    """Mean time to write at a broker and until it is confirmed, in seconds."""
    broker = scenario.brokers[name]
    needed = {"one": 0, "majority": broker.copies // 2, "all": broker.copies - 1}[confirm or broker.confirm]
    return broker.write.mean + copied_s(scenario, name, needed)


def crossing_s(scenario: Scenario, one: str, other: str) -> float:
    """Mean latency, one way in seconds, between the zones of two services, queues, topics or logs, each process of one as often
    with each of the other; 0 where there are no zones. By routing, calls may stay nearer."""
    if not scenario.zones:
        return 0.0
    pairs = [(a, m * n, b) for a, m in _zones_of(scenario, one).items() for b, n in _zones_of(scenario, other).items()]
    between = sum(count for _, count, _ in pairs)
    return sum(count * latency_s(scenario, a, b) for a, count, b in pairs) / between if between else 0.0


def latency_s(scenario: Scenario, zone: str, other: str) -> float:
    """Mean latency between two zones, one way in seconds; 0 within one."""
    return 0.0 if zone == other else scenario.zone_link(zone, other).latency.mean


def copied_s(scenario: Scenario, name: str, needed: int) -> float:
    """Mean time until so many other nodes of a broker have a copy and the leader knows, whichever leads, in seconds: in zones
    the nearest ones first."""
    broker = scenario.brokers[name]
    nodes = dealt(broker.zones or dict.fromkeys(scenario.zones, 1), broker.nodes) if scenario.zones else [""] * broker.nodes
    if not needed:
        return 0.0
    slowest_s = [
        sorted(2 * latency_s(scenario, zone, nodes[(leader + i) % len(nodes)]) for i in range(1, broker.copies))[needed - 1]
        for leader, zone in enumerate(nodes)
    ]
    return broker.replicate.mean + sum(slowest_s) / len(slowest_s)


def _zones_of(scenario: Scenario, name: str) -> Counter[str]:
    """Zones of a service's replicas, the clients, or those who may lead a queue or log; none of who is outside."""
    if name == CLIENT:
        shares = scenario.load.zones
        return Counter(dealt(shares, scenario.load.clients)) if shares is not None else Counter()
    place = scenario.place(name)
    everywhere = dict.fromkeys(scenario.zones, 1)
    if place in scenario.services:
        service = scenario.services[place]
        return Counter(dealt(service.zones or everywhere, service.replicas))
    if place in scenario.brokers:
        broker = scenario.brokers[place]
        return Counter(dealt(broker.zones or everywhere, broker.nodes))
    kept = scenario.queues.get(place) or scenario.logs.get(place)
    return Counter([(kept.zone if kept is not None else None) or scenario.zones[0]])
