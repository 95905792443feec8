"""Presets: every number has a source, and everything fits the policy of a call and lies below what is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from preset_shop import policy, scenario

from sim.errors import ScenarioError
from sim.policies.balancing_kinds import Balancing
from sim.scenario.calls import CallPolicy
from sim.scenario.preset import Preset, fact, leaves, merged, preset
from sim.scenario.preset_words import on_in_words, settings_of_blocks, settings_on
from sim.scenario.presets import PRESETS
from sim.scenario.yaml import dumps, load, loads

each = pytest.mark.parametrize("one", PRESETS.values(), ids=lambda one: one.name)

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
