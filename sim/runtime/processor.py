"""Processor sharing: all work at a replica advances at the same time, each at its share of the cores."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.kernel.entry import Entry
from sim.kernel.tasks import Reply, Steps, Tasks
from sim.policies.sharing import SharingGate

if TYPE_CHECKING:
    from sim.runtime.context import Context


class Processor:
    """The cores of one replica, shared equally by everything that works there."""

    __slots__ = ("_alarm", "_gate", "_replies", "_tasks")

    def __init__(self, tasks: Tasks, cores: float) -> None:
        self._tasks = tasks
        self._gate = SharingGate(cores)
        self._replies: dict[int, Reply] = {}
        self._alarm: _Alarm | None = None

    def work(self, context: Context, work_s: float) -> Steps:
        """Steps of a piece of work that takes `work_s` seconds on a core of its own; sharing stretches it: that is service."""
        tasks = self._tasks
        began_s = tasks.now_s()
        number = self._gate.enter(began_s, work_s)
        reply = self._replies[number] = Reply(tasks)
        self._look_again()
        try:
            yield reply
        finally:
            if self._replies.pop(number, None) is not None:  # killed in the middle of it
                self._gate.leave(number, tasks.now_s())
                self._look_again()
        passed_s = tasks.now_s() - began_s
        context.service_s += passed_s
        context.own_s += passed_s

    def _look_again(self) -> None:
        """Come back when the next piece of work ends, as things are now."""
        self._alarm = None  # what was planned is off
        end_s = self._gate.next_end_s(self._tasks.now_s())
        if end_s < inf:
            self._alarm = _Alarm(self)
            self._tasks.schedule(self._alarm, end_s)

    def ring(self, alarm: _Alarm) -> None:
        """Some work ends now, unless something changed in the meantime."""
        if alarm is not self._alarm:
            return
        for number in self._gate.ended(self._tasks.now_s()):
            self._replies.pop(number).settle(None)
        self._look_again()


class _Alarm(Entry):
    __slots__ = ("_processor",)

    def __init__(self, processor: Processor) -> None:
        self.callbacks = None
        self._processor = processor

    def fire(self) -> None:
        self._processor.ring(self)
