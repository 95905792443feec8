"""Calibration: recorded spans in, a scenario with the same services, calls, laws and load out.

::

    root span ──┐                         entry operation of the mix, one for each page
      client span ──┐                     call step
        server span ──┐                   operation; work law = server span - what its calls cover + waiting in front of it
                                          link law: client span - server span, half of it each way; what exceeds the 90th
                                          percentile is taken for waiting in front of the handler, not for network

Measured: services, operations, calls and how often, work, network, rate and mix. Assumed: Poisson arrivals or, where the users'
pauses are known, users who wait for their answers; no limit of workers; independence of everything that no CPU limit ties
together. `Calibration.recorded` and `compare_pages` show how far that carries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from sim.errors import ScenarioError
from sim.interop.fitting import law_of, milliseconds, one_way_s, steps_of
from sim.interop.pages import Page, find_pages, page_of
from sim.interop.spans import RecordedVisit, Recording, read_spans
from sim.interop.throttling import NETWORK_QUANTILE, Throttled, describe, find_throttled
from sim.interop.users import AT_ONCE_S, find_users
from sim.interop.written import yaml_text
from sim.laws import Law
from sim.records import GOOD_OUTCOMES
from sim.scenario.edges import operations_of
from sim.scenario.edges import steps_of as scenario_steps
from sim.scenario.model import Scenario
from sim.scenario.services import Call, Work
from sim.units import parse
from sim.values import dump_law

if TYPE_CHECKING:
    import pandas as pd

#: An operation gets a law of its own for a page from this many recordings on,
_LEAST_VISITS = 30
#: if its median or its 90th percentile differ by more than these parts from those of all pages together.
_MEDIAN_DIFFERS, _P90_DIFFERS = 0.10, 0.20

Pair = tuple[str, str]


@dataclass(frozen=True)
class Calibration:
    """A scenario derived from a recording, with what it was derived from.

    `pages` are the kinds of requests, most frequent first; `throttled` the services under a CPU limit; `warnings` what was left
    out or looks odd. `data` and `comments` are what `to_yaml` writes.
    """

    recording: Recording
    pages: tuple[Page, ...]
    throttled: tuple[Throttled, ...]
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)
    comments: Mapping[tuple[str, ...], str] = field(repr=False)

    def to_yaml(self, base: str | None = None) -> str:
        """The scenario as a YAML file, with the origin of its numbers in comments.

        Args:
            base: path of a scenario file with the same services: then only the load is written, as a change of that one.
        """
        if base is None:
            return yaml_text(self.data, self.comments)
        data = {"base": base, "name": self.data["name"], "load": self.data["load"]}
        file = Path(self.recording.name).name
        return yaml_text(data, {**self.comments, (): f"The users behind {file}; the system is that of {base}."})

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, read from the very text that `to_yaml` writes."""
        from sim.scenario.yaml import loads

        scenario = loads(self.to_yaml(), f"calibration of {self.recording.name}")
        assert isinstance(scenario, Scenario)
        return scenario

    @cached_property
    def recorded(self) -> pd.DataFrame:
        """One row per recorded trace: `trace`, `page` (its entry operation), `arrived_s`, `latency_s`."""
        return _recorded(self.recording, self.pages)


