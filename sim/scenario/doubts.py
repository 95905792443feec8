"""Settings that are allowed and look like mistakes: each as a sentence that says what will happen, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from sim.scenario.connection_doubts import doubts_of_connections
from sim.scenario.edges import edges_of as ways_of
from sim.scenario.edges import operations_of, steps_of
from sim.scenario.faults import Crash, LinkFault, Partition, ZoneOutage
from sim.scenario.finding_doubts import doubts_of_finding
from sim.scenario.forecast import Edge, Forecast, edges_of, forecast
from sim.scenario.load import Daily, Replay
from sim.scenario.messaging.doubts import doubts_of_messages
from sim.scenario.model import Comparison, Scenario
from sim.scenario.policy_doubts import doubts_of_policies
from sim.scenario.protocol_doubts import doubts_of_protocols
from sim.scenario.services import Commit, ReadVersion
from sim.scenario.slips import slips
from sim.scenario.unused import uses
from sim.scenario.words import without_numbers
from sim.scenario.zone_doubts import doubts_of_zones
from sim.units import format_duration

#: A run with more attempts than this takes gigabytes.
MANY_ATTEMPTS: Final = 20_000_000
_MANY_RETRIES: Final = 4
#: Less of a day than this is no curve.
_SHORT_OF_A_DAY: Final = 0.1
#: A percentile is read from at least this many answers above it.
_ANSWERS_ABOVE: Final = 10
#: So many points of a sweep are asked for doubts, which take some milliseconds each.
_MOST_POINTS: Final = 200


def doubts(scenario: Scenario) -> list[str]:
    """All doubts about a scenario, the gravest first; an empty list is no promise."""
    edges = edges_of(scenario)
    expected = forecast(scenario)
    found = [
        *_overload(expected, saves_work(scenario, edges)),
        *doubts_of_messages(scenario),
        *_nothing_arrives(scenario, edges),
        *_lost_for_ever(scenario, edges),
        *_retries_through_layers(edges),
        *_endless(edges),
        *_deadlines(edges),
        *doubts_of_policies(scenario, edges),
        *slips(scenario),
        *_unread_rows(scenario),
        *(doubt for doubt in uses(scenario, edges).values() if doubt is not None),
        *doubts_of_finding(scenario, edges),
        *doubts_of_zones(scenario, edges, expected),
        *doubts_of_connections(scenario, edges),
        *doubts_of_protocols(scenario, edges),
        *_objectives_without_effect(scenario),
        *_load_in_time(scenario, expected),
        *_faults_in_time(scenario),
        *_long_enough(scenario, expected),
    ]
    return list(dict.fromkeys(found))


def doubts_of_cases(comparison: Comparison) -> Iterator[tuple[str, str, list[str]]]:
    """Candidate, condition and doubts of each scenario; about what is never used only where that is so in all of them."""
    cases = list(comparison.scenarios())
    for (candidate, condition, _), said in zip(cases, _of_each([scenario for _, _, scenario in cases]), strict=True):
        yield candidate, condition, said


def _of_each(scenarios: Sequence[Scenario]) -> Iterator[list[str]]:
    """The doubts of each scenario; about what is never used only where that is so in all of them."""
    uses_of = [uses(scenario) for scenario in scenarios]
    used = {name for found in uses_of for name, doubt in found.items() if doubt is None}
    for scenario, found in zip(scenarios, uses_of, strict=True):
        elsewhere = {doubt for name, doubt in found.items() if name in used}
        yield [doubt for doubt in doubts(scenario) if doubt not in elsewhere]


def doubts_of_points(points: Sequence[tuple[str, Scenario]]) -> list[str]:
    """The doubts at points of some settings: each once, whatever its numbers, with the first point that has it.

    Args:
        points: what each point is called, and its scenario; of more than two hundred some of them are asked, evenly spread.
    """
    step = math.ceil(len(points) / _MOST_POINTS) or 1
    points = points[::step]
    told: dict[str, list[tuple[str, str]]] = {}
    for (label, _), said in zip(points, _of_each([scenario for _, scenario in points]), strict=True):
        for doubt in said:
            told.setdefault(without_numbers(doubt), []).append((label, doubt))
    found = []
    for where in told.values():
        label, doubt = where[0]
        everywhere = len(where) == len(points) and len({one for _, one in where}) == 1
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        found.append(doubt if everywhere else f"{label}{more}: {doubt}")
    return found


def overloads(scenario: Scenario) -> list[str]:
    """Of the doubts those about services that get more work than they can do, whose backlog grows as long as a run lasts."""
    return list(_overload(forecast(scenario), saves_work(scenario, edges_of(scenario))))


def doubts_of(found: Scenario | Comparison) -> list[str]:
    """All doubts; of a comparison those between candidates first, each other once, with its cases where these are not all."""
    if isinstance(found, Scenario):
        return doubts(found)
    said: dict[str, list[str]] = {}
    for candidate, condition, told in doubts_of_cases(found):
        for doubt in told:
            case = f"{candidate} under {condition}" if len(found.conditions) > 1 else candidate
            said.setdefault(doubt, []).append(case)
    everywhere = len(found.candidates) * len(found.conditions)
    return [*doubts_between(found), *(doubt + _whose(cases, everywhere) for doubt, cases in said.items())]


def _whose(cases: list[str], everywhere: int) -> str:
    if len(cases) == everywhere:
        return ""
    return f" ({', '.join(cases[:2])}{f' and {len(cases) - 2} more' if len(cases) > 2 else ''})"


def doubts_between(comparison: Comparison) -> list[str]:
    """Candidates that are one scenario under every condition: what one changes was so already, or was not meant."""
    same: dict[tuple[str, ...], list[str]] = {}
    for candidate, by_condition in comparison.candidates.items():
        same.setdefault(tuple(by_condition[name].hash for name in comparison.conditions), []).append(candidate)
    return [
        f"{', '.join(names[:-1])} and {names[-1]} are the same scenario{' under every condition' if len(hashes) > 1 else ''}: "
        "their runs will be equal; what one of them changes is so already, or is not what was meant (sim show prints both)"
        for hashes, names in same.items()
        if len(names) > 1
    ]


def saves_work(scenario: Scenario, edges: list[Edge]) -> bool:
    """Whether there are caches or batches: what they save is not known before the run."""
    policies = [edge.policy for edge in edges]
    saves = any(policy.cache is not None or policy.batch is not None for policy in policies)
    return saves or any(op.cache is not None for op in operations_of(scenario).values())


def _overload(expected: Forecast, saves_work: bool) -> Iterator[str]:
    if saves_work:
        return
    for service in expected.services:
        if service.workers is not None and service.utilisation is not None and service.utilisation >= 1:
            need = math.floor(service.utilisation * service.workers * service.replicas) + 1
            yield (
                f"{service.name} cannot keep up: utilisation {service.utilisation:.3g} of its "
                f"{service.workers * service.replicas} workers; it needs at least {need}, or less work"
            )
        elif service.peak_utilisation is not None and service.peak_utilisation >= 1:
            yield f"{service.name} cannot keep up at the peak: utilisation {service.peak_utilisation:.3g} of its workers"
        if service.cpu_utilisation is not None and service.cpu_utilisation >= 1:
            yield f"{service.name} cannot keep up: its work needs {service.cpu_utilisation:.3g} times its CPU limit"
        elif service.peak_cpu_utilisation is not None and service.peak_cpu_utilisation >= 1:
            times = f"{service.peak_cpu_utilisation:.3g} times its CPU limit"
            yield f"{service.name} cannot keep up at the peak: its work needs {times}"


def _lost_between_zones(scenario: Scenario) -> list[str]:
    """Why a call may vanish on its way to another zone, or there."""
    causes = ["a zone is down silently" for fault in scenario.faults if isinstance(fault, ZoneOutage) and fault.silent]
    causes += ["zones are cut off from each other" for fault in scenario.faults if isinstance(fault, Partition)]
    return causes + ["a link between zones loses messages" for link in scenario.zone_links.values() if link.loss]


def _objectives_without_effect(scenario: Scenario) -> Iterator[str]:
    """Objectives of effects that nobody calls for, and whose queue gets no message."""
    letters = [queue.dead_letter for queue in scenario.queues.values()]
    letters += [log.group(name).dead_letter for log in scenario.logs.values() for name in log.groups]
    targets = {target for _, target in ways_of(scenario)} | {letter for letter in letters if letter is not None}
    reached = targets | {consumer for target in targets for consumer in scenario.consumers(target).values()}
    for slo in scenario.slos:
        if slo.effect and slo.of is not None and slo.of not in reached:
            yield f"objective {slo.text}: nobody asks for {slo.of}, so it fails without a value; publish to it, or leave it out"


def _nothing_arrives(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Links that lose all."""
    for caller, to in dict.fromkeys((edge.caller, edge.policy.via or edge.target.split(".")[0]) for edge in edges):
        if scenario.link(caller, to).loss >= 1:
            yield f"{caller} -> {to}: the link loses 100 % of what is sent, so nothing ever arrives; write a smaller loss"


