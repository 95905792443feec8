"""Doubts about how callers find replicas: what is seen too late, and checks that say nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sim.laws import Law, Uniform
from sim.policies.discovery import Discovery
from sim.policies.health import HealthCheck
from sim.policies.registry import Registry
from sim.scenario.calls import CallPolicy
from sim.scenario.deployments import Deployment, Rollout, service_of
from sim.scenario.edges import CLIENT, selectors_of
from sim.scenario.faults import Crash, Errors, Pause, Stop
from sim.scenario.forecast import Edge, calls_rps
from sim.scenario.model import Scenario
from sim.scenario.presets import PRESETS
from sim.units import format_duration

_MINUTE_S: Final = 60.0
#: Settings of calls that say how a replica is chosen.
_CHOOSING: Final = ("discovery", "balancing", "health_check", "outlier_detection", "passive_health")


@dataclass(frozen=True)
class _Way:
    """Processes that choose replicas of a service: those that call it, or the proxies in between."""

    caller: str
    service: str
    processes: int
    policy: CallPolicy
    #: Calls per second that take this way; None where the load offers no rate.
    calls_rps: float | None

    @property
    def name(self) -> str:
        return f"{self.caller} -> {self.service}"


@dataclass(frozen=True)
class _Late:
    """How late something is known, in seconds, and the parts that add up to it."""

    mean_s: float = 0.0
    worst_s: float = 0.0
    parts: tuple[str, ...] = ()

    def and_(self, name: str, mean_s: float, worst_s: float) -> _Late:
        if not worst_s:
            return self
        parts = (*self.parts, f"{name} {_time(worst_s)}")
        return _Late(self.mean_s + mean_s, self.worst_s + worst_s, parts)


def doubts_of_finding(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What a careful reviewer would say about registries, discovery, health checks, stops and proxies."""
    ways = _ways(scenario, edges)
    for name in scenario.registries:
        yield from _never_evicts(scenario, name)
    yield from _beside_the_proxy(scenario, edges)
    yield from _short_drains(scenario, ways)
    yield from _unseen_crashes(scenario, ways)
    yield from _checks(scenario, ways)


def _ways(scenario: Scenario, edges: list[Edge]) -> list[_Way]:
    rates = calls_rps(scenario)
    found: dict[tuple[str, str], _Way] = {}
    for edge in edges:
        service, via = edge.target.split(".")[0], edge.policy.via
        if service not in scenario.services:
            continue
        processes = scenario.load.clients if edge.caller == CLIENT else scenario.services[edge.caller].replicas
        caller, policy = edge.caller, edge.policy
        if via is not None:
            caller, policy = via, scenario.policy(via, edge.target)
            proxy = scenario.proxies[via]
            processes = processes if proxy.placement == "sidecar" else proxy.replicas
        found.setdefault((caller, edge.target), _Way(caller, service, processes, policy, rates.get((edge.caller, edge.target))))
    return list(found.values())


def _never_evicts(scenario: Scenario, name: str) -> Iterator[str]:
    """Self-preservation among so few that one crash looks like a broken network."""
    spec = scenario.registries[name]
    there = sum(service.replicas for service in scenario.services.values() if service.registry == name)
    if _preserves(spec, there) and spec.heartbeat_interval is not None:
        each = _MINUTE_S / spec.heartbeat_interval
        threshold = int((there + spec.clients_at_start) * each * spec.self_preservation_percent / 100)
        yield (
            f"registry {name} evicts nobody: of {there} instances one crash leaves {(there - 1) * each:g} renewals a minute, and "
            f"self_preservation_percent = {spec.self_preservation_percent} wants more than {threshold}; callers keep choosing "
            "who has crashed. More instances, or self_preservation_percent: 0"
        )


def _preserves(spec: Registry, there: int) -> bool:
    """Whether one crash among so many instances stops all evictions."""
    if spec.heartbeat_interval is None or not spec.self_preservation_percent or not there:
        return False
    each = _MINUTE_S / spec.heartbeat_interval
    threshold = int((there + spec.clients_at_start) * each * spec.self_preservation_percent / 100)
    return threshold == 0 or (there - 1) * each <= threshold


def _of_callers(spec: Registry, discovery: Discovery, late: _Late) -> _Late:
    """What is added from a change of the table until calls know it."""
    late = late.and_("publish_delay", spec.publish_delay.mean, _most_s(spec.publish_delay))
    if spec.nodes > 1:
        late = late.and_("replication_delay", spec.replication_delay.mean, _most_s(spec.replication_delay))
    if discovery.mode == "push":
        late = late.and_("push_delay", discovery.push_delay.mean, _most_s(discovery.push_delay))
    else:
        late = late.and_("response_cache", spec.response_cache / 2, spec.response_cache)
        period_s = discovery.period_s
        name = "refresh_interval" if discovery.mode == "poll" else "keeps" if discovery.keeps is not None else "ttl"
        late = late.and_(name, period_s / 2, period_s)
    return late.and_("cache", discovery.cache / 2, discovery.cache)


