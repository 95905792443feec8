"""Overload, with callers who give up: what the server is told decides whether anything is answered in time."""

from __future__ import annotations

import numpy as np
import pytest

from sim import theory
from sim.laws import Exponential
from sim.records import OK
from sim.single import run
from sim.validation.case import poisson, scenario, service
from sim.validation.reading import measured

pytestmark = pytest.mark.theory


def test_q13_in_overload_nothing_is_in_time_but_q12_goes_on():
    def answered(services, **more):
        case = scenario(services, poisson(1.2, "a.do"), duration_s=2000, warmup_s=1000, **more)
        return np.mean([(measured(run(case, seed))["outcome"] == OK).mean() for seed in range(1, 21)])

    assert answered({"a": service(Exponential(1.0))}, calls={"default": {"per_try_timeout": 5}}) == 0
    told = answered({"a": service(Exponential(1.0), queue={"max_wait": 5})})
    assert told == pytest.approx(1 - theory.mm1_deterministic_patience_lost(1.2, 1, 5), rel=0.02)
