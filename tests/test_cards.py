"""What notebooks show of scenarios, comparisons, runs and results: short, escaped, in the page's own colours."""

from __future__ import annotations

import re
from pathlib import Path

from test_report import RIVALS, SHOP

import sim
from sim.cards import card
from sim.scenario.model import Comparison, Scenario
from sim.scenario.yaml import loads


def plain(page: str) -> str:
    return re.sub(r"<[^>]+>", "|", page)


def shop() -> Scenario:
    found = loads(SHOP.replace("duration: 20s", "duration: 4s"))
    assert isinstance(found, Scenario)
    return found


def test_everything_is_escaped_and_no_colour_is_forced() -> None:
    page = card("<i>", "a & b", [("<c>", ["<d>"], [["<e>"]]), ("empty", ["x"], [])])
    assert re.findall(r"&lt;\w&gt;", page) == ["&lt;i&gt;", "&lt;c&gt;", "&lt;d&gt;", "&lt;e&gt;"]
    assert "a &amp; b" in page
    assert "empty" not in page
    assert not re.search(r"[;\"]color:|background:(?!none)", page)


def test_a_scenario_says_how_busy_it_is_before_any_run() -> None:
    page = plain(shop()._repr_html_())
    assert "poisson load, 60 requests/s" in page
    assert "|bank||1 × 2||60 /s||10 ms||30%|" in page.replace("||", "||")
    assert "p99 &lt;= 10s" in page


def test_a_run_and_results_show_numbers() -> None:
    result = sim.run(shop(), 1)
    assert re.search(r"\|shop\.buy\|\|2\d\d\|\|100\.00%\|\|\d", plain(result._repr_html_()))
    results = sim.replicate(shop(), 2, workers=1)
    page = plain(results._repr_html_())
    assert re.search(r"\|p99\|\|[\d.]+ ms \[", page)
    assert len(page) < 4000


def test_a_comparison_says_what_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "rivals.yaml").write_text(RIVALS)
    rivals = sim.load(tmp_path / "rivals.yaml")
    assert isinstance(rivals, Comparison)
    page = plain(rivals._repr_html_())
    assert "Is &lt;one try&gt; enough?" in page
    assert "|candidate||normal||errors|" in page
    assert rivals.candidates["three tries"]["errors"].hash in page
