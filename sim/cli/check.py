"""``sim check``: a scenario on one screen, and what arithmetic alone says about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sim.scenario.doubts import doubts, doubts_between, doubts_of_cases
from sim.scenario.faults import Partition
from sim.scenario.forecast import Forecast, ServiceForecast, forecast
from sim.scenario.messaging.broker_load import broker_utilisation
from sim.scenario.messaging.requests import carriers_of_replies
from sim.scenario.model import Comparison, Scenario
from sim.scenario.words import counted
from sim.scenario.zone_doubts import placements
from sim.units import format_duration

if TYPE_CHECKING:
    from rich.table import Table

    from sim.scenario.deployments import Deployment
    from sim.scenario.faults import Fault


def summary(found: Scenario | Comparison) -> dict[str, Any]:
    """Everything that the check found, as data."""
    if isinstance(found, Scenario):
        return _of_scenario(found, doubts(found))
    cases = [
        {"candidate": candidate, "condition": condition, **_of_scenario(found.candidates[candidate][condition], said)}
        for candidate, condition, said in doubts_of_cases(found)
    ]
    return {"kind": "comparison", "name": found.name, "question": found.question, "doubts": doubts_between(found), "cases": cases}


def _of_scenario(scenario: Scenario, said: list[str]) -> dict[str, Any]:
    expected = forecast(scenario)
    return {
        "kind": "scenario",
        "name": scenario.name,
        "question": scenario.question,
        "hash": scenario.hash,
        "rate_rps": expected.rate_rps,
        "peak_rps": expected.peak_rps,
        "requests": expected.requests,
        "attempts": expected.attempts,
        "replications": scenario.run.replications,
        "services": [asdict(service) for service in expected.services],
        "slos": [slo.text for slo in scenario.slos],
        "doubts": said,
    }


def service_table(scenario: Scenario, expected: Forecast) -> Table:
    """One line per service: size, visits, times and utilisation."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("service")
    for name in ("replicas × workers", "line", "visits", "work", "held", "utilisation"):
        table.add_column(name, justify="right", no_wrap=True)
    for service in expected.services:
        spec = scenario.services[service.name]
        table.add_row(
            service.name,
            f"{service.replicas} × {spec.workers}",
            str(spec.queue.capacity),
            rate(service.visits_rps) if expected.rate_rps is not None else "–",
            format_duration(service.work_s),
            format_duration(service.held_s),
            _utilisation(service),
        )
    return table


def _utilisation(service: ServiceForecast) -> str:
    parts = []
    if service.utilisation is not None:
        parts.append(_percent(service.utilisation))
        if service.peak_utilisation is not None and service.peak_utilisation > service.utilisation * 1.001:
            parts.append(f"peak {_percent(service.peak_utilisation)}")
    if service.cpu_utilisation is not None:
        parts.append(f"CPU {_percent(service.cpu_utilisation)}")
        if service.peak_cpu_utilisation is not None and service.peak_cpu_utilisation > service.cpu_utilisation * 1.001:
            parts.append(f"peak {_percent(service.peak_cpu_utilisation)}")
    return ", ".join(parts) or "–"


def _percent(ratio: float) -> str:
    return f"[bold red]{_plain_percent(ratio)}[/]" if ratio >= 1 else _plain_percent(ratio)


def _plain_percent(ratio: float) -> str:
    return f"{100 * ratio:.3g} %" if ratio < 10 else f"{100 * ratio:.0f} %"


def rate(per_second: float) -> str:
    """A rate with three digits.

    >>> rate(0.12345), rate(12345.6)
    ('0.123/s', '12346/s')
    """
    return f"{per_second:.3g}/s" if per_second < 1000 else f"{per_second:.0f}/s"


def headline(scenario: Scenario, expected: Forecast) -> list[str]:
    """What is asked, of how many, for how long."""
    run, load = scenario.run, scenario.load
    offered = "as fast as it is answered" if expected.rate_rps is None else rate(expected.rate_rps)
    if expected.peak_rps is not None and expected.rate_rps is not None and expected.peak_rps > expected.rate_rps * 1.001:
        offered += f", {rate(expected.peak_rps)} at the peak"
    if load.kind == "closed" and expected.rate_rps is not None:
        offered = f"at most {offered}"
    mix = ", ".join(load.mix) if len(load.mix) <= 4 else f"{len(load.mix)} operations"
    warmup = f" after {run.warmup:g} s of warm-up" if run.warmup else ""
    attempts = "calls, publishes and deliveries" if scenario.queues or scenario.logs else "attempts"
    size = (
        ""
        if expected.requests is None or expected.attempts is None
        else f", some {_count(expected.requests)} requests and {_count(expected.attempts)} {attempts} each"
    )
    lines = [scenario.question] if scenario.question else []
    lines.append(f"load      {load.kind} of {mix}, {offered}")
    lines.append(f"runs      {run.replications} of {run.duration:g} s{warmup}, seeds from {run.seed}{size}")
    return lines


