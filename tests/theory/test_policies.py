"""Policies of a call in motion: R3, R5, CB1 to CB3, H1, Q3 as a bulkhead, RL1, C1 and C3 of the published results."""

from __future__ import annotations

import numpy as np
import pytest
from harness import (
    assert_reproduces,
    estimate,
    found_in_system,
    luck_of_arrivals,
    luck_of_work,
    measured,
    poisson,
    replicate,
    scenario,
    service,
    times,
)
from scipy import stats

from sim.laws import Constant, Exponential, Lognormal
from sim.records import OUTCOMES, STATES
from sim.single import run

pytestmark = pytest.mark.theory

OK, REJECTED, SHORT_CIRCUITED = (OUTCOMES.index(name) for name in ("ok", "rejected", "short_circuited"))
CLOSED, OPEN, HALF_OPEN = range(len(STATES[:3]))
SEEDS = range(1, 21)

BUCKET = {"kind": "deposit", "deposit": 0.1, "size": 5}
BREAKER = {"kind": "failure_rate", "max_failure_percent": 10}


def failing(probability, **retry):
    """Clients who retry without a pause at a service with an hour's patience and a fixed share of failures."""
    return {
        "services": {"a": service([{"fail": probability}], workers="unlimited")},
        "links": {"default": {"exponential": 0.01}},
        "calls": {"default": {"retry": retry}},
    }


def even(rate_rps, target="a.do", **more):
    return {"kind": "constant", "rate": rate_rps, "mix": target, **more}


@pytest.mark.parametrize(
    ("failure", "retry", "success", "load"),
    [
        (0.1, {"max_attempts": 1}, 0.900, 1),
        (0.5, {"max_attempts": 1}, 0.500, 1),
        (1.0, {"max_attempts": 1}, 0, 1),
        (0.1, {"max_attempts": 4}, 0.9999, 1.112),
        (0.5, {"max_attempts": 4}, 0.937, 1.873),
        (1.0, {"max_attempts": 4}, 0, 4.000),
        (0.1, {"max_attempts": 4, "budget": BUCKET}, 0.992, 1.102),
        (0.5, {"max_attempts": 4, "budget": BUCKET}, 0.570, 1.142),
        (1.0, {"max_attempts": 4, "budget": BUCKET}, 0, 1.143),
        (0.1, {"max_attempts": 4, "budget": BREAKER}, 0.930, 1.032),
        (0.5, {"max_attempts": 4, "budget": BREAKER}, 0.499, 1.000),
        (1.0, {"max_attempts": 4, "budget": BREAKER}, 0, 1.000),
    ],
)
def test_r3_what_budgets_leave_of_retries(failure, retry, success, load):
    # 100 clients × 10 rps × 10 s. Each client has a budget of its own, so fewer clients give the same numbers.
    clients = 25
    world = failing(failure, **retry)
    case = scenario(world.pop("services"), poisson(10 * clients, "a.do", clients=clients), duration_s=10, **world)

    def read(result):
        rows = measured(result)
        return [(rows["outcome"] == OK).mean(), rows["attempts"].mean()]

    found = replicate(case, read, SEEDS)
    for column, published in enumerate((success, load)):
        ours, half_width = estimate(found[:, column])
        print(f"{('success', 'load')[column]} = {ours:.4f} ± {half_width:.4f}, published {published:.4f} ± .01")
        assert abs(ours - published) <= 0.01
        assert half_width <= 0.02


