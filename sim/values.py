"""What every specification is made of: frozen models, quantities with units, names, laws as data.

It lives on floor 0 so that a policy's specification can stand beside its rule on floor 1.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationInfo

from sim import streams, units
from sim.laws import (
    LAWS,
    Constant,
    Erlang,
    Exponential,
    Hyperexponential,
    Law,
    Lognormal,
    Mixture,
    Normal,
    Pareto,
    Quantiles,
    Uniform,
)


class Spec(BaseModel):
    """A frozen piece of a scenario: checked once, printable, hashable, picklable."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
        # A method of a specification in a compiled module is of a type that pydantic takes for a field.
        ignored_types=(type(streams.key),),
    )

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))


T = TypeVar("T")


def _quantity(kind: str, *, positive: bool = False) -> Callable[[object, ValidationInfo], float]:
    def read(value: object, info: ValidationInfo) -> float:
        # YAML insists on units, because `timeout: 250` is read as minutes of waiting by the next colleague.
        from_yaml = bool(info.context and info.context.get("yaml"))
        number = units.parse(value, kind, bare_numbers=not from_yaml)
        if number < 0 or (positive and number == 0):
            raise ValueError(f"{value!r} must be {'positive' if positive else 'zero or more'}")
        if kind == "ratio" and number > 1:
            raise ValueError(f"{value!r} must lie between 0 and 100 %")
        return number

    return read


def _written(unit: str) -> PlainSerializer:
    return PlainSerializer(lambda value: units.exact(value, unit), return_type=str, when_used="json")


Duration = Annotated[float, BeforeValidator(_quantity("duration")), _written("s")]
PositiveDuration = Annotated[float, BeforeValidator(_quantity("duration", positive=True)), _written("s")]
Rate = Annotated[float, BeforeValidator(_quantity("rate")), _written("/s")]
PositiveRate = Annotated[float, BeforeValidator(_quantity("rate", positive=True)), _written("/s")]
Ratio = Annotated[float, BeforeValidator(_quantity("ratio"))]
#: Bytes.
Size = Annotated[float, BeforeValidator(_quantity("size")), _written("B")]
PositiveSize = Annotated[float, BeforeValidator(_quantity("size", positive=True)), _written("B")]
#: Bytes per second.
PositiveBandwidth = Annotated[float, BeforeValidator(_quantity("bandwidth", positive=True)), _written("B/s")]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_/-]*")


def _check_name(value: object) -> object:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name; use letters, digits, '_', '-' and '/', starting with a letter")
    return value


Name = Annotated[str, BeforeValidator(_check_name)]


