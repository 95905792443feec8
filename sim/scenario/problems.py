"""What a scenario cannot be: names that point nowhere, and settings that contradict each other, with place and cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sim.scenario.contents import Streamed, message_of
from sim.scenario.deployments import Rollout, Scale, service_of, slots_of
from sim.scenario.edges import CLIENT, edges_of, flushes, operations_of, selectors_of, steps_of
from sim.scenario.faults import Crash, Errors, Fault, Flush, LinkFault, Outage, Pause, ReplayGroup, Slow, Stop
from sim.scenario.limits import problems_of_size
from sim.scenario.load import Replay
from sim.scenario.messaging.problems import problems_of_messages, publishable
from sim.scenario.origins import problems_of_origins
from sim.scenario.presets import PRESETS
from sim.scenario.proxies import OF_FLOWS
from sim.scenario.services import Call, Operation, Publish, RequestReply, Step
from sim.scenario.words import nearest
from sim.scenario.zones import problems_of_zones

if TYPE_CHECKING:
    from sim.scenario.model import Scenario

_MOST_SLOTS = 100_000
#: Policies that make no sense for a publish: a kept answer would throw the message away, a second one send it twice.
NOT_TO_QUEUES = ("cache", "batch", "hedging", "connections", "protocol")
_WHY_NOT_TO_QUEUES = {
    "cache": "and a publish that is answered so would throw its message away",
    "batch": "and messages go together where they are written and read: `batch_size` of a log's producer, `batch` of a consumer",
    "hedging": "and a publish that is answered so would send its message twice",
    "connections": "and a publish has a broker to itself",
    "protocol": "and what brokers speak is not modelled",
}


def problems_of(scenario: Scenario) -> Iterator[str]:
    """Names that point nowhere, and settings that contradict each other, each as `path: message`."""
    operations = operations_of(scenario)
    contradictions = list(_problems_of_edges(scenario))
    yield from contradictions
    if contradictions:
        return  # what is asked below needs the policies
    yield from _problems_of_steps(scenario, operations)
    yield from problems_of_size(scenario)
    yield from _problems_of_recording(scenario, operations)
    yield from _problems_of_names(scenario)
    yield from problems_of_messages(scenario, operations)
    for entry in scenario.load.mix:
        if entry not in operations:
            yield f"load.mix.{entry}: no operation {entry!r}; {nearest(entry, operations)}"
    if isinstance(scenario.load, Replay) and isinstance(scenario.load.times, str):
        yield f"load.times: the file {scenario.load.times!r} has not been read; load the scenario from its YAML file"
    yield from _problems_of_deployments(scenario)
    yield from _problems_of_registries(scenario)
    yield from _problems_of_proxies(scenario)
    yield from problems_of_zones(scenario)
    yield from _problems_of_selectors(scenario, operations)
    yield from _problems_of_fallbacks(scenario, operations)
    for i, fault in enumerate(scenario.faults):
        yield from (f"faults[{i}].{problem}" for problem in _problems_of_fault(scenario, fault, operations))
    yield from _problems_of_payloads(scenario, operations)
    yield from _problems_of_batches(scenario, operations)
    yield from _problems_of_objectives(scenario, operations)
    if scenario.focus is not None and scenario.focus not in scenario.load.mix:
        yield f"focus: no request enters at {scenario.focus!r}; {nearest(scenario.focus, list(scenario.load.mix))}"
    yield from problems_of_origins(scenario)
    yield from _cycles(scenario)


def _problems_of_names(scenario: Scenario) -> Iterator[str]:
    """Names that stand for two things; all that links and calls can name share one space."""
    kinds: dict[str, tuple[str, Mapping[str, object]]] = {
        "services": ("service", scenario.services),
        "queues": ("queue", scenario.queues),
        "topics": ("topic", scenario.topics),
        "logs": ("log", scenario.logs),
        "brokers": ("broker", scenario.brokers),
        "stores": ("store", scenario.stores),
        "registries": ("registry", scenario.registries),
        "proxies": ("proxy", scenario.proxies),
    }
    seen: dict[str, str] = {}
    for key, (kind, named) in kinds.items():
        for name in named:
            if name in seen:
                yield f"{key}.{name}: a {seen[name]} has this name already; give it another, for they share one space of names"
            seen.setdefault(name, kind)


def _problems_of_recording(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Rows that would refer to rows of requests that are not kept."""
    if scenario.run.record_requests:
        return
    if scenario.run.record_attempts:
        yield "run.record_requests: false, but record_attempts: true; attempts belong to requests, write record_attempts: false"
    effects = [name for name, operation in operations.items() if operation.effect]
    if scenario.queues or scenario.logs or effects:
        kept = [*(f"queue {name}" for name in scenario.queues), *(f"log {name}" for name in scenario.logs)]
        what = kept[0] if kept else f"effect {effects[0]}"
        yield f"run.record_requests: false, but there is the {what}; effects are counted per request, so keep the requests' rows"