def token_ratio_attempts(failure, most=4, tokens=100, ratio=1, cost=10):
    """Attempts per call, and successes, from the chain of the tokens (in tenths), one call after the other."""
    moves = np.zeros((tokens + 1, tokens + 1))
    attempts, successes = np.zeros(tokens + 1), np.zeros(tokens + 1)
    for start in range(tokens + 1):
        at, left = start, 1.0
        for number in range(1, most + 1):
            attempts[start] += left
            successes[start] += left * (1 - failure)
            moves[start, min(tokens, at + ratio)] += left * (1 - failure)
            left, at = left * failure, max(0, at - cost)
            if at <= tokens // 2 or number == most:
                moves[start, at] += left
                break
    design = np.vstack((moves.T - np.eye(tokens + 1), np.ones(tokens + 1)))
    stationary, *_ = np.linalg.lstsq(design, np.append(np.zeros(tokens + 1), 1.0), rcond=None)
    return stationary @ attempts, stationary @ successes


@pytest.mark.parametrize(("failure", "survive"), [(0.05, True), (0.1, None), (0.2, False)])
def test_r5_grpc_throttles_retries_beyond_a_failure_rate(failure, survive):
    # Retries survive only while f < tokenRatio / (1 + tokenRatio) = 9.1 %.
    load, success = token_ratio_attempts(failure)
    assert survive is None or load == pytest.approx((1 - failure**4) / (1 - failure) if survive else 1.0, abs=0.01)
    case = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")},
        even(100),
        duration_s=30,
        warmup_s=10,
        calls={
            "default": {
                "preset": "grpc@1.7x",
                "retry": {"backoff": {"base": 0}, "budget": {"kind": "token_ratio", "max_tokens": 10, "token_ratio": 0.1}},
            }
        },
    )

    def read(result):
        rows = measured(result)
        return {"load": rows["attempts"], "success": rows["outcome"] == OK}, {}

    assert_reproduces(case, read, {"mean of load": (load, 0.01), "mean of success": (success, 0.01)}, SEEDS)


@pytest.mark.parametrize(("failure", "calls", "requests"), [(0.5, 62, 40_000), (0.9, 6.935, 4_000)])
def test_cb1_calls_until_failures_in_a_row_open_it(failure, calls, requests):
    # One call a second that takes no time, and a probe half a second after opening: so seconds closed are calls.
    case = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")},
        even(1),
        duration_s=requests,
        calls={"default": {"circuit_breaker": {"consecutive_failures": 5, "open_duration": 0.5}}},
    )

    def read(result):
        changes = result.arrays["changes"]
        closed, opened = (changes["time_s"][changes["state"] == state] for state in (CLOSED, OPEN))
        assert (changes["endpoint"] == -1).all()
        begins = np.append(0.0, closed)  # the probe that closed it does not count
        ends = opened[np.searchsorted(opened, begins[begins < opened[-1]], side="right")]
        lengths = ends - begins[: len(ends)]
        luck = (measured(result)["outcome"] != OK).mean() - failure
        return {"calls": lengths}, {"failures": luck}

    assert_reproduces(case, read, {"mean of calls": (calls, 0.02)}, SEEDS)


@pytest.mark.parametrize(("size", "opens"), [(10, 0.3669), (20, 0.2447), (100, 0.0271)])
def test_cb2_how_often_a_healthy_window_is_over_the_threshold(size, opens):
    # Many clients, each with a breaker of its own, make as many calls as its window holds, and one more that shows its state.
    failure, clients = 0.4, 60
    assert stats.binom.sf(np.ceil(size / 2) - 1, size, failure) == pytest.approx(opens, abs=1e-4)
    case = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")},
        even(100, clients=clients),
        duration_s=(size + 1) * clients / 100,
        calls={"default": {"circuit_breaker": {"window_type": "count", "window_size": size, "open_duration": 1e6}}},
    )

    def read(result):
        outcomes = measured(result)["outcome"][: size * clients].reshape(size, clients)
        last = measured(result)["outcome"][size * clients :]
        assert not (outcomes == SHORT_CIRCUITED).any()
        opened = (last == SHORT_CIRCUITED).astype(float)
        # Which windows are over it is luck whose mean is known; whether the breaker saw the same is not.
        over = (outcomes != OK).sum(axis=0) >= size / 2
        return {"opened": opened}, {"over": over.mean() - stats.binom.sf(np.ceil(size / 2) - 1, size, failure)}

    assert_reproduces(case, read, {"mean of opened": (opens, 0.02)}, SEEDS)