def _lost_for_ever(scenario: Scenario, edges: list[Edge]) -> Iterator[str]:
    """Edges on which an answer may never come, and nobody stops waiting."""
    silent = {fault.crash for fault in scenario.faults if isinstance(fault, Crash) and fault.silent}
    lossy = {fault.link for fault in scenario.faults if isinstance(fault, LinkFault) and (fault.loss or fault.partition)}
    for edge in edges:
        if edge.policy.timeout is not None or edge.policy.per_try_timeout is not None:
            continue
        caller, service = edge.caller, edge.target.split(".")[0]
        selectors = ("default", caller, service, f"{caller} -> {service}", f"{service} -> {caller}")
        loss = scenario.link(caller, service).loss
        repaired = edge.policy.protocol is not None  # then packets are lost, and sent again
        causes = [f"the link loses {100 * loss:.3g} % of its messages"] if loss and not repaired else []
        causes += [f"{service} crashes silently"] if service in silent else []
        causes += _lost_between_zones(scenario)
        causes += [f"a link fault loses messages at {selector}" for selector in selectors if selector in lossy]
        if causes:
            yield (
                f"{caller} -> {edge.target} has no timeout, and {causes[0]}: such a call is never answered and holds its "
                f"worker for ever; set calls.{service}.timeout"
            )


