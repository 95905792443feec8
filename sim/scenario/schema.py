"""The scenario language as its models state it: which keys there are, what each may hold, how it is written.

Error messages, overlays and the reference all read it from here, so none of them repeats the models.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, Discriminator, Tag
from pydantic.fields import FieldInfo

from sim import values
from sim.policies.balancing_kinds import Balancing
from sim.policies.discipline import Discipline
from sim.policies.payloads import FieldPath
from sim.policies.zones import Placement, ZoneRouting
from sim.scenario.calls import OFF
from sim.scenario.messaging.queues import Topic
from sim.scenario.protocols import Protocol
from sim.scenario.services import Link, Operation, Payload, Selector, Waiting
from sim.scenario.slo import SloSpec
from sim.scenario.words import plain

#: Models that may be written as the value of one of their fields: ``queue: 100`` is ``queue: {capacity: 100}``.
SHORTHAND: Final[dict[type[BaseModel], str]] = {
    Operation: "steps", Waiting: "capacity", Link: "latency", Discipline: "kind", Balancing: "kind", Topic: "subscriptions",
    ZoneRouting: "kind", Payload: "size", Protocol: "profile",
}  # fmt: skip


def _reader(alias: Any) -> BeforeValidator:
    return next(meta for meta in get_args(alias)[1:] if isinstance(meta, BeforeValidator))


#: What our own validators read, by the validator that makes it so.
_KINDS: Final[dict[BeforeValidator, tuple[str, str]]] = {
    _reader(values.Duration): ("duration", "250ms"),
    _reader(values.PositiveDuration): ("duration > 0", "250ms"),
    _reader(values.Rate): ("rate", "100/s"),
    _reader(values.PositiveRate): ("rate > 0", "100/s"),
    _reader(values.Ratio): ("ratio", "5 %"),
    _reader(values.Size): ("size", "2 kB"),
    _reader(values.PositiveSize): ("size > 0", "2 kB"),
    _reader(values.PositiveBandwidth): ("bandwidth > 0", "10 Mbit/s"),
    _reader(values.Content): ("message or size", "100 kB"),
    _reader(FieldPath): ("way to a field", "reviews.stars"),
    _reader(values.Name): ("name", "payment"),
    _reader(values.Address): ("service.operation", "payment.charge"),
    _reader(values.LawSpec): ("law", "{exponential: 20ms}"),
    _reader(Selector): ("selector", "shop -> payment"),
    _reader(SloSpec): ("objective", "p99 <= 300ms"),
    _reader(Placement): ("placement", "[a, b]"),
}

_KIND_WORDS: Final = {
    "objective": "an objective in words, for example p99 <= 300ms",
    "service.operation": "service.operation, for example payment.charge",
    "message or size": "the name of a message, or a size, for example 100 kB",
    "placement": "a zone, a list of zones, or shares by zone, for example {a: 4, b: 2}",
    "selector": "a selector, for example default, payment or 'shop -> payment'",
}

#: How a required key is written, where its kind alone does not tell.
_EXAMPLES: Final = {
    "replicas": "replicas: 5",
    "profile": "profile: grpc",
    "keys": "keys: 1000",
    "subscriptions": "subscriptions: [bills, mails]",
    "max_replicas": "max_replicas: 10",
    "services": "services: {shop: {workers: 8, operations: {buy: [{work: 20ms}]}}}",
    "load": "load: {rate: 100/s, mix: shop.buy}",
    "workers": "workers: 8",
    "operations": "operations: {buy: [{work: 20ms}]}",
    "mix": "mix: shop.buy",
    "points": "points: [{at: 0s, rate: 100/s}, {at: 30s, rate: 200/s}]",
    "peak": "peak: 300/s",
    "users": "users: 50",
    "times": "times: arrivals.csv",
    "factor": "factor: 3",
    "max_concurrent": "max_concurrent: 20",
    "consumer": "consumer: email.send",
    "partition": "partition: [[a], [b, c]]",
    "parallel": "parallel: [{call: stock.reserve}, {call: payment.charge}]",
    "repeat": "repeat: [{call: stock.look}, {call: prices.ask}]",
    "saga": "saga: [{do: {call: payment.charge}, undo: {call: payment.refund}}, {do: {call: stock.reserve}}]",
    "do": "do: {call: payment.charge}",
    "count": "count: 3",
    "candidates": "candidates: {today: {}, retry: {calls: {default: {retry: {max_attempts: 3}}}}}",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A type of the language: its annotation without `Annotated`, and what was attached to it."""

    core: Any
    meta: tuple[Any, ...] = ()

    @property
    def kind(self) -> str | None:
        """``duration``, ``law``, …: what our own validator reads; None for pydantic's types."""
        return next((_KINDS[m][0] for m in self.meta if isinstance(m, BeforeValidator) and m in _KINDS), None)

    @property
    def model(self) -> type[BaseModel] | None:
        """The model class, if it is one."""
        return self.core if isinstance(self.core, type) and issubclass(self.core, BaseModel) and self.kind is None else None


def shape_of(annotation: Any, meta: Sequence[Any] = ()) -> Shape:
    """Take the `Annotated` layers off a type."""
    attached = list(meta)
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        attached += more
    flat: list[Any] = []
    for item in attached:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    if _is_union(annotation):
        some = [member for member in get_args(annotation) if member is not type(None)]
        if len(some) == 1 and _is_union(shape_of(some[0]).core):  # a union that may be absent is a union
            return shape_of(some[0], flat)
    return Shape(annotation, tuple(flat))


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a model, as they are written."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def members(shape: Shape) -> list[Shape]:
    """The alternatives of a union, without null; of any other type itself alone."""
    if shape.kind is None and _is_union(shape.core):
        return [shape_of(member) for member in get_args(shape.core) if member is not type(None)]
    return [shape]


