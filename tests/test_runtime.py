"""Services, callers, brokers and faults in motion: stories with numbers you can count on your fingers."""

import numpy as np
import pytest

from sim.errors import ScenarioError
from sim.laws import Exponential
from sim.runtime.network import LOST, Network
from sim.scenario.faults import LinkFault
from sim.scenario.model import Scenario
from sim.single import run

PARTS = ["queue_s", "service_s", "network_s", "backoff_s", "lost_s"]


def simulate(services, *, times=(0.0,), mix="shop.buy", duration=60.0, processes=(), **rest):
    scenario = Scenario(
        services=services,
        load={"kind": "replay", "times": tuple(times), "mix": mix},
        run={"duration": duration, **rest.pop("run", {})},
        **rest,
    )
    return run(scenario, processes=processes)


def shop(*steps, workers=1, **rest):
    return {"shop": {"workers": workers, "operations": {"buy": list(steps)}, **rest}}


def latencies(result):
    return (result.requests.ended_s - result.requests.arrived_s).round(9).tolist()


def outcomes(result):
    return result.requests.outcome.tolist()


def test_one_worker_serves_in_order_of_arrival():
    result = simulate(shop({"work": 2.0}), times=[0, 1, 1.5])
    assert latencies(result) == [2.0, 3.0, 4.5]
    assert result.requests.queue_s.tolist() == [0, 1, 2.5]


def test_a_full_queue_rejects_and_a_long_wait_leaves_the_line():
    result = simulate(shop({"work": 2.0}, queue=1), times=[0, 0.1, 0.2])
    assert outcomes(result) == ["ok", "ok", "rejected"]
    result = simulate(shop({"work": 2.0}, queue={"max_wait": 1.0}), times=[0, 0.5, 1.5])
    assert outcomes(result) == ["ok", "rejected", "ok"]
    assert latencies(result) == [2.0, 1.0, 2.5]


def test_a_worker_is_held_while_it_waits_for_a_call():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "stock.check"}]}},
        "stock": {"workers": "unlimited", "operations": {"check": [{"work": 1.0}]}},
    }
    assert latencies(simulate(services, times=[0, 0])) == [1.0, 2.0]


def test_a_timed_out_attempt_keeps_its_worker():
    slow_first = shop({"work": 3.0})
    calls = {"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": 2}}}
    result = simulate(slow_first, calls=calls, times=[0])
    # The second try waits behind the first one's abandoned work.
    assert outcomes(result) == ["timeout"]
    assert result.totals.busy_worker_s.tolist() == [6.0]
    assert result.requests.attempts.tolist() == [2]


def test_cancellation_frees_the_worker():
    calls = {"default": {"per_try_timeout": 1.0, "retry": {"max_attempts": 2}, "cancellation": True}}
    result = simulate(shop({"work": 3.0}), calls=calls, times=[0])
    assert outcomes(result) == ["timeout"]
    assert result.totals.busy_worker_s.tolist() == [2.0]


def test_cancellation_reaches_the_callee_of_the_callee():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "stock.check"}]}},
        "stock": {"workers": 1, "operations": {"check": [{"work": 9.0}]}},
    }
    calls = {"default": {"cancellation": True}, "client -> shop": {"timeout": 1.0}}
    result = simulate(services, calls=calls)
    assert result.totals.set_index("name").busy_worker_s.to_dict() == {"shop": 1.0, "stock": 1.0}
    calls = {"stock": {"cancellation": False}, "client -> shop": {"timeout": 1.0, "cancellation": True}}
    result = simulate(services, calls=calls)
    assert result.totals.set_index("name").busy_worker_s.to_dict() == {"shop": 1.0, "stock": 9.0}


def test_the_deadline_spans_retries_and_cuts_off_the_pause():
    calls = {"default": {"timeout": 2.5, "retry": {"max_attempts": 9, "backoff": {"base": 1.0}}}}
    result = simulate(shop({"fail": 1.0, "work": 0.5}), calls=calls)
    assert outcomes(result) == ["timeout"]
    assert latencies(result) == [2.5]
    assert result.requests.attempts.tolist() == [2]
    assert result.requests.backoff_s.tolist() == [1.5]


