"""Doubts about protocols: compression that loses, sizes and bandwidths that nothing looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim.policies.flow import Flow, Path
from sim.scenario.contents import message_of, messages_in, streams_s
from sim.scenario.edges import operations_of
from sim.scenario.forecast import Edge, calls_rps
from sim.scenario.model import Scenario
from sim.scenario.protocols import Costs, Protocol
from sim.scenario.queries import refused_queries
from sim.scenario.services import Link, Operation
from sim.units import format_duration

_INF: Final = float("inf")


def doubts_of_protocols(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about what calls speak."""
    yield from _refused(scenario)
    operations = operations_of(scenario)
    spoken = [edge for edge in edges if edge.policy.protocol is not None]
    yield from _unread(scenario, spoken)
    yield from _too_narrow(scenario, spoken)
    yield from _not_kept(scenario, edges)
    yield from (doubt for edge in spoken for doubt in _cut_short(edge, operations[edge.target]))
    told: set[tuple[str, str]] = set()
    for edge in spoken:
        way = edge.caller, edge.target
        if way not in told and edge.policy.protocol is not None:
            told.add(way)
            yield from _compression_that_loses(scenario, edge, scenario.costs(edge.policy.protocol))


def _refused(scenario: Scenario) -> Iterator[str]:
    """Queries that are always refused."""
    for address, (depth, objects) in refused_queries(scenario).items():
        yield (
            f"{address}: query_limits of the service refuse it each time: its answer is {depth} levels deep and has {objects:,} "
            "objects; write a smaller response, or higher limits"
        )


def _not_kept(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Caches, of callers and of proxies, of what is asked for by POST."""
    ways = {(edge.caller, edge.target): edge.policy for edge in edges}
    ways |= {
        (edge.policy.via, edge.target): scenario.policy(edge.policy.via, edge.target)
        for edge in edges
        if edge.policy.via is not None and edge.policy.protocol is not None
    }
    for (caller, target), policy in ways.items():
        protocol = policy.protocol
        if policy.cache is not None and protocol is not None and _is_posted(protocol):
            yield (
                f"{caller} -> {target}: cache, but queries are POSTed, and no HTTP cache keeps those; write "
                "protocol.persisted_queries (a hash is asked for by GET), or take it for a cache of the client's own making"
            )


def _is_posted(protocol: Protocol) -> bool:
    return protocol.profile.startswith("graphql") and protocol.persisted_queries is None


def _cut_short(edge: Edge, operation: Operation) -> Iterator[str]:
    """Streams that are still under way when their call gives up."""
    _, lasts_s = streams_s(operation.request, operation.response)
    for key in ("timeout", "per_try_timeout"):
        limit_s = getattr(edge.policy, key)
        if limit_s is not None and lasts_s >= limit_s:
            way = f"{edge.caller} -> {edge.target}"
            yield (
                f"{way}: its stream takes {format_duration(lasts_s)} in the mean, and {key} ends the call after "
                f"{format_duration(limit_s)}; write calls: {{{way}: {{{key}: null}}}}, or a longer one"
            )


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
        for side, body in enumerate((operation.request, operation.response)):
            sent = costs.body(message_of(body), scenario.payloads).sent * messages_in(body, operation.request)
            size = costs.on_the_wire(sent, costs.headers[side] * costs.headers_again[side])
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
    """Bodies that take longer compressed than as they are, even on a new connection, whose windows they may save."""
    compressor = costs.compressor
    if compressor is None:
        return
    operation = operations_of(scenario)[edge.target]
    link = scenario.link(edge.caller, edge.policy.via or edge.target.split(".")[0])
    for side, content in enumerate((operation.request, operation.response)):
        payload = message_of(content)
        if payload is None:
            continue
        body = costs.size(payload, scenario.payloads).bytes
        sent = costs.body(payload, scenario.payloads).sent
        if not compressor.acts(body):
            continue
        spent_s = compressor.compress_s(body) + compressor.decompress_s(body)
        saved_s = _new_connection_s(costs, link, side, body) - _new_connection_s(costs, link, side, sent)
        if sent >= body:
            why = ""
        elif link.bandwidth is not None and spent_s > saved_s:
            saves = f"saves {format_duration(saved_s)} on the network, on a new connection," if saved_s > 0 else "saves no time"
            why = f", which {saves} and takes {format_duration(spent_s)} of processors"
        else:
            continue
        yield (
            f"{edge.caller} -> {edge.target}: compression of the {('request', 'response')[side]} loses: {body:,} B become "
            f"{sent:,.0f} B{why}; leave it out, or raise compression.minimum_size"
        )


def _new_connection_s(costs: Costs, link: Link, side: int, body: float) -> float:
    """How long so many bytes are on their way over a new connection, the round trips of its windows included."""
    latency_s = link.latency.mean
    path = Path(latency_s, 2 * latency_s, _INF if link.bandwidth is None else link.bandwidth)
    return Flow(costs.transport).send(0.0, costs.on_the_wire(body, costs.headers[side]), path, lambda _: 0.5).arrives_s
