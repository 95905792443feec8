"""What arithmetic alone says about a scenario, before any run: visits, utilisation, and settings that look like mistakes.

No queues, no failures, no retries: mean work times call rates. Where that already needs more workers than there are, no
simulation will find a good answer; where it needs far fewer, only the simulation knows the tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Final

from sim.scenario.calls import CallPolicy
from sim.scenario.contents import streams_s
from sim.scenario.distances import way_s, written_s
from sim.scenario.edges import CLIENT, operations_of
from sim.scenario.edges import edges_of as ways_of
from sim.scenario.load import Closed, Daily, Load, Ramp, Replay, Spike, Steps
from sim.scenario.messaging.requests import carriers_of_replies, requests_of
from sim.scenario.model import Scenario
from sim.scenario.services import Call, Commit, Fail, Parallel, Publish, ReadVersion, Repeat, RequestReply, Saga, Step, Work


@dataclass(frozen=True)
class Demand:
    """One visit of an operation, in means: own work, time its worker is held, and calls (target → number) it makes."""

    work_s: float
    held_s: float
    calls: dict[str, float]


@dataclass(frozen=True)
class ServiceForecast:
    """One service under the mean load: visits per second, and workers busy over workers there are.

    `work_s` is a visit's own work, `held_s` adds its streams and what it waits for its calls when nothing queues.
    `utilisation` counts the held time and `cpu_utilisation` the work against the CPU limit; both are lower bounds, None
    where nothing limits.
    """

    name: str
    replicas: int
    workers: int | None
    visits_rps: float
    work_s: float
    held_s: float
    utilisation: float | None
    peak_utilisation: float | None
    cpu_utilisation: float | None
    peak_cpu_utilisation: float | None


@dataclass(frozen=True)
class Forecast:
    """The whole scenario: offered rates (None for a closed load without think time), services, and what one run will come to:
    requests, and attempts (calls, publishes and deliveries, replies among them)."""

    rate_rps: float | None
    peak_rps: float | None
    services: tuple[ServiceForecast, ...]
    requests: float | None
    attempts: float | None


def forecast(scenario: Scenario) -> Forecast:
    """Multiply visits by mean times.

    >>> from sim.laws import Exponential
    >>> queue = Scenario(
    ...     services={"shop": {"workers": 2, "operations": {"buy": [{"work": Exponential(0.1)}]}}},
    ...     load={"rate": 15, "mix": "shop.buy"},
    ... )
    >>> forecast(queue).services[0].utilisation
    0.75
    """
    demands = demands_of(scenario)
    per_request = visits_per_request(scenario, demands)
    rate, peak = offered_rps(scenario.load, scenario.run.warmup, scenario.run.end)
    if isinstance(scenario.load, Closed):
        asked = scenario.load.per_round
        cycle_s = sum(number * demands[entry].held_s for entry, number in asked.items()) + scenario.load.think.mean
        rate = peak = scenario.load.users * sum(asked.values()) / cycle_s if cycle_s > 0 else None
    of_services = _shares_of_services(demands, per_request)
    services = tuple(_service(scenario, name, of_services[name], rate, peak) for name in scenario.services)
    span_s = scenario.run.end
    waiting = carriers_of_replies(scenario)
    attempts = sum(
        number * (1 + len(scenario.consumers(target)) + (target in waiting))
        for (_, target), number in _per_request(scenario, demands, per_request).items()
    )
    requests = None if rate is None else rate * span_s
    return Forecast(rate, peak, services, requests, None if requests is None else requests * attempts)


def shares(weights: dict[str, float]) -> dict[str, float]:
    """Weights that add up to 1."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def offered_rps(load: Load, start_s: float, end_s: float) -> tuple[float | None, float | None]:
    """Mean and largest rate of a load within a window, per second; None for a closed load, which offers no rate.

    >>> from sim.scenario.load import Spike
    >>> offered_rps(Spike(mix={"a.x": 1}, rate=10, peak=50, at=10, **{"for": 10}), 0, 40)
    (20.0, 50.0)
    """
    match load:
        case Closed():
            return None, None
        case Replay():
            times = [time for time in load.times if isinstance(time, float) and start_s <= time < end_s]
            rate = len(times) / (end_s - start_s)
            return rate, rate
        case Steps() | Ramp():
            return _of_points(load, start_s, end_s)
        case Spike():
            inside_s = max(0.0, min(end_s, load.at + load.for_) - max(start_s, load.at))
            mean = load.rate + (load.peak - load.rate) * inside_s / (end_s - start_s)
            return mean, max(load.rate, load.peak) if inside_s else load.rate
        case Daily():
            return _of_day(load, start_s, end_s)
    return load.rate, load.rate


