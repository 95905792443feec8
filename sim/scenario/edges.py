"""Who calls what: the operations, steps and edges of a scenario, and the selectors that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sim.scenario.services import Call, Operation, Parallel, Publish, Repeat, RequestReply, Saga, Step

if TYPE_CHECKING:
    from sim.scenario.model import Scenario

#: Where the load comes from; no service has this name.
CLIENT = "client"


def edges_in(scenario: Scenario, steps: Iterable[tuple[str, Step]]) -> Iterator[tuple[str, str]]:
    """Caller and target of each step, given with its service, that calls or publishes; of a request the reply, too."""
    for service, step in steps:
        if isinstance(step, Call):
            yield service, step.call
        elif isinstance(step, Publish):
            yield service, step.publish
        elif isinstance(step, RequestReply):
            yield service, step.request
            for consumer in scenario.consumers(step.request).values():
                yield consumer.split(".")[0], step.replies


def edges_of(scenario: Scenario) -> dict[tuple[str, str], list[str]]:
    """All edges (caller, target) of a scenario, each with its selectors, the widest first."""
    steps = [
        (address.split(".")[0], step) for address, op in operations_of(scenario).items() for _, step in steps_of(op.steps, "")
    ]
    return {edge: selectors_of(*edge) for edge in [*((CLIENT, entry) for entry in scenario.load.mix), *edges_in(scenario, steps)]}


def operations_of(scenario: Scenario) -> dict[str, Operation]:
    """All operations by address, in order."""
    return {f"{s}.{o}": op for s, service in scenario.services.items() for o, op in service.operations.items()}


def steps_of(steps: tuple[Step, ...], path: str = "") -> Iterator[tuple[str, Step]]:
    """All steps with their paths in the scenario, those inside `parallel`, `repeat` and `saga` included."""
    for i, step in enumerate(steps):
        yield f"{path}[{i}]", step
        if isinstance(step, Parallel):
            for j, branch in enumerate(step.parallel):
                yield from steps_of(branch, f"{path}[{i}].parallel[{j}]")
        elif isinstance(step, Repeat):
            yield from steps_of(step.repeat, f"{path}[{i}].repeat")
        elif isinstance(step, Saga):
            for j, part in enumerate(step.saga):
                yield from steps_of(part.do, f"{path}[{i}].saga[{j}].do")
                yield from steps_of(part.undo, f"{path}[{i}].saga[{j}].undo")


def publishes_of(scenario: Scenario) -> Iterator[tuple[str, Publish]]:
    """Every publish, with the operation that makes it."""
    for address, operation in operations_of(scenario).items():
        yield from ((address, step) for _, step in steps_of(operation.steps) if isinstance(step, Publish))


def selectors_of(caller: str, target: str, proxy: bool = False) -> list[str]:
    """The selectors that an edge answers to, the widest first; the edge of a proxy only to those that name it."""
    service = target.split(".")[0]
    wide = [f"{caller} -> default"] if proxy else ["default", service, target]
    found = [*wide, f"{caller} -> {service}", f"{caller} -> {target}"]
    return list(dict.fromkeys(found))


def flushes(selector: str, cache: str) -> bool:
    """Whether a flush selector names a cache: that of an edge, ``shop -> payment.charge``, or of an operation."""
    *callers, target = cache.split(" -> ")
    if selector == "default":
        return True
    if callers:
        return selector in selectors_of(callers[0], target)
    return selector in (target, target.split(".")[0])
