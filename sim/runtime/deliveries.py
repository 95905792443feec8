"""Consumers of queues, what they hold, and what they remember."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.streams import child

if TYPE_CHECKING:
    from sim.kernel.tasks import Reply, Task
    from sim.policies.deduplication import DeduplicationGate
    from sim.runtime.messages import Message
    from sim.runtime.replica import Replica
    from sim.runtime.steps import Plan


class Consumer:
    """One consumer of a replica: it works on one message at a time, and may hold more."""

    __slots__ = ("busy", "held", "key", "last_s", "loop", "replica", "waiting")

    def __init__(self, replica: Replica, consumer_key: int) -> None:
        self.replica = replica
        self.key = consumer_key
        self.held: dict[Delivery, None] = {}  # in the order in which it got them
        self.waiting: deque[Reply] = deque()  # those that wait until it is free
        self.busy = False
        self.last_s = -1.0  # when the latest of them arrived, or will
        self.loop: Task | None = None  # that asks, where consumers ask


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
