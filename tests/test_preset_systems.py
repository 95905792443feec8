"""Presets: the systems do what they are known to do."""

from __future__ import annotations

import pytest
from preset_shop import policy

from sim.policies.breaker import REFUSED, breaker_gate, open_s
from sim.policies.budget_gates import BudgetGate, budget_gate
from sim.policies.retry import Backoff
from sim.records import OUTCOMES
from sim.scenario.calls import LAYERS

EVERYTHING = ("error", "timeout", "rejected", "unreachable", "overflow", "short_circuited")


def pauses(backoff: Backoff, u: float, count: int) -> list[float]:
    return [pytest.approx(backoff.pause_s(retry, 0.0, u)) for retry in range(1, count + 1)]


def retries_at_once(gate: BudgetGate, outcome: str) -> int:
    """How many of many calls that fail at one moment may be tried again."""
    accounts = [gate.begin(0.0) for _ in range(300)]
    for account in accounts:
        account.failed(0.0, outcome)
    return sum(account.may_retry(0.0, outcome) for account in accounts)


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_envoy_without_any_setting_has_caps_and_a_timeout_and_no_retries() -> None:
    envoy = policy("default: {preset: envoy@1.40}")
    assert (envoy.timeout, envoy.connect_timeout, envoy.retry.max_attempts, envoy.balancing.kind) == (15.0, 5.0, 1, "round_robin")
    limit = envoy.concurrency_limit
    assert limit is not None
    assert (limit.max_concurrent, limit.max_queue) == (1024, 1024)
    assert (envoy.circuit_breaker, envoy.outlier_detection) == (None, None)


def test_envoy_draws_its_pauses_from_zero_to_25_50_100_200_and_then_250_ms() -> None:
    retry = policy("default: {preset: envoy@1.40, retry: {max_attempts: 4}}").retry
    assert pauses(retry.backoff, 1.0, 6) == [0.025, 0.05, 0.1, 0.2, 0.25, 0.25]
    assert pauses(retry.backoff, 0.0, 2) == [0.0, 0.0]
    assert [retry.again(1, outcome) for outcome in EVERYTHING] == [True, True, True, True, False, False]


def test_envoy_allows_three_retries_at_a_time_unless_it_has_a_budget() -> None:
    capped = policy("default: {preset: envoy@1.40, retry: {max_attempts: 4}}").retry.budget
    assert capped is not None
    assert retries_at_once(budget_gate(capped), "error") == 3
    share = policy("default: {preset: envoy@1.40, retry: {budget: {kind: concurrency, budget_percent: 20}}}").retry.budget
    assert share is not None
    calls = budget_gate(share)
    accounts = [calls.begin(0.0) for _ in range(50)]
    accounts[0].failed(0.0, "error")
    assert accounts[0].may_retry(0.0, "error")
    assert [account.may_retry(0.0, "error") for account in accounts[1:11]].count(True) == 8  # 9 of 49 under way
    assert policy("default: {preset: envoy@1.40, retry: {max_attempts: 4, budget: null}}").retry.budget is None


def test_istio_tries_three_times_without_being_asked_and_not_after_an_answer() -> None:
    istio = policy("default: {preset: istio@1.24}")
    assert istio.retry.max_attempts == 3
    assert [outcome for outcome in EVERYTHING if istio.retry.again(1, outcome)] == ["unreachable"]
    assert istio.retry.avoid_previous_endpoints
    assert istio.retry.budget is None
    assert (istio.timeout, istio.connect_timeout, istio.concurrency_limit) == (None, 10.0, None)


def test_istio_ejects_by_streaks_alone_and_never_panics() -> None:
    error = OUTCOMES.index("error")
    ejecting = policy("default: {preset: istio@1.24, outlier_detection: {max_ejection_percent: 100}}").outlier_detection
    assert ejecting is not None
    assert (ejecting.enforcing_success_rate, ejecting.enforcing_local_origin_success_rate) == (0, 0)
    gate = ejecting.gate(endpoints=2)
    for endpoint in (0, 1):
        for _ in range(5):
            gate.settle(endpoint, error, 1.0 + 3 * endpoint)
    assert gate.usable(9.0, [0, 1]) == []
    # Envoy's default of 10 % lets none of two go.
    default = policy("default: {preset: istio@1.24, outlier_detection: {}}").outlier_detection
    assert default is not None
    gate = default.gate(endpoints=2)
    for _ in range(5):
        gate.settle(0, error, 1.0)
    assert gate.usable(9.0, [0, 1]) == [0, 1]


