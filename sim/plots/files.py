"""Small multiples of any chart, and all charts of a study as files."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation

from sim.analysis.intervals import DECIDING
from sim.analysis.metrics import is_of_effects
from sim.errors import ScenarioError
from sim.plots import amounts, effects, lines, network, rows, spells, style, words
from sim.plots.answers import place_of
from sim.plots.style import Look

PRICES: Final = ("attempts_per_request", "busy_s_per_good")
_OF_PROTOCOLS: Final = ("wire_bytes_per_request", "wire_cpu_s", "new_connections_per_request")
_DPI: Final = 160
#: Services whose replicas are drawn over time, those that change most.
_MOST_FLEETS: Final = 3
_KNOWN_BY: Final = ["caller", "process", "target", "endpoint"]
#: Breakers and endpoints that one chart shows; of more those that kept calls away longest.
_MOST_ROWS: Final = 16


class Panels(Figure):
    """A figure without pyplot that a notebook shows all the same."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with style.themed():
            self.savefig(picture, format="png", dpi=80)
        return picture.getvalue()


def small_multiples(
    chart: Callable[..., Axes],
    table: pd.DataFrame,
    *,
    over: str = "condition",
    title: str | None = "",
    question: str = "",
    columns: int = 3,
    panel: tuple[float, float] | None = None,
    share: bool = True,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Figure:
    """Draw one panel of a chart for every name in a column, with common axes and one legend below.

    Args:
        chart: a chart function of this package (or one like it: table, ax and the name as keyword arguments, axes out).
        table: the whole table; it sets looks, order and scale for all panels.
        over: the column whose names become panels, and the argument of the chart that chooses among them.
        title: what is seen; by default the chart's name; None: none, for a page that says it beside the picture.
        question: what is to be decided, written under the title.
        columns: panels side by side, at most.
        panel: width and height of one panel in inches; by default a size for the chart of lines, or for the rows.
        share: whether panels have the same scale.
        each: further arguments for single panels, by name: `{"crash": {"windows": [("crash", 20, 30)]}}`.
        **options: further arguments for all panels.

    Raises:
        ScenarioError: the table lacks the column, or the chart refuses the table.
    """
    name = getattr(chart, "__name__", "chart")
    style.need(table, (over,), name)
    names = style.names_in(table, over)
    down = math.ceil(len(names) / columns)
    across = math.ceil(len(names) / down)
    width, height = panel or ((8.6, 5.2) if len(names) == 1 else (max(4.6, 7.0 / across), 4.3))
    with style.themed():
        # No pyplot: the figure belongs to the caller alone and is gone with its last reference.
        room = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        figure = Panels(figsize=(across * width, down * height), layout=room)
        grid = figure.subplots(down, across, squeeze=False, sharex=share, sharey=share)
        panels = list(grid.flat)
        for ax, one in zip(panels, names, strict=False):
            told = words.capital(words.of_metric(one).text) if over == "metric" else one
            arguments = {"title": style.wrap_evenly(told, int(9 * width)), **options, **(each or {}).get(one, {}), over: one}
            chart(table, ax, **arguments)
        for ax in panels[len(names) :]:
            ax.set_visible(False)
        _tidy(grid, share, len(names))
        _level_titles(panels[: len(names)])
        said = words.capital(name.replace("_", " ")) if title == "" else title
        heading = "\n".join(style.wrap_evenly(text, int(8.4 * across * width)) for text in (said, question) if text)
        heading_in = 0.4 + 0.24 * heading.count("\n") if heading else 0.0
        if heading:
            figure.suptitle(heading, x=0.01, ha="left", fontsize=14)
        below_in = _legend_below(figure, panels[: len(names)])
        notes = [text.get_text() for ax in panels for text in ax.texts if text.get_gid() == lines.NOTE]
        notes_in = down * max((0.17 * (2 + note.count("\n")) for note in notes), default=0.0)
        figure.set_figheight(down * height + 0.5 + heading_in + below_in + notes_in)
    return figure


def _tidy(grid: Any, share: bool, count: int) -> None:
    """Keep labels where a reader needs them: at the left, and under the lowest panel of each column."""
    down, across = grid.shape
    for i in range(down):
        for j in range(across):
            ax = grid[i, j]
            under = (i + 1) * across + j < count
            if share and j > 0:
                ax.set_ylabel("")
            if share and under:
                ax.set_xlabel("")
            elif share:
                ax.tick_params(axis="x", labelbottom=True)


def _level_titles(panels: Sequence[Axes]) -> None:
    """Lift all titles to the height of the one with the most fault names under it."""
    names = [text for ax in panels for text in ax.texts if text.get_gid() == lines.FAULT]
    # An annotation's offset in points is its `xyann`.
    heights = [float(name.xyann[1]) for name in names if isinstance(name, Annotation)]
    for ax in panels if heights else ():
        ax.set_title(ax.get_title(loc="left"), loc="left", pad=8 + lines.LINE_PT + max(heights))


def _legend_below(figure: Figure, panels: Sequence[Axes]) -> float:
    """Gather the legends of all panels into one; returns the height that it needs, in inches."""
    found: dict[str, Any] = {}
    heading = ""
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
        legend = ax.get_legend()
        if legend is not None:
            heading = legend.get_title().get_text() or heading
            legend.remove()
    if not found:
        return 0.0
    widest = max(len(line) for label in found for line in label.split("\n"))
    columns = max(1, min(len(found), int(figure.get_figwidth() / (0.9 + 0.1 * widest))))
    title = heading.replace("\n", ", ") or None
    figure.legend(list(found.values()), list(found), loc="outside lower left", ncols=columns, title=title, alignment="left")
    deep = math.ceil(len(found) / columns)  # matplotlib fills columns from the left
    lengths = [1 + label.count("\n") for label in found]
    deepest = max(sum(lengths[i : i + deep]) for i in range(0, len(lengths), deep))
    return 0.25 + 0.23 * (deepest + bool(title))


@dataclass(frozen=True)
class _Picture:
    """One file: its name, the chart, the table it is drawn from and how."""

    name: str
    chart: Callable[..., Axes]
    table: pd.DataFrame
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    of_all: bool = False  # whether it is of all requests, whatever is in focus


def charts(
    tables: Mapping[str, pd.DataFrame],
    directory: str | Path,
    question: str = "",
    formats: Sequence[str] = ("png", "svg"),
    focus: str | None = None,
) -> list[Path]:
    """Write every chart that the tables allow into a directory, as PNG (160 dpi) and SVG, one panel per condition.

    The same tables give the same bytes (with the same matplotlib). A table that is absent or empty leaves out its charts, and
    so does one in which nothing happens: success that is always 100 %, a difference that is none in every replication, an
    empty queue, replicas that only die with a fault, edges without a failed try. Existing files of the same names are replaced,
    others stay.

    Args:
        tables: by name, as `sim.analysis` makes them: `summary`, `differences`, `over_time`, `attempts_over_time`,
            `backlog_over_time`, `gauges_over_time`, `edges`, `latency_cdf`, `time_parts`, `states` (of `state_spells`, with
            candidate, condition, seed), `staleness`; and optionally `faults` with columns condition, label, start_s, end_s (NaN:
            until the end), which are shaded, and `warmup` with columns condition, end_s, which is hatched.
        directory: where to; made if it is not there.
        question: what is to be decided, written on every chart.
        formats: of the files, any that matplotlib can write without a display.
        focus: the operation whose requests the tables are about, written behind the question; not on what is of all requests.

    Returns:
        The written files, in the order in which a reader should meet them (`sim.plots.answers.ANSWERS`).

    Raises:
        ScenarioError: a table lacks a column, or the directory cannot be written.
    """
    written: list[Path] = []
    found = _all_looks(tables)
    for picture in _in_order(tables):
        about = question if focus is None or picture.of_all else f"{question} ({focus})".strip()
        figure = _draw(picture, found, title=picture.title, question=about)
        written += save(figure, Path(directory) / picture.name, formats)
    return written


def bare_charts(tables: Mapping[str, pd.DataFrame], *, without: Collection[str] = ()) -> Iterator[tuple[str, str, Figure]]:
    """The same charts one after the other, for a page that has their titles beside them: name, title and figure.

    At most two panels stand side by side, so that a printed page can be read.

    Args:
        tables: as of `charts`.
        without: names of charts that are not wanted.

    Raises:
        ScenarioError: a table lacks a column.
    """
    found = _all_looks(tables)
    for picture in _in_order(tables):
        if picture.name not in without:
            yield picture.name, picture.title, _draw(picture, found, title=None, columns=2)


def _all_looks(tables: Mapping[str, pd.DataFrame]) -> dict[str, Look]:
    return style.looks(style.candidates_in(*(tables[name] for name in ("summary", *sorted(tables)) if name in tables)))


def _in_order(tables: Mapping[str, pd.DataFrame]) -> list[_Picture]:
    """Every chart that the tables allow, as a reader should meet them."""
    pictures = _pictures({name: table for name, table in tables.items() if len(table)})
    return sorted(pictures, key=lambda one: place_of(one.name))


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure once per format, as `stem` with the format as its ending; its directory is made if it is not there.

    Raises:
        ScenarioError: it cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    with style.themed():
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # once is enough: the layout is the slow part, and all formats shall agree
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for kind, path in zip(formats, paths, strict=True):
                # Without a date and a version in them, equal pictures are equal files.
                metadata = {"svg": {"Date": None}, "png": {"Software": None}}.get(kind)
                figure.savefig(path, dpi=_DPI, metadata=metadata)
        except OSError as exc:
            raise ScenarioError(
                f"{exc.filename or stem}: cannot write the chart ({exc.strerror}); choose another directory"
            ) from exc
    return paths


def save_axes(ax: Axes, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write the figure that a chart made for itself, as `save` does, and let go of it."""
    import matplotlib.pyplot as plt

    figure = ax.get_figure(root=True)
    assert figure is not None
    try:
        return save(figure, stem, formats)
    finally:
        plt.close(figure)


def _draw(picture: _Picture, found: Mapping[str, Look], *, title: str | None, question: str = "", columns: int = 3) -> Figure:
    chart, table = picture.chart, picture.table
    layout: dict[str, Any] = {"columns": columns, "looks": found}
    if chart is spells.states_over_time:
        layout = {"columns": 1, "panel": (10.5, 1.4 + 0.34 * len(table.groupby(_KNOWN_BY)))}
    elif chart is rows.difference_forest:
        # One panel, whose title is that of the chart.
        each = {str(metric): {"title": ""} for metric in table["metric"].unique()}
        layout |= {"over": "metric", "each": each, "columns": 1, "panel": _row_size(table, "condition", 10.5), "share": False}
    elif chart is effects.effect_differences:
        blocks, deep = (len(style.names_in(table, name)) for name in ("condition", "candidate"))
        layout |= {"over": "of", "columns": 2, "panel": effects.size_of(blocks, deep, 7.4), "share": False}
    elif chart is network.topology_under_load:
        layout = {"columns": 1, "panel": network.room_for(table), "share": False}
    elif chart is network.attempts_per_tier:
        table = table.assign(edge=pd.Categorical(network.edge_names(table), categories=network.tiers(table)))
        layout |= network.grid_for(table)
    elif chart is effects.effect_times:
        layout |= _of_effects(table)
    elif chart in (rows.where_time_went, rows.outcomes, rows.metric_bars):
        layout |= {"columns": 1, "panel": _row_size(table, "", 10.5)}
    return small_multiples(chart, table, title=title, question=question, **(layout | dict(picture.options)))


def _row_size(table: pd.DataFrame, block: str, width: float) -> tuple[float, float]:
    names = style.names_in(table, "candidate")
    return rows.size_of([(name, names) for name in (style.names_in(table, block) if block else [""])], width, 0.5)


def _of_effects(table: pd.DataFrame) -> dict[str, Any]:
    """A panel for each effect with all conditions, or of a single condition one panel with all effects."""
    conditions, named = style.names_in(table, "condition"), style.names_in(table, "of")
    over, blocks, panels = ("condition", named, 1) if len(conditions) == 1 else ("of", conditions, len(named))
    size = effects.size_of(len(blocks), len(style.names_in(table, "candidate")), 10.5 if panels == 1 else 4.8)
    return {"over": over, "panel": size}


def _pictures(tables: Mapping[str, pd.DataFrame]) -> Iterator[_Picture]:
    """Every chart that these tables allow, with what each panel needs."""
    if "summary" in tables:
        yield from _of_outcomes(tables["summary"])
    if "differences" in tables:
        yield from _of_differences(tables["differences"])
    if "latency_cdf" in tables:
        table = tables["latency_cdf"]
        success = {"summary": tables.get("summary")}
        yield _Picture("latency_percentiles", lines.latency_percentiles, table, "Latency of good answers by percentile", success)
        yield _Picture("latency_cdf", lines.latency_cdf, table, "Share of good answers within a time", success)
    if "over_time" in tables:
        table = tables["over_time"]
        options = {"each": _marks(tables)}
        if (table["success"] < 1).any():
            yield _Picture("success_over_time", lines.success_over_time, table, "Requests answered well over time", options)
        yield _Picture("goodput_over_time", amounts.goodput_over_time, table, "Good answers per second over time", options)
    if "attempts_over_time" in tables:
        table, options = tables["attempts_over_time"], {"each": _marks(tables)}
        yield _Picture(
            "attempts_over_time", amounts.attempts_over_time, table, "Attempts per second over time, all tiers", options
        )
    if "backlog_over_time" in tables and (tables["backlog_over_time"]["backlog"] > 0).any():
        table, options = tables["backlog_over_time"], {"each": _marks(tables)}
        heading = "Messages in the queues over time, of all requests"
        yield _Picture("backlog_over_time", amounts.backlog_over_time, table, heading, options, of_all=True)
    if "edges" in tables and tables["edges"][["retries_rps", "failed"]].any(axis=None):
        yield from _of_edges(tables["edges"])
    if "gauges_over_time" in tables:
        yield from _of_gauges(tables["gauges_over_time"], _marks(tables))
    if "states" in tables:
        yield from _of_states(tables["states"], _marks(tables))
    if "staleness" in tables:
        heading = "How long callers chose from replicas that were gone"
        yield _Picture("staleness_cdf", lines.staleness_cdf, tables["staleness"], heading, of_all=True)
    if "time_parts" in tables:
        table = tables["time_parts"]
        for group in style.names_in(table, "group"):
            whose = "good answers" if group == "all" else f"the {group} of good answers"
            stem = "where_time_went" if group == "all" else "where_time_went_" + "".join(c for c in group if c.isalpha())
            mine = table[table["group"].astype(str) == group]
            yield _Picture(stem, rows.where_time_went, mine, f"Where the time of {whose} went", {"group": group})


def _of_differences(table: pd.DataFrame) -> Iterator[_Picture]:
    """A forest for each metric of requests, and a page for each metric of effects, with those effects that differ anywhere."""
    of_all = table["of"].astype(str) == "all"
    numbers = ["difference", "low", "high"]
    for metric in DECIDING:
        effectual = is_of_effects(metric)
        mine = table[(table["metric"].astype(str) == metric) & (~of_all if effectual else of_all)]
        differs = mine[numbers].any(axis=1).groupby(mine["of"].astype(str)).transform("any")
        mine = mine[differs.astype(bool)]
        if mine.empty:
            continue
        priced = metric in PRICES
        what, baseline = words.capital(words.of_metric(metric).text), style.names_in(mine, "baseline")[0]
        title = f"{what}: difference to {baseline}, paired by seed{', of all requests' if priced else ''}"
        chart = effects.effect_differences if effectual else rows.difference_forest
        yield _Picture(f"difference_{metric}", chart, mine, title, of_all=priced)


def _of_edges(edges: pd.DataFrame) -> Iterator[_Picture]:
    """Where tries multiply, and a topology for each candidate."""
    yield _Picture(
        "attempts_per_tier",
        network.attempts_per_tier,
        edges,
        "Attempts and deliveries on every edge, of all requests",
        of_all=True,
    )
    names = style.names_in(edges, "candidate")
    for number, candidate in enumerate(names):
        mine = edges[edges["candidate"].astype(str) == candidate]
        stem = f"topology_under_load_{number + 1}" if len(names) > 1 else "topology_under_load"
        title = f"{candidate}: who calls whom, attempts and deliveries per second, and how many fail"
        yield _Picture(stem, network.topology_under_load, mine, title, of_all=True)


def _of_gauges(gauges: pd.DataFrame, marks: dict[str, dict[str, Any]]) -> Iterator[_Picture]:
    """The pool of whoever has the longest line, its line, and the replicas of each service that has now more, now fewer.

    A proxy beside its service comes and goes with it, and has no chart of its own.
    """
    options: dict[str, Any] = {"each": marks}
    queues = set(gauges.loc[gauges["is_queue"], "name"].astype(str)) if "is_queue" in gauges else set()
    fullest = gauges.groupby("name", observed=True)["queued"].max()
    if fullest.max() > 0:
        of = str(fullest.idxmax())
        mine = gauges[gauges["name"] == of]
        whats = (
            ("Messages waiting in", "Messages at consumers of") if of in queues else ("Waiting in front of", "Workers held of")
        )
        for chart, what in zip((amounts.waiting_over_time, amounts.workers_over_time), whats, strict=True):
            yield _Picture(
                chart.__name__, chart, mine, f"{what} {of}, which has the longest line", {**options, "of": of}, of_all=True
            )
    beside = gauges["name"].astype(str).str.contains("@", regex=False)
    changing = gauges[~beside].groupby("name", observed=True)["alive"].agg(lambda alive: alive.max() - alive.min())
    for of in changing.sort_values(ascending=False, kind="stable").index[:_MOST_FLEETS]:
        mine = gauges[gauges["name"] == of]
        if _is_told(mine):
            title = (
                f"Whether queue {of} can be reached, over time" if of in queues else f"Replicas of {of} that are up, over time"
            )
            yield _Picture(
                f"replicas_over_time_{of}", amounts.replicas_over_time, mine, title, {**options, "of": of}, of_all=True
            )


def _is_told(fleet: pd.DataFrame) -> bool:
    """Whether replicas over time say more than the faults in the background: some are added, or candidates differ."""
    alive = fleet["alive"]
    first = alive.groupby([fleet["candidate"], fleet["condition"]], observed=True).transform("first")
    differing = alive.groupby([fleet["condition"], fleet["time_s"]], observed=True).nunique()
    return bool((alive > first).any() or (differing > 1).any())


def _of_states(states: pd.DataFrame, marks: dict[str, dict[str, Any]]) -> Iterator[_Picture]:
    """A chart for each candidate that has breakers or ejections, of one run under each condition."""
    style.need(states, ("candidate", "condition", "seed", *_KNOWN_BY, "state", "start_s", "end_s"), "charts: states")
    names = style.names_in(states, "candidate")
    for number, candidate in enumerate(names):
        mine = states[states["candidate"].astype(str) == candidate]
        away = mine[mine["state"].astype(str).isin(spells.STATE_LOOKS)]
        away_s = (away["end_s"] - away["start_s"]).groupby([away[name].astype(str) for name in _KNOWN_BY]).sum()
        longest = set(away_s.sort_values(ascending=False, kind="stable").index[:_MOST_ROWS])
        who = zip(*(mine[name].astype(str) for name in _KNOWN_BY), strict=True)
        shown = mine[[each in longest for each in who]]
        seeds = " and ".join(dict.fromkeys(map(str, shown["seed"])))
        some = f", the {_MOST_ROWS} of {len(away_s)} that kept calls away longest" if len(away_s) > _MOST_ROWS else ""
        title = f"{candidate}: breakers and ejected endpoints in one run (seed {seeds}){some}"
        options = {"each": {name: marks[name] for name in style.names_in(shown, "condition") if name in marks}}
        stem = f"states_over_time_{number + 1}" if len(names) > 1 else "states_over_time"
        yield _Picture(stem, spells.states_over_time, shown, title, options, of_all=True)


def _of_outcomes(summary: pd.DataFrame) -> Iterator[_Picture]:
    metrics = set(summary["metric"].astype(str))
    if "share_ok" in metrics:
        mine = summary[summary["metric"].astype(str).str.startswith("share_")]
        if (mine.loc[mine["metric"] == "share_ok", "mean"] < 1).any():
            yield _Picture("outcomes", rows.outcomes, mine, "How requests ended")
    if "effect_p50_s" in metrics:
        mine = summary[summary["metric"].astype(str).str.match(r"(ack_|effect_)p(50|99)_s$|completeness$")]
        # One effect alone is also what all effects are: one block, not two.
        names = [name for name in style.names_in(mine, "of") if name != "all"]
        mine = mine[mine["of"].astype(str).isin(names or ["all"])]
        yield _Picture("effect_times", effects.effect_times, mine, "From the user's request to the effect")
    for metric in (*PRICES, *_OF_PROTOCOLS):
        mine = summary[(summary["metric"].astype(str) == metric) & (summary["of"].astype(str) == "all")]
        if mine["mean"].any():
            heading = f"The price, of all requests: {words.of_metric(metric).text}"
            yield _Picture(f"price_{metric}", rows.metric_bars, mine, heading, {"metric": metric}, of_all=True)


def _marks(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """What is marked on the time axis of each condition: faults, and the warm-up."""
    marks: dict[str, dict[str, Any]] = {}
    if "faults" in tables:
        faults = tables["faults"]
        style.need(faults, ("condition", "label", "start_s", "end_s"), "charts: faults")
        for row in faults.to_dict("records"):
            window = (str(row["label"]), float(row["start_s"]), float(row["end_s"]))
            marks.setdefault(str(row["condition"]), {}).setdefault("windows", []).append(window)
    if "warmup" in tables:
        style.need(tables["warmup"], ("condition", "end_s"), "charts: warmup")
        for row in tables["warmup"].to_dict("records"):
            marks.setdefault(str(row["condition"]), {})["warmup_s"] = float(row["end_s"])
    return marks
