"""What goes on behind a call, in motion: hedges and ties, caches, and what servers refuse, line up, share and version."""

from __future__ import annotations

import pytest
from test_guarded import CALL_PAY, diary, scenario, tries
from test_layers import SHOP, at_pay, outcomes, play

from sim.single import run


def slow_until(end_s):
    """Work at the target that begins before this takes ten times as long."""
    return [{"slow": "pay", "factor": 10.0, "at": 0.0, "for": end_s}]


def busy_s(result):
    return result.totals.set_index("name").busy_worker_s["pay"]


# --- several attempts at once -----------------------------------------------------------------------------------------------


def test_attempts_follow_each_other_by_the_delay_up_to_the_most():
    found = play(at_pay([{"work": 1.0}]), {"hedging": {"delay": 0.2, "max_attempts": 3}})
    assert tries(found) == [(0, "ok"), (200, "in_flight"), (400, "in_flight")]
    # Where the last one wins, the time before it was sent is a pause, and the rest is its own.
    found = play(at_pay([{"work": 1.0}]), {"hedging": {"delay": 0.2, "max_attempts": 3}}, faults=slow_until(0.3))
    assert diary(found) == [(0.0, 1400, "ok")]
    row = found.requests.iloc[0]
    assert (row.backoff_s, row.service_s) == pytest.approx((0.4, 1.0))


def test_a_failure_that_is_not_fatal_sends_the_next_attempt_while_others_run():
    faults = [{"errors": "pay", "ratio": 1.0, "at": 0.15, "for": 0.1}]
    found = play(at_pay([{"work": 1.0}]), {"hedging": {"delay": 0.2, "max_attempts": 3}}, faults=faults)
    assert tries(found) == [(0, "ok"), (200, "error"), (200, "error")]
    assert diary(found) == [(0.0, 1000, "ok")]


def test_the_budget_of_retries_pays_for_hedges():
    # Of two tokens one may be spent.
    policy = {"hedging": {"delay": 0.2, "max_attempts": 4}, "retry": {"budget": {"kind": "deposit", "size": 2, "deposit": 0}}}
    found = play(at_pay([{"work": 1.0}]), policy)
    assert tries(found) == [(0, "ok"), (200, "in_flight")]


def test_each_failed_attempt_takes_one_token():
    # Of eight tokens, five must be left for another attempt.
    policy = {"hedging": {"delay": 9.0}, "retry": {"budget": {"kind": "token_ratio", "max_tokens": 8}}}
    found = play(at_pay([{"fail": 1.0}]), policy, at=(0.0, 1.0, 2.0))
    assert [start for start, _ in tries(found)] == [0, 0, 1000, 1000, 2000]


def test_a_failure_takes_one_token_whoever_tells_of_it():
    # 4, two failures 2; one failure of a call that may not hedge 1; three good calls 4, and so the last call may hedge.
    budget = {"kind": "token_ratio", "max_tokens": 4, "token_ratio": 1}
    faults = [{"errors": "pay", "ratio": 1.0, "at": at_s, "for": 1.5} for at_s in (0.0, 5.0)]
    policy = {"hedging": {"delay": 9.0}, "retry": {"budget": budget}}
    found = play(at_pay([{"work": 0.1}]), policy, at=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), faults=faults)
    assert [start for start, _ in tries(found)] == [0, 0, 1000, 2000, 3000, 4000, 5000, 5000]


def test_hedges_are_a_share_of_the_calls():
    policy = {"hedging": {"delay": 0.0, "max_extra_load_percent": 50}}
    assert len(tries(play(at_pay([{"work": 0.1}]), policy, at=(0.0, 1.0, 2.0, 3.0)))) == 6


@pytest.mark.parametrize(("cancel", "second", "busy"), [(True, "in_flight", 1.8), (False, "ok", 2.0)])
def test_losers_run_on_if_they_are_not_given_up(cancel, second, busy):
    policy = {"hedging": {"delay": 0.2, "cancel_losers": cancel}, "cancellation": True}
    found = play(at_pay([{"work": 1.0}]), policy)
    assert tries(found) == [(0, "ok"), (200, second)]
    assert busy_s(found) == pytest.approx(busy)


def test_losers_end_with_their_process():
    policy = {"hedging": {"delay": 0.2, "cancel_losers": False}}
    found = play(at_pay([{"work": 1.0}]), policy, faults=[{"crash": "shop", "at": 1.1, "for": 1.0}])
    assert diary(found) == [(0.0, 1000, "ok")]
    assert tries(found) == [(0, "ok"), (200, "in_flight")]


