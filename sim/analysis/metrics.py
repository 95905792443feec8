"""The numbers of one replication: what its requests, attempts and effects add up to.

Everything downstream (intervals, differences, objectives, the verdict) works on these numbers, one per replication.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.analysis.messages import late_replies, out_of_order, times_done, was_published
from sim.analysis.recovery import effect_recovery_s, recovery_s
from sim.records import GOOD, IN_FLIGHT, OUTCOMES
from sim.records import GOOD_OUTCOMES as GOOD_OUTCOMES

Floats = np.ndarray[Any, np.dtype[np.float64]]
Metric = tuple[str, str, float]

#: Percentiles that are always measured, in percent; objectives may ask for more.
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
#: Metrics that lie between 0 and 1, besides the `share_…` of each outcome.
RATIOS: Final = frozenset({"success", "completeness", "cross_zone", "done_though_failed"})
#: Counts of effects and messages: those of all effects are their sum.
_COUNTS: Final = (
    "duplicates", "discarded", "out_of_order", "dead", "expired", "dropped", "unfinished", "compensations",
)  # fmt: skip
_OF_EFFECTS: Final = frozenset({"completeness", "done_though_failed", "deliveries_per_message", *_COUNTS})
#: What every metric is: its unit, and what is counted.
METRICS: Final[Mapping[str, str]] = {
    "success": "ratio; measured requests answered well (ok or degraded); one in flight at the end is not",
    "offered_rps": "measured requests per second of the window",
    "throughput_rps": "requests that ended inside the window, however, per second",
    "goodput_rps": "requests that ended well inside the window, per second",
    "mean_s": "seconds; mean latency of the measured requests that were answered well",
    "pNN_s": "seconds; a percentile of the same latencies, for example p99_s",
    "share_…": "ratio; measured requests with that outcome",
    "attempts_per_request": "calls and publishes in all tiers per measured request, first tries included",
    "tries_per_call": "attempts per first try, over all calls of measured requests; NaN if attempts were not recorded",
    "tries_per_call_to": "the same of calls to one operation or queue, which stands in `of`: where retries and hedges multiply",
    "recovery_s": "seconds; from the end of the last fault until requests are answered well as before it, for good; NaN if never",
    "busy_s_per_good": "worker-seconds of all services per measured request answered well, abandoned work included",
    "cross_zone": "ratio; attempts from one zone to another, of those with a zone at both ends; only where there are zones",
    "wire_bytes_per_request": "bytes per measured request, on all links whose calls have a protocol, both ways, with headers",
    "wire_cpu_s": "seconds; processor time per measured request to write, read, compress and agree on keys",
    "first_message_s": "seconds; mean time from sending a call until the first message of its streamed answer was read",
    "new_connections_per_request": "connections begun per measured request, by callers with a protocol",
    "late_replies": "replies through a queue that came when nobody waited for them any more",
    "completeness": "ratio; effects that happened, of those asked for; of a compensation, of those that were begun",
    "done_though_failed": "ratio; measured requests that failed for the user, and whose effect happened all the same",
    "compensations": "effects that took others back: of operations that nothing but the undo of a saga asks for",
    "duplicates": "effects that happened although the request had all it asked for, those of one message again included",
    "discarded": "messages that came again after their effect, and that an idempotent consumer left alone",
    "out_of_order": "effects that happened after that of a later message with the same key in the same queue",
    "dead": "messages given up after the delivery limit",
    "expired": "messages whose time to live ended first",
    "dropped": "messages lost: no room, a node of the broker, or acknowledged before work that failed",
    "unfinished": "messages not yet acknowledged when the run ended",
    "deliveries_per_message": "deliveries to consumers per message",
    "ack_mean_s": "seconds; from the publisher's send until the broker had the message safely; also ack_pNN_s",
    "effect_mean_s": "seconds; from the request's arrival until the effect was there; also effect_pNN_s",
    "effect_recovery_s": "seconds; from the end of the last fault until effects are there as soon as before it; NaN if never",
    "busiest_over_mean": "calls of the busiest replica over those of a replica in the mean; of services called over connections",
    "calls_cv": "standard deviation over mean of the calls of replicas; of the same",
    "idle_replicas": "replicas without calls; of the same",
    "new_connections": "connections that callers made to the service in the window; those that were there are not counted",
    "deaths": "replicas that went, crashed or stopped; of services with a registry",
    "stale_mean_s": "seconds; for how long a caller process went on choosing from a replica that was gone; of the same",
    "stale_max_s": "seconds; the longest of these",
}

#: What is told of all requests, whatever the focus.
COSTS: Final = ("attempts_per_request", "busy_s_per_good")


def metric_names(percentiles: Iterable[float] = ()) -> list[str]:
    """The names of all metrics that a run may have, `METRICS` with its patterns filled in.

    Args:
        percentiles: further ones, in percent, beside `PERCENTILES`.

    >>> [name for name in metric_names([97.0]) if name.startswith("p")]
    ['p50_s', 'p90_s', 'p97_s', 'p99_s', 'p99.9_s']
    """
    times = [f"{percentile_name(percent)}_s" for percent in sorted({*PERCENTILES, *percentiles})]
    filled = {"pNN_s": times, "share_…": [f"share_{name}" for name in OUTCOMES]}
    filled |= {f"{prefix}_mean_s": [f"{prefix}_{name}" for name in ("mean_s", *times)] for prefix in ("ack", "effect")}
    return [name for metric in METRICS for name in filled.get(metric, [metric])]


def is_ratio(metric: str) -> bool:
    """Whether a metric lies between 0 and 1 by definition.

    >>> is_ratio("share_timeout"), is_ratio("goodput_rps")
    (True, False)
    """
    return metric in RATIOS or metric.startswith("share_")


#: Of these more is better, besides ratios of what is good.
_MORE_IS_BETTER: Final = ("goodput_rps", "throughput_rps", "share_ok")


def more_is_better(metric: str) -> bool:
    """Whether a candidate with more of it is the better one.

    >>> more_is_better("success"), more_is_better("share_timeout"), more_is_better("p99_s")
    (True, False, False)
    """
    return metric in _MORE_IS_BETTER or (is_ratio(metric) and not metric.startswith(("share_", "cross_", "done_")))


def is_of_effects(metric: str) -> bool:
    """Whether a metric is about effects, so that "all" means the worst of them; of counts, their sum.

    >>> is_of_effects("effect_p99_s"), is_of_effects("completeness"), is_of_effects("p99_s")
    (True, True, False)
    """
    return metric in _OF_EFFECTS or metric.startswith(("ack_", "effect_"))


def effects_in(table: pd.DataFrame) -> list[str]:
    """The effects that a table with the columns metric and of knows, in order."""
    names = table.loc[table["metric"] == "completeness", "of"].astype(str)
    return [name for name in names.unique() if name != "all"]


def percentile_name(percent: float) -> str:
    """How a percentile is called in metric names.

    >>> percentile_name(99.0), percentile_name(99.9)
    ('p99', 'p99.9')
    """
    return f"p{percent:.10g}"


def run_metrics(
    requests: pd.DataFrame,
    attempts: pd.DataFrame,
    effects: pd.DataFrame,
    totals: pd.DataFrame,
    *,
    start_s: float,
    end_s: float,
    percentiles: Iterable[float] = (),
    effects_per_request: Mapping[str, Mapping[str, int]] | None = None,
    compensations: Collection[str] = (),
    trouble_s: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Reduce one replication to numbers: a tidy table of metric, of, value (see `METRICS` for each meaning and unit).

    *Measured* requests arrive in [start_s, end_s). Rates count what ended inside that window, whenever it arrived, so
    that a system which answers late cannot be credited with more than it answered. Percentiles are those of the exact
    sample, linear between neighbours. Without a single good answer the latencies are NaN, never 0.

    `of` is "all" or the name of an entry operation, for `tries_per_call_to` what is called. For metrics of effects it is the
    operation that is the effect, or "all": of counts the sum, of everything else the worst effect, never a mixture of several.

    Args:
        requests: the table of `sim.records`, decoded, with the warm-up.
        attempts: the same; may be empty when they were not recorded.
        effects: the same; an effect counts when its request is measured, however late it happened.
        totals: the same.
        start_s: clock time at which the measured window starts.
        end_s: clock time at which it ends.
        percentiles: further ones, in percent, beside `PERCENTILES`.
        effects_per_request: for each entry operation, how many runs of each effect one of its requests asks for. It
            makes completeness a share of what *users* asked for, comparable between candidates also where a dead
            server was never reached. Where it says nothing, a request asked for an effect once if any row shows it.
        compensations: the effects that take others back. They are not among what should happen, so "all" leaves them out.
        trouble_s: clock times at which the first fault begins and the last one ends, for `recovery_s` and
            `effect_recovery_s`; absent: no such metrics.

    Raises:
        ValueError: the window is empty.
    """
    if not end_s > start_s:
        raise ValueError(f"the measured window from {start_s:g} s to {end_s:g} s is empty")
    wanted = tuple(sorted({*PERCENTILES, *percentiles}))
    rows: list[Metric] = []
    busy_s = float(totals["busy_worker_s"].sum())
    whole = _Requests.of(requests, start_s, end_s)
    tries = _Tries.of(attempts)
    for of, chosen in whole.by_entry():
        mine = whole if chosen is None else whole.only(chosen)
        rows += ((name, of, value) for name, value in _request_numbers(mine, start_s, end_s, wanted).items())
        rows.append(("tries_per_call", of, tries.per_call(mine)))
        if trouble_s is not None:
            group = requests if chosen is None else requests[chosen]
            healthy_s = recovery_s(group, start_s=start_s, fault_s=trouble_s[0], clear_s=trouble_s[1], end_s=end_s)
            rows.append(("recovery_s", of, healthy_s))
        if of == "all":
            rows.append(("busy_s_per_good", of, _ratio(busy_s, int((mine.good & mine.measured).sum()))))
    rows += tries.by_target(whole)
    if len(effects) or any(effects_per_request.values() if effects_per_request else ()):
        window = None if trouble_s is None else (start_s, *trouble_s, end_s)
        rows += _effect_rows(effects, whole, effects_per_request or {}, compensations, window, wanted)
    if (late := late_replies(effects, whole.number[whole.measured])) is not None:
        rows.append(("late_replies", "all", late))
    names, of_whom, values = zip(*rows, strict=True)
    return pd.DataFrame({"metric": names, "of": of_whom, "value": np.array(values, dtype=float)})


