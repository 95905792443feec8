"""Outages that a system recovers from: what ME1 and ME3 of `sim validate` leave over."""

from __future__ import annotations

import numpy as np
import pytest

from sim.records import OK
from sim.single import run
from sim.validation.case import scenario, service
from sim.validation.outages import BEGIN_S, outage
from sim.validation.reading import records

pytestmark = pytest.mark.theory


def test_me3_without_enough_load_there_is_no_trap():
    case = outage(100, 45, 2, 3, 60)
    for seed in range(1, 4):
        rows = records(run(case, seed), "requests")
        assert (rows["outcome"][rows["arrived_s"] > BEGIN_S + 3 + 50] == OK).all()


def test_a_pause_keeps_the_backlog_in_order():
    case = scenario(
        {"a": service(0.25)},
        {"kind": "replay", "times": [0.9, 1.5, 1.75], "mix": "a.do"},
        duration_s=10,
        faults=[{"pause": "a", "at": 1, "for": 2}],
    )
    rows = records(run(case, 1), "requests")
    # What has begun is finished; the others begin when it is over, first come first served.
    assert rows["ended_s"] == pytest.approx([1.15, 3.25, 3.5])
    assert rows["queue_s"] == pytest.approx([0, 1.5, 1.5])
    assert np.isclose(rows["service_s"], 0.25).all()