def test_linkerd_breaks_an_endpoint_after_seven_failures_for_a_second_and_a_half_at_most() -> None:
    breaker = policy("default: {preset: linkerd@2, circuit_breaker: {}}").circuit_breaker
    assert breaker is not None
    assert breaker.scope == "per_client_x_endpoint"
    gate = breaker_gate(breaker)
    for call in range(7):
        assert gate.permit(0.1 * call) != REFUSED
        gate.settle(gate.permit(0.1 * call), False, 0.1 * call)
    assert gate.permit(0.7) == REFUSED
    assert [open_s(breaker, 1, u) for u in (0.0, 1.0)] == [1.0, 1.5]
    assert open_s(breaker, 9, 1.0) == 60.0


def test_linkerd_adds_up_to_the_pause_to_the_pause_and_stops_at_250_ms() -> None:
    retry = policy("default: {preset: linkerd@2, retry: {}}").retry
    assert retry.max_attempts == 2
    assert pauses(retry.backoff, 0.0, 3) == [0.025, 0.05, 0.1]
    assert pauses(retry.backoff, 1.0, 5) == [0.05, 0.1, 0.2, 0.25, 0.25]


def test_nginx_tries_each_server_once() -> None:
    nginx = policy("default: {preset: nginx@1.22}", replicas=3)
    assert nginx.retry.max_attempts == 3
    assert nginx.retry.avoid_previous_endpoints
    assert pauses(nginx.retry.backoff, 1.0, 2) == [0.0, 0.0]
    assert [outcome for outcome in EVERYTHING if nginx.retry.again(1, outcome)] == ["timeout", "unreachable"]
    assert policy("default: {preset: nginx@1.22}", replicas=1).retry.max_attempts == 1
    assert policy("default: {preset: nginx@1.22}", target="mails", replicas=3).retry.max_attempts == 1
    assert policy("default: {preset: nginx@1.22, retry: {max_attempts: 2}}", replicas=3).retry.max_attempts == 2


def test_nginx_leaves_a_server_out_for_ten_whole_seconds() -> None:
    health = policy("default: {preset: nginx@1.22}").passive_health
    assert health is not None
    gate = health.gate(endpoints=2)
    gate.settle(1, OUTCOMES.index("error"), 0.5)
    assert gate.usable(0.6, [0, 1]) == [0, 1]
    gate.settle(1, OUTCOMES.index("unreachable"), 0.7)
    assert gate.usable(10.9, [0, 1]) == [0]
    assert gate.usable(11.0, [0, 1]) == [0, 1]


# --- clients ----------------------------------------------------------------------------------------------------------


def test_grpc_does_nothing_unasked_but_tells_the_server() -> None:
    grpc = policy("default: {preset: grpc@1.7x}")
    assert (grpc.timeout, grpc.retry.max_attempts, grpc.per_try_timeout) == (None, 1, None)
    assert grpc.propagate_deadline
    assert grpc.cancellation


def test_grpc_pauses_20_percent_about_50_100_200_ms() -> None:
    calls = "default: {preset: grpc@1.7x, retry: {max_attempts: 4, backoff: {base: 50ms, multiplier: 2, max: 1s}}}"
    retry = policy(calls).retry
    assert pauses(retry.backoff, 0.0, 3) == [0.04, 0.08, 0.16]
    assert pauses(retry.backoff, 1.0, 3) == [0.06, 0.12, 0.24]
    assert pauses(retry.backoff, 1.0, 9)[-1] == 1.2  # beyond maxBackoff
    assert [outcome for outcome in EVERYTHING if retry.again(1, outcome)] == ["error", "rejected", "unreachable"]
    assert retry.budget is None


def test_grpc_ejects_nobody_until_one_of_its_rules_is_configured() -> None:
    outliers = policy("default: {preset: grpc@1.7x, outlier_detection: {}}").outlier_detection
    assert outliers is not None
    assert (outliers.rules, outliers.enforcing_success_rate, outliers.enforcing_failure_percentage) == ("grpc", 0, 0)
    hedging = policy("default: {preset: grpc@1.7x, hedging: {}}").hedging
    assert hedging is not None
    assert (hedging.delay, hedging.non_fatal) == (0.0, ())


