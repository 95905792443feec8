"""Sizes of payloads: computed from the schema, and compared byte for byte with what real encoders write."""

from __future__ import annotations

import base64
import json
import string
from xml.etree import ElementTree

import msgpack
import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.policies.payloads import ENCODINGS, Message, MessageField, Payloads

TICKER = {"name": {"string": 3}, "value": {"float": 9.768923}}


def payloads(**messages) -> Payloads:
    return Payloads({name: Message.model_validate(fields) for name, fields in messages.items()})


# P2: https://nilsmagnus.github.io/post/proto-json-sizes/ has the schema and the sizes.


@pytest.mark.parametrize(("count", "expected"), [(0, 13), (1, 25), (2, 37), (10, 133), (20, 253), (200, 2413), (2000, 24013)])
def test_published_sizes_of_tickers(count, expected):
    query = {"query": {"string": 7}, "page_number": {"int": 42}, "result_per_page": {"int": 100}}
    found = payloads(ticker=TICKER, test={**query, "tickers": {"list": "ticker", "count": count}})
    assert found.size("test", "protobuf").bytes == expected
    assert 0.18 <= expected / found.size("test", "json").bytes <= 0.38
    # What was published for JSON, whose numbers have six to nine characters: within 2 %; without tickers it leaves the list out.
    published = {1: 102, 2: 133, 10: 396, 20: 724, 200: 6578, 2000: 65250}
    if count:
        assert found.size("test", "json").bytes == pytest.approx(published[count], rel=0.02)


# P2 on user records: https://ewen.quimerch.com/articles/16-json-vs-protobuf has the fields and the example.


@pytest.mark.parametrize("count", [1, 10, 100, 10_000])
def test_published_ratio_of_user_records(count):
    email, moment = "alice@example.com", "2024-01-15T10:30:00Z"
    fields = {"user_id": {"int": 42}, "username": {"string": 5}, "email": {"string": len(email)}}
    fields |= {"created_at": {"string": len(moment)}, "is_active": {"bool": True}}
    found = payloads(user=fields, users={"users": {"list": "user", "count": count}})
    one = {"user_id": 42, "username": "alice", "email": email, "created_at": moment, "is_active": True}
    assert found.size("users", "json").bytes == len(orjson.dumps({"users": [one] * count}))
    assert found.size("users", "protobuf").bytes == 54 * count  # 2 of its own, 2 + 7 + 19 + 22 + 2 of its fields
    alone = found.size("user", "protobuf").bytes / found.size("user", "json").bytes
    together = found.size("users", "protobuf").bytes / found.size("users", "json").bytes
    assert 0.45 <= alone <= 0.47
    assert count == 1 or 0.45 <= together <= 0.47


# And byte for byte: https://saran.sankaran.dev/grpc/Protobuf-vs-JSON-The-Compression-Test-That-Changed-My-Mind (Go's encoders;
# the list grows from row to row, so the second has eleven users, whose names have one hundred letters).


@pytest.mark.parametrize(("count", "letters", "json_bytes", "protobuf_bytes"), [(1, 11, 75, 40), (11, 100, 673, 398)])
def test_published_bytes_of_user_records(count, letters, json_bytes, protobuf_bytes):
    name, more = divmod(letters, count)
    user = {"name": {"string": name}, "age": {"int": 42}, "email": {"string": name + len("@gmail.com")}}
    found = payloads(user=user, users={"users": {"list": "user", "count": count}})
    # Names that have a letter more have it in the address, too.
    assert found.size("users", "json").bytes + 2 * more == json_bytes
    assert found.size("users", "protobuf").bytes + 2 * more == protobuf_bytes


# What real encoders write.


def value_of(field: MessageField, messages: dict[str, Message], text: bool):
    """A value that the field describes; `text` where bytes are written as base64."""
    match field.kind:
        case "string":
            return "x" * field.string
        case "bytes":
            raw = b"\x01" * field.bytes_
            return base64.b64encode(raw).decode() if text else raw
        case "message":
            return {name: value_of(each, messages, text) for name, each in messages[field.message].fields.items()}
        case "list":
            return [value_of(field.item, messages, text) for _ in range(field.count)]
    return next(v for v in (field.int_, field.float_, field.double, field.bool_, field.enum) if v is not None)


