"""Hedged calls: several attempts of one call at the same time, of which the first good answer counts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Task, Tasks
from sim.records import GOOD, IN_FLIGHT, OUTCOMES, TIMEOUT
from sim.runtime.ties import Tie

if TYPE_CHECKING:
    from sim.policies.hedging import HedgeGate
    from sim.runtime.journey import Journey

_INF = math.inf

#: Begins one attempt in a journey of its own.
_Begin = Callable[["Journey"], Steps]


class _Runner:
    """One attempt in the race."""

    __slots__ = ("journey", "outcome", "started_s", "task", "told", "withdrawn")

    def __init__(self, journey: Journey, started_s: float) -> None:
        self.journey = journey
        self.started_s = started_s
        self.outcome = IN_FLIGHT
        self.task: Task | None = None
        self.withdrawn = False
        self.told = False  # whether the budget has heard of its failure


class Race:
    """The attempts of one call.

    ::

        |----- first ------------------------------x  (loses)
        |  delay  |----- second ------ok|                the call ends here

    The call's time is the winner's own time, and before it the pause until the winner was sent.
    """

    __slots__ = ("_begin", "_ended", "_failed", "_gate", "_journey", "_loose", "_news", "_next_s", "_runners", "_spent", "_tasks")

    def __init__(self, tasks: Tasks, gate: HedgeGate, journey: Journey, begin: _Begin, loose: list[Task]) -> None:
        self._tasks = tasks
        self._gate = gate
        self._journey = journey
        self._begin = begin
        self._loose = loose  # where losers are kept that run on
        self._runners: list[_Runner] = []
        self._ended: deque[_Runner] = deque()
        self._failed: _Runner | None = None  # the last one whose failure has not decided the call
        self._news: Reply | None = None
        self._next_s = _INF  # when the next attempt is due
        self._spent = False  # whether the budget of the call has refused another attempt

    def run(self) -> Steps:
        """Steps that send, wait and send again; they return the outcome of the attempt that counts."""
        tasks, journey = self._tasks, self._journey
        began_s = tasks.now_s()
        self._gate.begin(began_s)
        if self._gate.spec.tied:
            journey.tie = Tie()
        winner: _Runner | None = None
        try:
            self._send()
            while True:
                winner = self._judge()
                if winner is not None:
                    break
                self._news = Reply(tasks)
                if self._may_send() and self._next_s < _INF:
                    self._news.expire_after(max(0.0, self._next_s - tasks.now_s()))
                if (yield self._news) is TIMED_OUT and self._may_send():
                    self._send()
        finally:
            self._news = None
            self._give_up_losers(winner)
        context = journey.context
        context.backoff_s += winner.started_s - began_s
        context.add(winner.journey.context)
        journey.told = winner.told
        journey.refused_here = winner.journey.refused_here
        journey.cut_off = winner.journey.cut_off
        journey.retry_after_s = winner.journey.retry_after_s
        return winner.outcome

    def _judge(self) -> _Runner | None:
        """The attempt that decides the call, among those that have ended; failures that do not decide send the next one."""
        account, now_s = self._journey.account, self._tasks.now_s()
        while self._ended:
            runner = self._ended.popleft()
            if runner.outcome in GOOD or not self._goes_on(runner):
                return runner
            left = len(self._ended) + self._under_way()
            if account is not None and not runner.told and (left or self._may_send()):
                runner.told = True
                account.failed(now_s, OUTCOMES[runner.outcome])  # the last failure is the whole call's, and told by its retries
            if not (self._may_send() and self._send()) and not left:
                return runner
            self._failed = runner
        return None

    def _goes_on(self, runner: _Runner) -> bool:
        """Whether a failed attempt leaves the race open; the deadline ends it for all."""
        late = runner.journey.cut_off or self._tasks.now_s() >= self._journey.due_s
        if runner.outcome == TIMEOUT and late:
            return False
        return OUTCOMES[runner.outcome] in self._gate.spec.non_fatal

    def _under_way(self) -> int:
        return sum(1 for each in self._runners if each.outcome == IN_FLIGHT and not each.withdrawn)

    def _may_send(self) -> bool:
        spec = self._gate.spec
        return not self._spent and len(self._runners) < spec.max_attempts and self._gate.may_hedge(self._tasks.now_s())

    def _send(self) -> bool:
        """Let one more attempt run; False if the budget of the call refuses it."""
        tasks, account = self._tasks, self._journey.account
        now_s = tasks.now_s()
        if self._runners:
            if account is not None and not account.may_retry(now_s, "hedge"):
                self._spent = True
                return False
            self._gate.hedged(now_s)
        runner = _Runner(self._journey.branch(self._journey.context.branch()), now_s)
        self._runners.append(runner)
        self._next_s = now_s + self._gate.delay_s(now_s)
        runner.task = tasks.start(self._attempt(runner))
        return True

    def _attempt(self, runner: _Runner) -> Steps:
        runner.outcome = yield from self._begin(runner.journey)
        if runner.outcome == IN_FLIGHT:
            runner.withdrawn = True  # its twin has been begun
            if self._failed is None or self._ended or self._under_way():
                return
            runner = self._failed  # its twin has failed already, and nobody else is left: that decides after all
        elif runner.outcome in GOOD or runner.outcome == TIMEOUT:
            self._record(runner)
        self._ended.append(runner)
        if self._news is not None:
            self._news.settle(None)

    def _give_up_losers(self, winner: _Runner | None) -> None:
        """End what is still under way; if the caller itself was killed, all of it."""
        losers = [each for each in self._runners if each.task is not None and each.task.alive]
        if winner is not None and not self._gate.spec.cancel_losers:
            self._loose[:] = [task for task in self._loose if task.alive]
            self._loose += [each.task for each in losers if each.task is not None]
            return
        for each in losers:
            assert each.task is not None
            each.task.kill()
            if winner is not None:
                self._record(each)

    def _record(self, runner: _Runner) -> None:
        """How long an attempt took, or was waited for in vain; a fast failure would shorten the delay."""
        now_s = self._tasks.now_s()
        self._gate.record(now_s - runner.started_s, now_s)