def calibrate(
    source: str | Path | pd.DataFrame,
    *,
    name: str | None = None,
    duration: str | float = "5min",
    page_names: Mapping[str, str] | None = None,
    unrecorded: Mapping[str, str] | None = None,
    think: Any = None,
) -> Calibration:
    """Derive a scenario from recorded spans (see `sim.interop.spans` for the columns).

    Args:
        source: a CSV file, gzip or not, or a DataFrame.
        name: of the scenario; absent: the file's name.
        duration: measured time of the scenario's runs.
        page_names: better names for pages, for example ``{"list_products": "home"}``.
        unrecorded: calls whose callee left no span, ``{"checkout.Convert": "currency.Convert"}``.
        think: the law of the users' pauses, as a scenario has it (``"5s"``, ``{"uniform": {"low": "1s", "high": "10s"}}``), if it
            is known: then the load is closed, with as many users as it takes (see `sim.interop.users`).

    The laws cannot produce what the recording did not have: a load far from the recorded one, or a limit of workers that was
    never reached, is beyond them. Record under load if the question is about load.

    Raises:
        ScenarioError: the recording cannot be read, or holds too little.
    """
    try:
        parse(duration, "duration")
    except ValueError as exc:
        raise ScenarioError(f"duration: {exc}") from exc
    pause = None if think is None else _pause(think)
    recording = read_spans(source, unrecorded=unrecorded)
    if len(recording.roots) < 2:
        raise ScenarioError(f"{recording.name}: one usable trace is not enough for a rate; record at least some dozens")
    pages = find_pages(recording.roots, dict(page_names or {}), recording.name)
    draft = _Draft(recording, pages)
    stem = Path(recording.name).name.split(".")[0] if name is None else name
    data = {
        "name": stem,
        "run": {"duration": duration if isinstance(duration, str) else f"{duration:g}s", "warmup": "20s"},
        "load": draft.load() if pause is None else draft.users(pause),
        "services": draft.services(),
        "links": draft.links(),
        "laws": draft.laws,
    }
    if not data["links"]:
        del data["links"]
    if not data["laws"]:
        del data["laws"]
    draft.comments[()] = draft.header(unrecorded or {}, open_load=pause is None)
    return Calibration(
        recording=recording,
        pages=pages,
        throttled=tuple(draft.throttled.values()),
        warnings=tuple(draft.warnings),
        data=data,
        comments=draft.comments,
    )


def _pause(think: Any) -> Law:
    try:
        return Work(work=think).work
    except ValidationError as exc:
        raise ScenarioError(f"think: {exc.errors()[0]['msg'].removeprefix('Value error, ')}") from exc