@pytest.mark.parametrize(
    ("preset", "rate", "calls", "open_s", "probes"), [("resilience4j@2", 10, 100, 60, 10), ("hystrix@1.5", 40, 20, 5, 1)]
)
def test_cb3_a_total_outage(preset, rate, calls, open_s, probes):
    case = scenario(
        {"a": service([{"fail": 1.0, "work": 0.001}], workers="unlimited")},
        even(rate),
        duration_s=10 * open_s,
        calls={"default": {"preset": preset, "circuit_breaker": {}}},
        attempts=True,
    )
    result = run(case, 1)
    sent_s = result.arrays["attempts"]["started_s"]
    assert len(result.arrays["requests"]["outcome"]) == 10 * open_s * rate - 1
    changes = result.arrays["changes"]
    opened_s = changes["time_s"][changes["state"] == OPEN]
    assert (sent_s <= opened_s[0]).sum() == calls
    # Then so many probes in each open time, which begins when the last of them has failed.
    rounds = [((sent_s > since) & (sent_s <= until)).sum() for since, until in zip(opened_s, opened_s[1:], strict=False)]
    assert set(rounds) == {probes}
    assert np.diff(opened_s) == pytest.approx(open_s, abs=probes / rate + 1 / rate)


@pytest.mark.parametrize("told", [False, True])
def test_h1_a_hedge_at_the_95th_percentile(told):
    delay_s = -np.log(0.05)
    case = scenario(
        {"a": service(Exponential(1.0), workers="unlimited")},
        poisson(100, "a.do"),
        duration_s=30,
        calls={"default": {"hedging": {"delay": delay_s}, "cancellation": told}},
    )

    def read(result):
        rows = measured(result)
        busy_s = result.totals["busy_worker_s"].sum() / len(rows)
        return {"time": times(rows), "load": rows["attempts"], "hedges": rows["attempts"] - 1, "busy": busy_s}, {}

    # Exponential work does not age: with cancellation, hedges cost nothing.
    assert_reproduces(
        case,
        read,
        {
            "p99 of time": (3.80045, 0.05),
            "p99.9 of time": (4.95174, 0.05),
            "mean of time": (1 - np.exp(-delay_s) / 2, 0.02),
            "mean of load": (1.05, 0.02),
            "mean of hedges": (0.05, 0.05),
            "mean of busy": (1.0 if told else 1.05, 0.02),
        },
        SEEDS,
    )


def test_h1_a_hedge_at_whatever_the_percentile_is():
    case = scenario(
        {"a": service(Exponential(1.0), workers="unlimited")},
        poisson(60, "a.do"),
        duration_s=30,
        warmup_s=15,
        calls={"default": {"hedging": {"percentile": 50, "window": 9, "max_delay": 60, "cancel_losers": False}}},
    )

    def read(result):
        rows = measured(result)
        return {"time": times(rows), "hedges": rows["attempts"] - 1}, {}

    # Losers that end by themselves tell how long they took, so the percentile is that of a single attempt.
    assert_reproduces(case, read, {"mean of hedges": (0.5, 0.05), "mean of time": (0.75, 0.02)}, SEEDS)


LAWS = {"exponential": Exponential(1.0), "constant": Constant(1.0), "lognormal": Lognormal(1.0, 2)}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("load", "places", "lost", "requests"), [(5, 5, 0.284868, 1_500), (5, 10, 0.0183846, 8_000), (10, 10, 0.214582, 2_000)]
)
def test_q3_a_bulkhead(load, places, lost, requests, law):
    case = scenario(
        {"a": service(LAWS[law], workers="unlimited")},
        poisson(load, "a.do"),
        duration_s=requests / load,
        warmup_s=60,
        calls={"client -> a": {"concurrency_limit": {"max_concurrent": places, "max_queue": 0}}},
    )

    def read(result):
        rows = measured(result)
        refused = rows["outcome"] == REJECTED
        assert (rows["attempts"] == ~refused).all()
        found, served = found_in_system(rows), rows[~refused]
        luck = luck_of_arrivals(rows, load, {"found": found})
        luck |= luck_of_work(served["service_s"], 1, {"found": found[~refused]})
        return {"lost": refused, "time": times(served)}, luck

    assert_reproduces(case, read, {"mean of lost": (lost, 0.02), "mean of time": (1, 0.02)})


