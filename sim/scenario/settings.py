"""One setting of a scenario, named by its path and given another value: what sweeps and searches turn.

A path is written as messages write it::

    run.duration      services.shop.replicas      services.shop.operations.buy[0].work
    faults[0].for     calls.shop -> payment.retry.max_attempts      load.mix.shop.buy

Keys that hold a dot themselves (``shop -> payment.charge``) need no quotes: the longest key that is there is taken. A key that
the scenario leaves at its default can be set, too, and calls and links can get a selector that they did not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sim.errors import ScenarioError
from sim.scenario.edges import CLIENT, operations_of
from sim.scenario.explain import explain, truths
from sim.scenario.model import Comparison, Scenario
from sim.scenario.schema import SHORTHAND, Shape, child, fields_of, members
from sim.scenario.source import Node
from sim.scenario.words import nearest, shown
from sim.scenario.yaml import Loaded, foreign_laws, load_trees

#: Mappings whose keys may be new: they choose among what is there.
_BY_SELECTOR: Final = ("calls", "links")
#: What tells about a scenario and changes no row, and what a study has options for.
_NO_SETTINGS: Final = {
    "name": "changes nothing that is simulated",
    "question": "changes nothing that is simulated",
    "focus": "changes nothing that is simulated",
    "slos": "changes nothing that is simulated; the metrics are there to be held against anything afterwards",
    "guesses": "changes nothing that is simulated",
    "measured": "changes nothing that is simulated",
    "run.seed": "every point has the same seeds, so that points can be compared; use --replications and --seed",
    "run.replications": "is how often every point is run; use --replications",
}
_INDEX: Final = re.compile(r"\[(\d{1,6})\]")
_ARROW: Final = re.compile(r"\s*->\s*")
_SHAPE: Final = Shape(Scenario)
_ONLY_CONDITION: Final = "base"

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Template:
    """A scenario as it was written, of which others are made that differ in some settings.

    `data` is what was validated: with units and shorthand if it came from a file, then with `from_file` and the file's `tree`.
    """

    scenario: Scenario
    data: Mapping[str, Any]
    from_file: bool
    tree: Node | None = None

    def changed(self, settings: Mapping[str, Any]) -> Scenario:
        """The scenario with other values at some paths, checked like a file.

        Raises:
            ScenarioError: a path leads nowhere, or the result is no valid scenario; messages begin with the path.

        >>> shop = Scenario.model_validate({
        ...     "services": {"shop": {"workers": 1, "operations": {"buy": [{"work": "20ms"}]}}},
        ...     "load": {"rate": "10/s", "mix": "shop.buy"},
        ... })
        >>> template_of(shop).changed({"services.shop.workers": 4, "load.rate": "50/s"}).load.rate
        50.0
        >>> template_of(shop).changed({"services.shop.wokers": 4})
        Traceback (most recent call last):
        ...
        sim.errors.ScenarioError: services.shop.wokers: unknown key 'wokers'; did you mean 'workers'?
        """
        data = self._with(settings)
        try:
            context = {"yaml": True} if self.from_file else None
            scenario = Scenario.model_validate(data, context=context)
        except ValidationError as error:
            raise ScenarioError(_said(explain(error, _as_node(data), Scenario))) from error
        if any(isinstance(value, bool) for value in settings.values()) and (wrong := _said(truths(_as_node(data), _SHAPE))):
            raise ScenarioError(wrong)
        return scenario

    def rebased(self, settings: Mapping[str, Any]) -> Template:
        """The template of the changed scenario.

        Raises:
            ScenarioError: see `changed`.
        """
        return replace(self, scenario=self.changed(settings), data=self._with(settings))

    def _with(self, settings: Mapping[str, Any]) -> Any:
        data: Any = self.data
        for path, value in settings.items():
            data = _replaced(_Place(self.scenario, path), data, _SHAPE, tidy(path), value)
        return data

    def type_of(self, path: str) -> Shape | None:
        """The type of what stands at a path; None where the language says nothing, as inside a law.

        Raises:
            ScenarioError: the path leads nowhere, or to what cannot be swept.
        """
        plain = tidy(path)
        if not plain:
            raise ScenarioError("a path is empty; write for example load.rate")
        for what, why in _NO_SETTINGS.items():
            if plain == what or plain.startswith((f"{what}.", f"{what}[")):
                raise ScenarioError(f"{path}: {why}")
        if plain.split(".")[0] == "laws" and not self.from_file:
            raise ScenarioError(
                f"{path}: in Python the laws of a scenario stand already where their names were used; set those places, "
                "or sweep the file"
            )
        return self._at(path)[0]

    def where(self, *keys: str) -> str:
        """``file:line: `` of what stands under some keys, to begin a message with; nothing where no file has it."""
        node = self.tree
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        return "" if node is None else f"{node.where}: "

    def value_at(self, path: str) -> Any:
        """What is written at a path, as plain data; None where nothing is.

        Raises:
            ScenarioError: the path leads nowhere.
        """
        return self._at(path)[1]

    def _at(self, path: str) -> tuple[Shape | None, Any]:
        found: list[tuple[Shape | None, Any]] = []
        _replaced(_Place(self.scenario, path), self.data, _SHAPE, tidy(path), None, found)
        return found[0]


def template_of(scenario: Scenario) -> Template:
    """The template of a scenario that was made in Python.

    Raises:
        ScenarioError: it uses a law of your own, which cannot be written down.
    """
    if foreign := foreign_laws(scenario):
        raise ScenarioError(f"{scenario.name}: {foreign[0]!r} cannot be written down, so its scenario cannot be made again")
    return Template(scenario, scenario.as_data(), from_file=False)


def templates_of(source: str | Path | Scenario | Comparison) -> tuple[Scenario | Comparison, dict[Pair, Template]]:
    """What a file or a value holds, and a template for each of its scenarios, by candidate and condition.

    A scenario alone stands under its own name and the condition base.

    Raises:
        ScenarioError: the file is wrong.
    """
    if isinstance(source, Scenario):
        return source, {(source.name, _ONLY_CONDITION): template_of(source)}
    if isinstance(source, Comparison):
        return source, {(candidate, condition): template_of(one) for candidate, condition, one in source.scenarios()}
    found: Loaded = load_trees(source)
    made = {pair: Template(scenario, data, True, tree) for pair, (scenario, data, tree) in found.trees.items()}
    if isinstance(found.value, Scenario):
        return found.value, {(found.value.name, _ONLY_CONDITION): next(iter(made.values()))}
    pairs = [(candidate, condition) for candidate, condition, _ in found.value.scenarios()]
    return found.value, {pair: made[pair] for pair in pairs}


def lasting(templates: dict[Pair, Template], duration: str | float | None) -> dict[Pair, Template]:
    """The same templates with another measured time; None: as they are.

    Raises:
        ScenarioError: it is no duration.
    """
    if duration is None:
        return templates
    return {pair: template.rebased({"run.duration": duration}) for pair, template in templates.items()}


@dataclass(frozen=True)
class _Place:
    """The path that is followed, and the scenario that it leads through: for names and messages."""

    scenario: Scenario
    path: str

    def wrong(self, text: str) -> ScenarioError:
        return ScenarioError(f"{self.path}: {text}")


def tidy(path: str) -> str:
    """A path as it is called in tables: with one space on either side of an arrow."""
    return _ARROW.sub(" -> ", path.strip())


def _replaced(
    place: _Place, data: Any, shape: Shape | None, rest: str, value: Any, found: list[tuple[Shape | None, Any]] | None = None
) -> Any:
    """The data with another value at the end of a path; what lies beside the path is shared, not copied."""
    if not rest:
        if found is not None:
            found.append((shape, data))
        return value
    index = _INDEX.match(rest)
    short = _shorthand(shape)
    if index is not None:
        if short is not None and isinstance(data, Mapping) and short in data:
            return {**data, short: _replaced(place, data[short], child(shape, data, short), rest, value, found)}
        return _in_list(place, data, shape, int(index[1]), rest[index.end() :], value, found)
    if short is not None and not isinstance(data, Mapping) and data is not None:
        data = {short: data}
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise place.wrong(f"{shown(data)} is a value and has no {shown(rest.split('.')[0])} in it; end the path there")
    key, onward = _key(place, data, shape, rest)
    return {**data, key: _replaced(place, data.get(key), child(shape, data, key), onward, value, found)}


def _in_list(
    place: _Place, data: Any, shape: Shape | None, i: int, onward: str, value: Any, found: list[tuple[Shape | None, Any]] | None
) -> Any:
    if not isinstance(data, list | tuple):
        raise place.wrong(f"there is no list in front of [{i}]")
    if i >= len(data):
        there = f"there are [0] to [{len(data) - 1}]" if data else "the list is empty"
        raise place.wrong(f"there is no [{i}]; {there}")
    return [
        _replaced(place, item, child(shape, data, j), onward.removeprefix("."), value, found) if j == i else item
        for j, item in enumerate(data)
    ]


def _shorthand(shape: Shape | None) -> str | None:
    return next((SHORTHAND[one.model] for one in (members(shape) if shape else ()) if one.model in SHORTHAND), None)


def _key(place: _Place, data: Mapping[str, Any], shape: Shape | None, rest: str) -> tuple[str, str]:
    """The key that a path begins with, and what follows it: of those that fit the longest."""
    known = dict.fromkeys([*data, *_fields(shape, data)])
    fitting = [key for key in known if rest == key or rest.startswith((f"{key}.", f"{key}["))]
    if _takes_selectors(place, rest):
        fitting += _new_selectors(place, rest, needed=not fitting)
    if not fitting:
        word = re.split(r"[.\[]", rest, maxsplit=1)[0]
        what = "key" if _fields(shape, data) else "name"
        if not known:
            raise place.wrong(f"nothing stands there, so there is no {what} {shown(word)}; write a value for what is before it")
        raise place.wrong(f"unknown {what} {shown(word)}; {nearest(word, known)}")
    key = max(fitting, key=len)
    return key, rest[len(key) :].removeprefix(".")


def _fields(shape: Shape | None, data: Mapping[str, Any]) -> list[str]:
    """The keys that the language knows here."""
    if shape is None or shape.kind is not None:
        return []
    options = members(shape)
    kind = data.get("kind")
    mine = [one for one in options if one.model is not None and _is_of(one, data, kind)] or options
    return [key for one in mine if one.model is not None for key in fields_of(one.model)]


def _is_of(option: Shape, data: Mapping[str, Any], kind: Any) -> bool:
    of_kind = kind is None or _default_kind(option) == kind
    return option.model is not None and of_kind and set(data) <= set(fields_of(option.model))


def _default_kind(option: Shape) -> Any:
    field = fields_of(option.model).get("kind") if option.model is not None else None
    return None if field is None else field.default


def _takes_selectors(place: _Place, rest: str) -> bool:
    return any(tidy(place.path) == f"{block}.{rest}" for block in _BY_SELECTOR)


def _new_selectors(place: _Place, rest: str, needed: bool) -> list[str]:
    """The selectors that a path may begin with, made of names that the scenario has."""
    scenario = place.scenario
    proxies = list(scenario.proxies)
    services = [*scenario.services, *proxies, *scenario.registries, *scenario.brokers]
    targets = ["default", CLIENT, *services, *operations_of(scenario), *scenario.queues, *scenario.topics]
    callers = [CLIENT, *services, *scenario.queues, *scenario.topics]
    arrow = " -> " in rest
    caller, end = rest.split(" -> ", 1) if arrow else ("", rest)
    if arrow and caller not in callers and needed:
        raise place.wrong(f"unknown name {shown(caller)}; {nearest(caller, callers)}")
    fitting = [name for name in targets if end == name or end.startswith((f"{name}.", f"{name}["))]
    if not fitting and needed:
        word = end.split(".")[0]
        raise place.wrong(f"unknown name {shown(word)}; {nearest(word, targets)}")
    return [f"{caller} -> {name}" if arrow else name for name in fitting]


def _as_node(data: Any) -> Node:
    """Plain data as a tree without lines, for the messages that are made of trees."""
    if isinstance(data, Mapping):
        return Node({str(key): _as_node(item) for key, item in data.items()}, "", 0, 0)
    if isinstance(data, list | tuple):
        return Node([_as_node(item) for item in data], "", 0, 0)
    return Node(data, "", 0, 0)


def _said(problems: Iterator[Any]) -> list[str]:
    return list(dict.fromkeys(f"{problem.path}: {problem.text}" if problem.path else problem.text for problem in problems))