class _Draft:
    """The scenario in the making: laws and comments gather while the parts are written."""

    def __init__(self, recording: Recording, pages: Sequence[Page]) -> None:
        self.recording = recording
        self.pages = pages
        self.laws: dict[str, Any] = {}
        self.comments: dict[tuple[str, ...], str] = {}
        self.warnings = list(recording.warnings)
        throttled, suspicions = find_throttled(recording)
        self.throttled = {found.service: found for found in throttled}
        self.warnings += [
            f"{recording.name}: {s.service} stood still {s.stalls} times on the beat of a CPU limit "
            f"(coherence {s.coherence:.2f}, {s.share:.1%} of its calls): {s.reason}"
            for s in suspicions
        ]
        self.of_page: dict[str, list[RecordedVisit]] = {page.address: [] for page in pages}
        self._sort_by_page()
        self.round_trips_s: dict[Pair, list[float]] = {}
        self.server_s: dict[RecordedVisit, float] = {root: root.own_s for root in recording.roots}
        self._part_network_from_server()
        self.variants = self._find_variants()
        self.operations = self._gather_operations()

    def _sort_by_page(self) -> None:
        strange = 0
        for root in self.recording.roots:
            page = page_of(root, self.pages)
            if page is None:
                strange += 1
            else:
                self.of_page[page.address].append(root)
        if strange:
            self.warnings.append(f"{self.recording.name}: {strange} traces of rare kinds, like no page, are left out")

    def _part_network_from_server(self) -> None:
        """Give every called visit its seconds at the server, and every pair of services its round trips."""
        calls: dict[Pair, list[tuple[RecordedVisit, float]]] = {}
        negative = total = 0
        for visit in (visit for roots in self.of_page.values() for root in roots for visit in root.with_callees()):
            for call in visit.calls:
                pair = visit.address.split(".")[0], call.target.split(".")[0]
                between = calls.setdefault(pair, [])
                if call.visit is not None:
                    total += 1
                    negative += call.network_s < 0
                    between.append((call.visit, max(0.0, call.network_s)))
        if negative:
            self.warnings.append(
                f"{self.recording.name}: {negative} of {total} calls end at the caller before they end at the callee; their "
                "network time is taken as zero"
            )
        for pair, between in calls.items():
            longest_s = float(np.quantile([s for _, s in between], NETWORK_QUANTILE)) if between else 0.0
            for visit, seconds in between:
                self.server_s[visit] = visit.own_s + max(0.0, seconds - longest_s)
            self.round_trips_s[pair] = [min(seconds, longest_s) for _, seconds in between]
        for (caller, callee), seconds_between in self.round_trips_s.items():
            if callee in self.throttled:
                undisturbed = self.throttled[callee].round_trip_s
                own = undisturbed.get(caller, np.concatenate(list(undisturbed.values())))
                self.round_trips_s[caller, callee] = own.tolist()
            elif not seconds_between:  # no callee of this pair was recorded: as from its other callers
                self.round_trips_s[caller, callee] = [
                    s for (_, to), others in self.round_trips_s.items() if to == callee for s in others
                ]

    def _find_variants(self) -> dict[tuple[str, str], str]:
        """Called operations that take clearly longer or shorter for one page: (page, operation) to the variant's name."""
        seconds_of: dict[str, dict[str, list[float]]] = {}
        for page, roots in self.of_page.items():
            for call in (call for root in roots for call in root.calls if call.visit is not None):
                assert call.visit is not None
                seconds_of.setdefault(call.target, {}).setdefault(page, []).append(self.server_s[call.visit])
        variants: dict[tuple[str, str], str] = {}
        for target, by_page in seconds_of.items():
            if len(by_page) == 1 or target.split(".")[0] in self.throttled:
                continue
            median, p90 = np.quantile(np.concatenate([np.array(x) for x in by_page.values()]), (0.5, 0.9))
            for page, seconds in by_page.items():
                mine, mine_p90 = np.quantile(seconds, (0.5, 0.9))
                differs = abs(mine - median) > _MEDIAN_DIFFERS * median or abs(mine_p90 - p90) > _P90_DIFFERS * p90
                if differs and len(seconds) >= _LEAST_VISITS:
                    variants[page, target] = f"{target}-{page.split('.')[1]}"
        return variants

    def _gather_operations(self) -> dict[str, list[RecordedVisit]]:
        """Visits by the operation that they become, entry operations first, callers before callees."""
        found: dict[str, list[RecordedVisit]] = {page: list(roots) for page, roots in self.of_page.items()}
        for page, roots in self.of_page.items():
            for root in roots:
                for visit in root.with_callees():
                    for call in visit.calls:
                        name = self.variants.get((page, call.target), call.target) if visit is root else call.target
                        if call.visit is not None:
                            found.setdefault(name, []).append(call.visit)
        called = {call.target for visits in found.values() for visit in visits for call in visit.calls}
        unknown = called - set(found) - {target for _, target in self.variants}
        if unknown:
            raise ScenarioError(
                f"{self.recording.name}: unrecorded calls lead to {', '.join(sorted(unknown))}, which was never recorded; "
                f"known: {', '.join(sorted(set(found) - set(self.of_page)))}"
            )
        return found

    def load(self) -> dict[str, Any]:
        """Rate and mix, as recorded."""
        arrivals = np.array([root.start_s for roots in self.of_page.values() for root in roots])
        arrivals.sort()
        gaps = np.diff(arrivals)
        if arrivals[-1] <= arrivals[0]:
            raise ScenarioError(f"{self.recording.name}: all traces begin at the same moment; a rate needs time between them")
        self.comments["load",] = (
            f"measured: {len(arrivals)} traces in {arrivals[-1] - arrivals[0]:.1f} s; assumed: independent users (Poisson), "
            f"whose gaps have a coefficient of variation of 1; the recorded gaps have {gaps.std() / gaps.mean():.2f}"
        )
        rate = len(gaps) / (arrivals[-1] - arrivals[0])
        return {"rate": f"{rate:.3g}/s", "mix": {page: len(roots) for page, roots in self.of_page.items()}}

    def users(self, pause: Law) -> dict[str, Any]:
        """A closed load that asks as often as recorded, by users who pause between an answer and their next round."""
        found = find_users(_recorded(self.recording, self.pages), pause.mean, self.recording.name)
        self.comments["load",] = (
            f"measured: {found.rounds_rps:.3g} rounds a second, each of {milliseconds(found.round_s)} without its pause; what "
            f"followed an answer within {AT_ONCE_S * 1e3:.0f} ms, far more often than by chance, is what it led to.\n"
            f"assumed: the pauses, which no span shows. So many users make that many rounds: {found.rounds_rps:.3g}/s x "
            f"({found.round_s:.3g} s + {pause.mean:.3g} s)"
        )
        return found.load(dump_law(pause))

    def services(self) -> dict[str, Any]:
        """Services with their operations."""
        services: dict[str, Any] = {}
        for address, visits in self.operations.items():
            service, operation = address.split(".")
            if service not in services:
                services[service] = {**self._workers(service), "operations": {}}
            services[service]["operations"][operation] = self._steps(address, visits)
        return services

    def _workers(self, service: str) -> dict[str, Any]:
        pods = self.recording.pods[service]
        replicas = {"replicas": pods} if pods > 1 else {}
        throttled = self.throttled.get(service)
        if throttled is None:
            return {**replicas, "workers": "unlimited"}
        limit = throttled.limit
        self.comments["services", service] = (
            f"measured: {describe(throttled)}.\n"
            "With this quota the recorded traces, replayed from random moments, wait as long as recorded "
            f"({milliseconds(throttled.recorded_wait_s)} a call). Before a silence spans show "
            f"{milliseconds(throttled.seen_quota_s)} of work in a period.\n"
            "assumed: one worker, because less than one processor serves one call at a time"
        )
        cpu: dict[str, Any] = {"quota": f"{limit.quota * 1e3:.4g}ms", "period": f"{limit.period * 1e3:g}ms"}
        if limit.background is not None:
            self.comments["services", service] += (
                f"\nbackground: {throttled.beats} times the pod stood still for whole periods, at regular distances, whether "
                "calls came or not; the distance is the median, the work as many quotas as renewals passed"
            )
            cpu["background"] = {
                "every": f"{limit.background.every:.4g}s",
                "work": f"{limit.background.work * 1e3:.4g}ms",
            }
        return {**replicas, "workers": 1, "cpu": cpu}

    def _steps(self, address: str, visits: list[RecordedVisit]) -> list[dict[str, Any]]:
        throttled = self.throttled.get(address.split(".")[0])
        work_s = throttled.work_s[address] if throttled else np.array([self.server_s[visit] for visit in visits])
        law = law_of(work_s)
        service, operation = address.split(".")
        name = f"{service}_{operation}"
        if isinstance(law, str):
            work: list[dict[str, Any]] = [] if law == "0ms" else [{"work": law}]
        else:
            self.laws[name] = law
            what = ", processor time" if throttled else ""
            self.comments["laws", name] = f"{len(work_s)} runs{what}, mean {milliseconds(float(np.mean(work_s)))}"
            work = [{"work": name}]

        def rename(target: str) -> str:
            return self.variants.get((address, target), target)

        return work + steps_of(visits, rename)

    def links(self) -> dict[str, Any]:
        """The network between every pair of services that talk."""
        links: dict[str, Any] = {}
        for (caller, callee), seconds in self.round_trips_s.items():
            law = law_of(one_way_s(seconds))
            if isinstance(law, str):
                links[f"{caller} -> {callee}"] = law
                continue
            name = f"way_{caller}_{callee}"
            self.laws[name] = law
            mean = milliseconds(float(np.mean(seconds)) / 2)
            self.comments["laws", name] = f"one way, from {len(seconds)} round trips, mean {mean}"
            links[f"{caller} -> {callee}"] = name
        self.comments["links",] = (
            "measured: what a caller waited longer than the callee's handler took (client span - server span), half of it each "
            "way; what exceeds its 90th percentile is taken for waiting at the callee, and is part of the operation's law"
        )
        return links

    def header(self, unrecorded: Mapping[str, str], open_load: bool) -> str:
        """What the file is, above everything."""
        file = Path(self.recording.name).name
        traces = sum(map(len, self.of_page.values()))
        lines = [
            f"Derived from recorded spans: {file}, {traces} traces, {self.recording.spans} spans.",
            "Measured: services, operations, calls and how often, work, network, rate and mix.",
            f"Assumed: {'Poisson arrivals' if open_load else 'pauses of the users'}; workers without limit (the recording shows "
            "none) except where a CPU limit shows; counts of different calls, and times of different parts, independent of each "
            "other.",
            *(f"Assumed: spans of {span} are calls of {to} whose own spans were lost." for span, to in unrecorded.items()),
        ]
        told = [f"{page.address} by {page.told_by}" for page in self.pages if page.told_by not in page.address]
        if told:
            lines.append(f"Pages are told apart by what they call: {', '.join(told)}.")
        if self.variants:
            lines.append("OPERATION-PAGE is OPERATION where its work for that page clearly differs.")
        return "\n".join([*lines, *(f"Note: {warning.replace(self.recording.name, file)}" for warning in self.warnings)])