def _coded(column: pd.Series[Any]) -> tuple[Any, list[str]]:
    """A column of names as codes, and the names in order: that of the categories, else of the alphabet."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), [str(name) for name in column.cat.categories]
    codes, names = pd.factorize(column, sort=True)
    return codes, [str(name) for name in names]


@dataclass(frozen=True)
class _Requests:
    """The columns of some requests as arrays: reducing a short run costs less than making it, which with tables it does not."""

    number: Any
    entry: Any
    entries: Sequence[str]
    arrived_s: Floats
    ended_s: Floats
    attempts: Any
    #: Index in OUTCOMES.
    outcome: Any
    good: Any
    measured: Any

    @staticmethod
    def of(requests: pd.DataFrame, start_s: float, end_s: float) -> _Requests:
        codes, names = _coded(requests["outcome"])
        outcome = np.array([OUTCOMES.index(name) for name in names], dtype=np.int64)[codes]
        entry, entries = _coded(requests["entry"])
        arrived_s = requests["arrived_s"].to_numpy(dtype=float)
        ended_s = requests["ended_s"].to_numpy(dtype=float)
        measured = (arrived_s >= start_s) & (arrived_s < end_s)
        number, attempts = requests["request"].to_numpy(), requests["attempts"].to_numpy()
        return _Requests(number, entry, entries, arrived_s, ended_s, attempts, outcome, np.isin(outcome, GOOD), measured)

    def by_entry(self) -> Iterator[tuple[str, Any]]:
        """All, and those of each entry operation that was asked: name and which they are (None: all)."""
        yield "all", None
        there = {self.entries[code]: code for code in np.unique(self.entry)}
        for name in sorted(there):
            yield name, self.entry == there[name]

    @property
    def failed(self) -> Any:
        """Numbers of the measured ones that ended, and not well."""
        return self.number[self.measured & ~self.good & (self.outcome != IN_FLIGHT)]

    def only(self, chosen: Any) -> _Requests:
        """Those of them that are chosen."""
        columns = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__ if name != "entries"}
        return _Requests(entries=self.entries, **columns)


@dataclass(frozen=True)
class _Tries:
    """The columns of attempts as arrays."""

    request: Any
    first: Any
    target: Any
    targets: Sequence[str]

    @staticmethod
    def of(attempts: pd.DataFrame) -> _Tries:
        if not len(attempts):
            return _Tries(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), ())
        return _Tries(attempts["request"].to_numpy(), attempts["number"].to_numpy() == 1, *_coded(attempts["target"]))

    def per_call(self, requests: _Requests) -> float:
        """Attempts per first try, over all calls of the measured requests."""
        mine = np.isin(self.request, requests.number[requests.measured])
        return _ratio(int(mine.sum()), int((mine & self.first).sum()))

    def by_target(self, requests: _Requests) -> Iterator[Metric]:
        """The same of each operation or queue that is called."""
        mine = np.isin(self.request, requests.number[requests.measured])
        tries = np.bincount(self.target[mine], minlength=len(self.targets))
        calls = np.bincount(self.target[mine & self.first], minlength=len(self.targets))
        for name, tried, called in zip(self.targets, tries, calls, strict=True):
            if called:
                yield "tries_per_call_to", name, float(tried / called)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _request_numbers(requests: _Requests, start_s: float, end_s: float, percentiles: Sequence[float]) -> dict[str, float]:
    """Everything the requests of one entry (or all) say."""
    window_s = end_s - start_s
    good = requests.measured & requests.good
    # NaN, the end of what is in flight, compares as false: such a request ends in no window.
    ended = (requests.ended_s >= start_s) & (requests.ended_s < end_s)
    count = int(requests.measured.sum())
    numbers = {
        "success": _ratio(int(good.sum()), count),
        "offered_rps": count / window_s,
        "throughput_rps": int(ended.sum()) / window_s,
        "goodput_rps": int((ended & requests.good).sum()) / window_s,
    }
    numbers.update(_times("", requests.ended_s[good] - requests.arrived_s[good], percentiles))
    outcomes = np.bincount(requests.outcome[requests.measured], minlength=len(OUTCOMES))
    numbers.update({f"share_{name}": _ratio(int(outcomes[i]), count) for i, name in enumerate(OUTCOMES)})
    numbers["attempts_per_request"] = _ratio(float(requests.attempts[requests.measured].sum()), count)
    return numbers


def _times(prefix: str, durations_s: Floats, percentiles: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles of durations under names such as `p99_s`; NaN for an empty sample."""
    names = [f"{prefix}{percentile_name(percent)}_s" for percent in percentiles]
    if not len(durations_s):
        return dict.fromkeys([f"{prefix}mean_s", *names], math.nan)
    values = np.quantile(durations_s, np.asarray(percentiles) / 100)
    return {f"{prefix}mean_s": float(durations_s.mean())} | dict(zip(names, map(float, values), strict=True))


