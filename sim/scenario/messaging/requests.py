"""Requests that are answered by messages: what they cannot be, and what a reviewer would say about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.scenario.edges import operations_of, steps_of
from sim.scenario.services import Publish, RequestReply, Step
from sim.scenario.words import nearest
from sim.units import format_duration

if TYPE_CHECKING:
    from sim.scenario.model import Scenario

#: What is read of a queue of replies, and of a log of them.
_READ: Final = ("broker", "zone", "persist")
_READ_OF_LOGS: Final = ("preset", "partitions", "broker", "zone", "persist", "max_size", "min_insync", "producer", "consuming")


def _steps_in(scenario: Scenario) -> Iterator[tuple[str, str, Step]]:
    """Every step: its operation, its path, itself."""
    for address, operation in operations_of(scenario).items():
        service, name = address.split(".")
        for path, step in steps_of(operation.steps, f"services.{service}.operations.{name}.steps"):
            yield address, path, step


def requests_of(scenario: Scenario) -> Iterator[tuple[str, str, RequestReply]]:
    """Every step that asks by message: its operation, its path, itself."""
    for address, path, step in _steps_in(scenario):
        if isinstance(step, RequestReply):
            yield address, path, step


def carriers_of_replies(scenario: Scenario) -> set[str]:
    """The queues and logs that carry replies."""
    return {step.replies for _, _, step in requests_of(scenario)}


def problems_of_requests(scenario: Scenario) -> Iterator[str]:
    """Requests to what cannot reply, and queues of replies that are something else besides."""
    for _, path, step in requests_of(scenario):
        asked = [*scenario.queues, *scenario.topics, *scenario.logs]
        if step.request not in asked:
            yield f"{path}.request: no queue, topic or log {step.request!r}; {nearest(step.request, asked)}"
        elif not scenario.consumers(step.request):
            yield f"{path}.request: nobody consumes {step.request}, so nobody replies; give it a consumer"
        if step.replies not in scenario.queues and step.replies not in scenario.logs:
            cure = nearest(step.replies, [*scenario.queues, *scenario.logs])
            yield f"{path}.replies: no queue or log {step.replies!r}; {cure}"
    for name in sorted(carriers_of_replies(scenario)):
        yield from _problems_of_replies(scenario, name)


def _problems_of_replies(scenario: Scenario, name: str) -> Iterator[str]:
    for where, kept, read in (("queues", scenario.queues, _READ), ("logs", scenario.logs, _READ_OF_LOGS)):
        for key in sorted(kept[name].model_fields_set - {*read}) if name in kept else ():
            yield (
                f"{where}.{name}.{key}: {name} carries replies to those who wait for them, and {key} is not read there; leave it "
                "out"
            )
    givers = {f"queues.{other}": queue.dead_letter for other, queue in scenario.queues.items()}
    for log, spec in scenario.logs.items():
        givers |= {f"logs.{log}.groups.{group}": spec.group(group).dead_letter for group in spec.groups}
    for giver, letters in givers.items():
        if letters == name:
            yield f"{giver}.dead_letter: {name} carries replies, and nobody waits for a dead letter; name another queue"
    for _, path, step in _steps_in(scenario):
        if isinstance(step, Publish) and step.publish == name:
            yield f"{path}.publish: {name} carries replies, which are sent by whoever is asked; name another queue or log"
    for topic, one in scenario.topics.items():
        if name in one.subscriptions:
            yield f"topics.{topic}.subscriptions: {name} carries replies, which are for one process; name another queue"


def doubts_of_requests(scenario: Scenario, waits_s: dict[tuple[str, str], float]) -> Iterator[str]:
    """Callers who never wait long enough, and requests that outlive them. `waits_s`: by path and queue, seconds to a reply where
    nothing queues."""
    told: set[str] = set()
    for address, path, step in requests_of(scenario):
        takes_s = waits_s.get((path, step.request), 0.0)
        if takes_s >= step.timeout:
            yield (
                f"{path}: timeout = {format_duration(step.timeout)} ends before the reply is there, which takes "
                f"{format_duration(takes_s)} where nothing queues; a longer timeout"
            )
        # A log keeps what nobody waits for, whatever one writes.
        for name in scenario.queues_of(step.request) if step.request not in scenario.logs else ():
            lives_s = scenario.queues[name].time_to_live
            if name not in told and (lives_s is None or lives_s > step.timeout):
                told.add(name)
                lives = "without a time_to_live" if lives_s is None else f"with time_to_live = {format_duration(lives_s)}"
                yield (
                    f"queue {name}: {address} waits {format_duration(step.timeout)} for a reply, and {lives} its requests are "
                    "worked on long after: behind a backlog, consumers do nothing but what nobody waits for; set "
                    f"queues.{name}.time_to_live to at most the timeout"
                )