def _of_points(load: Steps | Ramp, start_s: float, end_s: float) -> tuple[float, float]:
    times = [point.at for point in load.points]
    cuts = [start_s, *(time for time in times if start_s < time < end_s), end_s]
    total = peak = 0.0
    for left, right in zip(cuts, cuts[1:], strict=False):
        ends = (_at(load, left), _at(load, right) if isinstance(load, Ramp) else _at(load, left))
        total += (right - left) * sum(ends) / 2
        peak = max(peak, *ends)
    return total / (end_s - start_s), peak


def _at(load: Steps | Ramp, time_s: float) -> float:
    last = max(i for i, point in enumerate(load.points) if point.at <= time_s)
    here = load.points[last]
    if isinstance(load, Steps) or last + 1 == len(load.points):
        return here.rate
    following = load.points[last + 1]
    return here.rate + (following.rate - here.rate) * (time_s - here.at) / (following.at - here.at)


def _of_day(load: Daily, start_s: float, end_s: float) -> tuple[float, float]:
    turn = 2 * math.pi / load.period
    area = math.sin(turn * (end_s - load.peak_at)) - math.sin(turn * (start_s - load.peak_at))
    mean = load.rate * (1 + load.swing * area / turn / (end_s - start_s))
    first_peak_s = load.peak_at + load.period * math.ceil((start_s - load.peak_at) / load.period)
    ends = [math.cos(turn * (time_s - load.peak_at)) for time_s in (start_s, end_s)]
    return mean, load.rate * (1 + load.swing * (1.0 if first_peak_s <= end_s else max(ends)))


def demands_of(scenario: Scenario) -> dict[str, Demand]:
    """What one visit of each operation needs, callees first."""
    operations = operations_of(scenario)
    graph = {address: set[str]() for address in operations}
    for address, operation in operations.items():
        _callees(scenario, operation.steps, graph[address])
    spoken = {target for caller, target in ways_of(scenario) if scenario.policy(caller, target).protocol is not None}
    demands: dict[str, Demand] = {}
    for address in TopologicalSorter(graph).static_order():
        service, operation = address.split(".")[0], operations[address]
        demand, _ = _of_steps(scenario, service, operation.steps, demands)
        if address in spoken:
            demand = replace(demand, held_s=demand.held_s + streams_s(operation.request, operation.response)[0])
        demands[address] = demand
    return demands


def _callees(scenario: Scenario, steps: tuple[Step, ...], found: set[str]) -> None:
    for step in steps:
        if isinstance(step, Call):
            found.add(step.call)
        elif isinstance(step, RequestReply):
            found.update(scenario.consumers(step.request).values())
        elif isinstance(step, Parallel):
            for branch in step.parallel:
                _callees(scenario, branch, found)
        elif isinstance(step, Repeat):
            _callees(scenario, step.repeat, found)
        elif isinstance(step, Saga):
            for part in step.saga:
                _callees(scenario, (*part.do, *part.undo), found)


def _of_steps(scenario: Scenario, service: str, steps: tuple[Step, ...], demands: dict[str, Demand]) -> tuple[Demand, float]:
    """The need of steps in a row, and the probability of getting past them."""
    work_s = held_s = 0.0
    calls: dict[str, float] = {}
    reach = 1.0
    for step in steps:
        need, passed = _of_step(scenario, service, step, demands)
        work_s += reach * need.work_s
        held_s += reach * need.held_s
        for target, number in need.calls.items():
            calls[target] = calls.get(target, 0.0) + reach * number
        reach *= passed
    return Demand(work_s, held_s, calls), reach


