"""Autoscaling: the rule, told without a clock, and in motion."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from test_finding import TABLE, every, news, scenario

from sim.policies.autoscaling import Autoscaling, AutoscalingGate
from sim.single import run


def gate(**spec):
    return AutoscalingGate(Autoscaling(**{"max_replicas": 20, "target_utilisation_percent": 50, **spec}))


def test_it_grows_in_proportion_and_at_most_to_double_or_by_four():
    assert gate().wanted(0, 10, 0.75) == 15
    assert gate(max_replicas=12).wanted(0, 10, 0.75) == 12
    assert gate().wanted(0, 1, 1.0) == 2
    assert gate(target_utilisation_percent=10).wanted(0, 2, 1.0) == 6  # 20 are wanted; four more are allowed
    assert gate(target_utilisation_percent=10).wanted(0, 6, 1.0) == 12


def test_a_tenth_more_or_less_is_let_be():
    assert [gate().wanted(0, 10, utilisation) for utilisation in (0.45, 0.55, 0.56)] == [10, 10, 12]


def test_fewer_only_after_they_would_have_been_enough_for_long():
    one = gate(stabilisation=60)
    assert one.wanted(0, 10, 0.5) == 10
    assert one.wanted(30, 10, 0.3) == 10  # 6 would do, 10 were wanted half a minute ago
    assert one.wanted(60, 10, 0.2) == 10
    assert one.wanted(61, 10, 0.2) == 6  # the largest number of the last minute
    assert one.wanted(91, 6, 0.1) == 4  # what was wanted at 60 and 61
    assert gate(min_replicas=3, stabilisation=0).wanted(0, 4, 0.0) == 3


def test_in_motion_it_follows_the_load():
    shop = {
        "workers": 1,
        "start_up": 5.0,
        "autoscaling": {"max_replicas": 4, "target_utilisation_percent": 60, "stabilisation": 30},
    }
    shop["operations"] = {"buy": [{"work": 0.1}]}
    # 12 calls a second keep 1.2 workers busy: two replicas at 60 %; then one a second.
    found = run(scenario(1, registry=TABLE, shop=shop, at=(*every(1 / 12, 0, 100), *every(1.0, 100, 180))))
    assert news(found, "up", caller="shop")[0] == (20.0, 1, "up")  # the first look at 15 s, and five seconds to start
    changes = [(time_s, {"up": 1, "down": -1}[state]) for time_s, _, state in news(found, "up", "down", caller="shop")]

    def running(at_s):
        return 1 + sum(step for time_s, step in changes if time_s <= at_s)

    assert running(60) == 3  # one more, while the line of the first twenty seconds is still there
    assert running(99) == 2
    assert running(129) == 2  # the load has gone, and they stay half a minute
    assert running(180) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"autoscaling": {"max_replicas": 2, "min_replicas": 3}}, "is above max_replicas = 2"),
        ({"autoscaling": {"max_replicas": 2}, "workers": "unlimited"}, "nothing of unlimited workers is a utilisation"),
        ({"autoscaling": {"max_replicas": 2}, "replicas": 5}, "begins with replicas = 5"),
    ],
)
def test_what_cannot_be_is_told(data, words):
    with pytest.raises(ValidationError, match=words):
        scenario(1, registry=TABLE, shop={"workers": 1, **data})


def test_not_with_deployments():
    with pytest.raises(ValidationError, match="has autoscaling, which decides by itself"):
        scenario(
            1,
            registry=TABLE,
            shop={"workers": 1, "autoscaling": {"max_replicas": 2}},
            deployments=[{"scale": "shop", "at": 1, "replicas": 2}],
        )
