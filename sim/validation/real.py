"""Real systems as they were measured on loopback, from their presets: M3 and M3b, M5, M7 and M9 of the published results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from sim.laws import Exponential
from sim.records import OK, REJECTED, UNREACHABLE
from sim.single import RunResult
from sim.validation.case import (
    Case,
    Expected,
    Reading,
    as_measured,
    even,
    exactly,
    mean_as_measured,
    near,
    poisson,
    scenario,
    service,
)
from sim.validation.reading import measured, times

GROUP: Final = "measured on real software"
_ENVOY, _GRPC, _NGINX = "measured: Envoy 1.40.0", "measured: grpcio 1.85.1", "measured: nginx 1.22.1"
_SEEDS: Final = 20
#: A client -> Envoy -> backend path adds 0.8 to 0.95 ms.
_ENVOYS_WAY: Final = {"default": 0.00045}
#: Envoy 1.40.0 draws the pause before retry k from U[0, 25 ms · 2^(k-1)).
_PAUSE: Final = {"base": 0.025, "max": 0.25, "jitter": "full"}


def cases() -> Iterator[Case]:
    """All cases that were measured on real software."""
    for failure, retries, success, load, mean_s in (
        (0.3, 0, (0.699, 0.691, 0.708), None, (0.0212, 0.0216, 0.0218)),
        (0.3, 2, (0.972, 0.971, 0.975), (1.390, 1.401, 1.379), (0.0282, 0.0288, 0.0287)),
        (0.7, 3, (0.764, 0.759, 0.768), (2.55, 2.54, 2.53), None),
    ):
        expected = {"mean of success": as_measured(success)}
        expected |= {"mean of load": as_measured(load)} if load else {}
        expected |= {"mean of time": mean_as_measured(mean_s)} if mean_s else {}
        calls = {"retry": {"max_attempts": retries + 1, "backoff": _PAUSE}}
        yield _envoy("M3", f"{retries} retries, {failure:.0%} fail", failure, calls, expected)
    budget = {"budget_percent": 20, "min_concurrency": 3}
    three = {"mean of success": as_measured((0.960, 0.948, 0.959))}  # no circuit_breakers block: 3 retries at a time
    yield _envoy("M3", "3 retries at a time, 30% fail", 0.3, _with_budget({}), three)
    paid = {"mean of success": as_measured((0.506, 0.501, 0.506)), "mean of load": as_measured((1.69, 1.67, 1.67))}
    yield _envoy("M3b", "retry budget of 20 %, 70% fail", 0.7, _with_budget(budget), paid)
    yield _pending()
    yield _grpc("retryPolicy", None, (1.905, 1.892, 1.831), (0.933, 0.942, 0.953))
    throttling = {"kind": "token_ratio", "max_tokens": 10, "token_ratio": 0.1}
    yield _grpc("retryThrottling", throttling, (1.003, 1.003, 1.003), (0.478, 0.503, 0.520))
    for retries in (False, True):
        for phase_s in (0.03, 0.5):
            yield _nginx(phase_s, retries=retries)


def _with_budget(budget: dict[str, Any]) -> dict[str, Any]:
    return {"preset": "envoy@1.40", "retry": {"max_attempts": 4, "budget": {"kind": "concurrency", **budget}}}


def _envoy(id: str, title: str, failure: float, calls: dict[str, Any], expected: dict[str, Expected]) -> Case:
    # 4 backends × 4 workers, 100 rps, 60 s; a failing attempt takes 5 ms, another Exp(20 ms).
    steps = [{"fail": failure, "work": 0.005}, {"work": Exponential(0.02)}]
    run = scenario(
        {"a": service(steps, workers=4, replicas=4)}, poisson(100, "a.do"), duration_s=55, warmup_s=5,
        links=_ENVOYS_WAY, calls={"default": calls},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        good = rows["outcome"] == OK
        return {"success": good, "load": rows["attempts"], "time": times(rows[good])}, {}

    return Case(id, f"Envoy, {title}", GROUP, _ENVOY, run, read, expected, _SEEDS)


def _pending() -> Case:
    limit = {"concurrency_limit": {"max_concurrent": 4, "max_queue": 4}}
    run = scenario(
        {"a": service(Exponential(0.05), workers=4)}, poisson(80, "a.do"), duration_s=55, warmup_s=5,
        links=_ENVOYS_WAY, calls={"default": {"preset": "envoy@1.40", **limit}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows = measured(result)
        good, refused = rows["outcome"] == OK, rows["outcome"] == REJECTED
        return {"overflow": refused, "time of the accepted": times(rows[good]), "otherwise": ~(good | refused)}, {}

    expected = {
        "mean of overflow": as_measured((0.142, 0.152, 0.153)),
        "mean of time of the accepted": mean_as_measured((0.0711, 0.0735, 0.0725)),
        "max of otherwise": exactly(0),
    }
    return Case("M5", "Envoy, 4 connections and 4 pending", GROUP, _ENVOY, run, read, expected, _SEEDS)


def _grpc(title: str, budget: dict[str, Any] | None, load: tuple[float, ...], success: tuple[float, ...]) -> Case:
    retry: dict[str, Any] = {"max_attempts": 4, "backoff": {"base": 0.05, "multiplier": 2, "max": 1}}
    retry |= {"budget": budget} if budget else {}
    run = scenario(
        {"a": service([{"fail": 0.5, "work": 0.005}, {"work": 0.005}], workers=4)}, poisson(25, "a.do"), duration_s=60,
        links={"default": 0.001}, attempts=True, calls={"default": {"preset": "grpc@1.7x", "retry": retry}},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows, tries = measured(result), result.arrays["attempts"]
        order = np.lexsort((tries["number"], tries["request"]))
        number, began_s, ended_s = (tries[name][order] for name in ("number", "started_s", "ended_s"))
        numbers: dict[str, Any] = {"load": rows["attempts"], "success": rows["outcome"] == OK}
        for later, pause_s in ((2, 0.05), (3, 0.1), (4, 0.2)):
            here = np.flatnonzero(number == later)
            # In parts of the pause that is configured: uniform from 0.8 to 1.2, so the distance to 1 is uniform up to 0.2.
            numbers[f"pause before try {later}"] = (began_s[here] - ended_s[here - 1]) / pause_s
            numbers[f"distance of pause {later}"] = np.abs(numbers[f"pause before try {later}"] - 1)
        return numbers, {}

    expected = {"mean of load": as_measured(load), "mean of success": as_measured(success)}
    if not budget:
        for later in (2, 3, 4):
            expected[f"mean of pause before try {later}"] = Expected(1, 0.01)
            expected[f"mean of distance of pause {later}"] = near(0.1, 0.05)
            expected[f"max of distance of pause {later}"] = near(0.2, 0.01)
    return Case("M7", f"gRPC, {title}, half fail", GROUP, _GRPC, run, read, expected, _SEEDS)


def _nginx(phase_s: float, *, retries: bool) -> Case:
    # One of three servers refuses connections for 40 s; nginx is not told, it finds out: at once, and then every six seconds.
    begins_s = 10 + phase_s
    policy = {"preset": "nginx@1.22", "passive_health": {"max_fails": 1, "fail_timeout": 5}}
    policy |= {} if retries else {"retry": {"max_attempts": 1}}
    run = scenario(
        {"a": service(0.002, workers="unlimited", replicas=3, discovery_delay=1e6)}, even(100), duration_s=70, attempts=True,
        faults=[{"crash": "a", "replica": 1, "at": begins_s, "for": 40}], calls={"default": policy},
    )  # fmt: skip

    def read(result: RunResult) -> Reading:
        rows, tries = result.arrays["requests"], result.arrays["attempts"]
        failed = tries["outcome"] == UNREACHABLE
        at_s = tries["started_s"][failed]
        late = tries["started_s"] > begins_s + 40 + 6.1
        return {
            "failed tries": failed.sum(),
            "errors": (rows["outcome"] != OK).sum(),
            "tried again": (rows["attempts"] == 2).sum(),
            "tries elsewhere": (tries["replica"][failed] != 1).sum(),
            "first": at_s[0] - begins_s,
            "pause": np.diff(at_s[1:]),
            "whole seconds": np.diff(np.floor(at_s)),
            "share afterwards": (tries["replica"][late] == 1).mean(),
        }, {}

    expected = {
        "mean of failed tries": exactly(7),
        "mean of errors": exactly(0 if retries else 7),
        "mean of tried again": exactly(7 if retries else 0),
        "mean of tries elsewhere": exactly(0),
        "mean of first": Expected(0.025, 0.025),
        "mean of pause": Expected(6.0, 0.1),
        "max of pause": Expected(6.0, 0.1),
        "max of whole seconds": exactly(6),
        "mean of whole seconds": exactly(6),
        "mean of share afterwards": Expected(1 / 3, 0.01),
    }
    title = f"nginx, a server gone at {begins_s:g} s, {'the next is tried' if retries else 'no other is tried'}"
    return Case("M9", title, GROUP, _NGINX, run, read, expected, seeds=1)
