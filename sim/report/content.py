"""What a report says: question, verdict, what differs, results, reasons, assumptions, doubts, limits, how to reproduce."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from sim import plots
from sim.analysis import words
from sim.analysis.explaining import percent
from sim.analysis.intervals import DECIDING, each_effect, headline
from sim.analysis.metrics import is_ratio
from sim.analysis.regret import regret_with_interval
from sim.errors import ScenarioError
from sim.plots import style
from sim.plots.answers import ANSWERS, name_of
from sim.plots.files import PRICES, bare_charts, save, save_axes
from sim.report.blocks import Block, Bullets, Cell, Chart, Code, Content, Diagram, Heading, Table, Text
from sim.report.curves import CURVES, curve
from sim.report.flipping import flipping
from sim.report.limits import LIMITS
from sim.report.settings import assumptions, differences, ordered_by, presets_in
from sim.report.topology import topology
from sim.scenario.doubts import doubts_of
from sim.study import Results, explain
from sim.study.again import same_requests, studied, with_attempts
from sim.study.experiment import versions
from sim.study.shown import shown_numbers
from sim.study.store import read_manifest
from sim.units import format_duration

#: Charts whose numbers another chart or a table of the report has as well.
_TOLD_ELSEWHERE: Final = ("latency_cdf", *(f"difference_{metric}" for metric in PRICES))
_MOODS: Final = {"pass": "good", "fail": "bad", "lower": "told", "higher": "told"}


def content_of(results: Results, *, charts: bool = True) -> Content:
    """Everything that a report of these results says, block by block.

    Args:
        results: of a comparison, or of one scenario.
        charts: whether to draw any; that takes most of the time.
    """
    title = results.name.replace("_", " ")
    blocks = [
        *_decision(results),
        *_candidates(results),
        *_numbers(results),
        *_survival(results),
        *_robustness(results, charts),
        *flipping(results),
        *(_pictures(results) if charts else ()),
        *_reasons(results, charts),
        *_assumed(results),
        *_limits(results),
        *_recipe(results),
    ]
    colours = {name: look.colour for name, look in style.looks(results.candidates).items()}
    return Content(title, blocks, colours)


def _decision(results: Results) -> Iterator[Block]:
    if results.question:
        yield Text(f"Question: {results.question}")
    if results.focus is not None:
        yield Text(f"It is about requests for {results.focus}; other requests are part of the load.")
    if results.partial:
        yield Text(f"Partial: {len(results.runs)} of {results.planned} planned runs are finished.", strong=True)
    yield Heading("Verdict")
    if len(results.candidates) == 1:
        judged = results.objectives()
        counts = Counter(map(str, judged["verdict"])) if len(judged) else Counter()
        told = ", ".join(f"{counts[name]} {name}" for name in ("pass", "fail", "uncertain") if name in counts)
        nothing = "There is one candidate, and there are no objectives: nothing is decided."
        yield Text(f"Objectives: {told}. {results.reserve()}".strip() if told else nothing, strong=True)
        return
    decision = results.verdict()
    yield Text(decision.reasons[0], strong=True)
    by_condition = [
        f"Under {condition}: " + (f"{name} is best" if name is not None else decision.ties[condition])
        for condition, name in decision.by_condition.items()
    ]
    yield Bullets(by_condition if len(by_condition) > 1 else [])
    yield Text(
        "Objectives come first, then success, then latency; of costs and effects the differences are told and not weighed. "
        "Each interval covers with 95 % by itself, and a difference counts only if its paired interval excludes zero."
    )
    if len(decision.reasons) > 1:
        rows = [[reason] for reason in decision.reasons[1:]]
        yield Table(["reasons"], rows, f"All {len(rows)} reasons", folded=True)


def _candidates(results: Results) -> Iterator[Block]:
    first = results.conditions[0]
    of_candidates = {name: results.scenarios[name, first] for name in results.candidates}
    if len(results.scenarios) > 1:
        yield Heading("Candidates and conditions")
    if len(of_candidates) > 1:
        yield differences(of_candidates, "candidates") or Text("The candidates are the same in every setting.")
    of_conditions = {name: results.scenarios[results.baseline_or_first, name] for name in results.conditions}
    if len(of_conditions) > 1:
        found = differences(of_conditions, "conditions")
        yield found or Text("The conditions are the same in every setting.")
    yield Heading("Topology")
    drawn: dict[str, list[str]] = {}
    diagrams: dict[str, Diagram] = {}
    for name, scenario in of_candidates.items():
        diagram = topology(scenario, name)
        drawn.setdefault(diagram.mermaid, []).append(name)
        diagrams.setdefault(diagram.mermaid, diagram)
    for mermaid, names in drawn.items():
        who = "all candidates" if len(names) == len(of_candidates) and len(names) > 1 else ", ".join(names)
        yield Diagram(f"Who calls whom: {who}", diagrams[mermaid].svg, mermaid)


def _numbers(results: Results) -> Iterator[Block]:
    counts = sorted({sum(1 for run in results.runs if (run.candidate, run.condition) == pair) for pair in results.scenarios})
    yield Heading("Results")
    yield Text(f"Means of {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} replications with 95 % intervals.")
    for condition in results.conditions:
        rows: list[list[Cell | str]] = []
        for name, found in shown_numbers(results, condition):
            metric = str(found["metric"].iloc[0])
            rows.append([name, *(_value(found, candidate, metric) for candidate in results.candidates)])
        yield Table(["", *results.candidates], rows, f"Under {condition}" if len(results.conditions) > 1 else "Numbers")
    yield from _differences(results)
    judged = results.objectives()
    if len(judged):
        rows = [
            [
                str(row["condition"]), str(row["candidate"]), str(row["slo"]),
                Cell(row["verdict"], mood=_MOODS.get(row["verdict"], "")),
                Cell(words.with_interval(row["metric"], row["value"], row["low"], row["high"]), float(row["value"])),
            ]
            for row in judged.to_dict("records")
        ]  # fmt: skip
        yield Table(["under", "candidate", "objective", "verdict", "measured"], rows, "Objectives")


def _value(rows: pd.DataFrame, candidate: str, metric: str) -> Cell:
    found = rows[(rows["candidate"] == candidate) & (rows["metric"] == metric)]
    if not len(found):
        return Cell("–")
    mean, low, high = (float(found[column].iloc[0]) for column in ("mean", "low", "high"))
    return Cell(words.with_interval(metric, mean, low, high), mean)


def _differences(results: Results) -> Iterator[Block]:
    table = results.differences()
    rows = table[table["metric"].isin(DECIDING) & table["difference"].notna() & each_effect(table, results.focus)]
    if not len(rows):
        return
    found: list[list[Cell | str]] = []
    for row in rows.to_dict("records"):
        same = row["difference"] == row["low"] == row["high"] == 0
        change = words.change(row)
        name = words.metric_words(row["metric"], row["of"]) + words.of_whom(row["metric"], results.focus)
        told = Cell("identical" if same else row["verdict"], mood=_MOODS.get(row["verdict"], ""))
        found.append([str(row["condition"]), name, str(row["candidate"]), Cell(change, float(row["difference"])), told])
    caption = f"Paired differences to {rows['baseline'].iloc[0]}: the same arrivals, work and faults for both"
    yield Table(["under", "metric", "candidate", "difference", "verdict"], found, caption)


def _survival(results: Results) -> Iterator[Block]:
    """Under which faults a candidate went on answering as its objectives ask."""
    faults, late, judged, summary = results.faults(), results.late_faults(), results.objectives(), results.summary
    rows: list[list[Cell | str]] = []
    for condition in results.conditions:
        named, absent = (list(dict.fromkeys(table[table["condition"] == condition]["label"])) for table in (faults, late))
        some = 0 < len(absent) < len(named)
        what = ", ".join(f"{label} (did not happen in the run)" if some and label in absent else label for label in named)
        here = summary[(summary["condition"] == condition) & headline(summary, results.focus)]
        if not what:
            continue
        for candidate in results.candidates:
            mine = judged[(judged["condition"] == condition) & (judged["candidate"] == candidate)] if len(judged) else judged
            missed = list(mine[mine["verdict"] == "fail"]["slo"]) if len(mine) else []
            unsure = list(mine[mine["verdict"] == "uncertain"]["slo"]) if len(mine) else []
            told = Cell("no objectives") if not len(mine) else Cell("survived", mood="good")
            if len(absent) == len(named):
                told = Cell("did not happen in the run")
            elif missed:
                told = Cell(f"missed: {'; '.join(missed)}", mood="bad")
            elif unsure:
                told = Cell(f"uncertain: {'; '.join(unsure)}")
            recovery = _recovery(results, here, candidate, condition)
            rows.append([condition, what, candidate, told, _value(here, candidate, "success"), recovery])
    if rows:
        yield Heading("What was survived")
        columns = ["under", "fault", "candidate", "objectives", "success", "recovery of requests after the last fault"]
        yield Table(columns, rows, "Faults at fixed times, and how candidates came through")


def _recovery(results: Results, summary: pd.DataFrame, candidate: str, condition: str) -> Cell:
    """How long a candidate took to recover; where that is not known, why."""
    scenario = results.scenarios[candidate, condition]
    begun = [fault for fault in scenario.faults if fault.at is not None and fault.at < scenario.run.end]
    if any(fault.end_s is None or fault.end_s >= scenario.run.end for fault in begun):
        return Cell("– (a fault lasts to the end of the run)")
    return _value(summary, candidate, "recovery_s")


def _robustness(results: Results, charts: bool) -> Iterator[Block]:
    """How far each candidate is from the best of each condition, where there is a choice in more than one world."""
    if min(len(results.candidates), len(results.conditions)) < 2:
        return
    found = results.regret()
    yield Heading("Good in more than one world")
    doubt = "" if found.sure else ", though with other seeds it might be another"
    least = f"Least in the worst case: {found.minimax}{doubt}; least expected, with all conditions alike: {found.least_expected}."
    yield Text(
        f"Regret: how far a candidate is from the best one of each condition, in {words.metric_words(found.metric)}. "
        f"{'No candidate has less than another.' if found.alike else least}"
    )
    yield Bullets(found.sentences(results.verdict().chosen)[1:])
    rows: list[list[Cell | str]] = []
    for row in found.totals.to_dict("records"):
        mine = found.table[found.table["candidate"] == row["candidate"]].to_dict("records")
        numbers = [
            *((one["regret"], one["low"], one["high"]) for one in mine),
            *((row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in ("worst", "expected")),
        ]
        told = [Cell(regret_with_interval(found.metric, *ends), float(ends[0])) for ends in numbers]
        rows.append([str(row["candidate"]), *told])
    columns = ["candidate", *results.conditions, "worst case", "expected"]
    yield Table(columns, rows, "Regret with 95 % intervals; those of the worst case hold for all conditions at once")
    if charts:
        ax = plots.regret_map(found.table, found.totals, metric=found.metric, title="")
        with tempfile.TemporaryDirectory() as place:
            svg = save_axes(ax, Path(place) / "regret", ("svg",))[0].read_bytes()
        unit = "in percentage points" if is_ratio(found.metric) else "with units"
        yield Chart("How far from the best of each condition", f"candidates by conditions, {unit}: the darker the farther", svg)


def _pictures(results: Results) -> Iterator[Block]:
    tables = results.tables()
    yield Heading("Charts")
    yield Text("What decides most comes first; charts in which nothing happens are left out.")
    for name, title, figure in bare_charts(tables, without=_TOLD_ELSEWHERE):
        answered = name_of(name)
        data = curve(name, tables) if name in CURVES else None
        yield Chart(title, ANSWERS[answered] if answered else title, _svg(figure), data)


def _svg(figure: Figure) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        return save(figure, Path(place) / "chart", ("svg",))[0].read_bytes()


def _reasons(results: Results, charts: bool) -> Iterator[Block]:
    yield Heading("Why slow requests are slow")
    try:
        recorded = all(scenario.run.record_attempts and scenario.run.record_requests for scenario in results.scenarios.values())
        explained = results if recorded else with_attempts(results)
        found = explain(explained)
    except ScenarioError as error:
        yield Text(f"Not known: {error}")
        return
    if explained is not results:
        same = "the same requests as in the numbers above" if same_requests(results, explained) else (
            "not the requests of the numbers above, for the simulator has changed since"
        )  # fmt: skip
        yield Text(
            "The study recorded no attempts. For this part its first replication was simulated again with them, when this report "
            f"was made: {same}. One replication has no intervals."
        )
    yield Bullets(found.sentences())
    if charts:
        height = 1.7 + 0.75 * len(results.candidates)
        figure = plots.small_multiples(plots.explanation, found.parts, title=None, columns=1, panel=(9.0, height))
        title = "What requests at p99 and beyond spend their time on"
        yield Chart(title, "slow requests beside typical ones, divided by place", _svg(figure))
    rows: list[list[Cell | str]] = []
    for row in found.differences.to_dict("records"):
        if row["slow_s"] or row["typical_s"]:
            times = [Cell(format_duration(row[name]), row[name]) for name in ("slow_s", "typical_s", "more_s")]
            share = Cell(percent(row["share"]), row["share"])
            names = [str(row["candidate"]), str(row["condition"]), str(row["where"]), style.PART_NAMES[row["part"]]]
            rows.append([*names, *times, share])
    columns = ["candidate", "under", "where", "what", "p99 and beyond", "typical", "more", "share of it"]
    yield Table(columns, rows, "Where requests at p99 and beyond spent their time, against typical ones", folded=len(rows) > 12)


def _assumed(results: Results) -> Iterator[Block]:
    scenario = results.scenarios[results.baseline_or_first, results.conditions[0]]
    yield Heading("Assumptions, and where each number comes from")
    whose = f"{results.baseline_or_first} under {results.conditions[0]}"
    yield Text(
        f"The settings of {whose}; what others change is above. Written is what the scenario says. What its guesses and measured "
        "name is told with its bounds or its source; where they say nothing, its comments may. A preset's numbers are those of "
        "the real system, with their source."
    )
    yield from assumptions(scenario, ordered_by(_manifest_of(results).get("command_line", "")))


def _manifest_of(results: Results) -> Mapping[str, Any]:
    return {} if results.directory is None else read_manifest(results.directory)


def _limits(results: Results) -> Iterator[Block]:
    said = doubts_of(studied(results))
    yield Heading("Warnings")
    yield Bullets(said) if said else Text("The checks of the scenario have no doubts; that is no promise.")
    yield Heading("Limits of the model")
    yield Bullets(LIMITS)
    notes: dict[str, tuple[str, ...]] = {}
    for scenario in results.scenarios.values():
        notes |= {preset.name: preset.notes for _, _, preset in presets_in(scenario)}
    rows = [[name, note] for name, texts in notes.items() for note in texts]
    if rows:
        yield Table(["preset", "known and not modelled"], rows, "What the presets leave out", folded=True)


def _recipe(results: Results) -> Iterator[Block]:
    manifest = _manifest_of(results)
    yield Heading("How to reproduce")
    if manifest.get("command_line"):
        yield Code(str(manifest["command_line"]))
    seeds = sorted({run.seed for run in results.runs})
    told = [f"Seeds {seeds[0]} to {seeds[-1]}; the same seeds give the same rows, with any number of workers."] if seeds else []
    if manifest:
        told.append(f"Run on {manifest['date']}, in {format_duration(float(manifest['took_s']))}.")
    yield Bullets(told)
    used = manifest.get("versions") or versions()
    yield Table(["what", "version"], [[name, str(number)] for name, number in used.items()], "Versions")
    rows = [[candidate, condition, scenario.hash] for (candidate, condition), scenario in results.scenarios.items()]
    yield Table(["candidate", "condition", "hash"], rows, "Scenarios: a hash names everything that influences rows")
