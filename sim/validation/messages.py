"""Asynchronous work: what piles up while consumers are down or slower than the load, and how long it takes to catch up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any, Final

import numpy as np

from sim import theory
from sim.laws import Constant, Exponential, Law
from sim.records import OK
from sim.scenario.model import Scenario
from sim.single import RunResult
from sim.validation.case import Case, Expected, Reading, even, exactly, near, poisson, scenario, service
from sim.validation.queues import ERLANG, TEXTBOOK
from sim.validation.reading import Rows, records

GROUP: Final = "messages"
_FLUID: Final = "fluid arithmetic"


def cases() -> Iterator[Case]:
    """All cases of messages."""
    yield _consumers_down()
    yield from starmap(_short_timeout, [(1.0, 1.42019), (2.0, 1.13782)])
    yield _overload()
    yield _needs_all()
    yield _bulks()
    yield _broker()


def pipeline(work: Law, load: Mapping[str, Any], *, queue: Mapping[str, Any] | None = None, **more: Any) -> Scenario:
    """Build a gateway that publishes each request, and one consumer that works on one message at a time."""
    worker = service(work, workers=more.pop("workers", 1))
    services = {"gate": service([{"publish": "jobs"}], workers="unlimited"), "worker": worker}
    return scenario(services, load, queues={"jobs": {"consumer": "worker.do", **(queue or {})}}, **more)


def _caught_up_s(effects: Rows, since_s: float) -> float:
    """Clock time of the first message after `since_s` that finds no line, in seconds."""
    later = effects[effects["acked_s"] > since_s]
    at_once = later["started_s"] - later["acked_s"] < 1e-9
    return float(later["acked_s"][at_once].min())


def _consumers_down() -> Case:
    # Even arrivals and constant work: the fluid is exact to one message, so one run says all.
    faults = [{"crash": "worker", "at": 20.005, "for": 60.0}]  # in the middle of a message's work
    run = pipeline(Constant(0.01), even(80, "gate.do"), duration_s=400, faults=faults)

    def read(result: RunResult) -> Reading:
        effects = records(result, "effects")
        backlog = ((effects["acked_s"] < 80) & ~(effects["done_s"] < 80)).sum()
        # Nothing is lost, and only the message that the consumer held when it died is delivered twice.
        lost = len(records(result, "requests")) - np.isfinite(effects["done_s"]).sum()
        return {
            "backlog": backlog,
            "drain": _caught_up_s(effects, 80) - 80,
            "lost": lost,
            "again": (effects["deliveries"] - 1).sum(),
        }, {}

    expected = {
        "mean of backlog": Expected(theory.backlog(80, 0, 60), 2),
        "mean of drain": Expected(theory.drain_s(4800, 80, 100), 0.1),
        "mean of lost": exactly(0),
        "mean of again": exactly(1),
    }
    return Case("A1", "consumers down for a minute", GROUP, _FLUID, run, read, expected, seeds=1)


def _overload() -> Case:
    points = [{"at": 0, "rate": 50}, {"at": 20, "rate": 200}, {"at": 80, "rate": 50}]
    run = pipeline(Exponential(1 / 120), {"kind": "steps", "points": points, "mix": "gate.do"}, duration_s=190)

    def read(result: RunResult) -> Reading:
        effects = records(result, "effects")
        waiting = ((effects["acked_s"] <= 80) & (effects["started_s"] > 80)).sum()
        largest_s = (effects["started_s"] - effects["acked_s"]).max()
        return {"backlog": waiting, "drain": _caught_up_s(effects, 80) - 80, "delay": largest_s}, {}

    expected = {"mean of backlog": near(4800, 0.02), "mean of drain": near(68.6, 0.02), "mean of delay": near(40, 0.02)}
    return Case("A3", "a minute of more than the consumers can do", GROUP, _FLUID, run, read, expected, seeds=20)


def _short_timeout(timeout_s: float, deliveries: float) -> Case:
    queue = {"consumers": 1000, "visibility_timeout": timeout_s, "late_acknowledge": "accepted"}
    run = pipeline(Exponential(1.0), poisson(5, "gate.do"), queue=queue, workers="unlimited", duration_s=1000)

    def read(result: RunResult) -> Reading:
        effects = records(result, "effects")
        # Each delivery is work that ends somewhere, and each completion an effect: nobody tells the others that it is done.
        undone = np.abs(effects["deliveries"] - effects["times_done"])
        return {"deliveries": effects["deliveries"], "undone": undone}, {}

    expected = {"mean of deliveries": near(deliveries, 0.02), "max of undone": exactly(0)}
    title = f"invisible for {timeout_s:g} s, work of 1 s"
    return Case("A2", title, GROUP, "closed form", run, read, expected, seeds=20)


def chain(count: int = 10, failing: float = 0.001) -> dict[str, Any]:
    """Build services that each call the next one; one of so many calls fails in each."""
    last: list[Any] = [{"fail": failing}]
    steps = [[*last, {"call": f"s{i + 1}.do"}] for i in range(count - 1)]
    return {f"s{i}": service(one, workers="unlimited") for i, one in enumerate([*steps, last])}


def _needs_all() -> Case:
    run = scenario(chain(), poisson(100, "s0.do"), duration_s=500)

    def read(result: RunResult) -> Reading:
        return {"failed": records(result, "requests")["outcome"] != OK}, {}

    expected = {"mean of failed": near(1 - 0.990045, 0.02)}
    return Case("AV1", "a synchronous chain of ten needs all ten", GROUP, "arithmetic", run, read, expected, seeds=20)


def _bulks() -> Case:
    bulk = [{"repeat": [{"publish": "jobs"}], "count": {1: 50, 3: 50}}]
    services = {"gate": service(bulk, workers="unlimited"), "worker": service(Exponential(1.0))}
    queues = {"jobs": {"consumer": "worker.do"}}
    run = scenario(services, poisson(0.3, "gate.do"), duration_s=60_000, warmup_s=500, queues=queues)

    def read(result: RunResult) -> Reading:
        effects = records(result, "effects")
        settled = effects[effects["arrived_s"] > 500]
        return {"time": settled["done_s"] - settled["acked_s"]}, {}

    expected = {"mean of time": near(4.375, 0.02)}
    return Case("BULK", "messages in bulks, M(X)/M/1", GROUP, TEXTBOOK, run, read, expected, seeds=30)


def _broker() -> Case:
    services = {
        "gate": service([{"publish": "jobs"}], workers="unlimited"),
        "worker": service(Constant(0.0), workers="unlimited"),
    }
    run = scenario(
        services, poisson(1.4, "gate.do"), duration_s=20_000, warmup_s=500,
        queues={"jobs": {"consumer": "worker.do", "broker": "rabbit", "consumers": 100}},
        brokers={"rabbit": {"workers": 2, "write": Exponential(1.0)}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        requests = records(result, "requests")
        return {"wait": requests["queue_s"][requests["arrived_s"] > 500]}, {}

    expected = {
        "mean of wait": near(theory.mmc_wait_mean(1.4, 1.0, 2), 0.02),
        "p99 of wait": near(theory.mmc_wait_quantile(1.4, 1.0, 2, 0.99), 0.05),
    }
    return Case("BROKER", "publishes at a broker, M/M/2", GROUP, ERLANG, run, read, expected, seeds=30)
