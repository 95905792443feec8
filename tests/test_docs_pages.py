"""The pages: every chart is in the gallery, every public module has a page, and links of the README hold in them."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sim import plots

SITE = Path(__file__).parents[1] / "docs" / "site"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    return importlib.import_module("pages")


def test_every_chart_is_in_the_gallery() -> None:
    drawn = (SITE / "gallery.py").read_text()
    functions = {name: getattr(plots, name) for name in plots.__all__ if inspect.isfunction(getattr(plots, name))}
    charts = [name for name, chart in functions.items() if "ax" in inspect.signature(chart).parameters]
    assert len(charts) >= 25
    assert [name for name in charts if f"plots.{name}" not in drawn] == []


def test_links_hold_inside_of_the_pages(pages: ModuleType) -> None:
    told = "[keys](docs/scenario.md#call) ![a](docs/images/speed.png) [file](experiments/x.yaml) [web](https://a.b) [up](#top)"
    assert pages.relinked(told) == "[keys](scenario.md#call) ![a](images/speed.png) file [web](https://a.b) [up](#top)"


def test_the_readme_comes_in_parts_without_marks(pages: ModuleType) -> None:
    readme = "# sim: decide\n\nfirst\n\n<!-- made: begin -->\n## Two words\ntext\n### more\n"
    assert list(pages.parts(readme)) == [("sim: decide", "\nfirst\n\n"), ("Two words", "text\n### more\n")]
    assert pages.slug("Why, and on paper") == "why-and-on-paper"


def test_public_modules_have_pages_of_what_they_export(pages: ModuleType) -> None:
    assert ":imported-members:" in pages.api_page("sim.plots", "Plots")
    policies = pages.api_page("sim.policies", "Policies")
    assert ".. automodule:: sim.policies.retry" in policies
    assert ":imported-members:" not in policies
    for name in pages.MODULES:
        assert importlib.import_module(name).__doc__
