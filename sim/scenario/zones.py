"""Zones that are not there, and what cannot be said of them, with place and cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sim.scenario.faults import Partition, ZoneOutage
from sim.scenario.words import nearest

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


def problems_of_zones(scenario: Scenario) -> Iterator[str]:
    """Names of zones that point nowhere, and parts that overlap, each as `path: message`."""
    zones = scenario.zones
    for zone in sorted({zone for zone in zones if zones.count(zone) > 1}):
        yield f"zones: {zone} stands twice; each zone has one name"
    if "default" in zones:
        yield "zones: default is reserved, for zone_links; give the zone another name"
    for path, named in _named(scenario):
        for zone in named:
            if zone not in zones:
                yield f"{path}: no zone {zone!r}; {nearest(zone, zones) if zones else f'write zones: [{zone}, ...]'}"
    for selector in scenario.zone_links:
        yield from _problems_of_link(scenario, selector)
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, Partition):
            all_named = [zone for part in fault.partition for zone in part]
            for zone in sorted({zone for zone in all_named if all_named.count(zone) > 1}):
                yield f"faults[{i}].partition: {zone} is in two parts; a zone is on one side of the cut"
    for selector, policy in scenario.calls.items():
        if policy.zone_routing is not None and not zones:
            yield f"calls.{selector}.zone_routing: there are no zones here; write zones: [a, b], or leave it out"


def _problems_of_link(scenario: Scenario, selector: str) -> Iterator[str]:
    ends = selector.split(" -> ")
    if selector == "default":
        if not scenario.zones:
            yield "zone_links.default: there are no zones here; write zones: [a, b], or leave it out"
    elif len(ends) != 2 or ends[0] == ends[1]:
        yield f"zone_links.{selector}: {selector!r} names no two zones; write default, or 'a -> b'"
    else:
        for zone in ends:
            if zone not in scenario.zones:
                yield f"zone_links.{selector}: no zone {zone!r}; {nearest(zone, scenario.zones)}"


def _named(scenario: Scenario) -> Iterator[tuple[str, Iterable[str]]]:
    """Where zones are named, and which."""
    for key in ("services", "proxies", "registries", "brokers"):
        for name, spec in getattr(scenario, key).items():
            yield f"{key}.{name}.zones", spec.zones or ()
    for key in ("queues", "logs"):
        for name, kept in getattr(scenario, key).items():
            yield f"{key}.{name}.zone", () if kept.zone is None else (kept.zone,)
    yield "load.zones", scenario.load.zones or ()
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, ZoneOutage):
            yield f"faults[{i}].zone", (fault.zone,)
        elif isinstance(fault, Partition):
            yield f"faults[{i}].partition", [zone for part in fault.partition for zone in part]