def test_attempts_count_the_first_try_and_multiply_through_layers():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "stock.check"}]}},
        "stock": {"workers": 1, "operations": {"check": [{"fail": 1.0}]}},
    }
    result = simulate(services, calls={"default": {"retry": {"max_attempts": 3}}})
    attempts = result.attempts
    assert (attempts.target == "stock.check").sum() == 9
    assert (attempts.target == "shop.buy").sum() == 3
    assert result.requests.attempts.tolist() == [12]
    assert attempts[attempts.target == "shop.buy"].number.tolist() == [1, 2, 3]
    assert set(attempts[attempts.target == "stock.check"].parent) == set(attempts[attempts.target == "shop.buy"].attempt)


def test_only_the_named_outcomes_are_tried_again():
    calls = {"default": {"retry": {"max_attempts": 3, "on": ["timeout"]}}}
    assert simulate(shop({"fail": 1.0}), calls=calls).requests.attempts.tolist() == [1]


def test_where_the_time_went_adds_up_through_layers_and_branches():
    services = {
        "shop": {
            "workers": 1,
            "operations": {"buy": [{"work": 0.1}, {"parallel": [{"call": "stock.check"}, [{"work": 0.2}, {"work": 0.1}]]}]},
        },
        "stock": {"workers": 1, "operations": {"check": [{"work": 0.5}]}},
    }
    result = simulate(services, times=[0], links={"default": 0.01})
    row = result.requests.iloc[0]
    assert row.ended_s - row.arrived_s == pytest.approx(0.01 + 0.1 + (0.01 + 0.5 + 0.01) + 0.01)
    assert row[PARTS].tolist() == pytest.approx([0, 0.6, 0.04, 0, 0])
    shop_attempt = result.attempts[result.attempts.target == "shop.buy"].iloc[0]
    assert shop_attempt.service_s == pytest.approx(0.1)  # its own work on the critical path, not its callee's
    assert shop_attempt.network_s == pytest.approx(0.02)


def test_parallel_calls_wait_for_the_slowest_and_for_all_failures():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"parallel": [{"call": "a.x"}, {"call": "b.y"}]}]}},
        "a": {"workers": 1, "operations": {"x": [{"fail": 1.0}]}},
        "b": {"workers": 1, "operations": {"y": [{"work": 2.0}]}},
    }
    result = simulate(services)
    assert outcomes(result) == ["error"]
    assert latencies(result) == [2.0]


def test_a_count_of_calls_in_a_row_and_at_once():
    def services(**call):
        return {
            "shop": {"workers": 1, "operations": {"buy": [{"call": "stock.check", **call}]}},
            "stock": {"workers": "unlimited", "operations": {"check": [{"work": 1.0}]}},
        }

    assert latencies(simulate(services(count=3))) == [3.0]
    assert latencies(simulate(services(count=3, in_parallel=True))) == [1.0]
    assert latencies(simulate(services(count=0))) == [0.0]
    counts = np.round(latencies(simulate(services(count={1: 1, 3: 3}), times=np.arange(0, 400, 8.0), duration=500)))
    assert set(counts) == {1, 3}
    assert 25 <= (counts == 3).sum() <= 48


def repeating(look, count, **rest):
    """A shop that looks (0.2 s or what is given) and asks (0.1 s) in turns."""
    return {
        "shop": {
            "workers": 1,
            "operations": {"buy": [{"repeat": [{"call": "stock.look"}, {"call": "prices.ask"}], "count": count}]},
        },
        "stock": {"workers": 1, "operations": {"look": [look]}},
        "prices": {"workers": 1, "operations": {"ask": [{"work": 0.1}]}, **rest},
    }


def test_rounds_follow_each_other_and_not_all_calls_of_a_kind():
    result = simulate(repeating({"work": 0.2}, 3))
    calls = result.attempts[result.attempts.parent != -1].sort_values("started_s")
    begun = list(zip(calls.target.astype(str), calls.started_s.round(9), strict=True))
    assert begun == [
        ("stock.look", 0.0),
        ("prices.ask", 0.2),
        ("stock.look", 0.3),
        ("prices.ask", 0.5),
        ("stock.look", 0.6),
        ("prices.ask", 0.8),
    ]
    assert latencies(result) == [0.9]
    assert result.requests[PARTS].sum(axis=1).round(9).tolist() == [0.9]
    assert latencies(simulate(repeating({"work": 0.2}, 0))) == [0.0]


