"""Presets: every number has a source, everything fits the policy of a call, and the systems do what they are known to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from sim.cli import app
from sim.errors import ScenarioError
from sim.policies.balancing_kinds import Balancing
from sim.policies.breaker import REFUSED, breaker_gate, open_s
from sim.policies.budget_gates import BudgetGate, budget_gate
from sim.policies.retry import Backoff
from sim.records import OUTCOMES
from sim.scenario.calls import LAYERS, CallPolicy
from sim.scenario.model import Scenario
from sim.scenario.preset import Preset, fact, leaves, merged, preset
from sim.scenario.preset_words import GROUPS, on_in_words, settings_of_blocks, settings_on
from sim.scenario.presets import PRESETS
from sim.scenario.yaml import dumps, load, loads

EVERYTHING = ("error", "timeout", "rejected", "unreachable", "overflow", "short_circuited")
each = pytest.mark.parametrize("one", PRESETS.values(), ids=lambda one: one.name)


def policy(calls: str, target: str = "stock.get", replicas: int = 2) -> CallPolicy:
    """The policy of a shop's calls to its stock (or to the queue `mails`) under some settings of `calls`."""
    return scenario(calls, replicas).policy("shop", target)


def scenario(calls: str, replicas: int = 2) -> Scenario:
    found = loads(f"""
services:
  shop: {{workers: 4, operations: {{buy: [{{call: stock.get}}, {{publish: mails}}]}}}}
  stock: {{workers: 4, replicas: {replicas}, operations: {{get: [{{work: 1ms}}], send: [{{work: 1ms}}]}}}}
queues: {{mails: {{consumer: stock.send}}}}
load: {{rate: 1/s, mix: shop.buy}}
calls: {{{calls}}}
""")
    assert isinstance(found, Scenario)
    return found


def pauses(backoff: Backoff, u: float, count: int) -> list[float]:
    return [pytest.approx(backoff.pause_s(retry, 0.0, u)) for retry in range(1, count + 1)]


def retries_at_once(gate: BudgetGate, outcome: str) -> int:
    """How many of many calls that fail at one moment may be tried again."""
    accounts = [gate.begin(0.0) for _ in range(300)]
    for account in accounts:
        account.failed(0.0, outcome)
    return sum(account.may_retry(0.0, outcome) for account in accounts)


# --- what holds for all of them ---------------------------------------------------------------------------------------


@each
def test_what_is_on_each_block_and_all_blocks_together_make_a_policy(one: Preset) -> None:
    for own in [{}, *({block: {}} for block in one.blocks), {block: {} for block in one.blocks}]:
        made = CallPolicy.model_validate({"preset": one.name, **one.under(own)})
        for name in [*one.on, *own]:
            assert getattr(made, name) is not None


@each
def test_every_setting_has_a_source_and_every_source_a_setting(one: Preset) -> None:
    paths = {path for path, _ in [*leaves(one.on), *leaves(one.blocks)]}
    assert set(one.sources) == paths
    assert paths
    assert all(len(source) >= len("gRFC A6") for source in one.sources.values())
    assert one.notes


@each
def test_a_name_says_system_and_version(one: Preset) -> None:
    assert re.fullmatch(r"[a-z0-9-]+@[a-z0-9.]+", one.name)
    assert PRESETS[one.name] is one


def test_a_number_without_a_source_is_no_preset() -> None:
    with pytest.raises(ValueError, match=r"tin@1: retry\.backoff\.base = 0\.5 has no source"):
        preset("tin@1", "", {"retry": {"backoff": {"base": 0.5}}}, {}, ())
    with pytest.raises(ValueError, match=r"tin@1: retry\.max_attempts has two sources, 'a' and 'b'"):
        preset("tin@1", "", {"retry": {"max_attempts": fact(2, "a")}}, {"retry": {"max_attempts": fact(2, "b")}}, ())


@each
def test_words_say_every_number_with_its_unit(one: Preset) -> None:
    said = [*settings_on(one), *(setting for block in settings_of_blocks(one).values() for setting in block)]
    assert {setting.path for setting in said} == set(one.sources)
    assert all(setting.source == one.sources[setting.path] for setting in said)
    durations = [setting for setting in said if setting.path.endswith(("timeout", "_duration", "base", "backoff.max"))]
    assert all(re.fullmatch(r"[\d.]+(ms|s)|true", setting.text) for setting in durations)