def test_all_attempts_end_with_the_process_that_waits_for_them():
    policy = {"hedging": {"delay": 0.2}, "cancellation": True}
    found = play(at_pay([{"work": 9.0}]), policy, faults=[{"crash": "shop", "at": 1.0, "for": 1.0}])
    assert tries(found) == [(0, "in_flight"), (200, "in_flight")]
    assert busy_s(found) == pytest.approx(1.8)


@pytest.mark.parametrize("told", [{}, {"cancellation": True}])
def test_a_hedge_is_sent_when_most_calls_would_have_been_answered(told):
    # Ten calls of 0.1 s; from then on a call that takes longer than that is hedged, and the first of them is slow.
    hedging = {"percentile": 50, "window": 3.0, "refresh": 1.0}
    at = (*(i / 5 for i in range(10)), 2.5)
    faults = [{"slow": "pay", "factor": 10.0, "at": 2.5, "for": 0.05}]
    found = play(at_pay([{"work": 0.1}]), {"hedging": hedging, **told}, at=at, faults=faults)
    assert diary(found)[-1] == (2.5, 200, "ok")
    assert tries(found)[-2:] == [(2500, "in_flight"), (2600, "ok")]


TIED = {"hedging": {"delay": 0.0, "tied": True}, "cancellation": False}


def test_a_tied_request_is_dropped_one_message_later_and_only_from_the_line():
    # Both servers work for the first call until 1.0 s or 1.3 s; then the second call is begun by the faster, and by it alone.
    pay = {"workers": 1, "replicas": 2, "operations": {"do": [{"work": 1.0}]}}
    faults = [{"slow": "pay", "replica": 1, "factor": 1.3, "at": 0.0}]
    for message_s, served in ((0.0, 3), (0.1, 3), (0.4, 4)):
        found = run(
            scenario(
                {"shop": SHOP, "pay": pay}, {"shop -> pay": TIED}, at=(0.0, 0.3), faults=faults, links={"default": message_s}
            )
        )
        assert outcomes(found) == ["ok", "ok"]
        assert found.totals.set_index("name").served["pay"] == served


def test_tied_requests_of_which_the_one_that_is_begun_fails():
    pay = {"workers": 1, "replicas": 2, "operations": {"do": [{"work": 1.0}]}}
    faults = [
        {"slow": "pay", "replica": 1, "factor": 1.3, "at": 0.0},
        {"errors": "pay", "ratio": 1.0, "at": 0.5},
    ]
    found = run(scenario({"shop": SHOP, "pay": pay}, {"shop -> pay": TIED}, at=(0.0, 0.3), faults=faults))
    assert diary(found) == [(0.0, 1000, "ok"), (0.3, 700, "error")]


def test_the_failure_of_a_tied_request_takes_one_token():
    # Of four tokens the failure at 1 s takes one, though it decides the call only when its twin is dropped; with two left the
    # last call could not send two.
    pay = {"workers": 1, "replicas": 2, "operations": {"do": [{"work": 1.0}]}}
    faults = [
        {"slow": "pay", "replica": 1, "factor": 1.3, "at": 0.0},
        {"errors": "pay", "ratio": 1.0, "at": 0.5, "for": 1.0},
    ]
    budget = {"kind": "token_ratio", "max_tokens": 4, "token_ratio": 1}
    policy = {**TIED, "retry": {"budget": budget}}
    found = run(scenario({"shop": SHOP, "pay": pay}, {"shop -> pay": policy}, at=(0.0, 0.3, 3.0), faults=faults))
    assert outcomes(found) == ["ok", "error", "ok"]
    assert [start for start, _ in tries(found)] == [0, 0, 300, 300, 3000, 3000]


# --- caches -----------------------------------------------------------------------------------------------------------------


def test_an_answer_ages_from_when_it_came():
    found = play(at_pay([{"work": 0.1}]), {"cache": {"max_age": 1.0}}, at=(5.0, 5.5, 6.2, 6.7))
    assert [took for _, took, _ in diary(found)] == [100, 0, 100, 0]


def test_a_hit_may_take_time():
    cache = {"max_age": 9.0, "hit_time": 0.02}
    found = play(at_pay([{"work": 0.1}]), {"cache": cache}, at=(0.0, 1.0))
    assert found.requests.service_s.tolist() == pytest.approx([0.1, 0.02])
    pay = {"workers": 9, "operations": {"do": {"cache": cache, "steps": [{"work": 0.1}]}}}
    found = run(scenario({"shop": SHOP, "pay": pay}, {}, at=(0.0, 1.0)))
    rows = found.attempts[found.attempts.target == "pay.do"]
    assert rows.service_s.tolist() == pytest.approx([0.1, 0.02])