def test_every_round_draws_anew_and_how_many_there_are_too():
    result = simulate(repeating({"work": {"exponential": 0.2}}, 20))
    looks = result.attempts[result.attempts.target == "stock.look"]
    assert looks.service_s.round(6).nunique() == 20
    counts = np.round(latencies(simulate(repeating({"work": 0.9}, {1: 1, 3: 3}), times=np.arange(0, 400, 8.0), duration=500)))
    assert set(counts) == {1, 3}
    assert 25 <= (counts == 3).sum() <= 48


def test_the_first_failure_ends_the_rounds():
    result = simulate(repeating({"fail": 1.0, "work": 0.2}, 3))
    assert outcomes(result) == ["error"]
    assert latencies(result) == [0.2]
    assert len(result.attempts) == 2


def test_calls_in_rounds_find_quota_again_where_calls_in_a_row_do_not():
    cpu = {"quota": 0.02, "period": 0.1}
    prices = {"workers": 1, "cpu": cpu, "operations": {"ask": [{"work": 0.02}]}}
    in_rounds = {**repeating({"work": 0.1}, 3), "prices": prices}
    in_a_row = {**in_rounds, "shop": shop({"call": "stock.look", "count": 3}, {"call": "prices.ask", "count": 3})["shop"]}
    times = np.arange(0, 60, 1.03).tolist()  # at all phases of the period
    rounds_s, row_s = (np.array(latencies(simulate(services, times=times))) for services in (in_rounds, in_a_row))
    # An ask takes the quota of a period. In rounds there are 120 ms between them; in a row two of three wait for the next one.
    assert rounds_s.min() == pytest.approx(0.36)
    assert row_s.min() >= 0.3 + 0.1 + 0.02
    assert row_s.mean() - rounds_s.mean() > 0.08


def test_background_work_of_a_replica_makes_requests_wait():
    cpu = {"quota": 0.02, "period": 0.1}
    with_background = {**cpu, "background": {"every": 10.0, "work": 0.06}}
    times = np.arange(0, 60, 0.01).tolist()
    requests = simulate(shop({"work": 0.001}, cpu=with_background), times=times, duration=100).requests
    late = requests[requests.queue_s > 0.1].arrived_s
    begun = late[late.diff().fillna(2) > 1].to_numpy()
    assert len(begun) == 6
    assert np.diff(begun) == pytest.approx(10, abs=0.1)
    assert simulate(shop({"work": 0.001}, cpu=cpu), times=times, duration=100).requests.queue_s.max() < 0.1


def test_a_crash_loses_the_work_and_resets_the_connection():
    result = simulate(shop({"work": 5.0}, discovery_delay=0), faults=[{"crash": "shop", "at": 2, "for": 3}], times=[0, 3, 6])
    assert outcomes(result) == ["unreachable", "unreachable", "ok"]
    assert latencies(result) == [2.0, 0.0, 5.0]
    assert result.requests.lost_s.tolist() == [2.0, 0, 0]


def test_a_silent_crash_is_noticed_by_the_timeout_only():
    faults = [{"crash": "shop", "at": 2, "for": 3, "silent": True}]
    result = simulate(shop({"work": 5.0}), faults=faults, calls={"default": {"timeout": 8.0}}, times=[0, 2.5])
    assert outcomes(result) == ["timeout", "timeout"]
    assert latencies(result) == [8.0, 8.0]


def test_callers_learn_of_a_crash_after_the_discovery_delay():
    services = shop({"work": 0.1}, replicas=2, discovery_delay=3.0)
    result = simulate(services, faults=[{"crash": "shop", "replica": 0, "at": 10, "for": 10}], times=np.arange(30) + 0.5)
    failed = result.requests[result.requests.outcome == "unreachable"].arrived_s
    assert 1 <= len(failed) <= 2  # every other of the three requests of the first three seconds
    assert failed.between(10, 13).all()
    served = result.attempts[result.attempts.outcome == "ok"]
    assert set(served[served.started_s.between(13, 23)].replica) == {1}
    assert set(served[served.started_s.between(24, 30)].replica) == {0, 1}