def _check_content(value: object, info: ValidationInfo) -> object:
    """Read what is sent: the name of a message, or a size such as ``100 kB``."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    try:
        return _quantity("size")(value, info)
    except ValueError as exc:
        raise ValueError(f"{exc}, or the name of one of messages") from exc


def _content_written(value: str | float) -> str:
    return value if isinstance(value, str) else units.exact(value, "B")


#: A message by name, or bytes.
Content = Annotated[str | float, BeforeValidator(_check_content), PlainSerializer(_content_written)]


def _check_address(value: object) -> object:
    if not isinstance(value, str) or value.count(".") != 1 or not all(map(_NAME.fullmatch, value.split("."))):
        raise ValueError(f"{value!r} is not an operation; write service.operation, for example payment.charge")
    return value


#: An operation's full name, ``service.operation``.
Address = Annotated[str, BeforeValidator(_check_address)]


def parse_law(value: object, info: ValidationInfo) -> Law:
    """Read a law from data: ``20ms``, ``{exponential: 20ms}``, ``{lognormal: {mean: 20ms, cv: 2}}``, or a name of `laws`.

    Named laws come through the validation context (`laws`), so that a scenario states a long law once.
    """
    named: dict[str, Law] = (info.context or {}).get("laws", {})
    if isinstance(value, Law):
        return value
    if isinstance(value, str) and value in named:
        return named[value]
    if isinstance(value, str | int | float):
        try:
            return Constant(_quantity("duration")(value, info))
        except ValueError as exc:
            known = f"; or name one of laws: {', '.join(sorted(named)[:12])}" if named else ""
            raise ValueError(f"{exc}, {{exponential: 20ms}}{known}") from exc
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(
            f"{value!r} is not a law; write one key: 20ms, {{exponential: 20ms}}, {{lognormal: {{mean: 20ms, cv: 2}}}}"
        )
    (kind, fields), *_ = value.items()
    build = _BUILDERS.get(kind)
    if build is None:
        close = difflib.get_close_matches(str(kind), _BUILDERS, n=1)
        guess = f"did you mean {close[0]!r}?" if close else f"known laws: {', '.join(_BUILDERS)}"
        raise ValueError(f"{str(kind)[:60]!r} is not a law; {guess}")
    try:
        law = build(fields, info)
        computable = math.isfinite(law.mean) and math.isfinite(law.variance)
    except (TypeError, KeyError) as exc:
        raise ValueError(f"{kind} cannot be read from {fields!r}; write for example {LAW_EXAMPLES[kind]}") from exc
    except ArithmeticError:
        computable = False
    if not computable:
        raise ValueError(f"{kind} of {fields!r} is too extreme: its mean or variance is beyond what can be computed")
    return law


def _mapping(fields: object, allowed: set[str], required: set[str], kind: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ValueError(f"{kind} needs {', '.join(sorted(required or allowed))}; write for example {LAW_EXAMPLES[kind]}")
    unknown = set(map(str, fields)) - allowed
    missing = required - set(fields)
    if unknown or missing:
        what = f"does not know {', '.join(sorted(unknown))}" if unknown else f"misses {', '.join(sorted(missing))}"
        raise ValueError(f"{kind} {what}; write for example {LAW_EXAMPLES[kind]}")
    return fields


def _seconds(value: object, info: ValidationInfo) -> float:
    return _quantity("duration")(value, info)


def _plain(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} = {value!r} must be a number")
    return float(value)


def _probability(text: object) -> float:
    """Read ``p99``, ``99 %``, ``0.99`` as a probability."""
    if isinstance(text, str) and re.fullmatch(r"p[0-9]{1,3}(\.[0-9]+)?", text):
        text = f"{text[1:]} %"
    return units.parse(text, "ratio")


def _constant(fields: object, info: ValidationInfo) -> Law:
    return Constant(_seconds(fields, info))


def _exponential(fields: object, info: ValidationInfo) -> Law:
    mean = _mapping(fields, {"mean"}, {"mean"}, "exponential")["mean"] if isinstance(fields, dict) else fields
    return Exponential(_seconds(mean, info))


def _uniform(fields: object, info: ValidationInfo) -> Law:
    given = _mapping(fields, {"low", "high"}, {"low", "high"}, "uniform")
    return Uniform(_seconds(given["low"], info), _seconds(given["high"], info))


def _lognormal(fields: object, info: ValidationInfo) -> Law:
    if isinstance(fields, dict) and "mean" not in fields:
        if len(fields) != 2 or not all(str(name).startswith("p") for name in fields):
            raise ValueError(f"lognormal needs mean and cv, or two percentiles; write for example {LAW_EXAMPLES['lognormal']}")
        return Lognormal.from_percentiles({_probability(p): _seconds(x, info) for p, x in fields.items()})
    given = _mapping(fields, {"mean", "cv"}, {"mean", "cv"}, "lognormal")
    return Lognormal(_seconds(given["mean"], info), _plain(given["cv"], "cv"))


def _normal(fields: object, info: ValidationInfo) -> Law:
    given = _mapping(fields, {"mean", "sd"}, {"mean", "sd"}, "normal")
    return Normal(_seconds(given["mean"], info), _seconds(given["sd"], info))


def _erlang(fields: object, info: ValidationInfo) -> Law:
    given = _mapping(fields, {"k", "mean"}, {"k", "mean"}, "erlang")
    return Erlang(given["k"], _seconds(given["mean"], info))


def _hyperexponential(fields: object, info: ValidationInfo) -> Law:
    if isinstance(fields, dict) and "probabilities" in fields:
        given = _mapping(fields, {"probabilities", "means"}, {"probabilities", "means"}, "hyperexponential")
        return Hyperexponential(
            tuple(units.parse(p, "ratio") for p in given["probabilities"]),
            tuple(_seconds(m, info) for m in given["means"]),
        )
    given = _mapping(fields, {"mean", "cv"}, {"mean", "cv"}, "hyperexponential")
    return Hyperexponential.from_mean(_seconds(given["mean"], info), _plain(given["cv"], "cv"))


def _pareto(fields: object, info: ValidationInfo) -> Law:
    given = _mapping(fields, {"shape", "minimum", "maximum"}, {"shape", "minimum", "maximum"}, "pareto")
    minimum, maximum = _seconds(given["minimum"], info), _seconds(given["maximum"], info)
    return Pareto(_plain(given["shape"], "shape"), minimum, maximum)


def _mixture(fields: object, info: ValidationInfo) -> Law:
    if not isinstance(fields, list | tuple) or not all(isinstance(part, dict) for part in fields):
        raise ValueError(f"mixture needs a list of weight and law; write for example {LAW_EXAMPLES['mixture']}")
    parts = [_mapping(part, {"weight", "law"}, {"weight", "law"}, "mixture") for part in fields]
    weights = tuple(units.parse(part["weight"], "ratio") for part in parts)
    laws = tuple(parse_law(part["law"], info) for part in parts)
    # Every draw and every mean walks down through them; laws with names make nesting cheap to write and endless to compute.
    if sum(map(_size, laws)) > _MOST_PARTS or max(map(_depth, laws), default=0) >= _DEEPEST_MIXTURE:
        raise ValueError(f"mixture holds more than {_MOST_PARTS:,} laws, or mixtures {_DEEPEST_MIXTURE} deep; make it simpler")
    return Mixture(weights, laws)


_MOST_PARTS = 1000
_DEEPEST_MIXTURE = 10


def _size(law: Law) -> int:
    return sum(map(_size, law.laws)) if isinstance(law, Mixture) else 1


def _depth(law: Law) -> int:
    return 1 + max(map(_depth, law.laws)) if isinstance(law, Mixture) else 0


def _quantiles(fields: object, info: ValidationInfo) -> Law:
    if isinstance(fields, list | tuple):  # evenly spaced from the minimum to the maximum
        if len(fields) < 2:
            raise ValueError("quantiles need at least two values")
        points = [(i / (len(fields) - 1), value) for i, value in enumerate(fields)]
    elif isinstance(fields, dict):
        points = sorted((_probability(p), value) for p, value in fields.items())
    else:
        raise ValueError(f"quantiles need a map or a list; write for example {LAW_EXAMPLES['quantiles']}")
    return Quantiles(tuple(p for p, _ in points), tuple(_seconds(x, info) for _, x in points))


_BUILDERS: dict[str, Callable[[object, ValidationInfo], Law]] = {
    "constant": _constant,
    "uniform": _uniform,
    "exponential": _exponential,
    "lognormal": _lognormal,
    "normal": _normal,
    "erlang": _erlang,
    "hyperexponential": _hyperexponential,
    "pareto": _pareto,
    "mixture": _mixture,
    "quantiles": _quantiles,
}

#: How each law is written, for messages and the reference.
LAW_EXAMPLES = {
    "constant": "{constant: 20ms}",
    "uniform": "{uniform: {low: 10ms, high: 30ms}}",
    "exponential": "{exponential: 20ms}",
    "lognormal": "{lognormal: {mean: 20ms, cv: 2}} or {lognormal: {p50: 10ms, p99: 80ms}}",
    "normal": "{normal: {mean: 10ms, sd: 2ms}}",
    "erlang": "{erlang: {k: 4, mean: 20ms}}",
    "hyperexponential": "{hyperexponential: {mean: 20ms, cv: 2}}",
    "pareto": "{pareto: {shape: 1.5, minimum: 5ms, maximum: 2s}}",
    "mixture": "{mixture: [{weight: 90 %, law: 5ms}, {weight: 10 %, law: {exponential: 100ms}}]}",
    "quantiles": "{quantiles: {p0: 2ms, p50: 5ms, p99: 40ms, p100: 90ms}}",
}


def dump_law(law: Law) -> Any:
    """Write a law as data that `parse_law` reads back to an equal law."""

    def seconds(value: float) -> str:
        return units.exact(value, "s")

    match law:
        case Constant(value):
            return seconds(value)
        case Mixture(weights, laws):
            return {"mixture": [{"weight": w, "law": dump_law(part)} for w, part in zip(weights, laws, strict=True)]}
        case Quantiles(probabilities, values):
            return {"quantiles": {repr(float(p)): seconds(x) for p, x in zip(probabilities, values, strict=True)}}
        case Normal(center, sd):
            return {"normal": {"mean": seconds(center), "sd": seconds(sd)}}
        case Hyperexponential(probabilities, means):
            return {
                "hyperexponential": {
                    "probabilities": list(probabilities),
                    "means": [seconds(m) for m in means],
                }
            }
    name = type(law).__name__.lower()
    if name not in LAWS or not dataclasses.is_dataclass(law):
        return repr(law)
    plain = {"cv", "k", "shape"}
    fields = {f.name: getattr(law, f.name) for f in dataclasses.fields(law) if f.init}
    return {name: {key: value if key in plain else seconds(value) for key, value in fields.items()}}


#: A probability law of a duration, in seconds. In Python, too, it is dumped as it is written: what pydantic makes of its fields
#: could not be read again, and policies are merged as data.
LawSpec = Annotated[Law, BeforeValidator(parse_law), PlainSerializer(dump_law)]
