"""Find services that stood still because of a CPU limit, and how much processor time they had.

Linux gives a container under a CPU limit a quota in every period of 100 ms; a container that has used it stands still until the
next period begins. Spans show it: a pod falls silent although calls are open, and wakes at moments that are whole periods apart.
How well the wake-ups keep the beat is their *coherence* ``R = |mean of e^(2πi t / period)|``: 1 for a perfect beat, about 1/√n
for n wake-ups at any time.

Such waiting is not a law of one call: calls that come together stand still together. So a service gets its quota and its work:

1. What the spans show of the quota is the work that a period saw before the pod fell silent, plus the rest of the piece of work
   that was cut off.
2. The work of a call is its time at the server without silences, plus what the quota had left in them.
3. Silences of whole periods that come at regular distances, whether calls come or not, are background work of the process.
   (Where they come at random they are long work of calls.) It takes as many quotas as renewals passed.
4. Spans do not show all that a process does (garbage, exporting the spans themselves), so the quota is found by replay: every
   recorded trace makes its calls again, with its own pauses, at a server with that work, and waits on average as long as
   recorded. (Calls at fixed times would not do: a real caller that waits longer also asks later.) The traces begin at random
   moments, as they will in the scenario. Work is not scaled: what calls take that meet nobody is seen in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from sim.interop.fitting import quantiles_of
from sim.interop.spans import RecordedCall, Recording
from sim.policies.cpu import Background, CpuGate, CpuLimit

PERIOD_S = 0.1
#: What a call takes longer than its handler beyond this quantile is waiting at the callee, not network.
NETWORK_QUANTILE = 0.9
_SILENCE_S = 0.02  # shorter silences are left to the laws
_LEAST_STALLS = 20
_LEAST_COHERENCE = 0.7  # chance stays below 0.5 from 20 stalls on
_ROUGH, _FINE = 30_000, 1_000_000  # calls to replay: mean waits near saturation are as noisy as reality
_LEAST_SHARE = 0.10  # of the calls; rarer stalls are left to the laws
#: Silences of whole periods are background work if there are so many and their distances vary less than this (deviation /
#: mean); of random ones, fewer than one set in fifty is so regular.
_LEAST_BEATS, _MOST_IRREGULAR = 8, 0.4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stalls:
    """Silences of one pod while calls to it were open, on its own clock."""

    begin_s: Array
    end_s: Array
    coherence: float
    renewed_s: float  # a moment at which the quota is renewed

    @property
    def woken_s(self) -> Array:
        """The renewal that ended each silence: up to one piece of work before anybody saw it end, and never after."""
        # Clocks and renewals jitter: a wake-up shortly before a renewal was made by it.
        return np.minimum(self.end_s, self._renewal_before(self.end_s + PERIOD_S / 10))

    @property
    def exhausted_s(self) -> Array:
        """The renewal of the quota that was used up when each silence began."""
        return self._renewal_before(self.begin_s)

    @property
    def whole_periods(self) -> Array:
        """How many periods each silence lasted from their begin to their end."""
        return np.asarray(np.maximum(0.0, np.round((self.woken_s - self.exhausted_s) / PERIOD_S) - 1))

    def of(self, chosen: NDArray[np.bool_]) -> Stalls:
        """Some of the silences."""
        return replace(self, begin_s=self.begin_s[chosen], end_s=self.end_s[chosen])

    def _renewal_before(self, time_s: Array) -> Array:
        return np.asarray(self.renewed_s + np.floor((time_s - self.renewed_s) / PERIOD_S + 1e-9) * PERIOD_S)

    def touches(self, since_s: Array, until_s: Array) -> NDArray[np.bool_]:
        """Which of the intervals overlap a silence."""
        if not len(self.end_s):
            return np.zeros(len(since_s), dtype=bool)
        following = np.searchsorted(self.end_s, since_s)  # the first silence that ends after `since_s`
        begin_s = np.append(self.begin_s, np.inf)[following]
        return np.asarray(begin_s < until_s)


@dataclass(frozen=True)
class Throttled:
    """What the spans say about a service under a CPU limit.

    `limit` is as found by replay, `seen_quota_s` what the spans show of its quota; `share` is the share of the calls that met a
    silence, `beats` the number of times that background work was seen.
    `work_s` holds processor seconds by operation; `round_trip_s` network
    seconds there and back by caller, from calls that met no silence and no other call.
    """

    service: str
    limit: CpuLimit
    seen_quota_s: float
    beats: int
    calls: int
    stalls: int
    coherence: float
    share: float
    recorded_wait_s: float
    work_s: dict[str, Array]
    round_trip_s: dict[str, Array]


@dataclass(frozen=True)
class Suspicion:
    """A service with stalls on the beat that are too rare, or too entangled with its own calls, to be modelled as a limit."""

    service: str
    stalls: int
    coherence: float
    share: float
    reason: str


@dataclass(frozen=True)
class _Calls:
    """All calls to one service, sorted by departure from it, on the callee's clock.

    A call that left no span of the callee was done when its answer set out, if that took the fastest way back.
    """

    address: NDArray[np.str_]
    caller: NDArray[np.str_]
    left_s: Array  # the caller began to wait
    back_s: Array  # the caller had the answer
    started_s: Array  # NaN if the callee was not recorded
    ended_s: Array
    done_s: Array  # `ended_s`, also of those that were not recorded
    trace: NDArray[np.int64]
    way_s: float  # the fastest way there


def find_throttled(recording: Recording) -> tuple[list[Throttled], list[Suspicion]]:
    """Services that a CPU limit slows down noticeably, and those that only look like it.

    A service is modelled when at least a tenth of its calls met a silence, the wake-ups keep the beat (R ≥ 0.7, at
    least 20 of them), and it makes no calls itself: one worker then serves call after call, as an event loop does.
    """
    found: list[Throttled] = []
    suspicions: list[Suspicion] = []
    duration_s = recording.roots[-1].start_s - recording.roots[0].start_s
    calling = {visit.address.split(".")[0] for visit in recording.visits() if visit.calls}
    by_service: dict[str, list[tuple[int, str, RecordedCall]]] = {}
    for trace, root in enumerate(recording.roots):
        for visit in root.with_callees():
            for call in visit.calls:
                by_service.setdefault(call.target.split(".")[0], []).append((trace, visit.address.split(".")[0], call))
    for service, pairs in by_service.items():
        if recording.pods.get(service, 0) != 1:
            continue
        calls = _gather(pairs)
        stalls = _stalls(calls, _own_calls(recording, service) if service in calling else None)
        if len(stalls.end_s) < _LEAST_STALLS or stalls.coherence < _LEAST_COHERENCE:
            continue
        share = float(stalls.touches(calls.left_s, calls.back_s).mean())
        facts = (service, len(stalls.end_s), stalls.coherence, share)
        if share < _LEAST_SHARE:
            suspicions.append(Suspicion(*facts, "too rare to matter; the waiting is part of its laws"))
        elif service in calling:
            suspicions.append(Suspicion(*facts, "it makes calls itself, so the waiting cannot be told from theirs"))
        else:
            found.append(_measure(service, calls, stalls, share, duration_s))
    return found, suspicions


def _gather(triples: list[tuple[int, str, RecordedCall]]) -> _Calls:
    calls = [call for _, _, call in triples]
    callers = np.array([caller for _, caller, _ in triples])
    left_s = np.array([call.start_s for call in calls])
    back_s = np.array([call.end_s for call in calls])
    started_s = np.array([call.visit.start_s if call.visit else np.nan for call in calls])
    ended_s = np.array([call.visit.end_s if call.visit else np.nan for call in calls])
    recorded = ~np.isnan(started_s)
    ways = []
    for caller in np.unique(callers[recorded]):
        mine = (callers == caller) & recorded
        # Clocks of two pods differ: the fastest way there and the fastest way back are taken to be equally long.
        there_s, back_way_s = np.min(started_s[mine] - left_s[mine]), np.min(back_s[mine] - ended_s[mine])
        ahead_s = (there_s - back_way_s) / 2
        left_s[callers == caller] += ahead_s
        back_s[callers == caller] += ahead_s
        ways.append((there_s + back_way_s) / 2)
    way_s = max(0.0, min(ways, default=0.0))
    done_s = np.where(recorded, ended_s, np.maximum(left_s + way_s, back_s - way_s))
    order = np.argsort(done_s, kind="stable")
    return _Calls(
        address=np.array([call.target for call in calls])[order],
        caller=callers[order],
        left_s=left_s[order],
        back_s=back_s[order],
        started_s=started_s[order],
        ended_s=ended_s[order],
        done_s=done_s[order],
        trace=np.array([trace for trace, _, _ in triples])[order],
        way_s=way_s,
    )


def _own_calls(recording: Recording, service: str) -> tuple[Array, Array]:
    calls = [call for v in recording.visits() if v.address.split(".")[0] == service for call in v.calls]
    return np.sort([call.start_s for call in calls]), np.sort([call.end_s for call in calls])


def _stalls(calls: _Calls, own: tuple[Array, Array] | None) -> Stalls:
    recorded = ~np.isnan(calls.started_s)
    moments = np.sort(np.concatenate([calls.started_s[recorded], calls.done_s, *(own or ())]))
    silent = np.flatnonzero(np.diff(moments) > _SILENCE_S)
    begin_s, end_s = moments[silent], moments[silent + 1]
    middle_s = (begin_s + end_s) / 2

    def are_open(starts: Array, ends: Array) -> NDArray[np.bool_]:
        open_now = np.searchsorted(np.sort(starts), middle_s) - np.searchsorted(np.sort(ends), middle_s)
        return np.asarray(open_now > 0)

    waited_for = are_open(calls.left_s, calls.back_s)
    if own is not None:  # it may simply have waited for somebody else
        waited_for &= ~are_open(*own)
    begin_s, end_s = begin_s[waited_for], end_s[waited_for]
    if not len(end_s):
        return Stalls(begin_s, end_s, 0.0, 0.0)
    coherence = float(abs(np.exp(2j * np.pi * end_s / PERIOD_S).mean()))
    return Stalls(begin_s, end_s, coherence, _renewed_s(end_s))


def _renewed_s(woken_s: Array) -> float:
    """Where the beat lies: the start of the shortest stretch of a period that holds half of the wake-ups.

    They crowd behind the renewal. The earliest ones would not do: some silences end by themselves, at any moment.
    """
    phases_s = np.sort(woken_s % PERIOD_S)
    half = (len(phases_s) + 1) // 2
    twice_s = np.concatenate([phases_s, phases_s + PERIOD_S])
    lengths_s = twice_s[half - 1 : half - 1 + len(phases_s)] - phases_s
    return float(phases_s[np.argmin(lengths_s)])


def _measure(service: str, calls: _Calls, stalls: Stalls, share: float, duration_s: float) -> Throttled:
    recorded = ~np.isnan(calls.started_s)
    arrived_s = calls.left_s + calls.way_s
    # Effective process time: from when the server could begin (the call had come, the one before was done) to its end.
    before_s = np.concatenate([[-np.inf], np.maximum.accumulate(calls.done_s)[:-1]])
    began_s = np.minimum(np.maximum(arrived_s, before_s), calls.done_s)
    disturbed = stalls.touches(calls.left_s, calls.back_s)
    round_trip_s = _round_trips(calls, recorded & ~disturbed & (before_s <= arrived_s))
    network_s = float(np.mean(np.concatenate(list(round_trip_s.values()))))
    wait_s = float((calls.back_s - calls.left_s).mean())
    beat = _beat(stalls)
    by_background = stalls.whole_periods >= 1 if beat is not None else np.zeros(len(stalls.begin_s), dtype=bool)
    server = _Server(began_s, calls.done_s, stalls, by_background)
    seen_quota_s = server.quota_s(disturbed)
    seconds = server.work_s(seen_quota_s)
    known = recorded & ~stalls.of(by_background).touches(began_s, calls.done_s)
    work_s = {str(address): seconds[known & (calls.address == address)] for address in np.unique(calls.address[recorded])}
    limit = _limit(calls, duration_s, seen_quota_s, beat, work_s, network_s, wait_s)
    return Throttled(
        service=service,
        limit=limit,
        seen_quota_s=seen_quota_s,
        beats=0 if beat is None else beat.number,
        calls=len(calls.left_s),
        stalls=len(stalls.end_s),
        coherence=stalls.coherence,
        share=share,
        recorded_wait_s=wait_s,
        work_s=work_s,
        round_trip_s=round_trip_s,
    )


def _round_trips(calls: _Calls, alone: NDArray[np.bool_]) -> dict[str, Array]:
    """Network seconds there and back by caller, from calls that met no silence and no other call."""
    found = {} if alone.any() else {str(calls.caller[0]): np.array([2 * calls.way_s])}
    for caller in map(str, np.unique(calls.caller[alone])):
        back_s = np.maximum(0.0, (calls.back_s - calls.ended_s)[alone & (calls.caller == caller)])
        found[caller] = calls.way_s + np.minimum(back_s, np.quantile(back_s, NETWORK_QUANTILE))
    return found


@dataclass(frozen=True)
class _Beat:
    """Background work as silences show it: how often, at which distance, and how many quotas each took."""

    number: int
    every_s: float
    quotas: float


def _beat(stalls: Stalls) -> _Beat | None:
    """The beat of the silences that last whole periods; None if they are few, or come at random.

    The distance is the median, because now and then one goes unseen: nobody called meanwhile. Work of w quotas that begins
    anywhere in a period meets w renewals on average.
    """
    whole = stalls.whole_periods
    begin_s, end_s, renewals = stalls.begin_s[whole >= 1], stalls.end_s[whole >= 1], whole[whole >= 1] + 1
    if len(begin_s) < _LEAST_BEATS:
        return None
    # A call that slips through in the middle parts one piece of background work in two silences.
    first = np.concatenate([[True], begin_s[1:] - end_s[:-1] > PERIOD_S])
    distances_s = np.diff(begin_s[first])
    number = int(first.sum())
    if number < _LEAST_BEATS or distances_s.std() > _MOST_IRREGULAR * distances_s.mean():
        return None
    return _Beat(number, float(np.median(distances_s)), float(renewals.sum() / number))


class _Server:
    """When a pod worked, and when it stood still.

    Args:
        began_s: for each call when the server could begin: the call had come, the one before was done.
        ended_s: when the call was done; sorted.
        stalls: the pod's silences.
        by_background: which of them are background work.
    """

    def __init__(self, began_s: Array, ended_s: Array, stalls: Stalls, by_background: NDArray[np.bool_]) -> None:
        self._by_background = by_background
        self._began_s = began_s
        self._ended_s = ended_s
        self._stalls = stalls
        moments = np.stack([began_s, ended_s], axis=1).ravel()
        self._busy = moments, np.concatenate([[0.0], np.cumsum(np.diff(moments) * (np.arange(len(moments) - 1) % 2 == 0))])
        edges = np.stack([stalls.begin_s, stalls.end_s], axis=1).ravel()
        self._silent = edges, np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0))])

    def _active_s(self, since_s: Array, until_s: Array) -> Array:
        busy_s, silent_s = (np.interp(until_s, *what) - np.interp(since_s, *what) for what in (self._busy, self._silent))
        return np.asarray(np.maximum(0.0, busy_s - silent_s))

    def _seen_s(self) -> Array:
        """For each silence the work that its period saw before: between events, and from the renewal to the first event."""
        stalls = self._stalls
        exhausted_s = stalls.exhausted_s
        previous_ended_s = np.concatenate([[-np.inf], stalls.end_s[:-1]])
        first_s = np.where(previous_ended_s > exhausted_s, previous_ended_s - exhausted_s, 0.0)
        return np.asarray(first_s + self._active_s(exhausted_s, stalls.begin_s))

    def quota_s(self, disturbed: NDArray[np.bool_]) -> float:
        """Processor seconds in a period: the work that was seen, and on average half of the piece that was cut off.

        The piece that is cut off is a long one more often than not: its rest has the mean E[w²] / 2 E[w].
        """
        seen_s = self._seen_s()[~self._by_background]
        seen_s = np.minimum(seen_s, np.quantile(seen_s, 0.98))  # once in a while a clock jumps or a wake-up goes unseen
        whole_s = (self._ended_s - self._began_s)[~disturbed]
        if not whole_s.any():
            whole_s = np.diff(self._ended_s)
        return float(seen_s.mean() + (whole_s**2).mean() / (2 * whole_s.mean()))

    def work_s(self, quota_s: float) -> Array:
        """Processor seconds of each call: without the silences, but with what went on in them unseen.

        The call that was open when a silence began used up the quota of that period and of those that were silent throughout;
        the call that ended it had worked since the renewal.
        """
        stalls = self._stalls
        work_s = self._active_s(self._began_s, self._ended_s)
        before_s = np.maximum(0.0, quota_s - self._seen_s()) + quota_s * stalls.whole_periods
        for moments_s, unseen_s in ((stalls.begin_s, before_s), (stalls.end_s - 1e-9, stalls.end_s - stalls.woken_s)):
            place = np.searchsorted(self._began_s, moments_s, side="right") - 1
            at_work = (place >= 0) & (moments_s < self._ended_s[np.maximum(place, 0)])
            np.add.at(work_s, place[at_work], unseen_s[at_work])
        return work_s


def _limit(
    calls: _Calls,
    duration_s: float,
    seen_quota_s: float,
    beat: _Beat | None,
    work_s: dict[str, Array],
    round_trip_s: float,
    wait_s: float,
) -> CpuLimit:
    """The limit with which the replayed traces wait as long as recorded, by trying quotas; to three digits."""
    rng = np.random.default_rng(0)  # the estimate must not change from day to day

    def limit(quota_s: float) -> CpuLimit:
        quota_s = min(quota_s, PERIOD_S)
        background = None
        if beat is not None:
            background = Background(every=_three_digits(beat.every_s), work=_three_digits(beat.quotas * quota_s))
        return CpuLimit(quota=quota_s, period=PERIOD_S, background=background)

    def waits(replayed_calls: int) -> Callable[[float], float]:
        """How long calls wait at a quota, as a multiple of the recorded wait."""
        shape = max(2, replayed_calls // len(calls.left_s)), len(calls.left_s)
        replay = _Replay(calls, rng.uniform(0, duration_s, shape), duration_s, round_trip_s)
        seconds = np.zeros(shape)
        for address, known in work_s.items():
            # From the law that will be written: near saturation a percent more work is several percent more waiting.
            mine = calls.address == address
            seconds[:, mine] = np.interp(rng.random((shape[0], int(mine.sum()))), *quantiles_of(known))
        all_seconds = seconds.ravel().tolist()
        return lambda quota_s: replay.mean_wait_s(all_seconds, CpuGate(limit(quota_s), 0.0)) / wait_s

    rough = waits(_ROUGH)
    low_s, high_s = 0.25 * seen_quota_s, 5 * seen_quota_s
    for _ in range(9):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if rough(middle_s) > 1 else (low_s, middle_s)
    fine = waits(_FINE)
    # Over a few percent the logarithm of the wait is nearly a straight line.
    quotas_s = [0.95 * high_s, 1.05 * high_s]
    logs = [math.log(fine(quota_s)) for quota_s in quotas_s]
    return limit(_three_digits(quotas_s[0] - logs[0] * (quotas_s[1] - quotas_s[0]) / (logs[1] - logs[0])))


def _three_digits(seconds: float) -> float:
    return float(f"{seconds:.3g}")


class _Replay:
    """The recorded traces, many times over, each beginning at a random moment of its round and keeping its own pauses."""

    def __init__(self, calls: _Calls, begins_s: Array, duration_s: float, round_trip_s: float) -> None:
        self._round_trip_s = round_trip_s
        self._calls = len(calls.left_s)
        self._first: list[tuple[float, int]] = []  # when a call comes that waits for no other, and which
        self._after: list[list[tuple[int, float]]] = [[] for _ in calls.left_s]  # who follows an answer, after which pause
        by_trace: dict[int, list[int]] = {}
        for i in np.argsort(calls.left_s, kind="stable").tolist():
            by_trace.setdefault(int(calls.trace[i]), []).append(i)
        for members in by_trace.values():
            self._arrange(calls, members, begins_s, duration_s)

    def _arrange(self, calls: _Calls, members: list[int], begins_s: Array, duration_s: float) -> None:
        left_s, back_s = calls.left_s, calls.back_s
        for place, i in enumerate(members):
            done = [j for j in members[:place] if back_s[j] <= left_s[i]]
            if done:
                previous = max(done, key=lambda j: back_s[j])
                self._after[previous].append((i, float(left_s[i] - back_s[previous])))
                continue
            for number, begin_s in enumerate(begins_s[:, members[0]].tolist()):
                later_s = float(left_s[i] - left_s[members[0]])
                self._first.append((number * duration_s + begin_s + later_s, number * self._calls + i))

    def mean_wait_s(self, work_s: list[float], gate: CpuGate) -> float:
        """Mean wait of all calls at one worker behind the gate, the network included."""
        calls, round_trip_s = self._calls, self._round_trip_s
        coming = self._first.copy()
        heapify(coming)
        free_s, total_s = 0.0, 0.0
        while coming:
            arrival_s, which = heappop(coming)
            free_s = gate.ends_s(max(arrival_s, free_s), work_s[which])
            total_s += free_s - arrival_s + round_trip_s
            number, i = divmod(which, calls)
            for j, pause_s in self._after[i]:
                heappush(coming, (free_s + round_trip_s + pause_s, number * calls + j))
        return total_s / len(work_s)


def describe(throttled: Throttled) -> str:
    """The evidence in one line, for comments and reports."""
    return (
        f"{throttled.stalls} silences of the pod while calls were open, ended on the beat of {PERIOD_S * 1e3:.0f} ms "
        f"(coherence {throttled.coherence:.2f}), met by {throttled.share:.0%} of {throttled.calls} calls"
    )
