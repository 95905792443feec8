"""Requests that are answered by messages: what they cannot be, and what a reviewer would say about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.scenario.edges import operations_of, steps_of
from sim.scenario.services import Publish, RequestReply, Step
from sim.scenario.words import nearest
from sim.units import format_duration

if TYPE_CHECKING:
    from sim.scenario.messaging.logs import Log
    from sim.scenario.messaging.queues import Queue
    from sim.scenario.model import Scenario

#: What is read of a queue of replies, and of a log of them.
_READ: Final = ("preset", "broker", "zone", "persist")
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
    where, read = ("queues", _READ) if name in scenario.queues else ("logs", _READ_OF_LOGS)
    kept = scenario.queues.get(name) or scenario.logs.get(name)
    if unread := [key for key in _written(kept) if key not in read] if kept is not None else []:
        rest, leave = ("is", "it") if len(unread) == 1 else ("are", "them")
        yield (
            f"{where}.{name}.{unread[0]}: {name} carries replies to those who wait for them, and {' and '.join(unread)} {rest} "
            f"not read there; leave {leave} out"
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


def _written(kept: Queue | Log) -> list[str]:
    """Keys of a queue or log that somebody has set to something else than its preset does."""
    if kept.preset is None:
        return sorted(kept.model_fields_set)
    below = type(kept)(preset=kept.preset)
    alike = {key for key in below.model_fields_set if getattr(kept, key) == getattr(below, key)}
    return sorted(kept.model_fields_set - alike)


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
        caller = address.split(".")[0]
        if step.reply_failures and scenario.policy(caller, step.request).retry.max_attempts != 1:
            yield (
                f"{path}: the retry of {caller} -> {step.request} sends again what was not confirmed, never what was answered "
                f"with a failure (reply_failures); a retry of those who call {caller} does"
            )
        # A log keeps what nobody waits for, whatever one writes.
        queues = scenario.queues_of(step.request) if step.request not in scenario.logs else ()
        lives_s = {name: scenario.queues[name].time_to_live for name in queues if name not in told}
        outliving = {name: long_s for name, long_s in lives_s.items() if long_s is None or long_s > step.timeout}
        told |= outliving.keys()
        if outliving:
            lives = [f"{name} has {_life(long_s)}" for name, long_s in outliving.items()]
            yield (
                f"{address} waits {format_duration(step.timeout)} for a reply, and its requests are worked on long after: queue "
                f"{' and '.join(lives)}. Behind a backlog, consumers do nothing but what nobody waits for; set time_to_live to "
                "at most the timeout"
            )


def _life(lives_s: float | None) -> str:
    return "no time_to_live" if lives_s is None else f"time_to_live = {format_duration(lives_s)}"