def _most_s(law: Law) -> float:
    """The longest that a law draws where it has an end; its mean where it has none."""
    return law.high if isinstance(law, Uniform) else law.mean


def _lease(spec: Registry) -> _Late:
    """From a crash until the table says so, by leases."""
    heartbeat_s = spec.heartbeat_interval or 0.0
    lease_s = spec.lease_duration * (2 if spec.renewal_adds_lease else 1)
    late = _Late().and_("doubled lease" if spec.renewal_adds_lease else "lease", lease_s - heartbeat_s / 2, lease_s)
    return late.and_("eviction_interval", spec.eviction_interval / 2, spec.eviction_interval)


def _beside_the_proxy(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """What is written of a call through a proxy about choosing a replica: there the proxy chooses, by what is written of it."""
    told = set()
    for edge in edges:
        via, service = edge.policy.via, edge.target.split(".")[0]
        if via is None or service not in scenario.services:
            continue
        of_proxy = [scenario.calls[each] for each in selectors_of(via, edge.target, proxy=True) if each in scenario.calls]
        if any(_chooses(policy) for policy in of_proxy):
            continue
        for selector in selectors_of(edge.caller, edge.target):
            policy = scenario.calls.get(selector)
            if policy is None or (selector, via) in told or not (said := _chooses(policy)):
                continue
            told.add((selector, via))
            sidecar = scenario.proxies[via].placement == "sidecar"
            whom = "its own sidecar, the only one" if sidecar else f"one of {via}'s processes"
            verb, instead = "is" if len(said) == 1 else "are", said[0] if said[0].startswith("preset") else f"{said[0]}: …"
            yield (
                f"calls.{selector}: {' and '.join(said)} {verb} about choosing {whom}; among the replicas of {service} "
                f"{via} chooses, of which nothing is written: write `{via} -> {service}: {{{instead}}}` for that"
            )


def _chooses(policy: CallPolicy) -> list[str]:
    """What a policy as it is written says about choosing a replica; a preset that says something, by its name."""
    below = PRESETS[policy.preset].on if policy.preset is not None else {}
    return [name for name in _CHOOSING if name in policy.model_fields_set] or (
        [f"preset: {policy.preset}"] if any(name in below for name in _CHOOSING) else []
    )


def _short_drains(scenario: Scenario, ways: list[_Way]) -> Iterator[str]:
    """Stops that end before callers know of them."""
    stops = [(f"faults[{i}]", fault.stop, fault.drain) for i, fault in enumerate(scenario.faults) if isinstance(fault, Stop)]
    for i, deployment in enumerate(scenario.deployments):
        if deployment.at < scenario.run.end and _stops_some(scenario, deployment):
            stops.append((f"deployments[{i}]", service_of(deployment), deployment.drain))
    for where, service, drain_s in stops:
        late = [
            (_of_callers(registry, way.policy.discovery, told), way)
            for way, registry in _registered(scenario, ways, service)
            if (told := _told_of_stop(registry, drain_s)) is not None
        ]
        if not late:
            continue
        longest, way = max(late, key=lambda each: each[0].worst_s)
        parts, drain = " + ".join(longest.parts), _time(drain_s)
        if math.isinf(longest.worst_s):
            yield f"{where}: {way.name}: callers never learn that {service} has stopped ({parts})"
        elif longest.worst_s > drain_s * (1 + 1e-9):
            mean_s = longest.mean_s - drain_s
            mean = f", {_time(mean_s)} in the mean" if mean_s > 0 else ""
            yield (
                f"{where}: {way.name}: callers still choose {service} for up to {_time(longest.worst_s - drain_s)} "
                f"after it stops serving{mean} ({parts}, and drain = {drain}); such calls end unreachable"
            )


def _stops_some(scenario: Scenario, deployment: Deployment) -> bool:
    """Whether replicas end: in every rollout, and where fewer than there are at the start are wanted."""
    service = scenario.services.get(service_of(deployment))
    return service is not None and (isinstance(deployment, Rollout) or deployment.replicas < service.replicas)


def _told_of_stop(registry: Registry, drain_s: float) -> _Late | None:
    """From the beginning of a stop until the registry knows; None where only a check would find it."""
    if registry.deregister_on_stop:
        return _Late()
    if registry.heartbeat_interval is None:
        return None
    lease = _lease(registry)  # the last renewal may come just before the end
    return _Late(drain_s + lease.mean_s, drain_s + lease.worst_s, lease.parts)


def _registered(scenario: Scenario, ways: list[_Way], service: str) -> Iterator[tuple[_Way, Registry]]:
    """Ways to a service that has a registry, with it."""
    for way in ways:
        name = scenario.services[way.service].registry
        if way.service == service and name is not None:
            yield way, scenario.registries[name]


def _unseen_crashes(scenario: Scenario, ways: list[_Way]) -> Iterator[str]:
    """Crashes that callers may not know of before the run ends."""
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, Crash) or fault.at is None or fault.at >= scenario.run.end:
            continue
        left_s = min(scenario.run.end - fault.at, fault.for_ or math.inf)
        if left_s < scenario.run.end - fault.at:
            continue  # it is back before the run ends: whether anybody notices is what the run is for
        for way, registry in _registered(scenario, ways, fault.crash):
            late = _seen(registry, fault, scenario.services[way.service].readiness)
            if late is None:
                if not _finds_out(way.policy):
                    yield _nobody_tells(f"faults[{i}]: {way.name}", fault.crash)
                    break
                continue
            late = _of_callers(registry, way.policy.discovery, late)
            if late.worst_s > left_s:
                yield (
                    f"faults[{i}]: {way.name}: callers may not know of the crash of {fault.crash} before the run ends: it takes "
                    f"{_about(late)} ({' + '.join(late.parts)}), and {_time(left_s)} are left; a longer run.duration shows it"
                )
                break


