"""The points of a sweep: which values each setting takes, and how they are combined.

Values are written as in the file; a range is stepped, or sampled within::

    1,2,3      none,full      {exponential: 20ms}, {constant: 20ms}      a list
    50/s..400/s:8             eight values, evenly from the first to the last
    10ms..1s:5 log            five values, each the same multiple of the one before
    10ms..1s log              where a sample is drawn (`latin_hypercube`, `sobol`); evenly in the logarithm
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sim import units
from sim.errors import ScenarioError
from sim.scenario.schema import Shape, members
from sim.scenario.settings import Pair, Template
from sim.scenario.source import read_text
from sim.scenario.words import shown

#: Values of one setting: a list, or text as on the command line.
Given = str | Sequence[Any]
Settings = dict[str, Any]

MOST_POINTS: Final = 100_000
_RANGE: Final = re.compile(r"(?P<low>.*?[^.\s])\s*\.\.\s*(?P<high>[^.\s].*?)(?:\s*:\s*(?P<count>\d{1,6}))?(?P<log>\s+log)?")
_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(\s*)(.*)", re.DOTALL)
_DIGITS: Final = 6


@dataclass(frozen=True)
class Range:
    """From one number to another, both in the same unit (as it is written, with the space before it)."""

    low: Decimal
    high: Decimal
    unit: str
    log: bool
    whole: bool

    def at(self, share: float) -> Any:
        """The value at a share of the way, for samples: 0 is the low end, 1 is (just beyond) the high one."""
        if self.whole:
            number = self.between(self.low, self.high + 1, share)
            return self.written(min(Decimal(math.floor(number)), self.high))
        return self.written(self.rounded(self.between(self.low, self.high, share)))

    def steps(self, count: int) -> list[Any]:
        """So many values from the low end to the high one, both included."""
        if count == 1:
            return [self.written(self.low)]
        # Not by shares: the steps of 0.1..0.5 are 0.2, 0.3 and 0.4 and nothing beside them.
        inner: list[Decimal] = []
        for i in range(1, count - 1):
            if self.log:
                inner.append(self.rounded(self.between(self.low, self.high, i / (count - 1))))
            else:
                inner.append(self.rounded(self.low + (self.high - self.low) * i / (count - 1), digits=12))
        if self.whole and self.log:
            inner = [Decimal(round(number)) for number in inner]
        return [self.written(number) for number in dict.fromkeys([self.low, *inner, self.high])]

    def between(self, low: Decimal, high: Decimal, share: float) -> Decimal:
        """The number at a share of the way between two, in the logarithm if the range is."""
        if self.log:
            return Decimal(float(low) * (float(high) / float(low)) ** share)
        return low + (high - low) * Decimal(share)

    @staticmethod
    def rounded(number: Decimal, digits: int = _DIGITS) -> Decimal:
        """A number with as many digits as a setting has."""
        return Decimal(f"{number:.{digits}g}")

    def written(self, number: Decimal) -> Any:
        """A number as it would stand in the file, with the range's unit."""
        if self.unit:
            return f"{number.normalize():f}{self.unit}"
        return int(number) if number == number.to_integral_value() and self._without_point() else float(number)

    def _without_point(self) -> bool:
        return self.whole or all(end == end.to_integral_value() for end in (self.low, self.high))


@dataclass(frozen=True)
class Axis:
    """One setting and what it takes: a list of values, or a range that is sampled."""

    path: str
    values: tuple[Any, ...] = ()
    range: Range | None = None

    def at(self, share: float) -> Any:
        """The value at a share from 0 to below 1."""
        if self.range is not None:
            return self.range.at(share)
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


