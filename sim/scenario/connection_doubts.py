"""Doubts about connections: replicas that get none, that stay without, and rules that would need to choose for each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim.policies.connections import Connections
from sim.scenario.calls import CallPolicy
from sim.scenario.deployments import Scale
from sim.scenario.distances import way_s
from sim.scenario.edges import CLIENT
from sim.scenario.faults import Crash
from sim.scenario.forecast import Edge, calls_rps, demands_of
from sim.scenario.model import Scenario

#: Rules that look at calls, their times or what servers report, each time they choose.
_PER_CALL: Final = (
    "two_choices",
    "least_request",
    "peak_ewma",
    "aperture",
    "deterministic_aperture",
    "utilisation",
    "join_idle_queue",
    "prequal",
)
#: Of these, the rules that count connections instead.
_COUNTING: Final = ("two_choices", "least_request")


def doubts_of_connections(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about calls over connections."""
    told: set[tuple[str, str]] = set()
    for edge in edges:
        spec, service = edge.policy.connections, edge.target.split(".")[0]
        if spec is None or service not in scenario.services or (edge.caller, service) in told:
            continue
        told.add((edge.caller, service))
        way = f"{edge.caller} -> {service}"
        yield from _idle_replicas(scenario, edge, spec, service)
        yield from _never_made_again(scenario, spec, way, service)
        yield from _believed_in(scenario, spec, way, service)
        yield from _chosen_once(edge.policy, way)
        yield from _back_to_the_same(edge.policy, spec, way)
    yield from _refused(scenario, edges)


def _refused(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Servers that let in fewer connections than are in use at a time: calls a second times how long each has one to itself."""
    rates, demands = calls_rps(scenario), demands_of(scenario)
    for name, service in scenario.services.items():
        most, used = service.max_connections, 0.0
        for edge in dict.fromkeys(edges) if most is not None else ():
            spec = edge.policy.connections
            if spec is None or spec.max_concurrent != 1 or edge.policy.via is not None or edge.target.split(".")[0] != name:
                continue
            time_s = demands[edge.target].held_s + 2 * way_s(scenario, edge.caller, name)
            used += rates.get((edge.caller, edge.target), 0.0) * time_s / service.replicas
        if most is not None and used > most:
            yield (
                f"{name}: some {used:.3g} connections to each replica are in use at a time (calls a second times how long one "
                f"has a connection), and max_connections = {most} lets in fewer: others are refused; raise it, or add replicas"
            )


def _chooser(scenario: Scenario, edge: Edge) -> tuple[CallPolicy, int]:
    """Whose balancing chooses for a connection, and among how many."""
    via, service = edge.policy.via, edge.target.split(".")[0]
    if via is None:
        return edge.policy, scenario.services[service].replicas
    proxy = scenario.proxies[via]
    if proxy.layer == 4:
        return scenario.policy(via, edge.target), scenario.services[service].replicas
    return edge.policy, proxy.replicas if proxy.placement == "tier" else 1


def _idle_replicas(scenario: Scenario, edge: Edge, spec: Connections, service: str) -> Iterator[str]:
    """Fewer connections than replicas, or so few that chance leaves some out."""
    if spec.per_process == "unlimited":
        return
    policy, replicas = _chooser(scenario, edge)
    processes = scenario.load.clients if edge.caller == CLIENT else scenario.services[edge.caller].replicas
    each = spec.per_process if spec.use == "spread" or spec.max_concurrent == 1 else 1
    made, name = processes * each, service if edge.policy.via is None else f"{service} (through {edge.policy.via})"
    counted = f"{processes} processes with {each} connection{'' if each == 1 else 's'} each"
    cure = "more connections (per_process, use: spread), or balance calls (no connections)"
    if made < replicas:
        yield f"{edge.caller} -> {name}: {replicas - made} of {replicas} replicas idle: {counted} reach {made} of them; {cure}"
        return
    missed = replicas * (1 - 1 / replicas) ** made
    if policy.balancing.kind == "random" and missed >= 0.5:
        yield (
            f"{edge.caller} -> {name}: by chance {missed:.2g} of {replicas} replicas get no connection in the mean ({counted}, "
            f"dealt at random), and others several; {cure}"
        )


def _never_made_again(scenario: Scenario, spec: Connections, way: str, service: str) -> Iterator[str]:
    """Replicas that come while all connections are made, and nothing ends these."""
    if spec.max_age is not None or spec.max_requests is not None:
        return
    grows = [each for each in scenario.deployments if isinstance(each, Scale) and each.scale == service]
    grows = [each for each in grows if each.replicas > scenario.services[service].replicas]
    what = f"deployments scale {service}" if grows else f"{service} has autoscaling"
    if grows or scenario.services[service].autoscaling is not None:
        yield (
            f"{way}: {what}, and connections live for ever: new replicas get no calls until connections are made for another "
            "reason; write connections.max_age (gRPC: MAX_CONNECTION_AGE at the server) or max_requests"
        )


def _believed_in(scenario: Scenario, spec: Connections, way: str, service: str) -> Iterator[str]:
    """Replicas that vanish without a word, and connections that do not notice."""
    silent = any(isinstance(fault, Crash) and fault.silent and fault.crash == service for fault in scenario.faults)
    if silent and spec.keepalive is None and not spec.follow_discovery and spec.max_concurrent != 1:
        yield (
            f"{way}: {service} crashes silently, and its connections do not notice: calls on them time out until it is back; "
            "write connections.keepalive"
        )


def _chosen_once(policy: CallPolicy, way: str) -> Iterator[str]:
    """Rules that would need to choose for each call."""
    kind = policy.balancing.kind
    if kind in _PER_CALL:
        instead = "counts connections" if kind in _COUNTING else "sees no call before it chooses"
        yield (
            f"{way}: balancing = {kind} chooses only when a connection is made, and {instead}: calls are not balanced; leave "
            "connections out, or take random or round_robin, which promise no more"
        )


def _back_to_the_same(policy: CallPolicy, spec: Connections, way: str) -> Iterator[str]:
    """Second attempts that cannot go elsewhere."""
    if policy.retry.max_attempts != 1 and policy.retry.avoid_previous_endpoints:
        yield (
            f"{way}: retry.avoid_previous_endpoints has no effect: another try takes a place on a connection that is there, and "
            "goes elsewhere only where that ended"
        )
    if policy.hedging is not None and spec.per_process == 1 and (spec.max_concurrent == "unlimited" or spec.max_concurrent > 1):
        yield f"{way}: a hedged attempt goes to the same replica as the first: the process has one connection; raise per_process"
