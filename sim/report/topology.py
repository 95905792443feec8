"""Who calls whom, as a drawing: layers from left to right, from the clients on."""

from __future__ import annotations

from html import escape
from typing import Final

from sim.analysis.edges import layers
from sim.report.blocks import Diagram
from sim.scenario.edges import CLIENT, edges_of
from sim.scenario.model import Scenario

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 172, 44, 62, 22, 10
#: How a kind of node is drawn in Mermaid.
_SHAPES: Final = {"client": "([{}])", "service": "[{}]", "queue": "[[{}]]", "proxy": "{{{{{}}}}}"}


def topology(scenario: Scenario, title: str) -> Diagram:
    """The services, queues and proxies of a scenario, and the calls between them."""
    nodes, edges = _graph(scenario)
    depth = layers(edges, CLIENT)
    return Diagram(title, _svg(nodes, edges, depth, title), _mermaid(nodes, edges))


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


def _svg(nodes: Nodes, edges: Edges, depth: dict[str, int], title: str) -> str:
    columns: dict[int, list[str]] = {}
    for name in nodes:
        columns.setdefault(depth[name], []).append(name)
    tallest = max(len(names) for names in columns.values())
    places: dict[str, tuple[float, float]] = {}
    for column, names in columns.items():
        shift = (tallest - len(names)) * (_HEIGHT + _DOWN) / 2
        for row, name in enumerate(names):
            places[name] = (_MARGIN + column * (_WIDTH + _ACROSS), _MARGIN + shift + row * (_HEIGHT + _DOWN))
    width = 2 * _MARGIN + (max(columns) + 1) * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _MARGIN + tallest * (_HEIGHT + _DOWN) - _DOWN
    parts = [
        f'<svg class="topology" viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(title)}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>',
    ]
    for (one, other), later in edges.items():
        parts.append(_line(places[one], places[other], later))
    for name, (kind, below) in nodes.items():
        x, y = places[name]
        parts.append(
            f'<g class="{kind}"><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="{20 if kind == "client" else 5}"/>'
            f'<text x="{x + _WIDTH / 2}" y="{y + 19}">{escape(_short(name))}</text>'
            f'<text class="small" x="{x + _WIDTH / 2}" y="{y + 35}">{escape(_short(below, 26))}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _line(start: tuple[float, float], end: tuple[float, float], later: bool) -> str:
    x1, y1, x2, y2 = start[0] + _WIDTH, start[1] + _HEIGHT / 2, end[0], end[1] + _HEIGHT / 2
    if end[0] <= start[0]:  # back, or within a layer: around below
        x1, x2 = start[0] + _WIDTH / 2, end[0] + _WIDTH / 2
        y1, y2 = start[1] + _HEIGHT, end[1] + _HEIGHT
        path = f"M{x1} {y1}C{x1} {y1 + 30} {x2} {y2 + 30} {x2} {y2}"
    else:
        middle = (x1 + x2) / 2
        path = f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
    return f'<path class="{"later" if later else "call"}" d="{path}" marker-end="url(#tip)"/>'


def _short(text: str, width: int = 19) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _mermaid(nodes: Nodes, edges: Edges) -> str:
    number = {name: f"n{i}" for i, name in enumerate(nodes)}
    lines = ["flowchart LR"]
    for name, (kind, below) in nodes.items():
        label = f'"{name}<br/>{below}"'.replace("#", "no. ")
        lines.append(f"    {number[name]}{_SHAPES[kind].format(label)}")
    lines += [f"    {number[one]} {'-.->' if later else '-->'} {number[other]}" for (one, other), later in edges.items()]
    return "\n".join(lines)
