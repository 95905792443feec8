"""Active health checks: when one side calls the other dead, and when alive again."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sim.policies.breaker import Failure
from sim.records import GOOD, IN_FLIGHT, OUTCOMES
from sim.values import Duration, PositiveDuration, Spec

_Threshold = Annotated[int, Field(ge=1)]


class HealthCheck(Spec):
    """Ask an instance every `interval`; so many failures in a row take it out, so many passes in a row bring it back.

    ::

        healthy   pass fail fail fail      unhealthy_threshold = 3: out at the third
        unhealthy      pass fail pass pass      healthy_threshold = 2: in again

    A crash is seen after (unhealthy_threshold - 1) · interval at least and one interval more at most; where nothing answers at
    all, the last check takes its `timeout` first, and so does each where the interval is counted from the end. A check that an
    overloaded instance answers late is a failure, too: then the checks take out what still works, and what is left gets the load
    of all. Use a timeout well above the latency under load, and a panic threshold in the balancer.

    Not for finding single bad answers: those are for `outlier_detection`, which looks at live calls.
    Source: Envoy health_checker_base_impl.cc (first check; an answer other than 200 at once, thresholds for the network only);
    HAProxy check.c; Kubernetes prober/worker.go; Consul agent/checks/check.go. The defaults are a Kubernetes readiness probe's.

    >>> gate = HealthGate(HealthCheck(initially="healthy"))
    >>> [gate.checked(t, OUTCOMES.index("timeout")) for t in (11.0, 21.0, 31.0)], gate.healthy
    ([False, False, True], False)
    """

    preset: str | None = Field(
        None, description="in a scenario: a system whose numbers lie below what is written here; `sim presets` lists them"
    )
    interval: PositiveDuration = Field(10.0, description="time from one check to the next")
    interval_from: Literal["begin", "end"] = Field("begin", description="from which moment of a check the interval is counted")
    unhealthy_interval: PositiveDuration | None = Field(None, description="the same while it is out; none: interval")
    edge_interval: PositiveDuration | None = Field(None, description="the same while a change is under way; none: as otherwise")
    timeout: PositiveDuration = Field(1.0, description="a check without an answer after this has failed")
    healthy_threshold: _Threshold = Field(1, description="passes in a row that bring it back")
    unhealthy_threshold: _Threshold = Field(3, description="failures in a row that take it out")
    fails_at_once_on: tuple[Failure, ...] = Field((), description="outcomes of a check that take it out whatever the threshold")
    first_check_decides: bool = Field(False, description="whether the first check of all counts as a full threshold, either way")
    initially: Literal["healthy", "unhealthy"] = Field("unhealthy", description="what it is before its first check")
    panic_threshold_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="checks by callers: where fewer than this share of the known instances is healthy, all are used; 0: never"
    )
    initial_delay: Duration = Field(0.0, description="no checks for so long after an instance has started")
    grace: Duration = Field(0.0, description="no failure counts for so long after an instance has started")


class HealthGate:
    """What the checks have said of one instance. `changes` are (time, whether it is healthy now)."""

    __slots__ = ("_against", "_at_once", "_first", "_spec", "_started_s", "changes", "healthy")

    def __init__(self, spec: HealthCheck, started_s: float = 0.0, healthy: bool | None = None) -> None:
        """An instance that starts now; or, with `healthy`, one that has been checked for long."""
        self._spec = spec
        self._at_once: Final = frozenset(OUTCOMES.index(name) for name in spec.fails_at_once_on)
        self.changes: list[tuple[float, bool]] = []
        self.healthy = spec.initially == "healthy"
        self.started(started_s)
        if healthy is not None:
            self.healthy, self._first = healthy, False

    def started(self, now_s: float) -> bool:
        """The instance starts anew, and so does what is known of it; whether that changes anything."""
        self._started_s = now_s
        self._first = True
        self._against = 0  # checks in a row that speak against what it is
        return self._turn(now_s, self._spec.initially == "healthy")

    def first_s(self, u: float) -> float:
        """When the first check is sent: after the initial delay, at a phase given by a uniform number."""
        return self._started_s + self._spec.initial_delay + u * self._spec.interval

    def checked(self, now_s: float, outcome: int) -> bool:
        """A check has ended, with an outcome by its code in `OUTCOMES`; whether the instance's health changes."""
        if outcome == IN_FLIGHT:
            return False
        passed = outcome in GOOD
        if not passed and now_s - self._started_s < self._spec.grace:
            return False
        first, self._first = self._first, False
        if passed == self.healthy:
            self._against = 0
            return False
        self._against += 1
        enough = self._against >= (self._spec.healthy_threshold if passed else self._spec.unhealthy_threshold)
        if enough or (first and self._spec.first_check_decides) or outcome in self._at_once:
            return self._turn(now_s, passed)
        return False

    def next_s(self, sent_s: float, now_s: float) -> float:
        """When the next check is sent, after one that was sent at `sent_s` and has just ended."""
        spec = self._spec
        wait_s = spec.interval if self.healthy or spec.unhealthy_interval is None else spec.unhealthy_interval
        if self._against and spec.edge_interval is not None:
            wait_s = spec.edge_interval
        return now_s + wait_s if spec.interval_from == "end" else max(now_s, sent_s + wait_s)

    def _turn(self, now_s: float, healthy: bool) -> bool:
        if healthy == self.healthy:
            return False
        self.healthy = healthy
        self._against = 0
        self.changes.append((now_s, healthy))
        return True
