"""Charts: they draw the numbers they are given, say what and in which unit, and put names where no data are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from chart_tables import (
    CANDIDATES,
    NAN,
    attempts_table,
    backlog_table,
    bars_of,
    curve_table,
    differences_table,
    edges_table,
    effect_differences_table,
    explained_table,
    gauges_table,
    over_time_table,
    parts_table,
    spells_table,
    stale_table,
    summary_table,
    swept_table,
)
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from PIL import Image

from sim import plots
from sim.analysis.critical import EXPLAINED_PARTS
from sim.analysis.knee import knees
from sim.errors import ScenarioError
from sim.plots import style
from sim.records import OUTCOMES, PARTS

#: Every chart with a table and what it needs to be told.
CHARTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "latency_percentiles": (plots.latency_percentiles, curve_table, {"condition": "crash"}),
    "latency_cdf": (plots.latency_cdf, curve_table, {"condition": "crash"}),
    "latency_ccdf": (plots.latency_ccdf, curve_table, {"condition": "crash"}),
    "success_over_time": (plots.success_over_time, over_time_table, {"condition": "crash", "windows": [("down", 20, 40)]}),
    "goodput_over_time": (plots.goodput_over_time, over_time_table, {"condition": "crash"}),
    "attempts_over_time": (plots.attempts_over_time, attempts_table, {"condition": "crash"}),
    "backlog_over_time": (plots.backlog_over_time, backlog_table, {"condition": "crash"}),
    "replicas_over_time": (plots.replicas_over_time, gauges_table, {"condition": "crash", "of": "bank"}),
    "recovery_after_fault": (plots.recovery_after_fault, over_time_table, {"condition": "crash", "clear_s": 40.0}),
    "attempts_per_tier": (plots.attempts_per_tier, edges_table, {"condition": "crash"}),
    "staleness_cdf": (plots.staleness_cdf, stale_table, {"condition": "crash"}),
    "difference_forest": (plots.difference_forest, differences_table, {"metric": "p99_s"}),
    "effect_differences": (plots.effect_differences, effect_differences_table, {"of": "email.send"}),
    "where_time_went": (plots.where_time_went, parts_table, {"condition": "crash"}),
    "outcomes": (plots.outcomes, summary_table, {"condition": "crash"}),
    "effect_times": (plots.effect_times, summary_table, {"condition": "crash"}),
    "explanation": (plots.explanation, explained_table, {"condition": "crash"}),
    "metric_bars": (plots.metric_bars, summary_table, {"condition": "crash", "metric": "attempts_per_request"}),
}
every_chart = pytest.mark.parametrize("name", CHARTS)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    mpl.use("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def draw(name: str, ax: Axes | None = None, **more: Any) -> Axes:
    chart, table, options = CHARTS[name]
    found: Axes = chart(table(), ax, **{**options, **more})
    return found


def drawn(ax: Axes) -> Axes:
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    return ax


def line(ax: Axes, label: str) -> Any:
    return next(found for found in ax.lines if found.get_label() == label)


def texts(ax: Axes) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


# What every chart promises


@every_chart
def test_draws_on_the_given_axes_and_returns_it(name: str) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(name, left) is left
    assert not right.has_data()
    assert plt.get_fignums() == []


@every_chart
def test_makes_its_own_figure_without_axes_and_leaves_the_settings_alone(name: str) -> None:
    mine = {"font.size": 7.5, "axes.spines.top": True, "svg.hashsalt": "mine", "lines.linewidth": 0.5}
    with mpl.rc_context(mine):
        ax = draw(name)
        assert {key: mpl.rcParams[key] for key in mine} == mine
    assert [plt.figure(number) for number in plt.get_fignums()] == [ax.get_figure(root=True)]


def test_a_backend_that_wakes_up_with_the_first_figure_stays_awake() -> None:
    before = mpl.is_interactive()
    try:
        for wanted in (True, False):
            with style.themed():
                mpl.interactive(wanted)  # what a notebook's backend does inside the first chart
            assert mpl.is_interactive() is wanted
    finally:
        mpl.interactive(before)


@every_chart
def test_every_axis_of_numbers_has_a_label_with_a_unit(name: str) -> None:
    ax = draw(name)
    rows = isinstance(ax.yaxis.get_major_locator(), FixedLocator)
    for label in [ax.get_xlabel()] if rows else [ax.get_xlabel(), ax.get_ylabel()]:
        assert re.search(
            r"\((µs|ms|s|%|good answers/s|attempts/s|attempts/request|messages|requests|workers|replicas)[,) ]", label
        ), label
    assert ax.get_title(loc="left")


@every_chart
def test_legend_lies_outside_the_data(name: str) -> None:
    ax = drawn(draw(name))
    legend = ax.get_legend()
    if name in ("difference_forest", "metric_bars"):  # rows carry the names
        assert legend is None
        names = [label.get_text() for label in ax.get_yticklabels()]
        assert {"queue", "hedged"} <= set(names)
    else:
        assert legend is not None
        assert not legend.get_window_extent().overlaps(ax.get_window_extent())
        assert {"queue", "hedged"} <= {t.get_text() for t in [*legend.get_texts(), *ax.get_yticklabels()]}


@every_chart
def test_the_legend_can_be_left_out(name: str) -> None:
    if name not in ("difference_forest", "metric_bars"):
        assert draw(name, legend=False).get_legend() is None


@every_chart
def test_names_the_missing_column(name: str) -> None:
    chart, table, options = CHARTS[name]
    with pytest.raises(
        ScenarioError, match=f"{name}: the table has no column 'candidate'; it needs candidate|{name}: .*'candidate'"
    ):
        chart(table().drop(columns="candidate"), **options)


@every_chart
def test_refuses_an_empty_table(name: str) -> None:
    chart, table, options = CHARTS[name]
    with pytest.raises(ScenarioError, match=f"{name}: the table has no rows"):
        chart(table().iloc[:0], **options)


@pytest.mark.parametrize("name", [name for name in CHARTS if "difference" not in name])
def test_several_conditions_need_a_choice(name: str) -> None:
    chart, table, options = CHARTS[name]
    others = {key: value for key, value in options.items() if key != "condition"}
    with pytest.raises(ScenarioError, match=f"{name}: .*several of condition: normal, crash; choose with condition='normal'"):
        chart(table(), **others)
    with pytest.raises(ScenarioError, match="no condition 'storm' in the table; it has normal, crash"):
        chart(table(), **others, condition="storm")
    one = table()
    assert chart(one[one["condition"] == "crash"], **others) is not None


# No formula inside: what is drawn is what the table says


def test_percentiles_are_the_table() -> None:
    table = curve_table()
    ax = plots.latency_percentiles(table, condition="crash")
    for candidate in CANDIDATES:
        mine = table[(table["candidate"] == candidate) & (table["condition"] == "crash")]
        np.testing.assert_array_equal(line(ax, candidate).get_xydata(), mine[["probability", "latency_s"]])
    bands = {tuple(vertex) for band in ax.collections for vertex in band.get_paths()[0].vertices}
    for row in table[table["condition"] == "crash"].itertuples():
        assert {(row.probability, row.low), (row.probability, row.high)} <= bands


def test_the_axis_of_percentiles_is_spaced_by_nines() -> None:
    ax = drawn(plots.latency_percentiles(curve_table(), condition="normal"))
    at = {p: ax.transData.transform((p, 0.1))[0] for p in (0.9, 0.99, 0.999)}
    assert at[0.99] - at[0.9] == pytest.approx(at[0.999] - at[0.99])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["50 %", "90 %", "99 %", "99.9 %"]


def test_cdf_is_the_table_turned() -> None:
    table = curve_table()
    ax = plots.latency_cdf(table, condition="normal")
    mine = table[(table["candidate"] == "queue") & (table["condition"] == "normal")]
    np.testing.assert_array_equal(line(ax, "queue").get_xydata(), mine[["latency_s", "probability"]])


@pytest.mark.parametrize(
    ("chart", "table", "value", "low"),
    [
        (plots.success_over_time, over_time_table(), "success", "success_low"),
        (plots.goodput_over_time, over_time_table(), "goodput_rps", "goodput_low"),
        (plots.attempts_over_time, attempts_table(), "attempts_rps", "attempts_low"),
        (plots.backlog_over_time, backlog_table(), "backlog", "backlog_low"),
    ],
)
def test_steps_hold_the_table_until_the_end_of_the_last_bin(chart: Any, table: Any, value: str, low: str) -> None:
    ax = chart(table, condition="crash")
    mine = table[(table["candidate"] == "hedged") & (table["condition"] == "crash")]
    found = line(ax, "hedged")
    assert found.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(found.get_xdata(), [*mine["time_s"], 60.0])
    np.testing.assert_array_equal(found.get_ydata(), [*mine[value], mine[value].iloc[-1]])
    # The band is stepped like its line: both ends of each bin are corners.
    corners = {tuple(corner) for band in ax.collections for corner in band.get_paths()[0].vertices}
    for start, end, bottom in zip(mine["time_s"], [*mine["time_s"][1:], 60.0], mine[low], strict=True):
        assert {(start, bottom), (end, bottom)} <= corners


def test_differences_and_their_intervals_are_the_table() -> None:
    table = differences_table()
    ax = plots.difference_forest(table, metric="success")
    marks = [tuple(found.get_xdata()) for found in ax.lines]
    for row in table[table["metric"] == "success"].itertuples():
        assert (row.difference,) in marks
        assert (row.low, row.high) in marks
    assert (0.0, 0.0) in [tuple(map(float, found.get_xdata())) for found in ax.lines if len(found.get_xdata()) == 2]
    assert "higher\n+1.0 [+0.5, +1.5] pp" in texts(ax)
    assert "no detectable difference" in texts(ax)


def test_parts_stack_up_to_the_latency() -> None:
    table = parts_table()
    ax = plots.where_time_went(table, condition="normal", group="slowest 1 %")
    rows = table[(table["condition"] == "normal") & (table["group"] == "slowest 1 %")]
    widths = [bar.get_width() for bar in ax.patches]
    assert sorted(widths) == pytest.approx(sorted(rows["mean_s"]))
    ends = [max(bar.get_x() + bar.get_width() for bar in ax.patches if abs(bar.get_y() + 0.31 - y) < 0.01) for y in (0, 1, 2)]
    assert ends == pytest.approx(rows.groupby("candidate", sort=False)["mean_s"].sum().to_list())
    assert ax.get_xlim()[1] > max(ends)


def test_outcomes_stack_up_to_everything_and_say_the_share_of_ok() -> None:
    table = summary_table()
    ax = plots.outcomes(table, condition="normal")
    shares = table[(table["condition"] == "normal") & table["metric"].str.startswith("share_")]["mean"]
    assert sorted(bar.get_width() for bar in ax.patches) == pytest.approx(sorted(shares))
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) == pytest.approx(1.0)
    assert "95.5 % ok" in texts(ax)
    assert "axis cut" in ax.get_xlabel()
    assert ax.get_xlim()[1] > 1 - shares.max()


def test_bars_show_the_table() -> None:
    ax = plots.metric_bars(summary_table(), metric="attempts_per_request", condition="normal")
    assert [bar.get_width() for bar in ax.patches] == [9.0, 10.0, 11.0]
    assert ax.get_xlim()[0] == 0.0


def test_the_beyond_is_the_cdf_from_above_and_both_axes_are_logarithmic() -> None:
    ax = plots.latency_ccdf(curve_table(), condition="crash")
    mine = curve_table().query("candidate == 'queue' and condition == 'crash' and probability >= 0.5")
    found = line(ax, "queue").get_xydata()
    np.testing.assert_allclose(found, np.column_stack((mine["latency_s"], 1 - mine["probability"])))
    assert ax.get_yscale() == "log"


def test_an_interval_down_to_nothing_has_no_band() -> None:
    table = curve_table()
    far = table["probability"] > 0.9
    ax = plots.latency_cdf(table.assign(low=np.where(far, 0.0, table["low"])), condition="crash")
    reached = {y for band in ax.collections for path in band.get_paths() for _, y in path.vertices}
    assert max(reached) == 0.9
    assert max(line(ax, "sync").get_ydata()) == 0.999  # the curve itself goes on


def test_a_curve_whose_intervals_mostly_reach_down_to_nothing_has_no_band_in_pieces() -> None:
    table = curve_table()
    wide = table["probability"] != 0.5
    ax = plots.latency_cdf(table.assign(low=np.where(wide, 0.0, table["low"])), condition="crash")
    assert not ax.collections


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_bands_over_time_stand_whole_or_not_at_all(share: float) -> None:
    table = over_time_table()
    table["goodput_low"] = np.where(table["time_s"] < 60 * share, 0.0, table["goodput_low"])
    table["goodput_high"] = np.where(table["time_s"] < 60 * share, 1000.0, table["goodput_high"])
    ax = plots.goodput_over_time(table, condition="crash")
    assert len(ax.collections) == (len(CANDIDATES) if share < 0.5 else 0)
    # What is not drawn takes no room.
    assert ax.get_ylim()[1] == pytest.approx(1050.0 if share < 0.5 else 1.05 * table["goodput_rps"].max(), rel=0.06)


def test_tables_put_together_without_new_labels_are_drawn_alike() -> None:
    def together(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([one.reset_index(drop=True) for _, one in table.groupby("candidate", sort=False, observed=True)])

    swept = swept_table()
    tables = (swept, together(swept))
    whole, parts = (
        plots.metric_over_setting(table, setting="load", metric="mean_s", by=("candidate", "places"), condition="crash")
        for table in tables
    )
    assert [list(one.get_ydata()) for one in whole.lines] == [list(one.get_ydata()) for one in parts.lines]
    cdf, again = (plots.latency_ccdf(table, condition="crash") for table in (curve_table(), together(curve_table())))
    assert [list(one.get_ydata()) for one in cdf.lines] == [list(one.get_ydata()) for one in again.lines]


def test_gauges_are_those_of_the_service_that_is_asked_for() -> None:
    ax = plots.replicas_over_time(gauges_table(), of="bank", condition="normal")
    assert line(ax, "sync").get_ydata().tolist() == [2.0] * 8 + [3.0] * 5
    assert line(plots.workers_over_time(gauges_table(), of="bank", condition="normal"), "sync").get_ydata()[0] == 4.0
    assert max(line(plots.waiting_over_time(gauges_table(), of="bank", condition="crash"), "hedged").get_ydata()) == 30.0
    with pytest.raises(ScenarioError, match="several of name: shop, bank; choose with name='shop'"):
        plots.replicas_over_time(gauges_table(), condition="normal")


def test_recovery_is_counted_from_the_end_of_the_fault_and_marked() -> None:
    told = summary_table().head(1).assign(metric="recovery_s", candidate="queue", condition="crash", mean=7.5)
    ax = plots.recovery_after_fault(over_time_table(), clear_s=40.0, condition="crash", summary=told)
    assert line(ax, "sync").get_xdata()[:2].tolist() == [-40.0, -35.0]
    assert line(ax, "queue: recovered after 7.5 s").get_xdata() == [7.5]


def test_constants_have_no_bands_ticks_to_their_end_and_are_named_where_they_hide_each_other() -> None:
    rows = [(name, "calm", p, 0.02, 0.02, 0.02) for name in ("one", "other") for p in (0.5, 0.9, 0.97)]
    curve = pd.DataFrame(rows, columns=["candidate", "condition", "probability", "latency_s", "low", "high"])
    ax = plots.latency_percentiles(curve)
    assert ax.get_legend().get_title().get_text() == ""
    assert [text.get_text() for text in ax.texts] == ["one and other are the same curve"]
    ticks = list(ax.xaxis.get_majorticklocs())
    assert ticks == [0.5, 0.9, 0.97]
    ends = plots.latency_percentiles(curve.assign(probability=curve["probability"].replace(0.97, 0.92))).xaxis
    assert list(ends.get_majorticklocs()) == [0.5, 0.9]  # 92 % would touch 90 %


def test_tries_of_a_tier_are_first_ones_and_retries() -> None:
    ax = plots.attempts_per_tier(edges_table(), condition="crash", legend=False)
    widths = [(bar.get_x(), bar.get_width()) for bar in bars_of(ax.patches)]
    assert widths[-2:] == [(0.0, 100.0), (100.0, 100.0)]  # hedged, at the bank
    assert [text.get_text() for text in ax.texts] == ["0 % failed"] * 3 + ["20 % failed"] * 3


def test_the_topology_stands_in_the_order_of_calls_and_says_what_flows() -> None:
    ax = plots.topology_under_load(edges_table(), condition="crash", candidate="hedged")
    at = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert at["client"] < at["shop"] < at["bank"]
    assert {"100/s, 0 %", "200/s, 20 %"} <= set(at)
    with pytest.raises(ScenarioError, match="several of candidate: sync, queue, hedged"):
        plots.topology_under_load(edges_table(), condition="crash")


def test_the_knee_of_m_m_1_is_at_half_of_the_capacity() -> None:
    table = swept_table().query("places == 1")
    points = table[table["metric"] == "mean_s"].rename(columns={"mean": "mean_s"}).assign(replication=0)
    found = knees(points, "load", "mean_s")
    assert found["at"].tolist() == [0.5, 0.8, 0.8] * 2
    assert found["inside"].tolist() == [True, False, False] * 2  # 1.0 and 1.5 are beyond the points
    ax = plots.load_latency(table, setting="load", metric="mean_s", knees=found, condition="normal", units={"load": "/s"})
    assert line(ax, "sync: knee = 0.5 /s").get_xdata() == [0.5, 0.5]
    assert not [one for one in ax.lines if str(one.get_label()).startswith("queue: knee")]


def test_a_heat_map_has_a_cell_for_each_pair_with_its_mean() -> None:
    table = swept_table().query("candidate == 'sync'")
    ax = plots.heat_map(table, across="load", up="places", metric="success", condition="normal")
    np.testing.assert_allclose(
        ax.images[0].get_array(), [[1 - load / 10 / p for load in (0.2, 0.4, 0.5, 0.6, 0.8)] for p in (1, 2)]
    )
    assert texts(ax).split("\n")[0] == "98\u00a0%"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2"]
    with pytest.raises(ScenarioError, match="several of candidate"):
        plots.heat_map(swept_table(), across="load", up="places", metric="success", condition="normal")


# Looks


def test_colours_come_again_paler_and_no_two_of_fifty_are_equal_without_them() -> None:
    found = list(plots.looks(map(str, range(50))).values())
    assert len({look.colour for look in found[:28]}) == 28
    assert len({(str(look.line), look.marker, look.hatch) for look in found}) == 50


def test_the_first_five_are_apart_in_grey() -> None:
    greys = [style.lightness(look.colour) for look in plots.looks("abcde").values()]
    assert min(abs(one - other) for one, other in combinations(greys, 2)) >= 10
    assert max(greys) <= 75  # and all of them are seen on white


def test_lightness_agrees_with_an_independent_conversion() -> None:
    # Pillow's L is the weighted sum of the sRGB values themselves: another scale with the same order.
    colours = [look.colour for look in plots.looks("abcde").values()]
    grey = [Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in colours]
    assert np.argsort(grey).tolist() == np.argsort([style.lightness(colour) for colour in colours]).tolist()


def test_forty_candidates_look_different() -> None:
    found = list(plots.looks(map(str, range(40))).values())
    assert len({repr(look) for look in found}) == 40


@pytest.mark.parametrize("found", [style.PART_LOOKS, style.OUTCOME_LOOKS])
def test_neighbours_in_a_stack_are_apart_in_grey(found: dict[str, plots.Look]) -> None:
    for one, other in pairwise(found.values()):
        assert abs(style.lightness(one.colour) - style.lightness(other.colour)) >= 15 or one.hatch != other.hatch
    assert len({(look.colour, look.hatch) for look in found.values()}) == len(found)


def test_every_part_and_outcome_has_a_look() -> None:
    assert set(style.PART_LOOKS) == set(style.PART_NAMES) == {*PARTS, *EXPLAINED_PARTS}
    assert set(style.OUTCOME_LOOKS) == set(OUTCOMES)


def test_a_candidate_looks_the_same_in_every_chart() -> None:
    look = plots.looks(CANDIDATES)["queue"]
    curve = line(plots.latency_percentiles(curve_table(), condition="crash"), "queue")
    assert (curve.get_color(), curve.get_marker()) == (look.colour, look.marker)
    bars = plots.metric_bars(summary_table(), metric="attempts_per_request", condition="crash").patches
    assert (to_hex(bars[1].get_facecolor()).upper(), bars[1].get_hatch()) == (look.colour, look.hatch)
    # The baseline has no row among the differences, and still the others keep their places.
    forest = plots.difference_forest(differences_table(), metric="success")
    squares = [mark for mark in forest.lines if mark.get_marker() == look.marker and mark.get_markersize() == 10]
    assert [mark.get_color() for mark in squares] == [look.colour] * 2


# Scales


def test_a_wide_range_is_logarithmic_and_a_narrow_one_starts_at_zero() -> None:
    narrow = plots.latency_percentiles(curve_table(), condition="normal")
    assert narrow.get_yscale() == "linear"
    assert narrow.get_ylim()[0] == 0
    wide = curve_table()
    wide.loc[wide["candidate"] == "hedged", ["latency_s", "low", "high"]] *= 10_000
    ax = drawn(plots.latency_percentiles(wide, condition="normal"))
    assert ax.get_yscale() == "log"
    assert "log scale" in ax.get_ylabel()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "100 ms" in labels
    assert "1000 s" in labels


@pytest.mark.parametrize(
    ("scale", "label", "tick"),
    [(1e-4, "latency (µs)", "20"), (1.0, "latency (ms)", "200"), (100.0, "latency (s)", "20"), (3e4, "latency (h)", "2")],
)
def test_ticks_are_in_the_unit_of_the_label(scale: float, label: str, tick: str) -> None:
    ax = drawn(plots.latency_percentiles(curve_table(scale), condition="normal"))
    assert ax.get_ylabel() == label
    assert tick in [found.get_text() for found in ax.get_yticklabels()]


def test_small_losses_are_seen_and_the_cut_axis_says_so() -> None:
    near = plots.success_over_time(over_time_table(lowest=0.97), condition="crash")
    assert near.get_ylim()[0] > 0.9
    assert "axis cut" in near.get_ylabel()
    far = plots.success_over_time(over_time_table(lowest=0.5), condition="crash")
    assert far.get_ylim()[0] == 0
    assert "axis cut" not in far.get_ylabel()


def test_no_difference_at_all_is_a_hollow_mark_on_the_zero_line() -> None:
    table = differences_table().assign(difference=0.0, low=0.0, high=0.0, verdict="no detectable difference")
    ax = drawn(plots.difference_forest(table, metric="p99_s"))
    low, high = ax.get_xlim()
    assert low < 0 < high
    assert texts(ax) == "\n".join(4 * ["identical"])
    assert ax.get_xlabel() == "difference in p99 latency (ms), lower is better"
    marks = [
        mark for mark in ax.lines if len(mark.get_xdata()) == 1 and mark.get_xdata()[0] == 0.0 and mark.get_markersize() == 10
    ]
    assert len(marks) == 4
    assert {mark.get_markerfacecolor() for mark in marks} == {"white"}


def test_one_replication_has_no_interval_and_says_so() -> None:
    table = differences_table().assign(low=NAN, high=NAN, verdict="no detectable difference")
    assert texts(plots.difference_forest(table, metric="success")).count("one replication: no statement") == 4
    curve = curve_table().assign(low=NAN, high=NAN)
    ax = plots.latency_percentiles(curve, condition="normal")
    assert not ax.collections
    assert ax.get_legend().get_title().get_text() == ""


# States


def test_spells_are_bars_from_start_to_end_and_what_lets_calls_through_is_none() -> None:
    ax = drawn(plots.states_over_time(spells_table(), windows=[("down", 1.0, 6.0)]))
    bars = [bar for bar in bars_of(ax.patches) if bar.get_y() != 0]  # the fault is a patch, too
    found = {(round(b.get_y() + b.get_height() / 2), b.get_x(), b.get_x() + b.get_width()) for b in bars}
    assert found == {(0, 2.0, 7.0), (0, 7.0, 7.5), (1, 5.0, 20.0)}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["shop 0 → stock.get", "shop 1 → stock.get, replica 3"]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["open", "half-open", "ejected"]
    assert not legend.get_window_extent().overlaps(ax.get_window_extent())
    assert ax.get_xlabel() == "clock time (s)"
    assert ax.get_xlim() == (0.0, 20.0)
    assert "down" in texts(ax)


def test_states_that_never_changed_cannot_be_drawn() -> None:
    with pytest.raises(ScenarioError, match="states_over_time: the table has no rows"):
        plots.states_over_time(spells_table().iloc[:0])


# Staleness


def test_the_share_that_has_learned_it_is_the_table() -> None:
    ax = drawn(draw("staleness_cdf"))
    assert ax.get_xscale() == "log"
    steps = {name: dict(zip(line(ax, name).get_xdata(), line(ax, name).get_ydata(), strict=True)) for name in CANDIDATES}
    assert steps["queue"] | {4.0: 0.25, 5.0: 0.5, 6.0: 0.75, 10.0: 1.0} == steps["queue"]
    assert [steps["sync"][t] for t in (200.0, 240.0, 300.0)] == [0.25, 0.5, 0.75]
    left, right = ax.get_xlim()
    assert steps["sync"][right] == 0.75  # one has not learned it
    assert steps["hedged"][left] == 0.75  # three knew before it was gone


def test_where_nobody_was_stale_there_is_a_chart_all_the_same() -> None:
    ax = drawn(plots.staleness_cdf(stale_table().assign(stale_s=0.0), condition="crash"))
    assert ax.get_xlim()[0] == 0.0
    assert line(ax, "sync").get_ydata()[-1] == 1.0


# Gaps, faults and the warm-up


@pytest.mark.parametrize("chart", [plots.success_over_time, plots.goodput_over_time])
def test_the_warm_up_is_hatched_and_named_in_the_legend(chart: Callable[..., Axes]) -> None:
    ax = drawn(chart(over_time_table(), condition="crash", windows=[("down", 20, 40)], warmup_s=10.0))
    (mark,) = [patch for patch in ax.patches if patch.get_label() == "warm-up, not counted"]
    assert mark.get_hatch()
    corners = mark.get_extents().transformed(ax.transData.inverted())
    assert (corners.x0, corners.x1) == pytest.approx((0.0, 10.0))
    assert ax.get_xlim() == (0.0, 60.0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [*CANDIDATES, "warm-up, not counted"]
    assert "warm-up, not counted" not in texts(drawn(chart(over_time_table(), condition="crash")))


def test_what_is_missing_is_named() -> None:
    curve = curve_table()
    curve.loc[curve["candidate"] == "queue", ["latency_s", "low", "high"]] = NAN
    for chart in (plots.latency_percentiles, plots.latency_cdf):
        assert "no good answers: queue" in texts(chart(curve, condition="crash"))
    parts = parts_table()
    parts.loc[parts["candidate"] == "queue", "mean_s"] = NAN
    assert texts(plots.where_time_went(parts, condition="crash")).count("no good answers") == 1
    effects = summary_table()
    effects.loc[(effects["candidate"] == "queue") & effects["metric"].str.startswith("effect_"), "mean"] = NAN
    assert texts(plots.effect_times(effects, condition="crash")).count("none happened") == 1


def test_a_gap_stays_a_gap_and_a_lonely_point_is_marked() -> None:
    table = over_time_table(bin_s=1)
    whole = line(plots.success_over_time(table, condition="crash"), "sync")
    assert 13 not in whole.get_markevery()
    mine = (table["candidate"] == "sync") & (table["condition"] == "crash")
    table.loc[mine & table["time_s"].isin([12.0, 14.0]), ["success", "success_low", "success_high"]] = NAN
    found = line(plots.success_over_time(table, condition="crash"), "sync")
    assert np.flatnonzero(np.isnan(found.get_ydata())).tolist() == [12, 14]
    assert 13 in found.get_markevery()


def test_faults_are_shaded_from_start_to_end_and_named_once() -> None:
    windows = [("crash of email", 20.0, 40.0), ("slow", 30.0, None), ("crash of email", 50.0, 55.0), ("later", 90.0, 99.0)]
    ax = plots.success_over_time(over_time_table(), condition="crash", windows=windows)
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in bars_of(ax.patches)]
    assert spans == [(20.0, 40.0), (30.0, 60.0), (50.0, 55.0)]
    assert [text.get_text() for text in ax.texts] == ["crash of email", "slow"]


def test_names_of_faults_do_not_touch() -> None:
    windows = [(f"fault number {i} with a name", 10.0 + i, 40.0) for i in range(4)]
    ax = drawn(plots.success_over_time(over_time_table(), condition="crash", windows=windows))
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.y0 >= ax.get_window_extent().y1 for box in boxes)
    title = next(text for text in ax.findobj(Text) if text.get_text() == ax.get_title(loc="left"))
    assert title.get_window_extent().y0 >= max(box.y1 for box in boxes) - 1


def test_latency_stands_beside_success() -> None:
    ax = plots.latency_percentiles(curve_table(), condition="crash", summary=summary_table())
    assert "sync\u00a096.5\u00a0%" in texts(ax)


def test_long_names_do_not_push_the_data_out_of_the_picture() -> None:
    name = "outbox_with_relay_and_exponential_backoff_with_full_jitter_and_a_retry_budget_of_ten_percent"
    table = curve_table().replace({"candidate": {"hedged": name}})
    ax = drawn(plots.latency_percentiles(table, condition="crash"))
    figure = ax.get_figure(root=True)
    assert figure is not None
    assert ax.get_window_extent().width > 0.35 * figure.bbox.width
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_window_extent().x1 <= figure.bbox.x1 + 1
    assert "".join(legend.get_texts()[2].get_text().split("\n")) == name


def test_an_interval_of_nearly_everything_does_not_squeeze_the_curves() -> None:
    table = curve_table()
    far = table["probability"] == 0.999
    table.loc[far, ["low", "high"]] = [[1e-9, 1e3]] * far.sum()
    ax = plots.latency_percentiles(table, condition="normal")
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[1] < 2 * table["latency_s"].max()


def test_trouble_stands_first_in_the_legend_in_every_panel_the_same() -> None:
    table = summary_table()
    table.loc[(table["condition"] == "normal") & (table["metric"] == "share_error"), "mean"] = 0.0
    figure = plots.small_multiples(plots.outcomes, table, columns=1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["error", "timeout", "rejected", "degraded", "ok"]