def _problems_of_objectives(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Objectives of what is never measured: they would fail whatever happens."""
    consumers = [consumer for name in publishable(scenario) for consumer in scenario.consumers(name).values()]
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
            if isinstance(step, Publish) and step.publish not in publishable(scenario):
                yield f"{path}.publish: no queue, topic or log {step.publish!r}; {nearest(step.publish, publishable(scenario))}"


def _problems_of_selectors(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    callers = dict.fromkeys([CLIENT, *scenario.services, *scenario.proxies])
    targets = dict.fromkeys([*scenario.services, *publishable(scenario), *operations])
    for selector in scenario.calls:
        *caller, target = selector.split(" -> ")
        if target not in targets and target != "default":
            yield f"calls.{selector}: no service, operation or queue {target!r}; {nearest(target, targets)}"
        if caller and caller[0] not in callers:
            yield f"calls.{selector}: no caller {caller[0]!r}; {nearest(caller[0], callers)}"
        for key in NOT_TO_QUEUES if target in publishable(scenario) else ():
            if getattr(scenario.calls[selector], key) is not None:
                yield f"calls.{selector}.{key}: {target} is a queue, {_WHY_NOT_TO_QUEUES[key]}; leave it out"
    elsewhere = {name: scenario.place(name) for name in publishable(scenario) if scenario.place(name) != name}
    nodes = dict.fromkeys(
        [CLIENT, *scenario.services, *scenario.queues, *scenario.logs, *scenario.registries, *scenario.proxies, *scenario.brokers]
    )
    places = [(f"links.{selector}", selector) for selector in scenario.links]
    places += [(f"faults[{i}].link", fault.link) for i, fault in enumerate(scenario.faults) if isinstance(fault, LinkFault)]
    for where, selector in places:
        for end in selector.split(" -> "):
            if end in elsewhere:
                yield f"{where}: {end} is reached where {elsewhere[end]} is; write {elsewhere[end]} in its place"
            elif end not in nodes and selector != "default":
                yield f"{where}: no service, queue, registry or proxy {end!r}; {nearest(end, nodes)}"


def _problems_of_deployments(scenario: Scenario) -> Iterator[str]:
    for i, deployment in enumerate(scenario.deployments):
        name = service_of(deployment)
        if name not in scenario.services:
            kind = "rollout" if isinstance(deployment, Rollout) else "scale"
            yield f"deployments[{i}].{kind}: no service {name!r}; {nearest(name, scenario.services)}"
        elif slots_of(scenario, name) > _MOST_SLOTS:
            yield f"deployments[{i}]: {name} would need more than {_MOST_SLOTS:,} replicas, those that are ending included"
        elif isinstance(deployment, Scale) and scenario.services[name].autoscaling is not None:
            yield f"deployments[{i}]: how many replicas {name} has is decided by its autoscaling; leave out one of them"
    for name, service in scenario.services.items():
        scaling = service.autoscaling
        if scaling is not None and scaling.target_backlog is not None:
            if name not in {consumer.split(".")[0] for consumer in scenario.consumed().values()}:
                yield f"services.{name}.autoscaling.target_backlog: {name} consumes no queue; write target_utilisation_percent"
        elif scaling is not None and service.workers == "unlimited":
            yield f"services.{name}.autoscaling: nothing of unlimited workers is a utilisation; give it a number of workers"
        if scaling is not None and not scaling.min_replicas <= service.replicas <= scaling.max_replicas:
            low, high = scaling.min_replicas, scaling.max_replicas
            yield f"services.{name}.autoscaling: {name} begins with replicas = {service.replicas}, not between {low} and {high}"
        if (service.cold_factor > 1) != (service.warm_up > 0):
            yield f"services.{name}: warm_up and cold_factor say nothing without each other; write both, or none"


def _problems_of_outage(scenario: Scenario, fault: Outage) -> Iterator[str]:
    name, known = fault.outage, [*scenario.queues, *scenario.logs, *scenario.registries, *scenario.brokers, *scenario.stores]
    if name not in known:
        yield f"outage: no queue, log, registry, broker or store {name!r}; {nearest(name, known)}"
    elif (kept := scenario.queues.get(name) or scenario.logs.get(name)) is not None:
        if fault.node != "all":
            broker, what = kept.broker, "queue" if name in scenario.queues else "log"
            yield f"node: {name} is a {what}, which has no nodes; {f'write outage: {broker}' if broker else 'leave it out'}"
    elif name in scenario.stores:
        if fault.node != "all":
            yield f"node: {name} is a store, which has no nodes; leave it out"
    else:
        nodes = scenario.registries[name].nodes if name in scenario.registries else scenario.brokers[name].nodes
        if isinstance(fault.node, int) and fault.node >= nodes:
            yield f"node: {name} has nodes 0 to {nodes - 1}, not {fault.node}"


def _problems_of_registries(scenario: Scenario) -> Iterator[str]:
    """Registries that are not there, or that nobody reads."""
    for name, service in scenario.services.items():
        if service.registry is not None and service.registry not in scenario.registries:
            known = list(scenario.registries)
            yield f"services.{name}.registry: no registry {service.registry!r}; {nearest(service.registry, known)}"
        if service.readiness is not None and service.registry is None:
            yield f"services.{name}.readiness: nobody reads it where there is no registry; give the service one"
    if not any(service.registry is not None for service in scenario.services.values()):
        for selector, policy in scenario.calls.items():
            if "discovery" in policy.model_fields_set:
                yield f"calls.{selector}.discovery: nothing here has a registry to learn from; give services one"


def _problems_of_proxies(scenario: Scenario) -> Iterator[str]:
    """Proxies that are not there, or that nobody calls."""
    for selector, policy in scenario.calls.items():
        *caller, target = selector.split(" -> ")
        if caller and caller[0] in scenario.proxies:
            if policy.via is not None:
                yield f"calls.{selector}.via: a proxy calls services directly; leave it out"
        elif target == "default" and caller:
            yield f"calls.{selector}: only proxies have a default of their own; write default, or name a target"
        if policy.via is not None and target in publishable(scenario):
            yield f"calls.{selector}.via: {target} is a queue or topic, and messages go to it directly; leave it out"
        if policy.via is not None and policy.via not in scenario.proxies:
            yield f"calls.{selector}.via: no proxy {policy.via!r}; {nearest(policy.via, scenario.proxies)}"
    yield from _problems_of_flows(scenario)
    yield from _spoken_without_connections(scenario)


def _problems_of_flows(scenario: Scenario) -> Iterator[str]:
    """What is asked of balancers of connections that they cannot do, and callers of theirs without connections."""
    flows = [name for name, proxy in scenario.proxies.items() if proxy.layer == 4]
    for selector, policy in scenario.calls.items() if flows else ():
        caller = selector.split(" -> ")[0]
        if caller not in flows:
            continue
        preset = PRESETS[policy.preset].on if policy.preset is not None else {}
        for key in sorted(policy.model_fields_set - OF_FLOWS):
            yield f"calls.{selector}.{key}: {caller} balances connections (layer: 4) and reads no calls; write it for its callers"
        for key in sorted(set(preset) - OF_FLOWS):
            yield f"calls.{selector}.preset: {policy.preset} says {key}, and {caller} (layer: 4) reads no calls; take another"
            break
    for caller, target in _edges_and_fallbacks(scenario) if flows else ():
        policy = scenario.policy(caller, target)
        if policy.via in flows and target not in publishable(scenario) and policy.connections is None:
            yield (
                f"proxies.{policy.via}: {caller} -> {target} goes through it, and it balances connections (layer: 4); say which "
                f"there are: calls: {{{caller} -> {target.split('.')[0]}: {{connections: {{per_process: 1}}}}}}"
            )


def _spoken_without_connections(scenario: Scenario) -> Iterator[str]:
    """Calls that speak a protocol, which nothing does without connections, and are told to have none."""
    told: dict[str, None] = {}
    for caller, target in _edges_and_fallbacks(scenario):
        selectors = selectors_of(caller, target, proxy=caller in scenario.proxies)
        said = [name for name in selectors if name in scenario.calls and "connections" in scenario.calls[name].model_fields_set]
        if said and scenario.calls[said[-1]].connections is None and scenario.policy(caller, target).protocol is not None:
            told[said[-1]] = None
    for selector in told:
        yield (
            f"calls.{selector}.connections: null, and what is spoken (protocol) needs connections; to balance calls, write "
            "connections: {per_process: 4, use: spread} with as many as the target has replicas, and balancing: round_robin; to "
            "have those of the protocol, leave connections out"
        )


def _edges_and_fallbacks(scenario: Scenario) -> Iterator[tuple[str, str]]:
    for caller, target in edges_of(scenario):
        yield caller, target
        fallback = scenario.policy(caller, target).fallback
        if fallback is not None and fallback.call is not None:
            yield caller, fallback.call


def _problems_of_fault(scenario: Scenario, fault: Fault, operations: Mapping[str, Operation]) -> Iterator[str]:
    services, proxies = scenario.services, scenario.proxies
    match fault:
        case Slow(slow=name) if (what := _slow_as_a_whole(scenario, name)) is not None:
            if fault.replica != "all":
                yield f"replica: {name} is a {what}, which is slow as a whole; leave it out"
            return
        case Crash(crash=service) | Slow(slow=service) | Pause(pause=service) | Stop(stop=service):
            kind = {Crash: "crash", Slow: "slow", Pause: "pause", Stop: "stop"}[type(fault)]
            if service not in services and service not in proxies:
                yield f"{kind}: no service or proxy {service!r}; {nearest(service, [*services, *proxies])}"
        case Errors(errors=target):
            service = target.split(".")[0]
            if target not in services and target not in operations:
                yield f"errors: no service or operation {target!r}; {nearest(target, [*services, *operations])}"
        case Outage():
            yield from _problems_of_outage(scenario, fault)
            return
        case ReplayGroup(replay=group):
            groups = [each for log in scenario.logs for each in scenario.queues_of(log)]
            if group not in groups:
                yield f"replay: no group {group!r} of a log; {nearest(group, groups)}"
            return
        case Flush():
            if not (caches := _caches(scenario)):
                yield "flush: nothing here has a cache; give a call or an operation one"
            elif not any(flushes(fault.flush, cache) for cache in caches):
                yield f"flush: no cache at {fault.flush!r}; caches: {', '.join(caches[:12])}"
            return
        case _:
            return
    if service in proxies and proxies[service].placement == "sidecar":
        kind = type(fault).__name__.lower()
        yield f"{kind}: {service} is a sidecar, which lives and dies with its replica; let the fault hit the service"
    replicas = services[service].replicas if service in services else proxies[service].replicas if service in proxies else None
    if replicas is not None and isinstance(fault.replica, int) and fault.replica >= replicas:
        yield f"replica: {service} has replicas 0 to {replicas - 1}, not {fault.replica}"
    if fault.replica == "each" and fault.mtbf is None:
        yield "replica: each needs mtbf and mttr; at one fixed time write all"


def _slow_as_a_whole(scenario: Scenario, name: str) -> str | None:
    """What has this name, if it is something without replicas."""
    kinds: dict[str, Mapping[str, Any]] = {"registry": scenario.registries, "broker": scenario.brokers, "store": scenario.stores}
    return next((kind for kind, known in kinds.items() if name in known), None)


def _caches(scenario: Scenario) -> list[str]:
    """All caches by name: those of edges, and those of operations."""
    found = [address for address, operation in operations_of(scenario).items() if operation.cache is not None]
    callers = [CLIENT, *scenario.services]
    targets = [*operations_of(scenario), *publishable(scenario)]
    edges = [(caller, target) for caller in callers for target in targets]
    return found + [f"{a} -> {b}" for a, b in edges if scenario.calls and scenario.policy(a, b).cache is not None]


def _problems_of_fallbacks(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    for selector, policy in scenario.calls.items():
        fallback = policy.fallback
        if fallback is not None and fallback.call is not None and fallback.call not in operations:
            yield f"calls.{selector}.fallback.call: no operation {fallback.call!r}; {nearest(fallback.call, operations)}"


def _surely_leads_to(scenario: Scenario, step: Step) -> list[str]:
    """The operation that a step calls; or by messages that are sent for certain. By chance, messages may come back."""
    if isinstance(step, RequestReply):
        return list(scenario.consumers(step.request).values())
    if isinstance(step, Publish) and step.probability == 1 and step.publish in publishable(scenario):
        return list(scenario.consumers(step.publish).values())
    return [step.call] if isinstance(step, Call) else []


def _led_to(scenario: Scenario, service: str, operation: Operation) -> list[str]:
    """Operations that one operation calls, publishes to for certain, or falls back to."""
    some_fall_back = any(policy.fallback is not None for policy in scenario.calls.values())
    found = []
    for _, step in steps_of(operation.steps, ""):
        found += _surely_leads_to(scenario, step)
        fallback = scenario.policy(service, step.call).fallback if isinstance(step, Call) and some_fall_back else None
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


def _problems_of_edges(scenario: Scenario) -> Iterator[str]:
    """What the merged policies of an edge cannot be together, each once, as `path: message` of the narrowest selector."""
    told: set[str] = set()
    edges = edges_of(scenario)
    for proxy in scenario.proxies:
        edges.update({(proxy, target): selectors_of(proxy, target, proxy=True) for _, target in list(edges)})
    for (caller, target), selectors in edges.items():
        used = [selector for selector in selectors if selector in scenario.calls]
        try:
            scenario.policy(caller, target)
        except ValidationError as exc:
            for details in exc.errors(include_url=False):
                block = str(details["loc"][0]) if details["loc"] else ""
                said = details["msg"].removeprefix("Value error, ")
                text = _contradiction(scenario, used, block, f"for {caller} -> {target}: {said}")
                if text not in told:
                    told.add(text)
                    yield text


def _contradiction(scenario: Scenario, selectors: Sequence[str], block: str, message: str) -> str:
    written = [selector for selector in selectors if block in scenario.calls[selector].model_fields_set]
    narrowest = (written or selectors)[-1]
    beneath = [selector for selector in written or selectors if selector != narrowest]
    beneath += [f"preset {preset}" for selector in selectors if (preset := scenario.calls[selector].preset) is not None]
    where = f"calls.{narrowest}.{block}" if written else f"calls.{narrowest}"
    return f"{where}: over what {' and '.join(beneath) or 'the defaults'} says, {message}"


def _problems_of_payloads(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Messages that are not there, or have no size."""
    for name in scenario.messages:
        try:
            scenario.payloads.size(name, "json")
        except ValueError as exc:
            yield f"messages.{name}: {exc}"
            return
    for address, operation in operations.items():
        service, name = address.split(".")
        yield from _problems_of_streams(f"services.{service}.operations.{name}", operation)
        if isinstance(operation.request, Streamed) or isinstance(operation.response, Streamed):
            yield from _streams_through_proxies(scenario, address)
        for key, body in (("request", operation.request), ("response", operation.response)):
            payload = message_of(body)
            if isinstance(payload, str) and payload not in scenario.messages:
                where = f"services.{service}.operations.{name}.{key}"
                yield f"{where}: no message {payload!r}; {nearest(payload, scenario.messages)}; or write a size: 2 kB"
    for selector, policy in scenario.calls.items():
        if policy.protocol is not None and scenario.costs(policy.protocol).encoding == "protobuf":
            yield from _problems_of_protobuf(scenario, f"calls.{selector}.protocol")
            return


def _problems_of_streams(where: str, operation: Operation) -> Iterator[str]:
    """Streams that answer messages which do not come."""
    request, response = operation.request, operation.response
    if isinstance(request, Streamed) and request.count == "each_request":
        yield f"{where}.request: count = each_request is for answers; write how many messages callers send"
    if isinstance(response, Streamed) and response.count == "each_request" and not isinstance(request, Streamed):
        yield f"{where}.response: count = each_request, but the request is one message; write a count, or a stream as request"
    if isinstance(response, Streamed) and operation.cache is not None:
        yield f"{where}: a stream is not kept in a cache; leave out cache"


def _streams_through_proxies(scenario: Scenario, address: str) -> Iterator[str]:
    """Ways on which nobody would hold the two halves of a stream together."""
    for caller in (caller for caller, target in edges_of(scenario) if target == address):
        policy = scenario.policy(caller, address)
        if policy.via is not None and policy.protocol is not None:
            yield (
                f"calls.{caller} -> {address}.via: {address} is a stream, and proxies pass on whole requests and answers only; "
                f"leave via out, or give calls to {policy.via} no protocol: then messages come as far as the proxy"
            )


def _problems_of_batches(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """What stands for one call, where several go together."""
    if all(policy.batch is None for policy in scenario.calls.values()):
        return
    for caller, target in dict.fromkeys(_edges_and_fallbacks(scenario)):
        policy, operation = scenario.policy(caller, target), operations.get(target)
        if policy.batch is None or operation is None:
            continue
        streamed = isinstance(operation.request, Streamed) or isinstance(operation.response, Streamed)
        validates = policy.cache is not None and policy.cache.changed_after is not None
        hashed = policy.protocol is not None and policy.protocol.persisted_queries is not None
        for is_so, what in (
            (policy.via is not None, f"{policy.via} passes on single calls; write via: null"),
            (operation.cache is not None, f"the cache of {target} keeps answers to single calls; write it for the call"),
            (streamed, f"{target} is a stream, of one call; leave batch out"),
            (validates, "an ETag is of one answer; leave cache.changed_after out"),
            (hashed, "a hash is of one query; leave protocol.persisted_queries out"),
        ):
            if is_so:
                yield f"calls.{caller} -> {target}.batch: calls go together, but {what}"


def _problems_of_protobuf(scenario: Scenario, where: str) -> Iterator[str]:
    for name in scenario.messages:
        try:
            scenario.payloads.size(name, "protobuf")
        except ValueError as exc:
            yield f"{where}: message {name}: {exc}"
