"""Calls with policies, in motion: short stories with times that one can count."""

from __future__ import annotations

import pytest

from sim.scenario.doubts import doubts
from sim.scenario.model import Scenario
from sim.scenario.yaml import loads
from sim.single import run


def scenario(services, calls, at=(0.0,), entry="shop.buy", **rest):
    """Requests at given times; `services` is a mapping of names to steps, or to a whole service."""
    whole = {}
    for name, what in services.items():
        service = what if isinstance(what, dict) else {"operations": {"do": what}}
        if name == "shop" and not isinstance(what, dict):
            service = {"operations": {"buy": what}}
        whole[name] = {"workers": 1, "discovery_delay": 0.0, **service}
    settings = {"duration": 100.0, "drain": 100.0, "sample_every": 100.0}
    return Scenario(services=whole, calls=calls, load={"kind": "replay", "times": at, "mix": entry}, run=settings, **rest)


def diary(result):
    """(arrival, time it took in ms, outcome) of each request."""
    rows = result.requests
    return [
        (float(row.arrived_s), None if row.outcome == "in_flight" else round(1000 * (row.ended_s - row.arrived_s)), row.outcome)
        for row in rows.itertuples()
    ]


def tries(result, target="pay.do"):
    """(start, outcome) in ms of each attempt at a target."""
    rows = result.attempts[result.attempts.target == target]
    return [(round(1000 * row.started_s), row.outcome) for row in rows.itertuples()]


CALL_PAY = [{"call": "pay.do"}]


def test_a_fallback_value_makes_the_answer_degraded():
    case = scenario({"shop": CALL_PAY, "pay": [{"fail": 1.0, "work": 0.1}]}, {"shop -> pay": {"fallback": "value"}})
    assert diary(run(case)) == [(0.0, 100, "degraded")]


def test_a_fallback_call_is_made_when_the_first_has_failed_and_has_no_fallback_of_its_own():
    services = {"shop": CALL_PAY, "pay": [{"fail": 1.0, "work": 0.1}], "old": [{"work": 0.2}, {"fail": 0.0}]}
    found = run(scenario(services, {"default": {"fallback": {"call": "old.do"}}, "client -> shop": {"fallback": None}}))
    assert diary(found) == [(0.0, 300, "degraded")]
    assert tries(found, "old.do") == [(100, "ok")]
    services["old"] = [{"fail": 1.0, "work": 0.2}]
    found = run(scenario(services, {"default": {"fallback": {"call": "old.do"}}, "client -> shop": {"fallback": None}}))
    assert diary(found) == [(0.0, 300, "error")]


def test_a_failure_that_the_fallback_is_not_for_stays_one():
    case = scenario({"shop": CALL_PAY, "pay": [{"fail": 1.0}]}, {"shop -> pay": {"fallback": {"on": ["timeout"]}}})
    assert diary(run(case)) == [(0.0, 0, "error")]


def test_an_optional_call_degrades_the_answer_and_the_operation_goes_on():
    steps = [{"call": "pay.do", "required": False}, {"work": 0.05}]
    assert diary(run(scenario({"shop": steps, "pay": [{"fail": 1.0, "work": 0.1}]}, {}))) == [(0.0, 150, "degraded")]
    assert diary(run(scenario({"shop": steps, "pay": [{"work": 0.1}]}, {}))) == [(0.0, 150, "ok")]


def test_the_first_good_answer_of_a_hedged_call_counts_and_the_loser_is_given_up():
    pay = {"replicas": 2, "operations": {"do": [{"work": 1.0}]}}
    calls = {"shop -> pay": {"hedging": {"delay": 0.2}, "cancellation": True}}
    first = run(scenario({"shop": CALL_PAY, "pay": pay}, calls)).attempts.replica.iloc[1]
    faults = [
        {"slow": "pay", "replica": int(first), "factor": 5.0, "at": 0.0},
        {"slow": "pay", "replica": 1 - int(first), "factor": 0.3, "at": 0.1},
    ]
    found = run(scenario({"shop": CALL_PAY, "pay": pay}, calls, faults=faults))
    assert diary(found) == [(0.0, 500, "ok")]
    assert tries(found) == [(0, "in_flight"), (200, "ok")]
    assert found.requests.backoff_s.item() == pytest.approx(0.2)
    assert found.totals.set_index("name").busy_worker_s["pay"] == pytest.approx(0.8)  # 0.5 s of it for nobody


