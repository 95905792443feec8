"""Scenario files: what they mean, what overlays do, and how they are written back."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import ScenarioError
from sim.laws import Constant, Exponential, Lognormal
from sim.scenario.model import Comparison, Scenario
from sim.scenario.services import Call, Operation
from sim.scenario.source import read_text
from sim.scenario.yaml import dumps, load, loads

SHOP = """\
question: How long does a checkout take?
run: {duration: 60s, warmup: 10s, replications: 4}
laws:
  charge: {lognormal: {p50: 30ms, p99: 200ms}}
services:
  shop:
    replicas: 2
    workers: 16
    queue: 100
    operations:
      buy:
        - work: {exponential: 5ms}
        - call: stock.reserve
        - parallel: [{call: payment.charge}, [{work: 2ms}, {call: stock.reserve, count: {0: 20, 1: 80}}]]
        - publish: emails
  stock: {workers: 8, operations: {reserve: [{work: {erlang: {k: 4, mean: 10ms}}}]}}
  payment: {workers: 8, operations: {charge: [{work: charge}, {fail: 1 %}]}}
  email: {workers: 2, operations: {send: {effect: true, steps: [{work: 20ms}]}}}
queues:
  emails: {consumer: email.send, persist: 2ms}
links: {default: 0.5ms, "shop->payment": {latency: {exponential: 1ms}, loss: 0.1 %}}
calls:
  default: {timeout: 1s}
  payment: {per_try_timeout: 300ms, retry: {max_attempts: 3, backoff: {base: 10ms, jitter: full}}}