def _nobody_tells(where: str, service: str) -> str:
    return (
        f"{where}: nobody tells the registry that {service} has crashed: no leases, no checks, and callers choose it until the "
        f"run ends; write services.{service}.readiness, for example {{preset: consul@1}}, or crash_delay of the registry"
    )


def _finds_out(policy: CallPolicy) -> bool:
    """Whether callers look for themselves who works."""
    looks = (policy.health_check, policy.outlier_detection, policy.passive_health)
    breaker = policy.circuit_breaker
    return any(look is not None for look in looks) or (breaker is not None and breaker.scope == "per_client_x_endpoint")


def _seen(registry: Registry, fault: Crash, readiness: HealthCheck | None) -> _Late | None:
    """From a crash until the registry knows; None where nobody tells it."""
    if registry.heartbeat_interval is not None:
        return _lease(registry)
    if fault.silent:
        delay = registry.vanish_delay
        return None if delay is None else _Late().and_("vanish_delay", delay.mean, _most_s(delay))
    if registry.crash_delay is not None:
        return _Late().and_("crash_delay", registry.crash_delay.mean, _most_s(registry.crash_delay))
    if readiness is None:
        return None
    least_s = (readiness.unhealthy_threshold - 1) * readiness.interval
    return _Late().and_("readiness", least_s + readiness.interval / 2, least_s + readiness.interval)


def _checks(scenario: Scenario, ways: list[_Way]) -> Iterator[str]:
    """Checks that never end in time, that cannot fail, or that are more than the load."""
    may_fail = {fault.crash for fault in scenario.faults if isinstance(fault, Crash)}
    may_fail |= {fault.pause for fault in scenario.faults if isinstance(fault, Pause)}
    may_fail |= {fault.errors for fault in scenario.faults if isinstance(fault, Errors)}
    for name, service in scenario.services.items():
        if service.readiness is None:
            continue
        yield from _slow_checks(f"services.{name}.readiness", service.readiness)
        if service.workers == "unlimited" and service.cpu is None and name not in may_fail:
            yield (
                f"services.{name}.readiness: nothing here makes it fail: with workers: unlimited a replica is never too busy to "
                "answer, and no fault crashes or pauses it; write how many workers there are, or leave it out"
            )
    for way in ways:
        check = way.policy.health_check
        if check is None:
            continue
        yield from _slow_checks(f"{way.name}: health_check", check)
        endpoints = scenario.services[way.service].replicas
        checks_rps = way.processes * endpoints / check.interval
        if way.calls_rps is not None and checks_rps > way.calls_rps:
            yield (
                f"{way.name}: more checks than calls: {way.processes} processes check {endpoints} endpoints every "
                f"{_time(check.interval)}, {checks_rps:.3g}/s, and make {way.calls_rps:.3g} calls/s; a longer interval, or let "
                "the registry know (readiness)"
            )


def _slow_checks(where: str, check: HealthCheck) -> Iterator[str]:
    window_s = check.interval * check.unhealthy_threshold
    if check.timeout > window_s:
        yield (
            f"{where}: timeout = {_time(check.timeout)} is longer than interval × unhealthy_threshold = {_time(window_s)}: who "
            "hangs is out later than these say; shorten the timeout"
        )


def _about(late: _Late) -> str:
    return "for ever" if math.isinf(late.worst_s) else f"{_time(late.mean_s)} in the mean and up to {_time(late.worst_s)}"


def _time(seconds: float) -> str:
    return "for ever" if math.isinf(seconds) else format_duration(seconds)
