"""Calibration: traces with a known answer become the system that they came from."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_shop import LINK_S, UNLIMITED, shop_trace, simulated_system
from spans_of import Trace, frame, spans_of_run

from sim.errors import ScenarioError
from sim.interop.calibrate import calibrate, compare_pages, recorded_pages
from sim.interop.fitting import law_of, one_way_s, quantiles_of
from sim.interop.order import template_of
from sim.interop.replay import replay
from sim.interop.written import yaml_text
from sim.scenario.model import Scenario
from sim.single import run

# ---------------------------------------------------------------- traces that can be counted on fingers


def test_a_trace_becomes_services_steps_work_and_links():
    recorded = frame([row for n in range(5) for row in shop_trace(n)])
    data = calibrate(recorded, name="shop").data
    assert data["load"] == {"rate": "1/s", "mix": {"shop.Buy": 5}}
    assert data["services"] == {
        "shop": {
            "workers": "unlimited",
            "operations": {
                "Buy": [
                    {"work": "10.0ms"},
                    {"call": "cart.Get", "count": 2},
                    {"parallel": [[{"call": "stock.Check"}], [{"call": "price.Ask"}]]},
                ]
            },
        },
        "cart": {"workers": "unlimited", "operations": {"Get": [{"work": "3.00ms"}]}},
        "stock": {"workers": "unlimited", "operations": {"Check": [{"work": "6.00ms"}]}},
        "price": {"workers": "unlimited", "operations": {"Ask": [{"work": "5.00ms"}]}},
    }
    assert data["links"] == {"shop -> cart": "1.00ms", "shop -> stock": "1.00ms", "shop -> price": "1.00ms"}


def test_the_simulation_of_a_constant_trace_takes_as_long_as_the_trace():
    calibration = calibrate(frame([row for n in range(5) for row in shop_trace(n)]))
    simulated = run(calibration.scenario).requests
    assert (simulated.ended_s - simulated.arrived_s).to_numpy() == pytest.approx(0.028)
    assert calibration.recorded.latency_s.to_numpy() == pytest.approx(0.028)
    assert calibration.recorded.arrived_s.tolist() == [0, 1, 2, 3, 4]


def test_clocks_of_pods_may_differ():
    straight = calibrate(frame([row for n in range(5) for row in shop_trace(n)]), name="shop")
    skewed = calibrate(frame([row for n in range(5) for row in shop_trace(n, skew_ms=400)]), name="shop")
    assert skewed.data == straight.data


def in_a_row(number, targets):
    trace = Trace(f"r{number}", 1000 * number)
    root = trace.add("root", "shop", "Buy", 0, 10 * len(targets))
    for i, target in enumerate(targets):
        service, operation = target.split(".")
        trace.call(root, "shop", service, operation, 10 * i, 10 * i + 10)
    return trace.rows


def steps_of_rows(*sequences):
    recorded = frame([row for n, targets in enumerate(sequences) for row in in_a_row(n, targets)])
    return calibrate(recorded).data["services"]["shop"]["operations"]["Buy"]


def test_calls_that_alternate_become_rounds():
    look, ask, pay = "stock.Look", "price.Ask", "bank.Pay"
    rounds = {"repeat": [{"call": look}, {"call": ask}]}
    assert steps_of_rows([look, ask] * 3 + [pay], [look, ask] * 3 + [pay]) == [{**rounds, "count": 3}, {"call": pay}]
    assert steps_of_rows([pay] + [look, ask] * 3, [pay] + [look, ask] * 2, [pay, look, ask]) == [
        {"call": pay},
        {**rounds, "count": {1: 1, 2: 1, 3: 1}},
    ]
    # A loop that ends in the middle: ask, (look, ask) ..., which is (ask, look) ..., ask.
    sequences = [[pay, ask] + [look, ask] * n for n in (1, 2, 2)]
    assert steps_of_rows(*sequences) == [
        {"call": pay},
        {"repeat": [{"call": ask}, {"call": look}], "count": {1: 1, 2: 2}},
        {"call": ask},
    ]
    assert steps_of_rows([look, ask], [look, ask]) == [{"call": look}, {"call": ask}]


def test_calls_to_one_target_at_two_places_are_two_steps():
    look, ask = "stock.Look", "price.Ask"
    assert steps_of_rows([look, ask, look, look], [look, ask, look]) == [
        {"call": look},
        {"call": ask},
        {"call": look, "count": {1: 1, 2: 1}},
    ]
    # Where it varies how many places there are, they count at the first one.
    assert steps_of_rows([look, ask, look], [look, ask], [look, ask]) == [
        {"call": look, "count": {1: 2, 2: 1}},
        {"call": ask},
    ]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=12), min_size=1, max_size=6))
def test_a_template_has_all_calls_of_every_visit(sequences):
    parts = template_of(sequences)
    for i, sequence in enumerate(sequences):
        calls = Counter(target for part in parts for target in part.round * part.times[i])
        assert calls == Counter(sequence)


def test_counts_that_vary_become_weights_and_rare_calls_probabilities():
    rows = [row for n, carts in enumerate([1, 1, 2, 3]) for row in shop_trace(n, carts=carts)]
    steps = calibrate(frame(rows)).data["services"]["shop"]["operations"]["Buy"]
    assert steps[1] == {"call": "cart.Get", "count": {1: 2, 2: 1, 3: 1}}
    by_half = []
    for n in range(6):
        trace = Trace(f"t{n}", 100 * n)
        root = trace.add("root", "web", "Page", 0, 20)
        server = trace.call(root, "web", "shop", "Buy", 0, 20)
        if n % 2:
            trace.call(server, "shop", "cart", "Get", 5, 10)
        by_half += trace.rows
    operations = calibrate(frame(by_half)).data["services"]["shop"]["operations"]
    assert operations["Buy"][1] == {"call": "cart.Get", "probability": "50 %"}


def test_calls_to_one_operation_at_the_same_time_are_in_parallel():
    rows = []
    for n in range(4):
        trace = Trace(f"t{n}", 100 * n)
        root = trace.add("root", "web", "Page", 0, 30)
        for _ in range(3):
            trace.call(root, "web", "shop", "Buy", 10, 30)
        rows += trace.rows
    operations = calibrate(frame(rows)).data["services"]["web"]["operations"]
    assert operations["Page"] == [{"work": "10.0ms"}, {"call": "shop.Buy", "count": 3, "in_parallel": True}]


def page(number, targets, begin_ms, call_ms=4.0):
    trace = Trace(f"p{number}", begin_ms)
    root = trace.add("root", "web", "Web/Recv.", 0, 1 + call_ms * len(targets))
    for i, target in enumerate(targets):
        trace.call(root, "web", "back", target, 1 + call_ms * i, 1 + call_ms * (i + 1))
    return trace.rows


PAGES = {
    "list": ["GetCart", "ListItems"],
    "item": ["GetCart", "GetItem"],
    "both": ["GetCart", "GetItem", "ListItems"],
    "none": [],
}


def shop_of_pages(times=10):
    kinds = list(PAGES.values())
    rows = [row for n in range(len(kinds) * times) for row in page(n, kinds[n % len(kinds)], 50 * n)]
    return frame(rows)


def test_pages_are_told_apart_by_what_they_call():
    mix = calibrate(shop_of_pages()).data["load"]["mix"]
    assert mix == {
        "web.get_cart_and_list_items_only": 10,
        "web.get_cart_and_get_item_only": 10,
        "web.get_item_and_list_items": 10,
        "web.no_calls": 10,
    }
    renamed = calibrate(shop_of_pages(), page_names={"no_calls": "health"})
    assert "web.health" in renamed.data["load"]["mix"]
    assert set(renamed.recorded.page) == set(renamed.data["load"]["mix"])
    with pytest.raises(ScenarioError, match="no page nonsense to rename; found get_cart_and_get_item_only"):
        calibrate(shop_of_pages(), page_names={"nonsense": "home"})
    with pytest.raises(ScenarioError, match=r"two pages would be called web\.x"):
        calibrate(shop_of_pages(), page_names={"no_calls": "x", "get_item_and_list_items": "x"})


def test_a_rare_kind_joins_a_similar_page_or_is_left_out_with_a_warning():
    common = shop_of_pages()
    odd = frame([*page(900, ["GetCart", "GetItem", "Ads"], 90_000), *page(901, ["Ads"], 90_100)])
    calibration = calibrate(pd.concat([common, odd]))
    assert calibration.data["load"]["mix"]["web.get_cart_and_get_item_only"] == 11
    assert any("1 traces of rare kinds" in warning for warning in calibration.warnings)


def test_another_recording_is_read_with_the_pages_of_a_scenario():
    calibration = calibrate(shop_of_pages(), page_names={"no_calls": "health"})
    again = recorded_pages(shop_of_pages(times=3), calibration.scenario)
    assert again.page.value_counts().to_dict() == dict.fromkeys(calibration.scenario.load.mix, 3)


def test_an_operation_gets_a_variant_for_a_page_where_its_work_clearly_differs():
    slow = [row for n in range(40) for row in page(n, ["GetCart", "ListItems"], 50 * n, call_ms=9)]
    fast = [row for n in range(40, 80) for row in page(n, ["GetCart", "GetItem"], 50 * n, call_ms=4)]
    calibration = calibrate(frame(slow + fast))
    back = calibration.data["services"]["back"]["operations"]
    assert back["GetCart-list_items"] == [{"work": "7.00ms"}]
    assert back["GetCart-get_item"] == [{"work": "2.00ms"}]
    web = calibration.data["services"]["web"]["operations"]
    assert {"call": "back.GetCart-list_items"} in web["list_items"]
    again = recorded_pages(frame(fast), calibration.scenario)
    assert set(again.page) == {"web.get_item"}


def test_few_traces_make_no_variant():
    slow = [row for n in range(20) for row in page(n, ["GetCart", "ListItems"], 50 * n, call_ms=9)]
    fast = [row for n in range(20, 40) for row in page(n, ["GetCart", "GetItem"], 50 * n, call_ms=4)]
    assert set(calibrate(frame(slow + fast)).data["services"]["back"]["operations"]) == {"GetCart", "ListItems", "GetItem"}


def lost_context(number):
    trace = Trace(f"t{number}", 100 * number)
    root = trace.add("root", "shop", "Buy", 0, 30)
    trace.call(root, "shop", "rates", "Convert", 0, 10)
    trace.add(root, "shop", "Shop/ConvertCurrency", 10, 25)
    return trace.rows


def test_a_call_whose_callee_left_no_span_can_be_named():
    recorded = frame([row for n in range(5) for row in lost_context(n)])
    plain = calibrate(recorded).data["services"]["shop"]["operations"]["Buy"]
    assert plain == [{"work": "20.0ms"}, {"call": "rates.Convert"}]
    named = calibrate(recorded, unrecorded={"shop.ConvertCurrency": "rates.Convert"})
    assert named.data["services"]["shop"]["operations"]["Buy"] == [{"work": "5.00ms"}, {"call": "rates.Convert", "count": 2}]
    assert "shop.ConvertCurrency are calls of rates.Convert" in named.to_yaml()
    with pytest.raises(ScenarioError, match=r"shop\.Nothing match no span"):
        calibrate(recorded, unrecorded={"shop.Nothing": "rates.Convert"})
    with pytest.raises(ScenarioError, match=r"lead to rates\.Konvert, which was never recorded; known: rates\.Convert"):
        calibrate(recorded, unrecorded={"shop.ConvertCurrency": "rates.Konvert"})


def test_a_callee_without_a_client_span_is_a_call_without_network():
    rows = []
    for n in range(3):
        trace = Trace(f"t{n}", 100 * n)
        root = trace.add("root", "shop", "Buy", 0, 30)
        trace.add(root, "cart", "Get", 10, 20)
        rows += trace.rows
    data = calibrate(frame(rows)).data
    assert data["services"]["shop"]["operations"]["Buy"] == [{"work": "20.0ms"}, {"call": "cart.Get"}]
    assert data["links"] == {"shop -> cart": "0ms"}


def test_pods_of_one_service_are_its_replicas():
    rows = [(f"t{n}", f"s{n}", "root", f"shop-668d5f85fb-aaaa{n % 3}", "Buy", 10 * n, 10 * n + 5) for n in range(6)]
    assert calibrate(frame(rows)).data["services"]["shop"]["replicas"] == 3


# ---------------------------------------------------------------- laws


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=40))
def test_a_law_of_few_values_keeps_their_mean(values):
    assert Scenario.model_validate(one_work(law_of(values))).services["s"].operations["o"].steps[0].work.mean == pytest.approx(
        np.mean(values), rel=0.005
    )


def one_work(law):
    return {"services": {"s": {"workers": 1, "operations": {"o": [{"work": law}]}}}, "load": {"rate": 1, "mix": "s.o"}}


def test_a_law_of_many_values_keeps_their_quantiles():
    values = np.random.default_rng(3).lognormal(-5, 1, 5000)
    probabilities, quantiles = quantiles_of(values)
    assert 20 <= len(quantiles) <= 40
    asked = np.array([0.3, 0.5, 0.77, 0.9, 0.97, 0.99])
    assert np.interp(asked, probabilities, quantiles) == pytest.approx(np.quantile(values, asked), rel=0.02)


def test_two_ways_have_the_mean_and_variance_of_the_round_trip():
    rng = np.random.default_rng(4)
    trips = rng.gamma(9, 0.0003, 20_000)
    ways = one_way_s(trips)
    assert 2 * ways.mean() == pytest.approx(trips.mean(), rel=1e-9)
    assert 2 * ways.var() == pytest.approx(trips.var(), rel=0.02)
    assert ways.min() >= 0


def test_beyond_the_ninetieth_percentile_it_is_waiting_at_the_callee_not_network():
    rows = []
    for n in range(100):
        trace = Trace(f"t{n}", 100 * n)
        late_ms = 50.0 if n % 20 == 0 else 0.0  # five in a hundred wait in front of the handler
        root = trace.add("root", "shop", "Buy", 0, 10 + late_ms)
        trace.call(root, "shop", "cart", "Get", 0, 10 + late_ms, network_ms=2 + late_ms)
        rows += trace.rows
    calibration = calibrate(frame(rows))
    assert calibration.data["links"] == {"shop -> cart": "1.00ms"}
    work = calibration.scenario.services["cart"].operations["Get"].steps[0].work
    assert work.mean == pytest.approx(0.008 + 0.05 * 0.050, rel=0.1)


# ---------------------------------------------------------------- a system with a known answer, recorded and calibrated


def test_a_simulated_recording_calibrates_back_to_the_system_it_came_from():
    truth = simulated_system(UNLIMITED)
    calibration = calibrate(spans_of_run(run(truth, 1), LINK_S))
    assert not calibration.throttled
    again = calibration.scenario
    assert again.load.rate == pytest.approx(12, rel=0.1)
    for service in ("stock", "rates"):
        (name,) = truth.services[service].operations
        known, found = (s.services[service].operations[name].steps[0].work for s in (truth, again))
        assert found.mean == pytest.approx(known.mean, rel=0.06)
        assert found.variance**0.5 == pytest.approx(known.variance**0.5, rel=0.15)
    pages = compare_pages(calibration.recorded, run(again, 2).requests)
    assert len(pages) == 2
    assert pages.median_error_percent.abs().max() < 5
    assert pages.p90_error_percent.abs().max() < 8


def test_recorded_arrivals_can_be_replayed():
    calibration = calibrate(spans_of_run(run(simulated_system(UNLIMITED), 1), LINK_S))
    requests = replay(calibration.scenario, calibration.recorded, 5).requests
    assert requests.arrived_s.to_numpy() == pytest.approx(calibration.recorded.arrived_s.to_numpy())
    assert requests.entry.astype(str).tolist() == calibration.recorded.page.tolist()
    assert (requests.outcome == "ok").all()
    with pytest.raises(ScenarioError, match=r"shop\.sell is no entry of the scenario; known: shop"):
        replay(calibration.scenario, calibration.recorded.assign(page="shop.sell"))
    with pytest.raises(ScenarioError, match="no traces to replay"):
        replay(calibration.scenario, calibration.recorded[:0])


# ---------------------------------------------------------------- recorded against simulated


def requests(page, latencies, outcome="ok", arrived_s=100.0):
    return pd.DataFrame(
        {"entry": page, "arrived_s": arrived_s, "ended_s": [arrived_s + x for x in latencies], "outcome": outcome}
    )


def test_errors_are_percent_of_what_was_recorded():
    recorded = pd.DataFrame({"page": ["s.a"] * 5 + ["s.b"], "latency_s": [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]})
    simulated = pd.concat([
        requests("s.a", [3.3, 3.3, 3.3]),
        requests("s.a", [99.0], outcome="timeout"),
        requests("s.a", [99.0], arrived_s=1.0),
        requests("s.a", [99.0], arrived_s=200.0),
    ])  # fmt: skip
    table = compare_pages(recorded, simulated, since_s=50, until_s=200).set_index("page")
    assert table.loc["s.a", ["traces", "requests"]].tolist() == [5, 3]
    assert table.loc["s.a", "recorded_median_s"] == 3.0
    assert table.loc["s.a", "median_error_percent"] == pytest.approx(10)
    assert table.loc["s.a", "recorded_p90_s"] == pytest.approx(4.6)
    assert table.loc["s.a", "p90_error_percent"] == pytest.approx(100 * (3.3 / 4.6 - 1))
    assert table.loc["s.b", "requests"] == 0
    assert np.isnan(table.loc["s.b", "simulated_median_s"])


def test_the_interval_of_a_recorded_percentile_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(7)
    covered = {"median": 0, "p90": 0}
    truth = {"median": np.log(2), "p90": np.log(10)}
    nothing = requests("s.a", [])
    for _ in range(300):
        row = compare_pages(pd.DataFrame({"page": "s.a", "latency_s": rng.exponential(1, 80)}), nothing).iloc[0]
        for label, value in truth.items():
            covered[label] += row[f"recorded_{label}_low_s"] <= value <= row[f"recorded_{label}_high_s"]
    assert all(275 <= count <= 300 for count in covered.values()), covered


# ---------------------------------------------------------------- YAML


def test_what_yaml_would_misread_is_quoted():
    data = {"name": "no", "question": "is it: 3 # or 4?", "services": {"on": {"x": "1e3", "y": "- z", "w": ["50 %", True]}}}
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load(yaml_text(data, {("services", "on"): "why\nand how"})) == data
