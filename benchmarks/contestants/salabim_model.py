"""salabim: components with a life of their own that request resources. With generators (`yieldless=False`), its faster way."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Any

import salabim

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload


class Source(salabim.Component):
    """Lets requests arrive."""

    def process(self, model: Model, requests: int) -> Generator[Any, Any, None]:
        """Its life."""
        for _ in range(requests):
            yield self.hold(model.random.expovariate(model.workload.rate_rps))
            Request(model=model)


class Request(salabim.Component):
    """A request from its arrival to its answer: it holds a worker of each service until the next one has answered."""

    def process(self, model: Model) -> Generator[Any, Any, None]:
        """Its life."""
        network_s, service_rps = model.workload.network_s, 1 / model.workload.work_s
        began_s = model.env.now()
        for workers in model.services:
            if network_s:
                yield self.hold(network_s)
            yield self.request(workers)
            yield self.hold(model.random.expovariate(service_rps))
        for workers in reversed(model.services):
            self.release(workers)
            if network_s:
                yield self.hold(network_s)
        model.latencies_s.append(model.env.now() - began_s)


class Model:
    """Services and what was measured; salabim's own monitors are switched off, they would cost time and memory."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.random = random.Random(seed)
        self.env = salabim.Environment(trace=False, yieldless=False, time_unit="seconds")
        self.services = [
            salabim.Resource(f"service{level}", capacity=workload.workers, monitor=False) for level in range(workload.services)
        ]
        self.latencies_s: list[float] = []


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Observed]:
    """Make the services."""
    model = Model(workload, seed)

    def simulate() -> Observed:
        Source(model=model, requests=requests)
        model.env.run()
        return Observed(model.latencies_s)

    return simulate


if __name__ == "__main__":
    compete(prepare)
