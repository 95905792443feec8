"""Autoscaling: the rule, told without a clock, and in motion."""

from __future__ import annotations

import pytest
from mail_shop import rows, simulate
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


def test_a_backlog_is_divided_by_what_a_replica_is_to_have():
    one = gate(target_utilisation_percent=80, stabilisation=0)
    assert one.wanted(0, 1, 1.0, backlog=1000) == 2  # the backlog is nobody's business where utilisation is the target
    waits = AutoscalingGate(Autoscaling(max_replicas=20, target_backlog=5, stabilisation=0))
    assert [waits.wanted(0, 10, 1.0, backlog=backlog) for backlog in (0, 5, 44, 45, 55, 56, 95, 1000)] == [
        1,
        1,
        9,
        10,
        10,
        12,
        19,
        20,
    ]


def test_in_motion_it_follows_the_backlog():
    result = simulate(
        {"consumers": 1, "prefetch": 1},
        times=(0.0,) * 31,
        work=10.0,
        duration=120,
        process={
            "workers": 1,
            "start_up": 1.0,
            "autoscaling": {"max_replicas": 8, "target_backlog": 5, "stabilisation": 30},
        },
        run={"sample_every": 1.0},
    )
    # At 15 s one of 31 is done: six replicas are wanted for 30, and four more than one are allowed; they begin a second later.
    each = [*range(10, 80, 10), *(second for second in range(26, 80, 10) for _ in range(4))]
    assert sorted(rows(result).done_s) == pytest.approx(sorted(each))
    alive = result.gauges[result.gauges.name == "mail"].set_index("time_s").alive
    # 30, 24, 19, 9, 4, 0 wait at 15, 30, ...: 5 (of 6), 5, 4, 2, 1, 1 would do, and the most of half a minute counts.
    assert [alive[second] for second in (15, 17, 74, 77, 89, 92, 104, 107)] == [1, 5, 5, 4, 4, 2, 2, 1]


@pytest.mark.parametrize(
    ("autoscaling", "words"),
    [
        ({"target_backlog": 5, "target_utilisation_percent": 50}, "are two targets; write one of them"),
        ({"target_backlog": 0}, "greater than 0|above 0"),
        ({"target_backlog": 5}, "shop consumes no queue; write target_utilisation_percent"),
    ],
)
def test_a_target_for_a_backlog_needs_one(autoscaling, words):
    with pytest.raises(ValidationError, match=words):
        scenario(1, registry=TABLE, shop={"autoscaling": {"max_replicas": 2, **autoscaling}})


def test_how_many_is_said_in_one_place():
    with pytest.raises(ValidationError, match="is decided by its autoscaling; leave out one of them"):
        scenario(
            1,
            registry=TABLE,
            shop={"workers": 1, "autoscaling": {"max_replicas": 2}},
            deployments=[{"scale": "shop", "at": 1, "replicas": 2}],
        )


def test_a_rollout_waits_for_what_is_starting_and_the_autoscaler_for_the_rollout():
    shop = {
        "workers": 1,
        "start_up": 5.0,
        "autoscaling": {"max_replicas": 4, "target_utilisation_percent": 50, "interval": 10, "stabilisation": 20},
        "operations": {"buy": [{"work": 0.1}]},
    }
    # Busy from the start: at 10 s a second one is started, which is there at 15 s; the rollout at 12 s waits for it.
    at = (*every(0.1, 0, 30), *every(2.0, 30, 100))
    found = run(scenario(1, registry=TABLE, shop=shop, at=at, deployments=[{"rollout": "shop", "at": 12.0, "grace": 0.0}]))
    told = news(found, "up", "down", caller="shop")
    expected = [(15.0, 1, "up"), (20.0, 0, "down"), (20.0, 2, "up"), (25.0, 1, "down"), (25.0, 3, "up")]
    # Nobody is needed from 30 s on, and at 30 s two were wanted; the look at 60 s is the first whose last 20 s wanted one only.
    assert told == [*expected, (60.0, 3, "down")]
