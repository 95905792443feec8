"""CPU limit: how long work takes when the processor may be used only part of the time."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from sim.values import PositiveDuration, Spec


class CpuLimit(Spec):
    """A container's CPU limit as Linux enforces it: `quota` of processor time in every `period`; then all work stands still.

    ::

        quota 20 ms, period 100 ms      |####________________|####________________|##
        three pieces of work of 8 ms    |1122 3 waits ...    |3                   |

    A Kubernetes limit of `cpu: 200m` is `{quota: 20ms, period: 100ms}`. A single request is as fast as without the limit;
    a burst of them stands still for most of a period, which is where many a tail of 100 ms comes from. Mean utilisation does not
    show it. Limits above one core are refused: work here takes the quota in
    the order in which it starts. Work that is cancelled has used its
    quota all the same. Not for machines that are merely slow: use the `slow` fault or longer work.

    Source: Linux kernel, "CFS Bandwidth Control" (Documentation/scheduler/sched-bwc.rst), with the quota handed out at once.
    """

    @model_validator(mode="after")
    def _one_core(self) -> CpuLimit:
        if self.quota > self.period:
            raise ValueError(
                f"cpu: a quota of {self.quota:g} s in a period of {self.period:g} s is more than one core, "
                "which is not modelled; leave the limit out where it does not bind, or give each replica at most one core"
            )
        return self

    quota: PositiveDuration = Field(description="processor time in every period, over all workers; 20ms is the limit 200m")
    period: PositiveDuration = Field(0.1, description="how often the quota is renewed; Linux and Kubernetes: 100ms")


class CpuGate:
    """The processor of one replica under a limit: it says when a piece of work ends.

    Work is served from the quota in the order in which it is announced; what the quota of a period cannot hold continues
    at the start of the next one. Each piece of work runs on one core.

    >>> gate = CpuGate(CpuLimit(quota=0.020, period=0.100), renewed_s=0.0)
    >>> [round(gate.ends_s(0.0, 0.008), 3) for _ in range(3)]
    [0.008, 0.008, 0.104]
    >>> round(gate.ends_s(0.5, 0.045), 3)
    0.705

    Two workers may end at the same time, as above; one worker after another takes the time one after another.
    """

    __slots__ = ("_left_s", "_number", "_period_s", "_quota_s", "_renewed_s")

    def __init__(self, limit: CpuLimit, renewed_s: float) -> None:
        self._quota_s = limit.quota
        self._period_s = limit.period
        self._renewed_s = renewed_s  # some moment at which the quota is renewed
        self._number = -math.inf  # of the last period in which work was placed
        self._left_s = limit.quota  # of its quota

    def ends_s(self, now_s: float, work_s: float) -> float:
        """Clock time at which work of `work_s` processor seconds ends that starts now; `now_s` must not fall between calls."""
        number = max(math.floor((now_s - self._renewed_s) / self._period_s), self._number)
        left_s = self._left_s if number == self._number else self._quota_s
        time_s = max(now_s, self._renewed_s + number * self._period_s)
        while True:
            end_s = self._renewed_s + (number + 1) * self._period_s
            usable_s = max(0.0, min(left_s, end_s - time_s))
            if work_s <= usable_s:
                self._number, self._left_s = number, left_s - work_s
                return time_s + work_s
            work_s -= usable_s
            number, left_s, time_s = number + 1, self._quota_s, end_s
