"""Partitioned logs against closed forms: partitions as independent queues, batches with linger, hot partitions, dead members."""

from __future__ import annotations

import numpy as np
import pytest
from harness import assert_reproduces
from oracles import batches, mm1_mixture_mean, mm1_mixture_quantile

from sim import theory
from sim.laws import Constant, Exponential
from sim.policies.partitions import partition_of
from sim.validation.case import poisson, scenario, service
from sim.validation.reading import records

pytestmark = pytest.mark.theory

PARTITIONS = 8


def partition_shares(partitions, keys, zipf):
    """Share of the messages that each partition gets, from the popularity of the keys that hash to it."""
    shares = [0.0] * partitions
    total = sum(k**-zipf for k in range(1, keys + 1))
    for key in range(keys):
        shares[partition_of(key, partitions)] += (key + 1) ** -zipf / total
    return shares


def stream(work, load, *, key=None, partitions=PARTITIONS, producer=(), consuming=(), **more):
    """A gateway that publishes each request to a log, and a consumer for each of its partitions."""
    publish = {"publish": "jobs"} | ({} if key is None else {"key": key})
    services = {
        "gate": service([publish], workers="unlimited"),
        "worker": service(work, workers="unlimited", **more.pop("worker", {})),
    }
    log = {
        "partitions": partitions,
        "producer": dict(producer),
        "consuming": {"consumers": partitions, "commit_interval": 100, "fetch_wait": 50, **dict(consuming)},
        "groups": {"g": {"consumer": "worker.do"}},
    }
    return scenario(services, load, logs={"jobs": log}, **more)


def effect_times(result):
    effects = records(result, "effects")
    settled = effects[effects["arrived_s"] >= result.scenario.run.warmup]
    return {"time": settled["done_s"] - settled["arrived_s"]}, {}


def test_partitions_with_a_reader_each_are_independent_m_m_1():
    key, rate_rps = {"keys": 100_000}, 0.5 * PARTITIONS
    shares = partition_shares(PARTITIONS, 100_000, 0.0)
    mean_s, p99_s = mm1_mixture_mean(rate_rps, shares, 1.0), mm1_mixture_quantile(rate_rps, shares, 1.0, 0.99)
    assert mean_s == pytest.approx(theory.mm1_time_mean(0.5, 1.0), rel=0.01), "as even as keys can be"
    assert p99_s == pytest.approx(theory.mm1_time_quantile(0.5, 1.0, 0.99), rel=0.02)
    case = stream(Exponential(1.0), poisson(rate_rps, "gate.do"), key=key, duration_s=2500, warmup_s=100)
    expected = {"mean of time": (mean_s, 0.02), "p99 of time": (p99_s, 0.05)}
    assert_reproduces(case, effect_times, expected, seeds=range(1, 21))


def test_work_of_another_law_is_m_g_1():
    case = stream(Constant(1.0), poisson(0.5 * PARTITIONS, "gate.do"), key={"keys": 100_000}, duration_s=1200, warmup_s=100)
    shares = partition_shares(PARTITIONS, 100_000, 0.0)
    mean_s = sum(s * (1 + theory.mg1_wait_mean(s * 0.5 * PARTITIONS, 1.0, 0.0)) for s in shares)
    assert_reproduces(case, effect_times, {"mean of time": (mean_s, 0.02)}, seeds=range(1, 21))


def test_popular_keys_make_a_partition_hot():
    key = {"keys": 200, "zipf": 1.0}
    shares = partition_shares(PARTITIONS, 200, 1.0)
    rate_rps = 0.6 / max(shares)  # the fullest is busy to 60 %, all together to less
    assert rate_rps / PARTITIONS < 0.5
    mean_s, p99_s = mm1_mixture_mean(rate_rps, shares, 1.0), mm1_mixture_quantile(rate_rps, shares, 1.0, 0.99)
    assert mean_s > 1.1 * theory.mm1_time_mean(rate_rps / PARTITIONS, 1.0), "what an even spread would take"
    case = stream(Exponential(1.0), poisson(rate_rps, "gate.do"), key=key, duration_s=3000, warmup_s=200)
    expected = {"mean of time": (mean_s, 0.02), "p99 of time": (p99_s, 0.05)}
    assert_reproduces(case, effect_times, expected, seeds=range(1, 21))


@pytest.mark.parametrize(("linger_s", "size"), [(1.0, 1000), (1.0, 3), (100.0, 4), (0.2, 2)])
def test_a_message_waits_in_its_batch_for_linger_or_size(linger_s, size):
    mean_size, wait_s = batches(2.0, linger_s, size)
    producer = {"linger": linger_s, "batch_size": size, "delivery_timeout": 1000}
    case = stream(Constant(0.0), poisson(2.0, "gate.do"), partitions=1, producer=producer, duration_s=1500)

    def read(result):
        requests = records(result, "requests")
        requests = requests[requests["arrived_s"] < 1500 - 2 * linger_s]  # the last batch waits for what does not come any more
        return {
            "wait": requests["ended_s"] - requests["arrived_s"],
            "size": len(requests) / len(np.unique(requests["ended_s"])),
        }, {}

    assert_reproduces(case, read, {"mean of wait": (wait_s, 0.02), "mean of size": (mean_size, 0.02)}, seeds=range(1, 21))


def test_the_closed_form_of_batches_has_its_known_ends():
    assert batches(2.0, 1.0, 1) == (1.0, 0.0)
    # Without a size the first waits for all of the linger, and the a that follow for half of it.
    assert batches(2.0, 1.0, 1000)[1] == pytest.approx((1 + 2.0 / 2) / (1 + 2.0))
    # Without a linger to speak of: the first of n waits for n - 1 gaps, the last for none.
    assert batches(2.0, 1e6, 5) == (pytest.approx(5.0), pytest.approx(2 / 2.0))


@pytest.mark.parametrize(("protocol", "heartbeat_s"), [("eager", 3.0), ("server", 5.0)])
def test_a_dead_members_partitions_stand_still_for_its_session(protocol, heartbeat_s):
    """45 s since its last heartbeat, which is half an interval old; then half an interval until the other one hears of it."""
    expected_s = 45 - heartbeat_s / 2 + heartbeat_s / 2
    consuming = {
        "protocol": protocol, "heartbeat_interval": heartbeat_s, "consumers": 1,
        "assignor": "range" if protocol == "eager" else "sticky",
    }  # fmt: skip
    case = stream(
        Constant(0.0), {"kind": "constant", "rate": 10, "mix": "gate.do"}, key={"keys": 1000}, partitions=2, consuming=consuming,
        worker={"replicas": 2}, faults=[{"crash": "worker", "replica": 0, "at": 20.0}], duration_s=80,
    )  # fmt: skip

    def read(result):
        effects = records(result, "effects")
        late = effects[effects["started_s"] - effects["acked_s"] > 1.0]
        return {"still": late["started_s"].min() - 20.0}, {}

    assert_reproduces(case, read, {"mean of still": (expected_s, 0.02)}, seeds=range(1, 41))
