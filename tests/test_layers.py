"""The layers of a guarded call, in motion: what each tells the others, and what it gives back. Times that one can count."""

from __future__ import annotations

import pytest
from test_guarded import CALL_PAY, diary, scenario, tries

from sim.scenario.model import Scenario
from sim.single import run

SHOP = {"workers": 9, "operations": {"buy": CALL_PAY}}


def at_pay(steps, **fields):
    """The shop, and a target that does these steps."""
    return {"shop": SHOP, "pay": {"workers": 9, **fields, "operations": {"do": steps}}}


def play(services, policy, at=(0.0,), **rest):
    """A run in which `policy` is that of shop -> pay."""
    calls = {"shop -> pay": policy, **rest.pop("calls", {})}
    return run(scenario(services, calls, at=at, **rest))


def outcomes(result):
    return [outcome for _, _, outcome in diary(result)]


def pauses(base, **more):
    """The same pause before each retry."""
    return {"backoff": {"kind": "constant", "base": base, "jitter": "none", **more}}


def test_retries_outside_of_the_deadline_give_each_try_a_whole_one():
    policy = {"timeout": 1.0, "retry": {"max_attempts": 2}, "order": ("retry", "deadline")}
    found = play(at_pay([{"work": 3.0}]), policy)
    assert tries(found) == [(0, "timeout"), (1000, "timeout")]
    assert found.requests.lost_s.item() == pytest.approx(2.0)
    # A shorter deadline from outside ends the second try.
    told = {"default": {"propagate_deadline": True}, "client -> shop": {"timeout": 1.5}}
    rows = play(at_pay([{"work": 3.0}]), policy, calls=told).attempts
    assert rows.ended_s[rows.target == "pay.do"].tolist() == [1.0, 1.5]


def test_the_second_try_has_what_is_left_of_the_deadline():
    policy = {"timeout": 1.0, "connect_timeout": 9.0, "retry": {"max_attempts": 2, **pauses(0.2)}}
    found = play(at_pay([{"work": 9.0}]), policy, faults=[{"errors": "pay", "ratio": 1.0, "at": 0.0, "for": 0.1}])
    assert tries(found) == [(0, "error"), (200, "timeout")]
    assert diary(found) == [(0.0, 1000, "error")]


def test_the_deadline_cuts_off_the_pause():
    policy = {"timeout": 0.5, "fallback": {"on": ["timeout"]}, "retry": {"max_attempts": 2, **pauses(0.6)}}
    found = play(at_pay([{"fail": 1.0}]), policy)
    assert diary(found) == [(0.0, 500, "degraded")]
    assert found.requests.backoff_s.item() == pytest.approx(0.5)


def test_pauses_grow_from_retry_to_retry():
    policy = {"connect_timeout": 9.0, "retry": {"max_attempts": 4, "backoff": {"base": 0.1, "jitter": "none"}}}
    assert [start for start, _ in tries(play(at_pay([{"fail": 1.0}]), policy))] == [0, 100, 300, 700]


def test_a_refusal_may_be_followed_by_another_pause():
    retry = {"max_attempts": 3, **pauses(0.1), "backoff_after_rejected": pauses(0.5)["backoff"]}
    pay = at_pay([{"fail": 1.0}], rate_limit={"kind": "token_bucket", "rate": 1.0})
    assert tries(play(pay, {"retry": retry})) == [(0, "error"), (100, "rejected"), (600, "rejected")]