def _of_step(scenario: Scenario, service: str, step: Step, demands: dict[str, Demand]) -> tuple[Demand, float]:
    match step:
        case Work():
            return Demand(step.work.mean, step.work.mean, {}), 1.0
        case Fail():
            return Demand(step.fail * step.work.mean, step.fail * step.work.mean, {}), 1.0 - step.fail
        case Publish():
            held_s = publish_s(scenario, service, step.publish) if step.confirm and step.outbox is None else 0.0
            held_s += _put_s(scenario, step)
            return Demand(0.0, step.probability * held_s, {step.publish: step.probability}), 1.0
        case RequestReply():
            held_s = reply_s(scenario, service, step, demands)
            return Demand(0.0, step.probability * held_s, {step.request: step.probability}), 1.0
        case Call():
            counts = _shares(step.count)
            mean = sum(number * share for number, share in counts.items())
            in_a_row = 1.0 - counts.get(0, 0.0) if step.in_parallel else mean
            both_s = 2 * way_s(scenario, service, step.call.split(".")[0])
            held_s = in_a_row * (both_s + demands[step.call].held_s)
            return Demand(0.0, step.probability * held_s, {step.call: step.probability * mean}), 1.0
        case ReadVersion() | Commit():
            return Demand(0.0, 0.0, {}), 1.0
        case Parallel():
            branches = [_of_steps(scenario, service, branch, demands) for branch in step.parallel]
            calls: dict[str, float] = {}
            for need, _ in branches:
                for target, number in need.calls.items():
                    calls[target] = calls.get(target, 0.0) + number
            work_s = sum(need.work_s for need, _ in branches)
            # The mean of the slowest is at least the slowest of the means.
            longest_s = max((need.held_s for need, _ in branches), default=0.0)
            return Demand(work_s, longest_s, calls), math.prod(passed for _, passed in branches)
        case Repeat():
            return _of_rounds(*_of_steps(scenario, service, step.repeat, demands), step.count)
        case Saga():
            return _of_saga(scenario, service, step, demands)


def _of_saga(scenario: Scenario, service: str, saga: Saga, demands: dict[str, Demand]) -> tuple[Demand, float]:
    """The need of the parts in a row, and of undoing each as often as a later one fails."""
    done = [_of_steps(scenario, service, part.do, demands) for part in saga.saga]
    reach = [math.prod(passed for _, passed in done[:number]) for number in range(len(done) + 1)]
    undone = [_of_steps(scenario, service, part.undo, demands)[0] for part in saga.saga]
    needs = [(share, need) for share, (need, _) in zip(reach, done, strict=False)]
    needs += [(share - reach[-1], need) for share, need in zip(reach[1:], undone, strict=True)]
    calls: dict[str, float] = {}
    for share, need in needs:
        for target, number in need.calls.items():
            calls[target] = calls.get(target, 0.0) + share * number
    work_s = sum(share * need.work_s for share, need in needs)
    held_s = sum(share * need.held_s for share, need in needs)
    return Demand(work_s, held_s, calls), reach[-1]


def publish_s(scenario: Scenario, service: str, name: str) -> float:
    """Mean time from a publish to its acknowledgement, in seconds, where nothing queues; of copies, what one takes."""
    longest_s = 0.0
    if name in scenario.logs:
        longest_s = _log_publish_s(scenario, name)
    for queue in (scenario.queues[each] for each in scenario.queues_of(name) if each in scenario.queues):
        longest_s = max(longest_s, queue.persist.mean if queue.broker is None else written_s(scenario, queue.broker))
    return 2 * way_s(scenario, service, name) + longest_s


def _put_s(scenario: Scenario, step: Publish) -> float:
    """Mean time to put the payload of a claim check into its store, in seconds."""
    store = None if step.payload is None else scenario.stores.get(step.payload.claim_check or "")
    if step.payload is None or store is None:
        return 0.0
    return store.put.mean + (0.0 if store.bandwidth == "unlimited" else step.payload.size / store.bandwidth)


def reply_s(scenario: Scenario, service: str, step: RequestReply, demands: dict[str, Demand]) -> float:
    """Mean time from a request to its first reply, in seconds, where nothing queues. The publish counts one way: nobody waits for
    its acknowledgement where the reply is there first."""
    return min(_reply_s(scenario, service, step, consumer, demands) for consumer in _answers(scenario, step))


def _reply_s(scenario: Scenario, service: str, step: RequestReply, consumer: str, demands: dict[str, Demand]) -> float:
    by = consumer.split(".")[0]
    ways = [(service, step.request), (step.request, by), (by, step.replies), (step.replies, service)]
    ways_s = [way_s(scenario, *way) for way in ways]
    stored_s = publish_s(scenario, service, step.request) - 2 * ways_s[0] + publish_s(scenario, by, step.replies) - 2 * ways_s[2]
    return sum(ways_s) + stored_s + demands[consumer].held_s


