"""Operations in motion: the steps of the scenario, bound to the edges they use (by `sim.runtime.planner`).

Each step is one small class with `run(replica, context)`, a generator that returns OK or the outcome that ends the
operation. A step that only lets time pass, or is only one call, says so, and is done without a generator. A new kind
of step: one class here, one in `sim.scenario.services`, one line in `sim.runtime.planner`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps
from sim.laws import Constant, Law, sampler
from sim.policies.caching import Cache
from sim.records import DEGRADED, ERROR, IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.runtime.context import Context
from sim.scenario.services import Operation
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.caller import Call as CallInMotion
    from sim.runtime.caller import Caller
    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge, Visit

_HAPPENS, _COUNT = salt("steps", "happens"), salt("steps", "count")
_ROUND = salt("steps", "round")


class Runnable:
    """A step that can run.

    `run` itself is no generator function, it returns the steps of one: so it is a C call where the package was compiled,
    and a step that only passes on to another's steps adds no layer to them.
    """

    __slots__ = ()

    def holds_s(self, replica: Replica, context: Context) -> float:
        """Seconds that the step holds the worker, if that is all it does; negative if it does more."""
        return -1.0

    def begun_call(self, replica: Replica, context: Context) -> CallInMotion | None:
        """The one call that the step is, begun; None if it must `run`."""
        return None

    def run(self, replica: Replica, context: Context) -> Steps:
        """Do the step; return OK or the outcome that ends the operation; DEGRADED lets it go on and is remembered."""
        raise NotImplementedError


class Plan:
    """An operation, ready to run: its steps, in order, of which the first failure ends it."""

    __slots__ = ("_operation", "code", "effect", "name", "passes_on", "priority", "steps")

    def __init__(self, name: str, code: int, operation: Operation, passes_on: bool = False) -> None:
        self._operation = operation
        self.name = name
        self.code = code
        self.passes_on = passes_on  # whether a failed step's outcome is the answer, as of a proxy; else an error
        self.effect = operation.effect
        self.priority = operation.priority
        self.steps: tuple[Runnable, ...] = ()

    def beginning_with(self, step: Runnable) -> Plan:
        """The same operation, with a step before all others."""
        other = Plan(self.name, self.code, self._operation, self.passes_on)
        other.steps = (step, *self.steps)
        return other


class WorkStep(Runnable):
    """Hold the worker for a drawn time, longer on a slow replica."""

    __slots__ = ("_law", "_salt")

    def __init__(self, law: Law, step_salt: cython.ulonglong) -> None:
        self._law = sampler(law)
        self._salt = step_salt

    def holds_s(self, replica: Replica, context: Context) -> float:
        """How long the work takes, in seconds; it must run where a CPU limit, a pause or others' work can stretch it."""
        return self._duration_s(replica, context) if replica.plain else -1.0

    def _duration_s(self, replica: Replica, context: Context) -> float:
        return self._law.draw(child(context.key, self._salt)) * replica.slowness()

    def run(self, replica: Replica, context: Context) -> Steps:
        """Work; never fails."""
        return self._work(replica, context)

    def _work(self, replica: Replica, context: Context) -> Steps:
        if not replica.plain:
            yield from replica.stand_still(context)
        duration_s = self._duration_s(replica, context)
        if duration_s > 0 and replica.processor is not None:
            yield from replica.processor.work(context, duration_s)
        elif duration_s > 0:
            if replica.cpu is not None:
                yield from _stand_still(replica, context, duration_s)
            yield duration_s
            context.service_s += duration_s
            context.own_s += duration_s
        return OK


class EachStep(WorkStep):
    """Hold the worker for every message that a call is for."""

    __slots__ = ()

    def _duration_s(self, replica: Replica, context: Context) -> float:
        work_s = 0.0
        for bits in context.stamp:  # type: ignore[attr-defined]  # consumers put them there
            work_s += self._law.draw(child(bits, self._salt))
        return work_s * replica.slowness()


