"""Asynchronous work: what piles up while consumers are down or slower than the load, and how long it takes to catch up."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_reproduces, poisson, scenario, service
from oracles import bulk_mm1_time_mean, deliveries_mean
from rows import records

from sim import theory
from sim.laws import Constant, Exponential
from sim.records import OK
from sim.scenario.model import Scenario
from sim.single import run

pytestmark = pytest.mark.theory


def caught_up_s(effects, since_s):
    """Clock time of the first message after `since_s` that finds no line, in seconds."""
    later = effects[effects["acked_s"] > since_s]
    at_once = later["started_s"] - later["acked_s"] < 1e-9
    return later["acked_s"][at_once].min()


def pipeline(work, load, **more):
    """A gateway that publishes each request, and one consumer that works on one message at a time."""
    services = {"gate": service([{"publish": "jobs"}], workers="unlimited"), "worker": service(work)}
    return scenario(services, load, queues={"jobs": {"consumer": "worker.do"}}, **more)


def test_a1_consumers_down_for_a_minute():
    # Even arrivals and constant work: the fluid is exact to one message, so one run says all.
    case = pipeline(
        Constant(0.01),
        {"kind": "constant", "rate": 80, "mix": "gate.do"},
        duration_s=400,
        faults=[{"crash": "worker", "at": 20.0, "for": 60.0}],
    )
    result = run(case, 1)
    effects = records(result, "effects")
    backlog = ((effects["acked_s"] < 80) & ~(effects["done_s"] < 80)).sum()
    assert backlog == pytest.approx(theory.backlog(80, 0, 60), abs=2)
    assert caught_up_s(effects, 80) - 80 == pytest.approx(theory.drain_s(4800, 80, 100), abs=0.1)
    # Nothing was lost on the way, and only what the consumer held when it died was delivered twice.
    assert effects["request"].tolist() == list(range(len(records(result, "requests"))))
    assert np.isfinite(effects["done_s"]).all()
    assert effects["deliveries"].sum() <= len(effects) + 1


def test_a3_a_minute_of_more_than_the_consumers_can_do():
    points = [{"at": 0, "rate": 50}, {"at": 20, "rate": 200}, {"at": 80, "rate": 50}]
    case = pipeline(Exponential(1 / 120), {"kind": "steps", "points": points, "mix": "gate.do"}, duration_s=190)

    def read(result):
        effects = records(result, "effects")
        assert np.isfinite(effects["done_s"]).all()
        waiting = ((effects["acked_s"] <= 80) & (effects["started_s"] > 80)).sum()
        largest_s = (effects["started_s"] - effects["acked_s"]).max()
        return {"backlog": waiting, "drain": caught_up_s(effects, 80) - 80, "delay": largest_s}, {}

    assert_reproduces(
        case,
        read,
        {"mean of backlog": (4800, 0.02), "mean of drain": (68.6, 0.02), "mean of delay": (40, 0.02)},
        seeds=range(1, 21),
    )


@pytest.mark.parametrize(("timeout_s", "published"), [(1.0, 1.42019), (2.0, 1.13782)])
def test_a2_a_timeout_shorter_than_some_of_the_work(timeout_s, published):
    assert deliveries_mean(timeout_s, 1.0) == pytest.approx(published, abs=5e-6)
    case = pipeline(Exponential(1.0), poisson(5, "gate.do"), duration_s=1000)
    queue = {"consumers": 1000, "visibility_timeout": timeout_s, "late_acknowledge": "accepted"}
    data = case.as_data()
    data["queues"]["jobs"] |= queue
    data["services"]["worker"]["workers"] = "unlimited"

    def read(result):
        effects = records(result, "effects")
        # Each delivery is work that ends somewhere, and each completion an effect: nobody tells the others that it is done.
        assert effects["times_done"].tolist() == effects["deliveries"].tolist()
        return {"deliveries": effects["deliveries"].mean()}, {}

    assert_reproduces(Scenario.model_validate(data), read, {"mean of deliveries": (published, 0.02)}, seeds=range(1, 21))


def test_av1_a_chain_needs_all_of_its_links_and_a_publisher_only_the_broker():
    count, fails = 10, 0.001
    names = [f"s{i}" for i in range(count)]
    steps = {name: [{"fail": fails}, {"call": f"s{i + 1}.do"}] for i, name in enumerate(names[:-1])}
    chain = {name: service(steps.get(name, [{"fail": fails}]), workers="unlimited") for name in names}
    case = scenario(chain, poisson(100, "s0.do"), duration_s=500)

    def failed(result):
        return {"failed": (records(result, "requests")["outcome"] != OK).mean()}, {}

    assert_reproduces(case, failed, {"mean of failed": (1 - 0.990045, 0.02)}, seeds=range(1, 21))

    # The same ten behind a queue: whoever publishes needs the queue alone, and in the end all is done.
    gate = {"gate": service([{"publish": "jobs"}], workers="unlimited")}
    queues = {"jobs": {"consumer": "s0.do", "consumers": 100, "redelivery_delay": 0.01}}
    outage = [{"outage": "jobs", "mtbf": 9.99, "mttr": 0.01}]
    case = scenario(gate | chain, poisson(100, "gate.do"), duration_s=500, queues=queues, faults=outage)

    def both(result):
        effects = records(result, "effects")
        assert np.isfinite(effects["done_s"]).all()
        refused = (records(result, "requests")["outcome"] != OK).sum()
        assert refused + len(effects) == len(records(result, "requests"))
        return {"failed": refused / (refused + len(effects))}, {}

    readings = [both(run(case, seed))[0]["failed"] for seed in range(1, 6)]
    assert np.mean(readings) == pytest.approx(0.001, rel=0.2)


def test_bulks_of_messages_are_m_x_m_1():
    sizes = {1: 0.5, 3: 0.5}
    bulk = [{"repeat": [{"publish": "jobs"}], "count": {1: 50, 3: 50}}]
    services = {"gate": service(bulk, workers="unlimited"), "worker": service(Exponential(1.0))}
    case = scenario(
        services, poisson(0.3, "gate.do"), duration_s=60_000, warmup_s=500, queues={"jobs": {"consumer": "worker.do"}}
    )

    def read(result):
        effects = records(result, "effects")
        measured = effects[effects["arrived_s"] > 500]
        return {"time": (measured["done_s"] - measured["acked_s"]).mean()}, {}

    expected = bulk_mm1_time_mean(0.3, sizes, 1.0)
    assert bulk_mm1_time_mean(0.8, {1: 1.0}, 1.0) == pytest.approx(theory.mm1_time_mean(0.8, 1.0))
    assert expected == pytest.approx(4.375)
    assert_reproduces(case, read, {"mean of time": (expected, 0.02)}, seeds=range(1, 31))


def test_publishes_at_a_broker_are_m_m_c():
    services = {
        "gate": service([{"publish": "jobs"}], workers="unlimited"),
        "worker": service(Constant(0.0), workers="unlimited"),
    }
    case = scenario(
        services,
        poisson(1.4, "gate.do"),
        duration_s=20_000,
        warmup_s=500,
        queues={"jobs": {"consumer": "worker.do", "broker": "rabbit", "consumers": 100}},
        brokers={"rabbit": {"workers": 2, "write": Exponential(1.0)}},
    )

    def read(result):
        requests = records(result, "requests")
        waits_s = requests["queue_s"][requests["arrived_s"] > 500]
        return {"wait": waits_s.mean(), "waits": waits_s}, {}

    expected = {
        "mean of wait": (theory.mmc_wait_mean(1.4, 1.0, 2), 0.02),
        "p99 of waits": (theory.mmc_wait_quantile(1.4, 1.0, 2, 0.99), 0.05),
    }
    assert_reproduces(case, read, expected, seeds=range(1, 31))