@pytest.mark.parametrize(
    ("name", "after_error", "after_timeout", "after_rejected"),
    [("aws-sdk@standard", 100, 50, 100), ("aws-sdk@2026", 35, 35, 100)],
)
def test_an_aws_client_may_retry_so_often_in_an_outage(
    name: str, after_error: int, after_timeout: int, after_rejected: int
) -> None:
    budget = policy(f"default: {{preset: {name}}}").retry.budget
    assert budget is not None
    outcomes = ("error", "timeout", "rejected")
    found = [retries_at_once(budget_gate(budget), outcome) for outcome in outcomes]
    assert found == [after_error, after_timeout, after_rejected]


def test_aws_pauses_before_and_since_2026() -> None:
    before, since = (policy(f"default: {{preset: {name}}}").retry for name in ("aws-sdk@standard", "aws-sdk@2026"))
    assert (before.max_attempts, since.max_attempts) == (3, 3)
    assert pauses(before.backoff, 1.0, 6) == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0]
    assert before.backoff_after("rejected") == before.backoff
    assert pauses(since.backoff, 1.0, 3) == [0.05, 0.1, 0.2]
    assert pauses(since.backoff_after("rejected"), 0.5, 6) == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert since.backoff.pause_s(1, 0.0, 1.0, retry_after_s=60.0) == pytest.approx(5.05)


def test_a_fresh_finagle_client_requeues_a_hundred_times_and_only_what_was_not_done() -> None:
    retry = policy("default: {preset: finagle@24}").retry
    assert [outcome for outcome in EVERYTHING if retry.again(99, outcome)] == ["rejected", "unreachable"]
    assert retry.budget is not None
    gate = budget_gate(retry.budget)
    assert retries_at_once(gate, "unreachable") == 100
    alone = budget_gate(retry.budget).begin(0.0)
    assert [alone.may_retry(0.0, "unreachable") for _ in range(101)].count(True) == 20  # of the 100
    assert retry.backoff.base == 0.0


def test_finagle_marks_an_endpoint_dead_after_five_failures_for_five_seconds_at_first() -> None:
    breaker = policy("default: {preset: finagle@24}").circuit_breaker
    assert breaker is not None
    assert breaker.scope == "per_client_x_endpoint"
    gate = breaker_gate(breaker)
    for _ in range(100):
        gate.settle(gate.permit(1.0), True, 1.0)
    for failure in range(5):
        assert gate.permit(2.0) != REFUSED, failure
        gate.settle(gate.permit(2.0), False, 2.0)
    assert gate.permit(6.9) == REFUSED
    assert gate.permit(7.1) != REFUSED
    assert gate.permit(7.1) == REFUSED  # one probe
    assert [open_s(breaker, 2, u) for u in (0.0, 1.0)] == [5.0, 10.0]
    assert open_s(breaker, 20, 1.0) == 300.0


# --- libraries --------------------------------------------------------------------------------------------------------


def test_resilience4j_breaks_after_100_calls_and_then_lets_ten_through_each_minute() -> None:
    breaker = policy("default: {preset: resilience4j@2, circuit_breaker: {}}").circuit_breaker
    assert breaker is not None
    gate = breaker_gate(breaker)
    calls = 0
    while (permit := gate.permit(1.0)) != REFUSED:
        gate.settle(permit, False, 1.0)
        calls += 1
    assert calls == 100
    assert gate.permit(60.9) == REFUSED
    assert [gate.permit(61.0) != REFUSED for _ in range(12)].count(True) == 10


def test_resilience4j_retries_what_its_own_breaker_refuses() -> None:
    found = policy("default: {preset: resilience4j@2, retry: {}, circuit_breaker: {}}")
    assert all(found.retry.again(2, outcome) for outcome in EVERYTHING)
    assert not found.retry.again(3, "error")
    assert pauses(found.retry.backoff, 1.0, 3) == [0.5, 0.5, 0.5]
    assert found.layers == LAYERS
    assert found.layers.index("retry") < found.layers.index("circuit_breaker") < found.layers.index("concurrency_limit")


