"""What a sweep turns: paths into a scenario, values as they are written, points as they are combined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim.errors import ScenarioError
from sim.scenario.schema import Shape
from sim.scenario.settings import Template, template_of, templates_of
from sim.study.points import axis_of, grid, in_columns, sampled, settings_from_text, side_by_side

ROOT = Path(__file__).parents[1]

SHOP = """\
laws: {slow: {exponential: 30ms}}
services:
  shop: {replicas: 2, workers: 4, queue: 100, operations: {buy: [{work: 8ms}, {call: payment.charge}]}}
  payment: {workers: 8, operations: {charge: [{work: slow}, {fail: 0.5 %}]}}
calls: {shop -> payment: {per_try_timeout: 200ms, retry: {max_attempts: 3}}}
load: {rate: 20/s, mix: {shop.buy: 3, payment.charge: 1}}
faults: [{crash: payment, at: 2s, for: 1s}]
run: {duration: 5s}
"""
WHOLE = Shape(int)


@pytest.fixture
def shop(tmp_path: Path) -> Template:
    (tmp_path / "shop.yaml").write_text(SHOP)
    _, templates = templates_of(tmp_path / "shop.yaml")
    return next(iter(templates.values()))


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("services.shop.replicas", 3, lambda s: s.services["shop"].replicas),
        ("services.payment.replicas", 3, lambda s: s.services["payment"].replicas),  # a default until now
        ("services.shop.queue.capacity", 3, lambda s: s.services["shop"].queue.capacity),  # written in shorthand
        ("services.shop.operations.buy[0].work", "3s", lambda s: s.services["shop"].operations["buy"].steps[0].work.mean),
        ("services.shop.operations.buy.steps[0].work", "3s", lambda s: s.services["shop"].operations["buy"].steps[0].work.mean),
        ("laws.slow.exponential", "3s", lambda s: s.services["payment"].operations["charge"].steps[0].work.mean),
        ("faults[0].for", "3s", lambda s: s.faults[0].for_),
        ("run.warmup", "3s", lambda s: s.run.warmup),
        ("load.rate", "3/s", lambda s: s.load.rate),
        ("load.mix.payment.charge", 3, lambda s: s.load.mix["payment.charge"]),
        ("calls.shop -> payment.retry.max_attempts", 3, lambda s: s.policy("shop", "payment.charge").retry.max_attempts),
        ("calls.shop->payment.timeout", "3s", lambda s: s.policy("shop", "payment.charge").timeout),
        ("calls.shop -> payment.charge.timeout", "3s", lambda s: s.calls["shop -> payment.charge"].timeout),
        ("calls.payment.timeout", "3s", lambda s: s.calls["payment"].timeout),
        ("links.client -> shop.latency", "3s", lambda s: s.link("client", "shop").latency.mean),
    ],
)
def test_a_path_leads_to_one_setting_and_to_nothing_else(shop: Template, path: str, value: Any, where: Any) -> None:
    assert where(shop.changed({path: value})) == 3
    assert shop.changed({}).hash == shop.scenario.hash


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("services.shop.repicas", "services.shop.repicas: unknown key 'repicas'; did you mean 'replicas'?"),
        ("services.shpo.replicas", "services.shpo.replicas: unknown name 'shpo'; did you mean 'shop'?"),
        ("calls.shop -> paymnt.timeout", "calls.shop -> paymnt.timeout: unknown name 'paymnt'; did you mean 'payment'?"),
        ("calls.shp -> payment.timeout", "calls.shp -> payment.timeout: unknown name 'shp'; did you mean 'shop'?"),
        ("calls.shop -> payment.timout", "unknown key 'timout'; did you mean 'timeout'?"),
        ("faults[3].for", "faults[3].for: there is no [3]; there are [0] to [0]"),
        ("load.rate.peak", "load.rate.peak: '20/s' is a value and has no 'peak' in it; end the path there"),
        ("run.seed", "run.seed: every point has the same seeds, so that points can be compared; use --replications and --seed"),
        ("run.replications", "run.replications: is how often every point is run; use --replications"),
        ("slos[0]", "slos[0]: changes nothing that is simulated"),
        ("", "a path is empty; write for example load.rate"),
    ],
)
def test_a_wrong_path_is_told_with_its_cure(shop: Template, path: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        shop.type_of(path)
    assert said in str(caught.value)


def test_laws_of_a_scenario_in_python_have_no_names_any_more(shop: Template) -> None:
    with pytest.raises(ScenarioError, match="sweep the file"):
        template_of(shop.scenario).type_of("laws.slow")


@pytest.mark.parametrize("file", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("experiments/*/*.yaml")))
def test_a_template_makes_the_scenario_it_was_made_of(file: str) -> None:
    _, templates = templates_of(ROOT / file)
    for template in templates.values():
        assert template.changed({}).digest == template.scenario.digest
        assert template_of(template.scenario).changed({}).digest == template.scenario.digest


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,3", [1, 2, 3]),
        ("50/s..400/s:8", ["50/s", "100/s", "150/s", "200/s", "250/s", "300/s", "350/s", "400/s"]),
        ("0.1..0.5:5", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("10ms..1s:3 log", ["0.01s", "0.1s", "1s"]),
        ("50 ms .. 100 ms : 3", ["50 ms", "75 ms", "100 ms"]),
        ("5 %..20 %:4", ["5 %", "10 %", "15 %", "20 %"]),
        ("1..4:4, 10", [1, 2, 3, 4, 10]),
        ("{exponential: 20ms}, {constant: 20ms}", [{"exponential": "20ms"}, {"constant": "20ms"}]),
        ("[a, b], [c]", [["a", "b"], ["c"]]),
        ("null, 'a,b'", [None, "a,b"]),
    ],
)
def test_values_are_written_as_in_the_file(text: str, values: list[Any]) -> None:
    assert list(axis_of("p", text, None, sampled=False).values) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no values; write for example p=1,2,3"),
        ("1,1", "1 is there twice"),
        ("3..1:3", "the first end must be below the second"),
        ("1..3", "has no number of steps; write for example 1..3:5"),
        ("0..3:3 log", "a logarithm needs ends above 0; begin for example at 0.03"),
        ("10ms..5/s:3", "its ends are not quantities of one kind"),
        ("a..b:3", "a range goes from one quantity to another"),
        ("1..8:4", "the steps are not whole numbers; take :2, or write the values as a list"),
        ("{x", "is not a list of values"),
    ],
)
def test_values_that_are_none_are_told(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        axis_of("p", text, WHOLE, sampled=False)
    assert str(caught.value).startswith("p: ")
    assert said in str(caught.value)


def test_a_grid_has_every_pair_and_zip_the_first_with_the_first() -> None:
    axes = [axis_of("a", [1, 2], None, sampled=False), axis_of("b", ["x", "y"], None, sampled=False)]
    assert [tuple(point.values()) for point in grid(axes)] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert [tuple(point.values()) for point in side_by_side(axes)] == [(1, "x"), (2, "y")]
    with pytest.raises(ScenarioError, match=r"--zip: .*: a has 2, c has 1"):
        side_by_side([axes[0], axis_of("c", [1], None, sampled=False)])
    with pytest.raises(ScenarioError, match="400 × 400 are more than 100,000 points"):
        grid([axis_of(path, list(range(400)), None, sampled=False) for path in "ab"])


def test_a_latin_hypercube_has_one_point_in_every_slice() -> None:
    axes = [axis_of("a", "0..50", Shape(float), sampled=True), axis_of("b", "1ms..100ms log", None, sampled=True)]
    points = sampled(axes, "lhs:50", seed=3)
    assert sorted(int(point["a"]) for point in points) == list(range(50))
    logs = np.log10([float(point["b"].removesuffix("ms")) for point in points]) * 25
    assert sorted(np.floor(logs)) == list(range(50))
    assert points == sampled(axes, "lhs:50", seed=3)
    assert points != sampled(axes, "lhs:50", seed=4)


def test_a_larger_sobol_sample_begins_with_the_smaller_one() -> None:
    axes = [axis_of("a", "1..8", WHOLE, sampled=True), axis_of("b", "x,y", None, sampled=True)]
    small, large = sampled(axes, "sobol:16", 1), sampled(axes, "sobol:64", 1)
    assert large[:16] == small
    assert {value: sum(point["a"] == value for point in large) for value in range(1, 9)} == dict.fromkeys(range(1, 9), 8)
    assert sum(point["b"] == "x" for point in large) == 32


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("sobol:5", "take sobol:8"),
        ("lsh:3", "no sample 'lsh'; write lhs:50 or sobol:64"),
        ("lhs", "how many points?"),
        ("lhs:0", "how many points?"),
    ],
)
def test_samples_that_are_none_are_told(how: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        sampled([axis_of("a", "1..8", None, sampled=True)], how, 1)
    assert said in str(caught.value)


def test_columns_are_numbers_in_base_units_or_text() -> None:
    assert in_columns(["50/s", "5/min"]) == [50.0, pytest.approx(1 / 12)]
    assert in_columns([1, 2]) == [1, 2]
    assert in_columns(["1 KiB", "2 KiB"]) == [1024.0, 2048.0]
    assert in_columns([3, "unlimited"]) == ["3", "unlimited"]
    assert in_columns([True, False]) == ["true", "false"]
    assert in_columns([{"exponential": "20ms"}]) == ["{exponential: '20ms'}"]


def test_arguments_are_path_and_values() -> None:
    assert settings_from_text(["a -> b.c = 1", "d={x: 1}"]) == {"a -> b.c": " 1", "d": "{x: 1}"}
    for wrong, said in ((["load.rate"], "write PATH=VALUES"), (["a=1", "a=2"], "is there twice")):
        with pytest.raises(ScenarioError, match=said):
            settings_from_text(wrong)


def test_all_points_are_checked_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)

    def never(*_: Any) -> Any:
        raise AssertionError("nothing may run")

    with pytest.raises(ScenarioError) as caught:
        sim.sweep(tmp_path / "shop.yaml", {"load.rate": "10/s,20", "services.shop.replicas": "1,0"}, simulate=never)
    first, second = caught.value.messages
    assert first == (
        "point 1 (load.rate = 10/s, services.shop.replicas = 0) and 1 more: services.shop.replicas: 0 should be a whole number "
        "from 1 to 100,000"
    )
    assert second.startswith("point 2 (load.rate = 20, services.shop.replicas = 1) and 1 more: load.rate: 20 has no unit; write")
