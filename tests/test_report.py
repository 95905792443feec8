"""The decision on paper: what it says, and that a browser shows it without fetching anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import BROWSER, Page, opened
from test_cli import sim

from sim.analysis.edges import arranged, stacked
from sim.report import as_html, as_markdown, content_of
from sim.report.blocks import Cell, Chart, Content, Heading, Table, Text
from sim.report.flipping import flipping
from sim.report.settings import assumptions, differences, flat, ordered_by
from sim.report.topology import topology
from sim.scenario.model import Comparison, Scenario
from sim.scenario.yaml import load, loads
from sim.study import Results, compare, replicate
from sim.study.again import same_requests, with_attempts

SHOP = """\
run: {duration: 20s, replications: 3, warmup: 2s}
services:
  shop: {workers: 8, operations: {buy: [{work: {exponential: 4ms}}, {call: bank.pay}, {publish: mails}]}}
  bank: {workers: 2, operations: {pay: [{work: {exponential: 10ms}}]}}
  mail: {workers: 2, operations: {send: [{work: 1ms}]}}
queues: {mails: {consumer: mail.send}}
links: {default: 0.5ms}
calls: {shop -> bank: {preset: envoy@1.40, timeout: 1s}}
load: {rate: 60/s, mix: shop.buy}
slos: [success >= 99 %, p99 <= 10s]
"""
RIVALS = """\
question: Is <one try> enough?
base: shop.yaml
candidates: {one try: {}, three tries: {calls: {shop -> bank: {retry: {max_attempts: 3, on: [error, unreachable]}}}}}
conditions: {normal: {}, errors: {faults: [{errors: bank, ratio: 60 %, at: 5s, for: 10s}]}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    place = tmp_path_factory.mktemp("report")
    (place / "shop.yaml").write_text(SHOP)
    (place / "rivals.yaml").write_text(RIVALS)
    rivals = load(place / "rivals.yaml")
    assert isinstance(rivals, Comparison)
    return compare(rivals, workers=1, out=place / "results" / "rivals")


@pytest.fixture(scope="module")
def content(study: Results) -> Content:
    return content_of(study)


def table(content: Content, caption: str) -> list[list[str]]:
    found = next(block for block in content.blocks if isinstance(block, Table) and block.caption.startswith(caption))
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in found.rows]


def test_it_says_everything_that_a_review_asks_for(study: Results, content: Content) -> None:
    headings = [block.text for block in content.blocks if isinstance(block, Heading)]
    assert headings == [
        "Verdict", "Candidates and conditions", "Topology", "Results", "What was survived",
        "Good in more than one world", "What would flip it", "Charts",
        "Why slow requests are slow", "Assumptions, and where each number comes from", "Warnings", "Limits of the model",
        "How to reproduce",
    ]  # fmt: skip
    verdict = next(block for block in content.blocks if isinstance(block, Text) and block.strong)
    assert verdict.text == study.verdict().reasons[0]
    assert table(content, "What candidates differ in") == [
        ["calls.shop -> bank.retry.max_attempts", "–", "3"],
        ["calls.shop -> bank.retry.on", "–", "[error, unreachable]"],
    ]
    assert ["faults[0].ratio", "–", "60 %"] in table(content, "What conditions")
    survived = {row[2]: row[3] for row in table(content, "Faults at fixed times")}
    assert survived["one try"].startswith("missed: success >= 99 %")
    hashes = table(content, "Scenarios")
    assert ["one try", "normal", study.scenarios["one try", "normal"].hash] in hashes


def test_each_number_says_where_it_comes_from(content: Content) -> None:
    assert ["services.bank.workers", "2", "written"] in table(content, "Written in the scenario")
    presets = {row[0]: row[1:] for row in table(content, "From presets")}
    assert presets["calls.shop -> bank.connect_timeout"][:2] == ["5s", "preset envoy@1.40"]
    assert presets["calls.shop -> bank.connect_timeout"][2]
    assert "calls.shop -> bank.timeout" not in presets  # it is written
    assert ["run.seed", "1", "default"] in table(content, "Defaults")
    assert ["services.bank.start_up", "0s", "default"] in table(content, "Defaults")
    assert ["run.record_attempts", "true", "default"] in table(content, "Defaults")
    assert not any(row[0] == "run.duration" for row in table(content, "Defaults"))


