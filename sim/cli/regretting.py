"""``sim regret``: how far each candidate is from the best of each condition, and who never is far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.terminal import Format, answer, out, say
from sim.errors import ScenarioError

if TYPE_CHECKING:
    from sim.analysis.regret import Regret


def show_regret(
    directory: Path, metric: str | None, weights: Sequence[str], output: Format, *, charts: bool, quiet: bool
) -> None:
    """Do what ``sim regret`` does."""
    from sim.study import load_results

    results = load_results(directory)
    if len(results.candidates) < 2:
        raise ScenarioError(f"{directory}: has one candidate; regret is how much worse one is than another: use sim compare")
    found = results.regret(metric, _weights(weights))
    answer(
        output,
        table=lambda: found.table,
        data=lambda: as_data(found),
        show=lambda: _show(found, results.verdict().chosen),
    )
    if charts:
        path = _draw(found, directory / "charts", results.question)
        if not quiet:
            say(f"chart     {path} (and SVG)")


def as_data(found: Regret) -> dict[str, Any]:
    """Everything that is known of regret, as data."""
    return {
        "metric": found.metric,
        "minimax": found.minimax,
        "sure": found.sure,
        "least_expected": found.least_expected,
        "weights": dict(found.weights),
        "table": found.table.to_dict("records"),
        "totals": found.totals.to_dict("records"),
    }


def _weights(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ScenarioError(f"--weight {text}: write CONDITION=NUMBER, for example 'crash=0.1'")
    return found


def _show(found: Regret, chosen: str | None) -> None:
    from rich.table import Table

    from sim.analysis import words
    from sim.analysis.regret import regret_with_interval

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    conditions = list(dict.fromkeys(found.table["condition"]))
    heading = f"regret in {words.metric_words(found.metric)}"
    for title in (heading, *conditions, "worst case", "expected"):
        table.add_column(title, overflow="fold")
    cells = found.table.set_index(["candidate", "condition"])
    for row in found.totals.to_dict("records"):
        mine = [cells.loc[(row["candidate"], condition)] for condition in conditions]
        each = [regret_with_interval(found.metric, one["regret"], one["low"], one["high"]) for one in mine]
        sums = [
            regret_with_interval(found.metric, *(row[f"{name}{end}"] for end in ("", "_low", "_high")))
            for name in ("worst", "expected")
        ]
        table.add_row(str(row["candidate"]), *each, *sums)
    out().print(table)
    doubt = "" if found.sure else ", with other seeds it might be another"
    least = (
        f"no candidate has less regret in {words.metric_words(found.metric)} than another"
        if found.alike
        else f"least regret in the worst case: {found.minimax}{doubt}; expected: {found.least_expected}"
    )
    out().print(f"\n{least}", soft_wrap=True, markup=False, style="bold")
    for sentence in found.sentences(chosen)[1:]:
        out().print(sentence, soft_wrap=True, markup=False)


def _draw(found: Regret, target: Path, question: str) -> Path:
    from sim.plots.files import save_axes
    from sim.plots.regret import regret_map

    ax = regret_map(found.table, found.totals, metric=found.metric)
    return save_axes(ax, target / "regret", ("png", "svg"))[0]