@dataclass(frozen=True)
class _Effects:
    """The columns of the effects of measured requests as arrays."""

    request: Any
    #: Index in the entries of the requests.
    entry: Any
    #: Index in `names`.
    effect: Any
    names: Sequence[str]
    arrived_s: Floats
    published_s: Floats
    acked_s: Floats
    #: NaN: it has not happened.
    done_s: Floats
    times_done: Any
    deliveries: Any
    queued: Any
    published: Any
    #: Index in `fates`.
    fate: Any
    fates: Sequence[str]
    late: Any

    @staticmethod
    def of(effects: pd.DataFrame, requests: _Requests) -> _Effects:
        codes, names = _coded(effects["effect"])
        fate, fates = _coded(effects["fate"])
        request = effects["request"].to_numpy()
        order = np.argsort(requests.number[requests.measured])
        known, entry = requests.number[requests.measured][order], requests.entry[requests.measured][order]
        place = np.minimum(np.searchsorted(known, request), max(0, len(known) - 1))
        # What lies in a queue without a consumer is no effect.
        mine = (known[place] == request) & (codes >= 0) if len(known) else np.zeros(len(effects), dtype=bool)
        times_s = {name: effects[name].to_numpy(dtype=float)[mine] for name in ("arrived_s", "published_s", "acked_s", "done_s")}
        return _Effects(
            request=request[mine],
            entry=entry[place[mine]],
            effect=codes[mine],
            names=names,
            times_done=times_done(effects).to_numpy()[mine],
            deliveries=effects["deliveries"].to_numpy()[mine],
            queued=effects["queue"].notna().to_numpy()[mine],
            published=was_published(effects).to_numpy()[mine],
            fate=fate[mine],
            fates=fates,
            late=out_of_order(effects).to_numpy()[mine],
            **times_s,
        )

    def first_times(self, chosen: Any, requests: _Requests, asking: Any) -> tuple[Floats, Floats]:
        """When each request arrived that shows or asked for one of these effects, and when it was there (infinity: never)."""
        done_s = np.where(np.isnan(self.done_s), np.inf, self.done_s)[chosen]
        order = np.argsort(done_s, kind="stable")
        shown, first = np.unique(self.request[chosen][order], return_index=True)
        without = requests.arrived_s[asking & ~np.isin(requests.number, shown)]
        found_s = self.arrived_s[chosen][order][first], done_s[order][first]
        return np.append(found_s[0], without), np.append(found_s[1], np.full(len(without), np.inf))

    def happened_for(self, chosen: Any, requests: Any) -> int:
        """For how many of the numbered requests one of these effects happened."""
        return int(np.isin(requests, self.request[chosen & ~np.isnan(self.done_s)]).sum())

    @property
    def pair(self) -> Any:
        """A number for each effect and request."""
        return self.effect.astype(np.int64) * (int(self.request.max(initial=0)) + 1) + self.request

    def useful(self, asked: Mapping[tuple[str, str], int], entries: Sequence[str]) -> Any:
        """Which of them gave a request an effect that it still needed."""
        # `done_s` decides, not the fate: an effect that happened has happened, also when its acknowledgement was lost.
        happened = np.flatnonzero(~np.isnan(self.done_s))
        pair = self.pair[happened]
        happened = happened[np.lexsort((self.done_s[happened], pair))]
        pair = np.sort(pair)
        rank = np.arange(len(pair)) - np.searchsorted(pair, pair)
        needed = np.ones(len(pair), dtype=np.int64)
        for (entry, effect), count in asked.items():
            if count > 1 and effect in self.names:
                is_it = self.effect[happened] == self.names.index(effect)
                needed[is_it & (self.entry[happened] == entries.index(entry))] = count
        found = np.zeros(len(self.request), dtype=bool)
        found[happened] = rank < needed
        return found

    def shown(self) -> Iterator[tuple[int, str]]:
        """The entry (its index) and effect of each request that shows an effect, however often."""
        _, first = np.unique(self.pair, return_index=True)
        yield from zip(self.entry[first].tolist(), (self.names[code] for code in self.effect[first]), strict=True)


