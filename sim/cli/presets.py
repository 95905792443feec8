"""What `sim presets` prints: all presets, or one with every number and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.errors import ScenarioError
from sim.scenario.preset_words import Setting, on_in_words, settings_of_blocks, settings_on
from sim.scenario.presets import PRESETS, Preset
from sim.scenario.words import nearest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def chosen(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ScenarioError: there is none.
    """
    if name not in PRESETS:
        raise ScenarioError(f"no preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]


def list_as_data() -> list[dict[str, Any]]:
    """All presets: name, title, and what is on by default."""
    return [{"name": preset.name, "title": preset.title, "on": on_in_words(preset)} for preset in PRESETS.values()]


def as_data(preset: Preset) -> dict[str, Any]:
    """A preset with every setting and its source."""
    return {
        "name": preset.name,
        "title": preset.title,
        "on": _as_data(settings_on(preset)),
        "blocks": {block: _as_data(settings) for block, settings in settings_of_blocks(preset).items()},
        "notes": list(preset.notes),
    }


def _as_data(settings: list[Setting]) -> list[dict[str, Any]]:
    return [{"setting": each.path, "value": each.value, "source": each.source} for each in settings]


def show_list(console: Console) -> None:
    """Print all presets."""
    table = _table("preset", "what it is", "on by default")
    for preset in PRESETS.values():
        table.add_row(preset.name, preset.title, on_in_words(preset))
    console.print(table)
    console.print("\n[dim]sim presets NAME shows every number and where it comes from[/]")


def show_one(console: Console, preset: Preset) -> None:
    """Print a preset: what is on, what blocks start from, the notes."""
    console.print(f"[bold]{preset.name}[/]  {preset.title}")
    on = settings_on(preset)
    console.print(f"\n[bold]on by default[/]{'' if on else ': nothing'}")
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
