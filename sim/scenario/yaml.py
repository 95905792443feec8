"""Scenario files: YAML into a `Scenario` or a `Comparison`, and a scenario back into YAML.

A file says what a `Scenario` has. It may begin from another one with ``base``; with ``candidates`` it is a comparison::

    question: Do retries help when a payment replica dies?
    base: shop.yaml                     # what all share: a file, or a scenario written here
    conditions:
      calm: {}
      crash: {faults: [{crash: payment, replica: 0, at: 60s, for: 20s}]}
    candidates:
      today: {}
      three tries: {calls: {payment: {retry: {max_attempts: 3}}}}
    slos: [success >= 99.9 %]           # any key of a scenario, for all of them

The scenario of a candidate under a condition is the base, overlaid with the file's own keys, the condition, and the
candidate, in this order. `sim.scenario.overlay` has the rules.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from sim.errors import ScenarioError
from sim.laws import LAWS, Law
from sim.scenario.explain import Problem, explain, problem_at, report, truths
from sim.scenario.model import Comparison, Scenario
from sim.scenario.overlay import merge, removed_in_vain
from sim.scenario.schema import Shape
from sim.scenario.source import LARGEST_FILE_BYTES, Node, decode, read_file, read_text, relative_to, shown_path
from sim.scenario.words import nearest, plain, shown
from sim.units import BaseUnits

#: The only condition of a comparison that names none.
ONLY_CONDITION: Final = "base"

_OF_COMPARISONS: Final = ("base", "candidates", "conditions")
_NAME: Final = re.compile(r"\w[\w .,+=()-]{0,79}")
_SHAPE: Final = Shape(Scenario)


def load(path: str | Path) -> Scenario | Comparison:
    """Read a scenario or a comparison from a YAML file.

    Raises:
        ScenarioError: everything that is wrong with it, each with file, line, place and cure; never another exception.
    """
    file = Path(path)
    return _Loader().load(read_file(file), file.stem)


@dataclass(frozen=True)
class Loaded:
    """What a file holds, and for each of its scenarios the data and the tree it was made of, by candidate and condition."""

    value: Scenario | Comparison
    trees: Mapping[tuple[str, str], tuple[Scenario, Mapping[str, Any], Node]]


def load_trees(path: str | Path) -> Loaded:
    """Read a file like `load`, and keep what its scenarios were made of; that of a file without candidates is at ("", "").

    Raises:
        ScenarioError: see `load`.
    """
    file = Path(path)
    loader = _Loader()
    value = loader.load(read_file(file), file.stem)
    return Loaded(value, loader.made)


def loads(text: str, file: str = "scenario.yaml") -> Scenario | Comparison:
    """Read a scenario or a comparison from YAML text; `file` names it in messages and is where relative paths begin.

    >>> shop = loads('''
    ... services: {shop: {workers: 8, operations: {buy: [{work: {exponential: 20ms}}]}}}
    ... load: {rate: 100/s, mix: shop.buy}
    ... ''')
    >>> shop.services["shop"].operations["buy"].steps[0].work
    Exponential(mean=0.02)
    """
    return _Loader().load(read_text(text, file), Path(file).stem)


def dumps(scenario: Scenario) -> str:
    """Write a scenario as YAML that `loads` reads back to an equal one; defaults are left out.

    Raises:
        ScenarioError: it uses a law of your own, which YAML has no word for.
    """
    from ruamel.yaml import YAML

    if foreign := foreign_laws(scenario):
        raise ScenarioError(f"{scenario.name}: YAML has no word for {foreign[0]!r}; known laws: {', '.join(LAWS)}")
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None  # short mappings on one line
    writer.width = 110
    writer.representer.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    writer.dump(scenario.as_data(), stream)
    return stream.getvalue()


def foreign_laws(scenario: Scenario) -> list[Law]:
    """Laws of a scenario that are not of this package: they have no written form."""
    known = tuple(LAWS.values())
    return [law for law in _laws_in(scenario) if not isinstance(law, known)]


def _laws_in(value: Any) -> Iterator[Law]:
    if isinstance(value, BaseModel):
        value = list(value.__dict__.values())
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _laws_in(item)
    elif isinstance(value, Law):
        yield value
        yield from _laws_in(getattr(value, "laws", ()))  # of a mixture


class _Loader:
    """Reads one file and what it refers to; each file once."""

    def __init__(self) -> None:
        self._times: dict[Path, Node] = {}
        self._wrong_below: list[tuple[Node, dict[tuple[str, str], Problem]]] = []
        #: The scenarios that were made, each with its data and its tree, by candidate and condition.
        self.made: dict[tuple[str, str], tuple[Scenario, Mapping[str, Any], Node]] = {}

    def load(self, root: Node, stem: str) -> Scenario | Comparison:
        """Make a scenario or a comparison from the tree of a file."""
        name = _name_of(root, stem)
        layers = self._layers(root, [root.file])
        if "candidates" in root.value:
            return self._comparison(root, layers, name)
        if "conditions" in root.value:
            node = root.value["conditions"]
            raise _wrong(node, ["conditions"], "conditions belong to candidates; add candidates: …", at_key=True)
        scenario, problems = self._scenario(layers, name)
        if scenario is None:
            raise ScenarioError(report(problems))
        self.made["", ""] = (scenario, self._data(layers[-1], name), layers[-1])
        return scenario

    def _layers(self, root: Node, trail: list[str]) -> list[Node]:
        """What a file adds up to, from its lowest base on; the last layer is the file's own scenario."""
        own = root.holding({key: node for key, node in root.value.items() if key not in _OF_COMPARISONS})
        base = root.value.get("base")
        if base is None:
            return [own]
        if isinstance(base.value, dict):
            below = base
        elif isinstance(base.value, str):
            below = _read_base(base, trail)
            trail = [*trail, below.file]  # so that a base that leads back here is seen
        else:
            text = f"{shown(base.plain())} should be the path of a scenario file, or a scenario"
            raise _wrong(base, ["base"], text)
        if "candidates" in below.value:
            text = "a comparison cannot be a base; name a scenario"
            raise _wrong(base, ["base"], text, at_key=True)
        # The base's name and question are its own.
        layers = [_anonymous(layer) for layer in self._layers(below, trail)]
        _refuse_vain_removals([own], layers[-1])
        return [*layers, merge(layers[-1], own, _SHAPE)]

    def _comparison(self, root: Node, layers: list[Node], name: str) -> Comparison:
        question = layers[-1].value.get("question")
        layers = [*layers[:-1], _anonymous(layers[-1])]
        candidates = _overlays(root.value["candidates"], "candidates")
        conditions = _overlays(root.value["conditions"], "conditions") if "conditions" in root.value else {}
        _refuse_vain_removals([*candidates.values(), *conditions.values()], layers[-1])
        circumstances = conditions or {ONLY_CONDITION: root.holding({})}
        under = {condition: merge(layers[-1], change, _SHAPE) for condition, change in circumstances.items()}
        found: dict[str, dict[str, Scenario]] = {}
        problems: dict[Problem, list[str]] = {}
        for candidate, change in candidates.items():
            for condition in circumstances:
                all_layers = [*layers, under[condition], merge(under[condition], change, _SHAPE)]
                scenario, wrong = self._scenario(all_layers, f"{name} - {candidate}{f' - {condition}' if conditions else ''}")
                for problem in wrong:
                    problems.setdefault(problem, []).append(f"{candidate}{f' under {condition}' if conditions else ''}")
                if scenario is not None:
                    found.setdefault(candidate, {})[condition] = scenario
                    self.made[candidate, condition] = (scenario, self._data(all_layers[-1], scenario.name), all_layers[-1])
        if problems:
            raise ScenarioError(report(_told_apart(problems, len(candidates) * max(1, len(conditions)))))
        text = question.value if question is not None and isinstance(question.value, str) else ""
        return Comparison(name=name, question=text, candidates=found)

    def _scenario(self, layers: Sequence[Node], name: str) -> tuple[Scenario | None, list[Problem]]:
        """The scenario of the last layer, or its problems, each where it came from."""
        scenario, problems = self._read(layers[-1], name)
        if any(problem.whole for problem in problems):
            below = [self._wrong_in(layer) for layer in layers[:-1]]
            problems = [_first_seen(problem, below) for problem in problems]
        return scenario, problems

    def _wrong_in(self, layer: Node) -> dict[tuple[str, str], Problem]:
        """What is wrong already with a layer as it is without those above it."""
        for known, found in self._wrong_below:
            if known is layer:
                return found
        try:
            _, problems = self._read(layer, "")
        except ScenarioError:  # a file of times that only this layer asks for
            problems = []
        found = {(problem.path, problem.text): problem for problem in problems}
        self._wrong_below.append((layer, found))
        return found

    def _read(self, tree: Node, name: str) -> tuple[Scenario | None, list[Problem]]:
        tree = self._with_times(tree)
        problems = list(truths(tree, _SHAPE))
        data = self._data(tree, name)
        try:
            # A fresh context each time: the model keeps the named laws of this one scenario in it.
            scenario = Scenario.model_validate(data, context={"yaml": True})
        except ValidationError as error:
            found = explain(error, tree, Scenario, _OF_COMPARISONS)
            # What is said of a mapping with a `true` in the place of a number counts it as 1.
            return None, problems + [other for other in found if not any(p.path.startswith(f"{other.path}.") for p in problems)]
        return (None if problems else scenario), problems

    def _data(self, tree: Node, name: str) -> dict[str, Any]:
        """What a tree says, as plain data."""
        data: dict[str, Any] = self._with_times(tree).plain()
        data.setdefault("name", name)
        return data

    def _with_times(self, tree: Node) -> Node:
        """Put the arrival times of a CSV file in the place of its name."""
        load = tree.value.get("load")
        times = load.value.get("times") if load is not None and isinstance(load.value, dict) else None
        if times is None or not isinstance(times.value, str):
            return tree
        path = relative_to(times, times.value)
        if path not in self._times:
            self._times[path] = times.holding(_read_times(path, times))
        with_times = load.holding({**load.value, "times": times.holding(self._times[path].value)})
        return tree.holding({**tree.value, "load": with_times})