def test_what_a_server_said_about_coming_back_holds_for_one_pause():
    pay = at_pay([{"work": 9.0}], rate_limit={"kind": "token_bucket", "rate": 2.0})
    retry = {"max_attempts": 4, **pauses(0.1, respect_retry_after="exact")}
    found = play(pay, {"per_try_timeout": 0.2, "retry": retry})
    assert tries(found) == [(0, "timeout"), (300, "rejected"), (500, "timeout"), (800, "rejected")]
    # A hedged call hands on what its last try was told.
    hedged = {
        "hedging": {"delay": 9.0, "non_fatal": ()},
        "retry": {"max_attempts": 2, **pauses(0.1, respect_retry_after="exact")},
    }
    assert tries(play(at_pay([], rate_limit={"kind": "token_bucket", "rate": 2.0}), hedged, at=(0.0, 0.2))) == [
        (0, "ok"),
        (200, "rejected"),
        (500, "ok"),
    ]


def test_a_budget_hears_of_failures_and_of_the_tries_that_follow():
    # Of four tokens each failure takes one; two are not more than a half.
    tokens = {"retry": {"max_attempts": 9, "budget": {"kind": "token_ratio", "max_tokens": 4}}}
    assert len(tries(play(at_pay([{"fail": 1.0}]), tokens))) == 2
    # As many retries in progress as tries under way: the one that is sent counts.
    share = {"kind": "concurrency", "budget_percent": 100, "min_concurrency": 0}
    assert len(tries(play(at_pay([{"fail": 1.0}]), {"retry": {"max_attempts": 3, "budget": share}}))) == 3


LIMITS = {
    "bulkhead": {"concurrency_limit": {"max_concurrent": 1}},
    "adaptive": {"adaptive_concurrency": {"algorithm": "aimd", "initial_limit": 1, "min_limit": 1, "max_limit": 1}},
    "rate": {"rate_limit": {"kind": "token_bucket", "rate": 1.0}},
    "hedged": {"concurrency_limit": {"max_concurrent": 1}, "hedging": {"delay": 9.0}},
    "impatient": {"concurrency_limit": {"max_concurrent": 1, "max_queue": 1, "max_wait": 0.1}},
}


@pytest.mark.parametrize("limit", LIMITS)
def test_what_the_callers_own_limit_refused_is_no_refusal_of_the_target(limit):
    # The second call is refused, and not tried again: its try was never sent. Later calls find everything free again.
    policy = {**LIMITS[limit], "retry": {"max_attempts": 2, **pauses(1.0)}}
    found = play(at_pay([{"work": 0.5}]), policy, at=(0.0, 0.1, 3.0, 5.0))
    assert outcomes(found) == ["ok", "error", "ok", "ok"]
    assert diary(found)[1][1] == (100 if limit == "impatient" else 0)
    assert [start for start, _ in tries(found)] == [0, 3000, 5000]


def test_a_refusal_of_the_callers_own_limit_says_nothing_of_a_later_try():
    # The call of 0.5 s is refused here, comes back at 1.5 s, and fails for good: an error is not tried again.
    policy = {"concurrency_limit": {"max_concurrent": 1}, "retry": {"max_attempts": 3, "on": ("overflow",), **pauses(1.0)}}
    assert tries(play(at_pay([{"fail": 1.0, "work": 1.0}]), policy, at=(0.0, 0.5))) == [(0, "error"), (1500, "error")]


def test_places_are_given_back_by_whoever_had_to_wait_or_waited_in_vain():
    pay = at_pay([{"work": 1.0}])
    found = play(pay, {"concurrency_limit": {"max_concurrent": 1, "max_queue": 2}}, at=(0.0, 0.1, 0.2))
    assert [took for _, took, _ in diary(found)] == [1000, 1900, 2800]
    assert found.requests.queue_s.tolist() == pytest.approx([0.0, 0.9, 1.8])
    impatient = {"concurrency_limit": {"max_concurrent": 1, "max_queue": 1, "max_wait": 0.5}}
    found = play(pay, impatient, at=(0.0, 0.1, 0.7))
    assert diary(found) == [(0.0, 1000, "ok"), (0.1, 500, "error"), (0.7, 1300, "ok")]


