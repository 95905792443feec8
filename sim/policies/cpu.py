"""CPU limit: how long work takes when the processor may be used only part of the time."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from sim.values import Duration, PositiveDuration, Spec

_NOTHING_S = 1e-9  # what rounding leaves of a piece of work must not wait for a period


class Background(Spec):
    """Work that a process does besides its requests, on the same quota: collecting garbage, exporting spans, a probe's command.

    ::

        quota 20 ms, every 7 s 45 ms    |####________________|####________________|##..................|
                                         background           still background    the rest, then requests

    Requests that come meanwhile wait although nobody asked for anything: they get what it leaves of the quota, on another core.
    Without it a calibration has to call such pauses work of those requests that happened to meet them. Its mean use,
    `work / every`, must be less than the limit.

    Source: seen in recorded spans (see `sim.interop.throttling`). Kubernetes runs the command of an `exec` probe inside the
    container (kubernetes.io, "Configure Liveness, Readiness and Startup Probes"), so the container's limit pays for it.
    """

    every: PositiveDuration = Field(description="from one begin to the next; the first is at a moment of the replica's own")
    work: PositiveDuration = Field(description="processor time each time")


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

    What is left of a quota is lost, except `burst` of it: each period begins with min(left, burst) + quota. That is
    `cpu.cfs_burst_us` (Linux 5.14, off by default; at most the quota). Without that setting, too, Linux (since 5.4) lets each
    CPU keep up to 1 ms of unused slice, so a process that moves between two CPUs may use 2 ms more after a quiet period.

    Source: Linux kernel, "CFS Bandwidth Control" (Documentation/scheduler/sched-bwc.rst: burst feature, quota caveats) and
    `__refill_cfs_bandwidth_runtime` (kernel/sched/fair.c), with the quota handed out at once.
    """

    @model_validator(mode="after")
    def _one_core(self) -> CpuLimit:
        if self.quota > self.period:
            raise ValueError(
                f"cpu: a quota of {self.quota:g} s in a period of {self.period:g} s is more than one core, "
                "which is not modelled; leave the limit out where it does not bind, or give each replica at most one core"
            )
        if self.burst > self.quota:
            raise ValueError(f"cpu: a burst of {self.burst:g} s is more than the quota of {self.quota:g} s; Linux refuses it too")
        if self.background is not None and self.background.work / self.background.every >= self.quota / self.period:
            raise ValueError(
                f"cpu: background work of {self.background.work:g} s every {self.background.every:g} s takes all of a quota of "
                f"{self.quota:g} s in {self.period:g} s; requests would never be served"
            )
        return self

    quota: PositiveDuration = Field(description="processor time in every period, over all workers; 20ms is the limit 200m")
    period: PositiveDuration = Field(0.1, description="how often the quota is renewed; Linux and Kubernetes: 100ms")
    burst: Duration = Field(0.0, description="unused quota that the next period may use besides its own, at most the quota")
    background: Background | None = Field(None, description="what the process does besides its requests, on the same quota")


class CpuGate:
    """The processor of one replica under a limit: it says when a piece of work ends.

    Work is served from the quota in the order in which it is announced; what the quota of a period cannot hold continues
    at the start of the next one. Each piece of work runs on one core. `renewed_s` is some moment at which the quota is renewed,
    `background_s` the first at which background work begins.

    >>> gate = CpuGate(CpuLimit(quota=0.020, period=0.100), renewed_s=0.0)
    >>> [round(gate.ends_s(0.0, 0.008), 3) for _ in range(3)]
    [0.008, 0.008, 0.104]
    >>> round(gate.ends_s(0.5, 0.045), 3)
    0.705

    Two workers may end at the same time, as above; one worker after another takes the time one after another.
    """

    __slots__ = ("_background", "_background_s", "_burst_s", "_left_s", "_number", "_period_s", "_quota_s", "_renewed_s")

    def __init__(self, limit: CpuLimit, renewed_s: float, background_s: float = 0.0) -> None:
        self._quota_s = limit.quota
        self._period_s = limit.period
        self._burst_s = limit.burst
        self._background = limit.background
        self._background_s = math.inf if limit.background is None else background_s  # when it begins next
        self._renewed_s = renewed_s
        self._number = -math.inf  # of the last period in which work was placed
        self._left_s = 0.0  # of its quota

    def ends_s(self, now_s: float, work_s: float) -> float:
        """Clock time at which work of `work_s` processor seconds ends that starts now; `now_s` must not fall between calls."""
        while self._background_s <= now_s:
            assert self._background is not None
            self._place(self._background_s, self._background.work)
            self._background_s += self._background.every
        return self._place(now_s, work_s)

    def _place(self, now_s: float, work_s: float) -> float:
        number = max(math.floor((now_s - self._renewed_s) / self._period_s), self._number)
        if number > self._number + 1:  # a whole period went by unused
            left_s = self._quota_s + self._burst_s
        elif number > self._number:
            left_s = self._quota_s + min(self._left_s, self._burst_s)
        else:
            left_s = self._left_s
        time_s = max(now_s, self._renewed_s + number * self._period_s)
        while True:
            end_s = self._renewed_s + (number + 1) * self._period_s
            usable_s = max(0.0, min(left_s, end_s - time_s))
            if work_s <= usable_s + _NOTHING_S:
                self._number, self._left_s = number, max(0.0, left_s - work_s)
                return time_s + work_s
            work_s -= usable_s
            number, left_s, time_s = number + 1, self._quota_s + min(left_s - usable_s, self._burst_s), end_s
