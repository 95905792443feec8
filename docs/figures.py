"""Renew what the README and the guide show: of the main job, the failures and `sim validate` (`make figures`).

Told one of `speed`, `failures`, `validation` and `studies`, of that alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sim import plots
from sim.analysis import attempts_over_time, done_though_failed, read_staleness, words
from sim.plots.files import save_axes
from sim.plots.style import themed
from sim.study import Results, load_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "sync_or_async"
IMAGES = ROOT / "docs" / "images"
GUIDE = ROOT / "docs" / "guide"
CHARTS = ("success_over_time", "effect_times")
SHOWN = (
    ("orders confirmed", "success", "frontend.checkout"),
    ("order, median", "p50_s", "frontend.checkout"),
    ("order, p90", "p90_s", "frontend.checkout"),
    ("e-mails sent", "completeness", "emailservice.SendOrderConfirmation"),
    ("until the e-mail is sent, p90", "effect_p90_s", "emailservice.SendOrderConfirmation"),
    ("calls per order", "attempts_per_request", "frontend.checkout"),
)


STORM, OUTAGE, SINGLE = "retry_storm", "five seconds of outage", "single errors"
#: Column of a table of candidates: its title, condition, metric, of.
STORM_SHOWN = (
    ("answered, 1 % single errors", SINGLE, "success", "all"),
    ("answered, outage", OUTAGE, "success", "all"),
    ("recovery after the outage", OUTAGE, "recovery_s", "all"),
    ("p99, outage", OUTAGE, "p99_s", "all"),
    ("attempts per request, outage", OUTAGE, "attempts_per_request", "all"),
)
CASCADE_SHOWN = (
    ("carts answered", "base", "success", "shop.cart"),
    ("cart, p99", "base", "p99_s", "shop.cart"),
    ("product pages answered", "base", "success", "shop.product"),
    ("without recommendations", "base", "share_degraded", "shop.product"),
)
DISCOVERY_SHOWN = (
    *((shown, shown, "success", "all") for shown in ("crash", "rolling deployment", "registry outage", "a proxy crashes")),
    ("scaling out: p99", "scaling out", "p99_s", "all"),
)
PAGE_SHOWN = (
    *((f"{shown}: mean", shown, "mean_s", "all") for shown in ("phones, cold", "phones, warm", "service beside")),
    ("bytes, phones, cold", "phones, cold", "wire_bytes_per_request", "all"),
    ("connections, phones, cold", "phones, cold", "new_connections_per_request", "all"),
)
ORDERS = "frontend.checkout"
FLOW_SHOWN = (
    *((f"ordered, {shown}", shown, "success", ORDERS) for shown in ("payment outage", "e-mail outage", "broker outage", "burst")),
    ("e-mail, p90, payment outage", "payment outage", "effect_p90_s", "emailservice.SendOrderConfirmation"),
)
#: What the workers of the storm's backend can do: 20 of them, 50 ms for a call.
CAPACITY_RPS = 400.0


def told(results: Results, candidate: str, condition: str, metric: str, of: str) -> str:
    """One number with its interval."""
    s = results.summary
    row = s[(s.candidate == candidate) & (s.condition == condition) & (s.metric == metric) & (s.of == of)].iloc[0]
    return words.with_interval(metric, row["mean"], row["low"], row["high"])


def table(results: Results) -> str:
    """The table of the main job: a block of rows per condition, a column per candidate."""
    lines = ["| | " + " | ".join(results.candidates) + " |", "|---|" + "---|" * len(results.candidates)]
    for condition in results.conditions:
        lines.append(f"| **{condition}** |" + " |" * len(results.candidates))
        for title, metric, of in SHOWN:
            cells = [told(results, candidate, condition, metric, of) for candidate in results.candidates]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_candidate(results: Results, shown: tuple[tuple[str, str, str, str], ...]) -> str:
    """A table of a failure: a row per candidate, a column per number."""
    lines = ["| | " + " | ".join(title for title, *_ in shown) + " |", "|---|" + "---|" * len(shown)]
    for candidate in results.candidates:
        cells = [told(results, candidate, condition, metric, of) for _, condition, metric, of in shown]
        lines.append(f"| {candidate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def storm(results: Results) -> Figure:
    """Goodput, and under it the attempts at the backend, over time."""
    tables = results.tables()
    end_s = next(iter(results.scenarios.values())).run.end
    rows = results.rows("attempts", condition=OUTAGE, columns=["target", "started_s"])
    attempts = attempts_over_time(rows[rows["target"] == "backend.get"], 2.0, end_s=end_s)
    windows = [("the backend stands still", row.start_s, row.end_s) for row in tables["faults"].itertuples()]
    with themed():
        figure = Figure(figsize=(11.0, 8.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        plots.goodput_over_time(
            tables["over_time"], above, condition=OUTAGE, windows=windows, title="Good answers per second", legend=False
        )
        plots.attempts_over_time(attempts, below, windows=windows, title="Attempts at the backend per second")
        below.axhline(CAPACITY_RPS, color="#333333", linewidth=1.0)
        below.annotate(
            "what it can do", (end_s, CAPACITY_RPS), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10
        )
        above.set_xlabel("")
    return figure


def messaging(results: Results) -> str:
    """The table of the order flow, with how old the order history is, and how many orders were paid and "failed"."""
    requests = results.rows("requests", columns=["request", "entry", "outcome", "ended_s"])
    effects = results.rows("effects", columns=["effect", "request", "done_s"])
    run = next(iter(results.scenarios.values())).run
    age = read_staleness(requests, effects, "orderhistory.Record", start_s=run.warmup, end_s=run.end)
    paid = done_though_failed(requests, effects, "paymentservice.Charge")
    by_hand = {
        "history behind, payment outage": _mean(age, "payment outage", "max_s").map(lambda value: f"{value:.3g} s at most"),
        "paid and told that it failed, e-mail outage": _mean(paid, "e-mail outage", "done").map(
            lambda value: f"{value:.1f} orders"
        ),
    }
    lines = by_candidate(results, FLOW_SHOWN).split("\n")
    lines[0] += "".join(f" {title} |" for title in by_hand)
    lines[1] += "---|" * len(by_hand)
    for number, candidate in enumerate(results.candidates, 2):
        lines[number] += "".join(f" {cells[candidate]} |" for cells in by_hand.values())
    return "\n".join(lines)


def _mean(table: pd.DataFrame, condition: str, column: str) -> pd.Series[float]:
    mine = table[table["condition"] == condition]
    return mine.groupby("candidate", observed=True)[column].mean()


def rewrite(target: str, text: str) -> None:
    """Put a text between the marks that a make target, or a part of it, has in the README or on a page of the guide."""
    command, _, part = target.partition(", ")
    begin, end = (f"<!-- made by `make {command}`{part and f', {part}'}: {mark} -->" for mark in ("begin", "end"))
    (page,) = (one for one in (ROOT / "README.md", *GUIDE.glob("*.md")) if begin in one.read_text())
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def validated(found: pd.DataFrame) -> str:
    """What `sim validate` found, a row for each group of cases."""
    lines = ["| | cases | numbers | reproduced | farthest, of its tolerance |", "|---|---:|---:|---:|---:|"]
    for group, rows in found.groupby("group", sort=False):
        ids = ", ".join(dict.fromkeys(rows["id"]))
        good = int((rows["verdict"] == "reproduced").sum())
        lines.append(f"| {group}: {ids} | {rows['case'].nunique()} | {len(rows)} | {good} | {_farthest(rows):.0%} |")
    good = int((found["verdict"] == "reproduced").sum())
    cases = len(found.drop_duplicates(["id", "case"]))
    lines.append(f"| **all** | **{cases}** | **{len(found)}** | **{good}** | {_farthest(found):.0%} |")
    return "\n".join(lines)


def _farthest(rows: pd.DataFrame) -> float:
    """How far the worst number is from the expected one, in tolerances."""
    return float(((rows["simulated"] - rows["expected"]).abs() / rows["tolerance"]).max())


def each_validated(found: pd.DataFrame) -> str:
    """The same, number by number, as a page."""
    lines = [
        "# Published numbers, simulated",
        "",
        "Made by `make figures` from `sim validate`: what others have proved, published or measured beside what is simulated,",
        "with 99 % intervals over the seeds.",
        "",
        "| case | what | expected | simulated | tolerance | seeds | verdict | source |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for row in found.to_dict("records"):
        simulated = f"{row['simulated'] + 0.0:.5g} ± {row['half_width']:.2g}"
        cells = [f"{row['id']} {row['case']}", row["what"], f"{row['expected']:.5g}", simulated, f"{row['tolerance']:.2g}"]
        lines.append(f"| {' | '.join(map(str, [*cells, row['seeds'], row['verdict'], row['source']]))} |")
    return "\n".join(lines)


def validation() -> None:
    """Rewrite the table of what is reproduced, and the page with every number."""
    found = pd.read_csv(ROOT / "results" / "validation.csv")
    rewrite("figures, validation", validated(found))
    (ROOT / "docs" / "validation.md").write_text(f"{each_validated(found)}\n")


def main_job() -> None:
    """Copy the charts, rewrite the table."""
    results = load_results(RESULTS)
    for name in CHARTS:
        shutil.copy(RESULTS / "charts" / f"{name}.png", IMAGES / f"{name}.png")
    headline = results.verdict().reasons[0]
    runs = len(results.runs) // len(results.scenarios)
    rewrite("figures", f"{table(results)}\n\nMeans of {runs} replications with 95 % intervals. Verdict: *{headline}*")


def failures() -> None:
    """Draw the storm, rewrite the tables of the storm, the cascade of finding replicas and of protocols."""
    names = (STORM, "cascade", "discovery", "order_flow", "product_page")
    results, cascade, discovery, flow, page = (load_results(ROOT / "results" / name) for name in names)
    with themed():
        storm(results).savefig(IMAGES / f"{STORM}.png", dpi=110, metadata={"Software": None})
    rewrite("figures, storm", by_candidate(results, STORM_SHOWN))
    rewrite("figures, cascade", by_candidate(cascade, CASCADE_SHOWN))
    rewrite("figures, discovery", by_candidate(discovery, DISCOVERY_SHOWN))
    rewrite("figures, messaging", messaging(flow))
    rewrite("figures, protocols", by_candidate(page, PAGE_SHOWN))


def studies() -> None:
    """Draw the vulnerable region, copy the ramp."""
    found = pd.read_csv(ROOT / "results" / "metastability" / "borders.csv")
    outage, load = "faults[0].for", "load.rate"
    with themed():
        ax = plots.borders(
            found, path=outage, over=load, units={outage: "s", load: "/s"}, title="Longest outage that is survived"
        )
        save_axes(ax, IMAGES / "metastability", ("png",))
    shutil.copy(ROOT / "results" / "ramp" / "hysteresis.png", IMAGES / "hysteresis.png")


if __name__ == "__main__":
    if sys.argv[1:] == ["speed"]:
        for mark, file in (("bench", "speed.md"), ("bench, sweeps", "sweeps.md")):
            rewrite(mark, (ROOT / "benchmarks" / "results" / file).read_text())
    elif sys.argv[1:] == ["failures"]:
        failures()
    elif sys.argv[1:] == ["validation"]:
        validation()
    elif sys.argv[1:] == ["studies"]:
        studies()
    else:
        main_job()
        failures()
        validation()
