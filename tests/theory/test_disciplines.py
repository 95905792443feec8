"""Who is served next, and when somebody leaves: Q7, Q11 and Q16 of the published results, and last come first served."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from harness import (
    assert_reproduces,
    luck_of_arrivals,
    luck_of_work,
    measured,
    poisson,
    scenario,
    service,
    times,
)
from rows import records
from scipy import integrate, optimize, special

from sim.laws import Constant, Exponential, Lognormal
from sim.records import OUTCOMES
from sim.single import run

pytestmark = pytest.mark.theory

REJECTED = OUTCOMES.index("rejected")
RHO = 0.8


def found_in_line(rows):
    """How many are there when each arrives, whatever becomes of them."""
    return np.arange(len(rows)) - np.searchsorted(np.sort(rows["ended_s"]), rows["arrived_s"], side="right")


def luck_of_sharing(rows, work_s, rate_rps, mean_s):
    """Gaps and work against what is known before: how many are there."""
    states = {"found": found_in_line(rows)}
    return luck_of_arrivals(rows, rate_rps, states) | luck_of_work(work_s, mean_s, states)


@pytest.mark.parametrize(
    "law", [Exponential(1.0), Constant(1.0), Lognormal(1.0, 2)], ids=["exponential", "constant", "lognormal"]
)
def test_q7_a_shared_processor_does_not_mind_the_law(law):
    seconds = {"duration_s": 6_000 if isinstance(law, Lognormal) else 4_500, "warmup_s": 300}
    case = scenario({"a": service(law, sharing="processor")}, poisson(RHO, "a.do"), **seconds)
    alone = scenario({"a": service(law, workers="unlimited")}, poisson(RHO, "a.do"), **seconds)

    def read(result):
        rows, work_s = measured(result), measured(run(alone, result.seed))["service_s"]
        assert times(rows) == pytest.approx(rows["service_s"])
        assert (times(rows) >= work_s - 1e-9).all()
        return {"time": times(rows)}, luck_of_sharing(rows, work_s, RHO, 1)

    assert_reproduces(case, read, {"mean of time": (5, 0.02)})


def test_q7_a_job_takes_as_long_as_it_is_large():
    # Whatever the others are: 5 / (1 - rho) = 25 for a job of 5, 5 for one of 1.
    rate = RHO / 1.8
    operations = {"small": [{"work": 1.0}], "large": [{"work": 5.0}]}
    services = {"a": {"workers": 1, "sharing": "processor", "operations": operations}}
    case = scenario(services, {"rate": rate, "mix": {"a.small": 0.8, "a.large": 0.2}}, duration_s=12_000, warmup_s=500)

    def read(result):
        rows = measured(result)
        large = rows["entry"] == result.names.index("a.large")
        luck = luck_of_sharing(rows, np.where(large, 5.0, 1.0), rate, 1.8)
        return {"large": times(rows[large]), "small": times(rows[~large])}, luck

    assert_reproduces(case, read, {"mean of large": (25, 0.02), "mean of small": (5, 0.02)})


def test_q11_impatience_of_exponential_length():
    rate, patience_s = 1.2, 10
    case = scenario(
        {"a": service(Exponential(1.0), queue={"max_wait": {"exponential": patience_s}})},
        poisson(rate, "a.do"),
        duration_s=6_000 / rate,
        warmup_s=200,
    )

    def read(result):
        rows = measured(result)
        gone = rows["outcome"] == REJECTED
        served, found = rows[~gone], found_in_line(rows)
        luck = luck_of_arrivals(rows, rate, {"found": found, "busy": found > 0})
        luck |= luck_of_work(served["service_s"], 1, {"wait": served["queue_s"]})
        return {"gone": gone}, luck

    assert_reproduces(case, read, {"mean of gone": (0.252828, 0.02)})


def test_q16_priorities_that_do_not_interrupt():
    operations = {"urgent": {"steps": [{"work": Exponential(1.0)}], "priority": 0}}
    operations["other"] = {"steps": [{"work": Exponential(1.0)}], "priority": 1}
    services = {"a": {"workers": 1, "queue": {"discipline": {"kind": "priority"}}, "operations": operations}}
    case = scenario(services, {"rate": 0.8, "mix": {"a.urgent": 0.3, "a.other": 0.5}}, duration_s=9_000, warmup_s=300)

    def read(result):
        rows, found = measured(result), found_in_line(measured(result))
        urgent = rows["entry"] == result.names.index("a.urgent")
        states = {"found": found, "busy": found > 0}
        luck = luck_of_arrivals(rows, 0.8, states)
        for name, own in (("urgent", urgent), ("other", ~urgent)):
            work = luck_of_work(rows["service_s"][own], 1, {"wait": rows["queue_s"][own]})
            luck |= {f"{name} {key}": x for key, x in work.items()}
        luck["urgent"] = urgent.mean() - 0.375
        luck["urgent × found"] = ((urgent - 0.375) * found).mean()
        return {"urgent": rows["queue_s"][urgent], "other": rows["queue_s"][~urgent]}, luck

    assert_reproduces(case, read, {"mean of urgent": (1.14286, 0.02), "mean of other": (5.71429, 0.02)})


def busy_period_survival(t, rate):
    """P(a busy period of M/M/1 with unit work outlasts t): who comes first is served after all who come later."""

    def density(x):
        return special.ive(1, 2 * x * np.sqrt(rate)) * np.exp(-((1 - np.sqrt(rate)) ** 2) * x) / (x * np.sqrt(rate))

    return integrate.quad(density, t, np.inf, limit=500)[0]


def test_the_newest_first_has_the_mean_of_the_oldest_first_and_another_tail():
    newest = {"queue": {"discipline": {"kind": "lifo"}}}
    case = scenario({"a": service(Exponential(1.0), **newest)}, poisson(RHO, "a.do"), duration_s=9_000, warmup_s=300)

    def read(result):
        rows, found = measured(result), found_in_line(measured(result))
        states = {"found": found, "busy": found > 0}
        luck = luck_of_arrivals(rows, RHO, states) | luck_of_work(rows["service_s"], 1, {"found": found})
        return {"wait": rows["queue_s"]}, luck

    p95_s = optimize.brentq(lambda t: RHO * busy_period_survival(t, RHO) - 0.05, 1, 200)
    p99_s = optimize.brentq(lambda t: RHO * busy_period_survival(t, RHO) - 0.01, 1, 400)
    assert p99_s > 2 * -np.log(0.01 / RHO) / (1 - RHO)  # first come, first served
    expected = {"mean of wait": (4, 0.02), "p95 of wait": (p95_s, 0.05), "p99 of wait": (p99_s, 0.05)}
    assert_reproduces(case, read, expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_newest_first_request_by_request(seed):
    newest = {"queue": {"discipline": {"kind": "lifo"}}}
    case = scenario({"a": service(Lognormal(1.0, 2), **newest)}, poisson(0.9, "a.do"), duration_s=4_000)
    rows = records(run(case, seed), "requests")
    waits = oracles.lifo(rows["arrived_s"], rows["service_s"])
    assert np.allclose(rows["queue_s"], waits, rtol=0, atol=1e-9)