class FurtherStep(WorkStep):
    """Hold the worker for the calls beyond the first, where several go together."""

    __slots__ = ()

    def __init__(self) -> None:
        WorkStep.__init__(self, Constant(0.0), 0)

    def _duration_s(self, replica: Replica, context: Context) -> float:
        return 0.0 if context.batch is None else context.batch.further_s() * replica.slowness()


def _stand_still(replica: Replica, context: Context, work_s: float) -> Steps:
    """Wait as long as the CPU limit will interrupt this work; waiting for the processor is queueing, not service."""
    cpu = replica.cpu
    assert cpu is not None
    now_s = replica.tasks.now_s()
    pause_s = cpu.ends_s(now_s, work_s) - now_s - work_s
    if pause_s > 0:
        yield pause_s
        context.queue_s += pause_s
        context.own_queue_s += pause_s


class FailStep(Runnable):
    """Fail with a probability, after some work."""

    __slots__ = ("_probability", "_salt", "_work")

    def __init__(self, probability: float, work: Law, step_salt: cython.ulonglong) -> None:
        self._probability = probability
        self._work = WorkStep(work, child(step_salt, 1))
        self._salt = step_salt

    def _passes(self, context: Context) -> cython.bint:
        if context.batch is not None:
            return context.batch.passes(self._probability, self._salt)
        return uniform(child(context.key, self._salt)) >= self._probability

    def holds_s(self, replica: Replica, context: Context) -> float:
        """No time, if it passes."""
        return 0.0 if self._passes(context) else -1.0

    def run(self, replica: Replica, context: Context) -> Steps:
        """Fail or pass."""
        return self._fail(replica, context)

    def _fail(self, replica: Replica, context: Context) -> Steps:
        if self._passes(context):
            return OK
        yield from self._work.run(replica, context)
        return ERROR if context.batch is None or context.batch.fails() else OK


class CallStep(Runnable):
    """Call an operation or publish to a queue: once, several times in a row, or several times at once."""

    __slots__ = ("_count", "_edge", "_in_parallel", "_once", "_probability", "_required", "_salt")

    def __init__(
        self,
        edge: Edge,
        count: int | dict[int, float],
        in_parallel: bool,
        probability: float,
        required: bool,
        step_salt: cython.ulonglong,
    ) -> None:
        self._edge = edge
        self._count = count
        self._in_parallel = in_parallel
        self._probability = probability
        self._once = count == 1 and probability >= 1
        self._required = required
        self._salt = step_salt

    def holds_s(self, replica: Replica, context: Context) -> float:
        """No time, if the step does not happen."""
        return -1.0 if self._once or self._times(context) else 0.0

    def begun_call(self, replica: Replica, context: Context) -> CallInMotion | None:
        """The call, if it is one and its caller does nothing special."""
        caller: Caller = replica.caller(self._edge)
        if caller.plain and self._required and (self._once or self._times(context) == 1):
            return caller.begin(context, child(child(context.key, self._salt), 0))
        return None

    def run(self, replica: Replica, context: Context) -> Steps:
        """Make the calls; the first failure ends a row of them."""
        caller: Caller = replica.caller(self._edge)
        if not self._required:
            return self._optional(caller, replica, context)
        if self._once:
            return caller.call(context, child(child(context.key, self._salt), 0))
        return self._several(caller, replica, context)

    def _optional(self, caller: Caller, replica: Replica, context: Context) -> Steps:
        """Make the calls; a failure leaves the answer with less than was asked for."""
        outcome: cython.int = yield from self._several(caller, replica, context)
        return OK if outcome == OK else DEGRADED

    def _times(self, context: Context) -> cython.long:
        """How many calls it is this time."""
        key = child(context.key, self._salt)
        if self._probability < 1 and uniform(child(key, _HAPPENS)) >= self._probability:
            return 0
        return self._count if isinstance(self._count, int) else _draw_count(self._count, uniform(child(key, _COUNT)))

    def _several(self, caller: Caller, replica: Replica, context: Context) -> Steps:
        key = child(context.key, self._salt)
        count = self._times(context)
        if self._in_parallel and count > 1:
            return (yield from _all_of(replica, context, [_one_call(caller, child(key, i)) for i in range(count)]))
        i: cython.long
        for i in range(count):
            outcome: cython.int = yield from caller.call(context, child(key, i))
            if not context.goes_on(outcome):
                return outcome
        return OK