def test_absent_is_not_off() -> None:
    assert on_in_words(PRESETS["istio@1.24"]) == "connect_timeout 10s, balancing two_choices, retry (3 tries)"
    assert on_in_words(PRESETS["resilience4j@2"]) == "nothing"
    assert on_in_words(PRESETS["hystrix@1.5"]) == "timeout 1s, concurrency_limit, circuit_breaker"


# --- how a scenario lies over a preset --------------------------------------------------------------------------------


def test_a_scenario_overrides_single_numbers_of_a_block() -> None:
    breaker = policy("default: {preset: resilience4j@2, circuit_breaker: {window_size: 20}}").circuit_breaker
    assert breaker is not None
    assert (breaker.window_type, breaker.window_size, breaker.minimum_calls) == ("count", 20, 100)
    assert (breaker.open_duration, breaker.half_open_calls, breaker.slow_call_duration) == (60.0, 10, 60.0)


def test_a_block_that_is_not_configured_is_off() -> None:
    plain = policy("default: {preset: resilience4j@2, timeout: 2s}")
    assert (plain.circuit_breaker, plain.rate_limit, plain.concurrency_limit, plain.retry.max_attempts) == (None, None, None, 1)
    assert plain.timeout == 2.0


def test_a_preset_lies_below_all_selectors_whichever_names_it() -> None:
    calls = "default: {retry: {max_attempts: 5}}, stock: {preset: istio@1.24}, shop -> stock: {timeout: 2s}"
    found = policy(calls)
    assert (found.retry.max_attempts, found.retry.on, found.timeout) == (5, ("unreachable",), 2.0)
    # The block of the wider selector is laid over the numbers of the preset, too.
    assert found.retry.backoff.base == 0.025


def test_null_switches_off_what_is_on() -> None:
    off = policy("default: {preset: hystrix@1.5, circuit_breaker: null, concurrency_limit: null, timeout: null}")
    assert (off.circuit_breaker, off.concurrency_limit, off.timeout) == (None, None, None)


def test_retry_null_is_no_retry_over_presets_wider_selectors_and_bases(tmp_path: Path) -> None:
    for calls in (
        "default: {preset: istio@1.24, retry: null}",
        "default: {preset: istio@1.24}, stock: {retry: null}",
        "default: {retry: {max_attempts: 4}}, shop -> stock: {retry: null}",
    ):
        found = scenario(calls)
        assert found.policy("shop", "stock.get").retry.max_attempts == 1
        assert loads(dumps(found)).policy("shop", "stock.get").retry.max_attempts == 1
    (tmp_path / "base.yaml").write_text(dumps(scenario("default: {preset: istio@1.24}, stock: {retry: {max_attempts: 4}}")))
    (tmp_path / "question.yaml").write_text("base: base.yaml\ncandidates: {a: {calls: {stock: {retry: null}}}, b: {}}")
    candidates = load(tmp_path / "question.yaml").candidates
    tries = {name: found["base"].policy("shop", "stock.get").retry.max_attempts for name, found in candidates.items()}
    assert tries == {"a": 1, "b": 4}


def test_what_a_block_cannot_be_without_may_be_left_to_the_preset() -> None:
    found = policy("default: {preset: resilience4j@2, rate_limit: {limit: 10, period: 1s}, concurrency_limit: {}}")
    assert found.rate_limit is not None
    assert (found.rate_limit.kind, found.rate_limit.limit, found.rate_limit.max_wait) == ("fixed_window", 10, 5.0)
    assert found.concurrency_limit is not None
    assert found.concurrency_limit.max_concurrent == 25
    with pytest.raises(ScenarioError, match="max_concurrent is missing"):
        policy("default: {concurrency_limit: {}}")


def test_only_that_is_written_into_the_scenario() -> None:
    written = dumps(scenario("default: {preset: resilience4j@2, rate_limit: {limit: 10}}"))
    assert "fixed_window" in written
    assert "500" not in written
    assert loads(written) == scenario("default: {preset: resilience4j@2, rate_limit: {limit: 10}}")


def test_a_budget_of_another_kind_takes_no_numbers_from_the_preset() -> None:
    budget = policy("default: {preset: envoy@1.40, retry: {budget: {kind: token_ratio}}}").retry.budget
    assert budget is not None
    assert budget.model_dump() == {"kind": "token_ratio", "max_tokens": 10.0, "token_ratio": 0.1}
    same = policy("default: {preset: envoy@1.40, retry: {budget: {min_concurrency: 9}}}").retry.budget
    assert same is not None
    assert (same.kind, same.model_dump()["min_concurrency"]) == ("concurrency", 9)