def test_what_is_fetched_in_the_background_takes_no_time_of_the_request():
    shop = {"workers": 9, "operations": {"buy": [*CALL_PAY, {"work": 1.0}]}}
    cache = {"max_age": 1.0, "stale_while_revalidate": 9.0}
    found = play({**at_pay([{"work": 0.5}]), "shop": shop}, {"cache": cache}, at=(0.0, 5.0, 5.9))
    assert [took for _, took, _ in diary(found)] == [1500, 1000, 1000]
    assert found.requests.service_s.tolist() == pytest.approx([1.5, 1.0, 1.0])
    assert [start for start, _ in tries(found)] == [0, 5000]


def test_what_is_fetched_in_the_background_ends_with_its_process():
    cache = {"max_age": 1.0, "stale_while_revalidate": 9.0}
    found = play(at_pay([{"work": 0.5}]), {"cache": cache}, at=(0.0, 5.0), faults=[{"crash": "shop", "at": 5.2, "for": 1.0}])
    assert tries(found) == [(0, "ok"), (5000, "in_flight")]
    services = {
        "shop": {"workers": 9, "operations": {"buy": {"cache": cache, "steps": CALL_PAY}}},
        "pay": at_pay([{"work": 0.5}])["pay"],
    }
    found = run(scenario(services, {}, at=(0.0, 5.0, 7.0), faults=[{"crash": "shop", "at": 5.2, "for": 1.0}]))
    assert tries(found) == [(0, "ok"), (5000, "in_flight"), (7000, "ok")]  # and nothing is kept


def test_whoever_waits_for_a_fetch_that_is_stopped_fetches():
    policy = {"cache": {"max_age": 9.0, "request_collapsing": True}}
    stopped = {"client -> shop": {"timeout": 1.0, "cancellation": True}}
    found = play(at_pay([{"work": 0.8}]), policy, at=(0.0, 0.9, 3.0), calls=stopped, faults=slow_until(0.5))
    assert diary(found) == [(0.0, 1000, "timeout"), (0.9, 900, "ok"), (3.0, 0, "ok")]
    assert [start for start, _ in tries(found)] == [0, 1000]


def test_whoever_waits_for_a_fetch_waits_no_longer_than_the_deadline():
    policy = {
        "cache": {"max_age": 9.0, "request_collapsing": True},
        "timeout": 1.0,
        "order": ("deadline", "cache"),
        "fallback": {"on": ["timeout"]},
    }
    found = play(at_pay([{"work": 0.8}]), policy, at=(5.0, 5.4), faults=[{"slow": "pay", "factor": 10.0, "at": 4.0}])
    assert diary(found) == [(5.0, 1000, "degraded"), (5.4, 600, "degraded")]
    policy["timeout"] = 3.0
    stopped = {"client -> shop": {"timeout": 1.0, "propagate_deadline": True}, "shop -> pay": policy}
    found = run(scenario(at_pay([{"work": 2.0}]), stopped, at=(5.0, 5.4)))
    assert outcomes(found) == ["timeout", "timeout"]


def test_two_calls_of_one_request_ask_for_things_of_their_own():
    services = {**at_pay([{"work": 0.1}]), "shop": {"workers": 9, "operations": {"buy": [{"call": "pay.do", "count": 2}]}}}
    found = play(services, {"cache": {"max_age": 9.0, "keys": 1_000_000}})
    assert len(tries(found)) == 2


# --- servers ----------------------------------------------------------------------------------------------------------------


def test_a_server_s_adaptive_limit_forgets_whoever_found_the_line_full():
    limit = {"algorithm": "aimd", "initial_limit": 2, "min_limit": 2, "max_limit": 2}
    pay = at_pay([{"work": 1.0}], workers=1, queue={"capacity": 0}, adaptive_concurrency=limit)
    assert outcomes(play(pay, {}, at=(0.0, 0.1, 0.2, 2.0))) == ["ok", "error", "error", "ok"]


def test_a_server_s_adaptive_limit_counts_those_inside():
    limit = {"algorithm": "aimd", "initial_limit": 2, "min_limit": 1, "backoff_ratio": 0.5, "drop_after": 1.5}
    pay = at_pay([{"work": 1.0}], adaptive_concurrency=limit)
    # One of two is half of the limit: it grows to three.
    assert outcomes(play(pay, {}, at=(0.0, 2.0, 2.1, 2.2, 2.3))) == ["ok"] * 4 + ["error"]
    # With one worker the second takes 1.9 s, its wait included: a loss, and the limit of three becomes one.
    pay = at_pay([{"work": 1.0}], adaptive_concurrency=limit, workers=1)
    assert outcomes(play(pay, {}, at=(0.0, 0.1, 4.0, 4.1))) == ["ok", "ok", "ok", "error"]