def _anonymous(layer: Node) -> Node:
    """A layer without what belongs to its own file alone."""
    return layer.holding({key: node for key, node in layer.value.items() if key not in ("name", "question")})


def _first_seen(problem: Problem, below: Sequence[Mapping[tuple[str, str], Problem]]) -> Problem:
    """A problem of a mapping that several layers have filled, at the lowest layer that has it: there it was made."""
    key = (problem.path, problem.text)
    return next((found[key] for found in below if key in found), problem) if problem.whole else problem


def _wrong(node: Node, path: Sequence[str | int], text: str, *, at_key: bool = False) -> ScenarioError:
    return ScenarioError(report([problem_at(node, path, text, at_key=at_key)]))


def _read_base(base: Node, trail: list[str]) -> Node:
    path = relative_to(base, base.value)
    try:
        below = read_file(path)
    except ScenarioError as exc:
        # Who names a file that is not there looks for the line in which it was named.
        missing = not path.exists()
        raise ScenarioError([f"{base.where}: base: {exc}"] if missing else exc.messages) from exc
    if path.resolve() in [Path(name).resolve() for name in trail]:
        circle = " → ".join([*trail, below.file])
        raise _wrong(base, ["base"], f"{circle} is a circle of bases; one of them must stand alone")
    return below


