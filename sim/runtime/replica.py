"""Services and their replicas: workers, the line in front of them, and what faults do to them."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Steps, Tasks, Ticket
from sim.policies.cpu import CpuGate
from sim.records import ERROR, IN_FLIGHT, OK, REJECTED, UNREACHABLE
from sim.runtime.caller import Caller
from sim.runtime.context import SILENCE
from sim.runtime.steps import Plan, Runnable
from sim.runtime.visit import Edge, Endpoint, Target, Visit
from sim.streams import child, key, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.broker import Broker
    from sim.runtime.recorder import Recorder
    from sim.runtime.world import World
    from sim.scenario.services import Service

_INF = inf
_INJECTED, _QUOTA, _BACKGROUND = (salt("replica", what) for what in ("injected error", "quota", "background"))


class Replica:
    """One process of a service: it serves visits with its workers while it is alive."""

    def __init__(self, world: World, service: ServiceGroup, index: int) -> None:
        spec = service.spec
        process_key = key(world.seed, "process", service.name, index)
        self.world = world
        self.tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self.service = service
        self.index = index
        capacity = float("inf") if spec.queue.capacity == "unbounded" else spec.queue.capacity
        workers = float("inf") if spec.workers == "unlimited" else spec.workers
        self.pool = Pool(world.tasks, workers, capacity)
        self._max_wait_s = float("inf") if spec.queue.max_wait is None else spec.queue.max_wait
        self.served = 0
        self.slow_factors: list[float] = []  # of active faults; they multiply
        self.errors: list[tuple[str | None, float]] = []  # active injected errors: (operation name or all, ratio)
        self._process_key = process_key
        self.cpu = self._fresh_cpu(process_key)
        self._callers: dict[Edge, Caller] = {}
        self._crashes = 0
        self._silent = False

    def _fresh_cpu(self, process_key: int) -> CpuGate | None:
        """The processor with nothing to do; replicas renew their quotas at moments of their own, as containers do."""
        limit = self.service.spec.cpu
        if limit is None:
            return None
        background_s = self.tasks.now_s()
        if limit.background is not None:
            background_s += limit.background.every * uniform(child(process_key, _BACKGROUND))
        return CpuGate(limit, limit.period * uniform(child(process_key, _QUOTA)), background_s)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._crashes == 0

    def slowness(self) -> float:
        """Factor on every work step that starts now."""
        return prod(self.slow_factors) if self.slow_factors else 1.0

    def caller(self, edge: Edge) -> Caller:
        """This process's own caller on an edge."""
        caller = self._callers.get(edge)
        if caller is None:
            caller = self._callers[edge] = Caller(self.world, edge, child(self._process_key, edge.target_code))
        return caller

    def receive(self, visit: Visit, plan: Plan) -> None:
        """Take a visit that has arrived from a caller."""
        visit.task = self.tasks.start(self.serve(visit, plan))

    def serve(self, visit: Visit, plan: Plan) -> Steps:
        """Wait for a worker, run the operation's steps, free the worker; answer, and return, the outcome."""
        outcome: cython.int = IN_FLIGHT
        ticket: Ticket | None = None
        if self._crashes:
            outcome = SILENCE if self._silent else UNREACHABLE
        elif not self.pool.take():
            ticket = self.pool.line_up()
            if ticket is None:
                outcome = REJECTED
        if outcome == IN_FLIGHT:
            received_s = self.tasks.now_s()
            visit.server = self
            try:
                if ticket is not None:
                    if self._max_wait_s < _INF:
                        ticket.expire_after(self._max_wait_s)
                    yield ticket
                    visit.own_queue_s = self.tasks.now_s() - received_s
                    visit.queue_s += visit.own_queue_s
                if ticket is not None and not ticket.granted:
                    outcome = REJECTED
                elif self._begins(visit, plan):
                    outcome = OK
                    for each in plan.steps:
                        step: Runnable = each
                        # A step that only lets time pass, as almost every visit has, needs no generator of its own.
                        work_s = step.holds_s(self, visit)
                        if work_s > 0:
                            yield work_s
                            visit.service_s += work_s
                            visit.own_s += work_s
                        elif work_s < 0:
                            outcome = yield from step.run(self, visit)
                            if outcome != OK:
                                break
                    # A failure of whatever kind is an error to the caller.
                    outcome = OK if outcome == OK else ERROR
                else:
                    outcome = ERROR
            finally:
                self._ends(visit, ticket)
            if plan.effect and outcome == OK and visit.reply is not None:
                self._recorder.synchronous_effect(plan.code, visit.request, received_s, visit.started_s, self.tasks.now_s())
        visit.answer(outcome)
        return outcome

    def _begins(self, visit: Visit, plan: Plan) -> cython.bint:
        """A worker takes the visit; False if it fails at once by an injected error."""
        self.served += 1
        visit.working = True
        visit.started_s = self.tasks.now_s()
        return not (self.errors and self._injected_error(visit, plan))

    def _ends(self, visit: Visit, ticket: Ticket | None) -> None:
        """The visit goes, or is killed: free its worker, or its place in the line."""
        if ticket is None or ticket.granted:
            self.pool.free()
        else:
            self.pool.leave(ticket)
        visit.server = None
        visit.working = False

    def _injected_error(self, visit: Visit, plan: Plan) -> cython.bint:
        works = 1.0
        for operation, ratio in self.errors:
            if operation is None or operation == plan.name:
                works *= 1 - ratio
        return uniform(child(visit.key, _INJECTED)) >= works

    def crash(self, silent: bool) -> None:
        """Die: work in progress is gone, its callers see the connection reset (or, silently, nothing)."""
        self._crashes += 1
        self._silent = silent
        if self._crashes > 1:
            return
        self.service.consumers_stop(self)
        # Those who wait die first: a worker that a killed visit frees would otherwise go to one of them.
        here = [what for what in self.world.ledger.everything() if isinstance(what, Visit) and what.server is self]
        for visit in sorted(here, key=lambda visit: visit.working):
            assert visit.task is not None
            visit.task.kill()
            visit.answer(SILENCE if silent else UNREACHABLE)
        self.cpu = self._fresh_cpu(self._process_key)
        for each in self._callers.values():
            caller: Caller = each
            caller.forget()
        self.service.changed(self)

    def restart(self) -> None:
        """Come back with empty hands once every crash has been repaired."""
        self._crashes -= 1
        if self.alive:
            self.service.consumers_start(self)
            self.service.changed(self)

    def __repr__(self) -> str:
        return f"<Replica {self.service.name}[{self.index}] {'alive' if self.alive else 'dead'} {self.pool!r}>"