def test_overlapping_faults_end_one_by_one():
    faults = [{"slow": "shop", "factor": 2, "at": 0, "for": 10}, {"slow": "shop", "factor": 3, "at": 5, "for": 10}]
    result = simulate(shop({"work": 1.0}, workers="unlimited"), faults=faults, times=[1, 6, 12, 16])
    assert latencies(result) == [2.0, 6.0, 3.0, 1.0]


def test_injected_errors_hit_the_named_operation():
    services = {"shop": {"workers": 1, "operations": {"buy": [{"work": 0.1}], "look": [{"work": 0.1}]}}}
    result = simulate(
        services,
        mix={"shop.buy": 1, "shop.look": 1},
        times=np.arange(40.0),
        faults=[{"errors": "shop.buy", "ratio": 1.0, "at": 0}],
    )
    by_entry = result.requests.groupby("entry", observed=True).outcome.unique()
    assert list(by_entry["shop.buy"]) == ["error"]
    assert list(by_entry["shop.look"]) == ["ok"]


def test_errors_by_chance_go_away_with_a_retry_and_those_of_bad_requests_do_not():
    def answered(same_requests, attempts):
        result = simulate(
            shop({"work": 0.1}, workers="unlimited"),
            times=np.arange(2_000) * 0.02,
            calls={"shop": {"retry": {"max_attempts": attempts}}},
            faults=[{"errors": "shop", "ratio": 0.2, "at": 0, "same_requests": same_requests}],
        )
        return result.requests.outcome == "ok"

    assert answered(False, 3).mean() == pytest.approx(1 - 0.2**3, abs=0.006)
    once, thrice = answered(True, 1), answered(True, 3)
    assert once.mean() == pytest.approx(0.8, abs=0.03)
    assert (once == thrice).all(), "the same ones, however often they are tried"


def test_links_take_time_both_ways_and_faults_add_to_them():
    faults = [{"link": "client -> shop", "latency": 1.0, "at": 10, "for": 10}]
    result = simulate(shop({"work": 1.0}), links={"default": 0.25}, faults=faults, times=[0, 12, 30])
    assert latencies(result) == [1.5, 3.5, 1.5]


@pytest.mark.parametrize(("link", "direction", "expected"), [("shop", "from", 2.0), ("shop", "to", 2.0), ("shop", "both", 3.0)])
def test_a_link_fault_may_hurt_one_direction_only(link, direction, expected):
    faults = [{"link": link, "latency": 1.0, "at": 0, "direction": direction}]
    assert latencies(simulate(shop({"work": 1.0}), faults=faults)) == [expected]


def test_a_delay_on_what_a_pod_sends_hits_its_answers_and_its_own_calls_once_each():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "stock.check"}]}},
        "stock": {"workers": 1, "operations": {"check": [{"call": "base.read"}]}},
        "base": {"workers": 1, "operations": {"read": [{"work": 1.0}]}},
    }
    faults = [{"link": "stock", "latency": 0.5, "at": 0, "direction": "from"}]
    assert latencies(simulate(services, faults=faults)) == [2.0]


def test_work_beyond_the_cpu_quota_stands_still_until_the_next_period():
    services = shop({"work": 0.03}, workers="unlimited", cpu={"quota": 0.04, "period": 0.1})
    result = simulate(services, times=[10.0, 10.0, 10.0])
    assert result.requests.service_s.round(9).tolist() == [0.03] * 3
    # 90 ms of work and 40 ms of quota per period: wherever the period began, two of three had to wait.
    assert (result.requests.queue_s > 0.01).sum() == 2
    assert result.requests.queue_s.max() < 0.2


def test_a_line_that_is_first_used_during_a_fault_has_it_until_it_ends():
    system = {"services": shop(), "links": {"default": {"latency": 0.1}}}
    network = Network(Scenario(**system, load={"rate": 1, "mix": "shop.buy"}))
    mend = network.disturb(LinkFault(link="client -> shop", direction="from", latency=2.0, loss=1.0, at=0))
    assert network.line("client", "shop").travel_s(0) == LOST
    assert network.sure_line("client", "shop").travel_s(0) == pytest.approx(2.1), "what is lost there is sent again"
    assert network.line("shop", "client").travel_s(0) == pytest.approx(0.1)
    mend()
    assert network.line("client", "shop").travel_s(0) == network.sure_line("client", "shop").travel_s(0) == pytest.approx(0.1)


