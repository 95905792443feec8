"""Queries that a service refuses, because they ask for more than it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scenario.edges import operations_of

if TYPE_CHECKING:
    from sim.scenario.model import Scenario


def refused_queries(scenario: Scenario) -> dict[str, tuple[int, int]]:
    """Operations that are refused as a whole, with how deep they go and for how many objects they ask."""
    found = {}
    for address, operation in operations_of(scenario).items():
        limits = scenario.services[address.split(".")[0]].query_limits
        if limits is not None and isinstance(operation.response, str):
            asked = scenario.payloads.asked(operation.response)
            if limits.refuses(asked):
                found[address] = asked
    return found