def _log_publish_s(scenario: Scenario, name: str) -> float:
    """Of a log: a batch that has waited its linger, written as its producers want it."""
    log = scenario.logs[name]
    acks, linger_s = log.producer.acks, log.producer.linger
    if acks == 0:
        return linger_s
    confirm = "all" if acks == "all" else "one"
    return linger_s + (log.persist.mean if log.broker is None else written_s(scenario, log.broker, confirm))


def _shares(times: int | dict[int, float]) -> dict[int, float]:
    weights = times if isinstance(times, dict) else {times: 1.0}
    return {number: weight / sum(weights.values()) for number, weight in weights.items()}


def _of_rounds(once: Demand, passed: float, times: int | dict[int, float]) -> tuple[Demand, float]:
    """The need of rounds of which the first failure is the last."""
    counts = _shares(times)
    rounds = sum(share * sum(passed**before for before in range(number)) for number, share in counts.items())
    calls = {target: rounds * number for target, number in once.calls.items()}
    past_all = sum(share * passed**number for number, share in counts.items())
    return Demand(rounds * once.work_s, rounds * once.held_s, calls), past_all


def visits_per_request(scenario: Scenario, demands: dict[str, Demand]) -> dict[str, float]:
    """How often each operation is visited for one request of the mix, messages from queues included."""
    visits = dict.fromkeys(demands, 0.0)
    waiting = shares(entry_weights(scenario.load))
    # Calls have no circles, but a consumer may publish again: follow the messages until nothing is left of them.
    for _ in range(_ROUNDS):
        made, waiting = _with_all_calls(waiting, demands, scenario)
        for address, number in made.items():
            visits[address] += number
        if sum(waiting.values()) < _NOTHING:
            break
    return visits


def entry_weights(load: Load) -> dict[str, float]:
    """The entries in the proportions in which they are asked for."""
    return load.per_round if isinstance(load, Closed) else load.mix


def _with_all_calls(
    begun: dict[str, float], demands: dict[str, Demand], scenario: Scenario
) -> tuple[dict[str, float], dict[str, float]]:
    """The visits that some visits come to with all calls below them, and those that their messages will begin."""
    made = dict(begun)
    messages: dict[str, float] = {}
    for address in reversed(demands):  # callers first
        if not (number := made.get(address, 0.0)):
            continue
        for target, calls in demands[address].calls.items():
            if target in scenario.queues or target in scenario.topics or target in scenario.logs:
                for consumer in scenario.consumers(target).values():
                    messages[consumer] = messages.get(consumer, 0.0) + number * calls
            else:
                made[target] = made.get(target, 0.0) + number * calls
    return made, messages


_ROUNDS: Final = 200
_NOTHING: Final = 1e-9


@dataclass
class _Share:
    """What one request means for one service: visits, their work, and the time that they hold workers."""

    visits: float = 0.0
    work_s: float = 0.0
    held_s: float = 0.0


def _shares_of_services(demands: dict[str, Demand], per_request: dict[str, float]) -> dict[str, _Share]:
    found: dict[str, _Share] = {}
    for address, demand in demands.items():
        share = found.setdefault(address.split(".")[0], _Share())
        share.visits += per_request[address]
        share.work_s += per_request[address] * demand.work_s
        share.held_s += per_request[address] * demand.held_s
    return found


def _service(scenario: Scenario, name: str, share: _Share, rate: float | None, peak: float | None) -> ServiceForecast:
    service = scenario.services[name]
    visits, work_s, held_s = share.visits, share.work_s, share.held_s
    if service.sharing == "processor":
        held_s = work_s  # whoever waits for a call needs no core
    workers = None if service.workers == "unlimited" else service.workers

    def over_workers(rate_rps: float | None) -> float | None:
        return None if workers is None or rate_rps is None else rate_rps * held_s / (service.replicas * workers)

    def over_cpu(rate_rps: float | None) -> float | None:
        if service.cpu is None or rate_rps is None:
            return None
        background = service.cpu.background
        besides = 0.0 if background is None else background.work / background.every  # of each replica's time
        return (rate_rps * work_s / service.replicas + besides) / (service.cpu.quota / service.cpu.period)

    return ServiceForecast(
        name,
        service.replicas,
        workers,
        (rate or 0.0) * visits,
        work_s / visits if visits else 0.0,
        held_s / visits if visits else 0.0,
        over_workers(rate),
        over_workers(peak),
        over_cpu(rate),
        over_cpu(peak),
    )


