"""Presets: the command that lists them and shows one, and the names in the files of this repository."""

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
from sim.scenario.model import Scenario
from sim.scenario.preset import Preset, merged
from sim.scenario.preset_words import GROUPS
from sim.scenario.presets import PRESETS


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