def _retries_through_layers(edges: list[Edge]) -> Iterator[str]:
    """How many attempts one request may become where several layers retry."""
    by_operation: dict[str | None, list[Edge]] = {}
    for edge in edges:
        by_operation.setdefault(edge.operation, []).append(edge)
    worst: dict[str, tuple[float, list[str]]] = {}
    waiting: list[tuple[str | None, float, list[str]]] = [(None, 1.0, [])]
    while waiting:
        operation, factor, path = waiting.pop()
        for edge in by_operation.get(operation, ()):
            attempts = edge.policy.retry.max_attempts
            tries = factor * (attempts if isinstance(attempts, int) else math.inf)
            taken = [*path, f"{edge.caller} -> {edge.target} × {attempts}"] if attempts != 1 else path
            if tries > worst.get(edge.target, (0.0, []))[0]:  # else what follows is known to be no worse
                worst[edge.target] = (tries, taken)
                waiting.append((edge.target, tries, taken))
    layered = {target: found for target, found in worst.items() if len(found[1]) > 1 and found[0] >= _MANY_RETRIES}
    if layered:
        target, (factor, path) = max(layered.items(), key=lambda item: (item[1][0], len(item[1][1])))
        number = "any number of" if math.isinf(factor) else f"{factor:g}"
        yield (
            f"retries multiply through layers: one call may become {number} attempts at {target} ({', '.join(path)}); "
            "retry in one layer"
        )


def _endless(edges: list[Edge]) -> Iterator[str]:
    """Retries that nothing ends."""
    for edge in edges:
        policy, way = edge.policy, f"{edge.caller} -> {edge.target}"
        if policy.retry.max_attempts != "unlimited":
            continue
        if not (policy.retry.backoff.base and policy.retry.backoff.max):
            yield (
                f"{way} retries without end and without a pause: where failing takes no time, all tries are one instant; write "
                "retry.backoff: {base: 50ms}, or a number for max_attempts"
            )
        elif policy.timeout is None:
            yield f"{way} retries without end and without timeout; set retry.max_attempts or timeout"


