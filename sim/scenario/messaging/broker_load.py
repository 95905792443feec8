"""How busy writing and delivering keeps the workers of each broker, by arithmetic alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scenario.edges import operations_of, steps_of
from sim.scenario.forecast import calls_rps
from sim.scenario.services import Publish

if TYPE_CHECKING:
    from sim.scenario.messaging.queues import Broker
    from sim.scenario.model import Scenario


def leaders_of(scenario: Scenario, name: str) -> int:
    """Nodes of a broker that lead a queue or partition."""
    queues = sum(queue.broker == name for queue in scenario.queues.values())
    partitions = sum(log.partitions for log in scenario.logs.values() if log.broker == name)
    return min(queues + partitions, scenario.brokers[name].nodes)


def broker_utilisation(scenario: Scenario) -> dict[str, float]:
    """Workers that are busy, over those of the nodes that lead, of each broker whose workers are limited; empty for a load
    without a rate.

    ::

        messages/s × (write + deliver + 2 × size / bandwidth) / (workers × leading nodes)

    A lower bound: messages are delivered once, and batches to and from logs are full. Copies hold no worker.
    """
    rates = calls_rps(scenario)
    return {
        name: _busy(scenario, name, broker, rates) / (broker.workers * leaders)
        for name, broker in scenario.brokers.items()
        if broker.workers != "unlimited" and rates and (leaders := leaders_of(scenario, name))
    }


def _busy(scenario: Scenario, name: str, broker: Broker, rates: dict[tuple[str, str], float]) -> float:
    """Workers of a broker that are busy in the mean."""
    busy = 0.0
    for (caller, target), rate_rps in rates.items():
        moving_s = 0.0 if broker.bandwidth == "unlimited" else _mean_bytes(scenario, caller, target) / broker.bandwidth
        if target in scenario.logs:
            log = scenario.logs[target]
            if log.broker == name:
                written_s = broker.write.mean / log.producer.batch_size + moving_s
                busy += rate_rps * (written_s + len(log.groups) * moving_s)
            continue
        for queue in scenario.queues_of(target):
            if queue in scenario.queues and scenario.queues[queue].broker == name:
                busy += rate_rps * (broker.write.mean + broker.deliver.mean + 2 * moving_s)
    return busy


def _mean_bytes(scenario: Scenario, caller: str, target: str) -> float:
    """Size of what a service publishes there, in the mean of its steps."""
    sizes = [
        0.0 if step.payload is None else step.payload.size if step.payload.claim_check is None else step.payload.reference
        for address, operation in operations_of(scenario).items()
        if address.split(".")[0] == caller
        for _, step in steps_of(operation.steps)
        if isinstance(step, Publish) and step.publish == target
    ]
    return sum(sizes) / len(sizes) if sizes else 0.0