def test_a_partition_is_silence():
    faults = [{"link": "shop", "partition": True, "at": 0, "for": 10}]
    result = simulate(shop({"work": 1.0}), faults=faults, times=[5, 15], calls={"default": {"timeout": 2.0}})
    assert outcomes(result) == ["timeout", "ok"]


def test_a_lost_message_without_a_timeout_is_never_answered():
    result = simulate(shop({"work": 1.0}), links={"default": {"loss": 1.0}}, run={"drain": 5.0})
    assert outcomes(result) == ["in_flight"]
    assert np.isnan(result.requests.ended_s[0])
    assert result.attempts.outcome.tolist() == ["in_flight"]


MAIL = {
    "shop": {"workers": 1, "operations": {"buy": [{"publish": "mails"}]}},
    "mail": {"workers": 1, "discovery_delay": 0, "operations": {"send": [{"work": 1.0}]}},
}


def test_publishing_answers_when_the_message_is_safe_and_the_effect_follows():
    result = simulate(MAIL, queues={"mails": {"consumer": "mail.send", "persist": 0.1}}, times=[0, 0])
    assert latencies(result) == [0.1, 0.2]
    effects = result.effects
    assert effects.effect.tolist() == ["mail.send"] * 2
    assert effects.acked_s.round(9).tolist() == [0.1, 0.2]
    assert effects.done_s.round(9).tolist() == [1.1, 2.1]
    assert effects.fate.tolist() == ["done", "done"]


def test_a_consumer_crash_redelivers_what_it_held():
    faults = [{"crash": "mail", "at": 0.5, "for": 2.0}]
    result = simulate(MAIL, queues={"mails": {"consumer": "mail.send"}}, faults=faults, times=[0])
    assert result.effects.deliveries.tolist() == [2]
    assert result.effects.done_s.tolist() == [3.5]
    assert result.effects.fate.tolist() == ["done"]


def test_a_failing_message_is_dead_after_the_limit():
    services = {**MAIL, "mail": {"workers": 1, "operations": {"send": [{"fail": 1.0}]}}}
    queues = {"mails": {"consumer": "mail.send", "max_deliveries": 3, "redelivery_delay": 2.0}}
    result = simulate(services, queues=queues)
    assert result.effects.deliveries.tolist() == [3]
    assert result.effects.fate.tolist() == ["dead"]
    assert result.requests.attempts.tolist() == [1 + 1 + 3]  # the request, its publish, three deliveries


def test_a_broker_outage_refuses_publishers_and_delivers_again_what_was_unacknowledged():
    faults = [{"outage": "mails", "at": 0.5, "for": 5.0}]
    result = simulate(MAIL, queues={"mails": {"consumer": "mail.send"}}, faults=faults, times=[0, 1])
    assert outcomes(result) == ["ok", "error"]
    effect = result.effects.iloc[0]
    assert (effect.deliveries, effect.done_s, effect.fate) == (2, 1.0, "done")


def test_an_acknowledgement_from_before_an_outage_says_nothing():
    services = {**MAIL, "mail": {"workers": 2, "operations": {"send": [{"work": 1.0}]}}}
    queues = {"mails": {"consumer": "mail.send", "consumers": 2}}
    faults = [{"outage": "mails", "at": 0.5, "for": 0.2}]
    result = simulate(services, queues=queues, faults=faults, times=[0], duration=5, run={"sample_every": 1.25})
    # The first delivery ends at 1.0; the broker has delivered again at 0.7 and waits for that one.
    mails = result.gauges[result.gauges.name == "mails"].set_index("time_s")
    assert mails.loc[1.25, "busy"] == 1
    effect = result.effects.iloc[0]
    assert (effect.deliveries, effect.done_s, effect.fate) == (2, 1.0, "done")


def test_a_full_queue_rejects_the_publisher():
    result = simulate(MAIL, queues={"mails": {"consumer": "mail.send", "capacity": 1}}, times=[0, 0.1, 0.2])
    assert outcomes(result) == ["ok", "ok", "error"]
    assert len(result.effects) == 2