def in_xml(parent, name, value):
    if isinstance(value, list):
        for item in value:
            in_xml(parent, name, item)
        return
    element = ElementTree.SubElement(parent, name) if parent is not None else ElementTree.Element(name)
    if isinstance(value, dict):
        for field, inside in value.items():
            in_xml(element, field, inside)
    else:
        element.text = str(value).lower() if isinstance(value, bool) else str(value)
    return element


PROTO = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "string": PROTO.TYPE_STRING, "int": PROTO.TYPE_INT64, "float": PROTO.TYPE_FLOAT, "double": PROTO.TYPE_DOUBLE,
    "bool": PROTO.TYPE_BOOL, "bytes": PROTO.TYPE_BYTES, "message": PROTO.TYPE_MESSAGE,
}  # fmt: skip


def in_protobuf(name: str, messages: dict[str, Message]) -> bytes:
    """The message as protobuf writes it, of a schema made on the spot."""
    file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="t", syntax="proto3")
    for message_name, message in messages.items():
        into = file.message_type.add(name=message_name)
        for number, (field_name, field) in enumerate(message.fields.items(), 1):
            item = field.item if field.kind == "list" else field
            label = PROTO.LABEL_REPEATED if field.kind == "list" else PROTO.LABEL_OPTIONAL
            made = into.field.add(name=field_name, number=number, type=TYPES[item.kind], label=label)
            if item.kind == "message":
                made.type_name = f".t.{item.message}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    value = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))()
    for field_name, field in messages[name].fields.items():
        put(value, field_name, value_of(field, messages, text=False))
    return value.SerializeToString()


def put(into, name, value):
    if isinstance(value, dict):
        inside = getattr(into, name)
        inside.SetInParent()
        for field, each in value.items():
            put(inside, field, each)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            added = getattr(into, name).add()
            for field, each in item.items():
                put(added, field, each)
    elif isinstance(value, list):
        getattr(into, name).extend(value)
    else:
        setattr(into, name, value)


def encoded(name: str, messages: dict[str, Message]) -> dict[str, bytes]:
    whole = MessageField(message=name)
    text, raw = value_of(whole, messages, text=True), value_of(whole, messages, text=False)
    tree = in_xml(None, name, text)
    return {
        "json": json.dumps(text, separators=(",", ":")).encode(),
        "xml": ElementTree.tostring(tree, encoding="UTF-8", xml_declaration=True),
        "protobuf": in_protobuf(name, messages),
        "msgpack": msgpack.packb(raw),
    }


names = st.text(string.ascii_lowercase, min_size=1, max_size=40).map(lambda text: f"f_{text}")
# Of exact values, so that single and double precision write them alike.
numbers = st.integers(-999, 999).map(lambda whole: whole / 8)
plain = st.one_of(
    st.integers(0, 300).map(lambda n: MessageField(string=n)),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: MessageField(int=n)),
    st.sampled_from([0, 1, 23, 127, 128, 255, 256, 65535, 65536, 2**32, -1, -32, -33, -129, -40000]).map(
        lambda n: MessageField(int=n)
    ),
    numbers.map(lambda x: MessageField(double=x)),
    st.booleans().map(lambda yes: MessageField(bool=yes)),
    st.integers(0, 300).map(lambda n: MessageField(bytes=n)),
)


@st.composite
def schemas(draw):
    """Messages in a row; fields may hold messages of those before."""
    messages: dict[str, Message] = {}
    for number in range(draw(st.integers(1, 3))):
        inside = st.sampled_from(sorted(messages)).map(lambda name: MessageField(message=name)) if messages else plain
        lists = st.builds(lambda item, count: MessageField(list=item, count=count), st.one_of(plain, inside), st.integers(0, 20))
        fields = draw(st.dictionaries(names, st.one_of(plain, inside, lists), max_size=20))
        messages[f"m{number}"] = Message(fields=fields)
    return f"m{number}", messages


@settings(max_examples=150, deadline=None)
@given(schemas())
def test_sizes_are_those_of_real_encoders(schema):
    name, messages = schema
    found = Payloads(messages)
    for encoding, written in encoded(name, messages).items():
        assert found.size(name, encoding).bytes == len(written), encoding


