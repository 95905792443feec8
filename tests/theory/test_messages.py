"""Asynchronous work: a publisher needs only the broker."""

from __future__ import annotations

import numpy as np
import pytest

from sim.records import OK
from sim.single import run
from sim.validation.case import poisson, scenario, service
from sim.validation.messages import chain
from sim.validation.reading import records

pytestmark = pytest.mark.theory


def test_av1_a_publisher_needs_only_the_broker():
    """The ten services of AV1 behind a queue: whoever publishes needs the queue alone, and in the end all is done."""
    gate = {"gate": service([{"publish": "jobs"}], workers="unlimited")}
    queues = {"jobs": {"consumer": "s0.do", "consumers": 100, "redelivery_delay": 0.01}}
    outage = [{"outage": "jobs", "mtbf": 9.99, "mttr": 0.01}]
    case = scenario(gate | chain(), poisson(100, "gate.do"), duration_s=500, queues=queues, faults=outage)

    def failed(result):
        effects = records(result, "effects")
        assert np.isfinite(effects["done_s"]).all()
        refused = (records(result, "requests")["outcome"] != OK).sum()
        assert refused + len(effects) == len(records(result, "requests"))
        return refused / (refused + len(effects))

    assert np.mean([failed(run(case, seed)) for seed in range(1, 6)]) == pytest.approx(0.001, rel=0.2)
