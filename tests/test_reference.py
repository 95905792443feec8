"""The reference page: written from the models, up to date, and true."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sim.scenario import reference
from sim.scenario.model import Comparison, Scenario
from sim.scenario.preset_words import GROUPS
from sim.scenario.schema import example, fields_of, shape_of
from sim.scenario.yaml import ONLY_CONDITION, load, loads
from sim.study import ONLY_CONDITION as ONLY_CONDITION_OF_STUDIES
from sim.values import LAW_EXAMPLES

PAGE = Path(__file__).parent.parent / "docs" / "scenario.md"


def test_the_committed_page_is_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run: python -m sim.scenario.reference docs/scenario.md"


def test_its_examples_are_read(tmp_path: Path) -> None:
    (tmp_path / "checkout.yaml").write_text(reference.EXAMPLE)
    (tmp_path / "retries.yaml").write_text(reference.COMPARISON)
    assert isinstance(load(tmp_path / "checkout.yaml"), Scenario)
    found = load(tmp_path / "retries.yaml")
    assert isinstance(found, Comparison)
    assert found.conditions == ("calm", "crash", "spike")


def test_its_example_of_finding_replicas_is_read(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "services:\n  shop: {workers: 1, operations: {buy: [{call: payment.charge}]}}\n"
        "  payment: {workers: 1, operations: {charge: [{work: 1ms}]}}\nload: {rate: 1/s, mix: shop.buy}\n"
    )
    (tmp_path / "finding.yaml").write_text("base: base.yaml\n" + reference.FINDING)
    found = load(tmp_path / "finding.yaml")
    assert isinstance(found, Scenario)
    assert found.registries["slices"].heartbeat_interval is None
    assert found.policy("edge", "payment.charge").discovery.cache == 35.0
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for group in GROUPS.values() for name in group.presets)


def test_its_example_of_messages_is_read(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "services:\n  shop: {workers: 1, operations: {buy: [{work: 1ms}]}}\n"
        "  mail: {workers: 1, operations: {send: [{work: 1ms}]}}\n"
        "  bill: {workers: 1, operations: {write: [{work: 1ms}]}}\nload: {rate: 1/s, mix: shop.buy}\n"
    )
    (tmp_path / "messages.yaml").write_text("base: base.yaml\n" + reference.MESSAGES)
    found = load(tmp_path / "messages.yaml")
    assert isinstance(found, Scenario)
    assert found.queues["mails"].max_deliveries == 21
    assert found.consumers("orders") == {"mails": "mail.send", "bills": "bill.write"}
    assert found.link("shop", "orders").latency.mean == 0.001
    assert reference.MESSAGES in PAGE.read_text(encoding="utf-8")
    (tmp_path / "logs.yaml").write_text("base: base.yaml\n" + reference.LOGS_EXAMPLE)
    found = load(tmp_path / "logs.yaml")
    assert isinstance(found, Scenario)
    assert found.consumers("orders") == {"orders.bills": "bill.write", "orders.mails": "mail.send"}
    assert found.logs["orders"].producer.linger == 0.01
    assert found.logs["orders"].group("bills").commit == "batch"
    assert found.logs["orders"].group("mails").commit_interval == 5.0


def test_its_example_of_zones_is_read(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "services:\n  shop: {workers: 1, operations: {buy: [{call: payment.charge}, {publish: mails}]}}\n"
        "  payment: {workers: 1, operations: {charge: [{work: 1ms}]}}\n"
        "queues: {mails: {consumer: payment.charge}}\nload: {rate: 1/s, mix: shop.buy}\n"
    )
    (tmp_path / "zones.yaml").write_text("base: base.yaml\n" + reference.ZONES)
    found = load(tmp_path / "zones.yaml")
    assert isinstance(found, Scenario)
    assert found.zone_link("c", "a").latency.mean == 0.002
    assert found.services["payment"].zones == {"a": 4, "b": 2}
    assert reference.ZONES in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("written", [law for laws in LAW_EXAMPLES.values() for law in laws.split(" or ")])
def test_its_laws_are_read(written: str) -> None:
    text = f"services: {{a: {{workers: 1, operations: {{x: [{{work: {written}}}]}}}}}}\nload: {{rate: 1/s, mix: a.x}}"
    assert isinstance(loads(text), Scenario)


def test_every_key_of_every_model_is_there_with_its_meaning() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for model, _ in reference.models():
        for key, field in fields_of(model).items():
            assert f"| `{key}` |" in page
            assert field.description or key == "kind", f"{model.__name__}.{key} has no description"


def test_every_link_leads_to_a_section() -> None:
    page = PAGE.read_text(encoding="utf-8")
    anchors = {re.sub(r"\s", "-", title.lower()) for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    targets = set(re.findall(r"\]\(#([^)]+)\)", page))
    assert targets
    assert targets <= anchors


def test_what_a_message_about_a_missing_key_suggests_is_right() -> None:
    for model, _ in reference.models():
        required = {key: field for key, field in fields_of(model).items() if field.is_required()}
        written = "\n".join(example(key, shape_of(field.annotation, field.metadata)) for key, field in required.items())
        data = YAML(typ="safe", pure=True).load(written or "{}")
        assert set(data) == set(required)
        if "mtbf" in fields_of(model):
            data["at"] = "20s"  # a fault needs a time, one way or another
        if "direction" in fields_of(model):
            data["latency"] = "100ms"  # a link fault needs something that it does
        if "check_interval" in fields_of(model):
            data["time"] = "1h"  # a retention needs something to go by
        if "quota" in fields_of(model):
            data["period"] = "1s"  # a limit of at most one core
        if "on_per_try_timeout" in fields_of(model):
            data["delay"] = "20ms"  # a hedge needs one of three ways to say when
        if "string" in fields_of(model):
            data["string"] = 40  # a field of a message needs a kind
        if data.get("kind") == "token_bucket":
            data["rate"] = "100/s"
        assert isinstance(model.model_validate(data, context={"yaml": True}), model)


def test_the_only_condition_has_one_name() -> None:
    assert ONLY_CONDITION == ONLY_CONDITION_OF_STUDIES
