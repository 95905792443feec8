"""Real systems as they were measured, from their presets: M3 and M3b, M5, M7 and M9 of the published results."""

from __future__ import annotations

import numpy as np
import pytest
from harness import estimate, measured, poisson, replicate, scenario, service, times

from sim.laws import Exponential
from sim.records import OUTCOMES
from sim.single import run

pytestmark = pytest.mark.theory

OK, REJECTED, UNREACHABLE = (OUTCOMES.index(name) for name in ("ok", "rejected", "unreachable"))

#: A client -> Envoy -> backend path adds 0.8 to 0.95 ms.
ENVOYS_WAY = {"default": 0.00045}


def assert_as_measured(name, ours, seen, is_mean=False):
    """Within two standard errors of three runs for ratios, within 1.5 ms + 3 % for means."""
    mean, half_width = estimate(ours)
    measured_mean = np.mean(seen)
    error = max(np.std(seen, ddof=1), ours.std(ddof=1)) / np.sqrt(len(seen))
    allowed = 0.0015 + 0.03 * measured_mean if is_mean else 2 * error
    print(f"{name} = {mean:.5g} ± {half_width:.2g}, measured {measured_mean:.5g} ± {allowed:.2g}")
    assert abs(mean - measured_mean) <= allowed + half_width
    assert half_width <= 2 * allowed


@pytest.mark.parametrize(
    ("failure", "budget", "success", "attempts"),
    [
        (0.3, {}, (0.960, 0.948, 0.959), None),  # no circuit_breakers block: 3 retries at a time
        (0.7, {"budget_percent": 20, "min_concurrency": 3}, (0.506, 0.501, 0.506), (1.69, 1.67, 1.67)),
    ],
    ids=["M3 max_retries 3", "M3b retry_budget 20 %"],
)
def test_m3_envoys_budgets(failure, budget, success, attempts):
    case = scenario(
        {"a": service([{"fail": failure, "work": 0.005}, {"work": Exponential(0.02)}], workers=4, replicas=4)},
        poisson(100, "a.do"),
        duration_s=55,
        warmup_s=5,
        links=ENVOYS_WAY,
        calls={"default": {"preset": "envoy@1.40", "retry": {"max_attempts": 4, "budget": {"kind": "concurrency", **budget}}}},
    )

    def read(result):
        rows = measured(result)
        return [(rows["outcome"] == OK).mean(), rows["attempts"].mean()]

    found = replicate(case, read, range(1, 21))
    assert_as_measured("success", found[:, 0], success)
    if attempts is not None:
        assert_as_measured("attempts", found[:, 1], attempts)


def test_m5_envoys_connections_and_pending_requests():
    case = scenario(
        {"a": service(Exponential(0.05), workers=4)},
        poisson(80, "a.do"),
        duration_s=55,
        warmup_s=5,
        links=ENVOYS_WAY,
        calls={"default": {"preset": "envoy@1.40", "concurrency_limit": {"max_concurrent": 4, "max_queue": 4}}},
    )

    def read(result):
        rows = measured(result)
        good = rows["outcome"] == OK
        assert set(rows["outcome"]) == {OK, REJECTED}
        return [1 - good.mean(), times(rows[good]).mean()]

    found = replicate(case, read, range(1, 21))
    assert_as_measured("overflow", found[:, 0], (0.142, 0.152, 0.153))
    assert_as_measured("mean of accepted", found[:, 1], (0.0711, 0.0735, 0.0725), is_mean=True)


@pytest.mark.parametrize(
    ("budget", "attempts", "success"),
    [
        (None, (1.905, 1.892, 1.831), (0.933, 0.942, 0.953)),
        ({"kind": "token_ratio", "max_tokens": 10, "token_ratio": 0.1}, (1.003, 1.003, 1.003), (0.478, 0.503, 0.520)),
    ],
    ids=["retryPolicy", "retryThrottling"],
)
def test_m7_grpcs_retries(budget, attempts, success):
    retry = {"max_attempts": 4, "backoff": {"base": 0.05, "multiplier": 2, "max": 1}}
    case = scenario(
        {"a": service([{"fail": 0.5, "work": 0.005}, {"work": 0.005}], workers=4)},
        poisson(25, "a.do"),
        duration_s=60,
        links={"default": 0.001},
        attempts=True,
        calls={"default": {"preset": "grpc@1.7x", "retry": retry | ({"budget": budget} if budget else {})}},
    )

    gaps = {2: [], 3: [], 4: []}

    def read(result):
        rows, tries = measured(result), result.arrays["attempts"]
        order = np.lexsort((tries["number"], tries["request"]))
        number, began_s, ended_s = (tries[name][order] for name in ("number", "started_s", "ended_s"))
        for later, found in gaps.items():
            here = np.flatnonzero(number == later)
            found.extend(began_s[here] - ended_s[here - 1])
        return [rows["attempts"].mean(), (rows["outcome"] == OK).mean()]

    found = replicate(case, read, range(1, 21))
    assert_as_measured("attempts", found[:, 0], attempts)
    assert_as_measured("success", found[:, 1], success)
    if not budget:
        for number, pause_s in ((2, 0.05), (3, 0.1), (4, 0.2)):
            pauses = np.array(gaps[number]) / pause_s
            assert (pauses > 0.8 - 1e-9).all()
            assert (pauses < 1.2 + 1e-9).all()
            # Uniform between the two: mean 1, standard deviation 0.4 / √12.
            assert pauses.mean() == pytest.approx(1, abs=0.01)
            assert pauses.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.05)


@pytest.mark.parametrize("retries", [False, True])
@pytest.mark.parametrize("phase_s", [0.03, 0.5])
def test_m9_nginx_leaves_a_server_out_and_looks_again(retries, phase_s):
    # One of three servers refuses connections for 40 s; nginx is not told, it finds out.
    begins_s = 10 + phase_s
    case = scenario(
        {"a": service(0.002, workers="unlimited", replicas=3, discovery_delay=1e6)},
        {"kind": "constant", "rate": 100, "mix": "a.do"},
        duration_s=70,
        attempts=True,
        faults=[{"crash": "a", "replica": 1, "at": begins_s, "for": 40}],
        calls={
            "default": {
                "preset": "nginx@1.22",
                "passive_health": {"max_fails": 1, "fail_timeout": 5},
                **({} if retries else {"retry": {"max_attempts": 1}}),
            }
        },
    )
    result = run(case, 1)
    rows, tries = result.arrays["requests"], result.arrays["attempts"]
    failed = tries["outcome"] == UNREACHABLE
    assert failed.sum() == 7
    assert (rows["outcome"] != OK).sum() == (0 if retries else 7)
    assert (rows["attempts"] == 2).sum() == (7 if retries else 0)
    assert set(tries["replica"][failed]) == {1}
    # At once, and then every six whole seconds, within a few turns of the round robin.
    at_s = tries["started_s"][failed]
    assert 0 <= at_s[0] - begins_s < 0.05
    assert np.diff(np.floor(at_s)) == pytest.approx(6)
    assert (np.diff(at_s[1:]) > 5.9).all()
    assert (np.diff(at_s[1:]) < 6.1).all()
    # And it is used again, in its turns, once it has answered.
    late = tries["started_s"] > begins_s + 40 + 6.1
    assert np.bincount(tries["replica"][late]) / late.sum() == pytest.approx(1 / 3, abs=0.01)