def test_laws_and_numbers_are_told_as_they_were_written_and_the_command_line_as_such() -> None:
    told = "{work: {lognormal: {p50: 8ms, p99: 40ms}}, fail: 0.5 %}"
    scenario = loads(SHOP.replace("{work: {exponential: 4ms}}", told))
    ordered = ordered_by("sim run shop.yaml -r 2 -d 20s")
    written, *_, defaults = assumptions(scenario, ordered)
    assert ["services.shop.operations.buy.steps[0].work", "lognormal p50 8ms, p99 40ms", "written"] in written.rows
    assert ["services.shop.operations.buy.steps[0].fail", "0.5 %", "written"] in written.rows
    assert ["run.replications", "2", "command line"] in written.rows
    assert ["run.duration", "20s", "command line"] in written.rows
    assert ["services.shop.cold_factor", "1", "default"] in defaults.rows
    assert ordered_by("python study.py -r 2") == {}


def test_regret_has_intervals(content: Content) -> None:
    rows = {row[0]: row[1:] for row in table(content, "Regret with 95 % intervals")}
    assert rows["three tries"] == ["best", "best", "best", "best"]
    normal, errors, worst, _ = rows["one try"]
    assert normal == "best"
    assert re.fullmatch(r"\+[\d.]+ \[\+[\d.]+, \+[\d.]+\] pp", errors)
    assert worst.split(" [")[0] == errors.split(" [")[0]


def test_scenarios_that_are_the_same_differ_in_nothing(study: Results) -> None:
    one = study.scenarios["one try", "normal"]
    assert differences({"a": one, "b": one}, "candidates") is None
    assert flat(one)["load.rate"] == "60/s"


def test_margins_are_told_from_the_missed_ones_on_and_then_from_the_thinnest(content: Content) -> None:
    rows = table(content, "Margins of the objectives")
    shares = [float(row[4].removeprefix("below ").removesuffix(" %")) for row in rows]
    assert shares == sorted(shares, key=lambda share: (share >= 0, abs(share)))
    assert min(shares) >= -100
    assert len(rows) == 8  # two objectives, two candidates, two conditions
    errors = {(row[0], row[1], row[2]): row[4] for row in rows}
    assert errors["errors", "one try", "success >= 99 %"] == "below -100 %"


def test_assumptions_that_were_moved_are_told(study: Results, tmp_path: Path) -> None:
    told = [block.text for block in flipping(study) if isinstance(block, Text)]
    assert told[-1].startswith("Which assumption would make a number so much worse was not asked")
    beside = tmp_path / "rivals-sensitivity"
    beside.mkdir()
    (beside / "flips.csv").write_text(
        "input,end,bound,chosen,keeps_until,changes_at,settled_from\n"
        "load.rate,high,90.0,one try,70.0,75.0,75.0\nload.rate,low,30.0,three tries,,,\n"
    )
    *_, moved = flipping(replace(study, directory=tmp_path / "rivals"))
    assert isinstance(moved, Table)
    assert moved.caption == "Assumptions, moved one at a time, in base units (from rivals-sensitivity/flips.csv)"
    assert moved.rows == [
        ["load.rate", "90", "flips between 70 and 75", "one try there"],
        ["load.rate", "30", "changes nothing", "–"],
    ]


def test_attempts_that_were_not_recorded_are_simulated_again(study: Results) -> None:
    """Recording changes nothing, so the reasons are those of the recorded first replication; and the report says so."""
    quiet = {
        pair: scenario.model_copy(update={"run": scenario.run.model_copy(update={"record_attempts": False})})
        for pair, scenario in study.scenarios.items()
    }
    unrecorded = replace(study, scenarios=quiet)
    again = with_attempts(unrecorded)
    assert same_requests(unrecorded, again)
    assert again.candidates == study.candidates
    mine = study.rows("attempts", candidate="three tries", condition="errors", replication=0, columns=["started_s", "outcome"])
    theirs = again.rows("attempts", candidate="three tries", condition="errors", columns=["started_s", "outcome"])
    assert mine["started_s"].tolist() == theirs["started_s"].tolist()
    told = [block.text for block in content_of(unrecorded, charts=False).blocks if isinstance(block, Text)]
    assert any("simulated again with them" in text and "the same requests" in text for text in told)
    other = replace(study, metrics=study.metrics.assign(value=study.metrics["value"] * 2))
    assert not same_requests(other, again)


