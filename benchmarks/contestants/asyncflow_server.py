"""asyncflow-sim: servers with event loops, described in pydantic models. Its work takes constant time: M/D/1 instead of M/M/1.

It draws the number of users anew every two minutes; a variance of zero keeps the rate at the mean. What is left of a gap at the
end of those two minutes gets lost (0.1.1): the rate is too high by one request in two minutes. Hence a faster clock: the same
queue with work of 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import simpy
from asyncflow import AsyncFlow
from asyncflow.components import Client, Edge, Endpoint, Server
from asyncflow.runtime.simulation_runner import SimulationRunner
from asyncflow.settings import SimulationSettings
from asyncflow.workload import RqsGenerator

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload

USERS = 10
FASTER = 100  # as many times faster than the workload


def payload(workload: Workload, requests: int) -> Any:
    """The model: generator, client, one server with one core, and edges that take no time worth mentioning."""
    per_minute = 60 * FASTER * workload.rate_rps / USERS
    generator = RqsGenerator(
        id="source",
        avg_active_users={"mean": USERS, "distribution": "normal", "variance": 1e-12},
        avg_request_per_minute_per_user={"mean": per_minute},
        user_sampling_window=120,
    )
    step = {"kind": "cpu_bound_operation", "step_operation": {"cpu_time": workload.work_s / FASTER}}
    server = Server(
        id="server",
        server_resources={"cpu_cores": workload.workers, "ram_mb": 2048},
        endpoints=[Endpoint(endpoint_name="serve", steps=[step])],
    )
    ends = [("source", "client"), ("client", "server"), ("server", "client")]
    latency = {"mean": 1e-9, "distribution": "exponential"}
    edges = [Edge(id=f"{a}-{b}", source=a, target=b, latency=latency, dropout_rate=0.0) for a, b in ends]
    settings = SimulationSettings(total_simulation_time=int(requests / workload.rate_rps / FASTER), sample_period_s=0.1)
    flow = AsyncFlow().add_generator(generator).add_client(Client(id="client")).add_servers(server)
    return flow.add_edges(*edges).add_simulation_settings(settings).build_payload()


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Callable[[], Observed]]:
    """Check the model."""
    checked = payload(workload, requests)

    def simulate() -> Callable[[], Observed]:
        runner = SimulationRunner(env=simpy.Environment(), simulation_input=checked)
        runner.rng = np.random.default_rng(seed)
        clocks = runner.run()._client.rqs_clock
        return lambda: Observed([FASTER * (clock.finish - clock.start) for clock in clocks])

    return simulate


if __name__ == "__main__":
    compete(prepare)
