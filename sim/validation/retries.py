"""Retries, what limits them, and pauses under contention: R1 to R5 of the published results, and the tables of jitter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

from sim import theory
from sim.records import OK
from sim.scenario.model import Scenario
from sim.single import RunResult
from sim.validation.case import Case, Expected, Reading, even, exactly, near, poisson, scenario, service
from sim.validation.reading import measured, records

GROUP: Final = "retries"
BACKOFF: Final = "pauses"
_ARITHMETIC: Final = "arithmetic"
_BROOKER: Final = "his simulator, run (Brooker 2022)"
_SEEDS: Final = 20

#: A budget that each success pays into, and one that looks at the share of failures.
_BUDGETS: Final[dict[str, dict[str, Any]]] = {
    "one try": {"max_attempts": 1},
    "four tries": {"max_attempts": 4},
    "token bucket": {"max_attempts": 4, "budget": {"kind": "deposit", "deposit": 0.1, "size": 5}},
    "retry breaker": {"max_attempts": 4, "budget": {"kind": "failure_rate", "max_failure_percent": 10}},
}
#: Success and load per call, by share of failures.
_LEFT: Final = {
    ("one try", 0.1): (0.900, 1.0),
    ("one try", 0.5): (0.500, 1.0),
    ("one try", 1.0): (0.0, 1.0),
    ("four tries", 0.1): (0.9999, 1.112),
    ("four tries", 0.5): (0.937, 1.873),
    ("four tries", 1.0): (0.0, 4.000),
    ("token bucket", 0.1): (0.992, 1.102),
    ("token bucket", 0.5): (0.570, 1.142),
    ("token bucket", 1.0): (0.0, 1.143),
    ("retry breaker", 0.1): (0.930, 1.032),
    ("retry breaker", 0.5): (0.499, 1.000),
    ("retry breaker", 1.0): (0.0, 1.000),
}

# v(n) = min(2 s, 5 ms · 2^n), n = 1 for the first retry; decorrelated jitter begins at 5 ms itself.
_GROWING: Final = {"kind": "exponential", "base": "10ms", "max": "2s"}
_PAUSES: Final[dict[str, dict[str, Any]]] = {
    "none": {"base": 0},
    "exponential": _GROWING,
    "full jitter": {**_GROWING, "jitter": "full"},
    "equal jitter": {**_GROWING, "jitter": "equal"},
    "decorrelated jitter": {"base": "5ms", "max": "2s", "jitter": "decorrelated"},
}
#: Calls and milliseconds, by number of writers, in the order of the pauses.
_CALLS: Final = {50: (691, 624, 333, 348, 373), 100: (2418, 1859, 795, 813, 1000)}
_MILLISECONDS: Final = {50: (1146, 36423, 2941, 4353, 2111), 100: (2024, 63597, 4900, 6586, 4630)}


def cases() -> Iterator[Case]:
    """All cases of retries and of pauses."""
    yield from starmap(_chain, [(0.5, 4), (0.1, 4), (0.7, 2)])
    yield from starmap(_layers, [(3, 4, 64), (5, 3, 243)])
    yield from (_budget(*key, *found) for key, found in _LEFT.items())
    # The chain of the tokens, one call after the other; retries survive while f < tokenRatio / (1 + tokenRatio) = 9.1 %.
    yield from starmap(_throttled, [(0.05, 1.05209, 0.999489), (0.1, 1.02035, 0.918315), (0.2, 1.0, 0.8)])
    for count in _CALLS:
        for place, rule in enumerate(_PAUSES):
            yield _writers(count, rule, _CALLS[count][place], _MILLISECONDS[count][place])


def _success_and_load(result: RunResult) -> Reading:
    rows = measured(result)
    return {"success": rows["outcome"] == OK, "load": rows["attempts"]}, {}


def _chain(failure: float, most: int) -> Case:
    services = {"a": service([{"work": 0.001}, {"fail": failure}], workers="unlimited")}
    calls = {"default": {"retry": {"max_attempts": most}}}
    run = scenario(services, poisson(100, "a.do"), duration_s=25, calls=calls)
    expected = {
        "mean of success": near(theory.success_with_retries(failure, most), 0.02),
        "mean of load": near(theory.attempts_with_retries(failure, most), 0.02),
    }
    title = f"{most} tries, {failure:.0%} fail"
    return Case("R1", title, GROUP, _ARITHMETIC, run, _success_and_load, expected, _SEEDS)


def _layers(layers: int, most: int, at_the_bottom: int) -> Case:
    names = [f"s{i}" for i in range(layers)]
    steps: dict[str, list[Any]] = {name: [{"call": f"{below}.do"}] for name, below in zip(names, names[1:], strict=False)}
    steps[names[-1]] = [{"work": 0.001}, {"fail": 1.0}]
    services = {name: service(steps[name], workers="unlimited") for name in names}
    calls = {"default": {"retry": {"max_attempts": most}}}
    run = scenario(services, even(1, "s0.do"), duration_s=3.5, attempts=True, calls=calls)

    def read(result: RunResult) -> Reading:
        bottom = result.attempts[result.attempts.target == f"{names[-1]}.do"]
        success, _ = _success_and_load(result)
        return {**success, "attempts at the bottom": bottom.groupby("request").size().to_numpy()}, {}

    expected = {
        "mean of success": exactly(0),
        "mean of load": exactly(sum(most**layer for layer in range(1, layers + 1))),
        "mean of attempts at the bottom": exactly(at_the_bottom),
        "max of attempts at the bottom": exactly(at_the_bottom),
    }
    return Case("R2", f"{most} tries in each of {layers} layers", GROUP, _ARITHMETIC, run, read, expected, seeds=1)


def _budget(name: str, failure: float, success: float, load: float) -> Case:
    # 100 clients × 10 rps × 10 s. Each client has a budget of its own, so fewer clients give the same numbers.
    clients = 25
    run = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")}, poisson(10 * clients, "a.do", clients=clients), duration_s=10,
        links={"default": {"exponential": 0.01}}, calls={"default": {"retry": _BUDGETS[name]}},
    )  # fmt: skip
    expected = {"mean of success": Expected(success, 0.01), "mean of load": Expected(load, 0.01)}
    return Case("R3", f"{name}, {failure:.0%} fail", GROUP, _BROOKER, run, _success_and_load, expected, _SEEDS)


def _throttled(failure: float, load: float, success: float) -> Case:
    budget = {"kind": "token_ratio", "max_tokens": 10, "token_ratio": 0.1}
    run = scenario(
        {"a": service([{"fail": failure}], workers="unlimited")}, even(100), duration_s=30, warmup_s=10,
        calls={"default": {"preset": "grpc@1.7x", "retry": {"backoff": {"base": 0}, "budget": budget}}},
    )  # fmt: skip
    expected = {"mean of load": near(load, 0.01), "mean of success": near(success, 0.01)}
    title = f"gRPC's retry throttling, {failure:.0%} fail"
    return Case("R5", title, GROUP, "Markov chain; grpc/proposal A6", run, _success_and_load, expected, _SEEDS)


def _writers(count: int, rule: str, calls: int, milliseconds: int) -> Case:
    def read(result: RunResult) -> Reading:
        rows = records(result, "requests")
        # Each try of an update is one attempt at the app, one read and one write.
        numbers = {"calls": rows["attempts"].sum() / 3, "ms": 1000 * rows["ended_s"].max()}
        return {**numbers, "answered": (rows["outcome"] == OK).sum()}, {}

    # Published are means of 100 runs, with an error of their own: 2.5 % for the time of 50 writers with decorrelated jitter,
    # where a plain event list gives 2239 ± 46 ms from 1000 runs.
    expected = {
        "mean of calls": Expected(calls, 0.02 * calls, estimated=True),
        "mean of ms": Expected(milliseconds, 0.05 * milliseconds, estimated=True),
        "mean of answered": exactly(count),
    }
    source = "its simulator, run (AWS Architecture Blog 2015)"
    seeds = 100 if count == 50 else 40
    return Case("AJ", f"{count} writers, {rule}", BACKOFF, source, writers(count, _PAUSES[rule]), read, expected, seeds)


def writers(count: int, backoff: dict[str, Any]) -> Scenario:
    """Build clients that each write one row once with optimistic concurrency, and come into each other's way."""
    services = {
        "app": {"workers": "unlimited", "operations": {"update": [{"call": "db.read"}, {"call": "db.write"}]}},
        "db": {"workers": "unlimited", "operations": {"read": [{"read_version": "row"}], "write": [{"commit": "row"}]}},
    }
    return scenario(
        services, {"kind": "replay", "times": [0.0] * count, "mix": "app.update"}, duration_s=1, run={"sample_every": 1e3},
        links={"app -> db": {"normal": {"mean": "10ms", "sd": "2ms"}}},
        calls={"client -> app": {"retry": {"max_attempts": "unlimited", "backoff": backoff}}},
    )  # fmt: skip
