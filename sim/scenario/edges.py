"""Policies that are right by themselves and contradict each other once they are merged for an edge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sim.scenario.services import Call, Publish, Step

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


def edges_in(steps: Iterable[tuple[str, Step]]) -> Iterator[tuple[str, str]]:
    """Caller and target of each step, given with its service, that calls or publishes."""
    for service, step in steps:
        if isinstance(step, Call):
            yield service, step.call
        elif isinstance(step, Publish):
            yield service, step.publish


def problems_of_edges(scenario: Scenario, edges: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    """What the policies of edges (caller, target) cannot be together, each once, as `path: message` of the narrowest selector."""
    told: set[str] = set()
    for (caller, target), selectors in edges.items():
        used = [selector for selector in selectors if selector in scenario.calls]
        try:
            scenario.policy(caller, target)
        except ValidationError as exc:
            for details in exc.errors(include_url=False):
                block = str(details["loc"][0]) if details["loc"] else ""
                said = details["msg"].removeprefix("Value error, ")
                text = _problem(scenario, used, block, f"for {caller} -> {target}: {said}")
                if text not in told:
                    told.add(text)
                    yield text


def _problem(scenario: Scenario, selectors: Sequence[str], block: str, message: str) -> str:
    written = [selector for selector in selectors if block in scenario.calls[selector].model_fields_set]
    narrowest = (written or selectors)[-1]
    beneath = [selector for selector in written or selectors if selector != narrowest]
    beneath += [f"preset {preset}" for selector in selectors if (preset := scenario.calls[selector].preset) is not None]
    where = f"calls.{narrowest}.{block}" if written else f"calls.{narrowest}"
    return f"{where}: over what {' and '.join(beneath) or 'the defaults'} says, {message}"