def test_an_effect_called_synchronously_is_recorded_when_it_happens():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"call": "mail.send"}]}},
        "mail": {"workers": 1, "operations": {"send": {"effect": True, "steps": [{"work": 2.0}]}}},
    }
    result = simulate(services, calls={"default": {"timeout": 1.0}})
    assert outcomes(result)[0] in ("timeout", "error")
    assert result.effects.done_s.tolist() == [2.0]  # the mail went out although the customer was told otherwise
    assert result.effects.queue.isna().all()


def test_the_same_call_made_or_published_draws_the_same_work():
    def mails(step):
        services = {
            "shop": {"workers": "unlimited", "operations": {"buy": [step]}},
            "mail": {"workers": "unlimited", "operations": {"send": {"effect": True, "steps": [{"work": Exponential(1.0)}]}}},
        }
        result = simulate(services, queues={"mails": {"consumer": "mail.send", "consumers": 99}}, times=range(20))
        effects = result.effects.sort_values("request")
        return (effects.done_s - effects.started_s).round(9).tolist()

    assert mails({"call": "mail.send"}) == mails({"publish": "mails"})


def test_two_candidates_see_the_same_arrivals_and_work_after_one_has_retried():
    def candidate(attempts):
        scenario = Scenario(
            services={
                "shop": {
                    "replicas": 2,
                    "workers": "unlimited",
                    "operations": {"buy": [{"fail": 0.3}, {"call": "stock.check"}], "look": [{"work": Exponential(0.1)}]},
                },
                "stock": {"workers": "unlimited", "operations": {"check": [{"work": Exponential(0.2)}]}},
            },
            calls={"default": {"retry": {"max_attempts": attempts}}},
            faults=[{"crash": "shop", "replica": "each", "mtbf": 20, "mttr": 1}],
            load={"rate": 20, "mix": {"shop.buy": 1, "shop.look": 1}},
            run={"duration": 60},
        )
        return run(scenario, seed=5)

    one, four = candidate(1), candidate(4)
    for column in ("request", "entry", "arrived_s"):
        assert (one.requests[column] == four.requests[column]).all()
    first = [
        r.attempts[(r.attempts.target == "stock.check") & (r.attempts.outcome == "ok")]
        .merge(r.attempts[r.attempts.number == 1][["attempt"]], left_on="parent", right_on="attempt")
        .set_index("request").service_s
        for r in (one, four)
    ]  # fmt: skip
    common = first[0].index.intersection(first[1].index)
    assert len(common) > 200
    assert (first[0][common] == first[1][common]).all()
    assert (one.requests.outcome == "ok").mean() < (four.requests.outcome == "ok").mean()


def test_closed_users_wait_for_their_answer():
    scenario = Scenario(
        services=shop({"work": 1.0}),
        load={"kind": "closed", "users": 2, "think": 1.0, "mix": "shop.buy"},
        run={"duration": 100},
    )
    requests = run(scenario).requests
    assert requests.outcome.eq("ok").all()
    assert 97 <= len(requests) <= 100


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({"rate": 50}, [5000, 5000]),
        ({"kind": "constant", "rate": 50}, [5000, 5000]),
        ({"kind": "steps", "points": [{"at": 0, "rate": 10}, {"at": 100, "rate": 90}]}, [1000, 9000]),
        ({"kind": "ramp", "points": [{"at": 0, "rate": 0}, {"at": 200, "rate": 100}]}, [2500, 7500]),
        ({"kind": "spike", "rate": 10, "peak": 110, "at": 100, "for": 50}, [1000, 6000]),
        ({"kind": "daily", "rate": 50, "swing": 0.5, "period": 200, "peak_at": 50}, [5000 + 3183 * 0.5, 5000 - 3183 * 0.5]),
    ],
)
def test_loads_bring_the_requests_they_promise(load, expected):
    scenario = Scenario(services=shop({"work": 0.0}), load={**load, "mix": "shop.buy"}, run={"duration": 200})
    arrived = run(scenario).requests.arrived_s
    counts = [(arrived < 100).sum(), (arrived >= 100).sum()]
    tolerance = 1 if load.get("kind") == "constant" else 4.5 * np.sqrt(expected)
    assert (np.abs(np.subtract(counts, expected)) <= tolerance).all(), counts
    assert (np.diff(arrived) >= 0).all()