def test_the_topology_has_a_way_for_every_call(study: Results) -> None:
    drawn = topology(study.scenarios["one try", "normal"], "one try")
    assert set(re.findall(r"(n\d) (-->|-\.->) (n\d)", drawn.mermaid)) == {
        ("n0", "-->", "n1"), ("n1", "-->", "n2"), ("n1", "-.->", "n4"), ("n4", "-.->", "n3"),
    }  # fmt: skip
    assert drawn.svg.count("<rect") == 5
    assert drawn.svg.count('marker-end="url(#tip)"') == 4


def test_a_call_to_a_far_column_passes_between_the_boxes_of_the_columns_between() -> None:
    """client -> shop -> bank, shop -> far, bank -> far: what shop asks of far passes below bank, and no box lies on its way."""
    columns = arranged([("client", "shop"), ("shop", "bank"), ("shop", "far"), ("bank", "far")], "client")
    assert columns == [[("client", False)], [("shop", False)], [("bank", False), ("shop", True)], [("far", False)]]
    middles, tallest = stacked(columns, 60.0, 20.0)
    assert tallest == 80.0
    assert middles == {("client", 0): 40.0, ("shop", 1): 40.0, ("bank", 2): 30.0, ("shop", 2): 70.0, ("far", 3): 40.0}


class _Page(HTMLParser):
    """What a page would fetch, and which elements are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.fetched += [str(found[name]) for name in ("src", "href", "srcset", "data") if found.get(name) and tag != "a"]
        self.ids += [str(found["id"])] if "id" in found else []
        if tag not in ("meta", "img", "br", "wbr", "path", "rect", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing is left open."""


def test_the_page_is_whole_fetches_nothing_and_escapes_what_people_wrote(content: Content) -> None:
    text = as_html(content)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.fetched)
    assert "Is &lt;one try&gt; enough?" in text
    assert "<one try>" not in text
    charts = [block for block in content.blocks if isinstance(block, Chart)]
    titles = [chart.title for chart in charts]
    assert {"Latency of good answers by percentile", "Requests answered well over time", "Where the time of good answers went",
            "three tries: who calls whom, attempts and deliveries per second, and how many fail"} <= set(titles)  # fmt: skip
    assert "Requests answered well: difference to one try, paired by seed" in titles
    assert len(set(titles)) == len(titles)
    assert all(chart.svg.startswith(b"<?xml") for chart in charts)


def test_markdown_has_the_same_sections_tables_and_diagrams(content: Content) -> None:
    text = as_markdown(content)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        block.text for block in content.blocks if isinstance(block, Heading)
    ]
    assert text.count("```mermaid") == 1  # candidates that call alike share a diagram
    assert "Is \\<one try> enough?" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    widths = [{len(re.findall(r"(?<!\\)\|", line)) - 1 for line in found.splitlines()} for found in tables]
    assert widths == [{len(block.columns)} for block in content.blocks if isinstance(block, Table)]


def test_the_commands_write_files_and_one_scenario_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(SHOP)
    replicate(load("shop.yaml"), workers=1, out="results/shop")  # type: ignore[arg-type]
    assert sim("report", "results/shop", "--format", "md").stdout.startswith("# shop\n")
    sim("report", "results/shop", "--no-charts", "-o", "decision.md", "-q")
    assert "**Objectives: 2 pass.**" in (tmp_path / "decision.md").read_text()
    assert "MB" in sim("report", "results/shop", "--no-charts").stderr
    assert "<!doctype html>" in (tmp_path / "results/shop/report.html").read_text()
    assert "no results" in sim("report", "nowhere", code=2).stderr


#: Works the page as a reader with a mouse would, and tells what it saw.
_READER = """(async () => {
  const figures = [...document.querySelectorAll("figure.has-live")];
  const count = (one, what) => one.querySelectorAll(what).length;
  const seen = {charts: figures.map(one => [count(one, ".panels svg"), count(one, ".panels svg .curve")])};
  const button = figures[0].querySelector(".keys button");
  button.click();
  seen.curvesWithoutOne = count(figures[0], ".panels svg .curve");
  button.click();
  const table = [...document.querySelectorAll("table")].find(one => one.caption.textContent.startsWith("Objectives"));
  window.measured = table.tHead.rows[0].cells[4];
  window.column = () => [...table.tBodies[0].rows].map(row => Number(row.cells[4].dataset.by));
  await Promise.all([...document.images].map(one => one.decode()));
  seen.images = [...document.images].map(one => one.naturalWidth > 0);
  seen.fetched = performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:"));
  return seen;
})()"""
_WATCH = """window.errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
const said = console.error; console.error = (...what) => { errors.push(what.join(" ")); said(...what); };"""
_HEADS = "document.querySelectorAll('thead button').length"
#: Whether a reader sees where the keyboard is.
_OUTLINED = "getComputedStyle(document.activeElement).outlineStyle === 'solid'"


