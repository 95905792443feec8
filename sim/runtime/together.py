"""Consumers that handle several messages with one call: who gathers, and what becomes of each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps, Tasks
from sim.records import DEGRADED, ERROR, OK
from sim.runtime.deliveries import Consumer, Delivery, Inbox, done
from sim.runtime.replies import reply_to
from sim.runtime.steps import EachStep, Plan
from sim.runtime.visit import Visit
from sim.streams import child, salt

if TYPE_CHECKING:
    from sim.runtime.messages import Message
    from sim.runtime.replica import Replica
    from sim.scenario.messaging.together import Together as TogetherSpec

_EACH = salt("together", "each")


class Together:
    """One call for several messages, for all consumers of a queue or group."""

    def __init__(self, tasks: Tasks, spec: TogetherSpec, plan: Plan, inbox: Inbox | None) -> None:
        self.tasks = tasks
        self.spec = spec
        self._plan = plan
        self._inbox = inbox
        self._with_each: Plan | None = None  # the operation, and the work for each; made when the operation has its steps

    def perform(self, replica: Replica, messages: list[Message]) -> Steps:
        """Steps of the call; they return the outcome of each message. Effects that happened are written into the messages."""
        first, now_s, inbox = messages[0], self.tasks.now_s(), self._inbox
        fresh = [each for each in messages if inbox is None or not inbox.gate.knows(each.id, now_s)]
        visit = Visit(self.tasks, first.request, first.arrived_s, first.entry, None)
        visit.key = child(first.bits, first.deliveries)
        visit.call_key = first.bits
        visit.sent_s = now_s
        visit.stamp = [child(each.bits, each.deliveries) for each in fresh]
        if self._with_each is None:
            self._with_each = self._plan.beginning_with(EachStep(self.spec.each, _EACH))
        plan = self._with_each if fresh or inbox is None else inbox.plan
        outcome: int = yield from replica.serve(visit, plan)
        if outcome in (OK, DEGRADED) and self.spec.on_failure == "all" and any(each.poisoned for each in messages):
            outcome = ERROR
        outcomes = [done(message, visit, inbox, outcome, self.tasks.now_s()) for message in messages]
        for place, message in enumerate(messages):
            if message.correlation is not None:
                outcomes[place] = yield from reply_to(replica, message, visit, outcomes[place])
        return outcomes


class Gathering:
    """The messages that wait at one consumer for its next call."""

    def __init__(self, together: Together, consumer: Consumer) -> None:
        self._together = together
        self._consumer = consumer
        self._places: deque[tuple[Delivery, Reply, float]] = deque()  # with when each came
        self._bell: Reply | None = None

    def join(self, delivery: Delivery) -> Steps:
        """Steps of a message until its call is over; they return its outcome."""
        tasks = self._together.tasks
        place = Reply(tasks)
        self._places.append((delivery, place, tasks.now_s()))
        if self._bell is not None and (self._waits_for_any() or len(self._places) >= self._together.spec.size):
            self._bell.settle(None)
        return (yield place)

    def _waits_for_any(self) -> bool:
        return len(self._places) == 1

    def run(self) -> Steps:
        """Call, again and again, as long as the consumer lives."""
        tasks, spec = self._together.tasks, self._together.spec
        while True:
            if not self._places:
                yield from self._ring(None)
            left_s = self._places[0][2] + spec.wait - tasks.now_s()
            if len(self._places) < spec.size and left_s > 0:
                yield from self._ring(left_s)
            batch = [self._places.popleft() for _ in range(min(spec.size, len(self._places)))]
            messages = [delivery.message for delivery, _, _ in batch]
            outcomes = yield from self._together.perform(self._consumer.replica, messages)
            for (_, place, _), outcome in zip(batch, outcomes, strict=True):
                place.settle(outcome)

    def _ring(self, within_s: float | None) -> Steps:
        self._bell = bell = Reply(self._together.tasks)
        if within_s is None:
            yield bell
        else:
            yield from bell.within(within_s)
        self._bell = None
