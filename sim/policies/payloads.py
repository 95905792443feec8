"""Payloads: a message described once, and how many bytes it takes in each encoding.

::

    messages:
      review:  {author: {string: 12}, stars: {int: 4}, text: {string: 180}}
      product: {id: {int: 12345}, name: {string: 40}, price: {double: 19.99}, reviews: {list: review, count: 20}}
      card:    {of: product, select: [id, name, price]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from sim.values import Name, Spec

Encoding = Literal["json", "xml", "protobuf", "msgpack"]
ENCODINGS: Final[tuple[Encoding, ...]] = ("json", "xml", "protobuf", "msgpack")

#: What a field may be; a field has one of them.
KINDS: Final = ("string", "int", "float", "double", "bool", "enum", "bytes", "message", "list")

#: Larger messages, and deeper ones, are slips of the pen.
LARGEST_BYTES: Final = 10**12
_DEEPEST: Final = 50

_Length = Annotated[int, Field(ge=0, le=10**9)]


class MessageField(Spec):
    """One field of a message, by its kind: `{string: 40}`, `{int: 12345}`, `{list: review, count: 20}`.

    A number is given by a typical value, because its size depends on it: 12345 takes five bytes in JSON, two in protobuf and
    three in MessagePack.
    """

    string: _Length | None = Field(None, description="text of so many characters, one byte each, none that has to be escaped")
    int_: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        None, alias="int", description="a whole number, of about this value"
    )
    float_: float | None = Field(None, alias="float", description="a number of single precision, written like this one")
    double: float | None = Field(None, description="a number of double precision, written like this one")
    bool_: bool | None = Field(None, alias="bool", description="true or false")
    enum: Name | None = Field(None, description="one of a few words, of about this length; a small number in protobuf")
    bytes_: _Length | None = Field(None, alias="bytes", description="so many bytes; base64 in JSON and XML")
    message: Name | None = Field(None, description="another message of `messages`")
    list_: MessageField | Name | None = Field(
        None, alias="list", description="many of these: a field, or the name of a message; how many says `count`"
    )
    count: Annotated[int, Field(ge=0, le=10**8)] = Field(1, description="how many a list has")

    @model_validator(mode="after")
    def _one_kind(self) -> MessageField:
        given = [kind for kind in KINDS if _value(self, kind) is not None]
        if len(given) != 1:
            said = f"has {', '.join(given)}" if given else "has no kind"
            raise ValueError(f"a field {said}; write one of {', '.join(KINDS)}, for example {{string: 40}}")
        if self.list_ is None and "count" in self.model_fields_set:
            raise ValueError(f"count is for lists; write {{list: {{{given[0]}: ...}}, count: {self.count}}}")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if _value(self, kind) is not None)

    @property
    def item(self) -> MessageField:
        """What a list has many of."""
        return self.list_ if isinstance(self.list_, MessageField) else MessageField(message=self.list_)


def _value(field: MessageField, kind: str) -> Any:
    return getattr(field, f"{kind}_" if kind in ("int", "float", "bool", "bytes", "list") else kind)


def _path(value: object) -> object:
    if not isinstance(value, str) or not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f"{value!r} is no field; write its name, or a way to one inside: reviews.stars")
    return value


#: A field's name, or the way to one inside: ``reviews.stars``.
FieldPath = Annotated[str, BeforeValidator(_path)]


class Message(Spec):
    """What is sent: fields by name, in order; or some fields of another message. A bare map is read as the fields.

    `{of: product, select: [id, name, reviews.stars]}` is what a GraphQL query selects, a protobuf field mask, or a smaller
    resource made for one client. Numbers of protobuf's fields count from 1; empty text, zeros, false and empty lists are not
    sent there (proto3), and are written out in the others.
    """

    fields: dict[Name, MessageField] = Field({}, description="the fields, in order")
    of: Name | None = Field(None, description="another message of which this one has some fields")
    select: tuple[FieldPath, ...] = Field((), description="which fields: names, and ways to fields inside, reviews.stars")

    @model_validator(mode="before")
    @classmethod
    def _bare_fields(cls, data: Any) -> Any:
        whole = isinstance(data, dict) and (not set(data) - {"fields", "of", "select"})
        return data if whole or not isinstance(data, dict) else {"fields": data}

    @model_validator(mode="after")
    def _one_form(self) -> Message:
        if (self.of is not None) != bool(self.select):
            raise ValueError("of and select belong together; write {of: product, select: [id, name]}")
        if self.of is not None and self.fields:
            raise ValueError("fields beside of: a message has fields of its own, or selects those of another")
        return self


@dataclass(frozen=True)
class PayloadSize:
    """How large a message is in one encoding.

    Attributes:
        bytes: all of it.
        fresh: bytes of it if every list had one item at most: what a compressor sees for the first time.
    """

    bytes: int
    fresh: int

    def __add__(self, other: PayloadSize) -> PayloadSize:
        return PayloadSize(self.bytes + other.bytes, self.fresh + other.fresh)


_NOTHING: Final = PayloadSize(0, 0)


class Payloads:
    """The sizes of all messages of a scenario.

    Source: RFC 8259 (JSON, without white space); XML 1.0, one element for each field and list item, with a declaration;
    protobuf's encoding guide (varints, packed lists); msgpack/msgpack spec.md. tests/test_payloads.py compares with the encoders.

    >>> found = Payloads({"review": Message(fields={"stars": {"int": 4}, "text": {"string": 5}})})
    >>> {encoding: found.size("review", encoding).bytes for encoding in ENCODINGS}
    {'json': 26, 'xml': 90, 'protobuf': 9, 'msgpack': 19}
    """

    def __init__(self, messages: Mapping[str, Message]) -> None:
        self._messages = messages
        self._found: dict[tuple[str, Encoding], PayloadSize] = {}

    def size(self, name: str, encoding: Encoding) -> PayloadSize:
        """The size of a message, in bytes.

        Raises:
            ValueError: a message that is not there, holds itself, has no such field to select, or has no end.
        """
        size = self._found.get((name, encoding))
        if size is None:
            size = _size(self.fields(name), name, encoding)
            if size.bytes > LARGEST_BYTES:
                raise ValueError(f"{name} has {size.bytes:,} bytes: more than anybody sends; look at the counts of its lists")
            self._found[name, encoding] = size
        return size

    def size_in(self, name: str, encoding: Encoding, together: int | None) -> PayloadSize:
        """The size of a message; or of one with the only field `items`, a list of so many of them `together`.

        >>> found = Payloads({"review": Message(fields={"stars": {"int": 4}, "text": {"string": 5}})})
        >>> found.size_in("review", "json", None).bytes, found.size_in("review", "json", 3).bytes  # {"items":[..,..,..]}
        (26, 92)
        """
        if together is None:
            return self.size(name, encoding)
        item = self._shape(MessageField(list=name, count=together), 0)
        return _size({"items": item}, name, encoding)

    def asked(self, name: str) -> tuple[int, int]:
        """How deep a query for this message goes, in levels of fields, and for how many objects it asks, items of lists included.

        >>> messages = {
        ...     "review": Message(fields={"stars": {"int": 4}}),
        ...     "page": Message(fields={"reviews": {"list": "review", "count": 20}}),
        ... }
        >>> Payloads(messages).asked("page")
        (2, 21)
        """
        return _asked(self.fields(name))

    def fields(self, name: str, depth: int = 0) -> dict[str, _Shape]:
        """The fields of a message, those of other messages inside of it included.

        Raises:
            ValueError: see `size`.
        """
        message = self._messages.get(name)
        if message is None:
            known = ", ".join(list(self._messages)[:12])
            raise ValueError(f"no message {name!r}; {f'messages has {known}' if known else 'write it into messages'}")
        if depth > _DEEPEST:
            raise ValueError(f"message {name} holds itself, so it has no end; leave the field out, or select fields of it")
        if message.of is not None:
            return _selected(self.fields(message.of, depth + 1), message.select, message.of)
        return {field: self._shape(spec, depth) for field, spec in message.fields.items()}

    def _shape(self, spec: MessageField, depth: int) -> _Shape:
        if spec.message is not None:
            return _Shape(spec, self.fields(spec.message, depth + 1), None)
        return _Shape(spec, None, self._shape(spec.item, depth + 1) if spec.list_ is not None else None)


@dataclass(frozen=True)
class _Shape:
    """A field with what is inside: the fields of a message, or the item of a list."""

    spec: MessageField
    fields: dict[str, _Shape] | None
    item: _Shape | None


def _asked(fields: dict[str, _Shape]) -> tuple[int, int]:
    depth, objects = 0, 1
    for shape in fields.values():
        count = 1
        while shape.item is not None:
            count, shape = count * shape.spec.count, shape.item
        if shape.fields is not None:
            inner, more = _asked(shape.fields)
            depth, objects = max(depth, inner), objects + count * more
    return depth + 1, objects


def _selected(fields: dict[str, _Shape], select: tuple[str, ...], of: str) -> dict[str, _Shape]:
    wanted: dict[str, list[str]] = {}
    for path in select:
        first, _, rest = path.partition(".")
        if first not in fields:
            raise ValueError(f"{of} has no field {first!r} to select; it has {', '.join(fields)}")
        wanted.setdefault(first, []).append(rest)
    return {name: _narrowed(fields[name], rest, f"{of}.{name}") for name, rest in wanted.items()}


def _narrowed(shape: _Shape, paths: list[str], of: str) -> _Shape:
    if "" in paths:
        return shape
    if shape.item is not None:
        return _Shape(shape.spec, None, _narrowed(shape.item, paths, of))
    if shape.fields is None:
        raise ValueError(f"{of} is of kind {shape.spec.kind} and has no field {paths[0]!r} to select")
    return _Shape(shape.spec, _selected(shape.fields, tuple(paths), of), None)


def _size(fields: dict[str, _Shape], name: str, encoding: Encoding) -> PayloadSize:
    """The size of a message, whose name stands in XML alone."""
    match encoding:
        case "json":
            return _json_fields(fields)
        case "xml":
            return _xml_message(fields, name)
        case "protobuf":
            return _protobuf_fields(fields)
        case "msgpack":
            return _msgpack_fields(fields)


def _both(size: int) -> PayloadSize:
    return PayloadSize(size, size)


def _times(item: PayloadSize, count: int, between: int = 0) -> PayloadSize:
    """So many items in a row, with so many bytes between two; only the first is fresh."""
    if count == 0:
        return _NOTHING
    return PayloadSize(item.bytes * count + between * (count - 1), item.fresh)


def _total(sizes: list[PayloadSize]) -> PayloadSize:
    return sum(sizes, _NOTHING)


def _number(value: float) -> int:
    """Characters of a number: as JSON writes it, a whole one of floating point without a fraction."""
    return len(repr(value))


# JSON: {"name":value,...}


def _json_fields(fields: dict[str, _Shape]) -> PayloadSize:
    parts = [_both(len(field) + 3) + _json(shape) for field, shape in fields.items()]
    return _total(parts) + _both(2 + max(0, len(parts) - 1))


def _json(shape: _Shape) -> PayloadSize:
    spec = shape.spec
    if shape.fields is not None:
        return _json_fields(shape.fields)
    if shape.item is not None:
        return _both(2) + _times(_json(shape.item), spec.count, between=1)
    return _both(_text(spec) + (2 if spec.kind in ("string", "enum", "bytes") else 0))


def _text(spec: MessageField) -> int:
    """Characters of a single value where everything is text."""
    match spec.kind:
        case "string":
            return spec.string or 0
        case "bytes":
            return 4 * -(-(spec.bytes_ or 0) // 3)
        case "bool":
            return 4 if spec.bool_ else 5
        case "enum":
            return len(spec.enum or "")
        case "int":
            return len(str(spec.int_))
    return _number(spec.float_ if spec.float_ is not None else spec.double or 0.0)


# XML: <?xml version='1.0' encoding='UTF-8'?> <message><name>value</name>...</message>

_DECLARATION: Final = len("<?xml version='1.0' encoding='UTF-8'?>\n")


def _xml_message(fields: dict[str, _Shape], name: str) -> PayloadSize:
    return _both(_DECLARATION) + _element(name, _xml_fields(fields))


def _xml_fields(fields: dict[str, _Shape]) -> PayloadSize:
    parts = []
    for field, shape in fields.items():
        item = shape if shape.item is None else shape.item
        count = 1 if shape.item is None else shape.spec.count
        parts.append(_times(_element(field, _xml(item, field)), count))
    return _total(parts)


def _xml(shape: _Shape, name: str) -> PayloadSize:
    if shape.fields is not None:
        return _xml_fields(shape.fields)
    if shape.item is not None:  # a list of lists
        return _times(_element(name, _xml(shape.item, name)), shape.spec.count)
    return _both(_text(shape.spec))


def _element(name: str, inside: PayloadSize) -> PayloadSize:
    empty = inside.bytes == 0
    return _both(len(name) + len("< />")) if empty else inside + _both(2 * len(name) + len("<></>"))


# protobuf: tag value ...


def _varint(value: int) -> int:
    """Bytes of a number, seven bits in each; a negative one is as long as the longest."""
    return 10 if value < 0 else max(1, -(-value.bit_length() // 7))


def _tag(number: int) -> int:
    return _varint(number << 3)


def _protobuf_fields(fields: dict[str, _Shape]) -> PayloadSize:
    return _total([_protobuf_field(shape, number) for number, shape in enumerate(fields.values(), 1)])


def _protobuf_field(shape: _Shape, number: int) -> PayloadSize:
    spec = shape.spec
    if shape.item is None:
        return _NOTHING if _is_default(spec) else _both(_tag(number)) + _protobuf(shape)
    if spec.count == 0:
        return _NOTHING
    item = shape.item
    if item.item is not None:
        raise ValueError("protobuf has no lists of lists; put the inner list into a message")
    if item.fields is None and item.spec.kind in ("int", "float", "double", "bool", "enum"):
        inside = _times(_protobuf(item), spec.count)  # packed
        return PayloadSize(_tag(number) + _varint(inside.bytes) + inside.bytes, _tag(number) + 1 + inside.fresh)
    return _times(_both(_tag(number)) + _protobuf(item), spec.count)


def _is_default(spec: MessageField) -> bool:
    values = (spec.string, spec.int_, spec.float_, spec.double, spec.bool_, spec.bytes_)
    return any(value is not None and not value for value in values)


def _protobuf(shape: _Shape) -> PayloadSize:
    spec = shape.spec
    if shape.fields is not None:
        inside = _protobuf_fields(shape.fields)
        return PayloadSize(_varint(inside.bytes) + inside.bytes, _varint(inside.fresh) + inside.fresh)
    match spec.kind:
        case "int":
            return _both(_varint(spec.int_ or 0))
        case "float":
            return _both(4)
        case "double":
            return _both(8)
        case "bool" | "enum":
            return _both(1)
    length = (spec.string if spec.string is not None else spec.bytes_) or 0
    return _both(_varint(length) + length)


# MessagePack: a map of names to values


def _header(count: int, short: int, wide: bool = True) -> int:
    """Bytes that say how long something is: within one up to `short`, then after one, two or four more."""
    if count < short:
        return 1
    return 2 if wide and count < 2**8 else 3 if count < 2**16 else 5


def _msgpack_fields(fields: dict[str, _Shape]) -> PayloadSize:
    parts = [_both(_header(len(field), 32) + len(field)) + _msgpack(shape) for field, shape in fields.items()]
    return _both(_header(len(parts), 16, wide=False)) + _total(parts)


def _msgpack(shape: _Shape) -> PayloadSize:
    spec = shape.spec
    if shape.fields is not None:
        return _msgpack_fields(shape.fields)
    if shape.item is not None:
        return _both(_header(spec.count, 16, wide=False)) + _times(_msgpack(shape.item), spec.count)
    match spec.kind:
        case "int":
            return _both(_msgpack_int(spec.int_ or 0))
        case "float":
            return _both(5)
        case "double":
            return _both(9)
        case "bool":
            return _both(1)
        case "bytes":
            return _both(_header(spec.bytes_ or 0, 0) + (spec.bytes_ or 0))
    length = len(spec.enum) if spec.enum is not None else spec.string or 0
    return _both(_header(length, 32) + length)


def _msgpack_int(value: int) -> int:
    if -32 <= value < 128:
        return 1
    limits = (8, 16, 32, 64)
    bits = next(b for b in limits if (value < 2**b if value >= 0 else value >= -(2 ** (b - 1))))
    return 1 + bits // 8