class ServiceGroup:
    """All replicas of a service, and what callers believe of them (`discovery_delay` late)."""

    def __init__(self, world: World, name: str, spec: Service) -> None:
        self.world = world
        self.name = name
        self.spec = spec
        self.replicas = [Replica(world, self, index) for index in range(spec.replicas)]
        self.targets: list[Target] = []  # its operations
        self.brokers: list[Broker] = []  # queues whose messages this service consumes

    def changed(self, replica: Replica) -> None:
        """Tell the callers that a replica died or came back, after the discovery delay."""
        self.world.tasks.start(self._tell(replica.index, replica.alive))

    def _tell(self, index: int, alive: bool) -> Steps:
        if self.spec.discovery_delay > 0:
            yield self.spec.discovery_delay
        for target in self.targets:
            # A new list: callers that are choosing right now keep the one they saw.
            others = [i for i in target.believed_alive if i != index]
            target.believed_alive = sorted([*others, index]) if alive else others

    def consumers_start(self, replica: Replica) -> None:
        """Let a replica take messages."""
        for broker in self.brokers:
            broker.attach(replica)

    def consumers_stop(self, replica: Replica) -> None:
        """Take a replica away from its queues; the messages it holds go back."""
        for broker in self.brokers:
            broker.detach(replica)


class ReplicaOperation(Endpoint):
    """One operation at one replica, as a caller's endpoint."""

    __slots__ = ("_plan", "_replica")

    def __init__(self, replica: Replica, plan: Plan) -> None:
        self._replica = replica
        self._plan = plan

    def receive(self, visit: Visit) -> None:
        """Serve the visit with this operation."""
        self._replica.receive(visit, self._plan)


def operation_target(service: ServiceGroup, plan: Plan) -> Target:
    """One operation at all replicas of its service, as the target of edges."""
    target = Target([ReplicaOperation(replica, plan) for replica in service.replicas])
    service.targets.append(target)
    return target
