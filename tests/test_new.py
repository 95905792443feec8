"""A scenario to begin with: it reads, nothing about it is doubtful, and it keeps the objectives that it asks for."""

from pathlib import Path

import pytest
from test_cli import sim

from sim.scenario.doubts import doubts_of
from sim.scenario.model import Comparison, Scenario
from sim.scenario.yaml import load
from sim.study import replicate


def test_what_it_writes_reads_and_leaves_no_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "next: sim compare shop-rivals.yaml" in sim("new", "shop.yaml", "--rivals").stderr
    scenario, rivals = load("shop.yaml"), load("shop-rivals.yaml")
    assert isinstance(scenario, Scenario)
    assert isinstance(rivals, Comparison)
    assert doubts_of(scenario) == []
    assert list(rivals.candidates) == ["one try", "three tries"]
    assert set(replicate(scenario, replications=3, workers=1).objectives()["verdict"]) == {"pass"}


def test_it_replaces_nothing_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop-rivals.yaml").write_text("mine")
    assert "shop-rivals.yaml: exists already" in sim("new", "shop.yaml", "--rivals", code=2).stderr
    assert not (tmp_path / "shop.yaml").exists()
    sim("new", "shop.yaml", "--rivals", "--force", "-q")
    assert (tmp_path / "shop-rivals.yaml").read_text() != "mine"