@pytest.mark.parametrize(
    ("depth", "rejected", "where"),
    [(1, 0.500, "service"), (5, 0.1035, "service"), (10, 0.0508, "service"), (5, 0.1035, "caller")],
)
def test_rl1_a_token_bucket(depth, rejected, where):
    limit = {"kind": "token_bucket", "rate": 100, "burst": depth}
    limits = {"rate_limit": limit} if where == "service" else {}
    calls = {"default": {"rate_limit": limit}} if where == "caller" else {}
    case = scenario(
        {"a": service([], workers="unlimited", **limits)}, poisson(100, "a.do"), duration_s=60, warmup_s=5, calls=calls
    )

    def read(result):
        rows = measured(result)
        refused = rows["outcome"] == REJECTED
        assert (rows["attempts"] == (~refused if where == "caller" else 1)).all()
        before = np.append(False, refused[:-1])
        return {"refused": refused}, luck_of_arrivals(rows, 100, {"refused": refused, "refused before": before})

    assert_reproduces(case, read, {"mean of refused": (rejected, 0.02)})


@pytest.mark.parametrize("where", ["call", "operation"])
def test_c1_the_hit_ratio_of_a_cache(where):
    cache = {"max_age": 10}
    on_call = {"calls": {"default": {"cache": cache}}} if where == "call" else {}
    on_operation = {"cache": cache} if where == "operation" else {}
    services = {
        "a": {"workers": "unlimited", "operations": {"do": {"steps": [{"call": "b.do"}], **on_operation}}},
        "b": service([], workers="unlimited"),
    }
    calls = {"calls": {"a -> b": {"cache": cache}}} if where == "call" else on_call
    case = scenario(services, poisson(1, "a.do"), duration_s=2_000, **calls)

    def read(result):
        rows = measured(result)
        # A hit makes no call; nor does it make the answer younger.
        return {"hits": rows["attempts"] == 1, "misses": rows["attempts"] == 2}, {}

    expected = {"mean of hits": (0.909091, 0.02), "mean of misses": (1 - 0.909091, 0.02)}
    assert_reproduces(case, read, expected, SEEDS)


@pytest.mark.parametrize("collapsing", [False, True])
def test_c3_a_stampede_when_an_answer_expires(collapsing):
    rate, fetch_s = 10, 1.0
    case = scenario(
        {"a": service(fetch_s, workers="unlimited")},
        poisson(rate, "a.do"),
        duration_s=600,
        attempts=True,
        calls={"default": {"cache": {"max_age": 4, "request_collapsing": collapsing}}},
    )

    def read(result):
        rows, began_s = measured(result), result.arrays["attempts"]["started_s"]
        # Who begins within the time of a fetch belongs to the same stampede: the answer is good for longer.
        heads = np.flatnonzero(np.append(True, np.diff(began_s) > fetch_s))
        crowds = np.diff(np.append(heads, len(began_s)))
        within = rows["attempts"] == 0
        assert times(rows[~within]) == pytest.approx(fetch_s)
        assert (times(rows[within]) <= fetch_s + 1e-9).all()
        assert (times(rows[within]) > 0).any() == collapsing
        return {"crowd": crowds[:-1]}, {}

    assert_reproduces(case, read, {"mean of crowd": (1 if collapsing else 1 + rate * fetch_s, 0.02)}, SEEDS)
