"""Python without a simulator: `heapq`, callbacks, and nothing that the model does not need. The honest yardstick in Python."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload


class Server:
    """A process: free workers, those who wait for one, and its breaker towards the next service."""

    __slots__ = ("failures", "free", "line", "probing", "until_s")

    def __init__(self, workers: int) -> None:
        self.free = workers
        self.line: deque[Visit] = deque()
        self.failures = 0
        self.until_s = 0.0
        self.probing = False


class Visit:
    """One attempt at one server, the caller of at most one call at a time; a request's origin is a visit at level -1."""

    __slots__ = ("arrived_s", "given_up", "level", "ok", "parent", "server", "tries")

    def __init__(self, parent: Visit | None, level: int, server: Server, arrived_s: float) -> None:
        self.parent = parent
        self.level = level
        self.server = server
        self.arrived_s = arrived_s
        self.tries = 0
        self.given_up = False
        self.ok = True


class Model:
    """Every kind of event is a method; the heap holds (time, number, method, visit). A single queue is a chain of one."""

    def __init__(self, workload: Workload, requests: int, seed: int) -> None:
        self.workload = workload
        self.requests = requests
        self.chance = random.Random(seed)
        self.now_s = 0.0
        self.heap: list[tuple[float, int, Callable[[Any], None], Visit]] = []
        self.number = count()
        self.client = Server(0)
        self.levels = [[Server(workload.workers) for _ in range(workload.replicas)] for _ in range(workload.services)]
        self.last = workload.services - 1
        self.latencies_s: list[float] = []
        self.issued = self.attempts = self.timeouts = 0

    def run(self) -> Observed:
        """The event loop."""
        heap = self.heap
        origin = Visit(None, -1, self.client, 0.0)
        self.later(self.chance.expovariate(self.workload.rate_rps), self.arrive, origin)
        while heap:
            self.now_s, _, happen, visit = heappop(heap)
            happen(visit)
        return Observed(self.latencies_s, self.attempts, self.timeouts, next(self.number))

    def later(self, delay_s: float, happen: Callable[[Any], None], visit: Visit) -> None:
        """Let something happen to a visit."""
        heappush(self.heap, (self.now_s + delay_s, next(self.number), happen, visit))

    def arrive(self, origin: Visit) -> None:
        """A request begins; the next one is drawn."""
        self.issued += 1
        if self.issued < self.requests:
            self.later(self.chance.expovariate(self.workload.rate_rps), self.arrive, origin)
        self.call(Visit(None, -1, self.client, self.now_s))

    def call(self, caller: Visit) -> None:
        """One try of the call to the next level."""
        workload = self.workload
        caller.tries += 1
        if workload.breaker_failures and not self.allowed(caller.server):
            self.again(caller)
            return
        self.attempts += 1
        level = caller.level + 1
        servers = self.levels[level]
        server = servers[int(self.chance.random() * len(servers))] if len(servers) > 1 else servers[0]
        visit = Visit(caller, level, server, self.now_s)
        if workload.timeouts_s:
            self.later(workload.timeouts_s[level], self.expire, visit)
        if workload.network_s:
            self.later(workload.network_s, self.reach, visit)
        else:
            self.reach(visit)

    def reach(self, visit: Visit) -> None:
        """A visit arrives at its server."""
        server = visit.server
        if server.free:
            server.free -= 1
            self.later(self.chance.expovariate(1 / self.workload.work_s), self.worked, visit)
        else:
            server.line.append(visit)

    def worked(self, visit: Visit) -> None:
        """Its own work is done; the worker waits for the next service."""
        if visit.level < self.last:
            self.call(visit)
        else:
            self.leave(visit, True)

    def leave(self, visit: Visit, ok: bool) -> None:
        """Free the worker for the next in line and send the answer."""
        server = visit.server
        if server.line:
            self.later(self.chance.expovariate(1 / self.workload.work_s), self.worked, server.line.popleft())
        else:
            server.free += 1
        visit.ok = ok
        if self.workload.network_s:
            self.later(self.workload.network_s, self.answer, visit)
        else:
            self.answer(visit)

    def answer(self, visit: Visit) -> None:
        """The answer reaches the caller, who may have given up."""
        caller = visit.parent
        if visit.given_up or caller is None:
            return
        visit.given_up = True
        if self.workload.breaker_failures:
            self.settle(caller.server, visit.ok)
        if not visit.ok:
            self.again(caller)
        elif caller.level >= 0:
            self.leave(caller, True)
        else:
            self.latencies_s.append(self.now_s - caller.arrived_s)

    def expire(self, visit: Visit) -> None:
        """The caller gives up, unless it has its answer."""
        caller = visit.parent
        if visit.given_up or caller is None:
            return
        visit.given_up = True
        self.timeouts += 1
        self.settle(caller.server, False)
        self.again(caller)

    def again(self, caller: Visit) -> None:
        """Pause and try again, or fail."""
        workload = self.workload
        if caller.tries < workload.max_attempts:
            pause_s = min(workload.backoff_cap_s, workload.backoff_base_s * 2 ** (caller.tries - 1))
            self.later(self.chance.random() * pause_s, self.call, caller)
        elif caller.level >= 0:
            self.leave(caller, False)

    def allowed(self, server: Server) -> bool:
        """Whether a process's breaker lets a call through."""
        if server.failures < self.workload.breaker_failures:
            return True
        if self.now_s < server.until_s or server.probing:
            return False
        server.probing = True
        return True

    def settle(self, server: Server, ok: bool) -> None:
        """Tell a process's breaker how a call went."""
        server.probing = False
        server.failures = 0 if ok else server.failures + 1
        if server.failures >= self.workload.breaker_failures:
            server.until_s = self.now_s + self.workload.breaker_open_s


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Observed]:
    """Make nothing beforehand: the model is a few objects."""
    return lambda: Model(workload, requests, seed).run()


if __name__ == "__main__":
    compete(prepare)
