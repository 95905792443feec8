"""Who calls whom, as a drawing: layers from left to right, from the clients on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape
from typing import Final

from sim.analysis.edges import arranged, column_of, stacked
from sim.report.blocks import Diagram
from sim.scenario.edges import CLIENT, edges_of
from sim.scenario.model import Scenario

_HEIGHT, _ACROSS, _DOWN, _MARGIN = 44, 62, 22, 10
#: How much room calls take that pass a column by, a letter of a name, and a box at least and at most.
_PASSAGE, _LETTER, _NARROWEST, _WIDEST = 22, 8.4, 120, 240
#: How a kind of node is drawn in Mermaid.
_SHAPES: Final = {"client": "([{}])", "service": "[{}]", "queue": "[[{}]]", "proxy": "{{{{{}}}}}"}


def topology(scenario: Scenario, title: str) -> Diagram:
    """The services, queues and proxies of a scenario, and the calls between them."""
    nodes, edges = _graph(scenario)
    return Diagram(title, _svg(nodes, edges, title), _mermaid(nodes, edges))


#: Nodes by name: kind, and what is written below the name.
Nodes = dict[str, tuple[str, str]]
#: Pairs of names, with whether the way is asynchronous.
Edges = dict[tuple[str, str], bool]


def _graph(scenario: Scenario) -> tuple[Nodes, Edges]:
    nodes: Nodes = {CLIENT: ("client", f"{scenario.load.kind} load")}
    for name, service in scenario.services.items():
        nodes[name] = ("service", f"{service.replicas} × {service.workers} workers")
    for name in (*scenario.queues, *scenario.topics, *scenario.logs):
        what = "queue" if name in scenario.queues else "topic" if name in scenario.topics else "log"
        nodes[name] = ("queue", what)
    edges: Edges = {}
    for caller, target in edges_of(scenario):
        callee = target.split(".")[0]
        via = scenario.policy(caller, target).via
        if via is not None:
            nodes[via] = ("proxy", f"proxy, {scenario.proxies[via].placement}")
            edges[caller, via] = edges[via, callee] = False
        else:
            edges[caller, callee] = nodes.get(callee, ("", ""))[0] == "queue"
    for topic, spec in scenario.topics.items():
        edges |= {(topic, queue): True for queue in spec.subscriptions}
    for queue, consumer in scenario.consumed().items():
        edges[queue.split(".")[0], consumer.split(".")[0]] = True
    used = {name for edge in edges for name in edge}
    return {name: node for name, node in nodes.items() if name in used}, edges


def _svg(nodes: Nodes, edges: Edges, title: str) -> str:
    columns = arranged(edges, CLIENT)
    middles, tallest = stacked(columns, _HEIGHT + _DOWN, _PASSAGE)
    box = min(max(_NARROWEST, *(_LETTER * len(name) + 24 for name in nodes)), _WIDEST)
    at = column_of(columns)
    places = {key: (_MARGIN + key[1] * (box + _ACROSS), _MARGIN + middle) for key, middle in middles.items()}
    width = 2 * _MARGIN + len(columns) * (box + _ACROSS) - _ACROSS
    height = 2 * _MARGIN + tallest
    parts = [
        f'<svg class="topology" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(title)}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>',
    ]
    for (one, other), later in edges.items():
        names = [one] * max(1, at[other] - at[one]) + [other]
        way = [places[name, at[one] + step] for step, name in enumerate(names)] if at[other] > at[one] else []
        path = _forward(way, box) if way else _back(places[one, at[one]], places[other, at[other]], box)
        parts.append(f'<path class="{"later" if later else "call"}" d="{path}" marker-end="url(#tip)"/>')
    letters = int(box / _LETTER) - 1
    for name, (kind, below) in nodes.items():
        x, y = places[name, at[name]]
        parts.append(
            f'<g class="{kind}"><rect x="{x:g}" y="{y - _HEIGHT / 2:g}" width="{box:g}" height="{_HEIGHT}" '
            f'rx="{20 if kind == "client" else 5}"/>'
            f'<text x="{x + box / 2:g}" y="{y - 3:g}">{escape(_short(name, letters))}</text>'
            f'<text class="small" x="{x + box / 2:g}" y="{y + 13:g}">{escape(_short(below, letters + 8))}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _forward(way: Sequence[tuple[float, float]], box: float) -> str:
    """From the right side of a box to the left side of another, between the boxes of the columns in between."""
    parts = [f"M{way[0][0] + box:g} {way[0][1]:g}"]
    for (x1, y1), (x2, y2) in itertools.pairwise(way):
        middle = (x1 + box + x2) / 2
        parts.append(f"L{x1 + box:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}")
    return "".join(parts)


def _back(start: tuple[float, float], end: tuple[float, float], box: float) -> str:
    """To a box in the same column or in one before: around below."""
    x1, y1, x2, y2 = start[0] + box / 2, start[1] + _HEIGHT / 2, end[0] + box / 2, end[1] + _HEIGHT / 2
    return f"M{x1:g} {y1:g}C{x1:g} {y1 + 30:g} {x2:g} {y2 + 30:g} {x2:g} {y2:g}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _mermaid(nodes: Nodes, edges: Edges) -> str:
    number = {name: f"n{i}" for i, name in enumerate(nodes)}
    lines = ["flowchart LR"]
    for name, (kind, below) in nodes.items():
        label = f'"{name}<br/>{below}"'.replace("#", "no. ")
        lines.append(f"    {number[name]}{_SHAPES[kind].format(label)}")
    lines += [f"    {number[one]} {'-.->' if later else '-->'} {number[other]}" for (one, other), later in edges.items()]
    return "\n".join(lines)