@pytest.fixture(scope="module")
def page(content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(as_html(content))
    with opened(file, before=_WATCH) as found:
        yield found


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_chart_and_fetches_nothing(content: Content, page: Page) -> None:
    seen = page.value(_READER)
    live = [block for block in content.blocks if isinstance(block, Chart) and block.data is not None]
    assert len(seen["charts"]) == len(live) >= 4
    assert seen["charts"][0] == [2, 4]  # two conditions, two candidates in each
    assert all(panels >= 1 and curves >= panels for panels, curves in seen["charts"])
    assert seen["curvesWithoutOne"] == 2
    assert len(seen["images"]) == sum(isinstance(block, Chart) for block in content.blocks)
    assert all(seen["images"])
    assert (page.value("errors"), seen["fetched"]) == ([], [])
    buttons = [page.value(f"dispatchEvent(new Event('{what}print')), {_HEADS}") for what in ("before", "after")]
    assert buttons[0] == 0 < buttons[1]  # with buttons in it, a head does not come again on every printed page


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_keyboard_alone_sorts_tables_switches_candidates_and_reads_values(page: Page) -> None:
    page.value(_READER)
    _tab_to(page, "document.activeElement === measured.firstElementChild")
    assert page.value(_OUTLINED)
    sorts = []
    for key in ("Enter", " "):
        page.press(key)
        sorts.append((page.value("measured.getAttribute('aria-sort')"), page.value("column()")))
    up = sorted(sorts[0][1])
    assert sorts == [("ascending", up), ("descending", up[::-1])]
    _tab_to(page, "document.activeElement.matches('.keys button')")
    assert page.value(_OUTLINED)
    pressed = []
    for _ in range(2):
        page.press(" ")
        pressed.append(page.value("[document.activeElement.ariaPressed, document.querySelectorAll('figure .curve').length]"))
    assert [state for state, _ in pressed] == ["false", "true"]
    assert pressed[0][1] < pressed[1][1]
    _tab_to(page, "document.activeElement.matches('.panels svg')")
    assert page.value(_OUTLINED)
    page.press("ArrowRight")
    told = page.value("document.activeElement.closest('figure').querySelector('.told-here').textContent")
    assert re.search(r"normal, 0 s: one try .*three tries ", told)


def _tab_to(page: Page, there: str) -> None:
    """Press Tab until the keyboard is there."""
    for _ in range(150):
        page.press("Tab")
        if page.value(there):
            return
    pytest.fail(f"Tab never reaches {there}")


LATE = """\
run: {duration: 4s, replications: 2}
services: {shop: {workers: 8, operations: {buy: [{work: 1ms}]}}}
load: {rate: 50/s, mix: shop.buy}
slos: [success >= 99 %]
"""


def test_a_fault_after_the_last_arrival_is_not_called_survived(tmp_path: Path) -> None:
    (tmp_path / "late.yaml").write_text(LATE + "faults: [{crash: shop, at: 6s, for: 1s}]\n")
    scenario = load(tmp_path / "late.yaml")
    assert isinstance(scenario, Scenario)
    found = replicate(scenario, workers=1)
    content = content_of(found, charts=False)
    ((_, _, _, told, _, recovery),) = table(content, "Faults at fixed times")
    assert (told, recovery) == ("did not happen in the run", "–")
    verdict = next(block for block in content.blocks if isinstance(block, Text) and block.strong)
    late = "But faults did not happen in the run, as they begin after its last arrival: crash of shop (at 6 s)."
    assert verdict.text == f"Objectives: 1 pass. {late}"
    assert found.verdict().reasons[0].endswith(late)


def test_a_fault_that_lasts_to_the_end_is_why_nothing_recovered(tmp_path: Path) -> None:
    (tmp_path / "lasting.yaml").write_text(LATE + "faults: [{slow: shop, factor: 2, at: 1s}]\n")
    scenario = load(tmp_path / "lasting.yaml")
    assert isinstance(scenario, Scenario)
    content = content_of(replicate(scenario, workers=1), charts=False)
    ((_, _, _, told, _, recovery),) = table(content, "Faults at fixed times")
    assert (told, recovery) == ("survived", "– (a fault lasts to the end of the run)")
