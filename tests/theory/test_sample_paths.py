"""Exact second opinions: the same arrivals and the same work must give the same times, request by request.

Where a law says what happens on average, a recursion says what happens to each: only rounding is tolerated (1e-9 s). The work
of a request is read from the recorded rows, or, where a run cuts it short, from a twin run without the cut: the streams are
keyed by request, so the twin draws the same work.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest

from sim.laws import Exponential, Hyperexponential, Lognormal
from sim.records import OUTCOMES
from sim.single import run
from sim.validation.case import poisson, scenario, service
from sim.validation.reading import records, times

OK, REJECTED, TIMEOUT = (OUTCOMES.index(name) for name in ("ok", "rejected", "timeout"))
BURSTY = Hyperexponential.from_mean(1.0, 2.0)
ROUNDING_S = 1e-9


def rows_of(services, rate=0.9, requests=4000, seed=1, **more):
    case = scenario(services, poisson(rate, "a.do"), duration_s=requests / rate, **more)
    return records(run(case, seed), "requests")


def agree(ours, theirs):
    return np.allclose(ours, theirs, rtol=0, atol=ROUNDING_S, equal_nan=True)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("law", [Exponential(1.0), BURSTY, Lognormal(1.0, 3.0)], ids=["exponential", "bursty", "lognormal"])
def test_one_worker_is_lindleys_recursion(law, seed):
    rows = rows_of({"a": service(law)}, seed=seed)
    waits = oracles.fifo(rows["arrived_s"], rows["service_s"])
    assert agree(rows["queue_s"], waits)
    assert agree(times(rows), waits + rows["service_s"])


@pytest.mark.parametrize("workers", [2, 5, 10])
def test_several_workers_are_kiefer_and_wolfowitzs_recursion(workers):
    rows = rows_of({"a": service(BURSTY, workers=workers)}, rate=0.9 * workers, requests=8000)
    waits = oracles.fifo(rows["arrived_s"], rows["service_s"], workers)
    assert agree(times(rows), waits + rows["service_s"])
    assert not agree(times(rows), oracles.fifo(rows["arrived_s"], rows["service_s"], workers + 1) + rows["service_s"])


def test_the_oracle_tells_fifo_from_lifo():
    # Last come first served has the same mean wait and the same rows in another order; only the oracle sees it at once.
    rows = rows_of({"a": service(Exponential(1.0))}, requests=20_000)
    fifo, lifo = (order(rows["arrived_s"], rows["service_s"]) for order in (oracles.fifo, oracles.lifo))
    assert lifo.mean() == pytest.approx(fifo.mean(), rel=0.1)
    assert agree(rows["queue_s"], fifo)
    assert not agree(rows["queue_s"], lifo)
    assert np.quantile(lifo, 0.99) > 1.5 * np.quantile(fifo, 0.99)


@pytest.mark.parametrize(("workers", "places"), [(1, 0), (5, 0), (1, 4), (5, 10), (3, 1)])
def test_a_short_line_refuses_exactly_those_who_find_it_full(workers, places):
    rows = rows_of({"a": service(BURSTY, workers=workers, queue=places)}, rate=1.1 * workers, requests=8000)
    refused = rows["outcome"] == REJECTED
    waits = oracles.fifo_with_places(rows["arrived_s"], rows["service_s"], workers, places)
    assert 0.02 < refused.mean() < 0.6
    assert (np.isnan(waits) == refused).all()
    assert agree(rows["queue_s"][~refused], waits[~refused])
    assert (times(rows[refused]) == 0).all()


def test_patience_removes_exactly_those_who_would_wait_longer():
    rows = rows_of({"a": service(BURSTY, queue={"max_wait": 3.0})}, rate=1.1, requests=8000)
    gone = rows["outcome"] == REJECTED
    waits = oracles.fifo_with_patience(rows["arrived_s"], rows["service_s"], 3.0)
    assert 0.1 < gone.mean() < 0.6
    assert (np.isnan(waits) == gone).all()
    assert agree(rows["queue_s"][~gone], waits[~gone])
    assert agree(times(rows[gone]), 3.0)


def test_an_unnoticed_timeout_changes_nothing_at_the_server():
    twin = rows_of({"a": service(BURSTY)})
    rows = rows_of({"a": service(BURSTY)}, calls={"default": {"per_try_timeout": 5.0}})
    late = times(twin) > 5.0
    assert 0.1 < late.mean() < 0.9
    assert ((rows["outcome"] == TIMEOUT) == late).all()
    assert agree(times(rows), np.minimum(times(twin), 5.0))


def test_a_noticed_timeout_frees_the_worker():
    services = {"a": service(BURSTY)}
    work = rows_of(services)["service_s"]
    policy = {"per_try_timeout": 5.0, "cancellation": True}
    rows = rows_of(services, calls={"default": policy})
    # Who is not answered after 5 s leaves, wherever he is, and takes his remaining work with him.
    free, expected = 0.0, []
    for arrived, service_s in zip(rows["arrived_s"], work, strict=True):
        started = max(arrived, free)
        if started < arrived + 5.0:
            free = min(started + service_s, arrived + 5.0)
        expected.append(min(started + service_s - arrived, 5.0))
    assert agree(times(rows), expected)
    assert ((rows["outcome"] == TIMEOUT) == (np.array(expected) >= 5.0)).all()
    # So fewer are late than when the server is not told.
    unnoticed = rows_of(services, calls={"default": {"per_try_timeout": 5.0}})
    assert (rows["outcome"] == TIMEOUT).sum() < (unnoticed["outcome"] == TIMEOUT).sum()


def attempts_of(result, address):
    attempts = records(result, "attempts")
    return attempts[attempts["target"] == result.names.index(address)]


def test_a_tandem_is_one_recursion_after_the_other():
    stations = {name: service(BURSTY) for name in ("x", "y", "z")}
    front = service([{"call": f"{name}.do"} for name in stations], workers="unlimited")
    case = scenario({"a": front, **stations}, poisson(0.8, "a.do"), duration_s=4000, attempts=True)
    result = run(case, 1)
    at_s = records(result, "requests")["arrived_s"]
    for name in stations:
        here = attempts_of(result, f"{name}.do")
        here = here[np.argsort(here["request"])]
        order = np.argsort(at_s, kind="stable")
        at_s_next = np.empty_like(at_s)
        at_s_next[order] = at_s[order] + oracles.fifo(at_s[order], here["service_s"][order]) + here["service_s"][order]
        at_s = at_s_next
    assert agree(records(result, "requests")["ended_s"], at_s)


def test_retries_join_the_line_in_the_order_of_their_failures():
    case = scenario(
        {"a": service([{"work": BURSTY}, {"fail": 0.3}])},
        poisson(0.6, "a.do"),
        duration_s=5000,
        attempts=True,
        calls={"default": {"retry": {"max_attempts": "unlimited"}}},
    )
    result = run(case, 1)
    requests, attempts = records(result, "requests"), records(result, "attempts")
    waits = oracles.fifo(attempts["started_s"], attempts["service_s"])
    assert agree(attempts["ended_s"], attempts["started_s"] + waits + attempts["service_s"])
    assert (np.bincount(attempts["request"]) == requests["attempts"]).all()
    # The next try begins when the one before it has failed, and the last one succeeds.
    order = np.lexsort((attempts["number"], attempts["request"]))
    in_order = attempts[order]
    following = in_order["number"][1:] > 1
    assert (in_order["started_s"][1:][following] == in_order["ended_s"][:-1][following]).all()
    assert agree(times(requests), requests["queue_s"] + requests["service_s"])


@pytest.mark.parametrize("replicas", [2, 7])
def test_round_robin_gives_each_replica_every_nth_request(replicas):
    case = scenario({"a": service(BURSTY, replicas=replicas)}, poisson(0.9 * replicas, "a.do"), duration_s=2000, attempts=True)
    result = run(case, 1)
    rows, replica = records(result, "requests"), records(result, "attempts")["replica"]
    turns = np.arange(len(replica))
    assert (replica == (turns + replica[0]) % replicas).all()
    for index in range(replicas):
        own = rows[replica == index]
        assert agree(own["queue_s"], oracles.fifo(own["arrived_s"], own["service_s"]))


def test_join_the_shortest_queue_joins_one_of_the_shortest():
    case = scenario(
        {"a": service(BURSTY, replicas=3)},
        poisson(2.7, "a.do"),
        duration_s=1500,
        attempts=True,
        calls={"default": {"balancing": "least_request"}},
    )
    attempts = records(run(case, 1), "attempts")
    for i, attempt in enumerate(attempts):
        before = attempts[:i]
        there = before["replica"][before["ended_s"] > attempt["started_s"]]
        lengths = np.bincount(there, minlength=3)
        assert lengths[attempt["replica"]] == lengths.min()


def test_fork_join_waits_for_the_slower_half():
    halves = {name: service(BURSTY) for name in ("x", "y")}
    front = service([{"parallel": [{"call": "x.do"}, {"call": "y.do"}]}], workers="unlimited")
    result = run(scenario({"a": front, **halves}, poisson(0.8, "a.do"), duration_s=4000, attempts=True), 1)
    rows = records(result, "requests")
    work = {name: attempts_of(result, f"{name}.do")["service_s"] for name in halves}
    each = [oracles.fifo(rows["arrived_s"], work[name]) + work[name] for name in halves]
    assert agree(times(rows), np.maximum(*each))
    assert not agree(each[0], each[1])


def test_the_network_adds_both_ways_and_nothing_else():
    rows = rows_of({"a": service(BURSTY)}, links={"default": 0.25})
    waits = oracles.fifo(rows["arrived_s"] + 0.25, rows["service_s"])
    assert agree(times(rows), waits + rows["service_s"] + 0.5)
    assert agree(rows["network_s"], 0.5)