def recorded_pages(
    source: str | Path | pd.DataFrame, scenario: Scenario, *, unrecorded: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The traces of another recording, told apart by the pages of a scenario: `trace`, `page`, `arrived_s`, `latency_s`.

    A trace belongs to the entry operation whose calls are most like its own; one that is like none gets no row. For a
    comparison with a recording that the scenario has not seen.
    """
    recording = read_spans(source, unrecorded=unrecorded)
    operations = operations_of(scenario)
    pages = []
    for entry in scenario.load.mix:
        suffix = f"-{entry.split('.')[1]}"
        calls = [step.call for _, step in scenario_steps(operations[entry].steps, "") if isinstance(step, Call)]
        pages.append(Page(entry, None, frozenset(call.removesuffix(suffix) for call in calls)))
    return _recorded(recording, pages)


def _recorded(recording: Recording, pages: Sequence[Page]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for trace, root in zip(recording.traces, recording.roots, strict=True):
        page = page_of(root, pages)
        if page is not None:
            rows.append((trace, page.address, root.start_s, root.end_s - root.start_s))
    return pd.DataFrame(rows, columns=["trace", "page", "arrived_s", "latency_s"])


def compare_pages(
    recorded: pd.DataFrame, simulated: pd.DataFrame, *, since_s: float = 0.0, until_s: float = math.inf
) -> pd.DataFrame:
    """Recorded against simulated latencies, one row per page, most frequent first.

    Args:
        recorded: `Calibration.recorded` or `recorded_pages`.
        simulated: a run's requests (or several runs' put together); answered ones count.
        since_s: simulated requests that arrive earlier (the warm-up) do not count.
        until_s: nor do those that arrive later.

    Columns: `page`, `traces`, `requests`, and for the median and the 90th percentile (X = `median`, `p90`): `recorded_X_s`, its
    95 % interval `recorded_X_low_s` to `recorded_X_high_s`, `simulated_X_s`, `X_error_percent`; NaN where nothing was simulated.

    A few dozen traces do not fix a percentile, hence the interval: from order statistics, as if traces were independent, so
    it is rather too narrow.
    """
    import pandas as pd

    within = simulated["outcome"].isin(GOOD_OUTCOMES) & simulated["arrived_s"].between(since_s, until_s, inclusive="left")
    answered = simulated[within]
    latencies = (answered["ended_s"] - answered["arrived_s"]).groupby(answered["entry"].astype(str))
    by_page = {str(page): np.sort(seconds.to_numpy()) for page, seconds in latencies}
    rows = []
    for page, traces in Counter(recorded["page"]).most_common():
        real = np.sort(recorded.loc[recorded["page"] == page, "latency_s"].to_numpy())
        model = by_page.get(page, np.array([]))
        row: dict[str, Any] = {"page": page, "traces": traces, "requests": len(model)}
        for label, p in (("median", 0.5), ("p90", 0.9)):
            value, modelled = float(np.quantile(real, p)), float(np.quantile(model, p)) if len(model) else math.nan
            low, high = _interval(real, p)
            row |= {f"recorded_{label}_s": value, f"recorded_{label}_low_s": low, f"recorded_{label}_high_s": high}
            error = 100 * (modelled / value - 1) if value > 0 else math.nan
            row |= {f"simulated_{label}_s": modelled, f"{label}_error_percent": error}
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(ordered: np.ndarray[Any, np.dtype[np.float64]], p: float) -> tuple[float, float]:
    """Values between which the true quantile lies with about 95 %: ranks n·p ± 1.96 √(n·p·(1-p)); open ends are the extremes."""
    n = len(ordered)
    spread = 1.96 * math.sqrt(n * p * (1 - p))
    low, high = math.floor(n * p - spread), math.ceil(n * p + spread)
    return float(ordered[max(0, low)]), float(ordered[min(n - 1, high)])
