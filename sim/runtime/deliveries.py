"""Consumers of messages, what they hold, what they do with a message, and what they remember."""

from __future__ import annotations

from collections import deque
from math import isnan
from typing import TYPE_CHECKING, Any

from sim.records import DEGRADED, ERROR, OK
from sim.runtime.replies import reply_to
from sim.runtime.visit import Visit
from sim.streams import child

if TYPE_CHECKING:
    import cython

    from sim.kernel.tasks import Reply, Steps, Task, Tasks
    from sim.policies.deduplication import DeduplicationGate
    from sim.runtime.messages import Message
    from sim.runtime.replica import Replica
    from sim.runtime.steps import Plan


class Consumer:
    """One consumer of a replica: it works on one message at a time, and may hold more."""

    __slots__ = ("busy", "gathering", "held", "key", "last_s", "loop", "replica", "waiting")

    def __init__(self, replica: Replica, consumer_key: int) -> None:
        self.replica = replica
        self.key = consumer_key
        self.held: dict[Delivery, None] = {}  # in the order in which it got them
        self.waiting: deque[Reply] = deque()  # those that wait until it is free
        self.busy = False
        self.last_s = -1.0  # when the latest of them arrived, or will
        self.loop: Task | None = None  # that asks, where consumers ask, or that calls for several messages
        self.gathering: Any = None  # of messages for its next call, where it handles them together


class Delivery:
    """One message at one consumer: the permit to settle it, good until the message has come back some other way."""

    __slots__ = ("bits", "consumer", "era", "message", "task")

    def __init__(self, message: Message, consumer: Consumer) -> None:
        self.message = message
        self.consumer = consumer
        self.era = message.era
        self.bits = child(message.bits, message.deliveries)
        self.task: Task | None = None


class Inbox:
    """What an idempotent consumer has dealt with, and what it does with what it knows."""

    __slots__ = ("gate", "plan")

    def __init__(self, gate: DeduplicationGate, plan: Plan) -> None:
        self.gate = gate
        self.plan = plan


def perform(tasks: Tasks, replica: Replica, message: Message, bits: cython.ulonglong, plan: Plan, inbox: Inbox | None) -> Steps:
    """Steps of a message's work at a replica: they return its outcome. An effect that happened is written into the message."""
    visit = Visit(tasks, message.request, message.arrived_s, message.entry, None)
    visit.key = bits
    visit.call_key = message.bits
    visit.sent_s = tasks.now_s()
    if inbox is not None and inbox.gate.knows(message.id, visit.sent_s):
        plan = inbox.plan
    elif message.store is not None:
        plan = message.store.plan(plan)
        visit.stamp = message
    outcome: cython.int = yield from replica.serve(visit, plan)
    outcome = done(message, visit, inbox, outcome, tasks.now_s())
    if message.correlation is not None:
        outcome = yield from reply_to(replica, message, visit, outcome)
    return outcome


def done(message: Message, visit: Visit, inbox: Inbox | None, outcome: cython.int, now_s: float) -> cython.int:
    """What work with this outcome means for a message: its own outcome. An effect that happened is written into the message."""
    if outcome != OK and outcome != DEGRADED:
        return outcome
    if message.poisoned:
        return ERROR
    # What was done before, or meanwhile by another, is not done again: its writing wins, and this one's is undone.
    if inbox is None or not inbox.gate.knows(message.id, now_s):
        if inbox is not None:
            inbox.gate.remember(message.id, now_s)
        message.times_done += 1
        if isnan(message.done_s):
            message.started_s = visit.started_s
            message.done_s = now_s
    return outcome
