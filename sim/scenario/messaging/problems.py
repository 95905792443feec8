"""What queues, topics and brokers cannot be beside each other, with place and cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sim.scenario.edges import steps_of
from sim.scenario.messaging.requests import problems_of_requests
from sim.scenario.services import Operation, Publish
from sim.scenario.words import nearest

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


def publishable(scenario: Scenario) -> list[str]:
    """What can be published to, queues first."""
    return [*scenario.queues, *scenario.topics, *scenario.logs]


def problems_of_messages(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Names that point nowhere, dead letters in a circle, and priorities that nobody looks at."""
    for name, queue in scenario.queues.items():
        where = f"queues.{name}"
        if queue.consumer is not None and queue.consumer not in operations:
            yield f"{where}.consumer: no operation {queue.consumer!r}; {nearest(queue.consumer, operations)}"
        if queue.broker is not None and queue.broker not in scenario.brokers:
            yield f"{where}.broker: no broker {queue.broker!r}; {nearest(queue.broker, scenario.brokers)}"
        if queue.dead_letter is not None and queue.dead_letter not in scenario.queues:
            yield f"{where}.dead_letter: no queue {queue.dead_letter!r}; {nearest(queue.dead_letter, scenario.queues)}"
        elif (circle := _circle(scenario, name)) is not None:
            yield f"{where}.dead_letter: {' → '.join(circle)} is a circle: a dead message would go round for ever"
    for name, topic in scenario.topics.items():
        for i, queue_name in enumerate(topic.subscriptions):
            if queue_name not in scenario.queues:
                yield f"topics.{name}.subscriptions[{i}]: no queue {queue_name!r}; {nearest(queue_name, scenario.queues)}"
        if len(set(topic.subscriptions)) < len(topic.subscriptions):
            yield f"topics.{name}.subscriptions: {', '.join(topic.subscriptions)} names a queue twice; each gets a message once"
        elif len({scenario.queues[each].broker for each in topic.subscriptions if each in scenario.queues}) > 1:
            yield f"topics.{name}: its queues are on different brokers, and a topic is on one; give them the same broker"
    yield from _problems_of_logs(scenario, operations)
    consumed = {consumer for name in publishable(scenario) for consumer in scenario.consumers(name).values()}
    for address, operation in operations.items():
        if operation.deduplicate is not None and address not in consumed:
            service, name = address.split(".")
            where = f"services.{service}.operations.{name}.deduplicate"
            yield f"{where}: no queue is consumed by it, and calls do not read it; leave it out"
    yield from problems_of_requests(scenario)
    yield from _unread_settings(scenario, operations)


def _problems_of_logs(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    for name, log in scenario.logs.items():
        where = f"logs.{name}"
        broker = scenario.brokers.get(log.broker or "")
        if log.broker is not None and broker is None:
            yield f"{where}.broker: no broker {log.broker!r}; {nearest(log.broker, scenario.brokers)}"
        copies = 1 if broker is None else broker.copies
        if log.min_insync > copies and (broker is not None or log.broker is None):
            said = f"broker {log.broker} keeps {copies}" if broker is not None else "without a broker there is one"
            yield f"{where}.min_insync: {log.min_insync} copies can never be up, for {said}; acks: all would always be refused"
        for group, spec in log.groups.items():
            if spec.consumer not in operations:
                yield f"{where}.groups.{group}.consumer: no operation {spec.consumer!r}; {nearest(spec.consumer, operations)}"
            letters = log.group(group).dead_letter
            if letters is not None and letters not in scenario.queues:
                yield f"{where}.groups.{group}.dead_letter: no queue {letters!r}; {nearest(letters, scenario.queues)}"


def _circle(scenario: Scenario, name: str) -> list[str] | None:
    """The way of dead letters from a queue back to itself."""
    trail = [name]
    while (following := scenario.queues[trail[-1]].dead_letter) in scenario.queues and following is not None:
        trail.append(following)
        if following == name:
            return trail
        if following in trail[:-1]:
            return None  # told at the queue that it is about
    return None


def _unread_settings(scenario: Scenario, operations: Mapping[str, Operation]) -> Iterator[str]:
    """Priorities that a queue would not look at."""
    for address, operation in operations.items():
        service, name = address.split(".")
        for path, step in steps_of(operation.steps, f"services.{service}.operations.{name}.steps"):
            if not isinstance(step, Publish) or step.publish not in publishable(scenario):
                continue
            store = None if step.payload is None else step.payload.claim_check
            if store is not None and store not in scenario.stores:
                yield f"{path}.payload.claim_check: no store {store!r}; {nearest(store, scenario.stores)}"
            together = [name for name in scenario.consumers(step.publish) if scenario.batch_of(name) is not None]
            if store is not None and together:
                yield f"{path}.payload.claim_check: {together[0]} has a batch, which gets no payloads; leave out one of them"
            if step.priority and step.publish in scenario.logs:
                yield f"{path}.priority: {step.publish} is a log, which knows no priorities; leave it out"
                continue
            queues = scenario.queues_of(step.publish)
            known = [scenario.queues[queue] for queue in queues if queue in scenario.queues]
            if step.priority and not any(queue.order == "priority" for queue in known):
                cure = f"write queues.{queues[0]}.order: priority"
                yield f"{path}.priority: {step.publish} does not look at it; {cure}, or leave it out"
