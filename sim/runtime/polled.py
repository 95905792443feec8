"""A queue whose consumers ask for messages: a question brings a batch, at once or when there is one.

::

    consumer --ask--> queue: what is ready, or wait up to `receive_wait` --batch--> one after the other, acknowledged --ask-->
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import TIMED_OUT, Reply, Steps
from sim.records import DEGRADED, ERROR, OK
from sim.runtime.deliveries import Consumer, Delivery
from sim.runtime.queue import MessageQueue
from sim.streams import child, salt

if TYPE_CHECKING:
    import cython

    from sim.runtime.together import Together

_DELIVER, _ASK = (salt("broker", name) for name in ("deliver", "ask"))


class PolledQueue(MessageQueue):
    """A message queue with `delivery: poll`."""

    def __init__(self, *parts: Any) -> None:
        MessageQueue.__init__(self, *parts)
        self._asking: deque[tuple[Reply, Consumer]] = deque()  # consumers that wait for an answer

    def _begins(self, consumer: Consumer) -> None:
        consumer.loop = self._tasks.start(self._keep_asking(consumer))

    def _keep_asking(self, consumer: Consumer) -> Steps:
        """One consumer that polls: ask, work on what comes, one after the other, ask again; for ever."""
        spec, number = self.spec, 0
        while True:
            number += 1
            bits = child(consumer.key, number)
            delay_s = self.from_s(consumer, child(bits, _ASK))
            batch: list[Delivery] = []
            if delay_s < 0:
                yield spec.receive_wait + spec.poll_interval  # the question is lost, and is asked again
                continue
            if delay_s > 0:
                yield delay_s
            batch = yield from self._ask(consumer)
            if self._broker is not None and self._seat is not None:
                yield from self._broker.hand_out(self._seat, bits, sum([each.message.bytes for each in batch]))
            delay_s = self.to_s(consumer, child(bits, _DELIVER))
            if delay_s < 0:
                self._answer_lost(consumer, batch)
                yield spec.receive_wait + spec.poll_interval
                continue
            for delivery in batch:
                delivery.message.way_s = delay_s
            if delay_s > 0:
                yield delay_s
            if batch and self._together is not None:
                yield from self._call_for(batch, self._together)
            elif batch:
                yield from self._work_on(batch)
            elif spec.poll_interval > 0:
                yield spec.poll_interval

    def _ask(self, consumer: Consumer) -> Steps:
        batch = self._batch(consumer)
        if batch:
            self._dispatch()  # a timeout has begun, and there is room
        if batch or not self.spec.receive_wait:
            return batch
        reply = Reply(self._tasks)
        self._asking.append((reply, consumer))
        try:
            found = yield from reply.within(self.spec.receive_wait)
        finally:
            reply.settled = True  # a killed consumer is not handed anything
        return [] if found is TIMED_OUT else found

    def _batch(self, consumer: Consumer) -> list[Delivery]:
        """What a question of a consumer brings now."""
        batch: list[Delivery] = []
        if not self._is_up() or not self._turns.may(consumer):
            return batch
        while len(batch) < self.spec.receive_batch:
            delivery = self._hand_out(consumer, batch[-1].message if batch else None)
            if delivery is None:
                break
            batch.append(delivery)
        return batch

    def _hand_on(self) -> cython.bint:
        """Answer the question that has waited longest, if there is anything for it."""
        asking = self._asking
        while asking and asking[0][0].settled:
            asking.popleft()
        for place, (reply, consumer) in enumerate(asking):
            if reply.settled:
                continue
            batch = self._batch(consumer)
            if batch:
                del asking[place]
                reply.settle(batch)
                return True
            if not self.spec.single_active_consumer:
                return False
        return False

    def _answer_lost(self, consumer: Consumer, batch: list[Delivery]) -> None:
        """Nobody has got what was handed out; without a timeout the queue learns that the connection broke."""
        for delivery in batch:
            self._put_down(delivery)
        if self._before or not self._timed:
            self._interrupted(batch)

    def _work_on(self, batch: list[Delivery]) -> Steps:
        """Work on what one question brought; after a failure the rest of its key is left alone, where an order is kept."""
        failed: set[int] = set()
        for delivery in batch:
            group = delivery.message.group
            if self.spec.order == "per_key" and group >= 0 and group in failed:
                self._untouched(delivery)
                continue
            outcome = yield from self._work(delivery)
            if outcome not in (OK, DEGRADED):
                failed.add(group)
            self._tasks.start(self._report(delivery, outcome))

    def _call_for(self, batch: list[Delivery], together: Together) -> Steps:
        """Work on what one question brought, `size` at a time."""
        size = together.spec.size
        for start in range(0, len(batch), size):
            those = batch[start : start + size]
            outcomes = yield from together.perform(those[0].consumer.replica, [each.message for each in those])
            for delivery, outcome in zip(those, outcomes, strict=True):
                self._tasks.start(self._report(delivery, outcome))

    def _untouched(self, delivery: Delivery) -> None:
        """Leave a message for later."""
        self._put_down(delivery)
        if self._before:
            self._settle_unacknowledged(delivery, ERROR)
        elif self.spec.redelivery_delay != "visibility_timeout":
            now_s = self._tasks.now_s()
            self._given_up(self.gate.give_back(delivery.message, delivery.era, now_s))
            self._dispatch()

    def _report(self, delivery: Delivery, outcome: int) -> Steps:
        """Answer for a message, while the consumer goes on."""
        yield from self._answer(delivery, outcome)
        self._dispatch()
