"""Who is served next, and who leaves: Q7, Q9, Q11 to Q13 and Q16 of the published results, and last come first served."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

import numpy as np

from sim import theory
from sim.laws import Exponential, Law
from sim.records import OK, REJECTED, TIMEOUT
from sim.scenario.model import Scenario
from sim.single import RunResult, simulate
from sim.validation.case import Case, Reading, exactly, near, poisson, scenario, service
from sim.validation.queues import LAWS, TEXTBOOK
from sim.validation.reading import (
    Column,
    Rows,
    found_in_line,
    luck_of_arrivals,
    luck_of_line,
    luck_of_work,
    measured,
    records,
    times,
)

GROUP: Final = "order and patience"
_RHO: Final = 0.8


def cases() -> Iterator[Case]:
    """All cases of order and patience."""
    yield from starmap(_shared, LAWS.items())
    yield _sizes()
    yield _feedback()
    yield _impatience()
    yield from starmap(_deadline_in_line, [(0.9, 5, 0.107306), (1.2, 10, 0.183955)])
    yield _unnoticed_timeout()
    yield _priorities()
    yield _newest_first()


def _luck_of_sharing(rows: Rows, work_s: Column, rate_rps: float, mean_s: float) -> dict[str, float]:
    """Gaps and work against what is known before: how many are there."""
    states = {"found": found_in_line(rows)}
    return luck_of_arrivals(rows, rate_rps, states) | luck_of_work(work_s, mean_s, states)


def _shared(name: str, law: Law) -> Case:
    def visited(one: dict[str, Any]) -> Scenario:
        duration_s = 6_000 if name == "lognormal" else 4_500
        return scenario({"a": one}, poisson(_RHO, "a.do"), duration_s=duration_s, warmup_s=300)

    run, alone = visited(service(law, sharing="processor")), visited(service(law, workers="unlimited"))

    def read(result: RunResult) -> Reading:
        rows, work_s = measured(result), measured(simulate(alone, result.seed))["service_s"]
        gained_s = np.maximum(work_s - times(rows), 0.0)  # nobody is faster than alone
        return {"time": times(rows), "gained": gained_s}, _luck_of_sharing(rows, work_s, _RHO, 1)

    expected = {"mean of time": near(5, 0.02), "max of gained": exactly(0)}
    return Case("Q7", f"processor sharing, {name} work", GROUP, TEXTBOOK, run, read, expected)


def _sizes() -> Case:
    # Whatever the others are: 5 / (1 - rho) = 25 for a job of 5, 5 for one of 1.
    rate_rps = _RHO / 1.8
    operations = {"small": [{"work": 1.0}], "large": [{"work": 5.0}]}
    services = {"a": {"workers": 1, "sharing": "processor", "operations": operations}}
    run = scenario(services, {"rate": rate_rps, "mix": {"a.small": 0.8, "a.large": 0.2}}, duration_s=12_000, warmup_s=500)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        large = rows["entry"] == result.names.index("a.large")
        luck = _luck_of_sharing(rows, np.where(large, 5.0, 1.0), rate_rps, 1.8)
        return {"large": times(rows[large]), "small": times(rows[~large])}, luck

    expected = {"mean of large": near(25, 0.02), "mean of small": near(5, 0.02)}
    return Case("Q7", "processor sharing, by size", GROUP, TEXTBOOK, run, read, expected)


def _feedback() -> Case:
    rate_rps, again = 0.7, 0.2
    run = scenario(
        {"a": service([{"work": Exponential(1.0)}, {"fail": again}])}, poisson(rate_rps, "a.do"),
        duration_s=12_000, warmup_s=1200, attempts=True, calls={"default": {"retry": {"max_attempts": "unlimited"}}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows, attempts = measured(result), records(result, "attempts")
        passes = attempts[attempts["request"] >= rows["request"][0]]
        failed = passes["outcome"] != OK
        wait_s, pass_s = passes["queue_s"], passes["ended_s"] - passes["started_s"]
        firsts = pass_s[passes["number"] == 1]
        luck = luck_of_arrivals(rows, rate_rps, {"first pass": firsts})
        luck |= luck_of_work(passes["service_s"], 1, {"wait": wait_s})
        luck["fail"] = failed.mean() - again
        luck["fail × time"] = ((failed - again) * pass_s).mean()
        return {"time": times(rows), "attempts": rows["attempts"], "first pass": firsts}, luck

    expected = {
        "mean of time": near(theory.mm1_feedback_time_mean(rate_rps, 1, again), 0.02),
        "p99 of time": near(55.1447, 0.05),
        "mean of attempts": near(1 / (1 - again), 0.02),
        # What arrives sees M/M/1 with the load of all passes, so a first pass is exponential; the whole time is not.
        "mean of first pass": near(8, 0.02),
        "p99 of first pass": near(theory.mm1_time_quantile(0.875, 1, 0.99), 0.05),
    }
    return Case("Q9", "failures go through the line again", GROUP, "closed form (Takács 1963)", run, read, expected)


def _impatience() -> Case:
    rate_rps, patience_s = 1.2, 10
    services = {"a": service(Exponential(1.0), queue={"max_wait": {"exponential": patience_s}})}
    run = scenario(services, poisson(rate_rps, "a.do"), duration_s=6_000 / rate_rps, warmup_s=200)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        gone = rows["outcome"] == REJECTED
        served, found = rows[~gone], found_in_line(rows)
        luck = luck_of_arrivals(rows, rate_rps, {"found": found, "busy": found > 0})
        luck |= luck_of_work(served["service_s"], 1, {"wait": served["queue_s"]})
        return {"gone": gone}, luck

    expected = {"mean of gone": near(0.252828, 0.02)}
    return Case("Q11", "Erlang A, impatience", GROUP, "closed form (Palm 1943)", run, read, expected)


def _deadline_in_line(rate_rps: float, patience_s: float, lost: float) -> Case:
    services = {"a": service(Exponential(1.0), queue={"max_wait": patience_s})}
    run = scenario(services, poisson(rate_rps, "a.do"), duration_s=5_000 / rate_rps, warmup_s=200)

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        gone = rows["outcome"] == REJECTED
        served, time_s = rows[~gone], times(rows)
        luck = luck_of_arrivals(rows, rate_rps, {"time": time_s, "gone": gone})
        luck |= luck_of_work(served["service_s"], 1, {"wait": served["queue_s"]})
        goodput_rps = len(served) / result.scenario.run.duration
        return {"lost": gone, "goodput": goodput_rps, "wait": served["queue_s"], "patience": time_s[gone]}, luck

    def wait_s(probability: float) -> float:
        return theory.mm1_deterministic_patience_wait_quantile(rate_rps, 1, patience_s, probability)

    mean_s = float(np.mean([wait_s(p) for p in (np.arange(1000) + 0.5) / 1000]))
    expected = {
        "mean of lost": near(lost, 0.02),
        "mean of goodput": near(rate_rps * (1 - lost), 0.02),
        "mean of wait": near(mean_s, 0.02),
        "p50 of wait": near(wait_s(0.5), 0.05),
        "p99 of wait": near(wait_s(0.99), 0.05),
        "mean of patience": exactly(patience_s),
    }
    return Case("Q12", f"who waits {patience_s:g} s leaves, load {rate_rps:g}", GROUP, TEXTBOOK, run, read, expected)


def _unnoticed_timeout() -> Case:
    rate_rps, timeout_s = 0.9, 5

    def called(policy: dict[str, Any]) -> Scenario:
        services, calls = {"a": service(Exponential(1.0))}, {"default": policy}
        return scenario(services, poisson(rate_rps, "a.do"), duration_s=7_000, warmup_s=1000, calls=calls)

    run, patient = called({"per_try_timeout": timeout_s}), called({})

    def read(result: RunResult) -> Reading:
        rows, duration_s = measured(result), result.scenario.run.duration
        late = rows["outcome"] == TIMEOUT
        # Who gives up has no row of his work, so the luck is read from a twin run with patient clients: same gaps, same work.
        luck = luck_of_line(measured(simulate(patient, result.seed)), rate_rps)
        busy = result.totals["busy_worker_s"].sum() / duration_s
        return {"goodput": (~late).sum() / duration_s, "busy": busy, "late": times(rows)[late]}, luck

    expected = {
        "mean of goodput": near(0.354122, 0.02),
        "mean of busy": near(rate_rps, 0.02),  # the server works for all of them, not only for those who still wait
        "mean of late": exactly(timeout_s),
    }
    return Case("Q13", "a timeout that the server is not told of", GROUP, TEXTBOOK, run, read, expected)


def _priorities() -> Case:
    operations = {"urgent": {"steps": [{"work": Exponential(1.0)}], "priority": 0}}
    operations["other"] = {"steps": [{"work": Exponential(1.0)}], "priority": 1}
    services = {"a": {"workers": 1, "queue": {"discipline": {"kind": "priority"}}, "operations": operations}}
    run = scenario(services, {"rate": 0.8, "mix": {"a.urgent": 0.3, "a.other": 0.5}}, duration_s=9_000, warmup_s=300)

    def read(result: RunResult) -> Reading:
        rows, found = measured(result), found_in_line(measured(result))
        urgent = rows["entry"] == result.names.index("a.urgent")
        luck = luck_of_arrivals(rows, 0.8, {"found": found, "busy": found > 0})
        for name, own in (("urgent", urgent), ("other", ~urgent)):
            work = luck_of_work(rows["service_s"][own], 1, {"wait": rows["queue_s"][own]})
            luck |= {f"{name} {key}": value for key, value in work.items()}
        luck["urgent"] = urgent.mean() - 0.375
        luck["urgent × found"] = ((urgent - 0.375) * found).mean()
        return {"urgent": rows["queue_s"][urgent], "other": rows["queue_s"][~urgent]}, luck

    expected = {"mean of urgent": near(1.14286, 0.02), "mean of other": near(5.71429, 0.02)}
    return Case("Q16", "priorities that do not interrupt", GROUP, "closed form (Cobham 1954)", run, read, expected)


def _newest_first() -> Case:
    newest = {"discipline": {"kind": "lifo"}}
    run = scenario({"a": service(Exponential(1.0), queue=newest)}, poisson(_RHO, "a.do"), duration_s=9_000, warmup_s=300)

    def read(result: RunResult) -> Reading:
        rows, found = measured(result), found_in_line(measured(result))
        luck = luck_of_arrivals(rows, _RHO, {"found": found, "busy": found > 0})
        return {"wait": rows["queue_s"]}, luck | luck_of_work(rows["service_s"], 1, {"found": found})

    expected = {"mean of wait": near(4, 0.02), "p95 of wait": near(18.0063, 0.05), "p99 of wait": near(61.9762, 0.05)}
    return Case("LIFO", "last come first served: the same mean, another tail", GROUP, TEXTBOOK, run, read, expected)