def _name_of(root: Node, stem: str) -> str:
    node = root.value.get("name")
    if node is None:
        return re.sub(r"[^\w.+-]+", "_", stem).strip("._") or "scenario"
    if not isinstance(node.value, str) or not _NAME.fullmatch(node.value):
        value = shown(node.plain())
        text = f"{value} should be a short name of letters, digits, spaces, '.', '_' and '-': it names results/NAME"
        raise _wrong(node, ["name"], text)
    return node.value


def _overlays(node: Node, key: str) -> Mapping[str, Node]:
    """The named overlays of candidates or conditions; one without content changes nothing."""
    if not isinstance(node.value, dict) or not node.value:
        text = f"{shown(node.plain())} should be a mapping of names to what they change, for example {key}: {{today: {{}}}}"
        raise _wrong(node, [key], text, at_key=True)
    problems = []
    for name, overlay in node.value.items():
        if not name.isprintable() or len(name) > 60:
            problems.append(problem_at(overlay, [key, name], f"{shown(name)} should be a short name", at_key=True))
        if not isinstance(overlay.value, dict | None):
            text = f"{shown(overlay.plain())} should be a mapping of what {plain(name)} changes, or {{}}"
            problems.append(problem_at(overlay, [key, name], text))
    if problems:
        raise ScenarioError(report(problems))
    return {name: item if item.value is not None else item.holding({}) for name, item in node.value.items()}


def _refuse_vain_removals(overlays: Sequence[Node], below: Node) -> None:
    """A null for a name that nobody has is a mistake in the name."""
    problems = [
        problem_at(node, path, f"there is no {path[-1]!r} to remove; {nearest(path[-1], there)}")
        for path, node, there in removed_in_vain(overlays, below, _SHAPE)
    ]
    if problems:
        raise ScenarioError(report(problems))


def _told_apart(problems: dict[Problem, list[str]], combinations: int) -> list[Problem]:
    """Problems that only some candidates have, with the names of those."""
    told = []
    for problem, of in problems.items():
        whose = f" ({', '.join(of[:3])}{', …' if len(of) > 3 else ''})" if len(of) < combinations else ""
        told.append(Problem(problem.file, problem.line, problem.path, problem.text + whose))
    return told


def _read_times(path: Path, node: Node) -> tuple[BaseUnits, ...]:
    """Arrival times in seconds from the first column of a CSV file; a first line of words is a heading."""

    def fail(text: str) -> ScenarioError:
        return _wrong(node, ["load", "times"], text)

    try:
        if not path.is_file():
            raise fail(f"there is no file {shown_path(path)}; times are a list, or a CSV file beside the scenario")
        if path.stat().st_size > 8 * LARGEST_FILE_BYTES:
            raise fail(f"{shown_path(path)} is larger than {8 * LARGEST_FILE_BYTES / 1e6:.0f} MB; replay a part of it")
        text = decode(path.read_bytes(), shown_path(path))
    except (OSError, ValueError) as exc:
        raise fail(f"{shown_path(path)} cannot be read: {exc}") from exc
    times: list[BaseUnits] = []
    for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        first = row[0].strip() if row else ""
        if not first:
            continue
        try:
            seconds = BaseUnits(first)
        except ValueError:
            if number == 1:
                continue
            raise ScenarioError(f"{shown_path(path)}:{number}: {shown(first)} is not a time in seconds") from None
        if not 0 <= seconds < math.inf or (times and seconds < times[-1]):
            said = "times must not fall" if times and 0 <= seconds < math.inf else "a time is zero or more seconds"
            raise ScenarioError(f"{shown_path(path)}:{number}: {said}, got {shown(first)}")
        times.append(seconds)
    if not times:
        raise fail(f"{shown_path(path)} holds no times; its first column should be seconds from the start of the run")
    return tuple(times)
