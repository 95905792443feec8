"""Where the numbers of a scenario come from: which are guessed, between what bounds, and which were measured, how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.errors import ScenarioError

if TYPE_CHECKING:
    from sim.scenario.model import Scenario

#: What may be left out of a path: `charge[0]` and `charge.steps[0]` are the same.
_OPTIONAL: Final = re.compile(r"\.steps(?=\[)")


def problems_of_origins(scenario: Scenario) -> Iterator[str]:
    """Paths under `guesses` and `measured` that lead nowhere, and what is both."""
    if not scenario.guesses and not scenario.measured:
        return
    from sim.scenario.settings import Template  # here, as a template is made of scenarios

    template = Template(scenario, scenario.as_data(), from_file=True)
    for key, paths in (("guesses", scenario.guesses), ("measured", scenario.measured)):
        for path in paths:
            try:
                template.type_of(path)
            except ScenarioError as error:
                yield f"{key}.{path}: {error.messages[0].removeprefix(f'{path}: ')}"
    for path in scenario.guesses:
        if path in scenario.measured:
            yield f"measured.{path}: is under guesses, too; take it out of one of them"


def origin_of(scenario: Scenario, path: str) -> str:
    """Where the number at a path comes from: guessed, measured, or just written. What is said of a block holds for all in it.

    >>> from sim.scenario.yaml import loads
    >>> shop = loads('''
    ... services: {shop: {workers: 2, operations: {buy: [{work: 8ms}]}}}
    ... load: {rate: 5/s, mix: shop.buy}
    ... guesses: {load.rate: 2/s..9/s}
    ... measured: {services.shop: traces of a day}
    ... ''')
    >>> origin_of(shop, "load.rate"), origin_of(shop, "services.shop.operations.buy.steps[0].work"), origin_of(shop, "load.kind")
    ('guessed: 2/s..9/s', 'measured: traces of a day', 'written')
    """
    told = [
        (mine, f"{word}: {text}")
        for word, said in (("guessed", scenario.guesses), ("measured", scenario.measured))
        for mine, text in said.items()
        if _holds(mine, path) or _holds(path, mine)  # `work.constant` is written as `work: 20ms`
    ]
    return max(told, key=lambda one: len(one[0]), default=("", "written"))[1]


def _holds(block: str, path: str) -> bool:
    """Whether a path is what is named, or lies in it."""
    block, path = (_OPTIONAL.sub("", each) for each in (block, path))
    return path == block or path.startswith((f"{block}.", f"{block}["))
