"""Hedged calls: several attempts of one call at the same time, of which the first good answer counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Task, Tasks
from sim.records import GOOD, IN_FLIGHT, OUTCOMES, TIMEOUT

if TYPE_CHECKING:
    import cython

    from sim.policies.hedging import HedgeGate
    from sim.runtime.journey import Journey

#: Begins one attempt in a journey of its own.
_Begin = Callable[["Journey"], Steps]


class _Runner:
    """One attempt in the race."""

    __slots__ = ("journey", "outcome", "started_s", "task")

    def __init__(self, journey: Journey, started_s: float) -> None:
        self.journey = journey
        self.started_s = started_s
        self.outcome = IN_FLIGHT
        self.task: Task | None = None


class Race:
    """The attempts of one call.

    ::

        |----- first ------------------------------x  (loses)
        |  delay  |----- second ------ok|                the call ends here

    The call's time is the winner's own time, and before it the pause until the winner was sent.
    """

    __slots__ = ("_begin", "_ended", "_gate", "_journey", "_loose", "_news", "_runners", "_tasks")

    def __init__(self, tasks: Tasks, gate: HedgeGate, journey: Journey, begin: _Begin, loose: list[Task]) -> None:
        self._tasks = tasks
        self._gate = gate
        self._journey = journey
        self._begin = begin
        self._loose = loose  # where losers are kept that run on
        self._runners: list[_Runner] = []
        self._ended: deque[_Runner] = deque()
        self._news: Reply | None = None

    def run(self) -> Steps:
        """Steps that send, wait and send again; they return the outcome of the attempt that counts."""
        tasks, gate, spec = self._tasks, self._gate, self._gate.spec
        began_s = tasks.now_s()
        gate.begin(began_s)
        winner: _Runner | None = None
        settled = False
        try:
            self._send()
            next_s = self._next_s()
            while winner is None:
                if self._ended:
                    runner = self._ended.popleft()
                    over = len(self._ended) + self._alive() == 0
                    if runner.outcome in GOOD or not self._goes_on(runner.outcome):
                        winner = runner
                    elif self._may_send():
                        self._send()
                        next_s = self._next_s()
                    elif over:
                        winner = runner
                    continue
                self._news = Reply(tasks)
                if self._may_send():
                    if next_s <= tasks.now_s():
                        self._send()
                        next_s = self._next_s()
                        continue
                    self._news.expire_after(next_s - tasks.now_s())
                if (yield self._news) is TIMED_OUT and self._may_send():
                    self._send()
                    next_s = self._next_s()
            settled = True
        finally:
            self._news = None
            losers = [each.task for each in self._runners if each is not winner and each.task is not None and each.task.alive]
            if spec.cancel_losers or not settled:
                for task in losers:
                    task.kill()
            else:
                self._loose[:] = [task for task in self._loose if task.alive] + losers
        journey, won = self._journey, winner.journey
        journey.context.backoff_s += winner.started_s - began_s
        journey.context.add(won.context)
        journey.refused_here, journey.retry_after_s = won.refused_here, won.retry_after_s
        return winner.outcome

    def _goes_on(self, outcome: cython.int) -> bool:
        """Whether a failed attempt leaves the race open; the deadline ends it for all."""
        if outcome == TIMEOUT and self._tasks.now_s() >= self._journey.due_s:
            return False
        return OUTCOMES[outcome] in self._gate.spec.non_fatal

    def _alive(self) -> int:
        return sum(1 for each in self._runners if each.outcome == IN_FLIGHT)

    def _may_send(self) -> bool:
        spec = self._gate.spec
        return len(self._runners) < spec.max_attempts and self._gate.may_hedge(self._tasks.now_s())

    def _next_s(self) -> float:
        """When the next attempt is due."""
        now_s = self._tasks.now_s()
        return now_s + self._gate.delay_s(now_s)

    def _send(self) -> None:
        """Let one more attempt run."""
        tasks = self._tasks
        if self._runners:
            self._gate.hedged(tasks.now_s())
        runner = _Runner(self._journey.branch(self._journey.context.branch()), tasks.now_s())
        self._runners.append(runner)
        runner.task = tasks.start(self._attempt(runner))

    def _attempt(self, runner: _Runner) -> Steps:
        runner.outcome = yield from self._begin(runner.journey)
        now_s = self._tasks.now_s()
        if runner.outcome in GOOD:
            self._gate.record(now_s - runner.started_s, now_s)
        self._ended.append(runner)
        if self._news is not None:
            self._news.settle(None)