def test_whoever_waits_for_a_place_waits_no_longer_than_the_deadline():
    policy = {"concurrency_limit": {"max_concurrent": 0, "max_queue": 1}, "timeout": 0.5, "fallback": {"on": ["timeout"]}}
    found = play(at_pay([]), policy)
    assert diary(found) == [(0.0, 500, "degraded")]
    assert found.requests.queue_s.item() == pytest.approx(0.5)


def test_calls_wait_for_the_rate_limiter_in_turn():
    limit = {"kind": "token_bucket", "rate": 1.0, "max_wait": 2.0}
    found = play(at_pay([]), {"rate_limit": limit}, at=(0.0, 0.0, 0.0, 0.0))
    assert [(took, outcome) for _, took, outcome in diary(found)] == [(0, "ok"), (1000, "ok"), (2000, "ok"), (0, "error")]
    assert found.requests.queue_s.tolist() == pytest.approx([0.0, 1.0, 2.0, 0.0])
    # No longer than the deadline; where the token comes at that very moment, nothing is sent either.
    for rate in (1.0, 2.0):
        policy = {"rate_limit": {**limit, "rate": rate}, "timeout": 0.5, "fallback": {"on": ["timeout"]}}
        found = play(at_pay([]), policy, at=(0.0, 0.0))
        assert diary(found)[1] == (0.0, 500, "degraded")
        assert found.requests.queue_s.tolist() == pytest.approx([0.0, 0.5])
        assert len(tries(found)) == 1


def test_a_caller_whom_the_rate_limiter_refuses_may_have_to_wait_for_that():
    limit = {"kind": "token_bucket", "rate": 1.0, "max_wait": 0.5, "refuse": "after_max_wait"}
    found = play(at_pay([]), {"rate_limit": limit}, at=(0.0, 0.1))
    assert diary(found) == [(0.0, 0, "ok"), (0.1, 500, "error")]


AIMD = {"algorithm": "aimd", "initial_limit": 2, "min_limit": 1, "backoff_ratio": 0.5}


def test_an_adaptive_limit_learns_from_answers_with_what_was_under_way_when_they_were_asked_for():
    # One of two is half of the limit: it grows to three.
    found = play(at_pay([{"work": 0.5}]), {"adaptive_concurrency": AIMD}, at=(0.0, 1.0, 1.1, 1.2, 1.3))
    assert outcomes(found) == ["ok", "ok", "ok", "ok", "error"]
    # A refusal by the target halves it.
    pay = at_pay([{"work": 0.5}], rate_limit={"kind": "token_bucket", "rate": 1.0, "burst": 1})
    found = play(pay, {"adaptive_concurrency": {**AIMD, "max_limit": 2}}, at=(0.0, 0.6, 2.0, 2.1))
    assert outcomes(found) == ["ok", "error", "ok", "error"]
    assert [outcome for _, outcome in tries(found)] == ["ok", "rejected", "ok"]


def test_an_adaptive_limit_learns_nothing_from_a_call_whose_caller_is_stopped():
    # After 6 s, which would be a loss: the limit stays at two.
    slow = [{"slow": "pay", "factor": 100.0, "at": 0.0, "for": 1.0}]
    stopped = {"client -> shop": {"timeout": 6.0, "cancellation": True}}
    policy = {"adaptive_concurrency": {**AIMD, "max_limit": 2}}
    found = play(at_pay([{"work": 0.5}]), policy, at=(0.0, 10.0, 10.1), calls=stopped, faults=slow)
    assert outcomes(found) == ["timeout", "ok", "ok"]


def test_a_throttle_draws_anew_for_each_try():
    # Nothing succeeds: it lets a fifth through in the end.
    policy = {
        "throttling": {"kind": "envoy"},
        "retry": {"max_attempts": 200, "on": ("error", "overflow"), **pauses(0.1)},
    }
    assert 20 < len(tries(play(at_pay([{"fail": 1.0}]), policy))) < 80


