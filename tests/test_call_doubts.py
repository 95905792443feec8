"""What `sim check` doubts about calls: selectors that name nothing, numbers that were hardly meant, policies that do nothing."""

from __future__ import annotations

import pytest

from sim.cli.check import summary
from sim.errors import ScenarioError
from sim.scenario.doubts import doubts, doubts_of
from sim.scenario.yaml import load, loads

SHOP = """
services:
  front: {{workers: 40, replicas: 2, operations: {{page: [{{call: shop.buy}}]}}}}
  shop: {{workers: 40, replicas: 2, operations: {{buy: [{{call: pay.charge}}, {{publish: mails}}]}}}}
  pay: {{workers: 40, replicas: 3, operations: {{charge: [{{work: 1ms}}], guess: [{{work: 1ms}}]}}}}
  mail: {{workers: 40, operations: {{send: [{{work: 1ms}}]}}}}
queues: {{mails: {{consumer: mail.send}}}}
calls: {calls}
links: {links}
faults: {faults}
load: {{rate: 20/s, mix: front.page}}
run: {{duration: 60s}}
"""


def told(calls="{}", links="{}", faults="[]"):
    return doubts(loads(SHOP.format(calls=calls, links=links, faults=faults)))


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("pay -> shop", "pay does not call shop, it is the other way round; write shop -> pay"),
        ("front -> pay", "front does not call pay; front calls shop.buy, pay is called by shop"),
        ("front -> pay.charge", "front does not call pay.charge; front calls shop.buy, pay.charge is called by shop"),
        ("pay.guess", "nobody calls pay.guess; calls here: client -> front.page, front -> shop.buy, shop -> mails, shop -> pay"),
        ("mail", "nobody calls mail; messages reach it through mails; calls here: client -> front.page,"),
        ("client -> shop", "client does not call shop; client calls front.page, shop is called by front"),
    ],
)
def test_a_policy_of_calls_that_nobody_makes(selector, said):
    [doubt] = told(f"{{{selector}: {{timeout: 1s}}}}")
    assert doubt.startswith(f"calls.{selector}: {said}")


@pytest.mark.parametrize(
    "selector", ["default", "pay", "pay.charge", "shop -> pay", "shop -> pay.charge", "client -> front", "mails"]
)
def test_a_policy_of_calls_that_are_made(selector):
    assert told(f"{{{selector}: {{timeout: 1s}}}}") == []


def test_what_stands_in_for_a_failed_call_is_called_too():
    assert told("{shop -> pay.charge: {fallback: {call: pay.guess}}, shop -> pay.guess: {timeout: 1s}}") == []


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("front -> pay", "no message travels between front and pay; front talks to client, shop, pay talks to shop"),
        ("mail -> pay", "no message travels between mail and pay; mail talks to mails, pay talks to shop"),
    ],
)
def test_links_where_nothing_travels(selector, said):
    assert told(links=f"{{{selector}: 1ms}}") == [f"links.{selector}: {said}"]
    assert told(faults=f"[{{link: {selector}, latency: 5ms, at: 5s}}]") == [f"faults[0].link: {said}"]


@pytest.mark.parametrize("selector", ["shop -> pay", "pay -> shop", "pay", "mails -> mail", "default"])
def test_links_are_the_same_both_ways(selector):
    assert told(links=f"{{{selector}: 1ms}}", faults=f"[{{link: {selector}, latency: 5ms, at: 5s}}]") == []


MESH = """
services:
  shop: {{workers: 40, operations: {{buy: [{{call: pay.charge}}]}}}}
  pay: {{workers: 40, registry: book, operations: {{charge: [{{work: 1ms}}]}}}}
registries: {{book: {{heartbeat_interval: null}}}}
proxies: {{edge: {{placement: {placement}}}}}
calls: {{shop -> pay: {{via: edge}}, edge -> default: {{timeout: 1s}}, edge -> pay: {{timeout: 2s}}}}
links: {{{links}}}
load: {{rate: 20/s, mix: shop.buy}}
"""


