"""A replica of a service: its workers, the line in front of them, and what faults do to them."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Pool, Reply, Steps, Tally, Tasks
from sim.laws import sampler
from sim.policies.caching import Cache
from sim.policies.cpu import CpuGate
from sim.records import DEGRADED, ERROR, IN_FLIGHT, OK, REJECTED, UNREACHABLE
from sim.runtime.caller import Caller
from sim.runtime.context import CALLING, IN_LINE, IN_TASK, RECEIVED, SILENCE, WORKED_ON, Context
from sim.runtime.gatehouse import Gatehouse
from sim.runtime.health import ask
from sim.runtime.lines import DisciplinedPool
from sim.runtime.processor import Processor
from sim.runtime.reporter import Reporter
from sim.runtime.shelf import Shelf
from sim.runtime.steps import Plan, Runnable
from sim.runtime.visit import Edge, Endpoint, Server, Visit
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.caller import Call
    from sim.runtime.recorder import Recorder
    from sim.runtime.service import ServiceGroup
    from sim.runtime.world import World
    from sim.scenario.services import Service

_INJECTED, _QUOTA, _PATIENCE, _BACKGROUND = (
    salt("replica", name) for name in ("injected error", "quota", "patience", "background")
)


class Replica(Server):
    """One process of a service: it serves visits with its workers while it is alive."""

    def __init__(self, world: World, service: ServiceGroup, index: int) -> None:
        spec = service.spec
        process_key = key(world.seed, "process", service.name, index)
        self.world = world
        self.tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self.service = service
        self.index = index
        self.pool = _pool(world.tasks, spec, service.tally)
        self._max_wait = None if spec.queue.max_wait is None else sampler(spec.queue.max_wait)
        self.served = 0
        self.slow_factors: list[float] = []  # of active faults; they multiply
        # Active injected errors: operation name or all, ratio, and where they are about the same requests always, a key, else 0.
        self.errors: list[tuple[str | None, float, int]] = []
        self._process_key = process_key
        self._callers: list[Caller | None] = []  # by number of the edge
        self._shelves: dict[int, Shelf] = {}  # caches of its operations, by code
        self._frozen: list[Reply] = []  # work that waits for the end of a pause
        self._pauses = 0
        self._reporter: Reporter | None = None
        self._reports = False  # whether callers balance by what it says of itself
        self._crashes = int(index >= spec.replicas)  # what a deployment starts later is not there yet
        self._warm_s = 0.0  # clock time at which it is warm
        self._wake_up()
        self.silent = False  # whether nothing at all reacts while it is dead
        self._closed = False  # whether it lets nobody in any more, for it will stop
        self._last_left: Reply | None = None  # settled when the last one has left
        self.stopping = False  # whether it was asked to stop
        self.life = 0  # number of the life that it has, or had last

    def _wake_up(self) -> None:
        """Begin a life of the process: nothing to do, nothing learned, nothing kept."""
        spec, tasks = self.service.spec, self.tasks
        # Replicas renew their quotas at moments of their own, as containers do.
        quota_s = 0.0 if spec.cpu is None else spec.cpu.period * uniform(child(self._process_key, _QUOTA))
        background_s = tasks.now_s()
        if spec.cpu is not None and spec.cpu.background is not None:
            background_s += spec.cpu.background.every * uniform(child(self._process_key, _BACKGROUND))
        self.cpu = None if spec.cpu is None else CpuGate(spec.cpu, quota_s, background_s)
        cores = inf if spec.workers == "unlimited" else spec.workers
        self.processor = Processor(tasks, cores) if spec.sharing == "processor" else None
        limited = spec.rate_limit or spec.shedding or spec.adaptive_concurrency
        self._gatehouse = Gatehouse(spec, self.pool, self._process_key, tasks.now_s()) if limited is not None else None
        self.report(self._reports)
        self.close()
        self._shelves.clear()
        self._look_at_work()

    def _look_at_work(self) -> None:
        #: Whether work takes just its time: on a worker of its own, without a CPU limit or a pause.
        self.plain = self.cpu is None and self.processor is None and not self._pauses

    def report(self, wanted: cython.bint) -> None:
        """Begin to say to callers how busy it is, if they want to know."""
        self._reports = wanted
        before, self._reporter = self._reporter, None
        if wanted:
            service = self.service
            announced = 0 if before is None else before.announced
            self._reporter = Reporter(self.tasks, service, self.pool, self.index, self._process_key, announced)

    def probed(self) -> Any:
        """Say how busy it is; None if it is dead."""
        return None if self._crashes or self._reporter is None else self._reporter.asked()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._crashes == 0

    @property
    def refuses(self) -> bool:
        """Whether it lets nobody in: it is dead, or about to end."""
        return self._crashes > 0 or self._closed

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._pauses > 0

    def slowness(self) -> float:
        """Factor on every work step that starts now."""
        if not self.slow_factors and self._warm_s == 0:
            return 1.0  # as almost always
        return prod(self.slow_factors) * (1.0 if self._warm_s == 0 else self._coldness())

    def _coldness(self) -> float:
        left_s = self._warm_s - self.tasks.now_s()
        if left_s <= 0:
            self._warm_s = 0.0
            return 1.0
        spec = self.service.spec
        return 1.0 + (spec.cold_factor - 1.0) * left_s / spec.warm_up

    def caller(self, edge: Edge) -> Caller:
        """This process's own caller on an edge."""
        callers, number = self._callers, edge.number
        while number >= len(callers):
            callers.append(None)
        caller = callers[number]
        if caller is None:
            key = child(self._process_key, edge.target_code)
            caller = callers[number] = self.world.new_caller(edge, key, self.index, self.caller)
        return caller

    def shelf(self, code: int, spec: Cache) -> Shelf:
        """This process's own cache of an operation."""
        shelf = self._shelves.get(code)
        if shelf is None:
            shelf = self._shelves[code] = Shelf(self.tasks, spec)
        return shelf

    def close(self) -> None:
        """The run is over: so is what it fetches in the background."""
        for shelf in self._shelves.values():
            shelf.close()

    def flush(self, code: int) -> None:
        """Empty the cache of an operation."""
        if code in self._shelves:
            self._shelves[code].flush()

    def receive(self, visit: Visit, plan: Plan) -> None:
        """Take a visit that has arrived from a caller."""
        visit.plan = plan
        visit.server = self
        self.tasks.enter(visit)

    def serve(self, visit: Visit, plan: Plan) -> Steps:
        """The same for a visit that a task brings, as its steps; they return the outcome."""
        self.receive(visit, plan)
        try:
            if not visit.settled:
                yield visit
        finally:
            visit.kill()
        outcome: int = visit.value
        return UNREACHABLE if outcome == SILENCE else outcome  # of a machine that has gone at this moment

    def go_on(self, visit: Visit, value: Any) -> None:
        """Serve a visit: it gets a worker, at once or in the end; the operation's steps; the answer."""
        stage = visit.stage
        if stage == WORKED_ON:
            visit.worked()
            self._do_steps(visit, OK)
        elif stage == CALLING:
            call: Call = visit.call  # type: ignore[assignment]  # only calls are waited for in this stage
            visit.call = None
            call.caller.over(call)
            self._do_steps(visit, value)
        elif stage == IN_TASK:
            visit.task = None
            self._do_steps(visit, value)
        elif stage == IN_LINE:
            self._leaves_the_line(visit)
        elif self._crashes or self._closed:
            visit.server = None
            if self._crashes and self.silent:
                visit.meets_nobody()
            else:
                visit.answer(UNREACHABLE)
        else:
            visit.received_s = self.tasks.now_s()
            if self._reporter is not None:
                self._reporter.came(visit)
            if self._gatehouse is not None and not self._gatehouse.admits(visit, visit.received_s):
                visit.server = None
                visit.answer(REJECTED)
            elif self.pool.take():
                self._begin(visit)
            else:
                self._line_up(visit)

    def _line_up(self, visit: Visit) -> None:
        ticket = self.pool.line_up(visit)
        if ticket is None:
            visit.server = None
            if self._gatehouse is not None:
                self._gatehouse.left(visit, REJECTED, self.tasks.now_s())
            visit.answer(REJECTED)
            return
        visit.stage = IN_LINE
        visit.ticket = ticket
        if self._max_wait is not None:
            ticket.expire_after(self._max_wait.draw(child(visit.key, _PATIENCE)))

    def _leaves_the_line(self, visit: Visit) -> None:
        ticket = visit.ticket
        assert ticket is not None
        visit.own_queue_s = self.tasks.now_s() - visit.received_s
        visit.queue_s += visit.own_queue_s
        if ticket.granted:
            self._begin(visit)
        else:
            self._end(visit, REJECTED)

    def _begin(self, visit: Visit) -> None:
        """A worker takes the visit; it fails at once by an injected error, or if nobody waits for it any more."""
        self.served += 1
        visit.working = True
        visit.started_s = self.tasks.now_s()
        if self._reporter is not None:
            self._reporter.began()
        if self._gatehouse is not None:
            self._gatehouse.started(visit.own_queue_s)
        if visit.tie is not None:
            visit.tie.begun(visit)
        fails = visit.due_s <= visit.started_s or (self.errors and self._injected_error(visit, visit.plan))
        self._do_steps(visit, ERROR if fails else OK)

    def _do_steps(self, visit: Visit, outcome: cython.int) -> None:
        """Go on after a step with this outcome: up to the next wait, or to the answer."""
        plan: Plan = visit.plan
        while outcome == OK or visit.goes_on(outcome):
            if visit.place == len(plan.steps):
                self._end(visit, DEGRADED if visit.degraded else OK)
                return
            step: Runnable = plan.steps[visit.place]
            visit.place += 1
            # A step that only lets time pass, or makes one call, as almost all do, needs no generator.
            work_s = step.holds_s(self, visit)
            if work_s > 0:
                visit.hold(work_s)
                return
            if work_s == 0:
                outcome = OK
                continue
            call = step.begun_call(self, visit)
            if call is None:
                outcome = self._run(visit, step)
                if outcome == IN_FLIGHT:
                    return
            elif call.settled:
                outcome = call.outcome
                call.caller.over(call)
            else:
                visit.stage = CALLING
                visit.call = call
                call.waiter = visit
                return
        # A failure of whatever kind is an error to the caller; a proxy passes it on as it is.
        self._end(visit, outcome if plan.passes_on else ERROR)

    def _run(self, visit: Visit, step: Runnable) -> cython.int:
        """Do a step in a task; its outcome, or IN_FLIGHT: then the visit goes on when the task ends."""
        visit.outcome = IN_FLIGHT
        task = self.tasks.start(self._in_task(visit, step))
        if visit.outcome == IN_FLIGHT:
            visit.stage = IN_TASK
            visit.task = task
        return visit.outcome

    def _in_task(self, visit: Visit, step: Runnable) -> Steps:
        visit.stage = RECEIVED
        visit.outcome = yield from step.run(self, visit)
        if visit.stage == IN_TASK:
            visit.advance(visit.outcome)

    def _end(self, visit: Visit, outcome: cython.int) -> None:
        """Free the worker, or the place in the line; answer."""
        self._take_back(visit, outcome)
        plan: Plan = visit.plan
        if self._reporter is not None:
            self._reporter.answered(visit, outcome)
        if plan.effect and visit.edge is not None and (outcome == OK or outcome == DEGRADED):
            self._recorder.synchronous_effect(plan.code, visit)
        visit.answer(outcome)

    def _take_back(self, visit: Visit, outcome: cython.int) -> None:
        if self._gatehouse is not None:
            self._gatehouse.left(visit, outcome, self.tasks.now_s())
        ticket = visit.ticket
        if ticket is None or ticket.granted:
            self.pool.free()
        else:
            self.pool.leave(ticket)
        visit.server = visit.ticket = None
        visit.working = False
        if self._last_left is not None and not self._occupied():
            self._last_left.settle(None)
        if self._reporter is not None and not self._crashes:
            self._reporter.left()

    def drop(self, visit: Visit) -> None:
        """A visit is killed here: so is what it waits for, and what it holds is free."""
        call, task = visit.call, visit.task
        visit.call = visit.task = None
        if call is not None:
            call.kill()
        elif task is not None:
            task.kill()
        self._take_back(visit, IN_FLIGHT)

    def _injected_error(self, visit: Visit, plan: Plan) -> cython.bint:
        works = 1.0
        for operation, ratio, of_requests in self.errors:
            if operation is not None and operation != plan.name:
                continue
            if not of_requests:
                works *= 1 - ratio
            elif uniform(child(of_requests, visit.request)) < ratio:
                return True
        return uniform(child(visit.key, _INJECTED)) >= works

    def crash(self, silent: bool) -> None:
        """Die: work in progress is gone, its callers see the connection reset (or, silently, nothing)."""
        self._crashes += 1
        self.silent = silent
        if self._crashes > 1:
            return
        self.life += 1
        self.service.alive -= 1
        self.service.consumers_stop(self)
        self._closed = self.stopping = False
        # Those who wait die first: a worker that a killed visit frees would otherwise go to one of them.
        here = [what for what in self.world.ledger.everything() if isinstance(what, Visit) and what.server is self]
        for visit in sorted(here, key=lambda visit: visit.working):
            visit.kill()
            visit.answer(SILENCE if silent else UNREACHABLE)
        self._wake_up()
        for caller in self._callers:
            if caller is not None:
                caller.forget()
        self.world.process_changed(self)
        self.service.changed(self)

    def restart(self) -> None:
        """Come back with empty hands once every crash has been repaired."""
        self._crashes -= 1
        if self.alive:
            warm_up_s = self.service.spec.warm_up
            self._warm_s = self.tasks.now_s() + warm_up_s if warm_up_s > 0 else 0.0
            self.service.alive += 1
            self.service.consumers_start(self)
            self.world.process_changed(self)
            self.service.changed(self)
            if self._reporter is not None:
                self._reporter.announce()

    def stop(self, drain_s: float, grace_s: float) -> Steps:
        """Steps of a stop that is announced: serve on, then let nobody in, finish what is inside, and end.

        ::

            asked to stop -- drain --> lets nobody in -- until the last one has left, at most grace --> ended
            callers are told meanwhile (late, as always)
        """
        if self.alive and not self.stopping:
            self.stopping = True
            self.service.stopping(self)
        if drain_s > 0:
            yield drain_s
        if self.alive and self.stopping:
            self._closed = True
            self.service.closing(self)
            if self._occupied() and grace_s > 0:
                self._last_left = Reply(self.tasks)
                yield from self._last_left.within(grace_s)
                self._last_left = None
        # Also if it has died meanwhile: it is to be started again once more.
        self.crash(silent=self.silent and not self.alive)

    def _occupied(self) -> bool:
        return self.pool.busy + self.pool.waiting > 0

    def pause(self) -> None:
        """Begin no work, until as many `resume`."""
        self._pauses += 1
        self._look_at_work()

    def resume(self) -> None:
        """Go on with what has waited."""
        self._pauses -= 1
        self._look_at_work()
        if not self._pauses:
            frozen, self._frozen = self._frozen, []
            for reply in frozen:
                reply.settle(None)

    def stand_still(self, context: Context) -> Steps:
        """Steps that wait for the end of a pause; that is queueing."""
        began_s = self.tasks.now_s()
        while self._pauses:
            reply = Reply(self.tasks)
            self._frozen.append(reply)
            yield reply
        waited_s = self.tasks.now_s() - began_s
        context.queue_s += waited_s
        context.own_queue_s += waited_s

    def __repr__(self) -> str:
        return f"<Replica {self.service.name}[{self.index}] {'alive' if self.alive else 'dead'} {self.pool!r}>"


def _pool(tasks: Tasks, spec: Service, tally: Tally) -> Pool:
    """The workers of a replica and the line in front of them; where the processor is shared, nobody waits for a worker."""
    capacity = inf if spec.queue.capacity == "unbounded" else spec.queue.capacity
    workers = inf if spec.workers == "unlimited" or spec.sharing == "processor" else spec.workers
    if spec.queue.discipline.kind == "fifo":
        return Pool(tasks, workers, capacity, tally)
    return DisciplinedPool(tasks, workers, capacity, tally, spec.queue.discipline)


class ReplicaOperation(Endpoint):
    """One operation at one replica, as a caller's endpoint."""

    __slots__ = ("_plan", "_replica")

    def __init__(self, replica: Replica, plan: Plan) -> None:
        self._replica = replica
        self._plan = plan

    def receive(self, visit: Visit) -> None:
        """Serve the visit with this operation."""
        self._replica.receive(visit, self._plan)

    def check(self, timeout_s: float, bits: int) -> Steps:
        """Whether the replica answers in time."""
        return ask(self._replica, timeout_s, bits)

    def probed(self) -> Any:
        """What the replica says of itself."""
        return self._replica.probed()
