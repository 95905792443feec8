"""What is written and never used: policies of calls that nobody makes, links where nothing travels, proxies, registries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sim.scenario.edges import CLIENT, selectors_of
from sim.scenario.faults import LinkFault
from sim.scenario.forecast import Edge, edges_of
from sim.scenario.messaging.requests import requests_of
from sim.scenario.model import Scenario

_SOME: Final = 6

#: A caller and what it calls, or what answers.
_Pair = tuple[str, str]


def uses(scenario: Scenario, edges: list[Edge] | None = None) -> dict[str, str | None]:
    """Every selector, proxy and registry that is written: None where something uses it, else the doubt in words.

    A comparison doubts only what no candidate uses under any condition: a candidate may inherit the policy of a call that it does
    without.
    """
    edges = edges_of(scenario) if edges is None else edges
    calls, links = _calls(scenario, edges), _links(scenario, edges)
    answered = {selector for caller, to in calls for selector in selectors_of(caller, to, proxy=caller in scenario.proxies)}
    found: dict[str, str | None] = {}
    registered = {service.registry for service in scenario.services.values()}
    for name in scenario.registries:
        said = f"registry {name}: no service registers there; set services.NAME.registry, or leave it out"
        found[f"registry {name}"] = None if name in registered else said
    for name in scenario.proxies:
        said = f"proxy {name}: no call goes through it; set calls.SELECTOR.via, or leave it out"
        found[f"proxy {name}"] = None if any(caller == name for caller, _ in calls) else said
    for selector in scenario.calls:
        if found.get(f"proxy {selector.split(' -> ')[0]}"):
            continue
        known = selector == "default" or selector in answered
        found[f"calls {selector}"] = None if known else f"calls.{selector}: {_no_call(scenario, selector, calls)}"
    places = [(f"links.{selector}", selector) for selector in scenario.links]
    places += [(f"faults[{i}].link", fault.link) for i, fault in enumerate(scenario.faults) if isinstance(fault, LinkFault)]
    for where, selector in places:
        ends = selector.split(" -> ")
        known = selector == "default" or any(set(ends) <= set(link) for link in links)
        found[f"{where.split('[')[0]} {selector}"] = None if known else f"{where}: {_no_way(ends, links)}"
    return found


def _calls(scenario: Scenario, edges: list[Edge]) -> list[_Pair]:
    """Who calls what, with the calls of proxies and those that stand in for failed ones."""
    waiting = [(edge.caller, edge.target) for edge in edges]
    found: dict[_Pair, None] = {}
    while waiting:
        caller, target = waiting.pop()
        if (caller, target) in found:
            continue
        found[caller, target] = None
        policy = scenario.policy(caller, target)
        if policy.fallback is not None and policy.fallback.call is not None:
            waiting.append((caller, policy.fallback.call))
        if policy.via is not None and "." in target:
            waiting.append((policy.via, target))
    return list(found)


def _links(scenario: Scenario, edges: list[Edge]) -> list[_Pair]:
    """Between whom messages travel, either way."""
    found: dict[_Pair, None] = {}
    for caller, target in _calls(scenario, edges):
        via = None if caller in scenario.proxies or "." not in target else scenario.policy(caller, target).via
        end = scenario.place(target) if "." not in target else target.split(".")[0]
        between = via is not None and scenario.proxies[via].placement == "tier"
        ends = [caller, str(via), end] if between else [caller, end]
        found.update(dict.fromkeys(zip(ends, ends[1:], strict=False)))
        registry = None if end not in scenario.services else scenario.services[end].registry
        if registry is not None:
            found.update({(reader, registry): None for reader in (*ends[:-1], end)})
    for name, queue in scenario.queues.items():
        if queue.consumer is not None:
            found[scenario.place(name), queue.consumer.split(".")[0]] = None
    for address, _, step in requests_of(scenario):
        found[scenario.place(step.replies), address.split(".")[0]] = None
    return list(found)


def _no_call(scenario: Scenario, selector: str, calls: list[_Pair]) -> str:
    """That nobody calls so, and who calls what."""
    *callers, target = selector.split(" -> ")
    service = target.split(".")[0]
    if not callers:
        queues = [name for name, queue in scenario.queues.items() if (queue.consumer or "").split(".")[0] == service]
        through = f"; messages reach it through {_listed(queues)}" if queues else ""
        return f"nobody calls {target}{through}; {_known(calls)}"
    [caller] = callers
    if any(source == service and to.split(".")[0] == caller for source, to in calls):
        return f"{caller} does not call {target}, it is the other way round; write {service} -> {caller}"
    to = [other for source, other in calls if source == caller]
    by = dict.fromkeys(source for source, other in calls if target in (other, other.split(".")[0]))
    said = [f"{caller} calls {_listed(to)}"] if to else []
    said += [f"{target} is called by {_listed(by)}"] if by else []
    return f"{caller} does not call {target}; {', '.join(said) or _known(calls)}"


def _no_way(ends: list[str], links: list[_Pair]) -> str:
    """That no message travels there, and where some do."""
    said = []
    for end in ends:
        others = dict.fromkeys(other for link in links if end in link for other in link if other != end)
        said += [f"{end} talks to {_listed(others)}"] if others else [f"{end} talks to nobody"]
    return f"no message travels {'between ' + ' and '.join(ends) if len(ends) > 1 else 'there'}; {', '.join(said)}"


def _known(calls: list[_Pair]) -> str:
    return f"calls here: {_listed(f'{caller} -> {to}' for caller, to in calls)}"


def _listed(names: Iterable[str]) -> str:
    found = sorted(names, key=lambda name: (not name.startswith(CLIENT), name))
    return f"{', '.join(found[:_SOME])}{', …' if len(found) > _SOME else ''}"
