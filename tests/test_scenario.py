"""The scenario as a value: defaults, inheritance of call policies, links, cross-checks, hash, pickling, laws as data."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.laws import (
    Constant,
    Erlang,
    Exponential,
    Hyperexponential,
    Lognormal,
    Mixture,
    Pareto,
    Quantiles,
    Uniform,
)
from sim.scenario.edges import operations_of, steps_of
from sim.scenario.load import Closed, Daily, Even, Poisson, Ramp, Replay, Spike, Steps
from sim.scenario.model import Comparison, Scenario
from sim.scenario.services import Call, Fail, Link, Parallel, Publish, Repeat, Work
from sim.values import dump_law, parse_law


class NoContext:
    """What pydantic hands to a validator in a Python call."""

    context = None


MAILS = {"mails": {"consumer": "email.send"}}


def shop(**changes):
    """A shop that charges and sends a mail through a queue; `changes` replace whole parts of the description."""
    data = {
        "services": {
            "shop": {
                "replicas": 2,
                "workers": 8,
                "operations": {"buy": [{"work": "5ms"}, {"call": "payment.charge"}, {"publish": "mails"}]},
            },
            "payment": {
                "workers": 4,
                "operations": {"charge": [{"work": {"exponential": "20ms"}}], "refund": []},
            },
            "email": {"workers": 1, "operations": {"send": {"effect": True, "steps": [{"work": "1ms"}]}}},
        },
        "queues": MAILS,
        "load": {"rate": 10, "mix": "shop.buy"},
    }
    return Scenario.model_validate({**data, **changes})


def problems(**changes):
    with pytest.raises(ValidationError) as caught:
        shop(**changes)
    return "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors())


# --- objectives that could never be met ---


@pytest.mark.parametrize(
    ("slo", "said"),
    [
        ("effect p99 of email.send <= 1s", None),  # a queue's consumer, and marked
        ("effect completeness of payment.charge >= 1 %", "payment.charge is no effect: no queue's consumer, and not marked"),
        ("p99 of payment.charge <= 1s", "no request enters at 'payment.charge'; known: shop.buy"),
        ("success of shop.buy >= 99 %", None),
    ],
)
def test_an_objective_is_about_something_that_is_measured(slo, said):
    if said is None:
        assert shop(slos=[slo]).slos[0].text == slo
    else:
        assert f"slos[0]: {said}" in problems(slos=[slo])


def test_an_objective_of_effects_needs_effects():
    services = {"shop": {"workers": 1, "operations": {"buy": []}}}
    said = "slos[0]: nothing here is an effect; mark an operation effect: true, or publish to a queue"
    assert said in problems(services=services, queues={}, slos=["effect p99 <= 1s"])
    services["shop"]["operations"]["buy"] = {"effect": True}
    assert shop(services=services, queues={}, slos=["effect p99 <= 1s"]).slos


# --- reading --------------------------------------------------------------------------------------------------


def test_defaults():
    scenario = shop()
    assert scenario.run.duration == 60
    assert scenario.run.warmup == 0
    assert scenario.run.seed == 1
    assert scenario.run.record_attempts
    payment = scenario.services["payment"]
    assert (payment.replicas, payment.queue.capacity, payment.queue.max_wait) == (1, "unbounded", None)
    policy = scenario.policy("shop", "payment.charge")
    assert (policy.timeout, policy.per_try_timeout, policy.cancellation) == (None, None, False)
    assert (policy.retry.max_attempts, policy.balancing.kind) == (1, "round_robin")
    assert scenario.link("shop", "payment") == Link()
    assert scenario.queues["mails"].max_deliveries == "unlimited"


def test_short_forms_mean_the_long_ones():
    short = shop()
    long = shop(
        load={"kind": "poisson", "rate": "10/s", "mix": {"shop.buy": 1.0}, "clients": 1},
        services={
            **{name: service.model_dump(mode="json") for name, service in short.services.items()},
            "email": {"workers": 1, "operations": {"send": {"effect": True, "steps": [{"work": Constant(0.001)}]}}},
        },
    )
    assert long == short
    branches = Parallel.model_validate({"parallel": [{"call": "a.x"}, [{"work": "1ms"}, {"call": "b.y"}]]})
    assert branches.parallel == ((Call(call="a.x"),), (Work(work=0.001), Call(call="b.y")))


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"work": 0.1}, Work),
        ({"call": "payment.charge"}, Call),
        ({"publish": "mails"}, Publish),
        ({"fail": "30 %"}, Fail),
        ({"fail": 0.3, "work": "5ms"}, Fail),
        ({"parallel": []}, Parallel),
        ({"repeat": [{"work": 0.1}], "count": 2}, Repeat),
    ],
)
def test_a_step_is_known_by_its_key(step, kind):
    scenario = Scenario.model_validate(
        {
            "services": {
                "a": {"workers": 1, "operations": {"x": [step]}},
                "payment": {"workers": 1, "operations": {"charge": []}},
            },
            "queues": {"mails": {"consumer": "payment.charge"}},
            "load": {"rate": 1, "mix": "a.x"},
        }
    )
    assert type(scenario.services["a"].operations["x"].steps[0]) is kind


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"rate": 1}, Poisson),
        ({"kind": "constant", "rate": "60/min"}, Even),
        ({"kind": "steps", "points": [{"at": 0, "rate": 1}, {"at": "5s", "rate": 2}]}, Steps),
        ({"kind": "ramp", "points": [{"at": 0, "rate": 0}, {"at": "5s", "rate": 2}]}, Ramp),
        ({"kind": "spike", "rate": 1, "peak": 5, "at": "5s", "for": "2s"}, Spike),
        ({"kind": "daily", "rate": 1}, Daily),
        ({"kind": "closed", "users": 3, "think": {"exponential": "1s"}}, Closed),
        ({"kind": "replay", "times": [0, 1, 1, 4]}, Replay),
    ],
)
def test_loads(fields, kind):
    load = shop(load={"mix": "shop.buy", **fields}).load
    assert type(load) is kind
    assert load.mix == {"shop.buy": 1.0}


def test_named_laws_are_used_wherever_a_law_is_asked_for():
    services = {"a": {"workers": 1, "operations": {"x": [{"work": "slow"}, {"fail": 0.1, "work": "slow"}]}}}
    scenario = Scenario(
        laws={"slow": {"exponential": "1s"}},
        services=services,
        links={"default": {"latency": "slow"}},
        load={"kind": "closed", "users": 1, "think": "slow", "mix": "a.x"},
    )
    work, fail = scenario.services["a"].operations["x"].steps
    assert work.work == fail.work == scenario.load.think == scenario.links["default"].latency == Exponential(1.0)


def test_steps_are_found_inside_branches_and_rounds():
    rounds = Repeat(repeat=({"call": "b.y"}, {"work": 1.0}), count=2)
    steps = (Work(work=1.0), Parallel(parallel=(({"call": "a.x"}, {"fail": 0.5}), {"publish": "q"})), rounds)
    assert [path for path, _ in steps_of(steps, "p")] == [
        "p[0]",
        "p[1]",
        "p[1].parallel[0][0]",
        "p[1].parallel[0][1]",
        "p[1].parallel[1][0]",
        "p[2]",
        "p[2].repeat[0]",
        "p[2].repeat[1]",
    ]
    assert list(operations_of(shop())) == ["shop.buy", "payment.charge", "payment.refund", "email.send"]


# --- call policies and links ----------------------------------------------------------------------------------


def test_narrow_selectors_override_wide_ones_field_by_field():
    scenario = shop(
        calls={
            "shop -> payment.charge": {"retry": {"backoff": {"jitter": "full"}}},
            "default": {"timeout": 10, "retry": {"max_attempts": 2, "backoff": {"base": 0.1}}},
            "payment": {"timeout": 5, "balancing": "random"},
            "payment.charge": {"timeout": 4},
            "shop -> payment": {"timeout": 3, "per_try_timeout": 1},
        }
    )
    found = scenario.policy("shop", "payment.charge")
    assert (found.timeout, found.per_try_timeout, found.balancing.kind) == (3, 1, "random")
    assert (found.retry.max_attempts, found.retry.backoff.base, found.retry.backoff.jitter) == (2, 0.1, "full")
    assert scenario.policy("client", "payment.charge").timeout == 4
    assert scenario.policy("client", "payment.refund").timeout == 5
    assert scenario.policy("shop", "mails").timeout == 10


def test_a_narrow_selector_can_go_back_to_the_default():
    scenario = shop(
        calls={
            "default": {"timeout": 1, "cancellation": True, "retry": {"max_attempts": 5}},
            "payment": {"timeout": None, "cancellation": False, "retry": {"max_attempts": 1}},
        }
    )
    found = scenario.policy("shop", "payment.charge")
    assert (found.timeout, found.cancellation, found.retry.max_attempts) == (None, False, 1)


def test_selectors_forgive_spaces():
    scenario = shop(calls={"shop->payment": {"timeout": 3}}, links={"shop   ->   payment": "1ms"})
    assert scenario.policy("shop", "payment.charge").timeout == 3
    assert scenario.link("payment", "shop").latency == Constant(0.001)


def test_links_are_the_same_both_ways_and_the_pair_wins():
    scenario = shop(
        links={"default": "4ms", "payment": "3ms", "email": "2ms", "shop -> payment": {"latency": "1ms", "loss": "1 %"}}
    )
    assert scenario.link("shop", "payment") == scenario.link("payment", "shop") == Link(latency=0.001, loss=0.01)
    assert scenario.link("payment", "client").latency == Constant(0.003)
    assert scenario.link("mails", "email").latency == scenario.link("email", "mails").latency == Constant(0.002)
    assert scenario.link("client", "shop").latency == Constant(0.004)


# --- cross-checks: each message names the place and the cure --------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"load": {"rate": 1, "mix": "shop.by"}}, "load.mix.shop.by: no operation 'shop.by'; did you mean 'shop.buy'?"),
        ({"queues": {"mails": {"consumer": "email.sent"}}}, "queues.mails.consumer: no operation 'email.sent'; did you mean"),
        ({"queues": {}}, "services.shop.operations.buy.steps[2].publish: no queue, topic or log 'mails'"),
        ({"queues": {**MAILS, "shop": {"consumer": "email.send"}}}, "queues.shop: a service has this name"),
        ({"calls": {"mails": {"cache": {"max_age": 1}}}}, "calls.mails.cache: mails is a queue"),
        ({"calls": {"mails": {"hedging": {"delay": 0}}}}, "calls.mails.hedging: mails is a queue"),
        ({"calls": {"paymnt": {"timeout": 1}}}, "calls.paymnt: no service, operation or queue 'paymnt'; did you mean 'payment'?"),
        ({"calls": {"shp -> payment": {"timeout": 1}}}, "calls.shp -> payment: no caller 'shp'; did you mean 'shop'?"),
        ({"links": {"shop -> x": "1ms"}}, "links.shop -> x: no service, queue, registry or proxy 'x'; known: client,"),
        ({"faults": [{"link": "mars", "at": 1, "partition": True}]}, "no service, queue, registry or proxy 'mars'"),
        ({"faults": [{"crash": "paymet", "at": 1}]}, "faults[0].crash: no service or proxy 'paymet'; did you mean 'payment'?"),
        ({"faults": [{"slow": "payment.charge", "factor": 2, "at": 1}]}, "is not a name"),
        ({"faults": [{"errors": "payment.chrge", "ratio": 0.1, "at": 1}]}, "faults[0].errors: no service or operation"),
        ({"faults": [{"outage": "mail", "at": 1}]}, "no queue, log, registry, broker or store 'mail'; did you mean 'mails'?"),
        ({"faults": [{"crash": "shop", "at": 1, "replica": 2}]}, "faults[0].replica: shop has replicas 0 to 1, not 2"),
        ({"faults": [{"crash": "shop", "at": 1, "replica": "each"}]}, "each needs mtbf and mttr"),
        ({"faults": [{"crash": "shop"}]}, "a fault needs either at (and for), or mtbf and mttr"),
        ({"faults": [{"crash": "shop", "at": 1, "mtbf": 5, "mttr": 1}]}, "a fault needs either"),
        ({"faults": [{"explode": "shop", "at": 1}]}, "write one of crash, stop, slow, pause, errors, link, outage, flush"),
        ({"slos": ["p99 of shop.by <= 1s"]}, "slos[0]: no operation 'shop.by'; did you mean 'shop.buy'?"),
        ({"slos": ["p99 is good"]}, "is not an objective; write for example"),
        ({"load": {"kind": "wave", "rate": 1, "mix": "shop.buy"}}, "kind is not known; write one of poisson"),
        ({"load": {"rate": 1, "mix": {"shop.buy": 0}}}, "not all zero"),
        ({"load": {"rate": 0, "mix": "shop.buy"}}, "must be positive"),
        ({"load": {"kind": "steps", "mix": "shop.buy", "points": [{"at": 1, "rate": 1}]}}, "the first must be at 0s"),
        ({"load": {"kind": "steps", "mix": "shop.buy", "points": [{"at": 0, "rate": 1}] * 2}}, "times must rise, got 0 s, 0 s"),
        ({"load": {"kind": "replay", "mix": "shop.buy", "times": [2, 1]}}, "times must not fall"),
        ({"load": {"kind": "replay", "mix": "shop.buy", "times": "a.csv"}}, "has not been read"),
        ({"services": {}}, "at least 1"),
        ({"services": {"client": {"workers": 1, "operations": {"x": []}}}}, "'client' and 'default' are reserved"),
        ({"services": {"a": {"workers": 0, "operations": {"x": []}}}}, "greater than or equal to 1"),
        ({"services": {"a": {"workers": 1, "operations": {"x": [{"wrk": 1}]}}}}, "is not a step; write one of work"),
        ({"services": {"a": {"workers": 1, "operations": {"x": [{"call": "ab"}]}}}}, "write service.operation"),
        ({"services": {"a": {"workers": 1, "operations": {"x": [{"fail": 1.5}]}}}}, "between 0 and 100 %"),
        ({"services": {"a b": {"workers": 1, "operations": {"x": []}}}}, "'a b' is not a name"),
        ({"run": {"duration": 0}}, "must be positive"),
        ({"run": {"lenght": 5}}, "run.lenght: Extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_contradictions_are_named_with_place_and_cure(changes, expected):
    assert expected in problems(**changes)


def test_all_problems_at_once():
    found = problems(load={"rate": 1, "mix": "shop.by"}, calls={"paymnt": {"timeout": 1}}, faults=[{"outage": "x", "at": 1}])
    assert all(word in found for word in ("shop.by", "paymnt", "outage"))


@pytest.mark.parametrize("inside", [False, True])
def test_a_circle_of_calls_is_refused(inside):
    def to(address):
        call = {"call": address}
        return [{"parallel": [[{"work": 1}, call]]}] if inside else [call]

    services = {
        name: {"workers": 1, "operations": {"x": to(following)}} for name, following in (("a", "b.x"), ("b", "c.x"), ("c", "a.x"))
    }
    assert "a.x → b.x → c.x → a.x is a circle of calls" in problems(services=services, queues={}, load={"rate": 1, "mix": "a.x"})


def test_a_diamond_is_not_a_circle():
    services = {
        "a": {"workers": 1, "operations": {"x": [{"call": "b.x"}, {"call": "c.x"}]}},
        "b": {"workers": 1, "operations": {"x": [{"call": "d.x"}]}},
        "c": {"workers": 1, "operations": {"x": [{"call": "d.x"}]}},
        "d": {"workers": 1, "operations": {"x": []}},
    }
    assert len(shop(services=services, queues={}, load={"rate": 1, "mix": "a.x"}).services) == 4


# --- a value --------------------------------------------------------------------------------------------------


def test_frozen_and_equal_by_content():
    assert shop() == shop()
    assert hash(shop()) == hash(shop())
    with pytest.raises(ValidationError, match="frozen"):
        shop().name = "other"


def test_survives_pickling_and_json():
    scenario = shop(
        calls={"payment": {"timeout": 1, "retry": {"max_attempts": "unlimited", "on": ["timeout"]}}},
        faults=[
            {"crash": "shop", "at": 1, "for": 2, "replica": 1},
            {"link": "shop -> payment", "mtbf": 5, "mttr": 1, "loss": 0.5},
        ],
        slos=["p99 <= 300ms", "effect completeness of email.send >= 99 %"],
        load={"kind": "spike", "mix": {"shop.buy": 3, "payment.refund": 1}, "rate": 1, "peak": 9, "at": 5, "for": 2},
    )
    assert pickle.loads(pickle.dumps(scenario)) == scenario
    text = json.dumps(scenario.as_data())
    again = Scenario.model_validate(json.loads(text))
    assert again == scenario
    assert again.hash == scenario.hash


def test_the_hash_names_what_influences_rows():
    base = shop()
    for same in (
        {"name": "other"},
        {"question": "why?"},
        {"slos": ["p99 <= 1s"]},
        {"run": {"replications": 99}},
        {"run": {"duration": 60}},
    ):
        assert shop(**same).hash == base.hash, same
    different = [
        shop(load={"rate": 11, "mix": "shop.buy"}),
        shop(run={"duration": 61}),
        shop(run={"seed": 2}),
        shop(calls={"payment": {"timeout": 1}}),
        shop(links={"default": "1ms"}),
        shop(faults=[{"crash": "shop", "at": 1}]),
        shop(queues={"mails": {"consumer": "email.send", "max_deliveries": 3}}),
    ]
    assert len({s.hash for s in [base, *different]}) == len(different) + 1


def test_the_hash_is_the_same_in_every_process():
    # Twelve digits of SHA-256, not Python's salted hash.
    assert shop().hash == Scenario.model_validate(json.loads(json.dumps(shop().as_data()))).hash
    assert len(shop().hash) == 12
    assert set(shop().hash) <= set("0123456789abcdef")


def test_a_comparison_goes_through_conditions_then_candidates():
    one, two = shop(name="one"), shop(name="two")
    comparison = Comparison(candidates={"sync": {"calm": one, "storm": one}, "async": {"calm": two, "storm": two}})
    assert comparison.conditions == ("calm", "storm")
    assert [(c, k) for k, c, _ in comparison.scenarios()] == [
        ("calm", "sync"),
        ("calm", "async"),
        ("storm", "sync"),
        ("storm", "async"),
    ]


# --- laws as data ---------------------------------------------------------------------------------------------

TIMES = st.floats(1e-6, 1e4)
SIMPLE_LAWS = st.one_of(
    st.builds(Constant, st.floats(0, 1e6)),
    st.builds(Exponential, TIMES),
    st.builds(lambda low, width: Uniform(low, low + width), st.floats(0, 10), st.floats(0, 10)),
    st.builds(Lognormal, TIMES, st.floats(0.01, 50)),
    st.builds(Erlang, st.integers(1, 1000), TIMES),
    st.builds(Hyperexponential.from_mean, TIMES, st.floats(1, 50)),
    st.builds(lambda shape, low, ratio: Pareto(shape, low, low * ratio), st.floats(0.1, 10), TIMES, st.floats(1.01, 1e4)),
    st.lists(st.floats(0, 10), min_size=2, max_size=8).map(
        lambda values: Quantiles(tuple(i / (len(values) - 1) for i in range(len(values))), tuple(sorted(values)))
    ),
)
ALL_LAWS = st.one_of(
    SIMPLE_LAWS,
    st.lists(st.tuples(st.floats(0.01, 1), SIMPLE_LAWS), min_size=1, max_size=4).map(
        lambda parts: Mixture(tuple(w for w, _ in parts), tuple(law for _, law in parts))
    ),
)


@given(ALL_LAWS)
def test_a_law_written_as_data_reads_back_equal(law):
    data = json.loads(json.dumps(dump_law(law)))
    again = parse_law(data, NoContext)
    assert again == law
    assert [again.draw(bits) for bits in (1, 2**40, 2**63)] == [law.draw(bits) for bits in (1, 2**40, 2**63)]


@given(ALL_LAWS)
def test_a_law_survives_inside_a_scenario(law):
    services = {"a": {"workers": 1, "operations": {"x": [{"work": law}]}}}
    scenario = Scenario(services=services, load={"rate": 1, "mix": "a.x"})
    again = Scenario.model_validate_json(scenario.model_dump_json(by_alias=True))
    assert again.services["a"].operations["x"].steps[0].work == law


@pytest.mark.parametrize(
    ("data", "law"),
    [
        ("20ms", Constant(0.02)),
        (0.02, Constant(0.02)),
        ({"constant": "20ms"}, Constant(0.02)),
        ({"exponential": "20ms"}, Exponential(0.02)),
        ({"exponential": {"mean": "20ms"}}, Exponential(0.02)),
        ({"uniform": {"low": "10ms", "high": "30ms"}}, Uniform(0.01, 0.03)),
        ({"lognormal": {"mean": "20ms", "cv": 2}}, Lognormal(0.02, 2)),
        ({"lognormal": {"p50": "10ms", "p99": "80ms"}}, Lognormal.from_percentiles({0.5: 0.01, 0.99: 0.08})),
        ({"erlang": {"k": 4, "mean": "20ms"}}, Erlang(4, 0.02)),
        ({"hyperexponential": {"mean": "20ms", "cv": 2}}, Hyperexponential.from_mean(0.02, 2)),
        ({"pareto": {"shape": 1.5, "minimum": "5ms", "maximum": "2s"}}, Pareto(1.5, 0.005, 2)),
        (
            {"mixture": [{"weight": "90 %", "law": "5ms"}, {"weight": "10 %", "law": {"exponential": "100ms"}}]},
            Mixture((0.9, 0.1), (Constant(0.005), Exponential(0.1))),
        ),
        ({"quantiles": {"p0": "2ms", "p50": "5ms", "p100": "90ms"}}, Quantiles((0, 0.5, 1), (0.002, 0.005, 0.09))),
        ({"quantiles": ["1ms", "2ms", "4ms"]}, Quantiles((0, 0.5, 1), (0.001, 0.002, 0.004))),
    ],
)
def test_laws_as_people_write_them(data, law):
    assert parse_law(data, NoContext) == law


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("fast", "'fast' is not a duration; write for example"),
        ({"gauss": 1}, "'gauss' is not a law; known laws: constant, uniform, exponential"),
        ({"exponential": 1, "cv": 2}, "is not a law; write one key"),
        ([], "is not a law"),
        ({"lognormal": "20ms"}, "lognormal needs"),
        ({"lognormal": {"mean": "20ms"}}, "lognormal misses cv"),
        ({"lognormal": {"p50": "20ms"}}, "two percentiles"),
        ({"lognormal": {"mean": "20ms", "sigma": 2}}, "lognormal does not know sigma"),
        ({"erlang": {"k": 0, "mean": 1}}, "k = 0"),
        ({"erlang": {"k": "4", "mean": 1}}, "k = '4'"),
        ({"uniform": {"low": "3s", "high": "1s"}}, "low = 3, high = 1"),
        ({"mixture": "5ms"}, "a list of weight and law"),
        ({"mixture": [{"law": "5ms"}]}, "mixture misses weight"),
        ({"quantiles": ["1ms"]}, "at least two values"),
        ({"quantiles": {"p50": 1, "p100": 2}}, "first quantile must be 0"),
        ({"exponential": "-5ms"}, "must be zero or more"),
        ({"exponential": "0 s"}, "must be positive"),
    ],
)
def test_bad_laws_teach(data, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared as plain text below
        parse_law(data, NoContext)
    assert message in str(caught.value)