def test_a_percentile_takes_the_place_of_the_delay_of_a_preset() -> None:
    assert policy("default: {preset: polly@8, hedging: {}}").hedging.delay == 2.0  # type: ignore[union-attr]
    hedging = policy("default: {preset: polly@8, hedging: {percentile: 95}}").hedging
    assert hedging is not None
    assert (hedging.delay, hedging.percentile, hedging.max_attempts) == (None, 95, 2)
    more = policy("default: {preset: polly@8, hedging: {max_attempts: 3}}").hedging
    assert more is not None
    assert (more.delay, more.max_attempts) == (2.0, 3)
    assert merged({"hedging": {"delay": 1.0}}, {"hedging": {"max_attempts": 3}}) == {"hedging": {"delay": 1.0, "max_attempts": 3}}
    assert merged({"hedging": {"delay": 1.0}}, {"hedging": {"delay": None}}) == {"hedging": {"delay": None}}


def test_a_block_begins_with_what_is_on_and_with_what_it_adds() -> None:
    on = {"concurrency_limit": {"max_concurrent": fact(5, "label"), "max_queue": fact(0, "label")}}
    tin = preset("tin@1", "A tin", on, {"concurrency_limit": {"max_wait": fact(2.0, "label")}}, ())
    assert tin.under({}) == {"concurrency_limit": {"max_concurrent": 5, "max_queue": 0}}
    assert tin.under({"concurrency_limit": {"max_queue": 3}})["concurrency_limit"] == {
        "max_concurrent": 5, "max_queue": 3, "max_wait": 2.0,
    }  # fmt: skip
    assert tin.under({"concurrency_limit": None}) == {"concurrency_limit": None}


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"no preset 'resilience4j@3'; did you mean 'resilience4j@2'\?"):
        policy("default: {preset: resilience4j@3}")


def test_each_system_balances_as_it_does_and_what_is_written_goes_over_it() -> None:
    linkerd, finagle, grpc = (
        policy(f"default: {{preset: {name}}}").balancing for name in ("linkerd@2", "finagle@24", "grpc@1.7x")
    )
    assert (linkerd.kind, linkerd.default_rtt, linkerd.decay) == ("peak_ewma", 0.03, 10.0)
    assert (finagle.kind, finagle.replacement) == ("two_choices", False)
    assert (grpc.kind, grpc.shuffle) == ("pick_first", False)
    # One number over the block, a word or a mapping; another kind replaces all of it.
    assert policy("default: {preset: linkerd@2, balancing: {decay: 5s}}").balancing.default_rtt == 0.03
    envoy = policy("default: {preset: envoy@1.40, balancing: {slow_start: {window: 1min}}}").balancing
    assert (envoy.kind, envoy.slow_start and envoy.slow_start.window) == ("round_robin", 60.0)
    assert policy("default: {preset: linkerd@2, balancing: round_robin}").balancing == Balancing()


def test_balancing_of_narrow_selectors_goes_over_that_of_wide_ones() -> None:
    wide = "default: {balancing: {kind: ring_hash, keys: 10}}"
    assert policy(f"{wide}, stock: {{balancing: {{kind: ring_hash, zipf: 1}}}}").balancing == Balancing(
        kind="ring_hash", keys=10, zipf=1
    )
    assert policy(f"{wide}, stock: {{balancing: random}}").balancing == Balancing(kind="random")


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


# --- the command line -------------------------------------------------------------------------------------------------


