"""What `sim presets` prints: all presets in groups, or one with every number and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.errors import ScenarioError
from sim.scenario.preset import Preset
from sim.scenario.preset_words import (
    GROUPS,
    Setting,
    numbers_in_words,
    on_in_words,
    settings_of_blocks,
    settings_on,
)
from sim.scenario.words import nearest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def chosen(name: str) -> dict[str, Preset]:
    """The presets of a name, by their group: one system may have several, as Eureka has one of registries and one of discovery.

    Raises:
        ScenarioError: there is none.
    """
    found = {of: group.presets[name] for of, group in GROUPS.items() if name in group.presets}
    if not found:
        known = dict.fromkeys(name for group in GROUPS.values() for name in group.presets)
        raise ScenarioError(f"no preset {name!r}; {nearest(name, known)}")
    return found


def list_as_data() -> list[dict[str, Any]]:
    """All presets: what it is of, name, title, and what is on by default."""
    return [
        {"of": of, "name": preset.name, "title": preset.title, "on": _in_words(of, preset)}
        for of, group in GROUPS.items()
        for preset in group.presets.values()
    ]


def as_data(presets: dict[str, Preset]) -> list[dict[str, Any]]:
    """The presets of one name, each with every setting and its source."""
    return [
        {
            "of": of,
            "name": preset.name,
            "title": preset.title,
            "on": _as_data(settings_on(preset, GROUPS[of].model)),
            "blocks": {block: _as_data(settings) for block, settings in settings_of_blocks(preset).items()},
            "notes": list(preset.notes),
        }
        for of, preset in presets.items()
    ]


def _in_words(of: str, preset: Preset) -> str:
    return on_in_words(preset) if of == "calls" else numbers_in_words(preset, GROUPS[of].model)


def _as_data(settings: list[Setting]) -> list[dict[str, Any]]:
    return [{"setting": each.path, "value": each.value, "source": each.source} for each in settings]


def show_list(console: Console) -> None:
    """Print all presets, those of calls first."""
    from rich.markup import escape

    for of, group in GROUPS.items():
        console.print(f"[bold]of {of}[/]  [dim]{group.where}[/]")
        table = _table("preset", "what it is", "on by default" if of == "calls" else "numbers")
        for preset in group.presets.values():
            table.add_row(preset.name, preset.title, escape(_in_words(of, preset)))
        console.print(table)
        console.print()
    console.print("[dim]sim presets NAME shows every number and where it comes from[/]")


def show_some(console: Console, presets: dict[str, Preset]) -> None:
    """Print the presets of one name, one after the other."""
    for i, (of, preset) in enumerate(presets.items()):
        if i:
            console.print()
        _show_one(console, of, preset)


def _show_one(console: Console, of: str, preset: Preset) -> None:
    """Print a preset: what is on, what blocks start from, the notes."""
    console.print(f"[bold]{preset.name}[/] of {of}  {preset.title}")
    on = settings_on(preset, GROUPS[of].model)
    console.print(f"\n[bold]{'on by default' if of == 'calls' else 'numbers'}[/]{'' if on else ': nothing'}")
    if on:
        console.print(_settings_table(on, ""))
    for block, settings in settings_of_blocks(preset).items():
        console.print(f"\n[bold]{block}, once it is configured[/]")
        console.print(_settings_table(settings, f"{block}."))
    console.print()
    for note in preset.notes:
        console.print(f"- {note}", markup=False)


def _settings_table(settings: list[Setting], block: str) -> Table:
    from rich.markup import escape

    table = _table("setting", "value", "from")
    for each in settings:
        table.add_row(each.path.removeprefix(block), escape(each.text), escape(each.source))
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        # A setting is copied from here, so it stays in one piece; the long texts are broken.
        table.add_column(column, overflow="fold", no_wrap=column in ("preset", "setting"))
    return table
