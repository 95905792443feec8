"""Mistakes in scenario files: each is told with its line, its place and its cure, and nothing else ever happens."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from test_yaml import SHOP, messages

from sim.errors import ScenarioError
from sim.scenario.doubts import doubts
from sim.scenario.explain import MOST
from sim.scenario.model import Comparison, Scenario
from sim.scenario.yaml import load, loads
from sim.study.measure import effects_asked_for

# What is replaced in the shop, by what, and the message: line, place, and what to do.
MISTAKES = [
    ("warmup: 10s", "warmup: 10", "2: run.warmup: 10 has no unit; write for example 250ms, 1.5 s, 2min or 1h"),
    ("warmup: 10s", "warmup: -10s", "2: run.warmup: '-10s' must be zero or more"),
    ("warmup: 10s", "warmup: .nan", "2: run.warmup: .nan has no unit; write for example 250ms, 1.5 s, 2min or 1h"),
    ("duration: 60s", "duration: 2026-01-01", "2: run.duration: '2026-01-01' is not a duration; write for example 250ms"),
    ("replications: 4", "replications: 2.5", "2: run.replications: 2.5 should be a whole number from 1 to 1,000,000"),
    ("replications: 4", "replications: true", "2: run.replications: true should be a whole number from 1 to 1,000,000"),
    ("lognormal: {p50", "lognormul: {p50", "4: laws.charge: 'lognormul' is not a law; did you mean 'lognormal'?"),
    ("p99: 200ms", "p99: 20ms", "4: laws.charge: the value at 99.0% (0.02 s) must be larger than the one at 50.0% (0.03 s)"),
    ("    workers: 16\n", "", "6: services.shop: workers is missing (requests a replica works on at once"),
    (
        "workers: 16",
        "autoscaling: {max_replicas: true}\n    workers: 16",
        "8: services.shop.autoscaling.max_replicas: true should be a whole number from 1 to 10,000",
    ),
    ("workers: 16", "wrokers: 16", "8: services.shop.wrokers: unknown key; did you mean 'workers'?"),
    (
        "workers: 16",
        "workers: 'yes'",
        "8: services.shop.workers: 'yes' should be a whole number from 1 to 1,000,000,000 or 'unlimited'",
    ),
    (
        "workers: 16",
        "workers:",
        "8: services.shop.workers: has no value; write a whole number from 1 to 1,000,000,000 or 'unlimited'",
    ),
    (
        "queue: 100",
        "queue: lots",
        "9: services.shop.queue: 'lots' should be a whole number from 0 to 1,000,000,000 or 'unbounded'",
    ),
    ("- work: {exponential: 5ms}", "- wrok: 5ms", "12: services.shop.operations.buy[0]: {wrok: '5ms'} is not a step;"),
    ("- call: stock.reserve", "- call: stock", "13: services.shop.operations.buy[1].call: 'stock' is not an operation;"),
    (
        "- call: stock.reserve",
        "- call: stok.reserve",
        "13: services.shop.operations.buy[1].call: no operation 'stok.reserve'; did you mean 'stock.reserve'?",
    ),
    (
        "- call: stock.reserve",
        "- {call: stock.reserve, work: 5ms}",
        "13: services.shop.operations.buy[1].work: call and work cannot stand in one item; give each its own '- '",
    ),
    ("{0: 20, 1: 80}", "{0: 20, x: 80}", "14: services.shop.operations.buy[2].parallel[1][1].count: the key 'x' should be"),
    ("{0: 20, 1: 80}", "{0: a}", "14: services.shop.operations.buy[2].parallel[1][1].count.0: 'a' should be a number"),
    ("work: 2ms", "work: 2mm", "14: services.shop.operations.buy[2].parallel[1][0].work: '2mm' is not a duration;"),
    (
        "publish: emails",
        "publish: mails",
        "15: services.shop.operations.buy[3].publish: no queue, topic or log 'mails'; did you mean",
    ),
    ("{reserve: [", "{1: [], reserve: [", "16: services.stock.operations: '1' is not a name; use letters, digits,"),
    ("{reserve: [{work: {erlang: {k: 4, mean: 10ms}}}]}", "{}", "16: services.stock.operations: is empty"),
    ("effect: true", "effect: maybe", "18: services.email.operations.send.effect: 'maybe' should be true or false"),
    ("consumer: email.send, ", "receive_batch: 9, ", "20: queues.emails: receive_batch, receive_wait and poll_interval are read"),
    ("consumer: email.send", "consumer: email.sent", "20: queues.emails.consumer: no operation 'email.sent'; did you mean"),
    ("loss: 0.1 %", "loss: 101 %", "21: links.shop -> payment.loss: '101 %' must lie between 0 and 100 %"),
    ("timeout: 1s}", "timeout: 0s}", "23: calls.default.timeout: '0s' must be positive"),
    ("jitter: full", "jitter: ful", "24: calls.payment.retry.backoff.jitter: 'ful' should be one of none, full, equal,"),
    ("  payment: {per", "  paiment: {per", "24: calls.paiment: no service, operation or queue 'paiment'; did you mean"),
    ("rate: 100/s", "kind: spkie", "25: load: kind is not known; write one of poisson, constant, steps,"),
    (", mix: shop.buy", "", "25: load: mix is missing (entry operations and their weights;"),
    ("mix: shop.buy", "mix: {shop.sell: 1}", "25: load.mix.shop.sell: no operation 'shop.sell'; known: email.send,"),
    ("load: {rate: 100/s, mix: shop.buy}\n", "", "1: load is missing (who asks, how often, for what); write for example"),
    ("replica: 0", "replica: 9", "26: faults[0].replica: payment has replicas 0 to 0, not 9"),
    (
        "faults: [",
        "deployments: [{at: 3s}]\nfaults: [",
        "26: deployments[0]: {at: '3s'} is not a deployment; write one of rollout,",
    ),
    ("crash: payment, replica: 0", "cash: payment", "26: faults[0]: {cash: 'payment', at: '20s', for: '10s'} is not a fault;"),
    (", at: 5s", "", "26: faults[1]: a fault needs either at (and for), or mtbf and mttr;"),
    ("factor: 3", "factor: .inf", "26: faults[1].factor: .inf should be a number above 0"),
    ("faults: [", "faults:\nfault: [", "26: faults: has no value; write a list, each item a mapping with one of crash, stop,"),
    ("p99 <= 300ms", "p99 <= 300", "27: slos[0]: 300 has no unit; write for example 250ms"),
    ("p99 <= 300ms", "5", "27: slos[0]: 5 should be an objective in words, for example p99 <= 300ms"),
    (
        "mix: shop.buy",
        "mix: shop.buy, clients: 1000000000",
        "25: load.clients: 1000000000 should be a whole number from 1 to 100,000",
    ),
    (
        "rate: 100/s",
        "kind: closed, users: 1000000000, think: 1s",
        "25: load.users: 1000000000 should be a whole number from 1 to 100,000",
    ),
    (
        "rate: 100/s",
        "kind: closed, users: 1, think: {exponential: 1e-300s}",
        "25: load.think: a mean of 1e-300 s is too short for a pause; write 0s, or at least 1us",
    ),
    (
        "rate: 100/s",
        "kind: daily, rate: 1/s, period: 1ms",
        "25: load.period: 0.001 s makes more than 10,000 days in a run of 70 s;",
    ),
    ("rate: 100/s", "kind: replay, times: []", "25: load.times: is empty, so nothing would be asked; write at least one time,"),
    (
        "{0: 20, 1: 80}",
        "1000000000",
        "14: services.shop.operations.buy[2].parallel[1][1].count: 1000000000 should be a whole number from 0 to 10,000",
    ),
    ("{0: 20, 1: 80}", "{0: 1, 99999: 1}", "14: services.shop.operations.buy[2].parallel[1][1]: count: 99999 calls in one step"),
    (
        "{work: 2ms}, {call: stock.reserve,",
        "{repeat: [{call: stock.reserv}], count: 2}, {call: stock.reserve,",
        "14: services.shop.operations.buy[2].parallel[1][0].repeat[0].call: no operation 'stock.reserv'",
    ),
    (
        "{work: 2ms}, {call: stock.reserve,",
        "{repeat: [{work: 2ms}]}, {call: stock.reserve,",
        "14: services.shop.operations.buy[2].parallel[1][0]: count is missing (how many rounds: a number, or a map of number",
    ),
    (
        "{work: 2ms}, {call: stock.reserve,",
        "{repeat: [{work: 2ms}], count: {1: 0}}, {call: stock.reserve,",
        "14: services.shop.operations.buy[2].parallel[1][0]: count = {1: 0.0} must map numbers of rounds to weights",
    ),
    ("replicas: 2", "cpu: {quota: 20ms, burst: 30ms}", "7: services.shop.cpu: cpu: a burst of 0.03 s is more than the quota"),
    ("persist: 2ms", "consumers: 1000000", "20: queues.emails.consumers: 1000000 should be a whole number from 1 to 100,000"),
    ("persist: 2ms", "redelivery_delay: 1e-300s", "20: queues.emails.redelivery_delay: a pause of 1e-300 s is too short"),
    ("replicas: 2", "cpu: {quota: 1us}", "7: services.shop.cpu.quota: 1e-06 s is less than Linux allows; write at least 1ms"),
    ("duration: 60s", "duration: 1e-300s", "2: run.duration: 1e-300 s is too short to measure anything; take at least 1 µs"),
    ("duration: 60s, warmup: 10s", "duration: 1s, warmup: 999999h", "2: run.duration: 1 s is too short to measure anything;"),
    (
        "replica: 0, at: 20s, for: 10s",
        "mtbf: 1ms, mttr: 1ms},{slow: stock, factor: 2, mtbf: 1ms, mttr: 20us",
        "26: faults[1]: mtbf = 0.001 s and mttr = 2e-05 s must be at least 1ms",
    ),
    (
        "of email.send",
        "of stock.reserve",
        "27: slos[2]: stock.reserve is no effect: no queue's consumer, and not marked effect: true;",
    ),
    ("p99 <= 300ms", "p99 of stock.reserve <= 1s", "27: slos[0]: no request enters at 'stock.reserve'; known: shop.buy"),
    ("question: How", "1: How", "1: 1: unknown key; known: base, brokers, calls, candidates,"),
    ("services:\n", "services:\n  client: {workers: 1, operations: {x: []}}\n", "5: services: 'client' and 'default' are"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES, ids=[(new or old)[:30] for old, new, _ in MISTAKES])
def test_every_mistake_is_told_with_line_place_and_cure(right: str, wrong: str, said: str) -> None:
    assert SHOP.count(right) >= 1
    found = messages(SHOP.replace(right, wrong, 1))
    assert any(line.startswith(f"shop.yaml:{said}") for line in found), "\n".join(found)
    # One mistake, one message; `faults` without a value beside an unknown `fault` are two.
    assert len(found) == (2 if wrong == "faults:\nfault: [" else 1), "\n".join(found)


def test_sizes_that_are_too_much_only_together_are_told() -> None:
    many = SHOP.replace("email: {workers: 2", "email: {workers: 2, replicas: 100000").replace("persist: 2ms", "consumers: 11")
    (said,) = messages(many)
    assert said.startswith("shop.yaml:20: queues.emails.consumers: 11 on each of 100,000 replicas are 1,100,000; more than")
    often = SHOP.replace("duration: 60s", "duration: 20min").replace("replica: 0, at: 20s, for: 10s", "mtbf: 1ms, mttr: 1ms")
    assert not isinstance(loads(often, "shop.yaml"), Comparison)
    (said,) = messages(
        often.replace("mttr: 1ms", "mttr: 1ms, replica: each").replace("payment: {workers", "payment: {replicas: 9, workers")
    )
    assert said.startswith("shop.yaml:26: faults[0].mtbf: 0.001 s makes some 5.4e+06 failures in a run;")


def test_thousands_of_operations_and_as_many_mistakes_are_told() -> None:
    operations = "".join(f"      o{i}: [{{call: s.o{i + 1}}}]\n" for i in range(3_000))
    text = f"services:\n  s:\n    workers: 8\n    operations:\n{operations}load: {{rate: 1/s, mix: s.o0}}\n"
    whole = loads(f"{text[: text.index('load:')]}      o3000: []\nload: {{rate: 1/s, mix: s.o0}}\n")
    assert isinstance(whole, Scenario)
    assert doubts(whole) == []
    assert effects_asked_for(whole) == {"s.o0": {}}
    assert messages(text)[0].startswith("shop.yaml:3004: services.s.operations.o2999[0].call: no operation 's.o3000'")
    found = messages(text.replace("call: s.", "call: t."))
    assert (len(found), found[-1]) == (MOST + 1, "… and many more")


@pytest.mark.parametrize("parts", [1, 2])
def test_laws_of_laws_of_laws_are_refused_before_they_take_for_ever(parts: int) -> None:
    below = [", ".join([f"{{weight: {1 / parts}, law: l{i}}}"] * parts) for i in range(1, 61)]
    laws = "".join(f"  l{i}: {{mixture: [{part}]}}\n" for i, part in enumerate(below))
    found = messages(SHOP.replace("laws:\n", f"laws:\n{laws}  l60: 1ms\n"))
    assert any("mixture holds more than 1,000 laws, or mixtures 10 deep; make it simpler" in line for line in found)


def test_all_mistakes_come_at_once_in_the_order_of_the_text() -> None:
    text = SHOP
    for right, wrong in (("warmup: 10s", "warmup: 10"), ("workers: 16", "workers: 0"), ("jitter: full", "jitter: 1")):
        text = text.replace(right, wrong)
    assert [int(line.split(":")[1]) for line in messages(text)] == [2, 8, 24]


def test_of_very_many_mistakes_some_are_counted() -> None:
    many = "".join(f"  s{i}: {{workers: 0, operations: {{x: []}}}}\n" for i in range(50))
    found = messages(f"services:\n{many}load: {{rate: 1/s, mix: s0.x}}")
    assert len(found) == MOST + 1
    assert found[-1] == "… and 30 more"


def test_names_of_alternatives_never_stand_in_a_message() -> None:
    text = SHOP
    for right, wrong, _ in MISTAKES[:20]:
        text = text.replace(right, wrong, 1)
    said = "\n".join(messages(text))
    for noise in ("constrained", "function-", "literal[", "tagged-union", ".poisson", "Value error", "Input should"):
        assert noise not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "shop.yaml: the file is empty; a scenario has at least services and load"),
        ("# nothing\n", "shop.yaml: the file is empty; a scenario has at least services and load"),
        ("- 1\n- 2\n", "shop.yaml:1: a scenario is a mapping such as 'services: …', not [1, 2]"),
        ("hello", "shop.yaml:1: a scenario is a mapping such as 'services: …', not 'hello'"),
        ("a:\n\tb: 1", "shop.yaml:2: a tab stands where YAML wants spaces; indent with spaces"),
        ("a: 1\nb: 2\na: 3", "shop.yaml:3: 'a' is here twice, first in line 1; keep one"),
        ("x: {'a->b': 1, 'a -> b': 2}", "shop.yaml:1: 'a -> b' is here twice, first in line 1; keep one"),
        ("a: &x 1", "shop.yaml:1: anchors and aliases ('x') are not read; name a law under laws, or share a file with base"),
        ("a: {<<: {b: 1}}", "shop.yaml:1: merge keys (<<) are not read; share a file with base"),
        ("a: !!set {b}", "shop.yaml:1: the tag 'tag:yaml.org,2002:set' has no meaning here; write plain values"),
        ("a: 1\n---\nb: 2", "shop.yaml:2: a second document begins here (---); write one per file"),
        ("a: [1, 2", "shop.yaml:1: a ',' or ']' is missing"),
        ("a: b: c", "shop.yaml:1: a ':' stands where none can; check the indentation, or quote a text that contains ': '"),
        ("a:\n  b: 1\n c: 2", "shop.yaml:3: the indentation does not fit the lines above"),
        ("a: 'x", "shop.yaml:1: a quotation mark or bracket is opened and never closed"),
        ("a: %5", "shop.yaml:1: a value cannot begin with '%'; write 5 %, or quote it"),
        ("? [a]\n: 1", "shop.yaml:1: a key must be a word, not a list or a mapping"),
        (": 1", "shop.yaml:1: a key is missing in front of ':'"),
        ("a: \x01", "shop.yaml:1: a control character stands in the text; remove it"),
        ("[" * 100_000, "shop.yaml:1: nested more than 50 deep; no scenario needs that"),
        ("conditions: {a: {}}", "shop.yaml:1: conditions: conditions belong to candidates; add candidates: …"),
        ("candidates: [a]", "shop.yaml:1: candidates: ['a'] should be a mapping of names to what they change,"),
        ("candidates: {a: 5}", "shop.yaml:1: candidates.a: 5 should be a mapping of what a changes, or {}"),
        ("base: 5", "shop.yaml:1: base: 5 should be the path of a scenario file, or a scenario"),
        ("base: nowhere.yaml", "shop.yaml:1: base: nowhere.yaml: there is no such file"),
        ("name: ../x", "shop.yaml:1: name: '../x' should be a short name of letters, digits,"),
    ],
)
def test_what_is_no_scenario_is_told_so(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        loads(text, "shop.yaml")
    assert caught.value.messages[0].startswith(said)


def test_what_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    (tmp_path / "wide.yaml").write_text("a: 1", encoding="utf-16")
    (tmp_path / "binary.yaml").write_bytes(b"\x00\x01\x02")
    for name, said in {
        ".": "is a directory, not a scenario file; it holds binary.yaml, latin.yaml, shop.yaml, wide.yaml",
        "shap.yaml": "there is no such file; did you mean 'shop.yaml'?",
        "no/where.yaml": f"there is no such file, nor its directory {tmp_path}/no",
        "latin.yaml": "latin.yaml:2: byte 0xe9 is not UTF-8; save the file as UTF-8",
        "wide.yaml": "is written in UTF-16; save it as UTF-8",
        "binary.yaml": "is a binary file, not YAML text",
        "a\0b": "there is no such file",
        "x" * 300: "cannot be read: File name too long",
    }.items():
        with pytest.raises(ScenarioError) as caught:
            load(tmp_path / name)
        assert said in str(caught.value)


# --- nothing else happens ---------------------------------------------------------------------------------------------


def survives(text: str) -> None:
    found: Any
    try:
        found = loads(text, "shop.yaml")
    except ScenarioError as error:
        found = error
    if not isinstance(found, ScenarioError):
        assert isinstance(found, Scenario | Comparison)
        return
    assert found.messages
    for line in found.messages:
        assert line.startswith(("shop.yaml:", "… and")), line
        assert "\n" not in line
        assert len(line) < 1000
        assert line.encode()


COMPARISON = f"candidates: {{a: {{}}, b: {{load: {{rate: 5/s}}}}}}\nconditions: {{x: , y: {{faults: null}}}}\n{SHOP}"
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


SNIPPETS = st.sampled_from([*"\t:{}[]'\"\\#%|\n~", "- ", "&a ", "*a", "!x ", "? ", "9" * 400])


@given(st.sampled_from([SHOP, COMPARISON]), st.data())
@QUIET
def test_mutilated_text_is_a_scenario_or_an_error(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(SNIPPETS | st.text(max_size=4)) + text[stop:]
    survives(text)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@example("a: 1e999999999")
@example("services: {a: {workers: " + "9" * 5000 + "}}")
@QUIET
def test_any_text_is_a_scenario_or_an_error(text: str) -> None:
    survives(text)


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, -(10**400), 1e308, -0.0, float("inf"), float("nan")]),
    st.sampled_from(["", " ", "no", "0", "-1s", "1e400 s", "12:30", "2026-01-01", "9**9**9 s", "p200"]),
    st.sampled_from(["a.b", "a -> b", "x" * 2000, "\u2028", "a: b"]),
    st.sampled_from([{}, [], [[]], {"work": "5ms"}, {"exponential": {}}, {"mixture": [1]}, {"kind": []}]),
    st.sampled_from([{"lognormal": {"p1": "1s", "p2": "1s"}}, {"quantiles": {"p0": 1, "x": "y"}}]),
    st.just({"pareto": {"shape": 900, "minimum": "1us", "maximum": "9s"}}),
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, item in children for place in places(item, (*path, key)))]


TREES = [YAML(typ="safe", pure=True).load(text) for text in (SHOP, COMPARISON)]


def written(tree: Any) -> str:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, stream)
    return stream.getvalue()


@given(st.sampled_from(TREES), st.data())
@QUIET
def test_a_mutilated_tree_is_a_scenario_or_an_error(whole: Any, data: st.DataObject) -> None:
    tree = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from([place for place in places(tree) if place]))
        holder = tree
        for key in parents:
            holder = holder[key]
        what = data.draw(st.sampled_from(["replace", "remove", "rename", "move"]))
        if what == "remove":
            del holder[last]
        elif what == "rename" and isinstance(holder, dict):
            holder[data.draw(st.sampled_from([f"{last}x", "default", "kind", "work", "1", "a: b", "->"]))] = holder.pop(last)
        elif what == "move":
            holder[last] = copy.deepcopy(data.draw(st.sampled_from([holder, whole])))
        else:
            holder[last] = copy.deepcopy(data.draw(ODD))
        if not tree:
            break
    survives(written(tree))


POLICIES_SAID = [
    ("retry: {budget: {budget_percent: 20}}", "retry.budget: give its kind: concurrency, windowed_ratio, token_ratio, quota"),
    ("retry: {budget: {budget_percent: 20}}", ", for example kind: concurrency"),
    (
        "retry: {budget: {kind: windowed_ration}}",
        "kind 'windowed_ration' is not known; did you mean 'windowed_ratio'? write one of",
    ),
    ("throttling: {}", "throttling: give its kind: sre, envoy, finagle_nack, for example kind: sre"),
    ("throttling: {kind: sree}", "did you mean 'sre'?"),
    (
        "rate_limit: {limit: 10}",
        "kind is missing (tokens that come all the time, or permits per period); write for example kind: token",
    ),
    ("adaptive_concurrency: {}", "write for example algorithm: gradient"),
    ("adaptive_concurrency: {algorithm: vegas, min_limit: 10, max_limit: 5}", "min_limit = 10 must not be above max_limit = 5"),
    ("adaptive_concurrency: {algorithm: aimd, max_limit: 5}", "min_limit = 20 must not be above max_limit = 5, min_limit being"),
    ("hedging: {percentile: 101}", "101 should be a number above 0 and below 100"),
    ("hedging: {percentile: 95 %}", "'95 %' should be a number above 0 and below 100, written as a plain number: 95"),
    ("fallback: stale", "'stale' should be 'value' or a mapping with call, on, for example {call: shop.default}"),
]


@pytest.mark.parametrize(("policy", "said"), POLICIES_SAID, ids=[policy for policy, _ in POLICIES_SAID])
def test_a_wrong_policy_is_told_what_would_be_right(policy: str, said: str) -> None:
    text = "services: {a: {workers: 1, operations: {x: [{work: 1ms}]}}}\nload: {rate: 1/s, mix: a.x}\n"
    with pytest.raises(ScenarioError) as caught:
        loads(f"{text}calls: {{a: {{{policy}}}}}")
    assert said in str(caught.value)


def test_a_list_whose_only_entry_is_wrong_is_not_called_empty() -> None:
    text = "services: {a: {workers: 1, operations: {x: [{saga: [{undo: {call: a.y}}]}], y: []}}}\nload: {rate: 1/s, mix: a.x}"
    with pytest.raises(ScenarioError) as caught:
        loads(text)
    assert "do is missing" in str(caught.value)
    assert "empty" not in str(caught.value)
