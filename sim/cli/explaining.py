"""``sim explain`` and ``sim waterfall``: why the slow requests are slow, and single ones from first call to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sim.cli.terminal import Format, answer, out, print_text, say
from sim.units import format_duration

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from sim.study import Explanation, Results, SingleRequest

#: Lines of the table for each candidate and condition.
_MOST_LINES: Final = 12
#: Differences of times that are shorter, or below a thousandth of them, are told as 0.
_LEAST_S: Final = 1e-6
#: Single requests that are shown when nobody names others; those that a study does not have are left out.
_SINGLE: Final = ("median", "p99", "failed")
_TIMES: Final = ("start_s", "end_s", "queue_s", "service_s", "network_s")


def explain_results(
    directory: Path, at: str, candidate: str | None, condition: str | None, output: Format, *, charts: bool, quiet: bool
) -> None:
    """Explain the results in a directory, and write what was found."""
    from sim.study import ONLY_CONDITION, explain, load_results

    results = load_results(directory)
    found = explain(results, at, candidate=candidate, condition=condition)
    answer(output, table=lambda: found.parts, data=lambda: as_data(found), show=lambda: _show(found))
    if charts:
        from sim.plots import explanation, small_multiples
        from sim.plots.files import save

        parts = found.parts
        if results.conditions == (ONLY_CONDITION,):
            parts = parts.assign(condition=results.name)
        title = (
            "What failed requests spend their time on"
            if at == "failed"
            else f"What requests at {at} and beyond spend their time on"
        )
        height = 1.7 + 0.75 * parts["candidate"].nunique()
        figure = small_multiples(explanation, parts, title=title, question=results.question, columns=1, panel=(9.0, height))
        for path in save(figure, directory / "charts" / f"explain_{at}", ("png", "svg")):
            if not quiet:
                say(f"chart     {path}")


def as_data(found: Explanation) -> dict[str, Any]:
    """Everything about an explanation, as data: seconds, names as in the tables."""
    return {
        "at": found.at,
        "text": found.sentences(),
        "outcomes": found.outcomes.to_dict("records"),
        "differences": found.differences.to_dict("records"),
        "retries": found.retries.to_dict("records"),
        "parts": found.parts.to_dict("records"),
    }


def _show(found: Explanation) -> None:
    console = out()
    for sentence in found.sentences():
        console.print(sentence, markup=False, soft_wrap=True)
    for (candidate, condition), rows in found.differences.groupby(["candidate", "condition"], sort=False, observed=True):
        console.print(f"\n{candidate}, {condition}", style="bold", markup=False)
        console.print(_table(rows))


def _table(rows: pd.DataFrame) -> Table:
    from rich.table import Table

    from sim.plots.style import PART_NAMES

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("where", "what"):
        table.add_column(title, overflow="fold")
    for title in ("slow", "typical", "more", "share of it"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = rows[(rows["slow_s"] > 0) | (rows["typical_s"] > 0)]
    for row in shown.head(_MOST_LINES).to_dict("records"):
        table.add_row(row["where"], PART_NAMES[row["part"]], *_told(row))
    rest = shown.iloc[_MOST_LINES:]
    if len(rest):
        table.add_row(f"{len(rest)} others", "", *_told(rest[["slow_s", "typical_s", "more_s", "share"]].sum(min_count=1)))
    return table


def _told(row: Mapping[Any, Any] | pd.Series) -> tuple[str, ...]:
    """What slow requests took, and typical ones; how much more that is, 0 where nobody would notice it; and its share of all."""
    from sim.analysis.explaining import percent

    slow_s, typical_s, more_s, share = (float(row[name]) for name in ("slow_s", "typical_s", "more_s", "share"))
    noticed = abs(more_s) >= max(_LEAST_S, max(slow_s, typical_s) / 1000)
    return format_duration(slow_s), format_duration(typical_s), format_duration(more_s if noticed else 0.0), percent(share)


def show_requests(
    directory: Path,
    at: Sequence[str],
    candidate: str | None,
    condition: str | None,
    output: Format,
    *,
    mermaid: bool,
    charts: bool,
    quiet: bool,
) -> None:
    """Show single requests of the results in a directory: as tables or diagrams on standard output, and as charts."""
    from sim.study import load_results

    results = load_results(directory)
    found = _found_requests(results, at, candidate, condition)
    if mermaid:
        print_text("\n\n".join(one.mermaid for one in found) + "\n")
    else:
        answer(
            output,
            table=lambda: _attempts_of_all(found),
            data=lambda: [{"at": one.at, "title": one.title, "attempts": one.table.to_dict("records")} for one in found],
            show=lambda: _show_requests(found),
        )
    for one in found if charts else ():
        _draw_request(one, directory / "charts", quiet)


def _attempts_of_all(found: Sequence[SingleRequest]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([one.table.assign(at=one.at, request=one.request) for one in found], ignore_index=True)


def _show_requests(found: Sequence[SingleRequest]) -> None:
    console = out()
    for one in found:
        console.print(one.title, style="bold", markup=False, soft_wrap=True)
        console.print(_attempts_table(one.table))
        console.print()


def _found_requests(results: Results, at: Sequence[str], candidate: str | None, condition: str | None) -> list[SingleRequest]:
    from sim.errors import ScenarioError
    from sim.study import single_request

    found = []
    for one in at or _SINGLE:
        try:
            found.append(single_request(results, one, candidate=candidate, condition=condition))
        except ScenarioError as error:
            if at or "there is no" not in str(error):
                raise
    return found


def _draw_request(one: SingleRequest, directory: Path, quiet: bool) -> None:
    from matplotlib.figure import Figure

    from sim.plots import style, waterfall
    from sim.plots.files import save

    with style.themed():
        figure = Figure(figsize=(12.0, 2.4 + 0.34 * min(len(one.table), 60)), layout="constrained")
        waterfall(one.table, figure.subplots(), title=one.title)
    directory.mkdir(parents=True, exist_ok=True)
    for path in save(figure, directory / f"request_{one.at}", ("png", "svg")):
        if not quiet:
            say(f"chart     {path}")


def _attempts_table(attempts: pd.DataFrame) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("attempt", overflow="fold")
    for title in ("from", "to", "queue", "service", "network"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("waited for", no_wrap=True)
    for row in attempts.to_dict("records"):
        who = "the request" if not row["depth"] else "  " * (row["depth"] - 1) + f"{row['caller']} -> {row['target']}"
        who += f" [{row['replica']}]" if row["replica"] >= 0 else ""
        who += f", try {row['number']}" if row["number"] > 1 else ""
        times = ("–" if row[name] != row[name] else format_duration(row[name]) for name in _TIMES)
        table.add_row(who, *times, row["outcome"], "yes" if row["on_path"] else "no")
    return table