def test_a_non_fatal_failure_sends_the_next_try_at_once_and_a_fatal_one_ends_the_call():
    services = {"shop": CALL_PAY, "pay": [{"fail": 1.0, "work": 0.1}]}
    case = scenario(services, {"shop -> pay": {"hedging": {"delay": 1.0, "max_attempts": 3}}})
    assert tries(run(case)) == [(0, "error"), (100, "error"), (200, "error")]
    case = scenario(services, {"shop -> pay": {"hedging": {"delay": 1.0, "max_attempts": 3, "non_fatal": ["timeout"]}}})
    assert tries(run(case)) == [(0, "error")]


def test_the_server_that_begins_a_tied_request_makes_the_other_drop_it():
    pay = {"replicas": 2, "operations": {"do": [{"work": {"exponential": 1.0}}]}}
    tied = {"hedging": {"delay": 0.0, "tied": True}}
    shop = {"workers": 9, "operations": {"buy": CALL_PAY}}
    found = run(scenario({"shop": shop, "pay": pay}, {"shop -> pay": tied}, at=(0.0, 0.1, 0.2)))
    # The first call is begun by both at the same moment. Of the two others, whichever server is free first tells the other.
    assert [outcome for _, _, outcome in diary(found)] == ["ok"] * 3
    assert found.totals.set_index("name").served["pay"] == 4
    untied = run(scenario({"shop": shop, "pay": pay}, {"shop -> pay": {"hedging": {"delay": 0.0}}}, at=(0.0, 0.1, 0.2)))
    assert untied.totals.set_index("name").served["pay"] == 6


def test_an_endpoint_that_vanished_is_given_up_after_the_connect_timeout():
    crash = [{"crash": "pay", "at": 0.0, "silent": True}]
    pay = {"discovery_delay": 100.0, "operations": {"do": [{"work": 1.0}]}}
    calls = {"shop -> pay": {"connect_timeout": 0.3, "timeout": 5.0}}
    case = scenario({"shop": CALL_PAY, "pay": pay}, calls, at=(1.0,), faults=crash)
    assert diary(run(case)) == [(1.0, 300, "error")]
    assert tries(run(case)) == [(1000, "unreachable")]
    slow = scenario({"shop": CALL_PAY, "pay": pay}, calls, at=(1.0,))  # it reacts, and takes its time
    assert diary(run(slow)) == [(1.0, 1000, "ok")]


def test_a_bulkhead_lets_one_wait_and_refuses_the_rest():
    shop = {"workers": 9, "operations": {"buy": CALL_PAY}}
    pay = {"workers": 9, "operations": {"do": [{"work": 1.0}]}}
    calls = {"shop -> pay": {"concurrency_limit": {"max_concurrent": 1, "max_queue": 1}}}
    found = run(scenario({"shop": shop, "pay": pay}, calls, at=(0.0, 0.1, 0.2)))
    assert diary(found) == [(0.0, 1000, "ok"), (0.1, 1900, "ok"), (0.2, 0, "error")]
    calls = {"shop -> pay": {"concurrency_limit": {"max_concurrent": 1, "max_queue": 1, "max_wait": 0.5}}}
    found = run(scenario({"shop": shop, "pay": pay}, calls, at=(0.0, 0.1, 0.2)))
    assert diary(found) == [(0.0, 1000, "ok"), (0.1, 500, "error"), (0.2, 0, "error")]


