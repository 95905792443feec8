"""Back-off under contention: the AWS Architecture Blog's tables of writers that come into each other's way."""

from __future__ import annotations

import numpy as np
import pytest
from harness import estimate
from rows import records

from sim.records import OUTCOMES
from sim.scenario.model import Scenario
from sim.single import run

pytestmark = pytest.mark.theory

OK = OUTCOMES.index("ok")
# v(n) = min(2 s, 5 ms · 2^n), n = 1 for the first retry; decorrelated jitter begins at 5 ms itself.
GROWING = {"kind": "exponential", "base": "10ms", "max": "2s"}
RULES = {
    "none": {"base": 0},
    "exponential": GROWING,
    "full": {**GROWING, "jitter": "full"},
    "equal": {**GROWING, "jitter": "equal"},
    "decorrelated": {"base": "5ms", "max": "2s", "jitter": "decorrelated"},
}
CALLS = {50: (691, 624, 333, 348, 373), 100: (2418, 1859, 795, 813, 1000)}
MILLISECONDS = {50: (1146, 36423, 2941, 4353, 2111), 100: (2024, 63597, 4900, 6586, 4630)}


def writers(count, backoff):
    return Scenario(
        services={
            "app": {
                "workers": "unlimited",
                "operations": {"update": [{"call": "db.read"}, {"call": "db.write"}]},
            },
            "db": {
                "workers": "unlimited",
                "operations": {"read": [{"read_version": "row"}], "write": [{"commit": "row"}]},
            },
        },
        links={"app -> db": {"normal": {"mean": "10ms", "sd": "2ms"}}},
        calls={"client -> app": {"retry": {"max_attempts": "unlimited", "backoff": backoff}}},
        load={"kind": "replay", "times": [0.0] * count, "mix": "app.update"},
        run={"duration": 1, "drain": 1e6, "sample_every": 1e3, "record_attempts": False},
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [50, 100])
def test_writers_who_come_into_each_others_way(count, rule):
    case = writers(count, RULES[rule])
    place = list(RULES).index(rule)

    def read(seed):
        rows = records(run(case, seed), "requests")
        assert (rows["outcome"] == OK).all()
        assert len(rows) == count
        # Each try of an update is one attempt at the app, one read and one write.
        return rows["attempts"].sum() / 3, 1000 * rows["ended_s"].max()

    # Published are means of 100 runs, with an error of their own: 2.5 % for the time of 50 writers with decorrelated jitter,
    # where a plain event list gives 2239 ± 46 ms from 1000 runs.
    found = np.array([read(seed) for seed in range(1, 101 if count == 50 else 41)])
    for name, column, published, tolerance in (
        ("calls", 0, CALLS[count][place], 0.02),
        ("ms", 1, MILLISECONDS[count][place], 0.05),
    ):
        ours, half_width = estimate(found[:, column])
        print(f"{name} = {ours:.5g} ± {half_width:.2g}, published {published} ({(ours / published - 1):+.2%})")
        assert abs(ours - published) <= tolerance * published + half_width
