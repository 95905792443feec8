"""Makes the gallery: simulates one small question, and draws every chart of `sim.plots` from it, with the call that draws it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import sim
from sim import plots
from sim.analysis import knees, staleness, up_and_down
from sim.plots.files import save
from sim.study import Results, explain, find_warmup, sensitivity, single_request
from sim.study.sweeping import Sweep

HERE = Path(__file__).parent
OUTAGE = "outage"
OUTAGE_ENDS_S = 34.0
#: A registry that learns late, for the chart of who learned when.
STALE = """
services: {shop: {replicas: 4, workers: 8, registry: book, operations: {buy: [{work: 5ms}]}}}
registries: {book: {heartbeat_interval: 5s, lease_duration: 15s, eviction_interval: 10s}}
load: {rate: 100/s, mix: shop.buy, clients: 25}
calls: {default: {discovery: {refresh_interval: 10s}}}
faults: [{crash: shop, replica: 2, at: 10s}]
run: {duration: 60s}
"""
#: A line that late answers and retries keep full, under a load that goes up and down, for the chart of the trap between.
RAMP = """
services: {shop: {workers: 10, operations: {buy: [{work: 50ms}]}}}
calls: {default: {per_try_timeout: 500ms, retry: {max_attempts: 3}}}
load: {kind: ramp, points: [{at: 0s, rate: 40/s}, {at: 40s, rate: 320/s}, {at: 80s, rate: 40/s}], mix: shop.buy}
run: {duration: 80s, record_attempts: false}
"""


@dataclass(frozen=True)
class Shown:
    """One chart of the gallery: the function, the call that draws it in words, and its arguments."""

    chart: Callable[..., Any]
    call: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def draw(self) -> Figure:
        """Draw it on a figure of its own."""
        ax = self.chart(*self.arguments, **self.options)
        figure = ax if isinstance(ax, Figure) else ax.get_figure(root=True)
        assert isinstance(figure, Figure)
        return figure


def of_study(results: Results) -> Iterator[Shown]:
    """Charts of a comparison."""
    tables = results.tables()
    faults = tables["faults"]
    windows = [(row.label, row.start_s, row.end_s) for row in faults[faults.condition == OUTAGE].itertuples()]
    over_time = {"condition": OUTAGE, "windows": windows}
    told = f'condition="{OUTAGE}", windows=faults'
    summary, gauges, edges = tables["summary"], tables["gauges_over_time"], tables["edges"]
    curve = tables["latency_cdf"]
    for chart in (plots.latency_percentiles, plots.latency_ccdf, plots.latency_cdf):
        yield Shown(chart, f'tables["latency_cdf"], condition="{OUTAGE}"', (curve,), {"condition": OUTAGE, "summary": summary})
    for chart, name in (
        (plots.success_over_time, "over_time"),
        (plots.goodput_over_time, "over_time"),
        (plots.attempts_over_time, "attempts_over_time"),
        (plots.backlog_over_time, "backlog_over_time"),
    ):
        yield Shown(chart, f'tables["{name}"], {told}', (tables[name],), over_time)
    recovery = {"condition": OUTAGE, "clear_s": OUTAGE_ENDS_S, "summary": summary}
    call = f'tables["over_time"], condition="{OUTAGE}", clear_s=34.0, summary=results.summary'
    yield Shown(plots.recovery_after_fault, call, (tables["over_time"],), recovery)
    for chart in (plots.waiting_over_time, plots.workers_over_time, plots.replicas_over_time):
        yield Shown(chart, f'tables["gauges_over_time"], of="payment", {told}', (gauges,), {**over_time, "of": "payment"})
    spells = tables["states"]
    spells = spells[spells.candidate == "three tries, breaker"]
    yield Shown(plots.states_over_time, f'tables["states"], {told}', (spells,), over_time)
    yield Shown(plots.attempts_per_tier, f'tables["edges"], condition="{OUTAGE}"', (edges,), {"condition": OUTAGE})
    one = {"condition": OUTAGE, "candidate": "three tries"}
    yield Shown(plots.topology_under_load, f'tables["edges"], condition="{OUTAGE}", candidate="three tries"', (edges,), one)
    call = 'results.differences(), metric="p99_s"'
    yield Shown(plots.difference_forest, call, (tables["differences"],), {"metric": "p99_s"})
    of_one = {"metric": "effect_p99_s", "of": "mail.send"}
    call = f'results.differences(), metric="effect_p99_s", of="{of_one["of"]}"'
    yield Shown(plots.effect_differences, call, (tables["differences"],), of_one)
    yield Shown(plots.outcomes, f'results.summary, condition="{OUTAGE}"', (summary,), {"condition": OUTAGE})
    yield Shown(plots.effect_times, f'results.summary, condition="{OUTAGE}"', (summary,), {"condition": OUTAGE})
    price = {"condition": OUTAGE, "metric": "attempts_per_request"}
    yield Shown(plots.metric_bars, f'results.summary, condition="{OUTAGE}", metric="attempts_per_request"', (summary,), price)
    group = {"condition": OUTAGE, "group": "all"}
    yield Shown(plots.where_time_went, f'tables["time_parts"], condition="{OUTAGE}"', (tables["time_parts"],), group)
    yield Shown(
        plots.explanation, f'explain(results).parts, condition="{OUTAGE}"', (explain(results).parts,), {"condition": OUTAGE}
    )
    regret = results.regret()
    called = "regret.table, regret.totals, metric=regret.metric"
    yield Shown(plots.regret_map, called, (regret.table, regret.totals), {"metric": regret.metric})
    request = single_request(results, "p99", candidate="three tries", condition=OUTAGE)
    yield Shown(plots.waterfall, 'single_request(results, "p99").table', (request.table,))


def of_sweep(swept: Sweep) -> Iterator[Shown]:
    """Charts of a sweep over load and workers."""
    load, workers = "load.rate", "services.payment.workers"
    summary = swept.summary
    few = summary[summary[workers] == summary[workers].min()]
    units = {load: "/s"}
    points = swept.points[swept.points[workers] == few[workers].min()]
    found = {"setting": load, "knees": knees(points, load, "p99_s"), "units": units}
    call = 'swept.summary, setting="load.rate", knees=knees(swept.points, "load.rate", "p99_s")'
    yield Shown(plots.load_latency, call, (few,), found)
    by = {"setting": load, "metric": "success", "by": [workers], "units": units}
    call = 'swept.summary, setting="load.rate", metric="success", by=["services.payment.workers"]'
    yield Shown(plots.metric_over_setting, call, (summary,), by)
    two = {"across": load, "up": workers, "metric": "p99_s", "units": units}
    call = 'swept.summary, across="load.rate", up="services.payment.workers", metric="p99_s"'
    yield Shown(plots.heat_map, call, (summary,), two)


def all_shown(place: Path) -> Iterator[Shown]:
    """Every chart, in the order of the page."""
    rivals = sim.load(HERE / "gallery.yaml")
    assert isinstance(rivals, sim.Comparison)
    results = sim.compare(rivals, out=place / "study")
    yield from of_study(results)
    settings = {"load.rate": "40/s..220/s:7", "services.payment.workers": [3, 4, 6]}
    yield from of_sweep(sim.sweep(HERE / "gallery-calm.yaml", settings, replications=2, duration="20s", out=place / "sweep"))
    assumed = {"load.rate": "90/s..150/s", "calls.default.timeout": "300ms..2s"}
    moved = sensitivity(HERE / "gallery-calm.yaml", assumed, metric="p99_s", replications=2, duration="15s")
    call = 'sensitivity(file, ranges, metric="p99_s").ends, metric="p99_s"'
    yield Shown(plots.tornado, call, (moved.ends,), {"metric": "p99_s"})
    workers = "services.payment.workers"
    sought = sim.search(
        HERE / "gallery-calm.yaml", largest={"load.rate": "20/s..300/s"}, over={workers: [2, 3, 4, 6]}, duration="15s",
        tolerance=0.1, at_most=10,
    )  # fmt: skip
    where = {"path": "load.rate", "over": workers, "units": sought.units}
    yield Shown(plots.borders, 'found.borders, path="load.rate", over="services.payment.workers"', (sought.borders,), where)
    ramp = [(0.0, 40.0), (40.0, 320.0), (80.0, 40.0)]
    (place / "ramp.yaml").write_text(RAMP)
    climbing = sim.load(place / "ramp.yaml")
    assert isinstance(climbing, sim.Scenario)
    ways = up_and_down(sim.run(climbing, 1).requests, ramp)
    yield Shown(plots.hysteresis, "up_and_down(result.requests, ramp)", (ways,))
    (place / "stale.yaml").write_text(STALE)
    late = sim.load(place / "stale.yaml")
    assert isinstance(late, sim.Scenario)
    changes = sim.run(late, 1).changes.assign(candidate="a lease of 15 s", condition="crash", replication=0)
    yield Shown(plots.staleness_cdf, "sim.analysis.staleness(result.changes)", (staleness(changes).assign(condition="crash"),))
    calm = sim.load(HERE / "gallery-calm.yaml")
    assert isinstance(calm, sim.Scenario)
    warmup = find_warmup(calm)
    yield Shown(plots.warmup_over_time, "find_warmup(scenario).series", (warmup.series,), {"end_s": warmup.end_s})


def write(target: Path, place: Path) -> None:
    """Write the page and its pictures."""
    mpl.use("agg")
    pictures = target / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Gallery", "",
        "Every chart of `sim.plots`: one function each, tables in, axes out. All are of one small question,",
        "`docs/site/gallery.yaml`, that `docs/site/gallery.py` simulates when these pages are made; `tables` is",
        "`results.tables()`.", "",
    ]  # fmt: skip
    for shown in all_shown(place):
        name = shown.chart.__name__
        figure = shown.draw()
        save(figure, pictures / name, ("svg", "png"))
        plt.close("all")
        said = (inspect.getdoc(shown.chart) or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"## {name}", "", said, "", f"![{name}](gallery/{name}.svg)", ""]
        lines += ["```python", f"plots.{name}({shown.call})", "```", ""]
    (target / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
