"""Binding the operations of a scenario to the edges that they use: steps that are described become steps that run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, assert_never

from sim.runtime.messages import Payload, Stamp
from sim.runtime.publishing import OutboxStep, PublishStep, RequestStep
from sim.runtime.replies import Terms
from sim.runtime.steps import (
    CachedSteps,
    CallStep,
    CommitStep,
    FailStep,
    FurtherStep,
    ParallelStep,
    ReadVersionStep,
    RefuseStep,
    RepeatStep,
    Runnable,
    SagaStep,
    ValidatedSteps,
    WorkStep,
)
from sim.runtime.streaming import Messages, StreamStep
from sim.runtime.wire import AnswerStep, ReceiveStep
from sim.scenario.contents import Streamed, messages_in
from sim.scenario.services import (
    Call,
    Commit,
    Fail,
    Operation,
    Parallel,
    Publish,
    ReadVersion,
    Repeat,
    RequestReply,
    Saga,
    Step,
    Work,
)  # fmt: skip
from sim.streams import salt

if TYPE_CHECKING:
    from sim.runtime.steps import Plan
    from sim.runtime.stores import Store
    from sim.runtime.visit import Edge
    from sim.runtime.wire import Wire


class Planner:
    """Binds the operations of one service to edges: `edge_to` makes the edge to an address or queue, `edge_from` that of another
    service."""

    def __init__(
        self,
        edge_to: Callable[[str], Edge],
        edge_from: Callable[[str, str], Edge],
        consumer_of: Callable[[str], str],
        consumers_of: Callable[[str], Collection[str]],
        stores: Mapping[str, Store],
        wires: dict[tuple[str, str], Wire] | None,
        batches: bool,
        seed: int,
    ) -> None:
        self._seed = seed
        self._stores = stores
        self._wires = wires  # of the edges whose calls have a protocol; None: there is no protocol at all
        self._batches = batches  # whether calls go together anywhere
        self._edge_to = edge_to
        self._edge_from = edge_from
        self._consumer_of = consumer_of
        self._consumers_of = consumers_of

    def fill(self, plan: Plan, operation: Operation) -> None:
        """Give a plan its steps."""
        # Draws are keyed by "the n-th work" and "the n-th call of payment.charge" of an operation, so that a candidate
        # that replaces another call, or publishes instead of calling, still draws the same numbers for the rest.
        seen: Counter[str] = Counter()
        plan.steps = tuple(self.step(step, seen) for step in operation.steps)
        if operation.revalidate is not None:
            plan.steps = (ValidatedSteps(plan.steps, operation.revalidate),)
        if plan.passes_on:  # a query that asks for too much
            plan.steps = (RefuseStep(),)
        elif operation.cache is not None:
            plan.steps = (CachedSteps(plan.steps, operation.cache, plan.code),)
        if self._batches:
            plan.steps = (FurtherStep(), *plan.steps)
        if self._wires is not None and (operation.request is not None or operation.response is not None):
            plan.steps = self._with_bodies(plan, operation, self._wires)

    def _with_bodies(self, plan: Plan, operation: Operation, wires: dict[tuple[str, str], Wire]) -> tuple[Runnable, ...]:
        """The steps between reading the request and writing the answer."""
        asked = self._messages(plan, operation, operation.request)
        answers = self._messages(plan, operation, operation.response)
        if asked is not None and answers is not None:
            return (*plan.steps, StreamStep(wires, asked, answers))
        first = ReceiveStep(wires) if asked is None else StreamStep(wires, asked, None)
        last = AnswerStep(wires) if answers is None else StreamStep(wires, None, answers)
        return (first, *plan.steps, last)

    def _messages(self, plan: Plan, operation: Operation, body: object) -> Messages | None:
        if not isinstance(body, Streamed):
            return None
        return Messages(body, messages_in(body, operation.request), self._seed, f"{plan.code}")

    def step(self, step: Step, seen: Counter[str]) -> Runnable:
        """Bind one step."""

        def next_salt(what: str) -> int:
            seen[what] += 1
            return salt(what, seen[what])

        match step:
            case Work():
                return WorkStep(step.work, next_salt("work"))
            case Fail():
                return FailStep(step.fail, step.work, next_salt("fail"))
            case Call():
                edge = self._edge_to(step.call)
                return CallStep(edge, step.count, step.in_parallel, step.probability, step.required, next_salt(step.call))
            case Publish():
                edge = self._edge_to(step.publish)
                step_salt = next_salt(self._consumer_of(step.publish))
                payload, store = self._payload(step)
                stamp = Stamp(step, payload=payload)
                if step.outbox is not None:
                    return OutboxStep(edge, stamp, step.probability, step_salt, step.outbox.interval, store)
                return PublishStep(edge, stamp, step.probability, step_salt, store)
            case RequestReply():
                edge, stamp = self._edge_to(step.request), Stamp(step.published)
                step_salt = next_salt(self._consumer_of(step.request))
                return RequestStep(edge, stamp, step.probability, step_salt, self._terms(step), step.timeout)
            case Parallel():
                return ParallelStep([self._all(branch, seen) for branch in step.parallel])
            case ReadVersion():
                return ReadVersionStep(step.read_version)
            case Commit():
                return CommitStep(step.commit)
            case Repeat():
                return RepeatStep(self._all(step.repeat, seen), step.count, next_salt("repeat"))
            case Saga():
                parts = tuple((self._all(part.do, seen), self._all(part.undo, seen)) for part in step.saga)
                return SagaStep(parts, step.undo_failed)
            case _:
                assert_never(step)

    def _terms(self, step: RequestReply) -> Terms:
        """How a request is answered, by whoever may get it."""
        services = dict.fromkeys(consumer.split(".")[0] for consumer in self._consumers_of(step.request))
        edges = {service: self._edge_from(service, step.replies) for service in services}
        return Terms(edges, step.replies, step.reply_failures)

    def _payload(self, step: Publish) -> tuple[Payload | None, Store | None]:
        """How large the messages of a publish are, and through which store they go."""
        if step.payload is None:
            return None, None
        store = None if step.payload.claim_check is None else self._stores[step.payload.claim_check]
        return Payload(step.payload, store), store

    def _all(self, steps: tuple[Step, ...], seen: Counter[str]) -> tuple[Runnable, ...]:
        return tuple(self.step(inner, seen) for inner in steps)
