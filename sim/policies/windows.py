"""Windows: what happened lately. A breaker reads its failure rate and its slow-call rate from one of them.

::

    CountWindow      |x..x.xx...|           the last n calls
    TimeWindow       |x.|..|x.|.x|          buckets in a row; old ones fall out whole
    SnapshotWindow   |x.|..|x.|.x|(now)     the same, but the running bucket is not looked at
    EmaWindow        ..:.-=+                an average in which a call of the age t weighs e^(-t / duration)

A new kind: one class with `record`, `clear` and, where counts are not enough, `enough` and `failing`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cython


class Window:
    """Counts of recent calls; a call can be slow and failed."""

    __slots__ = ("calls", "failures", "slow")

    def __init__(self) -> None:
        self._zero()

    def record(self, now_s: float, failed: cython.bint, slow: cython.bint) -> None:
        """Enter one call that has ended."""
        raise NotImplementedError

    def clear(self, now_s: float) -> None:
        """Forget everything: a new life begins now."""
        raise NotImplementedError

    def enough(self, minimum: cython.long, now_s: float) -> cython.bint:
        """Whether so much is known that the rates may be judged."""
        return self.calls > 0 and self.calls >= minimum

    def failing(self, threshold_percent: float) -> cython.bint:
        """Whether the failure rate is at or over the threshold."""
        # A product of whole numbers: 29 of 100 is 29 %, whatever 0.29 is in binary.
        return self.failures * 100.0 >= threshold_percent * self.calls

    def slowing(self, threshold_percent: float) -> cython.bint:
        """Whether the rate of slow calls is at or over the threshold."""
        return self.slow * 100.0 >= threshold_percent * self.calls

    def _zero(self) -> None:
        self.calls = 0
        self.failures = 0
        self.slow = 0


class CountWindow(Window):
    """The last `size` calls, however long ago they were. Source: resilience4j@2, COUNT_BASED.

    >>> window = CountWindow(2)
    >>> for failed in (True, False, False):
    ...     window.record(0.0, failed, False)
    >>> window.calls, window.failures
    (2, 0)
    """

    __slots__ = ("_next", "_ring", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring: list[int] = []
        self._next = 0
        self._zero()

    def record(self, now_s: float, failed: cython.bint, slow: cython.bint) -> None:
        """Enter a call; when the window is full, it takes the place of the oldest one."""
        code: cython.long = (1 if failed else 0) + (2 if slow else 0)
        if self.calls < self._size:
            self._ring.append(code)
            self.calls += 1
        else:
            old: cython.long = self._ring[self._next]
            self._ring[self._next] = code
            self.failures -= old & 1
            self.slow -= old >> 1
            self._next += 1
            if self._next == self._size:
                self._next = 0
        self.failures += code & 1
        self.slow += code >> 1

    def clear(self, now_s: float) -> None:
        """Forget everything."""
        self._ring = []
        self._next = 0
        self._zero()


class _Bucket:
    """The calls of one stretch of time."""

    __slots__ = ("began_s", "calls", "failures", "slow")

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.calls = 0
        self.failures = 0
        self.slow = 0


class TimeWindow(Window):
    """The calls of the last `duration_s`, in buckets that fall out of it whole.

    With `parts`, a bucket begins with the first call that does not fit into the one before, as in Polly: a tenth of the sampling
    duration each. With `parts` = 1 the only bucket begins where the window is cleared. With `parts` = 0 there is a
    bucket for each whole second of the clock, as in resilience4j's TIME_BASED: of the last n seconds, the running one included.
    """

    __slots__ = ("_aligned", "_buckets", "_duration_s", "_width_s")

    def __init__(self, duration_s: float, parts: int, start_s: float) -> None:
        self._aligned = parts == 0
        self._duration_s = duration_s
        self._width_s = 1.0 if parts == 0 else duration_s / parts
        self.clear(start_s)

    def record(self, now_s: float, failed: cython.bint, slow: cython.bint) -> None:
        """Drop what is too old, and enter a call into the running bucket."""
        stamp_s: float = math.floor(now_s) if self._aligned else now_s
        bucket = self._bucket(stamp_s)
        bucket.calls += 1
        self.calls += 1
        if failed:
            bucket.failures += 1
            self.failures += 1
        if slow:
            bucket.slow += 1
            self.slow += 1

    def clear(self, now_s: float) -> None:
        """Forget everything."""
        self._buckets: deque[_Bucket] = deque()
        if not self._aligned and self._width_s >= self._duration_s:
            self._buckets.append(_Bucket(now_s))
        self._zero()

    def _bucket(self, stamp_s: float) -> _Bucket:
        """The running bucket, after the old ones have fallen out."""
        buckets = self._buckets
        while buckets:
            first = buckets[0]
            if stamp_s - first.began_s < self._duration_s:
                break
            buckets.popleft()
            self.calls -= first.calls
            self.failures -= first.failures
            self.slow -= first.slow
        last = buckets[-1] if buckets else None
        if last is None or stamp_s - last.began_s >= self._width_s:
            last = _Bucket(stamp_s)
            buckets.append(last)
        return last


class SnapshotWindow(Window):
    """Buckets of `every_s`, looked at only where one ends: a health snapshot.

    The counts are those of the last `parts` complete buckets; what happens now is seen at the next tick. The owner calls `roll`
    at each `next_tick_s`, in order, before it records anything later. Source: hystrix@1.5, HealthCountsStream: 20
    buckets of 500 ms.
    """

    __slots__ = ("_complete", "_every_s", "_parts", "_running", "_start_s", "_tick")

    def __init__(self, duration_s: float, every_s: float, start_s: float) -> None:
        self._every_s = every_s
        self._parts = max(1, int(duration_s / every_s + 1e-9))
        self.clear(start_s)

    def record(self, now_s: float, failed: cython.bint, slow: cython.bint) -> None:
        """Enter a call into the running bucket."""
        self._running.calls += 1
        if failed:
            self._running.failures += 1
        if slow:
            self._running.slow += 1

    def clear(self, now_s: float) -> None:
        """Forget everything; the ticks are counted from now on."""
        self._start_s = now_s
        self._tick = 0
        self._complete: deque[_Bucket] = deque()
        self._running = _Bucket(now_s)
        self._zero()

    def next_tick_s(self) -> float:
        """When the running bucket ends."""
        # A product, not a sum: ticks do not drift.
        return self._start_s + (self._tick + 1) * self._every_s

    def roll(self) -> None:
        """End the running bucket."""
        self._tick += 1
        bucket = self._running
        self._complete.append(bucket)
        self.calls += bucket.calls
        self.failures += bucket.failures
        self.slow += bucket.slow
        if len(self._complete) > self._parts:
            old = self._complete.popleft()
            self.calls -= old.calls
            self.failures -= old.failures
            self.slow -= old.slow
        self._running = _Bucket(self.next_tick_s())

    def skip(self, now_s: float) -> None:
        """Pass over all ticks before the last one if nothing is known."""
        if not self.calls and not self._running.calls:
            self._tick = max(self._tick, int((now_s - self._start_s) / self._every_s) - 1)


class EmaWindow(TimeWindow):
    """A moving average of success: after a gap dt, old knowledge weighs w = e^(-dt / duration), the new call 1 - w.

    It says nothing until `duration_s` has passed since the last clearing, nor while fewer than the minimum of calls fell into the
    last `duration_s` (in five slices). The threshold must be exceeded, not only reached. A burst at one instant
    counts as its first call: calls without a gap weigh nothing. Source: finagle@22, FailureAccrualPolicy and Ema.
    """

    __slots__ = ("_cleared_s", "_last_s", "_success")

    def __init__(self, duration_s: float, start_s: float) -> None:
        self._aligned = False
        self._duration_s = duration_s
        self._width_s = duration_s / 5
        self._success = -1.0  # unknown
        self._cleared_s = start_s
        self._last_s = start_s
        self.clear(start_s)

    def record(self, now_s: float, failed: cython.bint, slow: cython.bint) -> None:
        """Enter a call into the average."""
        value: float = 0.0 if failed else 1.0
        if self._success < 0:
            self._success = value
        else:
            weight: float = math.exp(-(now_s - self._last_s) / self._duration_s)
            self._success = value * (1 - weight) + self._success * weight
        self._last_s = now_s
        TimeWindow.record(self, now_s, failed, slow)

    def clear(self, now_s: float) -> None:
        """Forget everything."""
        TimeWindow.clear(self, now_s)
        self._success = -1.0
        self._cleared_s = now_s
        self._last_s = now_s

    def enough(self, minimum: cython.long, now_s: float) -> cython.bint:
        """Whether a whole duration has passed, with enough calls in the last one."""
        return now_s - self._cleared_s >= self._duration_s and self.calls > 0 and self.calls >= minimum

    def failing(self, threshold_percent: float) -> cython.bint:
        """Whether the average of failures is over the threshold."""
        return 100.0 * (1.0 - self._success) > threshold_percent