def settings_from_text(texts: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Read ``PATH=VALUES`` arguments.

    Raises:
        ScenarioError: one has no ``=``, or a path comes twice.

    >>> settings_from_text(["load.rate=50/s..400/s:8"])
    {'load.rate': '50/s..400/s:8'}
    """
    found: dict[str, str] = {}
    for text in texts:
        path, equals, values = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise ScenarioError(f"{option} {text}: write PATH=VALUES, for example 'load.rate=50/s..400/s:8'")
        if path in found:
            raise ScenarioError(f"{option} {path}: is there twice; write all its values into one, with commas")
        found[path] = values
    return found


def axis_of(path: str, given: Given, shape: Shape | None, *, sampled: bool) -> Axis:
    """Read the values of one setting, whose type is `shape`.

    Args:
        path: the setting.
        given: values, or text: see above.
        shape: its type, where the language has one; whole numbers get whole steps.
        sampled: whether a range without a number of steps may stand.

    Raises:
        ScenarioError: there is no value, or a range that is none.
    """
    whole = _is_whole(shape)
    items = _listed(path, given) if isinstance(given, str) else list(given)
    values: list[Any] = []
    for item in items:
        found = _range(path, item, whole) if isinstance(item, str) else None
        if found is None:
            values.append(item)
            continue
        between, count = found
        if count is not None:
            values += _steps(path, item, between, count)
        elif sampled and len(items) == 1:
            return Axis(path, range=between)
        else:
            raise ScenarioError(f"{path}: {item} has no number of steps; write for example {item.replace(' log', '')}:5")
    if not values:
        raise ScenarioError(f"{path}: there are no values; write for example {path}=1,2,3 or {path}=50/s..400/s:8")
    twice = next((value for i, value in enumerate(values) if value in values[:i] and not isinstance(value, bool)), None)
    if twice is not None:
        raise ScenarioError(f"{path}: {shown(twice)} is there twice; each value once")
    return Axis(path, tuple(values))


def axis_in(templates: Mapping[Pair, Template], path: str, given: Given, *, sampled: bool) -> Axis:
    """The values of a setting that all of these scenarios have; see `axis_of`.

    Raises:
        ScenarioError: the path leads nowhere in one of them; or see `axis_of`.
    """
    shapes = [template.type_of(path) for template in templates.values()]
    return axis_of(path, given, shapes[0], sampled=sampled)


def _listed(path: str, text: str) -> list[Any]:
    """The values of a text, as YAML reads a list of them."""
    if "," not in text and _RANGE.fullmatch(text.strip()):  # where YAML would take 'a : b' for a mapping
        return [text]
    try:
        found = read_text(f"values: [{text}]", path).value["values"].plain()
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {shown(text)} is not a list of values ({error.messages[0].split(': ', 1)[1]})") from error
    return list(found)


def _steps(path: str, text: str, between: Range, count: int) -> list[Any]:
    if count < 1 or count > MOST_POINTS:
        raise ScenarioError(f"{path}: {text}: there are 1 to {MOST_POINTS:,} steps")
    steps = between.steps(count)
    if between.whole and any(not isinstance(step, int) for step in steps):
        parts = int(between.high - between.low)
        fitting = [n + 1 for n in range(1, parts + 1) if parts % n == 0]
        best = min(fitting, key=lambda n: abs(n - count))
        raise ScenarioError(f"{path}: {text}: the steps are not whole numbers; take :{best}, or write the values as a list")
    return steps


def _range(path: str, text: str, whole: bool) -> tuple[Range, int | None] | None:
    """The range that a text is, if it is one, with its number of steps."""
    form = _RANGE.fullmatch(text.strip())
    if form is None:
        return None
    ends = [_NUMBER.fullmatch(form[end].strip()) for end in ("low", "high")]
    if ends[0] is None or ends[1] is None:
        raise ScenarioError(f"{path}: {text}: a range goes from one quantity to another, for example 50/s..400/s:8")
    (low, space, unit), (high, _, other) = ends[0].groups(), ends[1].groups()
    if unit == other:
        below, above, written = Decimal(low), Decimal(high), f"{space}{unit}" if unit else ""
    else:
        below, above, written = _in_base_units(path, text, form["low"], form["high"])
    log = form["log"] is not None
    if below >= above:
        raise ScenarioError(f"{path}: {text}: the first end must be below the second")
    if log and below <= 0:
        start = f"{(above / 100).normalize():f}{written}"
        raise ScenarioError(f"{path}: {text}: a logarithm needs ends above 0; begin for example at {start}")
    count = None if form["count"] is None else int(form["count"])
    return Range(below, above, written, log, whole and not written), count


def _in_base_units(path: str, text: str, low: str, high: str) -> tuple[Decimal, Decimal, str]:
    for kind in units.EXAMPLES:
        try:
            ends = [Decimal(repr(units.parse(end.strip(), kind, bare_numbers=False))) for end in (low, high)]
        except ValueError:
            continue
        return ends[0], ends[1], units.BASE.get(kind, "")
    raise ScenarioError(f"{path}: {text}: its ends are not quantities of one kind; write for example 50/s..400/s:8")


def _is_whole(shape: Shape | None) -> bool:
    options = members(shape) if shape is not None else []
    return any(option.core is int and option.kind is None for option in options) and not any(
        option.core is float or option.kind is not None for option in options
    )


# --- how they are combined --------------------------------------------------------------------------------------------


def grid(axes: Sequence[Axis]) -> list[Settings]:
    """Every value with every other; the last setting changes fastest.

    >>> grid([Axis("a", (1, 2)), Axis("b", ("x", "y"))])[1]
    {'a': 1, 'b': 'y'}
    """
    if math.prod(len(axis.values) for axis in axes) > MOST_POINTS:
        sizes = " × ".join(str(len(axis.values)) for axis in axes)
        raise ScenarioError(f"{sizes} are more than {MOST_POINTS:,} points; take fewer values, or a sample: --sample lhs:100")
    return [dict(zip([axis.path for axis in axes], row, strict=True)) for row in itertools.product(*(a.values for a in axes))]


def side_by_side(axes: Sequence[Axis]) -> list[Settings]:
    """The first values together, then the second ones, and so on.

    Raises:
        ScenarioError: not all have the same number of values.
    """
    if len({len(axis.values) for axis in axes}) > 1:
        said = ", ".join(f"{axis.path} has {len(axis.values)}" for axis in axes)
        raise ScenarioError(f"--zip: all settings need the same number of values: {said}")
    return [dict(zip([axis.path for axis in axes], row, strict=True)) for row in zip(*(a.values for a in axes), strict=True)]


def sampled(axes: Sequence[Axis], how: str, seed: int) -> list[Settings]:
    """A sample of the space that ranges and lists span, spread more evenly than chance: ``lhs:50`` or ``sobol:64``.

    Latin hypercube: each setting's range is cut into as many slices as there are points, and each slice has one. Sobol:
    a scrambled sequence of low discrepancy; a power of two keeps its balance, and with the same seed a larger sample
    begins with the smaller one. A list counts as a range of equal slices.

    Source: scipy.stats.qmc (`LatinHypercube`, `Sobol`).

    Raises:
        ScenarioError: it is neither, has no number, or no fitting one.
    """
    kind, colon, number = how.partition(":")
    if kind not in _SAMPLES:
        raise ScenarioError(f"--sample {how}: no sample {kind!r}; write lhs:50 or sobol:64")
    if not colon or not number.isdecimal() or not 1 <= int(number) <= MOST_POINTS:
        raise ScenarioError(f"--sample {how}: how many points? write for example {kind}:64")
    shares = _SAMPLES[kind](len(axes), int(number), seed)
    return [{axis.path: axis.at(share) for axis, share in zip(axes, row, strict=True)} for row in shares]


def _latin_hypercube(dimensions: int, count: int, seed: int) -> list[list[float]]:
    from scipy.stats import qmc  # lazily: a second that no other study need pay

    return [[float(x) for x in row] for row in qmc.LatinHypercube(dimensions, rng=seed).random(count)]


def _sobol(dimensions: int, count: int, seed: int) -> list[list[float]]:
    from scipy.stats import qmc

    if count & (count - 1):
        more = 1 << count.bit_length()
        raise ScenarioError(f"--sample sobol:{count}: Sobol needs a power of two to be balanced; take sobol:{more}")
    return [[float(x) for x in row] for row in qmc.Sobol(dimensions, rng=seed).random(count)]


_SAMPLES: Final[Mapping[str, Callable[[int, int, int], list[list[float]]]]] = {"lhs": _latin_hypercube, "sobol": _sobol}


def label_of(settings: Mapping[str, Any]) -> str:
    """A point in words.

    >>> label_of({"load.rate": "50/s", "services.shop.replicas": 2})
    'load.rate = 50/s, services.shop.replicas = 2'
    """
    return ", ".join(f"{path} = {plainly(value)}" for path, value in settings.items())


def plainly(value: Any) -> str:
    """A value as it would be written in the file."""
    return value if isinstance(value, str) else shown(value)


def in_columns(values: Sequence[Any]) -> list[Any]:
    """The values of one setting as a column: numbers in base units if all are quantities, else text.

    >>> in_columns(["50ms", "1s"]), in_columns([1, "unlimited"]), in_columns([None, 3])
    ([0.05, 1.0], ['1', 'unlimited'], ['null', '3'])
    """
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers):
        return [plainly(value) for value in values]
    if any(isinstance(number, float) for number in numbers):
        return [float(number) for number in numbers if number is not None]
    return numbers


def unit_of(values: Sequence[Any]) -> str:
    """The unit of a column of `in_columns`: s, /s, B, B/s, or none where they are plain numbers or text.

    >>> unit_of(["50ms", "1s"]), unit_of(["5/s"]), unit_of(["10 Mbit/s"]), unit_of([1, 2]), unit_of(["a"])
    ('s', '/s', 'B/s', '', '')
    """
    for kind, unit in units.BASE.items():
        for value in values:
            try:
                units.parse(value, kind, bare_numbers=False)
            except ValueError:
                break
        else:
            return unit
    return ""


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    for kind in units.EXAMPLES:
        try:
            return units.parse(value, kind, bare_numbers=False)
        except ValueError:
            continue
    return None