def test_resilience4j_grows_by_half_and_spreads_by_half_when_it_is_told_to() -> None:
    calls = "default: {preset: resilience4j@2, retry: {backoff: {kind: exponential, jitter: ratio, max: 1s}}}"
    backoff = policy(calls).retry.backoff
    assert pauses(backoff, 0.0, 3) == [0.25, 0.375, 0.5625]
    assert pauses(backoff, 1.0, 2) == [0.75, 1.0]  # 1.125 s, cut after the jitter


def test_polly_tries_four_times_two_seconds_apart_whatever_happened() -> None:
    retry = policy("default: {preset: polly@8, retry: {}}").retry
    assert all(retry.again(3, outcome) for outcome in EVERYTHING)
    assert not retry.again(4, "error")
    assert pauses(retry.backoff, 0.9, 2) == [2.0, 2.0]
    jittered = policy("default: {preset: polly@8, retry: {backoff: {kind: linear, jitter: ratio}}}").retry.backoff
    assert pauses(jittered, 0.0, 2) == [1.5, 3.0]


def test_polly_breaks_at_the_tenth_failure_of_a_hundred_calls() -> None:
    breaker = policy("default: {preset: polly@8, circuit_breaker: {}}").circuit_breaker
    assert breaker is not None
    gate = breaker_gate(breaker)
    for call in range(100):
        permit = gate.permit(1.0)
        assert permit != REFUSED
        gate.settle(permit, call < 90, 1.0)
    assert gate.permit(5.9) == REFUSED
    assert gate.permit(6.1) != REFUSED
    assert gate.permit(6.1) == REFUSED


def test_polly_breaks_at_a_failure_only() -> None:
    breaker = policy("default: {preset: polly@8, circuit_breaker: {}}").circuit_breaker
    assert breaker is not None
    gate = breaker_gate(breaker)
    for call in range(100):
        gate.settle(gate.permit(1.0), call >= 10, 1.0)
    last = gate.permit(1.0)  # 10 of 100 have failed, but the hundredth was well
    assert last != REFUSED
    gate.settle(last, False, 1.0)
    assert gate.permit(1.0) == REFUSED


def test_the_standard_handler_of_dotnet_holds_its_limit_outside_of_all() -> None:
    dotnet = policy("default: {preset: dotnet-http@10}")
    assert (dotnet.timeout, dotnet.per_try_timeout, dotnet.retry.max_attempts) == (30.0, 10.0, 4)
    chain = ("concurrency_limit", "deadline", "retry", "circuit_breaker")
    assert [layer for layer in dotnet.layers if layer in chain] == list(chain)
    assert [layer for layer in policy("default: {preset: polly@8}").layers if layer in chain] == list(chain)
    assert not dotnet.retry.again(1, "short_circuited")
    assert dotnet.retry.backoff.pause_s(1, 0.0, 0.5, retry_after_s=7.0) == 7.0
    assert dotnet.retry.backoff.jitter == "tanh"


def test_hystrix_breaks_after_20_failures_at_the_next_snapshot_and_probes_every_five_seconds() -> None:
    hystrix = policy("default: {preset: hystrix@1.5}")
    assert hystrix.timeout == 1.0
    assert hystrix.circuit_breaker is not None
    gate = breaker_gate(hystrix.circuit_breaker)
    for _ in range(20):
        gate.settle(gate.permit(0.1), False, 0.1)
    assert gate.permit(0.4) != REFUSED
    assert gate.permit(0.6) == REFUSED
    assert gate.permit(5.4) == REFUSED
    probe = gate.permit(5.6)
    assert probe != REFUSED
    gate.settle(probe, False, 5.7)
    assert gate.permit(10.6) == REFUSED
    assert gate.permit(10.8) != REFUSED


def test_a_refusal_of_the_hystrix_pool_counts_for_its_breaker() -> None:
    hystrix = policy("default: {preset: hystrix@1.5, fallback: {}}")
    limit, breaker = hystrix.concurrency_limit, hystrix.circuit_breaker
    assert limit is not None
    assert breaker is not None
    assert (limit.max_concurrent, limit.max_queue) == (10, 0)
    assert "rejected" in breaker.failures
    order = ("fallback", "circuit_breaker", "deadline", "concurrency_limit", "retry")
    assert [layer for layer in hystrix.layers if layer in order] == list(order)