def _effect_rows(
    effects: pd.DataFrame,
    requests: _Requests,
    expected: Mapping[str, Mapping[str, int]],
    compensations: Collection[str],
    window: tuple[float, float, float, float] | None,
    percentiles: Sequence[float],
) -> Iterator[Metric]:
    """The metrics of every effect, and of the worst of them; nothing where no effect exists."""
    mine = _Effects.of(effects, requests)
    counts = np.bincount(requests.entry[requests.measured], minlength=len(requests.entries))
    requests_of = {name: int(count) for name, count in zip(requests.entries, counts, strict=True) if count}
    asked = {
        (entry, effect): count
        for entry, counts_of in expected.items()
        for effect, count in counts_of.items()
        if entry in requests_of and count > 0
    }
    names = sorted({*(mine.names[code] for code in np.unique(mine.effect)), *(effect for _, effect in asked)})
    if not names:
        return
    useful = mine.useful(asked, requests.entries)
    asked_for = Counter[str]()
    for (entry, effect), count in asked.items():
        asked_for[effect] += count * requests_of[entry]
    asked_for.update(effect for entry, effect in mine.shown() if (requests.entries[entry], effect) not in asked)
    nothing = np.zeros(len(useful), dtype=bool)
    numbers: dict[str, dict[str, float]] = {}
    for name in names:
        chosen = mine.effect == mine.names.index(name) if name in mine.names else nothing
        numbers[name] = _effect_numbers(mine, chosen, useful, asked_for[name], percentiles)
        if window is not None:
            asking = [requests.entries.index(entry) for entry, effect in asked if effect == name]
            times_s = mine.first_times(chosen, requests, requests.measured & np.isin(requests.entry, asking))
            numbers[name]["effect_recovery_s"] = effect_recovery_s(*times_s, *window)
        if name in compensations:
            numbers[name]["compensations"] = float(mine.times_done[chosen].sum())
        else:
            numbers[name]["done_though_failed"] = _ratio(mine.happened_for(chosen, requests.failed), sum(requests_of.values()))
    for name, found in (("all", _of_the_worst(numbers, compensations)), *numbers.items()):
        yield from ((metric, name, value) for metric, value in found.items())