def test_single_precision_is_written_by_its_own_length():
    field = {"value": {"float": 9.768923}}
    messages = {"m": Message.model_validate(field)}
    assert payloads(m=field).size("m", "msgpack").bytes == len(msgpack.packb({"value": 9.768923}, use_single_float=True))
    assert payloads(m=field).size("m", "protobuf").bytes == len(in_protobuf("m", messages))


def test_other_writers_of_json_write_the_same():
    fields = {
        "id": {"int": 7},
        "price": {"double": 19.99},
        "name": {"string": 12},
        "ok": {"bool": True},
        "l": {"list": {"int": 5}, "count": 3},
    }
    messages = {"m": Message.model_validate(fields)}
    value = value_of(MessageField(message="m"), messages, text=True)
    assert payloads(m=fields).size("m", "json").bytes == len(orjson.dumps(value))


# What is fresh to a compressor, and what selections leave.


def test_only_the_first_item_of_a_list_is_fresh():
    found = payloads(ticker=TICKER, one={"all": {"list": "ticker", "count": 1}}, many={"all": {"list": "ticker", "count": 50}})
    assert found.size("many", "json").fresh == found.size("one", "json").bytes
    assert found.size("many", "json").bytes == found.size("one", "json").bytes + 49 * 32


def test_a_selection_has_the_fields_that_it_names():
    product = {"id": {"int": 7}, "name": {"string": 20}, "reviews": {"list": "review", "count": 10}}
    review = {"stars": {"int": 4}, "text": {"string": 300}}
    found = payloads(
        product=product, review=review,
        card={"of": "product", "select": ["id", "name"]},
        starred={"of": "product", "select": ["id", "reviews.stars"]},
        by_hand={"id": {"int": 7}, "reviews": {"list": "stars", "count": 10}}, stars={"stars": {"int": 4}},
        again={"of": "starred", "select": ["reviews"]},
    )  # fmt: skip
    assert found.size("card", "json").bytes == len('{"id":7,"name":"' + "x" * 20 + '"}')
    for encoding in ("json", "protobuf", "msgpack"):
        assert found.size("starred", encoding) == found.size("by_hand", encoding)
    assert found.size("again", "json").bytes == len('{"reviews":[' + ",".join(['{"stars":4}'] * 10) + "]}")


# What cannot be read.


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"a": {"string": 3, "int": 4}}, "a field has string, int; write one of"),
        ({"a": {}}, "a field has no kind; write one of"),
        ({"a": {"string": 3, "count": 4}}, "count is for lists"),
        ({"of": "b"}, "of and select belong together"),
        ({"of": "b", "select": ["a b"]}, "is no field"),
        ({"of": "b", "select": ["a"], "fields": {"a": {"int": 1}}}, "fields beside of"),
    ],
)
def test_what_a_message_cannot_be(fields, said):
    with pytest.raises(ValidationError, match=said):
        Message.model_validate(fields)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ({"m": {"a": {"message": "n"}}}, "no message 'n'; messages has m"),
        ({"m": {"a": {"list": "m", "count": 2}}}, "message m holds itself"),
        ({"m": {"of": "n", "select": ["b"]}, "n": {"a": {"int": 1}}}, "n has no field 'b' to select; it has a"),
        ({"m": {"of": "n", "select": ["a.b"]}, "n": {"a": {"int": 1}}}, "n.a is of kind int and has no field 'b' to select"),
        ({"m": {"of": "m", "select": ["b"]}}, "message m holds itself"),
        ({"m": {"a": {"list": {"list": {"string": 1000}, "count": 10**6}, "count": 10**6}}}, "more than anybody sends"),
    ],
)
def test_what_messages_cannot_be_together(messages, said):
    with pytest.raises(ValueError, match=said):
        payloads(**messages).size("m", "json")


def test_protobuf_has_no_lists_of_lists():
    found = payloads(m={"a": {"list": {"list": {"int": 1}, "count": 2}, "count": 3}})
    assert found.size("m", "json").bytes == len('{"a":[[1,1],[1,1],[1,1]]}')
    with pytest.raises(ValueError, match="no lists of lists"):
        found.size("m", "protobuf")
    assert len(ENCODINGS) == 4
