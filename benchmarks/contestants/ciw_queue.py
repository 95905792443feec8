"""Ciw: networks of queues. A customer holds one server at one node, which leaves out workers that are held during a call."""

from __future__ import annotations

from collections.abc import Callable

import ciw

from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Callable[[], Observed]]:
    """Create the network; the simulation is made and run on the clock, records are read off it."""
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(workload.rate_rps)],
        service_distributions=[ciw.dists.Exponential(1 / workload.work_s)],
        number_of_servers=[workload.workers],
    )

    def simulate() -> Callable[[], Observed]:
        ciw.seed(seed)
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_customers(requests, method="Finish")
        records = simulation.get_all_records()
        return lambda: Observed([record.exit_date - record.arrival_date for record in records])

    return simulate


if __name__ == "__main__":
    compete(prepare)
