"""The scenario: one frozen value that says everything a run needs, and the comparison of several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sim.errors import ScenarioError
from sim.laws import Law
from sim.scenario.calls import CallPolicy
from sim.scenario.edges import edges_in, problems_of_edges
from sim.scenario.faults import Crash, Errors, Fault, Flush, LinkFault, Outage, Pause, Slow
from sim.scenario.limits import problems_of_size
from sim.scenario.load import Load, Replay
from sim.scenario.presets import PRESETS, merged
from sim.scenario.services import (
    Call,
    Link,
    Operation,
    Parallel,
    Publish,
    Queue,
    Repeat,
    Selector,
    Service,
    Step,
)
from sim.scenario.slo import SloSpec
from sim.scenario.words import nearest
from sim.values import Address, Duration, LawSpec, Name, PositiveDuration, Spec, parse_law

CLIENT = "client"
#: Keys that say how results are told, and change no row.
_NO_INFLUENCE = ("name", "question", "focus", "slos", "laws")
#: Contradictions that are told at once; each costs a search for what was meant.
_MOST_PROBLEMS = 200


class Run(Spec):
    """How long, how often, from which seed."""

    duration: PositiveDuration = Field(60.0, description="measured time: requests that arrive in it count")
    warmup: Duration = Field(0.0, description="time before the measured window; its requests are simulated but do not count")
    drain: Duration | None = Field(
        None,
        description="longest wait for open requests after the last arrival; absent: as long as warmup and duration together",
    )
    replications: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10, description="independent repetitions; 20 or more for tails"
    )
    seed: Annotated[int, Field(ge=0)] = Field(1, description="replication r uses seed + r")
    sample_every: PositiveDuration | None = Field(None, description="interval of the gauges; absent: a hundredth of the run")
    record_attempts: bool = Field(True, description="whether every attempt is kept as a row (most of the memory)")
    record_requests: bool = Field(
        True,
        description="whether every request is kept as a row. false (with record_attempts: false, and without queues and effects) "
        "keeps counts and sketches only, and memory does not grow with the requests: ratios, rates and means stay exact, "
        "percentiles are within 1 %; what is lost: the rows, charts made of them, tries_per_call",
    )

    @property
    def end(self) -> float:
        """Clock time of the last arrival, in seconds."""
        return self.warmup + self.duration


class Scenario(Spec):
    """A system, its load, its failures and what is asked of it. Frozen, checked, hashable; the same in YAML and in Python.

    In Python numbers are in base units (seconds, per second) and text may carry units; in YAML every quantity but 0 has a unit.

    >>> from sim.laws import Exponential
    >>> queue = Scenario(
    ...     services={"shop": {"workers": 1, "operations": {"buy": [{"work": Exponential(1.0)}]}}},
    ...     load={"rate": 0.5, "mix": "shop.buy"},
    ... )
    >>> queue.services["shop"].replicas
    1
    """

    name: str = Field("scenario", description="used for results/NAME")
    question: str = Field("", description="what the scenario is meant to answer")
    run: Run = Field(Run(), description="length, repetitions, seed")
    laws: dict[Name, LawSpec] = Field({}, description="laws with a name, to be used wherever a law is asked for")
    services: Annotated[dict[Name, Service], Field(min_length=1)] = Field(description="who answers calls")
    queues: dict[Name, Queue] = Field({}, description="who keeps messages")
    links: dict[Selector, Link] = Field({}, description="the network: default, a service, or 'a -> b' (both ways)")
    calls: dict[Selector, CallPolicy] = Field({}, description="policies of calls and publishes, by selector")
    load: Load = Field(description="who asks, how often, for what")
    faults: tuple[Fault, ...] = Field((), description="what breaks, when")
    focus: Address | None = Field(
        None, description="the entry operation that tables, charts and the verdict look at; absent: all requests together"
    )
    slos: tuple[SloSpec, ...] = Field((), description="objectives, as sentences")

    @model_validator(mode="wrap")
    @classmethod
    def _named_laws_first(cls, data: Any, handler: Any, info: ValidationInfo) -> Any:
        # Named laws are read before the rest and offered to it through the context.
        if isinstance(data, dict) and isinstance(data.get("laws"), dict) and info.context is not None:
            named: dict[str, Law] = info.context.setdefault("laws", {})
            for name in _in_order_of_need(data["laws"]):
                try:
                    named[name] = parse_law(data["laws"][name], info)
                except ValueError:
                    continue  # reported with its place when the field itself is validated
        return handler(data)

    @model_validator(mode="before")
    @classmethod
    def _context(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, dict) and data.get("laws") and info.context is None:
            # Python call without a context: resolve the names here, once.
            return _with_laws_inlined(data)
        return data

    @field_validator("services", "queues")
    @classmethod
    def _reserved(cls, value: dict[str, Any]) -> dict[str, Any]:
        if CLIENT in value or "default" in value:
            raise ValueError("'client' and 'default' are reserved: client is the origin of the load, default a selector")
        return value

    @model_validator(mode="after")
    def _cross_check(self) -> Scenario:
        problems = list(islice(_problems(self), _MOST_PROBLEMS))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def policy(self, caller: str, target: str) -> CallPolicy:
        """The policy of calls from a service (or ``client``) to ``service.operation`` or a queue: widest selector first,
        later ones override.

        Order: ``default``, ``service``, ``service.operation``, ``caller -> service``, ``caller -> service.operation``; nested
        settings (retry, backoff) are merged field by field. A preset lies below them all, whichever selector names it.
        """
        settings: dict[str, Any] = {}
        for selector in selectors_of(caller, target):
            if selector in self.calls:
                settings = merged(settings, self.calls[selector].model_dump(exclude_unset=True))
        if settings.get("preset") is not None:
            settings = PRESETS[settings["preset"]].under(settings)
        return CallPolicy.model_validate(settings).for_endpoints(self._endpoints(target))

    def _endpoints(self, target: str) -> int:
        service = self.services.get(target.split(".")[0])
        return 1 if service is None else service.replicas

    def link(self, one: str, other: str) -> Link:
        """The link between two services, queues or ``client``, the same in both directions.

        Order: the pair, either service alone, ``default``; without any, no latency and no loss.
        """
        for selector in (f"{one} -> {other}", f"{other} -> {one}", one, other, "default"):
            if selector in self.links:
                return self.links[selector]
        return Link()

    def as_data(self) -> dict[str, Any]:
        """The scenario as plain data without its defaults, as it is written in YAML."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        # The kind is a default of its class, and without it steps and ramp look alike.
        data["load"] = {"kind": self.load.kind, **data["load"]}
        # A default that was set on purpose overrides a wider selector, so here only what was never set is left out.
        if self.calls:
            data["calls"] = {
                selector: policy.model_dump(mode="json", by_alias=True, exclude_unset=True)
                for selector, policy in self.calls.items()
            }
        return data

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name everything which influences rows: not the name, the question or the SLOs."""
        content = {key: value for key, value in self.as_data().items() if key not in _NO_INFLUENCE}
        content["run"] = {key: value for key, value in content.get("run", {}).items() if key != "replications"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        parts = [
            f"{len(self.services)} services",
            f"{self.load.kind} load",
            f"{len(self.faults)} faults",
            f"hash {self.hash}",
        ]
        return f"{self.name}: {', '.join(parts)}"


class Comparison(Spec):
    """Candidates under conditions: every pair of them is a scenario; only what differs from the base is written."""

    name: str = Field("comparison", description="used for results/NAME")
    question: str = Field("", description="what is to be decided")
    candidates: Annotated[dict[str, dict[str, Scenario]], Field(min_length=1)] = Field(
        description="candidate → condition → scenario"
    )

    @model_validator(mode="after")
    def _same_conditions(self) -> Comparison:
        if (problem := self._mismatch()) is not None:
            raise ValueError(problem)
        return self

    def _mismatch(self) -> str | None:
        """What is wrong when candidates have different conditions, None otherwise."""
        first = next(iter(self.candidates))
        for name, by_condition in self.candidates.items():
            if set(by_condition) != set(self.conditions) or not by_condition:
                here, there = ", ".join(by_condition) or "none", ", ".join(self.conditions) or "none"
                return f"candidates.{name}: has the conditions {here}, but {first} has {there}; give all the same, at least one"
        return None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions, in order."""
        return tuple(next(iter(self.candidates.values())))

    def scenarios(self) -> Iterator[tuple[str, str, Scenario]]:
        """All (candidate, condition, scenario), conditions outermost.

        Raises:
            ScenarioError: candidates have different conditions, which only a comparison made without validation can have.
        """
        if (problem := self._mismatch()) is not None:
            raise ScenarioError(problem)
        for condition in self.conditions:
            for candidate, by_condition in self.candidates.items():
                yield candidate, condition, by_condition[condition]


