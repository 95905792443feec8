"""Renew what the README shows: of the main job (`make figures`), or, told `speed`, of the benchmarks (`make bench`)."""

import shutil
import sys
from pathlib import Path

from sim.analysis import words
from sim.study import Results, load_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "sync_or_async"
CHARTS = ("success_over_time", "effect_times")
SHOWN = (
    ("orders confirmed", "success", "frontend.checkout"),
    ("order, median", "p50_s", "frontend.checkout"),
    ("order, p90", "p90_s", "frontend.checkout"),
    ("e-mails sent", "completeness", "emailservice.SendOrderConfirmation"),
    ("until the e-mail is sent, p90", "effect_p90_s", "emailservice.SendOrderConfirmation"),
    ("calls per order", "attempts_per_request", "frontend.checkout"),
)


def table(results: Results) -> str:
    """The README's table: a block of rows per condition, a column per candidate."""
    lines = ["| | " + " | ".join(results.candidates) + " |", "|---|" + "---|" * len(results.candidates)]
    for condition in results.conditions:
        lines.append(f"| **{condition}** |" + " |" * len(results.candidates))
        for title, metric, of in SHOWN:
            cells = []
            for candidate in results.candidates:
                s = results.summary
                row = s[(s.candidate == candidate) & (s.condition == condition) & (s.metric == metric) & (s.of == of)].iloc[0]
                cells.append(words.with_interval(metric, row["mean"], row["low"], row["high"]))
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rewrite(target: str, text: str) -> None:
    """Put a text between the marks that a make target has in the README."""
    begin, end = (f"<!-- made by `make {target}`: {mark} -->" for mark in ("begin", "end"))
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(begin)
    _, after = rest.split(end)
    readme.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def main_job() -> None:
    """Copy the charts, rewrite the table."""
    results = load_results(RESULTS)
    for name in CHARTS:
        shutil.copy(RESULTS / "charts" / f"{name}.png", ROOT / "docs" / "images" / f"{name}.png")
    headline = results.verdict().reasons[0]
    runs = len(results.runs) // len(results.scenarios)
    rewrite("figures", f"{table(results)}\n\nMeans of {runs} replications with 95 % intervals. Verdict: *{headline}*")


if __name__ == "__main__":
    if sys.argv[1:] == ["speed"]:
        rewrite("bench", (ROOT / "benchmarks" / "results" / "speed.md").read_text())
    else:
        main_job()