def _of_the_worst(numbers: Mapping[str, Mapping[str, float]], compensations: Collection[str]) -> dict[str, float]:
    """Of counts the sum; of everything else what the worst effect has, of those that are no compensations if there are any."""
    wanted = [found for name, found in numbers.items() if name not in compensations] or list(numbers.values())
    worst: dict[str, float] = {}
    for metric in dict.fromkeys(metric for found in numbers.values() for metric in found):
        if metric in _COUNTS:
            worst[metric] = sum(found.get(metric, 0.0) for found in numbers.values())
            continue
        values = np.array([found[metric] for found in wanted if metric in found])
        # An effect without a time never happened, which is the worst; one without an acknowledgement was called.
        known = values if metric.startswith("effect_") else values[~np.isnan(values)]
        pick = np.min if more_is_better(metric) else np.max
        worst[metric] = float(pick(known)) if len(known) else math.nan
    return worst


def _effect_numbers(
    effects: _Effects, chosen: Any, useful: Any, asked_for: int, percentiles: Sequence[float]
) -> dict[str, float]:
    complete = chosen & useful
    fates = np.bincount(effects.fate[chosen], minlength=len(effects.fates))
    ended = dict(zip(effects.fates, map(float, fates), strict=True))
    messages = effects.deliveries[chosen & effects.queued]
    ack_s = (effects.acked_s - effects.published_s)[chosen & effects.published]
    return {
        "completeness": _ratio(int(complete.sum()), asked_for),
        "duplicates": float(effects.times_done[chosen].sum() - complete.sum()),
        "discarded": ended.get("duplicate", 0.0),
        "out_of_order": float(effects.late[chosen].sum()),
        "dead": ended.get("dead", 0.0),
        "expired": ended.get("expired", 0.0),
        "dropped": ended.get("dropped", 0.0),
        "unfinished": ended.get("in_flight", 0.0),
        "deliveries_per_message": _ratio(float(messages.sum()), len(messages)),
        **_times("ack_", ack_s[~np.isnan(ack_s)], percentiles),
        **_times("effect_", (effects.done_s - effects.arrived_s)[complete], percentiles),
    }