def test_two_rates_see_one_stream_stretched():
    def arrivals(rate):
        scenario = Scenario(services=shop({"work": 0.0}), load={"rate": rate, "mix": "shop.buy"}, run={"duration": 50})
        return run(scenario).requests.arrived_s.to_numpy()

    slow, fast = arrivals(10), arrivals(20)
    assert fast[: len(slow)] * 2 == pytest.approx(slow)


def test_a_users_own_simpy_process_runs_beside_the_built_in_ones():
    diary = []

    def smoke_test(world):
        yield world.env.timeout(10)
        outcome = yield world.ask("shop.buy", "smoke test")
        diary.append((world.now, outcome, world.services["shop"].replicas[0].pool.busy))

    result = simulate(shop({"work": 2.0}), times=[9.0], processes=[smoke_test])
    assert diary == [(13.0, "ok", 0)]
    assert len(result.requests) == 2


def test_gauges_sample_the_state():
    result = simulate(shop({"work": 10.0}), times=[1, 2, 3], duration=20, run={"sample_every": 5.0})
    gauges = result.gauges.set_index("time_s")
    assert gauges.loc[5.0, ["busy", "queued", "alive"]].tolist() == [1, 2, 1]
    assert gauges.loc[15.0, ["busy", "queued"]].tolist() == [1, 1]


def test_totals_start_after_the_warm_up():
    result = simulate(shop({"work": 4.0}), times=[1, 8], run={"warmup": 3.0})
    assert result.totals.busy_worker_s.tolist() == [2.0 + 4.0]


def test_retries_that_take_no_time_end_with_a_message_instead_of_for_ever():
    calls = {"default": {"retry": {"max_attempts": "unlimited"}}}
    faults = [{"crash": "shop", "at": 0}]
    with pytest.raises(ScenarioError, match=r"calls.client -> shop.buy.retry: .* at one instant .*backoff"):
        simulate(shop({"work": 1.0}), calls=calls, faults=faults)


def test_two_steps_that_call_one_target_share_the_processs_turns():
    services = {
        "shop": {
            "workers": "unlimited",
            "operations": {"buy": [{"parallel": [{"call": "stock.check"}, {"call": "stock.check"}]}]},
        },
        "stock": {"replicas": 2, "workers": 1, "operations": {"check": [{"work": 1.0}]}},
    }
    assert latencies(simulate(services, times=[0, 10, 20])) == [1.0, 1.0, 1.0]


def test_a_crash_of_all_replicas_at_once_is_one_delivery_for_its_messages():
    services = {**MAIL, "mail": {**MAIL["mail"], "replicas": 3}}
    queues = {"mails": {"consumer": "mail.send", "max_deliveries": 3}}
    result = simulate(services, queues=queues, faults=[{"crash": "mail", "at": 0.5, "for": 1}])
    assert result.effects.fate.tolist() == ["done"]
    assert result.effects.deliveries.tolist() == [2]


def test_a_crash_forgets_the_work_that_waited_for_the_processor():
    services = shop({"work": 1.0}, workers="unlimited", discovery_delay=0, cpu={"quota": 0.05, "period": 0.1})
    result = simulate(services, times=[0.0] * 20 + [3.0], faults=[{"crash": "shop", "at": 1, "for": 1}])
    assert outcomes(result) == ["unreachable"] * 20 + ["ok"]
    assert latencies(result)[-1] < 2.2


def test_a_users_process_may_crash_a_replica_whose_line_is_full():
    def saboteur(world):
        yield world.env.timeout(0.5)
        world.services["shop"].replicas[0].crash(silent=False)

    result = simulate(shop({"work": 1.0}), times=[0, 0.1, 0.2], processes=[saboteur])
    assert outcomes(result) == ["unreachable"] * 3
    assert result.totals.served.tolist() == [1]


def test_messages_that_surely_breed_messages_are_refused():
    services = {"mail": {"workers": 1, "operations": {"send": [{"publish": "mails"}]}}}
    with pytest.raises(ValueError, match="circle of calls"):
        simulate(services, queues={"mails": {"consumer": "mail.send"}}, mix="mail.send")
    services["mail"]["operations"]["send"] = [{"work": 0.1}, {"publish": "mails", "probability": 0.5}]
    result = simulate(services, queues={"mails": {"consumer": "mail.send"}}, mix="mail.send", times=range(20))
    assert len(result.effects) > 10