load: {rate: 100/s, mix: shop.buy}
faults: [{crash: payment, replica: 0, at: 20s, for: 10s}, {slow: stock, factor: 3, at: 5s}]
slos: [p99 <= 300ms, success >= 99.9 %, effect p99 of email.send <= 30s]
"""


def scenario(text: str) -> Scenario:
    found = loads(text, "shop.yaml")
    assert isinstance(found, Scenario)
    return found


def messages(text: str, file: str = "shop.yaml") -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loads(dedent(text), file)
    return list(caught.value.messages)


def test_a_scenario_says_what_its_yaml_says() -> None:
    shop = scenario(SHOP)
    assert shop.name == "shop"
    assert shop.run.warmup == 10.0
    assert shop.services["payment"].operations["charge"].steps[0].work == shop.laws["charge"]
    assert shop.links["shop -> payment"].latency == Exponential(0.001)
    assert shop.policy("shop", "payment.charge").timeout == 1.0
    assert [slo.bound for slo in shop.slos] == [0.3, 0.999, 30.0]


def test_named_laws_of_one_scenario_are_unknown_to_the_next() -> None:
    scenario(SHOP)
    other = SHOP.replace("laws:\n  charge: {lognormal: {p50: 30ms, p99: 200ms}}\n", "")
    assert messages(other)[0].startswith("shop.yaml:15: services.payment.operations.charge[0].work: 'charge' is not a duration")


def test_laws_may_be_made_of_laws_that_stand_below() -> None:
    mixed = "mixed: {mixture: [{weight: 50 %, law: fast}, {weight: 50 %, law: charge}]}\n  fast: 1ms\n  charge:"
    shop = scenario(SHOP.replace("charge:", mixed, 1).replace("work: charge", "work: mixed"))
    work = shop.services["payment"].operations["charge"].steps[0].work
    assert work.mean == pytest.approx((0.001 + shop.laws["charge"].mean) / 2)


def test_laws_that_name_each_other_are_refused() -> None:
    found = messages(SHOP.replace("laws:\n", "laws:\n  a: b\n  b: a\n"))
    assert [line.split(":")[2] for line in found] == [" laws.a", " laws.b"]


# --- overlays ---------------------------------------------------------------------------------------------------------


def compare(text: str, tmp_path: Path) -> Comparison:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "question.yaml").write_text(dedent(text))
    found = load(tmp_path / "question.yaml")
    assert isinstance(found, Comparison)
    return found


def test_a_candidate_lies_over_the_condition_over_the_file_over_the_base(tmp_path: Path) -> None:
    found = compare(
        """
        base: shop.yaml
        run: {seed: 2, replications: 7}
        conditions: {calm: {faults: null}, crash: {run: {seed: 3, warmup: 1s}}}
        candidates: {today: , other: {run: {seed: 4}}}
        """,
        tmp_path,
    )
    assert found.name == "question"
    assert found.conditions == ("calm", "crash")
    seeds = [(candidate, condition, s.run.seed, s.run.warmup) for candidate, condition, s in found.scenarios()]
    assert seeds == [("today", "calm", 2, 10), ("other", "calm", 4, 10), ("today", "crash", 3, 1), ("other", "crash", 4, 1)]
    assert {s.run.replications for _, _, s in found.scenarios()} == {7}
    assert found.candidates["today"]["calm"].faults == ()
    assert len(found.candidates["today"]["crash"].faults) == 2


def test_without_conditions_there_is_one(tmp_path: Path) -> None:
    assert compare("base: shop.yaml\ncandidates: {today: {}}", tmp_path).conditions == ("base",)


def test_lists_replace_and_mappings_merge(tmp_path: Path) -> None:
    found = compare(
        """
        base: shop.yaml
        candidates:
          a:
            faults: [{outage: emails, at: 1s}]
            calls: {payment: {retry: {backoff: {base: 20ms}}}}
        """,
        tmp_path,
    ).candidates["a"]["base"]
    assert [type(fault).__name__ for fault in found.faults] == ["Outage"]
    backoff = found.policy("shop", "payment.charge").retry.backoff
    assert (backoff.base, backoff.jitter) == (0.02, "full")


def test_null_is_off_where_a_key_may_be_without_a_value(tmp_path: Path) -> None:
    found = compare(
        """
        base: shop.yaml
        calls:
          default: {preset: envoy@1.40, timeout: 1s}
          payment: {per_try_timeout: 70ms, retry: {max_attempts: 4}}
        conditions: {calm: {}, cached: {calls: {payment: {cache: {max_age: 1s}}}}}
        candidates:
          today: {}
          no budget: {calls: {payment: {retry: {budget: null}}}}
          nor of stock: {calls: {"shop -> stock": {retry: {max_attempts: 3, budget: null}}}}
          no timeout: {calls: {payment: {timeout: null, cache: null}}}
        """,
        tmp_path,
    ).candidates
    for condition in ("calm", "cached"):
        today, off, late = (
            found[name][condition].policy("shop", "payment.charge") for name in ("today", "no budget", "no timeout")
        )
        assert today.retry.budget is not None
        assert (off.retry.budget, off.retry.max_attempts) == (None, 4)
        assert found["nor of stock"][condition].policy("shop", "stock.reserve").retry.budget is None
        assert (late.timeout, late.per_try_timeout, late.cache) == (None, 0.07, None)  # nor the timeout of default
    assert found["today"]["cached"].policy("shop", "payment.charge").cache is not None
    assert found["today"]["calm"].hash != found["no budget"]["calm"].hash


def test_null_removes_entries_and_keys_that_have_a_value_always(tmp_path: Path) -> None:
    shop = compare(
        """
        base: shop.yaml
        calls: {default: {cancellation: true}, payment: {cancellation: false}}
        slos: null
        candidates:
          a:
            services: {email: null, shop: {queue: null, operations: {buy: [{call: payment.charge}]}}}
            queues: {emails: null}
            calls: {payment: {cancellation: null}}
            faults: null
        """,
        tmp_path,
    ).candidates["a"]["base"]
    assert (list(shop.services), shop.queues, shop.slos, shop.faults) == (["shop", "stock", "payment"], {}, (), ())
    assert "cancellation" not in shop.calls["payment"].model_fields_set
    assert shop.policy("shop", "payment.charge").cancellation  # as default has it
    assert shop.services["shop"].queue.capacity == "unbounded"


def test_what_nobody_has_cannot_be_removed(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "slip.yaml").write_text("base: shop.yaml\ncandidates:\n  a: {services: {shap: null}}\n  b: {faults: null}\n")
    with pytest.raises(ScenarioError, match=r"slip.yaml:3: services.shap: there is no 'shap' to remove; did you mean 'shop'\?"):
        load(tmp_path / "slip.yaml")


def test_a_condition_may_remove_what_only_some_candidates_have(tmp_path: Path) -> None:
    found = compare(
        """
        base: shop.yaml
        conditions: {calm: {calls: {stock: null}}}
        candidates: {a: {}, b: {calls: {stock: {timeout: 1s}}}}
        """,
        tmp_path,
    )
    assert found.candidates["b"]["calm"].policy("shop", "stock.reserve").timeout == 1.0


def test_a_law_replaces_a_law(tmp_path: Path) -> None:
    found = compare("base: shop.yaml\ncandidates: {a: {laws: {charge: {exponential: 50ms}}}}", tmp_path)
    assert found.candidates["a"]["base"].services["payment"].operations["charge"].steps[0].work == Exponential(0.05)


def test_a_load_of_another_kind_keeps_what_it_knows(tmp_path: Path) -> None:
    found = compare(
        """
        base: shop.yaml
        conditions:
          spike: {load: {kind: spike, peak: 300/s, at: 20s, for: 10s}}
          steps: {load: {kind: steps, points: [{at: 0s, rate: 50/s}]}}
        candidates: {a: {}}
        """,
        tmp_path,
    ).candidates["a"]
    assert (found["spike"].load.rate, found["spike"].load.peak) == (100.0, 300.0)
    assert found["steps"].load.mix == {"shop.buy": 1.0}


def test_shorthand_merges_as_what_it_stands_for(tmp_path: Path) -> None:
    shop = compare(
        """
        base: shop.yaml
        candidates:
          a:
            services: {shop: {queue: {max_wait: 1s}, operations: {buy: {effect: true}}}}
            links: {default: {loss: 1 %}, "shop -> payment": 7ms}
        """,
        tmp_path,
    ).candidates["a"]["base"]
    assert (shop.services["shop"].queue.capacity, shop.services["shop"].queue.max_wait.mean) == (100, 1.0)
    assert len(shop.services["shop"].operations["buy"].steps) == 4
    assert (shop.links["default"].latency, shop.links["default"].loss) == (Constant(0.0005), 0.01)
    assert (shop.links["shop -> payment"].latency, shop.links["shop -> payment"].loss) == (Constant(0.007), 0.001)


MIXES = """
base:
  services: {s: {workers: 4, operations: {a: [{work: 1ms}], b: [{work: 1ms}]}}}
  calls: {s: {protocol: grpc}}
  load: {rate: 10/s, mix: s.a}