@pytest.mark.parametrize(
    ("placement", "used", "unused"),
    [
        ("tier", ["shop -> edge", "edge -> pay", "edge -> book", "pay -> book"], "shop -> pay"),
        ("sidecar", ["shop -> pay", "shop -> book", "pay -> book"], "shop -> edge"),
    ],
)
def test_proxies_and_registries_have_links_too(placement, used, unused):
    def of(*selectors):
        return doubts(loads(MESH.format(placement=placement, links=", ".join(f"{each}: 1ms" for each in selectors))))

    assert of(*used) == []
    [doubt] = of(unused)
    assert f"no message travels between {unused.replace(' -> ', ' and ')}" in doubt


RIVALS = """
base: shop.yaml
candidates:
  asks: {calls: {shop -> pay: {timeout: 1s}}}
  does without: {services: {shop: {operations: {buy: [{publish: mails}]}}}}
"""


@pytest.mark.parametrize(("selector", "doubted"), [("shop -> pay", False), ("pay -> shop", True)])
def test_what_one_candidate_uses_is_doubted_in_none(selector, doubted, tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP.format(calls=f"{{{selector}: {{timeout: 2s}}}}", links="{}", faults="[]"))
    (tmp_path / "rivals.yaml").write_text(RIVALS)
    rivals = load(tmp_path / "rivals.yaml")
    assert any("does not call" in doubt for doubt in doubts_of(rivals)) is doubted
    assert any("does not call" in doubt for case in summary(rivals)["cases"] for doubt in case["doubts"]) is doubted


def test_a_link_fault_that_does_nothing_is_refused():
    with pytest.raises(ScenarioError, match=r"faults\[0\]: a link fault does nothing without latency, loss or partition; write"):
        told(faults="[{link: pay, at: 5s}]")
    assert told(faults="[{link: pay, loss: 0 %, at: 5s}]") == []  # the first value of a sweep


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            "circuit_breaker: {window_type: count, failure_rate_threshold_percent: 0.5}",
            "0.5 is 0.5 %: this key is in percent; write 50",
        ),
        (
            "retry: {max_attempts: 2, budget: {kind: concurrency, budget_percent: 0.2}}",
            "retry.budget.budget_percent = 0.2 is 0.2 %",
        ),
        ("hedging: {percentile: 0.95}", "hedging.percentile = 0.95 is p0.95: percentiles go to 100; write 95 if that was meant"),
        (
            "retry: {max_attempts: 2, budget: {kind: windowed_ratio, ratio: 20}}",
            "ratio = 20 means 20 retries for each call; write 0.2",
        ),
        (
            "retry: {max_attempts: 2, budget: {kind: token_ratio, token_ratio: 10}}",
            "token_ratio = 10 means 10 failures made up for",
        ),
        (
            "retry: {max_attempts: 2, budget: {kind: deposit, deposit: 10}}",
            "deposit = 10 means 10 retries for each call; write 0.1",
        ),
        ("throttling: {kind: sre, multiplier: 200}", "multiplier = 200 means 200 calls sent per call that is taken; write 2 if"),
        ("circuit_breaker: {open_jitter: added, open_jitter_ratio: 50}", "open_jitter_ratio = 50 means 50 times open_duration"),
        (
            "outlier_detection: {max_ejection_percent: 50, success_rate_stdev_factor: 2}",
            "success_rate_stdev_factor = 2 is 0.002 standard deviations: it is in thousandths; write 2000 for 2",
        ),
    ],
)
def test_percent_and_ratios_that_were_taken_for_each_other(policy, said):
    found = told(f"{{shop -> pay: {{{policy}}}}}")
    assert any(said in doubt and doubt.startswith("calls.shop -> pay.") for doubt in found), found


