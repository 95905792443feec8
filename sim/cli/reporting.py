"""``sim report``: the decision as one file."""

from __future__ import annotations

from pathlib import Path

from sim.cli.terminal import ReportFormat, print_text, say
from sim.errors import ScenarioError


def write_report(directory: Path, target: Path | None, output: ReportFormat | None, *, charts: bool, quiet: bool) -> None:
    """Write the report of the results in a directory."""
    from sim.report import as_html, as_markdown, content_of
    from sim.study import load_results

    by_name = target is not None and target.suffix.lower() in (".md", ".markdown")
    kind = output or (ReportFormat.MD if by_name else ReportFormat.HTML)
    results = load_results(directory)
    if kind is ReportFormat.MD:
        text = as_markdown(content_of(results, charts=False))
        if target is None:
            print_text(text)
            return
    else:
        text = as_html(content_of(results, charts=charts))
        target = target or directory / "report.html"
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ScenarioError(f"{target}: cannot be written: {exc.strerror}") from exc
    if not quiet:
        say(f"wrote     {target} ({len(text.encode()) / 1e6:.1f} MB)")
