"""What people see: tables on the terminal, from what `check`, `run` and `compare` found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.cli import check
from sim.scenario.doubts import doubts_of, saves_work
from sim.scenario.forecast import edges_of, forecast
from sim.scenario.model import Comparison, Scenario

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from sim.study import Results

#: Characters that the names of the metrics take, and those of a value with its interval.
_NAME_WIDTH, _VALUE_WIDTH = 34, 30
#: Calls are shown with their tries where these are more by so much, the most tried ones first, and no more than so many.
_RETRIED, _MOST_RETRIED = 1.005, 8


def show_check(console: Console, found: Scenario | Comparison) -> None:
    """Print what `sim check` has to say."""
    if isinstance(found, Scenario):
        _show_scenario(console, found)
        return
    size = f"{_counted(len(found.candidates), 'candidate')} × {_counted(len(found.conditions), 'condition')}"
    console.print(f"[bold]{_plain(found.name)}[/]  {size}")
    if found.question:
        console.print(_plain(found.question))
    console.print()
    console.print(check.case_table(found))
    _show_doubts(console, doubts_of(found))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _show_scenario(console: Console, scenario: Scenario) -> None:
    expected = forecast(scenario)
    console.print(f"[bold]{_plain(scenario.name)}[/]  {scenario.hash}")
    for line in check.headline(scenario, expected):
        console.print(_plain(line), soft_wrap=True)
    console.print()
    console.print(check.service_table(scenario, expected))
    bound = "without what caches and batches save" if saves_work(scenario, edges_of(scenario)) else "a lower bound"
    console.print(f"[dim]utilisation from mean work and waiting for calls, without queues, failures and retries: {bound}[/]")
    lines = check.details(scenario)
    if lines:
        console.print()
        for line in lines:
            console.print(_plain(line), soft_wrap=True)
    _show_doubts(console, doubts_of(scenario))


def _show_doubts(console: Console, said: Sequence[str]) -> None:
    console.print()
    if not said:
        console.print("[green]nothing looks wrong[/]")
    for doubt in said:
        console.print(f"[yellow]doubt[/]     {_plain(doubt)}", soft_wrap=True)


def _plain(text: str) -> str:
    """Text in which rich finds no markup."""
    from rich.markup import escape

    return escape(text)


def show_results(console: Console, results: Results) -> None:
    """Print everything that a study found: numbers, differences, objectives, and the verdict in words."""
    runs = {(run.candidate, run.condition): 0 for run in results.runs}
    for run in results.runs:
        runs[run.candidate, run.condition] += 1
    console.print(f"[bold]{_plain(results.name)}[/]  {_how_many(sorted(set(runs.values())))}")
    if results.question:
        console.print(_plain(results.question), soft_wrap=True)
    differences = results.differences()
    judged = results.objectives()
    for condition in results.conditions:
        if len(results.conditions) > 1:
            console.print(f"\n[bold]under {_plain(condition)}[/]")
        if not (results.summary["condition"] == condition).any():
            console.print("no run of it is finished")  # an interrupt came before
            continue
        for table in _number_tables(results, condition, console.width):
            console.print()
            console.print(table)
        for made in (
            *_service_tables(results, condition),
            _difference_table(differences, condition, results.focus),
            _objective_table(judged, condition, results),
        ):
            if made is not None:
                console.print()
                console.print(made)
        if (helped := _seeds_help(differences, condition, results.focus)) is not None:
            console.print(f"[dim]{helped}[/]", soft_wrap=True)
    console.print()
    _show_verdict(console, results)


def _how_many(counts: Sequence[int]) -> str:
    """How often the scenarios were run, and what that allows to say."""
    if counts[-1:] == [1]:
        return "one replication each: no intervals, and no statement about differences and objectives"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{many} replications each, means with 95 % intervals"


def _show_verdict(console: Console, results: Results) -> None:
    if len(results.candidates) == 1:
        return  # the objectives have said it
    decision = results.verdict()
    console.print(f"[bold]{_plain(decision.reasons[0])}[/]", soft_wrap=True)
    if len(results.conditions) > 1 or decision.chosen is None:
        for condition, name in decision.by_condition.items():
            told = f"{name} is best{decision.grounds[condition]}" if name is not None else decision.ties[condition]
            where = f"under {_plain(condition)}: " if len(results.conditions) > 1 else ""
            console.print(f"  {where}{_plain(told)}", soft_wrap=True)
    if len(results.conditions) > 1 and not decision.tied and not results.partial:
        for sentence in results.regret().sentences(decision.chosen):
            console.print(_plain(sentence), soft_wrap=True)


def _number_tables(results: Results, condition: str, width: int) -> Iterator[Table]:
    """The metrics of a condition, as many candidates side by side as fit."""
    from sim.study.shown import shown_numbers

    summary = results.summary[results.summary["condition"] == condition]
    shown = [*shown_numbers(results, condition), *_retried(summary)]
    names = [name for name in results.candidates if (summary["candidate"] == name).any()]
    longest = max(_NAME_WIDTH, *(len(label) for label, _ in shown))
    # Rather a long name in two lines than two candidates below each other.
    rooms = (width - beside * _VALUE_WIDTH - 2 for beside in (2, 1))
    name_width = min(longest, next((room for room in rooms if room >= _NAME_WIDTH), _NAME_WIDTH))
    side_by_side = max(1, (width - name_width - 2) // _VALUE_WIDTH)
    for start in range(0, len(names), side_by_side):
        yield _number_table(shown, names[start : start + side_by_side], name_width)


def _retried(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """What was called more often than asked for, by any candidate: how far retries multiply, and where."""
    mine = rows[rows["metric"] == "tries_per_call_to"]
    most = mine.groupby("of")["mean"].max().sort_values(ascending=False, kind="stable")
    for target in most[most >= _RETRIED].index[:_MOST_RETRIED]:
        yield f"tries per call to {target}", mine[mine["of"] == target]


def _service_tables(results: Results, condition: str) -> Iterator[Table]:
    """A line per service and candidate: how evenly its replicas are called, how long callers chose from those that were gone."""
    from sim.analysis.balance import BALANCE
    from sim.analysis.states import STALENESS

    for heading, metrics in (("replicas of", BALANCE), ("replicas gone of", STALENESS)):
        rows = results.summary[(results.summary["condition"] == condition) & results.summary["metric"].isin(metrics)]
        if len(rows):
            yield _service_table(rows, heading, metrics)


def _service_table(rows: pd.DataFrame, heading: str, metrics: Sequence[str]) -> Table:
    from rich.table import Table

    from sim.analysis import words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in (heading, "under", *(words.metric_words(metric) for metric in metrics)):
        table.add_column(column)
    for (service, name), found in rows.groupby(["of", "candidate"], sort=False, observed=True):
        means = dict(zip(found["metric"], found["mean"], strict=True))
        cells = [words.amount(metric, means[metric]) if metric in means else "no value" for metric in metrics]
        table.add_row(_plain(str(service)), _plain(str(name)), *cells)
    return table


def _number_table(shown: Sequence[tuple[str, pd.DataFrame]], names: list[str], name_width: int) -> Table:
    from rich.table import Table

    from sim.analysis import words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", max_width=name_width)
    for name in names:
        table.add_column(_plain(name))
    most = max(int(rows["n"].max()) for _, rows in shown)
    once = most <= 1
    for label, rows in shown:
        cells, metric = [], str(rows["metric"].iloc[0])
        for name in names:
            found = rows[rows["candidate"] == name]
            values = [float(found[column].iloc[0]) for column in ("mean", "low", "high")] if len(found) else [math.nan] * 3
            # Where every number stands alone, the heading has said so.
            cell = words.amount(metric, values[0]) if once else words.with_interval(metric, *values)
            cells.append(_plain(cell + _how_many_recovered(found, most)))
        if any(cell != "no value" for cell in cells):
            table.add_row(_plain(label), *cells)
    return table


def _how_many_recovered(found: pd.DataFrame, most: int) -> str:
    """A mean over the runs that recovered must say how many did."""
    partly = len(found) and found["metric"].iloc[0].endswith("recovery_s") and 0 < found["n"].iloc[0] < most
    return f", in {found['n'].iloc[0]} of {most}" if partly else ""


def _difference_table(differences: pd.DataFrame, condition: str, focus: str | None) -> Table | None:
    """What every other candidate changes against the baseline, where it can be told."""
    from sim.analysis.intervals import DECIDING, each_effect

    rows = differences[(differences["condition"] == condition) & each_effect(differences, focus)]
    rows = rows[rows["metric"].isin(DECIDING) & rows["difference"].notna()]
    if not len(rows):
        return None
    from rich.table import Table

    from sim.analysis import words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in (f"against {_plain(str(rows['baseline'].iloc[0]))}", "", "difference", ""):
        table.add_column(title)
    order = rows.sort_values("metric", key=lambda names: names.map(DECIDING.index), kind="stable")
    # Of requests there is one `of`, that of the story.
    for (metric, of), mine in order.groupby(["metric", "of"], sort=False):
        name = _plain(words.metric_words(str(metric), str(of)) + words.of_whom(str(metric), focus))
        same = (mine[["difference", "low", "high"]] == 0).all(axis=1)
        if len(mine) > 1 and same.all():
            table.add_row(name, "all", words.SAME, "[dim]identical[/]")
            continue
        for row, is_same in zip(mine.to_dict("records"), same, strict=True):
            change = words.change(row)
            told = "identical" if is_same else row["verdict"]
            told = f"[bold]{told}[/]{_alone(row)}" if told in ("higher", "lower") else f"[dim]{told}[/]"
            table.add_row(name, _plain(row["candidate"]), _plain(change), told)
            name = ""
    return table


def _alone(row: Mapping[Any, Any]) -> str:
    """What is said of a difference that chance could have made somewhere among so many candidates."""
    from sim.analysis.intervals import CONFIDENCE

    return " [dim](by itself; not among all candidates)[/]" if row["p_holm"] >= 1 - CONFIDENCE else ""


def _seeds_help(differences: pd.DataFrame, condition: str, focus: str | None) -> str | None:
    """What the same seeds for all candidates were worth: by how many times more runs separate ones would have needed."""
    from sim.analysis import words
    from sim.analysis.intervals import headline

    rows = differences[(differences["condition"] == condition) & headline(differences, focus)]
    told = []
    for metric in ("success", "p99_s", "mean_s"):
        factors = rows.loc[rows["metric"] == metric, "variance_reduction"]
        factors = factors[factors.notna() & (factors != math.inf)]
        if len(factors):
            low, high = (f"{factor:.2g}" if factor < 10 else f"{factor:.0f}" for factor in (factors.min(), factors.max()))
            told.append(f"{words.metric_words(metric)} {low}{'' if low == high else f' to {high}'}")
    return f"variance of separate seeds over that of the same seeds: {', '.join(told)}" if told else None


def _objective_table(judged: pd.DataFrame, condition: str, results: Results) -> Table | None:
    rows = judged[judged["condition"] == condition]
    if rows.empty:
        return None
    from rich.table import Table

    from sim.analysis import words
    from sim.analysis.metrics import is_of_effects

    style = {"pass": "green", "fail": "bold red", "uncertain": "yellow"}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    several = rows["candidate"].nunique() > 1
    for title in ("objective", *([""] if several else []), "", "measured"):
        table.add_column(title)
    last = None
    order = list(dict.fromkeys(rows["slo"]))
    for row in rows.sort_values("slo", key=lambda texts: texts.map(order.index), kind="stable").to_dict("records"):
        measured = words.with_interval(row["metric"], row["value"], row["low"], row["high"])
        told = f"[{style[row['verdict']]}]{row['verdict']}[/]"
        whose = [_plain(row["candidate"])] if several else []
        of_all = results.focus is not None and row["of"] == "all" and not is_of_effects(row["metric"])
        about = " (all requests)" if of_all else ""
        table.add_row("" if row["slo"] == last else _plain(row["slo"] + about), *whose, told, _plain(measured))
        last = row["slo"]
    return table
