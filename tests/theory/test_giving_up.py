"""Retries, patience and timeouts: Q9, Q12, Q13, R1, R2, and Envoy's retries as measured (M3)."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from harness import (
    assert_reproduces,
    estimate,
    luck_of_arrivals,
    luck_of_line,
    luck_of_work,
    measured,
    poisson,
    replicate,
    scenario,
    service,
    times,
)
from rows import records

from sim import theory
from sim.laws import Exponential
from sim.records import OUTCOMES
from sim.single import run

pytestmark = pytest.mark.theory

OK, REJECTED, TIMEOUT = (OUTCOMES.index(name) for name in ("ok", "rejected", "timeout"))
ALWAYS = {"default": {"retry": {"max_attempts": "unlimited"}}}


def test_q9_immediate_retries_go_through_the_line_again():
    rate, again = 0.7, 0.2
    case = scenario(
        {"a": service([{"work": Exponential(1.0)}, {"fail": again}])},
        poisson(rate, "a.do"),
        duration_s=12_000,
        warmup_s=1200,
        attempts=True,
        calls=ALWAYS,
    )

    def read(result):
        rows = measured(result)
        attempts = records(result, "attempts")
        passes = attempts[attempts["request"] >= rows["request"][0]]
        failed = passes["outcome"] != OK
        wait_s, pass_s = passes["queue_s"], passes["ended_s"] - passes["started_s"]
        firsts = pass_s[passes["number"] == 1]
        luck = luck_of_arrivals(rows, rate, {"first pass": firsts})
        luck |= luck_of_work(passes["service_s"], 1, {"wait": wait_s})
        luck["fail"] = failed.mean() - again
        luck["fail × time"] = ((failed - again) * pass_s).mean()
        return {"time": times(rows), "attempts": rows["attempts"], "first pass": firsts}, luck

    # What arrives sees M/M/1 with the load of all passes, so a first pass is exponential; the whole time is not.
    p99_s = oracles.feedback_time_quantile(rate, 1, again, 0.99)
    assert_reproduces(
        case,
        read,
        {
            "mean of time": (10, 0.02),
            "p99 of time": (p99_s, 0.05),
            "mean of attempts": (1.25, 0.02),
            "mean of first pass": (8, 0.02),
            "p99 of first pass": (theory.mm1_time_quantile(0.875, 1, 0.99), 0.05),
        },
    )


@pytest.mark.parametrize(("rate", "patience_s", "lost"), [(0.9, 5, 0.107306), (1.2, 10, 0.183955)])
def test_q12_who_waits_too_long_leaves_the_line(rate, patience_s, lost):
    case = scenario(
        {"a": service(Exponential(1.0), queue={"max_wait": patience_s})},
        poisson(rate, "a.do"),
        duration_s=5_000 / rate,
        warmup_s=200,
    )

    def read(result):
        rows = measured(result)
        gone = rows["outcome"] == REJECTED
        served, time_s = rows[~gone], times(rows)
        assert times(rows[gone]) == pytest.approx(patience_s)
        luck = luck_of_arrivals(rows, rate, {"time": time_s, "gone": gone})
        luck |= luck_of_work(served["service_s"], 1, {"wait": served["queue_s"]})
        goodput_rps = len(served) / case.run.duration
        return {"lost": gone, "goodput": goodput_rps, "wait": served["queue_s"]}, luck

    def wait_s(p):
        return theory.mm1_deterministic_patience_wait_quantile(rate, 1, patience_s, p)

    mean_s = np.mean([wait_s(p) for p in (np.arange(1000) + 0.5) / 1000])
    assert_reproduces(
        case,
        read,
        {
            "mean of lost": (lost, 0.02),
            "mean of goodput": (rate * (1 - lost), 0.02),
            "mean of wait": (mean_s, 0.02),
            "p50 of wait": (wait_s(0.5), 0.05),
            "p99 of wait": (wait_s(0.99), 0.05),
        },
    )


def test_q13_an_unnoticed_timeout_wastes_the_work():
    rate, timeout_s, seconds = 0.9, 5, {"duration_s": 7_000, "warmup_s": 1000}
    services = {"a": service(Exponential(1.0))}
    case = scenario(services, poisson(rate, "a.do"), calls={"default": {"per_try_timeout": timeout_s}}, **seconds)
    patient = scenario(services, poisson(rate, "a.do"), **seconds)

    def read(result):
        rows = measured(result)
        late = rows["outcome"] == TIMEOUT
        assert times(rows)[late] == pytest.approx(timeout_s)
        # Who gives up has no row of his work, so the luck is read from a twin run with patient clients: same gaps, same work.
        luck = luck_of_line(measured(run(patient, result.seed)), rate)
        busy = result.totals["busy_worker_s"].sum() / case.run.duration
        return {"goodput": (~late).sum() / case.run.duration, "busy": busy}, luck

    # The server works for all of them, not only for those who still wait.
    assert_reproduces(case, read, {"mean of goodput": (0.354122, 0.02), "mean of busy": (0.9, 0.02)})


def test_q13_in_overload_nothing_is_in_time_but_q12_goes_on():
    def answered(services, **more):
        case = scenario(services, poisson(1.2, "a.do"), duration_s=2000, warmup_s=1000, **more)
        return np.mean([(measured(run(case, seed))["outcome"] == OK).mean() for seed in range(1, 21)])

    assert answered({"a": service(Exponential(1.0))}, calls={"default": {"per_try_timeout": 5}}) == 0
    told = answered({"a": service(Exponential(1.0), queue={"max_wait": 5})})
    assert told == pytest.approx(1 - theory.mm1_deterministic_patience_lost(1.2, 1, 5), rel=0.02)


@pytest.mark.parametrize(("failure", "most"), [(0.5, 4), (0.1, 4), (0.7, 2)])
def test_r1_success_and_attempts(failure, most):
    case = scenario(
        {"a": service([{"work": 0.001}, {"fail": failure}], workers="unlimited")},
        poisson(100, "a.do"),
        duration_s=25,
        calls={"default": {"retry": {"max_attempts": most}}},
    )

    def read(result):
        rows = measured(result)
        assert rows["attempts"].max() <= most
        return {"success": rows["outcome"] == OK, "attempts": rows["attempts"]}, {}

    assert_reproduces(
        case,
        read,
        {
            "mean of success": (theory.success_with_retries(failure, most), 0.02),
            "mean of attempts": (theory.attempts_with_retries(failure, most), 0.02),
        },
        seeds=range(1, 21),
    )


@pytest.mark.parametrize(("layers", "most", "at_the_bottom"), [(3, 4, 64), (5, 3, 243)])
def test_r2_attempts_multiply_through_layers(layers, most, at_the_bottom):
    names = [f"s{i}" for i in range(layers)]
    services = {
        name: service([{"call": f"{below}.do"}], workers="unlimited") for name, below in zip(names, names[1:], strict=False)
    }
    services[names[-1]] = service([{"work": 0.001}, {"fail": 1.0}], workers="unlimited")
    case = scenario(
        services,
        {"kind": "constant", "rate": 1, "mix": "s0.do"},
        duration_s=3.5,
        attempts=True,
        calls={"default": {"retry": {"max_attempts": most}}},
    )
    result = run(case, 1)
    bottom = result.attempts[result.attempts.target == f"{names[-1]}.do"]
    assert (result.requests.outcome == "error").all()
    assert bottom.groupby("request").size().tolist() == [at_the_bottom] * len(result.requests)
    assert (result.requests.attempts == sum(most**layer for layer in range(1, layers + 1))).all()


@pytest.mark.parametrize(
    ("failure", "retries", "success", "attempts", "mean_s"),
    [
        (0.3, 0, (0.699, 0.691, 0.708), None, (0.0212, 0.0216, 0.0218)),
        (0.3, 2, (0.972, 0.971, 0.975), (1.390, 1.401, 1.379), (0.0282, 0.0288, 0.0287)),
        (0.7, 3, (0.764, 0.759, 0.768), (2.55, 2.54, 2.53), None),
    ],
)
def test_m3_retries_as_measured_on_envoy(failure, retries, success, attempts, mean_s):
    # 4 backends × 4 workers, 100 rps, 60 s; a failing attempt takes 5 ms, another Exp(20 ms); about .9 ms on the way.
    # Envoy 1.40.0 draws the pause before retry k from U[0, 25 ms · 2^(k-1)). Tolerance: two standard errors of three
    # runs for ratios, 1.5 ms + 3 % for means.
    case = scenario(
        {"a": service([{"fail": failure, "work": 0.005}, {"work": Exponential(0.02)}], workers=4, replicas=4)},
        poisson(100, "a.do"),
        duration_s=55,
        warmup_s=5,
        links={"default": 0.00045},
        calls={"default": {"retry": {"max_attempts": retries + 1, "backoff": {"base": 0.025, "max": 0.25, "jitter": "full"}}}},
    )

    def read(result):
        rows = measured(result)
        good = rows["outcome"] == OK
        return [good.mean(), rows["attempts"].mean(), times(rows[good]).mean()]

    found = replicate(case, read, range(1, 21))
    for column, seen in enumerate((success, attempts, mean_s)):
        if seen is None:
            continue
        ours, half_width = estimate(found[:, column])
        published = np.mean(seen)
        error = max(np.std(seen, ddof=1), found[:, column].std(ddof=1)) / np.sqrt(len(seen))
        allowed = 0.0015 + 0.03 * published if column == 2 else 2 * error
        print(
            f"{('success', 'attempts', 'mean')[column]} = {ours:.5g} ± {half_width:.2g}, measured {published:.5g} ± {allowed:.2g}"
        )
        assert abs(ours - published) <= allowed + half_width
