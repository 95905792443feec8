"""Last come first served, request by request."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

from sim.laws import Lognormal
from sim.single import run
from sim.validation.case import poisson, scenario, service
from sim.validation.reading import records

pytestmark = pytest.mark.theory


@pytest.mark.parametrize("seed", [1, 2])
def test_the_newest_first_request_by_request(seed):
    newest = {"queue": {"discipline": {"kind": "lifo"}}}
    case = scenario({"a": service(Lognormal(1.0, 2), **newest)}, poisson(0.9, "a.do"), duration_s=4_000)
    rows = records(run(case, seed), "requests")
    waits = oracles.lifo(rows["arrived_s"], rows["service_s"])
    assert np.allclose(rows["queue_s"], waits, rtol=0, atol=1e-9)
