"""Sizes beyond which a run would hardly begin or never end: refused with what would be right, before anything hangs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.policies.discovery import Discovery
from sim.policies.health import HealthCheck
from sim.policies.registry import Registry
from sim.scenario.edges import CLIENT, edges_of
from sim.scenario.faults import Crash, Errors, Fault, Pause, Slow, Stop
from sim.scenario.load import Daily
from sim.units import format_duration
from sim.values import Spec

if TYPE_CHECKING:
    from sim.scenario.model import Scenario

#: Samples, failures and tasks that wait all the time: a million of them takes seconds and about a gigabyte.
_MANY: Final = 1_000_000
#: A day is drawn with about a hundred pieces.
_MANY_DAYS: Final = 10_000
_SHORTEST_S: Final = 1e-6
#: The clock has 15 digits; with these many before the measured time it still shows microseconds of a second.
_LONGEST_WARMUP: Final = 1e9
#: What Linux allows at least, for the quota and for its period.
_SHORTEST_QUOTA_S: Final = 0.001
#: What happens again and again happens no more often than this.
_SHORTEST_INTERVAL_S: Final = 0.001
#: Each process holds a list of what it believes: of so many entries in all it takes a hundred megabytes.
_MANY_BELIEFS: Final = 5_000_000
#: Heartbeats, lookups or checks of a run: so many take an hour.
_MANY_MESSAGES: Final = 100_000_000
#: Settings that are intervals; 0 stays allowed where it means "not at all".
_INTERVALS: Final = {
    Registry: ("heartbeat_interval", "eviction_interval", "response_cache"),
    Discovery: ("refresh_interval", "ttl", "keeps", "cache", "retry_interval"),
    HealthCheck: ("interval", "unhealthy_interval", "edge_interval", "timeout"),
}


def problems_of_size(scenario: Scenario) -> Iterator[str]:
    """Settings that are far too small or too large beside each other, each as `path: message`."""
    run = scenario.run
    if run.duration < _SHORTEST_S or run.duration * _LONGEST_WARMUP < run.warmup:
        least_s = max(_SHORTEST_S, run.warmup / _LONGEST_WARMUP)
        yield f"run.duration: {run.duration:g} s is too short to measure anything; take at least {format_duration(least_s)}"
    if run.sample_every is not None and run.sample_every < run.end / _MANY:
        yield f"run.sample_every: {run.sample_every:g} s makes more than a million samples; the run lasts {run.end:g} s"
    if isinstance(scenario.load, Daily) and scenario.load.period < run.end / _MANY_DAYS:
        least_s = run.end / _MANY_DAYS
        yield (
            f"load.period: {scenario.load.period:g} s makes more than {_MANY_DAYS:,} days in a run of {run.end:g} s; "
            f"take at least {format_duration(least_s)}"
        )
    for name, service in scenario.services.items():
        if service.cpu is not None and service.cpu.quota < _SHORTEST_QUOTA_S:
            yield f"services.{name}.cpu.quota: {service.cpu.quota:g} s is less than Linux allows; write at least 1ms"
    yield from _too_many(scenario)
    yield from _too_often(scenario)
    yield from _too_much_to_know(scenario)


def _too_often(scenario: Scenario) -> Iterator[str]:
    """Intervals of finding replicas in which hardly any time passes."""
    places: list[tuple[str, Spec | None]] = [(f"registries.{name}", spec) for name, spec in scenario.registries.items()]
    places += [(f"services.{name}.readiness", service.readiness) for name, service in scenario.services.items()]
    for selector, policy in scenario.calls.items():
        places += [(f"calls.{selector}.discovery", policy.discovery), (f"calls.{selector}.health_check", policy.health_check)]
    for where, spec in places:
        for key in _INTERVALS[type(spec)] if spec is not None else ():
            value = getattr(spec, key)
            if isinstance(value, float) and 0 < value < _SHORTEST_INTERVAL_S:
                yield f"{where}.{key}: {value:g} s is too short to be simulated; write at least 1ms"


def _too_much_to_know(scenario: Scenario) -> Iterator[str]:
    """Processes and replicas whose beliefs, lookups, checks or heartbeats would fill the memory or the day."""
    end_s, told = scenario.run.end, set()
    for name, service in scenario.services.items():
        registry = scenario.registries.get(service.registry or "")
        if registry is not None and registry.heartbeat_interval is not None:
            key = f"registries.{service.registry}.heartbeat_interval"
            yield from _too_many_messages(
                key,
                f"{service.replicas:,} replicas of {name}",
                service.replicas,
                end_s,
                registry.heartbeat_interval,
                "heartbeats",
            )
        if service.readiness is not None:
            yield from _too_many_messages(
                f"services.{name}.readiness.interval",
                f"{service.replicas:,} replicas",
                service.replicas,
                end_s,
                service.readiness.interval,
                "checks",
            )
    for caller, target in edges_of(scenario):
        name = target.split(".")[0]
        if name not in scenario.services or (caller != CLIENT and caller not in scenario.services):
            continue
        service, policy = scenario.services[name], scenario.policy(caller, target)
        processes = scenario.load.clients if caller == CLIENT else scenario.services[caller].replicas
        if policy.via is not None:
            proxy = scenario.proxies.get(policy.via)
            if proxy is None:
                continue  # told elsewhere
            caller, policy = policy.via, scenario.policy(policy.via, target)
            processes = processes if proxy.placement == "sidecar" else proxy.replicas
        found, beliefs, who = [], processes * service.replicas, f"{processes:,} processes of {caller}"
        if (service.registry is not None or policy.health_check is not None) and beliefs > _MANY_BELIEFS:
            found.append(
                f"services.{name}.replicas: {who} that each know {service.replicas:,} replicas hold {beliefs:,} entries; "
                f"more than {_MANY_BELIEFS:,} are not simulated: fewer processes, fewer replicas, or a proxy between (via)"
            )
        if service.registry is not None:
            found += _too_many_messages(
                f"calls.{caller} -> {name}.discovery", who, processes, end_s, policy.discovery.period_s, "lookups"
            )
        if policy.health_check is not None:
            found += _too_many_messages(
                f"calls.{caller} -> {name}.health_check.interval",
                f"{who} × {service.replicas:,}",
                beliefs,
                end_s,
                policy.health_check.interval,
                "checks",
            )
        yield from (text for text in found if text not in told)
        told.update(found)


def _too_many_messages(where: str, who: str, senders: int, end_s: float, interval_s: float, what: str) -> Iterator[str]:
    number = senders * end_s / interval_s
    if number > _MANY_MESSAGES:
        least_s = senders * end_s / _MANY_MESSAGES
        yield (
            f"{where}: {who} make some {number:.2g} {what} in a run, one each every {format_duration(interval_s)}; take at least "
            f"{format_duration(least_s)}, or a shorter run"
        )


def _too_many(scenario: Scenario) -> Iterator[str]:
    for name, queue in scenario.queues.items():
        service = scenario.services.get((queue.consumer or "").split(".")[0])
        if service is not None and service.replicas * queue.consumers > _MANY:
            there = service.replicas * queue.consumers
            yield (
                f"queues.{name}.consumers: {queue.consumers:,} on each of {service.replicas:,} replicas are {there:,}; "
                f"more than {_MANY:,} are not simulated"
            )
        if service is not None and queue.delivery == "poll":
            there, pause_s = service.replicas * queue.consumers, queue.receive_wait + queue.poll_interval
            where = f"queues.{name}.{'receive_wait' if queue.receive_wait else 'poll_interval'}"
            yield from _too_many_messages(where, f"{there:,} consumers", there, scenario.run.end, pause_s, "questions")
    for name, log in scenario.logs.items():
        for group in log.groups:
            spec = log.group(group)
            service = scenario.services.get(spec.consumer.split(".")[0])
            if service is None:
                continue  # told elsewhere
            where, there = f"logs.{name}.groups.{group}", service.replicas * spec.consumers
            for key in ("fetch_wait", "heartbeat_interval"):
                value = getattr(spec, key)
                if value < _SHORTEST_INTERVAL_S:
                    yield f"{where}.{key}: {value:g} s is too short to be simulated; write at least 1ms"
                yield from _too_many_messages(
                    f"{where}.{key}", f"{there:,} consumers", there, scenario.run.end, value, "questions"
                )
    for i, fault in enumerate(scenario.faults):
        if fault.mtbf is None or fault.mttr is None:
            continue
        failures = scenario.run.end / (fault.mtbf + fault.mttr) * _clocks(scenario, fault)
        if failures > _MANY:
            yield f"faults[{i}].mtbf: {fault.mtbf:g} s makes some {failures:.2g} failures in a run; take more, or a shorter run"


def _clocks(scenario: Scenario, fault: Fault) -> int:
    """By how many clocks a fault comes and goes: one for each replica, if it says so."""
    match fault:
        case (
            Crash(crash=target, replica="each")
            | Slow(slow=target, replica="each")
            | Pause(pause=target, replica="each")
            | Errors(errors=target, replica="each")
            | Stop(stop=target, replica="each")
        ):
            service = scenario.services.get(target.split(".")[0])  # a wrong name is told elsewhere
            return service.replicas if service is not None else 1
        case _:
            return 1
