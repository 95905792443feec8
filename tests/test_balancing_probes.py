"""Balancing by what servers say unasked, or when asked: join the idle queue, and Prequal."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.policies.balancers import new_balancer
from sim.policies.balancing_kinds import Balancing
from sim.policies.prequal import LatencyMemory, ProbeReport
from sim.scenario.model import Scenario
from sim.single import run
from sim.streams import child

FOUR = [0, 1, 2, 3]


def rule(kind, known=FOUR, **fields):
    balancer = new_balancer(Balancing(kind=kind, **fields), process_key=7)
    balancer.look(0.0, 0, known)
    return balancer


# --- join the idle queue ----------------------------------------------------------------------------------------------


def test_the_idle_are_taken_in_the_order_in_which_they_said_so_each_once():
    balancer = rule("join_idle_queue")
    for endpoint in (2, 0, 2):
        balancer.heard(endpoint, 1.0, None)
    assert [balancer.pick(FOUR, [], i) for i in range(2)] == [2, 0]
    drawn = Counter(balancer.pick(FOUR, [], child(1, i)) for i in range(4000))
    assert min(drawn.values()) > 850


def test_an_idle_one_that_cannot_be_used_waits_for_another_time():
    balancer = rule("join_idle_queue")
    balancer.heard(3, 1.0, None)
    assert balancer.pick([0], [], 0) == 0
    assert balancer.pick(FOUR, [], 0) == 3


def test_what_an_idle_one_said_before_it_went_is_forgotten():
    firsts = Counter()
    for number in range(40):
        balancer = rule("join_idle_queue")
        balancer.heard(3, 1.0, None)
        balancer.look(2.0, 0, [0, 1, 2])
        balancer.look(3.0, 0, [0, 1, 2, 3])
        firsts[balancer.pick(FOUR, [], child(1, number))] += 1
    assert firsts[3] < 20


# --- Prequal ----------------------------------------------------------------------------------------------------------


def prequal(reports, known=FOUR, **fields):
    """A balancer that has got these answers at 0 s, (calls, latency) by endpoint, and drops none."""
    balancer = rule("prequal", known, **{"removes": 0, "pool_size": 8, **fields})
    for endpoint, report in reports.items():
        balancer.heard(endpoint, 0.0, ProbeReport(*report))
    return balancer


def test_the_fastest_of_those_that_are_not_hot():
    # Calls inside: 0, 1, 2, 9. With 0.5 the limit is 2: the last one is hot, though it is the fastest.
    reports = {0: (0, 0.5), 1: (1, 0.3), 2: (2, 0.4), 3: (9, 0.1)}
    assert prequal(reports, hot_quantile=0.5).pick(FOUR, [], 0) == 1
    assert prequal(reports, hot_quantile=1.0).pick(FOUR, [], 0) == 3
    assert prequal(reports, hot_quantile=0.0).pick(FOUR, [], 0) == 0
    assert prequal(reports, hot_quantile=0.5).pick([0, 2, 3], [], 0) == 2


def test_if_all_are_hot_the_one_with_the_fewest_calls():
    balancer = prequal({0: (1, 0.1), 1: (1, 0.1)}, hot_quantile=0.0)
    for endpoint, calls in ((2, 7), (3, 5)):
        balancer.heard(endpoint, 0.0, ProbeReport(calls, 0.01))
    assert balancer.pick([2, 3], [], 0) == 3


def test_each_use_counts_as_a_call_inside():
    balancer = prequal({0: (0, 0.1), 1: (1, 0.5)}, hot_quantile=0.5)  # the limit is 1
    assert [balancer.pick([0, 1], [], i) for i in range(3)] == [0, 0, 1]


def test_answers_are_too_old_after_a_second():
    balancer = prequal({0: (0, 0.1), 1: (9, 0.5)}, hot_quantile=1.0)
    balancer.look(1.0, 0, FOUR)
    assert [balancer.pick(FOUR, [], child(2, i)) for i in range(2)] == [0, 0]
    balancer.look(1.01, 0, FOUR)
    assert {2, 3} & {balancer.pick(FOUR, [], child(2, i)) for i in range(5)}


def test_one_answer_alone_is_not_followed():
    assert len({prequal({0: (0, 0.1)}).pick(FOUR, [], child(2, i)) for i in range(50)}) == 4


def test_the_oldest_and_the_worst_are_dropped_in_turn():
    balancer = prequal({0: (0, 0.1), 1: (0, 0.2), 2: (5, 0.3), 3: (0, 0.4)}, hot_quantile=0.5, removes=1)
    held = []
    for number in range(3):
        balancer.pick(FOUR, [], number)
        held.append([probe.endpoint for probe in balancer._pool])
    assert held == [[1, 2, 3], [1, 3], [3]]  # the oldest; the hottest; the oldest


def test_where_all_are_cold_the_slowest_is_the_worst():
    balancer = prequal({0: (9, 0.1), 1: (0, 0.9), 2: (0, 0.3), 3: (0, 0.2)}, removes=1, hot_quantile=1.0)
    for number in range(2):
        balancer.pick(FOUR, [], number)
    assert [probe.endpoint for probe in balancer._pool] == [2, 3]


def test_the_pool_holds_the_newest_answer_of_each_and_no_more_than_it_may():
    balancer = prequal({0: (0, 0.1), 1: (0, 0.2), 2: (0, 0.3)}, pool_size=2)
    assert [probe.endpoint for probe in balancer._pool] == [1, 2]
    balancer.heard(1, 0.5, ProbeReport(3, 0.7))
    assert [(probe.endpoint, probe.calls) for probe in balancer._pool] == [(2, 0), (1, 3)]


def test_answers_are_used_as_often_as_the_flow_of_them_allows():
    hundred = list(range(100))
    # (1 + 1) / ((1 - 16/100) · 3 - 1) = 1.316: once, or twice with 32 %.
    balancer = rule("prequal", hundred)
    uses = Counter(balancer._uses(child(4, i)) for i in range(4000))
    assert set(uses) == {1, 2}
    assert uses[2] / 4000 == pytest.approx(0.316, abs=0.03)
    assert {rule("prequal", hundred, probes=10)._uses(i) for i in range(50)} == {1}
    assert {rule("prequal", FOUR)._uses(i) for i in range(50)} == {16}


def test_probes_go_to_different_endpoints_and_fractions_add_up():
    balancer = rule("prequal", probes=1.5)
    asked = []
    for number in range(40):
        balancer.pick(FOUR, [], child(8, number))
        asked.append(list(balancer.probes()))
    assert sorted({len(some) for some in asked}) == [1, 2]
    assert sum(map(len, asked)) == 60
    assert all(len(set(some)) == len(some) for some in asked)
    assert set(Counter(i for some in asked for i in some)) == set(FOUR)
    few = rule("prequal", [5], probes=3)
    few.pick([5], [], 0)
    assert list(few.probes()) == [5]


def test_a_server_remembers_its_latest_latencies():
    memory = LatencyMemory()
    for number in range(100):
        memory.add(2, float(number))
    assert memory.median_s(2) == 91.5  # of 84 to 99


# --- in motion --------------------------------------------------------------------------------------------------------


def scenario(balancing, *, replicas=4, rate=20, seconds=60, work=0.05, links=None, clients=1, **rest):
    service = {"replicas": replicas, "workers": 1, "discovery_delay": 0.0, "operations": {"do": [{"work": work}]}}
    return Scenario(
        services={"a": service},
        calls={"default": {"balancing": balancing}},
        links=links or {},
        load={"rate": rate, "mix": "a.do", "clients": clients},
        run={"duration": seconds, "warmup": 0.0, "drain": 100.0, "sample_every": seconds},
        **rest,
    )


def queued(result):
    """Mean wait in ms."""
    return 1000 * float(result.requests.queue_s.mean())


def test_joining_the_idle_queue_waits_less_than_drawing_at_random():
    idle, drawn = (queued(run(scenario(kind, rate=40))) for kind in ("join_idle_queue", "random"))
    assert idle < drawn / 4


def test_announcements_take_as_long_as_messages():
    # When the news of an idle replica is a second old, it is not worth much. Calls themselves arrive at once.
    slow = [{"link": "a", "direction": "from", "latency": 1.0, "at": 0.0}]
    late = queued(run(scenario("join_idle_queue", rate=40, faults=slow)))
    assert late > 2 * queued(run(scenario("join_idle_queue", rate=40)))


def test_several_processes_share_the_idle_ones():
    found = run(scenario("join_idle_queue", rate=40, clients=5, replicas=20))
    assert queued(found) < queued(run(scenario("random", rate=40, clients=5, replicas=20)))
    assert found.attempts.replica.nunique() == 20


def test_prequal_leaves_a_slow_server_nearly_alone():
    faults = [{"slow": "a", "replica": 0, "factor": 10.0, "at": 0.0}]
    share = {
        kind: float((run(scenario(kind, rate=20, faults=faults)).attempts.replica == 0).mean()) for kind in ("prequal", "random")
    }
    assert share["random"] > 0.2
    assert share["prequal"] < 0.06


def test_prequal_sees_the_calls_of_others_and_least_request_its_own():
    """Somebody else keeps the first of four replicas busy; who notices?"""

    def share(kind):
        shop = {"workers": 1000, "operations": {"buy": [{"call": "a.do"}]}}
        case = scenario(kind, seconds=200)
        case = Scenario(
            services={**case.services, "shop": shop},
            calls={"default": {"balancing": kind}, "client -> a": {"balancing": "pick_first"}},
            load={"rate": 20.5, "mix": {"a.do": 18.5, "shop.buy": 2}},
            run=case.run,
        )
        rows = run(case).attempts
        return float((rows[(rows.caller == "shop") & (rows.target == "a.do")].replica == 0).mean())

    own, probed = share("least_request"), share("prequal")
    assert probed < own / 2, (own, probed)


def test_a_replica_says_what_is_inside_and_how_long_it_takes_with_so_many_unless_it_is_dead():
    said = {}

    def ask(world):
        replica = world.services["a"].replicas[0]
        for at_s in (0.5, 10.0, 20.5, 30.0):
            yield world.env.timeout(at_s - world.now)
            said[at_s] = replica.probed()

    case = Scenario(
        services={"a": {"workers": 1, "discovery_delay": 0.0, "operations": {"do": [{"work": 1.0}]}}},
        calls={"default": {"balancing": "prequal"}},
        load={"kind": "replay", "times": [0.0, 0.0, 0.0], "mix": "a.do"},
        faults=[{"crash": "a", "at": 20.0, "for": 5.0}],
        run={"duration": 40},
    )
    run(case, processes=[ask])
    assert said[0.5] == (3, 0.0)  # nothing has ended yet
    assert said[10.0] == (0, 1.0)  # who found nobody took 1 s; who found one or two, 2 and 3 s
    assert said[20.5] is None
    assert said[30.0] == (0, 0.0)  # another life


def test_probes_are_no_attempts_and_the_dead_do_not_answer():
    crash = [{"crash": "a", "replica": 0, "at": 20.0, "for": 20.0}]
    found = run(scenario("prequal", faults=crash, rate=10))
    assert len(found.attempts) == len(found.requests)
    at = found.attempts
    assert set(at.replica[(at.started_s > 20.0) & (at.started_s < 40.0)]) == {1, 2, 3}
    assert 0 in set(at.replica[at.started_s > 42.0])


def test_who_calls_through_a_proxy_hears_nothing_of_the_replicas_behind_it():
    # Three replicas announce themselves as idle; the caller's only endpoint is the proxy, with index 0.
    result = run(
        Scenario(
            services={"shop": {"replicas": 3, "workers": 1, "operations": {"buy": [{"work": 0.01}]}}},
            proxies={"edge": {"replicas": 1}},
            calls={
                "client -> shop": {"via": "edge", "balancing": "join_idle_queue"},
                "edge -> shop": {"balancing": "join_idle_queue"},
            },
            load={"rate": 50, "mix": "shop.buy"},
            run={"duration": 5},
        )
    )
    assert set(result.requests.outcome) == {"ok"}
    assert set(result.attempts[result.attempts.caller == "edge"].replica) == {0, 1, 2}
