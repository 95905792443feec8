"""Metastable failures: whether a service comes back after an outage, or its clients' retries keep it down (ME1, ME3).

Source: Bronson et al., "Metastable failures in distributed systems", HotOS 2021. One FIFO worker with constant work, clients who give
up after a second and try again, and a server that is not told. The outage stops the worker and keeps the line.
"""

from __future__ import annotations

import numpy as np
import pytest
from harness import estimate, poisson, replicate, scenario, service

from sim.laws import Constant
from sim.records import OUTCOMES

pytestmark = pytest.mark.theory

TIMEOUT = OUTCOMES.index("timeout")
OUTAGE_AT_S = 10.0


def outage(capacity_rps, rate_rps, attempts, outage_s, after_s):
    # A worker that is slowed so much that one piece of work takes the whole outage does nothing else in it.
    stopped = {"slow": "a", "factor": outage_s * capacity_rps, "at": OUTAGE_AT_S, "for": outage_s}
    return scenario(
        {"a": service(Constant(1 / capacity_rps))},
        poisson(rate_rps, "a.do"),
        duration_s=OUTAGE_AT_S + outage_s + after_s,
        attempts=True,
        faults=[stopped],
        calls={"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": attempts}}},
    )


def recovery_s(result, outage_s):
    """Time after the outage at which the last attempt begins that will not be answered in time, in seconds."""
    attempts = result.arrays["attempts"]
    late = attempts["started_s"][attempts["outcome"] == TIMEOUT]
    return late.max() - OUTAGE_AT_S - outage_s


def test_me1_time_to_recover():
    case = outage(300, 120, attempts=2, outage_s=10.0, after_s=50)
    # 19 λ have piled up (10 s of first tries, 9 s of retries); it is over when the line is shorter than a second.
    expected_s = (19 * 120 - 300) / (300 - 2 * 120)
    values = replicate(case, lambda result: [recovery_s(result, 10.0)], range(1, 21))[:, 0]
    mean_s, half_width_s = estimate(values)
    assert half_width_s < 0.25 * expected_s
    assert abs(mean_s - expected_s) <= max(0.02 * expected_s, half_width_s)


@pytest.mark.parametrize(
    ("capacity", "rate", "attempts", "outage_s", "comes_back"),
    [
        (300, 160, 2, 10.0, False),  # ME1 beyond λ = 151
        (100, 60, 2, 1.0, True),
        (100, 60, 2, 2.0, False),
        (100, 30, 4, 2.0, True),
        (100, 30, 4, 3.0, False),
    ],
)
def test_me3_a_trap_exists_only_if_retries_can_fill_the_server(capacity, rate, attempts, outage_s, comes_back):
    case = outage(capacity, rate, attempts, outage_s, after_s=40)
    # Seconds from the last late attempt to the last arrival: many once it has come back, none while it is trapped.
    calm_s = replicate(case, lambda result: [40 - recovery_s(result, outage_s)], range(1, 11))[:, 0]
    assert (calm_s > 10).all() if comes_back else (calm_s < 3).all(), np.round(calm_s, 1)