def test_a_refused_caller_comes_back_when_the_server_says():
    pay = {"rate_limit": {"kind": "token_bucket", "rate": 2.0, "burst": 1}, "operations": {"do": []}}
    retry = {"max_attempts": 2, "backoff": {"base": 0.1, "respect_retry_after": "exact"}}
    found = run(scenario({"shop": CALL_PAY, "pay": pay}, {"shop -> pay": {"retry": retry}}, at=(0.0, 0.2)))
    assert tries(found) == [(0, "ok"), (200, "rejected"), (500, "ok")]


def test_a_breaker_outside_of_the_retries_sees_calls_and_inside_it_sees_tries():
    services = {"shop": {"workers": 9, "operations": {"buy": CALL_PAY}}, "pay": [{"fail": 1.0}]}
    policy = {"retry": {"max_attempts": 3}, "circuit_breaker": {"consecutive_failures": 2}}
    found = run(scenario(services, {"shop -> pay": policy}, at=(0.0, 1.0, 2.0)))
    assert len(tries(found)) == 2
    found = run(scenario(services, {"shop -> pay": {**policy, "order": ("circuit_breaker", "retry")}}, at=(0.0, 1.0, 2.0)))
    assert len(tries(found)) == 6
    assert [(row.time_s, row.state, row.endpoint) for row in found.changes.itertuples()] == [(1.0, "open", -1)]


def test_a_cache_answers_until_it_is_flushed():
    calls = {"shop -> pay": {"cache": {"max_age": 50.0}}}
    services = {"shop": CALL_PAY, "pay": [{"work": 0.1}]}
    found = run(scenario(services, calls, at=(0.0, 1.0, 2.0, 3.0), faults=[{"flush": "shop -> pay", "at": 1.5}]))
    assert [took for _, took, _ in diary(found)] == [100, 0, 100, 0]
    cached = {"shop": CALL_PAY, "pay": {"operations": {"do": {"cache": {"max_age": 50.0}, "steps": [{"work": 0.1}]}}}}
    found = run(scenario(cached, {}, at=(0.0, 1.0, 2.0), faults=[{"flush": "pay.do", "at": 1.5}]))
    assert [took for _, took, _ in diary(found)] == [100, 0, 100]


def test_those_who_ask_for_what_is_being_fetched_wait_for_it():
    shop = {"workers": 9, "operations": {"buy": CALL_PAY}}
    pay = {"workers": 9, "operations": {"do": [{"work": 1.0}]}}
    found = run(scenario({"shop": shop, "pay": pay}, {"shop -> pay": {"cache": {"max_age": 9.0}}}, at=(0.0, 0.4)))
    assert [took for _, took, _ in diary(found)] == [1000, 1000]
    cache = {"max_age": 9.0, "request_collapsing": True}
    found = run(scenario({"shop": shop, "pay": pay}, {"shop -> pay": {"cache": cache}}, at=(0.0, 0.4)))
    assert [took for _, took, _ in diary(found)] == [1000, 600]
    assert len(tries(found)) == 1
    assert found.requests.queue_s.tolist() == pytest.approx([0.0, 0.6])


def test_a_stale_answer_stands_in_for_a_failed_one():
    cache = {"max_age": 1.0, "stale_if_error": 10.0}
    services = {"shop": CALL_PAY, "pay": [{"work": 0.1}]}
    faults = [{"errors": "pay", "ratio": 1.0, "at": 1.0}]
    found = run(scenario(services, {"shop -> pay": {"cache": cache}}, at=(0.0, 5.0, 20.0), faults=faults))
    assert [outcome for _, _, outcome in diary(found)] == ["ok", "degraded", "error"]


def test_a_pause_lets_requests_wait_and_finishes_what_has_begun():
    found = run(scenario({"shop": [{"work": 1.0}]}, {}, at=(0.0, 0.7, 3.0), faults=[{"pause": "shop", "at": 0.5, "for": 2.0}]))
    assert diary(found) == [(0.0, 1000, "ok"), (0.7, 2800, "ok"), (3.0, 1500, "ok")]


