"""Doubts about protocols: compression that loses, sizes and bandwidths that nothing looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim.scenario.edges import operations_of
from sim.scenario.forecast import Edge, calls_rps
from sim.scenario.model import Scenario
from sim.scenario.protocols import Costs
from sim.units import format_duration

_INF: Final = float("inf")


def doubts_of_protocols(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about what calls speak."""
    spoken = [edge for edge in edges if edge.policy.protocol is not None]
    yield from _unread(scenario, spoken)
    yield from _too_narrow(scenario, spoken)
    told: set[tuple[str, str]] = set()
    for edge in spoken:
        way = edge.caller, edge.target
        if way not in told and edge.policy.protocol is not None:
            told.add(way)
            yield from _compression_that_loses(scenario, edge, scenario.costs(edge.policy.protocol))


def _unread(scenario: Scenario, spoken: list[Edge]) -> Iterator[str]:
    """Links with a bandwidth over which nothing with a size goes."""
    ways = {(edge.caller, edge.policy.via or edge.target.split(".")[0]) for edge in spoken}
    ways |= {(edge.policy.via, edge.target.split(".")[0]) for edge in spoken if edge.policy.via is not None}
    used = {id(scenario.link(*way)) for way in ways}
    for selector, link in scenario.links.items():
        if (link.bandwidth is not None or link.shared) and id(link) not in used:
            key = "bandwidth" if link.bandwidth is not None else "shared"
            yield f"links.{selector}.{key} has no effect: no call over it has a protocol, so nothing has a size; write protocol"
        elif link.shared and link.bandwidth is None:
            yield f"links.{selector}.shared has no effect without a bandwidth: there is nothing to share; write bandwidth"


def _too_narrow(scenario: Scenario, spoken: list[Edge]) -> Iterator[str]:
    """Links whose bandwidth is less than what calls want to send over them."""
    rates, wanted = calls_rps(scenario), dict[tuple[str, str], list[float]]()
    for edge in {(edge.caller, edge.target): edge for edge in spoken}.values():
        place, protocol = edge.policy.via or edge.target.split(".")[0], edge.policy.protocol
        assert protocol is not None
        costs, operation = scenario.costs(protocol), operations_of(scenario)[edge.target]
        sums = wanted.setdefault((edge.caller, place), [0.0, 0.0])
        for side, payload in enumerate((operation.request, operation.response)):
            size = costs.on_the_wire(costs.body(payload, scenario.payloads).sent, costs.headers[side] * costs.headers_again[side])
            sums[side] += size * rates.get((edge.caller, edge.target), 0.0)
    for (caller, place), sums in wanted.items():
        link = scenario.link(caller, place)
        group = scenario.services.get(caller) or scenario.proxies.get(caller)
        sharers = 1 if link.shared else scenario.load.clients if group is None else group.replicas
        for what, bytes_per_s in zip(("requests", "answers"), sums, strict=True):
            if link.bandwidth is not None and bytes_per_s > link.bandwidth * sharers:
                each = "" if link.shared else f" of each of {sharers} processes"
                yield (
                    f"{caller} -> {place}: {what} want {bytes_per_s / sharers * 8e-6:.3g} Mbit/s, and the link{each} has "
                    f"{link.bandwidth * 8e-6:.3g}: they wait ever longer; write more bandwidth, or smaller messages"
                )


def _compression_that_loses(scenario: Scenario, edge: Edge, costs: Costs) -> Iterator[str]:
    """Bodies that take longer compressed than as they are, at the bandwidth of their link."""
    compressor = costs.compressor
    if compressor is None:
        return
    operation = operations_of(scenario)[edge.target]
    bandwidth = scenario.link(edge.caller, edge.policy.via or edge.target.split(".")[0]).bandwidth
    for what, payload in (("request", operation.request), ("response", operation.response)):
        if payload is None:
            continue
        body = costs.size(payload, scenario.payloads)
        sent = costs.body(payload, scenario.payloads).sent
        if not compressor.acts(body.bytes):
            continue
        spent_s = compressor.compress_s(body.bytes) + compressor.decompress_s(body.bytes)
        saved_s = (body.bytes - sent) / (_INF if bandwidth is None else bandwidth)
        if sent >= body.bytes or (bandwidth is not None and spent_s > saved_s):
            takes = f"{body.bytes:,} B become {sent:,.0f} B"
            time = f"it saves {format_duration(max(0.0, saved_s))} on the link and takes {format_duration(spent_s)} of processors"
            yield (
                f"{edge.caller} -> {edge.target}: compression of the {what} loses: {takes}, {time}; leave it out, or raise "
                "compression.minimum_size"
            )
