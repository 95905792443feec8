"""Sizes beyond which a run would hardly begin or never end: refused with what would be right, before anything hangs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.scenario.faults import Crash, Errors, Fault, Pause, Slow, Stop
from sim.scenario.load import Daily
from sim.units import format_duration

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


def _too_many(scenario: Scenario) -> Iterator[str]:
    for name, queue in scenario.queues.items():
        service = scenario.services.get(queue.consumer.split(".")[0])
        if service is not None and service.replicas * queue.consumers > _MANY:
            there = service.replicas * queue.consumers
            yield (
                f"queues.{name}.consumers: {queue.consumers:,} on each of {service.replicas:,} replicas are {there:,}; "
                f"more than {_MANY:,} are not simulated"
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
