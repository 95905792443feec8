"""SimPy as its documentation teaches it: a process per request, `Resource` for workers, `|` for timeouts.

`--kernel` chooses the module that stands for SimPy: SimPy itself (stock) or `sim.kernel.fast` (compiled). The model is the same.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Generator
from typing import Any

from benchmarks.protocol import Observed, UnavailableError, compete
from benchmarks.workloads import Workload

KERNELS = {"stock": "simpy", "compiled": "sim.kernel.fast"}


class Queue:
    """W1 and W2: one resource, one process per request."""

    def __init__(self, env: Any, resource: Any, workload: Workload, seed: int) -> None:
        self.env = env
        self.random = random.Random(seed)
        self.workload = workload
        self.workers = resource(env, workload.workers)
        self.latencies_s: list[float] = []

    def source(self, requests: int) -> Generator[Any, Any, None]:
        """Let requests arrive."""
        for _ in range(requests):
            yield self.env.timeout(self.random.expovariate(self.workload.rate_rps))
            self.env.process(self.request())

    def request(self) -> Generator[Any, Any, None]:
        """One request from its arrival to its answer."""
        began_s = self.env.now
        with self.workers.request() as worker:
            yield worker
            yield self.env.timeout(self.random.expovariate(1 / self.workload.work_s))
        self.latencies_s.append(self.env.now - began_s)

    def observed(self) -> Observed:
        """What it saw."""
        return Observed(self.latencies_s, events=_events(self.env))


class Replica:
    """One process of a service: its workers, and its breaker towards the next service."""

    def __init__(self, workers: Any, breaker: Breaker) -> None:
        self.workers = workers
        self.breaker = breaker


class Breaker:
    """Opens after a number of failures in a row; then lets one probe through at a time."""

    def __init__(self, env: Any, failures: int, open_s: float) -> None:
        self.env = env
        self.limit = failures
        self.open_s = open_s
        self.failures = 0
        self.until_s = 0.0
        self.probing = False

    def allows(self) -> bool:
        """Whether a call may be made now."""
        if self.failures < self.limit:
            return True
        if self.env.now < self.until_s or self.probing:
            return False
        self.probing = True
        return True

    def settle(self, ok: bool) -> None:
        """Learn how a call went."""
        self.probing = False
        self.failures = 0 if ok else self.failures + 1
        if self.failures >= self.limit:
            self.until_s = self.env.now + self.open_s


class Chain(Queue):
    """W3 and W4: services that call each other. In W4 every attempt is a process, because it may be left behind."""

    def __init__(self, env: Any, resource: Any, workload: Workload, seed: int) -> None:
        super().__init__(env, resource, workload, seed)
        self.attempts = self.timeouts = 0
        self.call = self.careful_call if workload.timeouts_s else self.plain_call
        self.client = self.breaker()
        self.levels = [
            [Replica(resource(env, workload.workers), self.breaker()) for _ in range(workload.replicas)]
            for _ in range(workload.services)
        ]

    def breaker(self) -> Breaker:
        """A new breaker."""
        return Breaker(self.env, self.workload.breaker_failures, self.workload.breaker_open_s)

    def request(self) -> Generator[Any, Any, None]:
        """One request from its arrival to its answer."""
        began_s = self.env.now
        if (yield from self.call(0, self.client)):
            self.latencies_s.append(self.env.now - began_s)

    def plain_call(self, level: int, breaker: Breaker) -> Generator[Any, Any, bool]:
        """Call the service of a level and wait."""
        self.attempts += 1
        return (yield from self.attempt(level))

    def careful_call(self, level: int, breaker: Breaker) -> Generator[Any, Any, bool]:
        """Call the service of a level; give up, pause and try again. False if all tries failed."""
        env, workload = self.env, self.workload
        for number in range(workload.max_attempts):
            if number:
                pause_s = min(workload.backoff_cap_s, workload.backoff_base_s * 2 ** (number - 1))
                yield env.timeout(self.random.uniform(0, pause_s))
            if not breaker.allows():
                continue
            self.attempts += 1
            attempt = env.process(self.attempt(level))
            yield attempt | env.timeout(workload.timeouts_s[level])
            ok = attempt.triggered and attempt.value
            self.timeouts += not attempt.triggered
            breaker.settle(ok)
            if ok:
                return True
        return False

    def attempt(self, level: int) -> Generator[Any, Any, bool]:
        """There, wait for a worker, work, call the next service while holding the worker, and back."""
        env, workload = self.env, self.workload
        replicas = self.levels[level]
        replica = replicas[int(self.random.random() * len(replicas))]
        yield env.timeout(workload.network_s)
        with replica.workers.request() as worker:
            yield worker
            yield env.timeout(self.random.expovariate(1 / workload.work_s))
            ok = level + 1 == workload.services or (yield from self.call(level + 1, replica.breaker))
        yield env.timeout(workload.network_s)
        return ok

    def observed(self) -> Observed:
        """What it saw."""
        return Observed(self.latencies_s, self.attempts, self.timeouts, _events(self.env))


def _events(env: Any) -> int:
    """How many events were scheduled."""
    return int(next(env._eid))


def prepare(workload: Workload, requests: int, seed: int, kernel: str) -> Callable[[], Observed]:
    """Choose the kernel; the model is built on the clock."""
    simpy = importlib.import_module(KERNELS[kernel])
    if not getattr(simpy, "COMPILED", True):
        raise UnavailableError("sim was installed without its compiled kernel")

    def simulate() -> Observed:
        env = simpy.Environment()
        model = (Queue if workload.services == 1 else Chain)(env, simpy.Resource, workload, seed)
        env.process(model.source(requests))
        env.run()
        return model.observed()

    return simulate


if __name__ == "__main__":
    compete(prepare, options=("kernel",))