def literals(shape: Shape) -> tuple[str, ...]:
    """The words that a type allows, if it is made of words."""
    return tuple(map(str, get_args(shape.core))) if get_origin(shape.core) is Literal else ()


def chosen(shape: Shape, value: Any) -> Shape | None:
    """The alternative of a union that data was meant for, by its tag or its form; None when nothing tells."""
    options = members(shape)
    if len(options) == 1:
        return options[0]
    for meta in shape.meta:
        if isinstance(meta, Discriminator) and callable(meta.discriminator):
            tag = meta.discriminator(value)
            return next((option for option in options if _tag(option) == tag), None)
    form = dict if isinstance(value, Mapping) else tuple if isinstance(value, list | tuple) else None
    return next((option for option in options if get_origin(option.core) is form), None) if form else None


def _tag(shape: Shape) -> str | None:
    return next((meta.tag for meta in shape.meta if isinstance(meta, Tag)), None)


def child(shape: Shape | None, value: Any, key: str | int) -> Shape | None:
    """The type of what stands under a key or index of `value`; None where the language knows no such thing."""
    shape = chosen(shape, value) if shape else None
    if shape is None or shape.kind is not None:
        return None
    if (model := shape.model) is not None:
        short = SHORTHAND.get(model)
        if short and not isinstance(value, Mapping):
            return child(field_shape(model, short), value, key)
        return field_shape(model, str(key))
    arguments = get_args(shape.core)
    if get_origin(shape.core) is dict:
        return shape_of(arguments[1])
    if get_origin(shape.core) is tuple:
        inner = shape_of(arguments[0])
        # A single branch of `parallel` need not be wrapped in a list.
        return inner if isinstance(value, list | tuple) else child(inner, value, key)
    return None


def field_shape(model: type[BaseModel], key: str) -> Shape | None:
    """The type of a key of a model."""
    field = fields_of(model).get(key)
    return None if field is None else shape_of(field.annotation, field.metadata)


def is_nullable(shape: Shape | None, value: Any, key: str) -> bool:
    """Whether null is something that can stand under a key of `value`: that there is none, or that it is off."""
    shape = chosen(shape, value) if shape else None
    field = fields_of(shape.model).get(key) if shape is not None and shape.model is not None else None
    return field is not None and (type(None) in get_args(field.annotation) or OFF in field.metadata)


def expected(shape: Shape, name: Callable[[type[BaseModel]], str] | None = None) -> str:
    """What a value of this type looks like, in words; `name` writes a model, by default by its keys.

    >>> expected(shape_of(Annotated[int, Ge(1)] | Literal["unlimited"]))
    "a whole number of at least 1 or 'unlimited'"
    """
    options = members(shape)
    if len(options) > 1:
        models = [option.model for option in options if option.model is not None]
        if len(models) == len(options) and name is None:
            return f"a mapping with one of {', '.join(str(_tag(option)) for option in options)}"
        return " or ".join(expected(option, name) for option in options)
    (shape,) = options
    if shape.kind is not None:
        return shape.kind if name else _KIND_WORDS.get(shape.kind, f"a {shape.kind}")
    if shape.model is not None:
        keys = list(fields_of(shape.model))
        return name(shape.model) if name else f"a mapping with {', '.join(keys[:8])}{', …' if len(keys) > 8 else ''}"
    return _expected_plain(shape, name)


def _expected_plain(shape: Shape, name: Callable[[type[BaseModel]], str] | None) -> str:
    arguments = get_args(shape.core)
    match get_origin(shape.core) or shape.core:
        case origin if origin is Literal:
            return (
                " or ".join(f"'{word}'" for word in arguments)
                if len(arguments) < 3
                else f"one of {', '.join(map(str, arguments))}"
            )
        case origin if origin is dict:
            return f"a mapping of {expected(shape_of(arguments[0]), name)} to {expected(shape_of(arguments[1]), name)}"
        case origin if origin is tuple:
            return f"a list, each item {expected(shape_of(arguments[0]), name)}"
        case origin if origin is bool:
            return "true or false"
        case origin if origin is str:
            return "text"
        case origin if origin in (int, float):
            return f"{'a whole number' if origin is int else 'a number'}{_bounds(shape)}"
        case _:
            return str(shape.core)


def _bounds(shape: Shape) -> str:
    least = next((meta.ge for meta in shape.meta if isinstance(meta, Ge)), None)
    most = next((meta.le for meta in shape.meta if isinstance(meta, Le)), None)
    above = next((meta.gt for meta in shape.meta if isinstance(meta, Gt)), None)
    below = next((meta.lt for meta in shape.meta if isinstance(meta, Lt)), None)
    if least is not None and most is not None:
        return f" from {least} to {most:,}"
    said = [("of at least", least), ("above", above), ("of at most", most), ("below", below)]
    parts = [f"{words} {bound:,}" for words, bound in said if bound is not None]
    return f" {' and '.join([*parts[:1], *(part.removeprefix('of ') for part in parts[1:])])}" if parts else ""


def example(key: str, shape: Shape | None) -> str:
    """How a key is written, for a message about a missing one."""
    if key in _EXAMPLES:
        return _EXAMPLES[key]
    words = literals(shape) if shape else ()
    known = (_KINDS[m][1] for m in (shape.meta if shape else ()) if isinstance(m, BeforeValidator) and m in _KINDS)
    found = next(known, words[0] if words else "…")
    return f"{key}: {found}"


def joined(path: Sequence[str | int]) -> str:
    """A path as messages show it.

    >>> joined(("services", "shop", "operations", "buy", 0, "work"))
    'services.shop.operations.buy[0].work'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{plain(part)}" if text else plain(part)
    return text
