"""Active health checks in motion: by the machine that a replica runs on, or by each process that calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps, Task, Tasks
from sim.policies.health import HealthCheck, HealthGate
from sim.policies.outlier import EndpointGate
from sim.records import ERROR, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.runtime.replica import Replica
    from sim.runtime.visit import Edge

_PHASE, _CHECK, _THERE, _BACK = (salt("health", name) for name in ("phase", "check", "there", "back"))


def ask(replica: Replica, timeout_s: float, bits: int) -> Steps:
    """Steps of one check at a replica, which return its outcome: it waits for a worker like everybody else, and holds it no time.

    So an overloaded replica fails its checks, as real ones do. Injected errors of the whole service fail a check, too.
    """
    pool = replica.pool
    if replica.paused or (replica.silent and not replica.alive):
        yield timeout_s
        return TIMEOUT
    if replica.refuses:
        return UNREACHABLE
    if pool.take():
        pool.free()
    else:
        ticket = pool.line_up()
        if ticket is None:
            return REJECTED
        try:
            ticket.expire_after(timeout_s)
            yield ticket
        finally:
            if ticket.granted:
                pool.free()
            else:
                pool.leave(ticket)
        if not ticket.granted:
            return TIMEOUT
        if replica.refuses:
            return UNREACHABLE
    fails = any(
        operation is None and not of_requests and uniform(child(bits, i)) < ratio
        for i, (operation, ratio, of_requests) in enumerate(replica.errors)
    )
    return ERROR if fails else OK


def phase(key: int) -> float:
    """Where in its interval an instance's first check falls, from 0 to 1: who began long ago did not begin with the others."""
    return uniform(child(key, _PHASE))


def keep_checking(
    tasks: Tasks, gate: HealthGate, first_s: float, key: int, check: Callable[[int], Steps], tell: Callable[[], None]
) -> Steps:
    """Check again and again, from `first_s` on, clock time; `tell` whenever the instance's health has changed."""
    number, next_s = 0, first_s
    while True:
        if next_s > tasks.now_s():
            yield next_s - tasks.now_s()
        began_s = tasks.now_s()
        number += 1
        outcome: int = yield from check(child(key, number))
        if gate.checked(tasks.now_s(), outcome):
            tell()
        next_s = gate.next_s(began_s, tasks.now_s())


class ActiveHealth(EndpointGate):
    """One caller process's own checks of the endpoints of a target: it leaves out those that fail them.

    Where fewer than `panic_threshold_percent` of those that it knows are healthy, it uses all of them. Those that are there when
    the process starts count as checked before. Who comes later is checked from when the process first hears of it, and is until
    then what the checks say of it `initially`.
    """

    __slots__ = ("_edge", "_gates", "_key", "_spec", "_tasks", "changes", "panics", "running")

    def __init__(self, tasks: Tasks, edge: Edge, spec: HealthCheck, key: int, known: list[int]) -> None:
        self._tasks = tasks
        self._edge = edge
        self._spec = spec
        self._key = key
        self._gates: list[HealthGate | None] = [None for _ in edge.target.endpoints]
        self.changes: list[tuple[float, int, bool]] = []
        self.panics = False
        self.running: list[Task] = []
        for endpoint in known:
            self._begin(endpoint, new=False)

    def _begin(self, endpoint: int, new: bool) -> HealthGate:
        tasks, spec = self._tasks, self._spec
        gate = self._gates[endpoint] = HealthGate(spec, tasks.now_s(), None if new else True)
        check, tell, key = self._check_of(endpoint), self._teller_of(endpoint, gate), child(self._key, endpoint)
        first_s = gate.first_s(0.0 if new else phase(key))
        self.running.append(tasks.start(keep_checking(tasks, gate, first_s, key, check, tell)))
        return gate

    def _check_of(self, endpoint: int) -> Callable[[int], Steps]:
        return lambda bits: self._check(endpoint, bits)

    def _teller_of(self, endpoint: int, gate: HealthGate) -> Callable[[], None]:
        return lambda: self.changes.append((self._tasks.now_s(), endpoint, not gate.healthy))

    def _check(self, endpoint: int, bits: int) -> Steps:
        """One check over the network, from end to end within the timeout."""
        edge, timeout_s = self._edge, self._spec.timeout
        there_s, back_s = edge.there_s(endpoint, child(bits, _THERE)), edge.back_s(endpoint, child(bits, _BACK))
        if there_s < 0 or there_s >= timeout_s:
            yield timeout_s
            return TIMEOUT
        if there_s > 0:
            yield there_s
        began_s = self._tasks.now_s()
        outcome: int = yield from edge.target.endpoints[endpoint].check(timeout_s - there_s, child(bits, _CHECK))
        left_s = timeout_s - there_s - (self._tasks.now_s() - began_s)
        if back_s < 0 or back_s >= left_s:
            if left_s > 0:
                yield left_s
            return TIMEOUT
        if back_s > 0:
            yield back_s
        return outcome

    def usable(self, now_s: float, believed: list[int]) -> list[int]:
        """Those that pass their checks."""
        healthy = [i for i in believed if (self._gates[i] or self._begin(i, new=True)).healthy]
        self.panics = 100 * len(healthy) < self._spec.panic_threshold_percent * len(believed)
        return believed if self.panics else healthy

    def settle(self, endpoint: int, outcome: int, now_s: float) -> None:
        """Live calls say nothing here."""

    def close(self) -> None:
        """The process ends, and checks no more."""
        for task in self.running:
            task.kill()