def test_what_a_throttle_refuses_is_not_tried_again():
    policy = {"throttling": {"kind": "envoy"}, "retry": {"max_attempts": 2, **pauses(0.1)}}
    starts = [start for start, _ in tries(play(at_pay([{"fail": 1.0}]), policy, at=tuple(range(60))))]
    first = {start // 1000 for start in starts if start % 1000 == 0}
    second = {start // 1000 for start in starts if start % 1000 == 100}
    assert second
    assert second < first


def test_a_throttle_does_not_learn_from_what_a_limit_below_it_refused():
    policy = {"throttling": {"kind": "envoy"}, "concurrency_limit": {"max_concurrent": 1}}
    at = (0.0, *(0.1 + i / 100 for i in range(50)), 2.0, 4.0, 6.0, 8.0)
    assert outcomes(play(at_pay([{"work": 1.0}]), policy, at=at)) == ["ok"] + ["error"] * 50 + ["ok"] * 4


SCOPES = pytest.mark.parametrize("scope", ["per_client_process", "per_client_x_endpoint"])


@SCOPES
def test_a_breaker_short_circuits(scope):
    policy = {"circuit_breaker": {"scope": scope, "consecutive_failures": 1}, "fallback": {"on": ["short_circuited"]}}
    found = play(at_pay([{"fail": 1.0}]), policy, at=(1.0, 2.0))
    assert outcomes(found) == ["error", "degraded"]
    assert tries(found) == [(1000, "error")]
    assert found.changes.state.tolist() == ["open"]


@SCOPES
@pytest.mark.parametrize(("work_s", "second"), [(0.01, "ok"), (0.5, "error")])
def test_a_breaker_is_told_how_long_a_call_took(scope, work_s, second):
    breaker = {"window_type": "count", "window_size": 2, "minimum_calls": 1, "slow_call_duration": 0.1, "scope": scope}
    policy = {"circuit_breaker": breaker, "connect_timeout": 9.0}
    assert outcomes(play(at_pay([{"work": work_s}]), policy, at=(10.0, 20.0))) == ["ok", second]


@SCOPES
def test_a_probe_whose_caller_is_stopped_makes_room_for_another(scope):
    policy = {"circuit_breaker": {"scope": scope, "consecutive_failures": 1, "open_duration": 1.0}, "connect_timeout": 9.0}
    stopped = {"client -> shop": {"timeout": 0.5, "cancellation": True}}
    errors = [{"errors": "pay", "ratio": 1.0, "at": 0.0, "for": 1.0}]
    found = play(at_pay([{"work": 9.0}]), policy, at=(0.0, 2.0, 4.0), calls=stopped, faults=errors)
    assert tries(found) == [(0, "error"), (2000, "in_flight"), (4000, "in_flight")]


@SCOPES
def test_a_process_that_is_started_anew_has_a_closed_breaker_and_its_past_is_kept(scope):
    breaker = {"scope": scope, "consecutive_failures": 1, "open_duration": 5.0, "automatic_half_open": True}
    policy = {"circuit_breaker": breaker, "connect_timeout": 9.0}
    crash = [{"crash": "shop", "at": 2.0, "for": 1.0}]
    found = play(at_pay([{"fail": 1.0}]), policy, at=(1.0, 1.5, 4.0), faults=crash)
    assert [start for start, _ in tries(found)] == [1000, 4000]
    rows = [(row.time_s, row.state) for row in found.changes.itertuples()]
    assert rows == [(1.0, "open"), (4.0, "open"), (9.0, "half_open")]


def test_a_window_of_the_rate_limit_begins_with_the_process():
    # Started anew at 0.3 s: the windows begin at 0.3, 1.3, 2.3 s.
    policy = {"rate_limit": {"kind": "fixed_window", "limit": 1, "period": 1.0}}
    crash = [{"crash": "shop", "at": 0.3, "for": 0.1}]
    assert outcomes(play(at_pay([]), policy, at=(0.1, 0.5, 1.1, 1.4), faults=crash)) == ["ok", "ok", "error", "ok"]


def test_nobody_believed_to_be_alive_is_a_row_of_its_own():
    found = play(at_pay([]), {"connect_timeout": 9.0}, at=(1.0,), faults=[{"crash": "pay", "at": 0.0}])
    assert tries(found) == [(1000, "unreachable")]


def test_giving_up_frees_the_worker_where_the_server_is_told():
    for told, busy_s in ((False, 4.0), (True, 0.5)):
        policy = {"timeout": 0.5, "connect_timeout": 9.0, "cancellation": told}
        found = play(at_pay([{"work": 4.0}]), policy)
        assert found.totals.set_index("name").busy_worker_s["pay"] == pytest.approx(busy_s)


def test_a_server_begins_nothing_after_the_deadline_of_the_call():
    policy = {"timeout": 1.0, "connect_timeout": 9.0, "propagate_deadline": True}
    found = play(at_pay([{"work": 2.0}], workers=1), policy, at=(0.0, 0.5))
    assert found.totals.set_index("name").busy_worker_s["pay"] == pytest.approx(2.0)


def test_another_try_goes_to_another_endpoint():
    policy = {"balancing": "random", "retry": {"max_attempts": 2, "avoid_previous_endpoints": True}}
    rows = play(at_pay([{"fail": 1.0}], replicas=2), policy, at=tuple(range(8))).attempts
    rows = rows[rows.target == "pay.do"]
    assert [set(pair) for _, pair in rows.groupby("request").replica] == [{0, 1}] * 8


def test_calls_in_flight_count_until_they_are_over():
    policy = {"balancing": "least_request", "connect_timeout": 9.0}
    at = tuple(start + late for start in range(0, 40, 5) for late in (0.0, 0.5))
    found = play(at_pay([{"work": 1.0}], replicas=2, workers=1), policy, at=at)
    assert {took for _, took, _ in diary(found)} == {1000}


def test_a_server_s_adaptive_limit_learns_from_the_time_that_its_visits_took() -> None:
    """Answers within 20 ms are no losses at 50 ms: four at once, and one more for each of three answers in time."""
    limit = {"algorithm": "aimd", "initial_limit": 4, "min_limit": 1, "max_limit": 100, "drop_after": "50ms"}
    shop = {"workers": "unlimited", "adaptive_concurrency": limit, "operations": {"buy": [{"work": "20ms"}]}}
    load = {"kind": "replay", "times": [10.0] * 10 + [11.0] * 10, "mix": "shop.buy"}
    rows = run(Scenario(services={"shop": shop}, load=load, run={"duration": "20s"}), 1).requests
    assert rows[rows.outcome == "ok"].groupby("arrived_s").size().tolist() == [4, 7]


def test_a_probe_that_fails_at_once_leaves_the_breaker_open_in_the_rows_too() -> None:
    """Refused connections take no time: half-open and open again are one moment, and the spells that follow are open."""
    services = {
        "shop": {"workers": "unlimited", "operations": {"buy": [{"call": "pay.charge"}]}},
        "pay": {"workers": 1, "operations": {"charge": [{"fail": 1.0}]}},
    }
    for scope in ("per_client_process", "per_client_x_endpoint"):
        breaker = {"consecutive_failures": 2, "open_duration": "1s", "scope": scope}
        load = {"kind": "replay", "times": [0.0, 0.5, 2.0, 4.0], "mix": "shop.buy"}
        case = Scenario(services=services, load=load, calls={"pay": {"circuit_breaker": breaker}}, run={"duration": "5s"})
        changes = run(case, 1).changes
        told = list(zip(changes.time_s, changes.state.astype(str), strict=True))
        assert told == [(0.5, "open"), (2.0, "half_open"), (2.0, "open"), (4.0, "half_open"), (4.0, "open")]