class ForwardStep(Runnable):
    """Make the caller's call in its place, as a proxy does: the same draws as if the caller had made it itself."""

    __slots__ = ("_edge", "_salt")

    def __init__(self, edge: Edge, step_salt: cython.ulonglong) -> None:
        self._edge = edge
        self._salt = step_salt

    def begun_call(self, replica: Replica, context: Context) -> CallInMotion | None:
        """The call, if the proxy's caller does nothing special."""
        caller: Caller = replica.caller(self._edge)
        return caller.begin(context, self._key(context)) if caller.plain else None

    def run(self, replica: Replica, context: Context) -> Steps:
        """Make the call."""
        caller: Caller = replica.caller(self._edge)
        return caller.call(context, self._key(context))

    def _key(self, context: Context) -> int:
        visit: Visit = context  # type: ignore[assignment]  # a proxy serves visits only
        # The caller's first attempt draws what a direct call would; a further one must not draw the same again.
        first = visit.key == child(visit.call_key, 1)
        return visit.call_key if first else child(visit.key, self._salt)


class ParallelStep(Runnable):
    """Run branches at the same time, wait for all of them."""

    __slots__ = ("_branches",)

    def __init__(self, branches: Sequence[tuple[Runnable, ...]]) -> None:
        self._branches = branches

    def run(self, replica: Replica, context: Context) -> Steps:
        """Fail if a branch failed, once all have ended."""
        return _all_of(replica, context, [_one_branch(replica, steps) for steps in self._branches])


class RepeatStep(Runnable):
    """Run steps in order, several times; each round has draws of its own."""

    __slots__ = ("_count", "_salt", "_steps")

    def __init__(self, steps: tuple[Runnable, ...], count: int | dict[int, float], step_salt: cython.ulonglong) -> None:
        self._steps = steps
        self._count = count
        self._salt = step_salt

    def run(self, replica: Replica, context: Context) -> Steps:
        """Run the rounds; the first failure ends them."""
        return self._rounds(replica, context)

    def _rounds(self, replica: Replica, context: Context) -> Steps:
        key = child(context.key, self._salt)
        count = self._count if isinstance(self._count, int) else _draw_count(self._count, uniform(child(key, _COUNT)))
        one_round = _one_branch(replica, self._steps)
        for number in range(count):
            own = context.branch()
            own.key = child(child(key, _ROUND), number)
            outcome: cython.int = yield from one_round(own)
            context.add(own)
            context.own_s += own.own_s
            context.own_queue_s += own.own_queue_s
            if not own.goes_on(outcome):
                return outcome
            context.degraded = context.degraded or own.degraded
        return OK