def test_a_deadline_travels_and_the_server_of_a_server_stops_in_time():
    services = {"shop": CALL_PAY, "pay": [{"call": "bank.do"}], "bank": [{"work": 9.0}]}
    quiet = run(scenario(services, {"client -> shop": {"timeout": 1.0}}))
    assert quiet.totals.set_index("name").busy_worker_s.to_dict() == {"shop": 9.0, "pay": 9.0, "bank": 9.0}
    told = {"default": {"propagate_deadline": True, "cancellation": True}, "client -> shop": {"timeout": 1.0}}
    found = run(scenario(services, told, links={"default": 0.001}))
    assert diary(found) == [(0.0, 1000, "timeout")]
    busy_s = found.totals.set_index("name").busy_worker_s.to_dict()
    assert busy_s == pytest.approx({"shop": 1.0, "pay": 1.0, "bank": 1.0}, abs=0.01)


def test_an_endpoint_that_fails_is_left_out_and_tried_again():
    pay = {"replicas": 2, "operations": {"do": []}}
    outliers = {"consecutive_5xx": 2, "max_ejection_percent": 50, "interval": 1.0, "base_ejection_time": 5.0}
    faults = [{"errors": "pay", "replica": 0, "ratio": 1.0, "at": 0.0, "for": 3.0}]
    at = tuple(0.25 * i for i in range(40))
    found = run(scenario({"shop": CALL_PAY, "pay": pay}, {"shop -> pay": {"outlier_detection": outliers}}, at=at, faults=faults))
    changes = found.changes
    assert changes.state.tolist() == ["ejected", "returned"]
    assert set(changes.endpoint) == {0}
    assert (found.requests.outcome == "error").sum() == 2


def test_the_layers_of_two_policies_are_named_once():
    with pytest.raises(ValueError, match="names a layer twice"):
        scenario({"shop": []}, {"default": {"order": ("retry", "retry")}})


REVIEWED = """
services:
  shop: {{workers: 4, replicas: 4, operations: {{buy: [{{call: pay.charge}}]}}}}
  pay: {{workers: 4, replicas: 3, operations: {{charge: {{idempotent: {idempotent}, steps: [{{work: 1ms}}]}}}}}}
calls: {{shop -> pay: {policy}}}
load: {{rate: 20/s, mix: shop.buy}}
run: {{duration: 60s}}
"""


@pytest.mark.parametrize(
    ("policy", "idempotent", "said"),
    [
        ("{retry: {max_attempts: 3}}", "false", "may run pay.charge twice: retry.max_attempts = 3, and it is not idempotent"),
        ("{hedging: {delay: 5ms}}", "false", "may run pay.charge twice: hedging.max_attempts = 2"),
        ("{circuit_breaker: {window_type: time, window_duration: 10s}}", "true", "each of 4 breakers sees 5 calls/s, 50 in"),
        ("{circuit_breaker: {window_type: count, minimum_calls: 500, window_size: 500}}", "true", "never judges"),
        ("{outlier_detection: {}}", "true", "outlier detection ejects nobody: pay.charge has 3 endpoints"),
    ],
)
def test_a_reviewer_s_doubts(policy, idempotent, said):
    found = doubts(loads(REVIEWED.format(policy=policy, idempotent=idempotent)))
    assert any(said in doubt for doubt in found), found


def test_sound_policies_raise_no_doubt():
    policy = "{retry: {max_attempts: 2}, circuit_breaker: {window_type: time, window_duration: 30s}, "
    policy += "outlier_detection: {max_ejection_percent: 50}}"
    assert doubts(loads(REVIEWED.format(policy=policy, idempotent="true"))) == []


def test_a_publish_is_neither_cached_nor_hedged():
    shop = {"workers": 9, "operations": {"buy": [{"publish": "mails"}]}}
    calls = {"default": {"cache": {"max_age": 100.0, "keys": 1}, "hedging": {"delay": 0.0}}, "client -> shop": {"cache": None}}
    services = {"shop": shop, "mail": [{"work": 0.1}]}
    found = run(scenario(services, calls, at=(0.0, 1.0, 2.0), queues={"mails": {"consumer": "mail.do"}}))
    assert len(found.effects) == 3
