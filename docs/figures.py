"""Renew what the README shows of the main job: charts and table, from results/sync_or_async (see `make figures`)."""

import shutil
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
BEGIN, END = "<!-- made by `make figures`: begin -->", "<!-- made by `make figures`: end -->"


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


def main() -> None:
    """Copy the charts, rewrite the README between its marks."""
    results = load_results(RESULTS)
    for name in CHARTS:
        shutil.copy(RESULTS / "charts" / f"{name}.png", ROOT / "docs" / "images" / f"{name}.png")
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    headline = results.verdict().reasons[0]
    runs = len(results.runs) // len(results.scenarios)
    made = f"{table(results)}\n\nMeans of {runs} replications with 95 % intervals. Verdict: *{headline}*"
    readme.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")


if __name__ == "__main__":
    main()
