"""Small multiples and chart files: one scale, one legend, the same bytes every time, nothing left behind."""

from __future__ import annotations

import gc
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from chart_tables import CANDIDATES, CONDITIONS, all_tables, bars_of, curve_table, gauges_table, parts_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from sim import plots
from sim.errors import ScenarioError
from sim.plots import files, network
from sim.plots.answers import name_of
from sim.plots.files import _pictures


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All charts of all tables."""
    directory = tmp_path_factory.mktemp("study") / "new" / "charts"
    return plots.charts(all_tables(), directory, question="Synchronous or through a queue?")


def test_small_multiples_have_one_panel_each_one_scale_and_one_legend() -> None:
    figure = plots.small_multiples(plots.latency_cdf, curve_table(), title="Latency", question="Which?")
    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == list(CONDITIONS)
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert [panel.get_legend() for panel in panels] == [None, None]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CANDIDATES)
    figure.draw_without_rendering()
    assert not any(figure.legends[0].get_window_extent().overlaps(panel.get_tightbbox()) for panel in panels)
    assert plt.get_fignums() == []


def test_a_long_question_is_broken_into_lines_inside_the_picture() -> None:
    question = "Should checkout call shipping and e-mail, or publish to queues and let them follow? (frontend.place_order) " * 2
    figure = plots.small_multiples(plots.outcomes, all_tables()["summary"], question=question, columns=1)
    figure.draw_without_rendering()
    written = figure.texts[0]
    assert written.get_window_extent().x1 <= figure.bbox.x1
    assert written.get_window_extent().y0 >= figure.axes[0].get_tightbbox().y1
    assert "frontend.place_order" in written.get_text().replace("\n", "")


def test_a_notebook_can_show_small_multiples_without_pyplot() -> None:
    figure = plots.small_multiples(plots.latency_cdf, curve_table())
    assert isinstance(figure, files.Panels)
    shown = figure._repr_png_()
    with Image.open(BytesIO(shown)) as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 10


def test_panels_of_bars_are_not_cut_at_the_first_condition() -> None:
    parts = parts_table()
    parts.loc[parts["condition"] == "crash", "mean_s"] *= 50
    figure = plots.small_multiples(plots.where_time_went, parts, columns=1)
    for panel in figure.axes:
        assert panel.get_xlim()[1] >= max(bar.get_x() + bar.get_width() for bar in bars_of(panel.patches))


def test_charts_writes_every_chart_as_png_and_svg(written: list[Path]) -> None:
    prices = {"price_attempts_per_request", "price_busy_s_per_good"}
    curves = {
        "latency_percentiles",
        "latency_cdf",
        "success_over_time",
        "goodput_over_time",
        "attempts_over_time",
        "backlog_over_time",
        "waiting_over_time",
        "workers_over_time",
        "replicas_over_time_bank",
        "attempts_per_tier",
        "topology_under_load_1",
        "topology_under_load_2",
        "topology_under_load_3",
        "staleness_cdf",
    }
    parts = {"where_time_went", "where_time_went_slowest"}
    others = {"outcomes", "effect_times", "difference_success", "difference_p99_s", "states_over_time"}
    assert {path.stem for path in written} == prices | curves | parts | others
    assert sorted(written) == sorted(written[0].parent.iterdir())
    assert sorted(path.suffix for path in written) == [".png"] * 23 + [".svg"] * 23


def test_what_decides_comes_first_and_every_chart_says_what_it_answers(written: list[Path]) -> None:
    stems = list(dict.fromkeys(path.stem for path in written))
    assert stems[:4] == ["outcomes", "success_over_time", "latency_percentiles", "difference_success"]
    assert [stem for stem in stems if name_of(stem) is None] == []


def test_charts_in_which_nothing_happens_are_left_out() -> None:
    tables = all_tables()
    calm = {
        "summary": tables["summary"].assign(mean=lambda table: table["mean"].where(table["metric"] != "share_ok", 1.0)),
        "differences": tables["differences"].assign(difference=0.0, low=0.0, high=0.0),
        "over_time": tables["over_time"].assign(success=1.0),
        "backlog_over_time": tables["backlog_over_time"].assign(backlog=0.0),
        "edges": tables["edges"].assign(retries_rps=0.0, failed=0.0),
        "gauges_over_time": tables["gauges_over_time"].assign(
            queued=0.0, alive=lambda table: 2.0 - (table["name"].eq("bank") & table["time_s"].between(20, 39))
        ),
    }
    before, after = ({picture.name for picture in _pictures(some)} for some in (tables, calm))
    gone = {"outcomes", "difference_success", "difference_p99_s", "success_over_time", "backlog_over_time"}
    gone |= {"waiting_over_time", "workers_over_time", "replicas_over_time_bank", "attempts_per_tier", "topology_under_load_1"}
    assert gone <= before
    assert not gone & after
    gauges = calm["gauges_over_time"]
    spared = gauges.assign(alive=gauges["alive"].where(gauges["candidate"] != "sync", 2.0))  # one candidate lost nothing
    assert {picture.name for picture in _pictures({"gauges_over_time": spared})} == {"replicas_over_time_bank"}
    beside = spared[spared["name"] == "bank"].assign(name="sidecar@bank")  # comes and goes with it
    both = pd.concat([spared, beside])
    assert {picture.name for picture in _pictures({"gauges_over_time": both})} == {"replicas_over_time_bank"}


def test_pictures_are_not_blank_and_have_160_dots_per_inch(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.info["dpi"][0] == pytest.approx(160, abs=0.5)
                assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 10


def test_the_same_tables_give_the_same_bytes(written: list[Path], tmp_path: Path) -> None:
    # The same candidates in fewer tables: looks, hashes and pictures must not depend on what else was drawn.
    some = {name: table for name, table in all_tables().items() if name in ("over_time", "time_parts", "faults")}
    again = plots.charts(some, tmp_path, question="Synchronous or through a queue?")
    before = {path.name: path for path in written}
    assert len(again) == 8
    for path in again:
        assert path.read_bytes() == before[path.name].read_bytes()
        assert b"dc:date" not in path.read_bytes()


def test_charts_leave_no_figure_behind(tmp_path: Path) -> None:
    tables = {"time_parts": parts_table()}
    plots.charts(tables, tmp_path, formats=("svg",))
    gc.collect()
    before = sum(isinstance(thing, Figure) for thing in gc.get_objects())
    plots.charts(tables, tmp_path, formats=("svg",))
    gc.collect()
    assert sum(isinstance(thing, Figure) for thing in gc.get_objects()) == before
    assert plt.get_fignums() == []


def test_tiers_of_many_candidates_stand_in_a_grid() -> None:
    """Seven candidates on five edges would be a column of 35 bars, and more than two screens."""
    pairs = [("client", "shop.buy"), ("shop", "bank.pay"), ("shop", "stock.get"), ("bank", "ledger.add"), ("stock", "store.read")]
    rows = [(f"way {i}", "calm", *pair, 50.0, 5.0, 0.1) for i in range(7) for pair in pairs]
    columns = ["candidate", "condition", "caller", "target", "attempts_rps", "retries_rps", "failed"]
    edges = pd.DataFrame(rows, columns=columns)
    picture = next(one for one in _pictures({"edges": edges}) if one.name == "attempts_per_tier")
    figure = files._draw(picture, plots.looks(f"way {i}" for i in range(7)), title="")
    panels = [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]
    assert panels == [f"{one} → {other}" for one, other in pairs]
    assert figure.get_figheight() < 16
    two = network.grid_for(pd.concat([edges, edges.assign(condition="busy")]))
    assert two["columns"] == 2
    assert network.grid_for(edges[edges["candidate"] == "way 0"])["columns"] == 1


def test_charts_for_a_page_have_no_headings_and_two_panels_in_a_row() -> None:
    tables = {"latency_cdf": pd.concat([curve_table().assign(condition=name) for name in ("calm", "busy", "full")])}
    ((name, title, figure),) = files.bare_charts(tables, without=["latency_percentiles"])
    assert (name, title) == ("latency_cdf", "Share of good answers within a time")
    assert figure.get_suptitle() == ""
    figure.draw_without_rendering()
    lefts, tops = zip(*((round(ax.get_position().x0, 2), round(ax.get_position().y1, 2)) for ax in figure.axes), strict=True)
    assert len(set(lefts)) == len(set(tops)) == 2


def test_what_is_of_all_requests_does_not_bear_the_focus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below: dict[str, str] = {}

    def draw(picture: files._Picture, _: object, *, title: str, question: str) -> Figure:
        assert title == picture.title
        below[picture.name] = question
        return Figure()

    monkeypatch.setattr(files, "_draw", draw)
    plots.charts(all_tables(), tmp_path, question="Which?", formats=("svg",), focus="shop.buy")
    priced = {name for name in below if name.endswith(files.PRICES)}
    assert {f"price_{metric}" for metric in files.PRICES} <= priced
    of_all = priced | {"states_over_time", "backlog_over_time", "staleness_cdf", "attempts_per_tier", "waiting_over_time"}
    of_all |= {"workers_over_time", "replicas_over_time_bank", *(f"topology_under_load_{i}" for i in (1, 2, 3))}
    assert {name for name, question in below.items() if question == "Which?"} == of_all
    assert {question for name, question in below.items() if name not in of_all} == {"Which? (shop.buy)"}


def test_states_are_drawn_by_candidate_with_those_that_kept_calls_away_longest() -> None:
    # Shop 0 of `many` is open for 1 s under each condition, shop 1 for 2 s, and so on; shop 3 is not in use only when it crashes.
    rows = [("many", c, 7, "shop", i, "stock.get", -1, "open", 20.0, 21.0 + i) for c in CONDITIONS for i in range(20)]
    rows += [("one", "crash", 7, "shop", 3, "stock.get", 2, "ejected", 1.0, 2.0)]
    columns = ["candidate", "condition", "seed", "caller", "process", "target", "endpoint", "state", "start_s", "end_s"]
    many, one = _pictures({"states": pd.DataFrame(rows, columns=columns), "faults": all_tables()["faults"]})
    assert (many.name, one.name) == ("states_over_time_1", "states_over_time_2")
    assert many.title == "many: breakers and ejected endpoints in one run (seed 7), the 16 of 20 that kept calls away longest"
    assert one.title == "one: breakers and ejected endpoints in one run (seed 7)"
    figure = files._draw(many, {}, title=many.title, question="Which?")
    figure.draw_without_rendering()
    assert [panel.get_title(loc="left") for panel in figure.axes] == list(CONDITIONS)
    for panel in figure.axes:
        assert [label.get_text() for label in panel.get_yticklabels()] == [f"shop {i} → stock.get" for i in range(4, 20)]
        assert panel.get_xlim() == (0.0, 40.0)
    assert "crash of email" in [text.get_text() for text in figure.axes[1].texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["open"]
    assert figure.texts[0].get_window_extent().x1 <= figure.bbox.x1


def test_one_candidate_alone_has_charts_but_no_differences() -> None:
    tables = {name: table[table["candidate"] == "sync"] for name, table in all_tables().items() if "candidate" in table}
    stems = {picture.name for picture in _pictures({name: table for name, table in tables.items() if len(table)})}
    assert "latency_percentiles" in stems
    assert "outcomes" in stems
    assert not any(stem.startswith("difference") for stem in stems)


def test_a_table_with_fewer_candidates_keeps_their_looks(tmp_path: Path) -> None:
    tables = all_tables()
    only = tables["over_time"][tables["over_time"]["candidate"] == "queue"]
    plots.charts({"over_time": only, "summary": tables["summary"]}, tmp_path, formats=("svg",))
    picture = (tmp_path / "success_over_time.svg").read_text().upper()
    found = plots.looks(CANDIDATES)
    assert found["queue"].colour in picture
    assert found["sync"].colour not in picture


def test_marks_on_the_time_axis_belong_to_their_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, dict[str, object]] = {}

    def chart(table: pd.DataFrame, ax: Axes, **options: Any) -> Axes:
        found[options["condition"]] = {name: options.get(name) for name in ("windows", "warmup_s")}
        return ax

    monkeypatch.setattr(plots.lines, "success_over_time", chart)
    warmup = pd.DataFrame({"condition": ["normal"], "end_s": [15.0]})
    tables = {name: table for name, table in all_tables().items() if name in ("over_time", "faults")}
    plots.charts({**tables, "warmup": warmup}, tmp_path, formats=("svg",))
    assert found["normal"] == {"windows": None, "warmup_s": 15.0}
    assert found["crash"] == {"windows": [("crash of email", 20.0, 40.0)], "warmup_s": None}


def test_differences_of_effects_have_a_panel_for_each_and_none_for_a_mixture() -> None:
    rows = [("c", "completeness", of, "queue", "sync", 0.1, 0.05, 0.15, "higher") for of in ("all", "email.send", "log.keep")]
    columns = ["condition", "metric", "of", "candidate", "baseline", "difference", "low", "high", "verdict"]
    (picture,) = _pictures({"differences": pd.DataFrame(rows, columns=columns)})
    assert picture.title == "Effects that happened: difference to sync, paired by seed"
    figure = files._draw(picture, plots.looks(["sync", "queue"]), title=picture.title)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["email.send", "log.keep"]


def test_gauges_of_queues_are_messages() -> None:
    table = gauges_table()
    queue = table[table["name"] == "bank"].assign(is_queue=True)
    pictures = list(_pictures({"gauges_over_time": pd.concat([table[table["name"] != "bank"].assign(is_queue=False), queue])}))
    assert [picture.title for picture in pictures] == [
        "Messages waiting in bank, which has the longest line",
        "Messages at consumers of bank, which has the longest line",
        "Whether queue bank can be reached, over time",
    ]
    ax = plots.workers_over_time(queue, of="bank", condition="crash", looks=plots.looks(CANDIDATES))
    assert ax.get_ylabel() == "unacknowledged (messages)"
    up = plots.replicas_over_time(queue.assign(is_queue=False), of="bank", condition="crash", looks=plots.looks(CANDIDATES))
    assert up.get_ylabel() == "replicas that are up (replicas)"
    assert all(tick == int(tick) for tick in up.get_yticks()), "there is no half a replica"


def test_no_tables_no_charts(tmp_path: Path) -> None:
    assert plots.charts({}, tmp_path) == []


def test_a_directory_that_cannot_be_written_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(ScenarioError, match="cannot write the chart"):
        plots.charts({"latency_cdf": curve_table()}, tmp_path / "file")


def test_what_protocols_cost_is_drawn_where_there_are_any() -> None:
    columns = ["candidate", "condition", "metric", "of", "mean", "low", "high"]
    values = {"wire_bytes_per_request": 900.0, "wire_cpu_s": 1e-4, "new_connections_per_request": 0.0}
    rows = [(who, "c", metric, "all", value, value, value) for metric, value in values.items() for who in ("REST", "gRPC")]
    names = [picture.name for picture in _pictures({"summary": pd.DataFrame(rows, columns=columns)})]
    assert names == ["price_wire_bytes_per_request", "price_wire_cpu_s"]  # nobody makes a connection
