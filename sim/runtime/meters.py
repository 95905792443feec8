"""What a run measures besides its requests: gauges, totals since the warm-up, changes of state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.records import STATES
from sim.runtime.broker import Broker
from sim.runtime.group import Group
from sim.runtime.registry import Registry
from sim.runtime.service import ServiceGroup
from sim.runtime.stores import Store

if TYPE_CHECKING:
    from sim.runtime.world import World

#: Clock time, caller, process, target, endpoint (-1: all) and state, as codes.
Change = tuple[float, int, int, int, int, int]


class Meters:
    """Reads the world's dials, and writes down what they show."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._spent_before: dict[str, tuple[float, int]] = {}

    def start(self) -> None:
        """From now on: gauges at their times, and the totals at the end of the warm-up."""
        run, tasks = self._world.scenario.run, self._world.tasks
        tasks.start(self._gauges(run.sample_every or run.end / 100))
        tasks.start(self._measure_from(run.warmup))

    def record_totals(self) -> None:
        """The busy time and the work done since the warm-up."""
        for name, what in self._spenders():
            before_s, before = self._spent_before.get(name, (0.0, 0))
            busy_worker_s, served = what.spent()
            self._world.recorder.total(self._world.code(name), busy_worker_s - before_s, served - before)

    def record_changes(self) -> None:
        """What processes, and their callers' knowledge of them, went through, in the order of time."""
        # Of one and the same, the order in which they happened stays: half-open and open again may be one moment.
        for change in sorted(self._changes(), key=lambda change: change[:-1]):
            self._world.recorder.change(*change)

    def _measure_from(self, warmup_s: float) -> Steps:
        if warmup_s > 0:
            yield warmup_s
        self._spent_before = {name: what.spent() for name, what in self._spenders()}

    def _spenders(self) -> Iterator[tuple[str, ServiceGroup | Registry | Broker | Store]]:
        world = self._world
        for kind in (world.services, world.proxies, world.registries, world.brokers, world.stores):
            yield from kind.items()

    def _gauges(self, every_s: float) -> Steps:
        world, gauge, code = self._world, self._world.recorder.gauge, self._world.code
        while True:
            for kind in (world.services, world.proxies, world.registries):
                for name, group in kind.items():
                    gauge(code(name), group.tally.busy, group.tally.waiting, group.alive)
            for queue in world.all_queues():
                gauge(queue.code, queue.at_consumers, queue.waiting, int(queue.up))
            for readers in world.groups():
                self._gauge_group(readers)
            for name, broker in world.brokers.items():
                gauge(code(name), broker.tally.busy, broker.tally.waiting, broker.alive)
            for name, store in world.stores.items():
                gauge(code(name), store.busy, 0, int(store.up))
            yield every_s

    def _gauge_group(self, group: Group) -> None:
        """A sample of a group, and one of each of its partitions."""
        gauge = self._world.recorder.gauge
        gauge(group.code, group.at_consumers, group.ready, int(group.log.up))
        for reading in group.readings:
            code = self._world.code(f"{group.name}/{reading.number}")
            uncommitted, ready = reading.position - reading.committed, reading.end - reading.position
            gauge(code, uncommitted, ready, int(group.log.partitions[reading.number].up))

    def _changes(self) -> Iterator[Change]:
        world, code = self._world, self._world.code
        for caller in world.callers:
            for time_s, endpoint, state in caller.changes():
                yield time_s, caller.caller_code, caller.process, caller.target_code, endpoint, STATES.index(state)
        for registry in world.registries.values():
            for time_s, learner, process, service, replica, state in registry.changes():
                yield time_s, code(learner), process, code(service), replica, STATES.index(state)
        for name, broker in world.brokers.items():
            for time_s, state in broker.alarms:
                yield time_s, code(name), -1, code(name), -1, STATES.index(state)
        for pool in world.edges.all_pools():
            for time_s, endpoint, state in pool.gate.changes:
                yield time_s, *pool.names, endpoint, STATES.index(state)
        for name, group in world.services.items():
            for time_s, replica, alive in group.lives:
                yield time_s, code(name), replica, code(name), replica, STATES.index("up" if alive else "down")