candidates:
  both: {load: {mix: {s.b: 1}}}
  other: {load: {mix: {s.a: null, s.b: 1}}}
  alone: {load: {mix: s.b}}
  spoken: {calls: {s: {protocol: {http: http/1.1}}}}
"""


def test_a_bare_protocol_and_a_bare_mix_merge_as_what_they_stand_for() -> None:
    found = loads(MIXES)
    assert isinstance(found, Comparison)
    mixes = {name: by["base"].load.mix for name, by in found.candidates.items()}
    assert mixes == {"both": {"s.a": 1, "s.b": 1}, "other": {"s.b": 1}, "alone": {"s.b": 1}, "spoken": {"s.a": 1}}
    protocol = found.candidates["spoken"]["base"].calls["s"].protocol
    assert protocol is not None
    assert (protocol.profile, protocol.http) == ("grpc", "http/1.1")


def test_a_file_may_begin_from_another(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "busy.yaml").write_text("base: ../shop.yaml\nload: {rate: 150/s}")
    (tmp_path / "sub" / "long.yaml").write_text("base: busy.yaml\nrun: {duration: 600s}")
    found = load(tmp_path / "sub" / "long.yaml")
    assert isinstance(found, Scenario)
    assert (found.name, found.question, found.load.rate, found.run.duration) == ("long", "", 150.0, 600.0)


def test_a_circle_of_bases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: ./a.yaml")
    with pytest.raises(ScenarioError, match=r"b\.yaml:1: base: .*a\.yaml → .*b\.yaml → .*a\.yaml is a circle of bases"):
        load(tmp_path / "a.yaml")


def test_an_error_names_the_file_and_line_where_the_value_stands(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP.replace("workers: 16", "workers: none"))
    text = "base: shop.yaml\ncandidates:\n  a: {}\n  b:\n    load:\n      rate: fast\n"
    (tmp_path / "question.yaml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "question.yaml")
    first, second = caught.value.messages
    assert first.startswith(f"{tmp_path}/question.yaml:6: load.rate: 'fast' is not a rate")
    assert first.endswith("(b)")
    expected = "services.shop.workers: 'none' should be a whole number from 1 to 1,000,000,000 or 'unlimited'"
    assert second == f"{tmp_path}/shop.yaml:8: {expected}"


# What is laid over the shop from line 3 of another file, and the message: line of that file or of the shop, place, problem.
OVERLAID = [
    ("load: {kind: spkie}", "question.yaml:4: load: kind is not known"),
    ("load: {kind: spike, at: 1s, for: 1s}", "question.yaml:4: load: peak is missing"),
    ("load: {kind: steps, points: [{at: 5s, rate: 1/s}]}", "question.yaml:4: load: points: the first must be at 0s"),
    ("services: {shop: {workers: null}}", "question.yaml:4: services.shop: workers is missing"),
    ("services: {shop: {operations: {buy: null}}}", "question.yaml:4: services.shop.operations: is empty"),
    ("services: {shop: {cpu: {quota: 1s}}}", "question.yaml:4: services.shop.cpu: cpu: a quota of 1 s"),
    ("queues: {emails: {prefetch: 5, delivery: poll}}", "question.yaml:4: queues.emails: prefetch is read where messages"),
]


@pytest.mark.parametrize(("change", "said"), OVERLAID, ids=[change[:40] for change, _ in OVERLAID])
def test_a_mistake_in_a_mapping_is_told_where_it_was_laid_over(change: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "question.yaml").write_text(f"base: shop.yaml\ncandidates:\n  bad:\n    {change}\n")
    (tmp_path / "other.yaml").write_text(f"base: shop.yaml\n\n\n{change}\n")
    for file in ("question.yaml", "other.yaml"):
        with pytest.raises(ScenarioError) as caught:
            load(tmp_path / file)
        assert caught.value.messages[0].startswith(f"{tmp_path}/{said.replace('question.yaml', file)}")
        assert len(caught.value.messages) == 1


def test_a_mistake_of_the_base_stays_one_whoever_is_laid_over_it(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP.replace("    workers: 16\n", ""))
    text = (
        "base: shop.yaml\nconditions: {calm: {}, busy: {load: {rate: 200/s}}}\ncandidates:\n  a: {services: {shop: {queue: 5}}}\n"
    )
    (tmp_path / "question.yaml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "question.yaml")
    (said,) = caught.value.messages
    assert said.startswith(f"{tmp_path}/shop.yaml:6: services.shop: workers is missing")


@pytest.mark.parametrize("key", ["base", "candidates", "conditions"])
def test_what_belongs_to_the_top_of_a_file_is_sent_there(key: str, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "question.yaml").write_text(f"base: shop.yaml\ncandidates:\n  a:\n    {key}: {{b: {{}}}}\n")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "question.yaml")
    expected = f"{key}: stands at the top of a file only, beside services and load; not in a base, a candidate or a condition"
    assert caught.value.messages == (f"{tmp_path}/question.yaml:4: {expected}",)


# --- arrival times from a file ----------------------------------------------------------------------------------------


def replay(csv: str, tmp_path: Path) -> Scenario | Comparison:
    (tmp_path / "shop.yaml").write_text(SHOP.replace("rate: 100/s", "kind: replay, times: arrivals.csv"))
    (tmp_path / "arrivals.csv").write_text(csv)
    return load(tmp_path / "shop.yaml")


def test_arrival_times_come_from_a_file_beside_the_scenario(tmp_path: Path) -> None:
    found = replay("seconds,user\n0.5,ann\n\n2,bob\n", tmp_path)
    assert isinstance(found, Scenario)
    assert found.load.times == (0.5, 2.0)
    assert loads(dumps(found)) == found


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("1\nx\n", "arrivals.csv:2: 'x' is not a time in seconds"),
        ("2\n1\n", "arrivals.csv:2: times must not fall, got '1'"),
        ("-1\n", "arrivals.csv:1: a time is zero or more seconds, got '-1'"),
        ("nan\n", "arrivals.csv:1: a time is zero or more seconds, got 'nan'"),
        ("seconds\n", "arrivals.csv holds no times"),
    ],
)
def test_bad_arrival_times_are_named(csv: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        replay(csv, tmp_path)
    assert said in str(caught.value)


# --- back into YAML ---------------------------------------------------------------------------------------------------

DURATIONS = st.floats(0, 1e6)
LAWS = st.recursive(
    DURATIONS.map(lambda x: {"constant": x})
    | st.floats(1e-6, 1e3).map(lambda x: {"exponential": x})
    | st.tuples(st.floats(1e-6, 1e3), st.floats(0.1, 5)).map(lambda p: {"lognormal": {"mean": p[0], "cv": p[1]}})
    | st.tuples(st.integers(1, 9), st.floats(1e-6, 1e3)).map(lambda p: {"erlang": {"k": p[0], "mean": p[1]}})
    | st.lists(DURATIONS, min_size=2, max_size=5).map(lambda xs: {"quantiles": sorted(xs)}),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda laws: {"mixture": [{"weight": 1 / len(laws), "law": law} for law in laws]}
    ),
    max_leaves=4,
)
LOADS = st.one_of(
    st.fixed_dictionaries({"rate": st.floats(1e-3, 1e4), "clients": st.integers(1, 5)}),
    st.fixed_dictionaries({"kind": st.sampled_from(["steps", "ramp"]), "points": st.just([{"at": 0, "rate": 5.5}])}),
    st.fixed_dictionaries({"kind": st.just("closed"), "users": st.integers(1, 9), "think": st.just(0) | st.floats(1e-6, 10)}),
    st.fixed_dictionaries({"kind": st.just("replay"), "times": st.lists(DURATIONS, min_size=1, max_size=5).map(sorted)}),
)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.none() | st.floats(1e-3, 10),
        "balancing": st.sampled_from(["round_robin", "random"]),
        "retry": st.fixed_dictionaries({}, optional={"max_attempts": st.integers(1, 5), "backoff": st.just({"base": 0.0})}),
    },
)
FAULTS = st.one_of(
    st.fixed_dictionaries({"crash": st.just("b"), "at": DURATIONS}, optional={"for": st.floats(1e-3, 10)}),
    st.fixed_dictionaries({"link": st.sampled_from(["default", "a -> b"]), "at": DURATIONS, "loss": st.floats(0, 1)}),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    steps = st.lists(
        st.fixed_dictionaries({"work": LAWS})
        | st.fixed_dictionaries({"call": st.just("b.y"), "count": st.integers(0, 3) | st.just({1: 0.5, 2: 0.25})})
        | st.fixed_dictionaries({"fail": st.floats(0, 1)}),
        max_size=4,
    )
    return Scenario.model_validate(
        {
            "services": {
                "a": {"workers": "unlimited", "operations": {"x": draw(steps)}},
                "b": {"workers": 2, "queue": draw(st.integers(0, 5)), "operations": {"y": [{"work": draw(LAWS)}]}},
            },
            "load": {**draw(LOADS), "mix": "a.x"},
            "links": draw(st.dictionaries(st.sampled_from(["default", "a -> b"]), LAWS, max_size=2)),
            "calls": draw(st.dictionaries(st.sampled_from(["default", "b", "a -> b.y"]), POLICIES, max_size=3)),
            "faults": draw(st.lists(FAULTS, max_size=2)),
        }
    )


@given(scenarios())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(wanted: Scenario) -> None:
    found = loads(dumps(wanted), "scenario.yaml")
    assert found == wanted
    assert found.hash == wanted.hash
    for caller in ("client", "a"):
        assert found.policy(caller, "b.y") == wanted.policy(caller, "b.y")


def test_a_default_that_was_set_on_purpose_survives_writing() -> None:
    text = SHOP.replace("  payment: {per_try", "  stock: {timeout: null}\n  payment: {per_try")
    wanted = scenario(text)
    assert wanted.policy("shop", "stock.reserve").timeout is None
    assert scenario(dumps(wanted)).policy("shop", "stock.reserve").timeout is None
    assert wanted.hash != scenario(SHOP).hash


def test_steps_and_ramp_of_the_same_points_are_two_scenarios() -> None:
    points = "points: [{at: 0s, rate: 5/s}, {at: 9s, rate: 9/s}]"
    steps, ramp = (scenario(SHOP.replace("rate: 100/s", f"kind: {kind}, {points}")) for kind in ("steps", "ramp"))
    assert steps.hash != ramp.hash


def test_a_law_of_your_own_has_no_word_in_yaml() -> None:
    class Lucky:
        mean = 1.0
        variance = 0.0

        def draw(self, bits: int) -> float:
            return 1.0

    shop = scenario(SHOP)
    lucky = Operation(steps=(Call(call="stock.reserve"), {"work": Lucky()}))
    services = {**shop.services, "shop": shop.services["shop"].model_copy(update={"operations": {"buy": lucky}})}
    with pytest.raises(ScenarioError, match="YAML has no word for"):
        dumps(shop.model_copy(update={"services": services}))


def test_every_value_keeps_its_line() -> None:
    root = read_text(SHOP, "shop.yaml")
    jitter = root.value["calls"].value["payment"].value["retry"].value["backoff"].value["jitter"]
    assert (jitter.value, jitter.where) == ("full", "shop.yaml:24")


def test_percentiles_fit_the_law_that_is_written() -> None:
    law = scenario(SHOP).laws["charge"]
    assert isinstance(law, Lognormal)
    assert law.quantile(0.99) == pytest.approx(0.2)


def test_null_stays_where_it_is_no_absence(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "services: {shop: {workers: 1, registry: book, operations: {buy: [{work: 1ms}]}}}\n"
        "registries: {book: {publish_delay: 1s}}\nload: {rate: 1/s, mix: shop.buy}\n"
    )
    (tmp_path / "leases.yaml").write_text(
        "base: base.yaml\ncandidates:\n  leases: {}\n  none: {registries: {book: {heartbeat_interval: null}}}\n"
        "  another: {registries: {book: null, other: {heartbeat_interval: null}}, services: {shop: {registry: other}}}\n"
    )
    found = load(tmp_path / "leases.yaml")
    assert isinstance(found, Comparison)
    books = {name: cases["base"].registries for name, cases in found.candidates.items()}
    assert (books["leases"]["book"].heartbeat_interval, books["none"]["book"].heartbeat_interval) == (30.0, None)
    assert books["none"]["book"].publish_delay == Constant(1.0)
    assert list(books["another"]) == ["other"]
    assert books["another"]["other"].heartbeat_interval is None