def _count(number: float) -> str:
    """A rounded whole number with separators.

    >>> _count(12345.6), _count(0.4)
    ('12,300', '0')
    """
    return f"{float(f'{number:.3g}'):,.0f}"


def details(scenario: Scenario) -> list[str]:
    """Queues, registries, proxies, what happens when, and objectives, a line each."""
    lines = []
    waiting = carriers_of_replies(scenario)

    def nobody(name: str) -> str:
        return "whoever asked" if name in waiting else "nobody"

    for name, queue in scenario.queues.items():
        what = "".join(f" ({said})" for said in (queue.preset, queue.broker and f"on {queue.broker}") if said)
        lines.append(f"queue     {name}{what} → {queue.consumer or nobody(name)}")
    lines += [f"topic     {name} → {', '.join(topic.subscriptions)}" for name, topic in scenario.topics.items()]
    for name, log in scenario.logs.items():
        what = "".join(f" ({said})" for said in (log.preset, log.broker and f"on {log.broker}") if said)
        readers = ", ".join(f"{group} {spec.consumer}" for group, spec in log.groups.items())
        lines.append(f"log       {name}{what}: {counted(log.partitions, 'partition')} → {readers or nobody(name)}")
    utilisation = broker_utilisation(scenario)
    for name, broker in scenario.brokers.items():
        busy = f", utilisation {_plain_percent(utilisation[name])}" if name in utilisation else ""
        copies = counted(broker.copies, "copy", "copies")
        lines.append(f"broker    {name}: {counted(broker.nodes, 'node')}, {copies}{busy}")
    for name, registry in scenario.registries.items():
        members = [member for member, service in scenario.services.items() if service.registry == name]
        what = registry.preset or ("no leases" if registry.heartbeat_interval is None else "leases")
        lines.append(f"registry  {name} ({what}) of {', '.join(members) or 'nobody'}")
    for name, proxy in scenario.proxies.items():
        what = f"tier of {proxy.replicas}" if proxy.placement == "tier" else "sidecars"
        what += ", of connections" if proxy.layer == 4 else ""
        users = [selector for selector, policy in scenario.calls.items() if policy.via == name]
        lines.append(f"proxy     {name} ({what}) for calls of {', '.join(users) or 'nobody'}")
    if scenario.zones:
        lines.append(f"zones     {'; '.join(f'{zone}: {_listed(here)}' for zone, here in placements(scenario).items())}")
    for what, events in (("fault", scenario.faults), ("deploy", scenario.deployments)):
        lines += [f"{what:9} {_event(event)}" for event in events]
    lines += [f"objective {slo.text}" for slo in scenario.slos]
    lines += [f"guess     {path} {bounds}" for path, bounds in scenario.guesses.items()]
    return lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing"


def _event(event: Fault | Deployment) -> str:
    """What happens, and when, in one line."""
    said = event.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if isinstance(event, Partition):
        said["partition"] = event.sides
    kind = next(name for name, field in type(event).model_fields.items() if field.is_required() and name != "at")
    return ", ".join([f"{kind} {said.pop(kind)}", *(f"{key} {value}" for key, value in said.items())])


def case_table(found: Comparison) -> Table:
    """One line per candidate and condition: what it offers, and its busiest service."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("condition", "candidate", "load", "faults", "busiest service", "hash"):
        table.add_column(name, overflow="fold")
    for candidate, condition, scenario in found.scenarios():
        expected = forecast(scenario)
        limited = [service for service in expected.services if service.utilisation is not None]
        busiest = max(limited, key=lambda service: service.peak_utilisation or 0.0, default=None)
        table.add_row(
            condition,
            candidate,
            f"{scenario.load.kind}{'' if expected.rate_rps is None else f' {rate(expected.rate_rps)}'}",
            str(len(scenario.faults)),
            "–" if busiest is None else f"{busiest.name} {_utilisation(busiest)}",
            scenario.hash,
        )
    return table
