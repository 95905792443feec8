"""``sim calibrate``: a scenario from recorded spans, and how well it tells what was recorded."""

from __future__ import annotations

import math
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.terminal import Format, answer, end_if_partial, out, progress
from sim.errors import ScenarioError
from sim.units import format_duration

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from sim.interop.calibrate import Calibration


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """Read repeated ``left=right`` options.

    >>> pairs("--page", ["list_products=home"])
    {'list_products': 'home'}

    Raises:
        ScenarioError: one of them is no such pair.
    """
    for text in texts:
        if text.count("=") != 1 or not all(text.split("=")):
            raise ScenarioError(f"{option} {text}: write what is there, =, and what it shall be: list_products=home")
    return dict(text.split("=") for text in texts)


def law(option: str, text: str) -> Any:
    """Read a law of durations as a scenario has it.

    >>> law("--think", "5s"), law("--think", "{uniform: {low: 1s, high: 10s}}")
    ('5s', {'uniform': {'low': '1s', 'high': '10s'}})

    Raises:
        ScenarioError: it is neither a text with a unit nor a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        data = None
    if not isinstance(data, str | dict):
        raise ScenarioError(f"{option} {text}: is not a law; write 5s, or '{{uniform: {{low: 1s, high: 10s}}}}'")
    return data


def calibrate_file(
    spans: Path,
    target: Path,
    *,
    name: str | None,
    duration: str,
    page_names: dict[str, str],
    unrecorded: dict[str, str],
    think: Any,
    base: Path | None,
    force: bool,
) -> Calibration:
    """Derive the scenario and write it; with a `base`, only its load, as a change of that file.

    Raises:
        ScenarioError: the recording cannot be used, the scenario file exists or cannot be written, or the base is another system.
    """
    if target.exists() and not force:
        raise ScenarioError(f"{target}: exists; name another file, or replace it with --force")
    if base is not None and base.resolve() == target.resolve():
        raise ScenarioError(f"--base {base}: is the file to be written, which cannot begin from itself; name another --out")
    if not target.parent.is_dir():
        raise ScenarioError(f"{target}: there is no directory {target.parent}")
    from sim.interop.calibrate import calibrate

    name = name or target.stem
    calibration = calibrate(spans, name=name, duration=duration, page_names=page_names, unrecorded=unrecorded, think=think)
    if base is not None:
        _same_system(base, calibration)
    text = calibration.to_yaml(None if base is None else relpath(base, target.parent))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ScenarioError(f"{target}: cannot be written: {exc.strerror}") from exc
    return calibration


def _same_system(base: Path, calibration: Calibration) -> None:
    from sim.cli.files import one_scenario

    known, found = one_scenario(base, None, None), calibration.scenario
    if (known.services, known.links) != (found.services, found.links):
        raise ScenarioError(f"--base {base}: its services or links are not those of this recording; leave --base out")


def print_pages(
    calibration: Calibration, output: Format, *, replications: int, seed: int | None, workers: int | None, quiet: bool
) -> None:
    """Simulate the scenario and print recorded against simulated latencies, page by page."""
    from sim.interop.calibrate import compare_pages
    from sim.study import replicate

    scenario = calibration.scenario
    with progress("simulating", quiet=quiet) as tell:
        results = replicate(scenario, replications, workers, tell, seed=seed, rows=("requests",))
    pages = compare_pages(calibration.recorded, results.rows("requests"), since_s=scenario.run.warmup, until_s=scenario.run.end)
    answer(
        output,
        table=lambda: pages,
        data=lambda: pages.to_dict("records"),
        show=lambda: out().print(page_table(pages)),
    )
    end_if_partial(results.partial, f"interrupted: the table rests on {len(results.runs)} of {results.planned} runs")


def page_table(pages: pd.DataFrame) -> Table:
    """Recorded against simulated, one line per page; the recorded value with its own 95 % interval."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("page", overflow="fold")
    for title in ("traces", "requests"):
        table.add_column(title, justify="right")
    for title in ("median recorded", "simulated", "p90 recorded", "simulated"):
        table.add_column(title, no_wrap=True)
    for row in pages.to_dict("records"):
        cells = []
        for label in ("median", "p90"):
            real, low, high = (row[f"recorded_{label}{part}_s"] for part in ("", "_low", "_high"))
            cells.append(f"{format_duration(real)} [{format_duration(low)}, {format_duration(high)}]".replace("[", "\\["))
            model, error = row[f"simulated_{label}_s"], row[f"{label}_error_percent"]
            cells.append("none" if math.isnan(model) else f"{format_duration(model)} ({error:+.0f} %)")
        table.add_row(str(row["page"]), str(row["traces"]), f"{row['requests']:,}", *cells)
    return table
