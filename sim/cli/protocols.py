"""What `sim protocols` prints: the layers that a protocol is made of, every number with its source, and how to write another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sim.errors import ScenarioError
from sim.scenario.preset import leaves
from sim.scenario.profiles import CODECS, COMPRESSIONS, PROFILES, VERSION, Profile
from sim.scenario.words import nearest
from sim.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console

#: All of them, by name.
ALL: Final[Mapping[str, Profile]] = {**PROFILES, **CODECS, **COMPRESSIONS}

_SIZES: Final = (
    "segment", "segment_overhead", "max_window", "stream_window", "connection_window", "record_size", "record_overhead",
    "framing", "overhead",
)  # fmt: skip
_NO_TIME: Final = ("round_trips", "saved_by_ticket", "saved_by_0_rtt", "initial_window", "decrease", "ratio")

#: How each layer's numbers are overridden.
_OVERRIDES: Final = {
    "transport": "protocol: {profile: grpc, transport: {initial_window: 32}}",
    "security": "protocol: {profile: grpc, security: none, handshake: {server_cpu: 200us}}",
    "http": "protocol: {profile: grpc, http: http/3, request_headers: 400 B}, connections: {per_process: 4}",
    "style": "protocol: {profile: grpc, encoding: json}",
    "codec": "codecs: {json: {encode_per_message: 1us, encode_per_kb: 3us, decode_per_message: 1us, decode_per_kb: 5us}}",
    "compression": "protocol: {profile: rest-json, compression: {algorithm: gzip, level: 6, minimum_size: 1 kB}}",
}


def chosen(name: str) -> Profile:
    """The layer of a name.

    Raises:
        ScenarioError: there is none.
    """
    if name not in ALL:
        raise ScenarioError(f"no layer {name!r} of a protocol; {nearest(name, ALL)}")
    return ALL[name]


def as_data(profiles: list[Profile]) -> list[dict[str, Any]]:
    """The layers, each with every setting in base units and its source."""
    return [
        {
            "name": each.name,
            "title": each.title,
            "layer": each.layer,
            "version": VERSION,
            "settings": [
                {"setting": path, "value": value, "source": each.sources[path]} for path, value in leaves(each.settings)
            ],
            "override": _OVERRIDES[each.layer],
        }
        for each in profiles
    ]


def show(console: Console, profiles: list[Profile]) -> None:
    """Print layers, one after the other, each with how to override it."""
    from rich.markup import escape
    from rich.table import Table

    for each in profiles:
        console.print(f"[bold]{each.name}[/]  {each.title}  [dim]{each.layer}[/]")
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("setting", no_wrap=True)
        table.add_column("value", overflow="fold")
        table.add_column("from", overflow="fold")
        for path, value in leaves(each.settings):
            table.add_row(path, escape(_written(path, value)), escape(each.sources[path]))
        console.print(table)
        console.print(f"[dim]otherwise:[/] {escape(_OVERRIDES[each.layer])}\n")
    console.print(f"[dim]version {VERSION}; sim measure-codecs measures processor times on this machine[/]")


def _written(path: str, value: Any) -> str:
    key = path.rpartition(".")[2]
    if not isinstance(value, float):
        return str(value)
    if key in _SIZES or key.endswith("_headers"):
        return f"{value:,.0f} B"
    if key in _NO_TIME or key.endswith("_again"):
        return f"{value * 100:g} %"
    return format_duration(value)
