"""Batches of calls in motion: who gathers, what goes, and what each call has of the one answer.

::

    call 1 --join--> Collector --- wait, or full ---> Batch.go: the layers inside, once --> an outcome for each call
    call 2 --join-->                                  CarriedBatch: one attempt of it, at the server
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Task, Tasks
from sim.laws import sampler
from sim.policies.call_batch import CallBatch
from sim.records import ERROR, GOOD, TIMEOUT
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from sim.runtime.context import Context
    from sim.runtime.journey import Journey

_FURTHER = salt("batches", "further")

#: Sends what goes together through the layers inside.
_Send = Callable[["Journey"], Steps]


class BatchedCall(Reply):
    """One of the calls that go together; it is settled with its own outcome."""

    __slots__ = ("joined_s", "journey")

    def __init__(self, tasks: Tasks, journey: Journey) -> None:
        super().__init__(tasks)
        self.journey = journey
        self.joined_s = tasks.now_s()


class Batch:
    """Calls that go together: while they gather, those that have come; after that, those that went."""

    __slots__ = ("calls", "failed", "full", "rules", "sent_s", "task", "waiting", "whole")

    def __init__(self, tasks: Tasks, rules: Collector) -> None:
        self.rules = rules
        self.calls: list[BatchedCall] = []
        self.waiting = 0  # those that have not given up
        self.full = Reply(tasks)
        self.sent_s = inf
        self.whole: Journey | None = None  # of all together, once they go
        self.failed: set[int] = set()  # places of the calls that failed by themselves
        self.task: Task | None = None

    def __len__(self) -> int:
        return len(self.calls)

    def go(self, send: _Send, now_s: float) -> Steps:
        """Steps that make the call of all together, and give each its outcome."""
        self.sent_s = now_s
        first = self.calls[0].journey
        context = first.context.branch()
        context.due_s = max(call.journey.context.due_s for call in self.calls)
        self.whole = whole = first.branch(context)
        whole.due_s = max(call.journey.due_s for call in self.calls)
        whole.batch = self
        outcome: int = yield from send(whole)
        for place, call in enumerate(self.calls):
            call.settle(ERROR if outcome in GOOD and place in self.failed else outcome)

    def attempt(self, key: int) -> CarriedBatch:
        """What an attempt brings to the server, of which `key` names the draws."""
        others = [child(call.journey.key, call.journey.next_number()) for call in self.calls[1:]]
        return CarriedBatch(self, [key, *others])


class CarriedBatch:
    """One attempt of a batch at the server: a key for the draws of each call, and which of them fail there."""

    __slots__ = ("_batch", "_keys", "failed")

    def __init__(self, batch: Batch, keys: list[int]) -> None:
        self._batch = batch
        self._keys = keys
        self.failed: set[int] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def further_s(self) -> float:
        """Work for the calls beyond the first, in seconds."""
        law = self._batch.rules.each_further
        return sum(law.draw(child(key, _FURTHER)) for key in self._keys[1:])

    def passes(self, probability: float, step_salt: int) -> bool:
        """Whether none of the calls fails at a step."""
        found = {place for place, key in enumerate(self._keys) if uniform(child(key, step_salt)) < probability}
        self.failed |= found
        return not found

    def fails(self) -> bool:
        """Whether what has failed makes all of it fail."""
        return self._batch.rules.all_fail or len(self.failed) == len(self)

    def answered(self, outcome: int) -> None:
        """The caller has the answer of this attempt."""
        if outcome in GOOD:
            self._batch.failed = self.failed


class Collector:
    """Gathers the calls of one caller process on one edge."""

    __slots__ = ("_most", "_open", "_scope", "_tasks", "_wait_s", "all_fail", "each_further")

    def __init__(self, tasks: Tasks, spec: CallBatch) -> None:
        self._tasks = tasks
        self._most = inf if spec.size == "unlimited" else spec.size
        self._wait_s = spec.wait
        self._scope = spec.scope
        self.all_fail = spec.on_failure == "all"
        self.each_further = sampler(spec.each_further)
        self._open: dict[tuple[int, int], Batch] = {}  # those that gather, by whose calls they are

    def join(self, journey: Journey, send: _Send) -> Steps:
        """Steps of one call until it has its share of an answer; they return its outcome."""
        tasks = self._tasks
        whose = self._whose(journey.context)
        batch = self._open.get(whose)
        if batch is None:
            batch = self._open[whose] = Batch(tasks, self)
            batch.task = tasks.start(self._gather(batch, whose, send))
        call = BatchedCall(tasks, journey)
        batch.calls.append(call)
        batch.waiting += 1
        if len(batch) >= self._most:
            del self._open[whose]
            batch.full.settle(None)
        if journey.due_s < inf:
            call.expire_after(max(0.0, journey.due_s - call.joined_s))
        killed = True
        try:
            answer = yield call
            killed = False
        finally:
            self._leave(batch, whose, call, killed)
        return self._share(batch, call, answer)

    def _whose(self, context: Context) -> tuple[int, int]:
        return (context.request, context.attempt) if self._scope == "request" else (-1, -1)

    def _gather(self, batch: Batch, whose: tuple[int, int], send: _Send) -> Steps:
        yield from batch.full.within(self._wait_s)
        if self._open.get(whose) is batch:
            del self._open[whose]
        yield from batch.go(send, self._tasks.now_s())

    def _leave(self, batch: Batch, whose: tuple[int, int], call: BatchedCall, killed: bool) -> None:
        """A call waits no longer. A batch for which nobody waits is given up; after a wait in vain it times out by itself."""
        batch.waiting -= 1
        gathers = batch.sent_s == inf
        if gathers:
            batch.calls.remove(call)
        if batch.waiting or not (killed or gathers):
            return
        if self._open.get(whose) is batch:
            del self._open[whose]
        assert batch.task is not None
        batch.task.kill()

    def _share(self, batch: Batch, call: BatchedCall, answer: object) -> int:
        """Account for what a call has waited for, and tell it how that went."""
        journey, now_s, whole = call.journey, self._tasks.now_s(), batch.whole
        context, went_s = journey.context, min(batch.sent_s, now_s)
        context.queue_s += went_s - call.joined_s
        if answer is TIMED_OUT or whole is None:
            context.lost_s += now_s - went_s
            journey.cut_off = True
            return TIMEOUT
        context.add(whole.context)
        if call is batch.calls[0]:
            context.own_s += whole.context.own_s
            context.own_queue_s += whole.context.own_queue_s
        journey.refused_here, journey.cut_off, journey.retry_after_s = whole.refused_here, whole.cut_off, whole.retry_after_s
        assert isinstance(answer, int)
        return answer
