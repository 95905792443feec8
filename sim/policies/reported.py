"""Balancing by what servers report: shares in proportion to the calls that they do per busy time."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from sim.policies.balancing import Indices
from sim.policies.balancing_kinds import Balancing
from sim.policies.weights import Acquaintance, Deadlines
from sim.streams import child, salt

_SCHEDULE = salt("reported", "schedule")
_INF: Final = math.inf
#: Weights are not looked at more often.
_SHORTEST_UPDATE_S: Final = 0.1


class LoadReport(NamedTuple):
    """What a server says of itself with an answer."""

    utilisation: float  # busy workers / workers
    calls_rps: float  # answers per second
    errors_rps: float  # of them those that were no success


class LoadMeter:
    """A server's averages for its reports, which forget with the mean age `window_s`.

    ::

        utilisation = ∫ busy / workers · e^(-age / window) / window          rates = Σ e^(-age / window) / window

    >>> meter = LoadMeter(window_s=1.0, workers=2)
    >>> meter.moved(0.0, 1)
    >>> meter.answered(5.0, failed=False)
    >>> round(meter.report(5.0).utilisation, 2), meter.report(5.0).calls_rps
    (0.5, 1.0)
    """

    __slots__ = ("_at_s", "_busy", "_calls", "_errors", "_used", "_window_s", "_workers")

    def __init__(self, window_s: float, workers: float, now_s: float = 0.0) -> None:
        self._window_s = window_s
        self._workers = workers
        self._at_s = now_s
        self._busy = 0
        self._used = self._calls = self._errors = 0.0

    def moved(self, now_s: float, busy: int) -> None:
        """So many workers are busy from now on."""
        keep = math.exp((self._at_s - now_s) / self._window_s)
        self._used = self._used * keep + min(1.0, self._busy / self._workers) * (1 - keep)
        self._calls *= keep
        self._errors *= keep
        self._at_s, self._busy = now_s, busy

    def answered(self, now_s: float, failed: bool) -> None:
        """An answer leaves."""
        self.moved(now_s, self._busy)
        self._calls += 1 / self._window_s
        if failed:
            self._errors += 1 / self._window_s

    def report(self, now_s: float) -> LoadReport:
        """What it says now."""
        self.moved(now_s, self._busy)
        return LoadReport(self._used, self._calls, self._errors)


class Utilisation(Acquaintance):
    """Weighted round robin by the endpoints' own reports, which come with their answers.

    ::

        weight = calls per second / (utilisation + errors / calls · error_penalty)
        used once an endpoint has reported for `blackout`; until `expiry` after its last report; looked at every `update`

    A faster server does more calls at the same utilisation, so it gets more. An endpoint without a usable weight has the average
    of the others, so with fewer than two weights all are equal. Endpoints take turns by their deadlines (see `Deadlines`).

    Not where utilisation says little about the time to the answer (servers that wait for others), nor for load that changes
    within seconds. Source: gRFC A58, reports per call. That a report averages over a second or so is the server's choice.
    """

    counts = False

    def __init__(self, spec: Balancing, process_key: int, now_s: float) -> None:
        super().__init__()
        self._spec = spec
        self._key = child(process_key, _SCHEDULE)
        self._period_s = max(_SHORTEST_UPDATE_S, spec.update)
        self._weights: dict[int, float] = {}  # as last reported
        self._reporting_since_s: dict[int, float] = {}
        self._reported_s: dict[int, float] = {}
        self._start_s = now_s
        self._round = 0
        self._next_s = now_s
        self._scheduled: Indices = []
        self._used: dict[int, float] = {}

    def met(self, endpoint: int, now_s: float) -> None:
        """It has not reported yet; what it reported in an earlier life waits for the blackout again."""
        self._reporting_since_s[endpoint] = _INF

    def pick(self, endpoints: Indices, in_flight: Indices, bits: int) -> int:
        """Who is due first."""
        if self.now_s >= self._next_s or self._known is not self._scheduled:
            self._schedule()
        return self._deadlines.pick(endpoints, self.share)

    def share(self, endpoint: int) -> float:
        """The weight that is used for an endpoint, since the last update."""
        return self._used.get(endpoint, self._usual)

    def settled(self, endpoint: int, now_s: float, latency_s: float, outcome: int, report: object) -> None:
        """Take in a report, if the answer brought one."""
        if not isinstance(report, LoadReport) or report.calls_rps <= 0:
            return
        ratio = report.errors_rps / report.calls_rps
        used = report.utilisation + ratio * self._spec.error_penalty if report.utilisation > 0 else 0.0
        if used <= 0:
            return
        if self._reporting_since_s.get(endpoint, _INF) == _INF:
            self._reporting_since_s[endpoint] = now_s
        self._reported_s[endpoint] = now_s
        self._weights[endpoint] = report.calls_rps / used

    def _schedule(self) -> None:
        while self._next_s <= self.now_s:
            self._round = int((self.now_s - self._start_s) / self._period_s) + 1
            self._next_s = max(self._next_s + self._period_s, self._start_s + self._round * self._period_s)
        found = {endpoint: weight for endpoint in self._known if (weight := self._weight(endpoint)) > 0}
        self._used = found
        self._usual = sum(found.values()) / len(found) if found else 1.0
        self._scheduled = self._known
        self._deadlines = Deadlines(child(self._key, self._round))

    def _weight(self, endpoint: int) -> float:
        since_s = self._reporting_since_s.get(endpoint, _INF)
        if since_s == _INF:
            return 0.0
        if self.now_s - self._reported_s[endpoint] >= self._spec.expiry:
            self._reporting_since_s[endpoint] = _INF
            return 0.0
        return 0.0 if self.now_s - since_s < self._spec.blackout else self._weights[endpoint]