class SagaStep(Runnable):
    """Run parts in order; when one fails, run what undoes those before it, from the last to the first."""

    __slots__ = ("_failed", "_parts")

    def __init__(self, parts: tuple[tuple[tuple[Runnable, ...], tuple[Runnable, ...]], ...], failed: str) -> None:
        self._parts = parts  # steps that do, and steps that undo
        self._failed = failed  # whether the failed part is undone: never, unknown, always

    def run(self, replica: Replica, context: Context) -> Steps:
        """Do the parts; the failure, once the others are undone."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        undo: list[tuple[Runnable, ...]] = []
        for done, undone in self._parts:
            outcome: cython.int = yield from _one_branch(replica, done)(context)
            if context.goes_on(outcome):
                undo.append(undone)
                continue
            unknown = outcome == TIMEOUT or outcome == UNREACHABLE
            if self._failed == "always" or (self._failed == "unknown" and unknown):
                undo.append(undone)
            for steps in reversed(undo):
                yield from self._undo(replica, context, steps)
            return outcome
        return OK

    def _undo(self, replica: Replica, context: Context, steps: tuple[Runnable, ...]) -> Steps:
        """What cannot be undone, after all tries, is left; the others still are."""
        own = context.branch()
        own.due_s = inf
        yield from _one_branch(replica, steps)(own)
        context.add(own)
        context.own_s += own.own_s
        context.own_queue_s += own.own_queue_s


#: Starts one branch in a context of its own.
_Branch = Callable[[Context], Steps]


def _one_call(caller: Caller, key: cython.ulonglong) -> _Branch:
    return lambda context: caller.call(context, key)


def _one_branch(replica: Replica, steps: tuple[Runnable, ...]) -> _Branch:
    def run(context: Context) -> Steps:
        for step in steps:
            outcome = yield from step.run(replica, context)
            if not context.goes_on(outcome):
                return outcome
        return OK

    return run


def _all_of(replica: Replica, context: Context, branches: list[_Branch]) -> Steps:
    """Run branches as tasks; the time is accounted to the branch that ends last, because the others were waited for meanwhile."""
    tasks = replica.tasks
    finished = Reply(tasks)
    open_branches = len(branches)
    worst = OK
    last: Context | None = None

    def run(branch: _Branch) -> Steps:
        nonlocal open_branches, worst, last
        own = context.branch()
        outcome = yield from branch(own)
        if own.goes_on(outcome):
            context.degraded = context.degraded or own.degraded
        elif worst == OK:
            worst = outcome
        last = own
        open_branches -= 1
        if not open_branches:
            finished.settle(None)

    started = [tasks.start(run(branch)) for branch in branches]
    try:
        if open_branches:
            yield finished
    finally:
        for task in started:
            task.kill()  # only those still running: the server died or was cancelled
    if last is not None:
        context.add(last)
        context.own_s += last.own_s
        context.own_queue_s += last.own_queue_s
    return worst if worst != IN_FLIGHT else ERROR


def _draw_count(weights: dict[int, float], u: float) -> int:
    left = u * sum(weights.values())
    for count, weight in weights.items():
        if left < weight:
            break
        left -= weight
    return count


class ReadVersionStep(Runnable):
    """Read a row; never fails."""

    __slots__ = ("_row",)

    def __init__(self, row: str) -> None:
        self._row = row

    def run(self, replica: Replica, context: Context) -> Steps:
        """Remember the row's version."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        replica.service.rows.read(context.request, self._row)
        return OK
        yield  # a generator that waits for nothing


class CommitStep(Runnable):
    """Write a row; fails if it was written meanwhile."""

    __slots__ = ("_row",)

    def __init__(self, row: str) -> None:
        self._row = row

    def run(self, replica: Replica, context: Context) -> Steps:
        """Write it, or find out that somebody else did."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        return OK if replica.service.rows.commit(context.request, self._row) else ERROR
        yield


class CachedSteps(Runnable):
    """The steps of an operation whose answers its replica keeps: done only for an answer that it does not have."""

    __slots__ = ("_cache", "_code", "_salt", "_steps")

    def __init__(self, steps: tuple[Runnable, ...], cache: Cache, code: int) -> None:
        self._steps = steps
        self._cache = cache
        self._code = code
        self._salt = salt("cache")

    def run(self, replica: Replica, context: Context) -> Steps:
        """Answer from the cache, or do the steps."""
        shelf = replica.shelf(self._code, self._cache)
        return shelf.get(context, child(context.key, self._salt), context.due_s, _one_branch(replica, self._steps))


class ValidatedSteps(Runnable):
    """The steps of an operation, or less work for a caller that holds an answer which is still good."""

    __slots__ = ("_steps", "_work")

    def __init__(self, steps: tuple[Runnable, ...], work: Law) -> None:
        self._steps = steps
        self._work = WorkStep(work, salt("revalidate"))

    def run(self, replica: Replica, context: Context) -> Steps:
        """Find out that nothing has changed, or do the steps."""
        visit: Visit = context  # type: ignore[assignment]  # operations are done for visits
        return self._work.run(replica, context) if visit.unchanged else _one_branch(replica, self._steps)(context)


class RefuseStep(Runnable):
    """Refuse a query that asks for more than the service allows."""

    __slots__ = ()

    def run(self, replica: Replica, context: Context) -> Steps:
        """Refuse it."""
        return self._refuse()

    def _refuse(self) -> Steps:
        return REJECTED
        yield
