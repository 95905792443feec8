"""happysim: entities that answer events with generators, with its own `Resource`, futures and `any_of` for timeouts."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Any

from happysimulator import Entity, Event, Instant, Resource, SimFuture, Simulation, any_of

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload

Steps = Generator[Any, Any, Any]


class Breaker:
    """Opens after a number of failures in a row; then lets one probe through at a time."""

    def __init__(self, failures: int, open_s: float) -> None:
        self.limit = failures
        self.open_s = open_s
        self.failures = 0
        self.until_s = 0.0
        self.probing = False

    def allows(self, now_s: float) -> bool:
        """Whether a call may be made now."""
        if self.failures < self.limit:
            return True
        if now_s < self.until_s or self.probing:
            return False
        self.probing = True
        return True

    def settle(self, ok: bool, now_s: float) -> None:
        """Learn how a call went."""
        self.probing = False
        self.failures = 0 if ok else self.failures + 1
        if self.failures >= self.limit:
            self.until_s = now_s + self.open_s


class Model:
    """What all entities share."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.random = random.Random(seed)
        self.levels = [
            [Replica(f"service{level}.{index}", self, level) for index in range(workload.replicas)]
            for level in range(workload.services)
        ]
        self.latencies_s: list[float] = []
        self.attempts = self.timeouts = 0

    def entities(self) -> list[Entity]:
        """Everything that needs the clock."""
        return [entity for level in self.levels for replica in level for entity in (replica, replica.workers)]

    def call(self, caller: Process, level: int) -> Steps:
        """Call the service of a level and wait; with timeouts: give up, pause and try again. False if all tries failed."""
        workload = self.workload
        for number in range(workload.max_attempts):
            if number:
                yield self.random.uniform(0, min(workload.backoff_cap_s, workload.backoff_base_s * 2 ** (number - 1)))
            if workload.breaker_failures and not caller.breaker.allows(caller.now.to_seconds()):
                continue
            self.attempts += 1
            ok = yield from self.attempt(caller, level)
            if workload.breaker_failures:
                caller.breaker.settle(ok, caller.now.to_seconds())
            if ok:
                return True
        return False

    def attempt(self, caller: Process, level: int) -> Steps:
        """One try at one replica."""
        workload = self.workload
        replicas = self.levels[level]
        replica = replicas[int(self.random.random() * len(replicas))]
        answer = SimFuture()
        events = [Event(caller.now + workload.network_s, "request", target=replica, context={"answer": answer})]
        if not workload.timeouts_s:
            yield 0.0, events
            return (yield answer)
        given_up = SimFuture()
        events.append(Event.once(caller.now + workload.timeouts_s[level], "timeout", lambda event: given_up.resolve()))
        yield 0.0, events
        first, ok = yield any_of(answer, given_up)
        self.timeouts += first
        return ok if first == 0 else False


class Process(Entity):
    """Something that calls, with a breaker of its own."""

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name)
        self.model = model
        self.breaker = Breaker(model.workload.breaker_failures, model.workload.breaker_open_s)


class Replica(Process):
    """One process of a service: workers that are held while it calls the next service."""

    def __init__(self, name: str, model: Model, level: int) -> None:
        super().__init__(name, model)
        self.level = level
        self.workers = Resource(f"{name}.workers", capacity=model.workload.workers)

    def handle_event(self, event: Event) -> Steps:
        """Wait for a worker, work, call, answer."""
        model = self.model
        grant = yield self.workers.acquire()
        yield model.random.expovariate(1 / model.workload.work_s)
        ok = self.level + 1 == len(model.levels) or (yield from model.call(self, self.level + 1))
        grant.release()
        if model.workload.network_s:
            yield model.workload.network_s
        event.context["answer"].resolve(ok)


class Client(Process):
    """Lets requests arrive and waits for each."""

    def __init__(self, model: Model, requests: int) -> None:
        super().__init__("client", model)
        self.left = requests

    def handle_event(self, event: Event) -> Steps:
        """One request; the next one is drawn."""
        model, began = self.model, self.now
        self.left -= 1
        if self.left:
            yield 0.0, [Event(self.now + model.random.expovariate(model.workload.rate_rps), "arrival", target=self)]
        if (yield from model.call(self, 0)):
            model.latencies_s.append((self.now - began).to_seconds())


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Observed]:
    """Make entities and the simulation."""
    model = Model(workload, seed)
    client = Client(model, requests)
    simulation = Simulation(entities=[client, *model.entities()], end_time=Instant.Infinity)
    simulation.schedule(Event(Instant.Epoch, "arrival", target=client))

    def simulate() -> Observed:
        summary = simulation.run()
        return Observed(model.latencies_s, model.attempts, model.timeouts, summary.total_events_processed)

    return simulate


if __name__ == "__main__":
    compete(prepare)
