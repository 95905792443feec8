"""Deployments in motion: replicas of a service that start and stop because somebody wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps
from sim.laws import sampler
from sim.policies.autoscaling import Autoscaling, AutoscalingGate
from sim.scenario.deployments import Deployment, Rollout, Scale
from sim.streams import child, key

if TYPE_CHECKING:
    from sim.runtime.service import ServiceGroup


class Fleet:
    """The replicas that are wanted of one service; `running` are those that have been started and not asked to stop, in order."""

    def __init__(self, service: ServiceGroup, deployments: list[Deployment]) -> None:
        self.service = service
        self._tasks = service.world.tasks
        self._deployments = sorted(deployments, key=lambda deployment: deployment.at)
        self._start_up = sampler(service.spec.start_up)
        self.running = [replica.index for replica in service.replicas if replica.alive]
        self._gone = [replica.index for replica in service.replicas if not replica.alive]
        self._starts = 0
        self._news: Reply | None = None
        self._rolling = False
        self._scaled: set[int] = set()  # what the autoscaler has started and is not there yet

    def run(self) -> Steps:
        """One deployment after the other."""
        for deployment in self._deployments:
            if deployment.at > self._tasks.now_s():
                yield deployment.at - self._tasks.now_s()
            if isinstance(deployment, Rollout):
                yield from self._roll(deployment)
            else:
                yield from self._scale(deployment)

    def follow(self, spec: Autoscaling) -> Steps:
        """Start and stop replicas as an autoscaler wants."""
        gate, starting = AutoscalingGate(spec), self._scaled
        before_s = self._busy_s()
        while True:
            yield spec.interval
            busy_s = self._busy_s()
            utilisation = self._utilisation(busy_s - before_s, spec.interval)
            before_s = busy_s
            if self._rolling:
                continue
            wanted = gate.wanted(self._tasks.now_s(), len(self.running), utilisation, self._backlog())
            while len(self.running) > wanted:
                self._stop(max(self.running), spec)
            while len(self.running) < wanted and self._gone:
                starting.add(self._start(starting, 0.0))

    def _utilisation(self, busy_s: float, interval_s: float) -> float:
        serving = len(self.running) - len(self._scaled)
        workers = self.service.spec.workers
        if workers == "unlimited":
            return 0.0
        return min(1.0, busy_s / (interval_s * float(workers) * max(serving, 1)))

    def _busy_s(self) -> float:
        return sum(replica.pool.busy_worker_s for replica in self.service.replicas)

    def _backlog(self) -> int:
        return sum(queue.ready + queue.at_consumers for queue in self.service.queues)

    def _scale(self, scale: Scale) -> Steps:
        while len(self.running) > scale.replicas:
            self._stop(max(self.running), scale)
        starting: set[int] = set()
        while len(self.running) < scale.replicas:
            if self._gone:
                starting.add(self._start(starting, 0.0))
            else:
                yield from self._wait()  # for one that is still ending
        while starting:
            yield from self._wait()

    def _roll(self, rollout: Rollout) -> Steps:
        self._rolling = True
        while self._scaled:  # what the autoscaler has started is there first
            yield from self._wait()
        old = list(self.running)
        wanted, started = len(old), 0
        starting: set[int] = set()
        while old or starting or started < wanted:
            moved = False
            while started < wanted and len(self.running) < wanted + rollout.max_surge and self._gone:
                starting.add(self._start(starting, rollout.ready_delay))
                started += 1
                moved = True
            while old and len(self.running) - len(starting) > wanted - rollout.max_unavailable:
                self._stop(old.pop(0), rollout)
                moved = True
            if not moved:
                yield from self._wait()
        self._rolling = False

    def _wait(self) -> Steps:
        """Until a replica is there, or has ended."""
        self._news = Reply(self._tasks)
        yield self._news

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.settle(None)

    def _start(self, starting: set[int], ready_s: float) -> int:
        index = self._gone.pop(0)
        self.running.append(index)
        self._starts += 1
        self._tasks.start(self._come(index, starting, ready_s, self._starts))
        return index

    def _come(self, index: int, starting: set[int], ready_s: float, number: int) -> Steps:
        # Not in this instant: whoever waits for it has to wait first.
        yield self._start_up.draw(child(key(self.service.world.seed, "start up", self.service.name), number))
        self.service.replicas[index].restart()
        if ready_s > 0:
            yield ready_s
        starting.discard(index)
        self._tell()

    def _stop(self, index: int, how: Deployment | Autoscaling) -> None:
        self.running.remove(index)
        self._tasks.start(self._go(index, how))

    def _go(self, index: int, how: Deployment | Autoscaling) -> Steps:
        yield 0.0
        yield from self.service.replicas[index].stop(how.drain, how.grace)
        self._gone.append(index)
        self._tell()