def test_usual_numbers_are_not_doubted():
    budgets = ["{kind: concurrency, budget_percent: 1}", "{kind: windowed_ratio, ratio: 1}", "{kind: deposit, deposit: 1}"]
    for budget in [*budgets, "{kind: token_ratio, max_tokens: 2.1}", "{kind: quota, capacity: 5}", "{kind: failure_rate}"]:
        assert told(f"{{shop -> pay: {{retry: {{max_attempts: 2, budget: {budget}}}}}}}") == []


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            "{kind: concurrency, budget_percent: 0, min_concurrency: 0}",
            "budget_percent and min_concurrency are 0; give one a number",
        ),
        ("{kind: windowed_ratio, ratio: 0, min_retries_per_second: 0}", "ratio and min_retries_per_second are 0"),
        ("{kind: windowed_ratio, per_call_percent: 0}", "per_call_percent is 0"),
        ("{kind: token_ratio, max_tokens: 2}", "max_tokens = 2, of which one failure takes 1 and must leave more than half"),
        ("{kind: quota, capacity: 4}", "capacity = 4 is less than the 5 that a retry costs"),
        ("{kind: deposit, size: 1}", "size = 1, and a retry needs more than 1 token"),
        ("{kind: failure_rate, max_failure_percent: 0}", "max_failure_percent is 0, and a failure comes before each retry"),
    ],
)
def test_budgets_that_never_pay(budget, said):
    [doubt] = told(
        f"{{default: {{retry: {{max_attempts: 2, budget: {budget}}}}}, client -> front: {{retry: {{max_attempts: 1}}}}, "
        "front -> shop: {retry: {max_attempts: 1}}}"
    )
    assert doubt.startswith(f"calls.default.retry.budget never pays for a retry: {said}")


@pytest.mark.parametrize(
    ("front", "shop", "said"),
    [
        ("timeout: 1s", "timeout: 2s", "front -> shop.buy waits 1 s for an answer, and shop -> pay.charge has a timeout of 2 s"),
        (
            "per_try_timeout: 100ms",
            "per_try_timeout: 1s",
            "and shop -> pay.charge has a per_try_timeout of 1 s: that call goes on",
        ),
        ("timeout: 2s, per_try_timeout: 100ms", "timeout: 1s", "front -> shop.buy waits 100 ms for an answer"),
        ("timeout: 1s", "timeout: 1s", None),
        ("timeout: 1s, propagate_deadline: true", "timeout: 2s", None),
        ("timeout: 1s, cancellation: true", "timeout: 2s", None),
    ],
)
def test_a_call_that_outlives_whoever_waits_for_its_caller(front, shop, said):
    found = told(f"{{front -> shop: {{{front}}}, shop -> pay: {{{shop}}}}}")
    assert [doubt for doubt in found if said and said in doubt] == found
    assert len(found) == (said is not None)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (
            "{pay: {fallback: {call: pay.charge}}}",
            "calls.pay.fallback: shop -> pay.charge falls back to pay.charge, which has just failed",
        ),
        (
            "{pay.charge: {fallback: {call: pay.guess}}, pay.guess: {fallback: {call: pay.charge}}}",
            "calls.pay.charge.fallback: pay.charge and pay.guess stand in for each other when shop calls them",
        ),
        ("{pay.charge: {fallback: {call: pay.guess}}}", None),
    ],
)
def test_fallbacks_in_a_circle(calls, said):
    found = told(calls)
    assert [doubt for doubt in found if said and doubt.startswith(said)] == found
    assert len(found) == (said is not None)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (
            "{pay: {retry: {backoff: {base: 50ms}}}}",
            "calls.pay.retry: backoff without max_attempts, which is 1 unless it is written",
        ),
        # As of a candidate without retries that is laid over one that has them.
        ("{pay: {retry: {max_attempts: 1, backoff: {base: 50ms}}}}", None),
        ("{default: {retry: {backoff: {base: 50ms}}}, pay: {retry: {max_attempts: 2}}}", None),
        ("{pay: {preset: resilience4j@2, retry: {backoff: {base: 50ms}}}}", None),
    ],
)
def test_retries_that_nobody_asked_for(calls, said):
    found = told(calls)
    assert [doubt for doubt in found if said and doubt.startswith(said)] == found
    assert len(found) == (said is not None)