def _deadlines(edges: list[Edge]) -> Iterator[str]:
    """Retries that the deadline of their call leaves no time for."""
    for edge in edges:
        policy, way = edge.policy, f"{edge.caller} -> {edge.target}"
        if policy.timeout is None:
            continue
        if policy.per_try_timeout is not None and policy.per_try_timeout >= policy.timeout:
            yield (
                f"{way}: per_try_timeout {format_duration(policy.per_try_timeout)} never strikes before the timeout of "
                f"{format_duration(policy.timeout)}, which is the whole call's"
            )
            continue
        tries = policy.retry.max_attempts
        if not isinstance(tries, int) or tries == 1:
            continue
        try_s = policy.per_try_timeout or 0.0
        pauses = [policy.retry.backoff.pause_s(n, 0.0, 0.5) for n in range(1, min(tries, 100))]
        needed_s = try_s * (tries - 1) + sum(pauses)
        if needed_s >= policy.timeout:
            yield (
                f"{way}: retry.max_attempts = {tries} does not fit into timeout = {format_duration(policy.timeout)}: tries and "
                f"pauses before the last one may take {format_duration(needed_s)}"
            )


def _faults_in_time(scenario: Scenario) -> Iterator[str]:
    run = scenario.run
    for i, fault in enumerate(scenario.faults):
        if fault.at is None:
            continue
        if fault.at >= run.end:
            yield f"faults[{i}] begins at {fault.at:g} s, after the last arrival at {run.end:g} s; nothing will be seen of it"
        elif fault.for_ is not None and fault.at + fault.for_ <= run.warmup:
            yield f"faults[{i}] ends at {fault.at + fault.for_:g} s, within the warm-up of {run.warmup:g} s, which does not count"


def _load_in_time(scenario: Scenario, expected: Forecast) -> Iterator[str]:
    """Loads of which the measured window sees nothing, or hardly anything."""
    run, load = scenario.run, scenario.load
    window = f"the measured window from {run.warmup:g} s to {run.end:g} s"
    if isinstance(load, Replay):
        times = [time for time in load.times if isinstance(time, float)]
        if times and not expected.rate_rps:
            where = "in the warm-up" if times[-1] < run.warmup else "after the end" if times[0] >= run.end else "outside"
            yield (
                f"load: none of the {len(times)} replayed times, {times[0]:g} s to {times[-1]:g} s, lies in {window}, all are "
                f"{where}: nothing is measured; set run.warmup and run.duration to fit them"
            )
    elif expected.rate_rps == 0:
        yield f"load: no request arrives in {window}: nothing is measured"
    if isinstance(load, Daily) and run.duration < load.period * _SHORT_OF_A_DAY:
        seen = 100 * run.duration / load.period
        yield (
            f"load: of a day of {load.period:g} s the run sees {seen:.2g} %, at {expected.rate_rps:.3g} requests/s in the mean: "
            "no curve; shorten load.period, or take a load at a constant rate"
        )


def _long_enough(scenario: Scenario, expected: Forecast) -> Iterator[str]:
    if expected.rate_rps:
        requests = expected.rate_rps * scenario.run.duration
        for slo in scenario.slos:
            if not slo.metric.startswith("p"):
                continue
            above = requests * (1 - float(slo.metric[1:]) / 100)
            if 0 < above < _ANSWERS_ABOVE * (1 - 1e-9):
                needed_s = scenario.run.duration * _ANSWERS_ABOVE / above
                yield (
                    f"{slo.metric} of some {requests:.3g} requests rests on {above:.2g} answers per replication; "
                    f"run.duration: {needed_s:.0f}s gives it {_ANSWERS_ABOVE}"
                )
                break
    if expected.attempts and expected.attempts > MANY_ATTEMPTS and scenario.run.record_attempts:
        yield (
            f"one run makes some {expected.attempts:.2g} attempts; with run.record_attempts: false it needs far less memory, "
            "with a shorter run.duration less time"
        )


def _unread_rows(scenario: Scenario) -> Iterator[str]:
    """Rows that are written by who has not read them: such a commit fails, always."""
    for service, spec in scenario.services.items():
        steps = {
            path: step
            for name, operation in spec.operations.items()
            for path, step in steps_of(operation.steps, f"services.{service}.operations.{name}.steps")
        }
        read = {step.read_version for step in steps.values() if isinstance(step, ReadVersion)}
        for path, step in steps.items():
            if isinstance(step, Commit) and step.commit not in read:
                yield (
                    f"{path}: nothing in {service} reads {step.commit} before, so the commit finds no version that the request "
                    f"knows, and always ends with error; put read_version: {step.commit} before it, or leave it out"
                )