@dataclass(frozen=True)
class Edge:
    """A caller (a service or ``client``) and a target (an operation or a queue) that it calls, with the policy between."""

    caller: str
    target: str
    policy: CallPolicy
    #: The operation that calls; None for the client.
    operation: str | None
    #: Calls of one visit at most.
    most: int


def calls_rps(scenario: Scenario) -> dict[tuple[str, str], float]:
    """Calls and publishes per second on every edge in the mean, retries not counted; empty for a load without a rate."""
    demands = demands_of(scenario)
    per_request = visits_per_request(scenario, demands)
    rate_rps = forecast(scenario).rate_rps
    if rate_rps is None:
        return {}
    return {edge: rate_rps * number for edge, number in _per_request(scenario, demands, per_request).items()}


def _per_request(scenario: Scenario, demands: dict[str, Demand], visits: dict[str, float]) -> dict[tuple[str, str], float]:
    """Calls and publishes on every edge for one request, in the mean."""
    found = {(CLIENT, entry): share for entry, share in shares(entry_weights(scenario.load)).items()}
    for address, demand in demands.items():
        for target, calls in demand.calls.items():
            edge = (address.split(".")[0], target)
            found[edge] = found.get(edge, 0.0) + visits[address] * calls
    for address, _, step in requests_of(scenario):  # each request has a reply
        for consumer in scenario.consumers(step.request).values():
            edge = (consumer.split(".")[0], step.replies)
            found[edge] = found.get(edge, 0.0) + visits[address] * step.probability
    return found


def messages_rps(scenario: Scenario) -> dict[str, float]:
    """Messages per second that every queue, and every group of a log (`LOG.GROUP`), gets in the mean, those of its topics
    included; empty for a load without a rate."""
    found = dict.fromkeys([*scenario.queues, *(each for log in scenario.logs for each in scenario.queues_of(log))], 0.0)
    rates = calls_rps(scenario)
    for (_, target), rate_rps in rates.items():
        for queue in scenario.queues_of(target):
            if queue in found:
                found[queue] += rate_rps
    return found if rates else {}


def edges_of(scenario: Scenario) -> list[Edge]:
    """Every way that calls and messages take, the client's first."""
    found = [
        Edge(CLIENT, entry, scenario.policy(CLIENT, entry), None, 1)
        for entry, weight in entry_weights(scenario.load).items()
        if weight > 0
    ]
    for address, operation in operations_of(scenario).items():
        service = address.split(".")[0]
        most: dict[str, int] = {}
        _most_calls(operation.steps, most)
        found += [Edge(service, to, scenario.policy(service, to), address, number) for to, number in most.items()]
    replies = {(consumer, step.replies) for _, _, step in requests_of(scenario) for consumer in _answers(scenario, step)}
    for consumer, to in sorted(replies):
        service = consumer.split(".")[0]
        found.append(Edge(service, to, scenario.policy(service, to), consumer, 1))
    return found


def _answers(scenario: Scenario, step: RequestReply) -> list[str]:
    return list(scenario.consumers(step.request).values())


def _most_calls(steps: tuple[Step, ...], found: dict[str, int]) -> None:
    for step in steps:
        match step:
            case Call():
                count = max(step.count) if isinstance(step.count, dict) else step.count
                found[step.call] = found.get(step.call, 0) + count
            case Publish():
                found[step.publish] = found.get(step.publish, 0) + 1
            case RequestReply():
                found[step.request] = found.get(step.request, 0) + 1
            case Parallel():
                for branch in step.parallel:
                    _most_calls(branch, found)
            case Repeat():
                once: dict[str, int] = {}
                _most_calls(step.repeat, once)
                rounds = max(step.count) if isinstance(step.count, dict) else step.count
                for target, number in once.items():
                    found[target] = found.get(target, 0) + rounds * number
            case Saga():
                for part in step.saga:
                    _most_calls((*part.do, *part.undo), found)