@pytest.mark.parametrize(
    ("breaker", "said"),
    [
        (
            "failure_rate_threshold_percent: 50, minimum_calls: 20",
            "window_type consecutive does not read minimum_calls and failure_rate_threshold_percent; write window_type: count or "
            "time or ema, or leave out what is not read",
        ),
        (
            "window_type: time, window_size: 10, window_duration: 60s",
            "window_type time does not read window_size; write window_type: count",
        ),
        (
            "consecutive_failures: 5, window_size: 10",
            "window_type consecutive does not read window_size; write window_type: count, or leave out what is not read",
        ),
        (
            "window_type: count, window_size: 20, minimum_calls: 50",
            "minimum_calls = 50 is more than the window_size = 20 holds: it judges from 20 calls on",
        ),
        ("window_type: count, window_size: 20", None),  # resilience4j's own minimum is larger as well
    ],
)
def test_breakers_that_do_not_read_what_is_written(breaker, said):
    found = told(f"{{shop -> pay: {{circuit_breaker: {{{breaker}}}}}}}")
    assert [doubt for doubt in found if said and doubt.startswith(f"calls.shop -> pay.circuit_breaker: {said}")] == found
    assert len(found) == (said is not None)


def test_retries_without_end_want_a_pause():
    [doubt] = told("{pay: {timeout: 1s, retry: {max_attempts: unlimited}}}")
    assert doubt.startswith("shop -> pay.charge retries without end and without a pause: where failing takes no time, all tries")
    assert told("{pay: {timeout: 1s, retry: {max_attempts: unlimited, backoff: {base: 1ms}}}}") == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("retry: {max_attempts: 1001}", "calls.pay.retry.max_attempts: 1001 should be a whole number from 1 to 1,000"),
        ("retry: {max_attempts: 2, backoff: {base: 0.5ns}}", "base: 5e-10 s is too short for a pause; write 0s, or at least 1ns"),
        ("retry: {max_attempts: 2, backoff: {max: 1e-30s}}", "max: 1e-30 s is too short for a pause; write 0s, or at least 1ns"),
    ],
)
def test_numbers_beyond_any_use_are_refused(policy, said):
    with pytest.raises(ScenarioError) as refused:
        told(f"{{pay: {{{policy}}}}}")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("calls: {default: {timout: null}}", "calls.default.timout: unknown key; did you mean 'timeout'?"),
        ("calls: {pay: {retry: {bugdet: null}}}", "calls.pay.retry.bugdet: unknown key; did you mean 'budget'?"),
        ("clals: null", "clals: unknown key; did you mean 'calls'?"),
        ("services: {shop: {wrokers: null}}", "services.shop.wrokers: unknown key; did you mean 'workers'?"),
    ],
)
def test_a_mistyped_key_is_a_mistake_without_a_value_too(change, said, tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP.format(calls="{default: {timeout: 1s}}", links="{}", faults="[]"))
    (tmp_path / "rivals.yaml").write_text(f"base: shop.yaml\ncandidates:\n  today: {{}}\n  wrong: {{{change}}}\n")
    with pytest.raises(ScenarioError, match=r"rivals.yaml:4: ") as refused:
        load(tmp_path / "rivals.yaml")
    assert said in str(refused.value)


def test_a_link_that_loses_all_is_doubted():
    said = "front -> shop: the link loses 100 % of what is sent, so nothing ever arrives; write a smaller loss"
    assert said in told("{default: {timeout: 1s}}", links="{front -> shop: {loss: 100 %}}")
    assert said not in told("{default: {timeout: 1s}}", links="{front -> shop: {loss: 99 %}}")


def test_a_batch_that_gathers_until_its_calls_have_given_up_is_doubted():
    def waits(wait):
        return [each for each in told(f"{{pay: {{timeout: 1s, batch: {{scope: process, wait: {wait}}}}}}}") if "batch" in each]

    [doubt] = waits("1s")
    assert doubt.startswith("shop -> pay.charge: batch.wait = 1 s is not below the timeout of 1 s: calls give up")
    assert waits("999ms") == []


def test_queries_that_are_posted_are_not_kept_by_a_proxy_either():
    def posted(more):
        spoken = "{profile: graphql" + more + "}"
        kept = f"cdn -> shop: {{cache: {{max_age: 10s}}, protocol: {spoken}}}"
        text = SHOP.format(
            calls=f"{{front -> shop: {{via: cdn, protocol: {spoken}}}, {kept}}}", links="{}", faults="[]"
        ) + "proxies: {cdn: {replicas: 1}}"  # fmt: skip
        return [each for each in doubts(loads(text)) if "POST" in each]

    [doubt] = posted("")
    assert doubt.startswith("cdn -> shop.buy: cache, but queries are POSTed")
    assert posted(", persisted_queries: {}") == []
