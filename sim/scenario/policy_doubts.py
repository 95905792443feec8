"""Policies that are allowed and will not do what they look like: breakers that see too little, ejections that never happen."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sim.scenario.edges import CLIENT, operations_of
from sim.scenario.forecast import Edge, calls_rps
from sim.scenario.model import Scenario
from sim.units import format_duration


def doubts_of_policies(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about retries, breakers and ejections."""
    yield from _twice(scenario, edges)
    yield from _blind_breakers(scenario, edges)
    for edge in edges:
        yield from _ejects_nobody(scenario, edge)
        yield from _balances_blindly(scenario, edge)


def _twice(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Retries and hedges of operations that must not run twice."""
    operations = operations_of(scenario)
    for edge in edges:
        operation, policy = operations.get(edge.target), edge.policy
        if operation is None or operation.idempotent:
            continue
        if policy.retry.max_attempts != 1:
            what = f"retry.max_attempts = {policy.retry.max_attempts}"
        elif policy.hedging is not None:
            what = f"hedging.max_attempts = {policy.hedging.max_attempts}"
        else:
            continue
        yield (
            f"{edge.caller} -> {edge.target} may run {edge.target} twice: {what}, and it is not idempotent; a lost answer does "
            "not mean that nothing happened"
        )


def _blind_breakers(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Breakers whose window never holds, or hardly ever, the calls that they need for a judgement."""
    rates = calls_rps(scenario)
    for edge in edges:
        breaker = edge.policy.circuit_breaker
        if breaker is None or breaker.window_type == "consecutive" or (edge.caller, edge.target) not in rates:
            continue
        gates = _processes(scenario, edge.caller)
        if breaker.scope == "per_client_x_endpoint":
            gates *= _endpoints(scenario, edge.target)
        rate_rps = rates[edge.caller, edge.target] / gates
        way, of = f"{edge.caller} -> {edge.target}", f"each of {gates} breakers sees {rate_rps:.3g} calls/s"
        if breaker.window_type == "count":
            needed = min(breaker.minimum_calls, breaker.window_size)
            if rate_rps * scenario.run.end < needed:
                yield (
                    f"{way}: the circuit breaker never judges: {of}, and the run of {format_duration(scenario.run.end)} does not "
                    f"bring minimum_calls = {needed} together; lower minimum_calls, or let fewer processes call"
                )
        elif rate_rps * breaker.window_duration < breaker.minimum_calls:
            seen = rate_rps * breaker.window_duration
            yield (
                f"{way}: the circuit breaker hardly ever judges: {of}, {seen:.3g} in window_duration = "
                f"{format_duration(breaker.window_duration)}, and it needs minimum_calls = {breaker.minimum_calls}"
            )


def _processes(scenario: Scenario, caller: str) -> int:
    return scenario.load.clients if caller == CLIENT else scenario.services[caller].replicas


def _endpoints(scenario: Scenario, target: str) -> int:
    service = scenario.services.get(target.split(".")[0])
    return 1 if service is None else service.replicas


def _ejects_nobody(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """A largest share of ejected endpoints that is below one of them."""
    spec = edge.policy.outlier_detection
    if spec is None or spec.rules == "grpc" or spec.always_eject_one_host or not spec.max_ejection_percent:
        return
    endpoints, least = _endpoints(scenario, edge.target), math.ceil(100 / spec.max_ejection_percent)
    if endpoints < least:
        counted = f"{endpoints} endpoint{'' if endpoints == 1 else 's'}"
        yield (
            f"{edge.caller} -> {edge.target}: outlier detection ejects nobody: {edge.target} has {counted}, and "
            f"max_ejection_percent = {spec.max_ejection_percent:g} lets one go only out of {least} or more; raise it, or set "
            "always_eject_one_host"
        )


def _balances_blindly(scenario: Scenario, edge: Edge) -> Iterator[str]:
    """A balancer that waits for reports that never come, or that gives nothing to some endpoints."""
    balancing, service = edge.policy.balancing, scenario.services.get(edge.target.split(".")[0])
    way, endpoints = f"{edge.caller} -> {edge.target}", _endpoints(scenario, edge.target)
    if balancing.kind == "utilisation" and service is not None and service.workers == "unlimited":
        yield f"{way}: {edge.target} reports no utilisation, since its workers are unlimited: balancing is round robin"
    used = {"pick_first": 1}.get(balancing.kind, balancing.subset_size or endpoints)
    reached = _processes(scenario, edge.caller) * used
    if balancing.kind == "pick_first" and not balancing.shuffle and endpoints > 1:
        yield f"{way}: all processes use the same one of {endpoints} endpoints (pick_first); write shuffle: true, or another kind"
    elif reached < endpoints:
        yield (
            f"{way}: balancing leaves endpoints out: {_processes(scenario, edge.caller)} processes use {used} each, and "
            f"{edge.target} has {endpoints}; let more processes call, or let each use more"
        )