def selectors_of(caller: str, target: str) -> list[str]:
    """The selectors that an edge answers to, the widest first."""
    service = target.split(".")[0]
    found = ["default", service, target, f"{caller} -> {service}", f"{caller} -> {target}"]
    return list(dict.fromkeys(found))


def _in_order_of_need(laws: Mapping[str, Any]) -> list[str]:
    """Names of laws, each after those that it is made of; laws may name laws that stand below, and circles are left out."""
    needs = {name: [other for other in _texts_in(law) if other in laws] for name, law in laws.items()}
    needed_by: dict[str, list[str]] = {}
    for name, others in needs.items():
        for other in others:
            needed_by.setdefault(other, []).append(name)
    missing = {name: len(others) for name, others in needs.items()}
    ready = [name for name, count in missing.items() if not count]
    for name in ready:  # grows meanwhile
        for user in needed_by.get(name, ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return ready


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(item)


def _with_laws_inlined(data: dict[str, Any]) -> dict[str, Any]:
    named = data["laws"]

    def inline(value: Any) -> Any:
        if isinstance(value, str) and value in named:
            return named[value]
        if isinstance(value, dict):
            return {key: inline(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(inline(item) for item in value)
        return value

    law_keys = ("services", "queues", "links", "calls", "load", "faults")
    return {
        key: inline(value) if key in law_keys and isinstance(value, dict | list | tuple) else value for key, value in data.items()
    }


def steps_of(steps: tuple[Step, ...], path: str) -> Iterator[tuple[str, Step]]:
    """All steps with their paths in the scenario, those inside `parallel` and `repeat` included."""
    for i, step in enumerate(steps):
        yield f"{path}[{i}]", step
        if isinstance(step, Parallel):
            for j, branch in enumerate(step.parallel):
                yield from steps_of(branch, f"{path}[{i}].parallel[{j}]")
        elif isinstance(step, Repeat):
            yield from steps_of(step.repeat, f"{path}[{i}].repeat")


def operations_of(scenario: Scenario) -> dict[str, Operation]:
    """All operations by address, in order."""
    return {f"{s}.{o}": op for s, service in scenario.services.items() for o, op in service.operations.items()}


def _edges(operations: Mapping[str, Operation], scenario: Scenario) -> dict[tuple[str, str], list[str]]:
    steps = [(address.split(".")[0], step) for address, op in operations.items() for _, step in steps_of(op.steps, "")]
    return {edge: selectors_of(*edge) for edge in [*((CLIENT, entry) for entry in scenario.load.mix), *edges_in(steps)]}


def _problems(scenario: Scenario) -> Iterator[str]:
    """Names that point nowhere, and settings that contradict each other, each as `path: message`."""
    operations = operations_of(scenario)
    contradictions = list(problems_of_edges(scenario, _edges(operations, scenario)))
    yield from contradictions
    if contradictions:
        return  # what is asked below needs the policies
    yield from _problems_of_steps(scenario, operations)
    yield from problems_of_size(scenario)
    yield from _problems_of_recording(scenario, operations)
    for name in set(scenario.services) & set(scenario.queues):
        yield f"queues.{name}: a service has this name already; queues and services share one space of names"
    for name, queue in scenario.queues.items():
        if queue.consumer not in operations:
            yield f"queues.{name}.consumer: no operation {queue.consumer!r}; {nearest(queue.consumer, operations)}"
    for entry in scenario.load.mix:
        if entry not in operations:
            yield f"load.mix.{entry}: no operation {entry!r}; {nearest(entry, operations)}"
    if isinstance(scenario.load, Replay) and isinstance(scenario.load.times, str):
        yield f"load.times: the file {scenario.load.times!r} has not been read; load the scenario from its YAML file"
    yield from _problems_of_selectors(scenario, operations)
    yield from _problems_of_fallbacks(scenario, operations)
    for i, fault in enumerate(scenario.faults):
        yield from (f"faults[{i}].{problem}" for problem in _problems_of_fault(scenario, fault, operations))
    yield from _problems_of_objectives(scenario, operations)
    if scenario.focus is not None and scenario.focus not in scenario.load.mix:
        yield f"focus: no request enters at {scenario.focus!r}; {nearest(scenario.focus, list(scenario.load.mix))}"
    yield from _cycles(scenario)


def _problems_of_recording(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Rows that would refer to rows of requests that are not kept."""
    if scenario.run.record_requests:
        return
    if scenario.run.record_attempts:
        yield "run.record_requests: false, but record_attempts: true; attempts belong to requests, write record_attempts: false"
    effects = [name for name, operation in operations.items() if operation.effect]
    if scenario.queues or effects:
        what = f"queue {next(iter(scenario.queues))}" if scenario.queues else f"effect {effects[0]}"
        yield f"run.record_requests: false, but there is the {what}; effects are counted per request, so keep the requests' rows"


def _problems_of_objectives(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Objectives of what is never measured: they would fail whatever happens."""
    consumers = [queue.consumer for queue in scenario.queues.values()]
    effects = list(dict.fromkeys([*(name for name, operation in operations.items() if operation.effect), *consumers]))
    for i, slo in enumerate(scenario.slos):
        if slo.of is not None and slo.of not in operations:
            yield f"slos[{i}]: no operation {slo.of!r}; {nearest(slo.of, operations)}"
        elif slo.effect and slo.of not in [None, *effects]:
            there_are = f"effects here: {', '.join(effects[:12])}" if effects else "so far nothing here is an effect"
            yield f"slos[{i}]: {slo.of} is no effect: no queue's consumer, and not marked effect: true; {there_are}"
        elif slo.effect and not effects:
            yield f"slos[{i}]: nothing here is an effect; mark an operation effect: true, or publish to a queue"
        elif not slo.effect and slo.of not in [None, *scenario.load.mix]:
            yield f"slos[{i}]: no request enters at {slo.of!r}; {nearest(str(slo.of), list(scenario.load.mix))}"


def _problems_of_steps(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    for address, operation in operations.items():
        service, name = address.split(".")
        for path, step in steps_of(operation.steps, f"services.{service}.operations.{name}.steps"):
            if isinstance(step, Call) and step.call not in operations:
                yield f"{path}.call: no operation {step.call!r}; {nearest(step.call, operations)}"
            if isinstance(step, Publish) and step.publish not in scenario.queues:
                yield f"{path}.publish: no queue {step.publish!r}; {nearest(step.publish, list(scenario.queues))}"


def _problems_of_selectors(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    callers = dict.fromkeys([CLIENT, *scenario.services])
    targets = dict.fromkeys([*scenario.services, *scenario.queues, *operations])
    for selector in scenario.calls:
        *caller, target = selector.split(" -> ")
        if target not in targets and target != "default":
            yield f"calls.{selector}: no service, operation or queue {target!r}; {nearest(target, targets)}"
        if caller and caller[0] not in callers:
            yield f"calls.{selector}: no caller {caller[0]!r}; {nearest(caller[0], callers)}"
    nodes = dict.fromkeys([CLIENT, *scenario.services, *scenario.queues])
    places = [(f"links.{selector}", selector) for selector in scenario.links]
    places += [(f"faults[{i}].link", fault.link) for i, fault in enumerate(scenario.faults) if isinstance(fault, LinkFault)]
    for where, selector in places:
        for end in selector.split(" -> "):
            if end not in nodes and selector != "default":
                yield f"{where}: no service or queue {end!r}; {nearest(end, nodes)}"


def _problems_of_fault(scenario: Scenario, fault: Fault, operations: Mapping[str, Operation]) -> Iterator[str]:
    services = scenario.services
    match fault:
        case Crash(crash=service) | Slow(slow=service) | Pause(pause=service):
            kind = {Crash: "crash", Slow: "slow", Pause: "pause"}[type(fault)]
            if service not in services:
                yield f"{kind}: no service {service!r}; {nearest(service, services)}"
        case Errors(errors=target):
            service = target.split(".")[0]
            if target not in services and target not in operations:
                yield f"errors: no service or operation {target!r}; {nearest(target, [*services, *operations])}"
        case Outage(outage=queue):
            if queue not in scenario.queues:
                yield f"outage: no queue {queue!r}; {nearest(queue, list(scenario.queues))}"
            return
        case Flush():
            if not (caches := _caches(scenario)):
                yield "flush: nothing here has a cache; give a call or an operation one"
            elif not any(flushes(fault.flush, cache) for cache in caches):
                yield f"flush: no cache at {fault.flush!r}; caches: {', '.join(caches[:12])}"
            return
        case _:
            return
    if service in services and isinstance(fault.replica, int) and fault.replica >= scenario.services[service].replicas:
        yield f"replica: {service} has replicas 0 to {scenario.services[service].replicas - 1}, not {fault.replica}"
    if fault.replica == "each" and fault.mtbf is None:
        yield "replica: each needs mtbf and mttr; at one fixed time write all"


def flushes(selector: str, cache: str) -> bool:
    """Whether a flush selector names a cache: that of an edge, ``shop -> payment.charge``, or of an operation."""
    *callers, target = cache.split(" -> ")
    if selector == "default":
        return True
    if callers:
        return selector in selectors_of(callers[0], target)
    return selector in (target, target.split(".")[0])


def _caches(scenario: Scenario) -> list[str]:
    """All caches by name: those of edges, and those of operations."""
    found = [address for address, operation in operations_of(scenario).items() if operation.cache is not None]
    callers = [CLIENT, *scenario.services]
    targets = [*operations_of(scenario), *scenario.queues]
    edges = [(caller, target) for caller in callers for target in targets]
    return found + [f"{a} -> {b}" for a, b in edges if scenario.calls and scenario.policy(a, b).cache is not None]


def _problems_of_fallbacks(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    for selector, policy in scenario.calls.items():
        fallback = policy.fallback
        if fallback is not None and fallback.call is not None and fallback.call not in operations:
            yield f"calls.{selector}.fallback.call: no operation {fallback.call!r}; {nearest(fallback.call, operations)}"


def _surely_leads_to(scenario: Scenario, step: Step) -> str | None:
    """The operation that a step calls; or by a message that is sent for certain. By chance, messages may come back."""
    if isinstance(step, Publish) and step.probability == 1 and step.publish in scenario.queues:
        return scenario.queues[step.publish].consumer
    return step.call if isinstance(step, Call) else None


def _led_to(scenario: Scenario, service: str, operation: Operation) -> list[str]:
    """Operations that one operation calls, publishes to for certain, or falls back to."""
    some_fall_back = any(policy.fallback is not None for policy in scenario.calls.values())
    found = []
    for _, step in steps_of(operation.steps, ""):
        target = _surely_leads_to(scenario, step)
        if target is None:
            continue
        found.append(target)
        fallback = scenario.policy(service, target).fallback if isinstance(step, Call) and some_fall_back else None
        if fallback is not None and fallback.call is not None:
            found.append(fallback.call)
    return found


def _cycles(scenario: Scenario) -> Iterator[str]:
    """Calls and certain messages that lead back to where they came from: such a request would never end."""
    graph = {address: _led_to(scenario, address.split(".")[0], op) for address, op in operations_of(scenario).items()}
    done: set[str] = set()
    for root in graph:
        trail: dict[str, None] = {}
        stack = [(root, iter(graph[root]))] if root not in done else []
        while stack:
            address, rest = stack[-1]
            if len(trail) < len(stack):
                trail[address] = None
            following = next(rest, None)
            if following is None:
                done.add(address)
                stack.pop()
                del trail[address]
            elif following in trail:
                names = list(trail)
                circle = [*names[names.index(following) :], following]
                yield f"services: {' → '.join(circle)} is a circle of calls: such a request never ends"
                return
            elif following in graph and following not in done:
                stack.append((following, iter(graph[following])))