@pytest.mark.parametrize(
    ("discipline", "ended_s"),
    [
        ("lifo", [1.0, 4.0, 3.0, 2.0]),
        ("priority", [1.0, 2.0, 3.0, 4.0]),
        ({"kind": "codel", "interval": 1.5, "target": 0.5}, [1.0, 2.0, 1.7, 1.8]),
    ],
)
def test_a_line_gives_the_worker_to_whom_its_discipline_says(discipline, ended_s):
    shop = {"workers": 1, "queue": {"discipline": discipline}, "operations": {"buy": [{"work": 1.0}]}}
    found = run(scenario({"shop": shop}, {}, at=(0.0, 0.1, 0.2, 0.3)))
    assert found.requests.ended_s.tolist() == pytest.approx(ended_s)


def test_a_line_of_a_discipline_holds_so_many_and_lets_go_of_those_who_leave():
    queue = {"discipline": "lifo", "capacity": 1, "max_wait": 0.5}
    shop = {"workers": 1, "queue": queue, "operations": {"buy": [{"work": 1.0}]}}
    found = run(scenario({"shop": shop}, {}, at=(0.0, 0.1, 0.2, 0.7, 3.0)))
    assert diary(found) == [(0.0, 1000, "ok"), (0.1, 500, "rejected"), (0.2, 0, "rejected"), (0.7, 1300, "ok"), (3.0, 1000, "ok")]


def test_two_who_share_a_processor_and_one_who_gives_up():
    shop = {"workers": 1, "sharing": "processor", "operations": {"buy": [{"work": 1.0}]}}
    found = run(scenario({"shop": shop}, {}, at=(0.0, 0.5)))
    assert [took for _, took, _ in diary(found)] == [1500, 1500]
    assert found.requests.service_s.tolist() == pytest.approx([1.5, 1.5])
    # The first is stopped at 1.2 s with 0.15 s left; the second has 0.65 s to do, alone.
    told = {"client -> shop": {"timeout": 1.2, "cancellation": True}}
    found = run(scenario({"shop": shop}, told, at=(0.0, 0.5)))
    assert [(took, outcome) for _, took, outcome in diary(found)] == [(1200, "timeout"), (1200, "timeout")]
    told["client -> shop"]["timeout"] = 1.4
    found = run(scenario({"shop": shop}, told, at=(0.0, 0.5)))
    assert [(took, outcome) for _, took, outcome in diary(found)] == [(1400, "timeout"), (1400, "timeout")]


READ, WRITE = {"read_version": "row"}, {"commit": "row"}


def test_a_row_that_was_written_meanwhile_is_not_written():
    shop = {"workers": 9, "operations": {"buy": [READ, {"work": 1.0}, WRITE]}}
    assert outcomes(run(scenario({"shop": shop}, {}, at=(0.0, 0.5, 3.0)))) == ["ok", "error", "ok"]
    # Whoever failed reads anew, and succeeds.
    policy = {"client -> shop": {"retry": {"max_attempts": 2}}}
    assert outcomes(run(scenario({"shop": shop}, policy, at=(0.0, 0.5)))) == ["ok", "ok"]


@pytest.mark.parametrize("steps", [[WRITE], [READ, WRITE, WRITE], [READ, {"commit": "another"}]])
def test_a_row_is_read_before_it_is_written(steps):
    assert outcomes(run(scenario({"shop": steps}, {}))) == ["error"]


def test_rounds_add_up_and_remember_what_was_degraded():
    steps = [{"repeat": [{"call": "pay.do", "required": False}, {"work": 0.1}], "count": 2}]
    found = run(
        scenario({"shop": steps, "pay": [{"work": 0.5}]}, {}, faults=[{"errors": "pay", "ratio": 1.0, "at": 0.0, "for": 0.05}])
    )
    assert diary(found) == [(0.0, 700, "degraded")]
    assert found.requests.service_s.item() == pytest.approx(0.7)
    rows = found.attempts[found.attempts.target == "shop.buy"]
    assert rows.service_s.item() == pytest.approx(0.2)


def test_a_pause_is_queueing_and_two_of_them_end_one_by_one():
    faults = [{"pause": "shop", "at": 0.5, "for": 2.0}, {"pause": "shop", "at": 1.0, "for": 3.0}]
    found = run(scenario({"shop": [{"work": 1.0}]}, {}, at=(0.6, 9.0), faults=faults))
    assert diary(found) == [(0.6, 4400, "ok"), (9.0, 1000, "ok")]
    assert found.requests.queue_s.tolist() == pytest.approx([3.4, 0.0])
    assert found.attempts.queue_s.tolist() == pytest.approx([3.4, 0.0])
