"""Outlier detection: a caller stops using the endpoints that fail, each on its own, and takes them back after a while."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import Field

from sim.records import DEGRADED, ERROR, OK, OUTCOMES, REJECTED, TIMEOUT, UNREACHABLE
from sim.streams import child, salt, uniform
from sim.values import Duration, PositiveDuration, Spec

_INF: Final = math.inf
_ENFORCE, _JITTER = (salt("outlier", name) for name in ("enforce", "jitter"))
#: Longest ejection where none is given, as in Envoy and gRPC.
_LONGEST_S: Final = 300.0
#: A real timer is never early; the sums of floats may be.
_SLACK_S: Final = 1e-9
#: Envoy's overprovisioning factor, in percent: 5 of 7 endpoints count as all of them.
_OVERPROVISIONING: Final = 140

_Number = Annotated[int, Field(ge=0)]
_Percent = Annotated[int, Field(ge=0, le=100)]


class OutlierDetection(Spec):
    """Eject endpoints that fail from the choice of one caller process, for a time that grows with every ejection.

    ::

        at an answer      streak of 5xx, of gateway failures  = threshold ----------+
        at every tick     success rate < mean - factor · sigma, failures >= x % ----+--> ejected, if 100 · (ejected + 1) / N
        of `interval`                                                               |    <= max_ejection_percent, and then
                                                                                    |    with the probability enforcing_*
        at every tick     min(base · k, max) + jitter have passed --> back; k - 1 for each tick after a whole interval

    An error counts as 500, a rejection as 503, and unless local origins are split, a timeout as 504 and an unreachable endpoint
    as 503. The success rate is that of the interval that has just ended, sigma that of the whole population: where a part p of
    the endpoints is equally bad, they lie sqrt((1-p)/p) sigma below, so that 1.9 finds 1 of 5 and never 2 of 5. The default
    of 10 % ejects nobody of fewer than 10 endpoints. `k` counts ejections.

    Ejected endpoints get calls all the same in panic, that is when fewer than `healthy_panic_threshold_percent` are left.

    `rules: grpc` are those of gRFC A50: no streaks, no panic, no merging of updates; ejection if 100 · ejected / N <
    max_ejection_percent, so one is always possible; failures > x %; k - 1 at each tick without ejection. In gRPC a rule that is
    absent is off: write `enforcing_success_rate: 0` or `enforcing_failure_percentage: 0`, and 100 for one that is on.

    Not for an overload that all endpoints share, nor for calls that fail because of what they ask: both eject good ones.

    Left out: an endpoint that both rates would eject at one tick is ejected once (Envoy's release build counts it twice).
    Source: envoy@1.40 outlier_detection_impl.cc, cluster_manager_impl.cc; grpc/proposal A50 and grpc-go@1.7x outlierdetection.

    >>> gate = OutlierGate(OutlierDetection(consecutive_5xx=2, max_ejection_percent=50), endpoints=2)
    >>> for now_s in (1.0, 2.0):
    ...     gate.settle(1, ERROR, now_s)
    >>> gate.usable(2.0, [0, 1]), gate.usable(39.9, [0, 1]), gate.usable(40.0, [0, 1])
    ([0], [0], [0, 1])
    """

    rules: Literal["envoy", "grpc"] = Field("envoy", description="whose rules: Envoy's and Istio's, or those of gRFC A50")
    interval: PositiveDuration = Field(10.0, description="time between two ticks")
    base_ejection_time: Duration = Field(30.0, description="first ejection; the k-th takes k times as long")
    max_ejection_time: Duration | None = Field(None, description="longest ejection, at least base_ejection_time; absent: 300 s")
    max_ejection_time_jitter: Duration = Field(0.0, description="at most so much is added, in whole milliseconds (envoy)")
    max_ejection_percent: _Percent = Field(10, description="endpoints that may be ejected at one time")
    always_eject_one_host: bool = Field(False, description="one may be ejected whatever max_ejection_percent says (envoy)")
    consecutive_5xx: _Number = Field(5, description="failures in a row that eject; 0: never (envoy)")
    enforcing_consecutive_5xx: _Percent = Field(100, description="probability of it")
    consecutive_gateway_failure: _Number = Field(
        5, description="timeouts, rejections and unreachables in a row that eject; 0: never (envoy)"
    )
    enforcing_consecutive_gateway_failure: _Percent = Field(0, description="probability of it")
    split_external_local_origin_errors: bool = Field(
        False, description="timeouts and unreachables have a streak and rates of their own (envoy)"
    )
    consecutive_local_origin_failure: _Number = Field(
        5, description="timeouts and unreachables in a row that eject, if split; 0: never (envoy)"
    )
    enforcing_consecutive_local_origin_failure: _Percent = Field(100, description="probability of it")
    success_rate_minimum_hosts: _Number = Field(5, description="endpoints with enough calls that it takes to compare them")
    success_rate_request_volume: _Number = Field(100, description="calls in the interval that are enough")
    success_rate_stdev_factor: _Number = Field(1900, description="thousandths of sigma below the mean that eject")
    enforcing_success_rate: _Percent = Field(100, description="probability of it; 0: off")
    enforcing_local_origin_success_rate: _Percent = Field(100, description="the same for local origins, if split (envoy)")
    failure_percentage_threshold: _Percent = Field(85, description="failures in the interval that eject")
    failure_percentage_minimum_hosts: _Number = Field(5, description="endpoints with enough calls that it takes")
    failure_percentage_request_volume: _Number = Field(50, description="calls in the interval that are enough")
    enforcing_failure_percentage: _Percent = Field(0, description="probability of it; 0: off")
    enforcing_failure_percentage_local_origin: _Percent = Field(0, description="the same for local origins, if split (envoy)")
    healthy_panic_threshold_percent: _Percent = Field(50, description="with fewer endpoints left, all are used; 0: never (envoy)")
    update_merge_window: Duration = Field(
        1.0, description="a change within this time after another acts this much later (envoy); 0: at once"
    )

    def gate(self, endpoints: int, key: int = 0, start_s: float = 0.0) -> OutlierGate:
        """A gate to which all endpoints are good; `key` names its random draws, its ticks are at start_s + n · interval."""
        return OutlierGate(self, endpoints, key, start_s)


#: Indices of endpoints.
Indices = list[int]


class EndpointGate:
    """What one caller process thinks of each endpoint of a target. `changes` are (time, endpoint, whether it is out now).

    The caller asks `usable` before it chooses, tells `picked` what it chose, and `settle`s every attempt that was sent. What
    happens by time alone is made up for, in order, when the gate is next asked, or by `advance`.
    """

    __slots__ = ()

    changes: list[tuple[float, int, bool]]
    #: Whether `usable` gave endpoints that it would leave out, because too few would be left.
    panics: bool = False

    def usable(self, now_s: float, believed: Indices) -> Indices:
        """Those of the endpoints that discovery believes in that may be chosen; perhaps `believed` itself, perhaps none."""
        raise NotImplementedError

    def picked(self, endpoint: int, now_s: float) -> None:
        """An attempt is sent to this endpoint."""

    def settle(self, endpoint: int, outcome: int, now_s: float) -> None:
        """An attempt at this endpoint has ended, with an outcome by its code in `OUTCOMES`."""
        raise NotImplementedError

    def advance(self, now_s: float) -> None:
        """Bring `changes` up to date."""


class _Calls:
    """Calls of one interval: those that run now, and those of the interval before."""

    __slots__ = ("good", "last_good", "last_total", "total")

    def __init__(self) -> None:
        self.good = self.total = self.last_good = self.last_total = 0

    def add(self, good: bool) -> None:
        self.total += 1
        self.good += good

    def swap(self) -> None:
        self.last_good, self.last_total = self.good, self.total
        self.good = self.total = 0


class _Endpoint:
    """What is known of one endpoint."""

    __slots__ = (
        "back_tick", "detections", "ejected", "ejected_s", "external", "gateway", "in_a_row", "jitter_s", "k", "local",
        "local_in_a_row",
    )  # fmt: skip

    def __init__(self) -> None:
        self.external, self.local = _Calls(), _Calls()
        self.detections = 0  # of an outlier, enforced or not
        self.back_tick = _INF  # of its last return
        self.k = 0
        self.ejected = False
        self.ejected_s = self.jitter_s = 0.0
        self.forget()

    def forget(self) -> None:
        """Begin all streaks anew."""
        self.in_a_row = self.gateway = self.local_in_a_row = 0

    def quiet(self) -> bool:
        """Whether ticks change nothing here."""
        calls = self.external, self.local
        return not (self.ejected or self.k or any(c.total or c.last_total for c in calls))


#: What an attempt says of its endpoint.
_NOTHING, _GOOD, _BAD, _GATEWAY, _LOCAL = range(5)
_MEANING: Final = [
    {OK: _GOOD, DEGRADED: _GOOD, ERROR: _BAD, REJECTED: _GATEWAY, TIMEOUT: _LOCAL, UNREACHABLE: _LOCAL}.get(code, _NOTHING)
    for code in range(len(OUTCOMES))
]


class OutlierGate(EndpointGate):
    """The rules of Envoy, or of gRPC, for one caller process. Ticks are at start_s + n · interval.

    `changes` tells when an ejection was decided; it acts at once, or with `update_merge_window` a little later.
    """

    __slots__ = (
        "_believed", "_ejected", "_endpoints", "_grpc", "_key", "_last_update_s", "_longest_s", "_next_s", "_pending_s", "_spec",
        "_start_s", "_tick", "_usable", "changes", "panics",
    )  # fmt: skip

    def __init__(self, spec: OutlierDetection, endpoints: int, key: int = 0, start_s: float = 0.0) -> None:
        self._spec = spec
        self._grpc = spec.rules == "grpc"
        self._key = key
        self._longest_s = max(spec.base_ejection_time, _LONGEST_S if spec.max_ejection_time is None else spec.max_ejection_time)
        self._endpoints = {index: _Endpoint() for index in range(endpoints)}
        self._ejected = 0
        self._start_s = start_s
        self._tick = 0
        self._last_update_s = -_INF  # when the balancer last learned of a change
        self._pending_s = _INF  # when it will learn of the next
        self._next_s = start_s + spec.interval  # before it, nothing happens by time alone
        self._believed: Indices = list(range(endpoints))
        self._usable: Indices = self._believed
        self.changes = []
        self.panics = False

    def usable(self, now_s: float, believed: Indices) -> Indices:
        """The endpoints that are not ejected, or all of them in panic."""
        if now_s >= self._next_s:
            self.advance(now_s)
        if believed is not self._believed:
            self._discover(believed, now_s)
        return self._usable

    def settle(self, endpoint: int, outcome: int, now_s: float) -> None:
        """Count an attempt, and eject its endpoint if its streak is full."""
        if now_s >= self._next_s:
            self.advance(now_s)
        known = self._endpoints.get(endpoint)
        meaning = _MEANING[outcome]
        if known is None or meaning == _NOTHING:
            return
        if self._grpc:
            known.external.add(meaning == _GOOD)
            return
        spec = self._spec
        if spec.split_external_local_origin_errors:
            known.local.add(meaning != _LOCAL)
            if meaning == _LOCAL:
                known.local_in_a_row += 1
                if known.local_in_a_row == spec.consecutive_local_origin_failure and not known.ejected:
                    self._detect(endpoint, spec.enforcing_consecutive_local_origin_failure, now_s)
                    known.local_in_a_row = 0
                return
            known.local_in_a_row = 0
        self._external(endpoint, known, meaning, now_s)

    def advance(self, now_s: float) -> None:
        """Let pass all ticks and delayed updates up to now."""
        while self._next_s <= now_s:
            tick_s = self._tick_s()
            if self._pending_s <= tick_s:
                self._update(self._pending_s)
            elif all(known.quiet() for known in self._endpoints.values()):
                self._tick = max(self._tick + 1, int((now_s - self._start_s) / self._spec.interval))
            else:
                self._tick += 1
                (self._grpc_tick if self._grpc else self._envoy_tick)(tick_s)
            self._next_s = min(self._tick_s(), self._pending_s)

    def _tick_s(self) -> float:
        """When the next tick is; a product, so that ticks do not drift."""
        return self._start_s + (self._tick + 1) * self._spec.interval

    def _external(self, endpoint: int, known: _Endpoint, meaning: int, now_s: float) -> None:
        """An answer, or what Envoy takes for one. A streak that fills up while ejected stays full until the return."""
        spec = self._spec
        known.external.add(meaning == _GOOD)
        if meaning == _GOOD:
            known.in_a_row = known.gateway = 0
            return
        if meaning == _BAD:
            known.gateway = 0
        else:
            known.gateway += 1
            if known.gateway == spec.consecutive_gateway_failure and not known.ejected:
                self._detect(endpoint, spec.enforcing_consecutive_gateway_failure, now_s)
                known.gateway = 0
        known.in_a_row += 1
        if known.in_a_row == spec.consecutive_5xx and not known.ejected:
            self._detect(endpoint, spec.enforcing_consecutive_5xx, now_s)
            known.in_a_row = 0

    def _envoy_tick(self, now_s: float) -> None:
        spec = self._spec
        for index, known in self._endpoints.items():
            out_s = min(spec.base_ejection_time * known.k, self._longest_s) + known.jitter_s
            if known.ejected and out_s <= now_s - known.ejected_s + _SLACK_S:
                self._return(index, known, now_s)
            known.external.swap()
            known.local.swap()
        self._rates(now_s, spec.enforcing_success_rate, spec.enforcing_failure_percentage)
        self._rates(now_s, spec.enforcing_local_origin_success_rate, spec.enforcing_failure_percentage_local_origin, local=True)
        for known in self._endpoints.values():
            if not known.ejected and self._tick > known.back_tick and known.k:
                known.k -= 1

    def _grpc_tick(self, now_s: float) -> None:
        spec = self._spec
        for known in self._endpoints.values():
            known.external.swap()
        self._rates(now_s, spec.enforcing_success_rate, spec.enforcing_failure_percentage)
        for index, known in self._endpoints.items():
            if not known.ejected:
                known.k -= known.k > 0
            elif min(spec.base_ejection_time * known.k, self._longest_s) <= now_s - known.ejected_s + _SLACK_S:
                # A50 says "after"; its timer is always a little late, so that it is after.
                self._return(index, known, now_s)

    def _rates(self, now_s: float, enforce_rate: int, enforce_failures: int, local: bool = False) -> None:
        """Compare the success rates of the last interval, and look for those that fail too much."""
        spec = self._spec
        seen = []
        for index, known in self._endpoints.items():
            calls = known.local if local else known.external
            # Envoy leaves out those that are out already; gRPC looks at whoever had enough calls.
            if calls.last_total and (self._grpc or not known.ejected):
                seen.append((index, known, 100.0 * calls.last_good / calls.last_total, calls.last_total))
        rates = [(i, known, rate) for i, known, rate, total in seen if total >= spec.success_rate_request_volume]
        if rates and len(rates) >= spec.success_rate_minimum_hosts:
            mean = sum(rate for _, _, rate in rates) / len(rates)
            sigma = math.sqrt(sum((rate - mean) ** 2 for _, _, rate in rates) / len(rates))
            for index, known, rate in rates:
                if rate < mean - spec.success_rate_stdev_factor / 1000.0 * sigma and not known.ejected:
                    self._detect(index, enforce_rate, now_s)
        rates = [(i, known, rate) for i, known, rate, total in seen if total >= spec.failure_percentage_request_volume]
        if len(rates) >= spec.failure_percentage_minimum_hosts:
            threshold = spec.failure_percentage_threshold
            for index, known, rate in rates:
                percent = 100.0 - rate
                if (percent > threshold if self._grpc else percent >= threshold) and not known.ejected:
                    self._detect(index, enforce_failures, now_s)

    def _detect(self, index: int, enforcing_percent: int, now_s: float) -> None:
        """An outlier was found: eject it if there is room, and chance will have it."""
        spec, known = self._spec, self._endpoints[index]
        if not self._room():
            return
        known.detections += 1
        bits = child(child(self._key, index), known.detections)
        if int(uniform(child(bits, _ENFORCE)) * 100) >= enforcing_percent:
            return
        self._ejected += 1
        known.ejected, known.ejected_s = True, now_s
        if self._grpc:
            known.k += 1
        else:
            milliseconds = round(spec.max_ejection_time_jitter * 1000)
            known.jitter_s = int(uniform(child(bits, _JITTER)) * (milliseconds + 1)) / 1000
            known.k += known.k * spec.base_ejection_time < self._longest_s + spec.base_ejection_time
        self._changed(index, True, now_s)

    def _room(self) -> bool:
        """Whether one more may be ejected."""
        spec, everybody = self._spec, len(self._endpoints)
        if self._grpc:
            return 100.0 * self._ejected / everybody < spec.max_ejection_percent
        return 100.0 * (self._ejected + 1) / everybody <= spec.max_ejection_percent or (
            spec.always_eject_one_host and not self._ejected
        )

    def _return(self, index: int, known: _Endpoint, now_s: float) -> None:
        self._ejected -= 1
        known.ejected = False
        known.back_tick = self._tick
        known.forget()
        self._changed(index, False, now_s)

    def _changed(self, index: int, ejected: bool, now_s: float) -> None:
        """Tell the balancer: at once, unless it has been told within the merge window; then so much later."""
        self.changes.append((now_s, index, ejected))
        window_s = 0.0 if self._grpc else self._spec.update_merge_window
        if not window_s or now_s - self._last_update_s > window_s:
            self._update(now_s)
        elif self._pending_s == _INF:
            self._pending_s = now_s + window_s
        self._next_s = min(self._tick_s(), self._pending_s)

    def _update(self, now_s: float) -> None:
        """The balancer learns of everything that has changed."""
        self._last_update_s = now_s
        self._pending_s = _INF
        believed = self._believed
        left = [index for index in believed if not self._endpoints[index].ejected]
        everybody = len(believed)
        self.panics = (
            not self._grpc
            and everybody > 0
            and 100.0 * len(left) / everybody < self._spec.healthy_panic_threshold_percent
            and _OVERPROVISIONING * len(left) // everybody < 100
        )
        self._usable = believed if self.panics or len(left) == everybody else left

    def _discover(self, believed: Indices, now_s: float) -> None:
        """Discovery sees other endpoints: one that was gone comes back as a new one. Such an update is never delayed."""
        if believed == self._believed:  # the same, written anew
            self._usable = believed if self._usable is self._believed else self._usable
            self._believed = believed
            return
        for index in [index for index in self._endpoints if index not in believed]:
            if self._endpoints.pop(index).ejected:
                self._ejected -= 1
                self.changes.append((now_s, index, False))
        # In the order of discovery: where there is room for one more only, the first outlier takes it.
        self._endpoints = {index: self._endpoints.get(index) or _Endpoint() for index in believed}
        self._believed = believed
        self._update(now_s)
        self._next_s = self._tick_s()
