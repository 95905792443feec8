"""What travels with a call: degraded answers upwards, deadlines downwards, and what the heap says out of date."""

import pytest
from test_runtime import latencies, outcomes, shop, simulate

from sim.records import DEGRADED
from sim.runtime.visit import Endpoint


class Degraded(Endpoint):
    """Answers at once with less than was asked for."""

    def receive(self, visit):
        visit.answer(DEGRADED)


def answers_degraded(address):
    """A user's process that puts such an endpoint in front of an operation before anything arrives."""

    def process(world):
        world.edges.targets[address].endpoints[0] = Degraded()
        return
        yield

    return process


@pytest.mark.parametrize(
    "step",
    [
        {"call": "stock.check"},
        {"call": "stock.check", "count": 2},
        {"call": "stock.check", "count": 2, "in_parallel": True},
        {"parallel": [[{"call": "stock.check"}, {"work": 1.0}], [{"work": 0.5}]]},
    ],
)
def test_a_degraded_answer_is_good_and_makes_every_answer_above_it_degraded(step):
    services = {
        "front": {"workers": 1, "operations": {"open": [{"call": "shop.buy"}, {"work": 1.0}]}},
        **shop(step, {"work": 1.0}),
        "stock": {"workers": 1, "operations": {"check": [{"work": 9.0}]}},
    }
    calls = {"default": {"retry": {"max_attempts": 3}, "circuit_breaker": {"consecutive_failures": 1}}}
    result = simulate(services, times=[1, 11], mix="front.open", calls=calls, processes=[answers_degraded("stock.check")])
    assert outcomes(result) == ["degraded", "degraded"]
    assert set(result.attempts.outcome) == {"degraded"}
    assert set(result.attempts.number) == {1}
    assert latencies(result)[0] >= 2.0  # both went on with their other steps


def test_a_failure_beside_a_degraded_answer_is_a_failure():
    services = {
        **shop({"parallel": [{"call": "stock.check"}, {"call": "price.get"}]}),
        "stock": {"workers": 1, "operations": {"check": [{"work": 9.0}]}},
        "price": {"workers": 1, "operations": {"get": [{"fail": 1.0}]}},
    }
    assert outcomes(simulate(services, times=[1], processes=[answers_degraded("stock.check")])) == ["error"]


def test_an_effect_with_a_degraded_answer_has_happened():
    services = {
        "shop": {"workers": 1, "operations": {"buy": {"effect": True, "steps": [{"call": "stock.check"}]}}},
        "stock": {"workers": 1, "operations": {"check": [{"work": 9.0}]}},
    }
    result = simulate(services, times=[1], processes=[answers_degraded("stock.check")])
    assert result.effects.fate.tolist() == ["done"]


TWO_HOPS = {
    "shop": {"workers": 1, "operations": {"buy": [{"work": 1.0}, {"call": "stock.check"}]}},
    "stock": {"workers": 1, "operations": {"check": [{"work": 5.0}]}},
}


def two_hops(*propagating, **more):
    """Three seconds for the whole, ten for the call inside of it."""
    calls = {"client -> shop": {"timeout": 3.0}, "shop -> stock": {"timeout": 10.0}}
    for edge in propagating:
        calls[edge]["propagate_deadline"] = True
    return simulate(TWO_HOPS, calls=calls, **more)


def test_a_deadline_that_travels_ends_the_calls_inside_of_it():
    plain = two_hops()
    assert plain.attempts.ended_s.tolist() == [3.0, 6.0]
    assert plain.attempts.outcome.tolist() == ["timeout", "ok"]
    both = two_hops("client -> shop", "shop -> stock")
    assert both.attempts.ended_s.tolist() == [3.0, 3.0]
    assert both.attempts.outcome.tolist() == ["timeout", "timeout"]
    # The server is not told to stop: it finishes for nobody, as it does without.
    assert both.totals.busy_worker_s.tolist() == [3.0, 5.0]
    # A deadline ends where an edge does not pass it on.
    assert two_hops("client -> shop").attempts.ended_s.tolist() == [3.0, 6.0]
    assert two_hops("shop -> stock").attempts.ended_s.tolist() == [3.0, 6.0]


def test_a_server_refuses_what_nobody_waits_for_any_more():
    # The second request gets the worker at 6 s, 5.5 s after it came; by then its client is gone.
    plain = two_hops(times=[0, 0.5])
    assert plain.totals.set_index("name").busy_worker_s.to_dict() == {"shop": 12.0, "stock": 10.0}
    told = two_hops("client -> shop", times=[0, 0.5])
    assert told.totals.set_index("name").busy_worker_s.to_dict() == {"shop": 6.0, "stock": 5.0}
    assert told.totals.served.tolist() == [2, 1]
    assert outcomes(told) == ["timeout", "timeout"]


def test_a_call_that_begins_after_the_deadline_sends_nothing():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"work": 4.0}, {"call": "stock.check"}]}},
        "stock": {"workers": 1, "operations": {"check": [{"work": 1.0}]}},
    }
    result = simulate(services, calls={"default": {"propagate_deadline": True}, "client -> shop": {"timeout": 3.0}})
    assert result.attempts.target.tolist() == ["shop.buy"]
    assert result.totals.busy_worker_s.tolist() == [4.0, 0.0]


def test_a_travelling_deadline_is_the_same_in_parallel_branches():
    services = {
        "shop": {"workers": 1, "operations": {"buy": [{"parallel": [{"call": "stock.check"}, {"work": 1.0}]}]}},
        "stock": {"workers": 1, "operations": {"check": [{"work": 5.0}]}},
    }
    result = simulate(services, calls={"default": {"propagate_deadline": True}, "client -> shop": {"timeout": 3.0}})
    assert result.attempts.ended_s.tolist() == [3.0, 3.0]


def test_a_crash_during_a_long_way_back_is_not_mistaken_for_the_end_of_the_work():
    # At work from 4 to 5 s; the crash at 4.5 s answers `unreachable`, which is on its way until 8.5 s.
    result = simulate(shop({"work": 1.0}), links={"default": 4.0}, faults=[{"crash": "shop", "at": 4.5, "for": 1}])
    assert outcomes(result) == ["unreachable"]
    assert latencies(result) == [8.5]


def test_the_timer_of_an_answered_retry_does_not_end_a_later_visit():
    # The second try of the first request has a timer for 3 s, its deadline; it is answered at 0.6 s.
    faults = [{"errors": "shop", "ratio": 1.0, "at": 0, "for": 0.1}]
    calls = {"default": {"timeout": 3.0, "retry": {"max_attempts": 2, "backoff": {"base": 0.2}}}}
    result = simulate(shop({"work": 0.4}), times=[0, 2.8], faults=faults, calls=calls)
    assert outcomes(result) == ["ok", "ok"]
    assert result.attempts.number.tolist() == [1, 2, 1]
    assert latencies(result) == [0.6, 0.4]


def test_a_time_limit_forgets_what_was_answered_and_ends_what_was_not():
    # Out of order: the second is answered first, the first never in time, the third just so.
    slow = {"slow": "shop", "factor": 100, "at": 0, "for": 0.5}
    calls = {"default": {"per_try_timeout": 2.0}}
    result = simulate(shop({"work": 1.0}, workers="unlimited"), times=[0, 1, 1.5], faults=[slow], calls=calls)
    assert outcomes(result) == ["timeout", "ok", "ok"]
    assert latencies(result) == [2.0, 1.0, 1.0]