def sim(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_the_list_names_all_with_what_is_on() -> None:
    shown = sim("presets").stdout
    of_calls = shown[: shown.index("of registries")]
    lines = {line.split()[0]: line for line in of_calls.splitlines() if line[:1].strip()}
    assert set(PRESETS) <= set(lines)
    assert lines["polly@8"].split()[-1] == "nothing"
    assert "timeout 15s" in lines["envoy@1.40"]
    listed = json.loads(sim("presets", "--format", "json").stdout)
    assert [(one["of"], one["name"]) for one in listed] == [(of, name) for of, group in GROUPS.items() for name in group.presets]
    assert listed[0].keys() == {"of", "name", "title", "on"}


def test_the_list_is_in_groups_each_with_where_it_is_named() -> None:
    lines = [line.rstrip() for line in sim("presets").stdout.splitlines()]
    places = {of: next(i for i, line in enumerate(lines) if line.startswith(f"of {of} ")) for of in GROUPS}
    assert list(places) == ["calls", "registries", "discovery", "health checks", "queues", "logs"]
    assert sorted(places.values()) == list(places.values())
    for of, group in GROUPS.items():
        assert group.where in lines[places[of]]
        below = [line.split(" ")[0] for line in lines[places[of] + 2 :]]
        assert set(group.presets) <= set(below)
    assert "fails_at_once_on [error, rejected]" in " ".join(" ".join(lines).split())


in_groups = pytest.mark.parametrize(
    ("of", "one"), [(of, one) for of, group in GROUPS.items() for one in group.presets.values()], ids=str
)


@in_groups
def test_a_group_says_where_its_presets_are_named(of: str, one: Preset) -> None:
    where = YAML(typ="safe").load(re.sub(r"preset: \S+?(?=})", f"preset: {one.name}", GROUPS[of].where))
    shop = {"workers": 1, "registry": "book", "operations": {"buy": [{"work": 0.001}]}}
    whole = {"services": {"shop": shop}, "registries": {"book": {}}, "load": {"rate": 1, "mix": "shop.buy"}}
    assert isinstance(Scenario.model_validate(merged(whole, where)), Scenario)


def test_one_name_may_be_of_several_things() -> None:
    found = json.loads(sim("presets", "eureka@2", "--format", "json").stdout)
    assert [one["of"] for one in found] == ["registries", "discovery"]
    registry, discovery = ({row["setting"]: row["value"] for row in one["on"]} for one in found)
    assert (registry["lease_duration"], registry["renewal_adds_lease"]) == ("90s", True)
    assert discovery["refresh_interval"] == "30s"
    shown = sim("presets", "eureka@2").stdout
    assert "eureka@2 of registries" in shown
    assert "eureka@2 of discovery" in shown
    assert "{uniform: {low: 0s, high: 500ms}}" in shown
    assert "LeaseInfo.java" in shown


@in_groups
def test_one_preset_shows_every_number_with_its_source(of: str, one: Preset) -> None:
    found = next(each for each in json.loads(sim("presets", one.name, "-f", "json").stdout) if each["of"] == of)
    rows: list[Mapping[str, Any]] = [*found["on"], *(row for block in found["blocks"].values() for row in block)]
    assert {row["setting"]: row["source"] for row in rows} == dict(one.sources)
    assert found["notes"] == list(one.notes)
    words = sim("presets", one.name).stdout.split()
    assert {row["setting"] for row in found["on"]} <= set(words)
    assert all(word in words for note in one.notes for word in note.split())


def test_a_table_has_units_and_lists() -> None:
    shown = [" ".join(line.split()) for line in sim("presets", "envoy@1.40").stdout.splitlines()]
    assert any(line.startswith("timeout 15s Envoy API") for line in shown)
    assert any(line.startswith("backoff.base 25ms ") for line in shown)
    assert any(line.startswith("on [error, timeout, rejected, ") for line in shown)
    assert "retry, once it is configured" in shown
    assert "on by default: nothing" not in shown


def test_an_unknown_name_ends_with_2_and_one_message() -> None:
    assert sim("presets", "envoy", code=2).stderr == "no preset 'envoy'; did you mean 'envoy@1.40'?\n"
    assert sim("presets", "eureka@1", code=2).stderr == "no preset 'eureka@1'; did you mean 'eureka@2'?\n"
    assert sim("presets", "java@11", code=2).stderr == "no preset 'java@11'; did you mean 'java@17'?\n"
    assert sim("presets", "envoy@1.40", "--format", "csv", code=2).stderr.startswith("--format csv: ")


def test_help_has_examples() -> None:
    assert "sim presets envoy@1.40" in sim("presets", "--help").stdout.split("Examples")[1]


def test_every_preset_named_in_the_files_of_this_repository_is_known() -> None:
    root = Path(__file__).parent.parent
    texts = [
        path.read_text() for folder in ("experiments", "docs") for path in (root / folder).rglob("*.[ym]*") if path.is_file()
    ]
    named = {name for text in texts for name in re.findall(r"preset: ([\w-]+@[\w./]+)", text)}
    assert named <= {name for group in GROUPS.values() for name in group.presets}
