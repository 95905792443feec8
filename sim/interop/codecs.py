"""Measuring what writing, reading and compressing costs on this machine, with real encoders: what `sim measure-codecs` does.

Encoders that are not installed are left out: json, xml, gzip are Python's own; protobuf, msgpack, zstandard, brotli come with
`pip install 'sim[test]'`, or by themselves. orjson is taken for json where it is there and asked for.
"""

from __future__ import annotations

import gzip
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

_Write = Callable[[Any], bytes]
_Read = Callable[[bytes], Any]
#: How an encoder writes and reads, and what it makes of plain data before it can write them.
_Encoder = tuple[_Write, _Read, Callable[[dict[str, Any]], Any]]
_Compressor = tuple[_Write, _Read]

#: Sizes of the two lists of which the cost per message and per byte are told apart.
_FEW, _MANY = 1, 200
_WORDS: Final = (
    "the", "of", "and", "price", "model", "garden", "light", "paper", "water", "stone", "small", "large", "green", "delivery",
    "order", "review", "quality",
)  # fmt: skip


class Measured(NamedTuple):
    """What was measured: settings for `codecs` and `compressions` of a scenario, and what was not there to be measured."""

    codecs: dict[str, dict[str, float]]
    compressions: dict[str, dict[str, float]]
    missing: tuple[str, ...]


def sample(items: int) -> dict[str, Any]:
    """A product page with so many reviews, the same each time."""
    rng = random.Random(1)

    def text(words: int) -> str:
        return " ".join(rng.choice(_WORDS) for _ in range(words))

    reviews = [
        {"id": rng.randrange(10**6), "author": "".join(rng.choices(string.ascii_letters, k=8)), "stars": rng.randint(1, 5),
         "text": text(20), "helpful": rng.random() < 0.5}
        for _ in range(items)
    ]  # fmt: skip
    return {"id": 4711, "name": text(4), "price": 19.99, "description": text(30), "in_stock": True, "reviews": reviews}


def measure(seconds_each: float = 0.2, fast_json: bool = False) -> Measured:
    """Measure all encoders and compressors that are there, each for about so many seconds of processor time."""
    codecs: dict[str, dict[str, float]] = {}
    missing: list[str] = []
    for name, made in _encoders(fast_json).items():
        try:
            write, read, prepare = made()
        except ImportError as exc:
            missing.append(f"{name} ({exc.name})")
            continue
        codecs[name] = _codec(write, read, prepare, seconds_each)
    compressions: dict[str, dict[str, float]] = {}
    for name, make in _compressors().items():
        try:
            compress, decompress = make()
        except ImportError as exc:
            missing.append(f"{name} ({exc.name})")
            continue
        compressions[name] = _compression(compress, decompress, seconds_each)
    return Measured(codecs, compressions, tuple(missing))


def _codec(write: _Write, read: _Read, prepare: Callable[[dict[str, Any]], Any], seconds: float) -> dict[str, float]:
    few, many = prepare(sample(_FEW)), prepare(sample(_MANY))
    short, long = write(few), write(many)
    found: dict[str, float] = {}
    for what, one, other in (
        ("encode", lambda: write(few), lambda: write(many)),
        ("decode", lambda: read(short), lambda: read(long)),
    ):
        short_s, long_s = _seconds(one, seconds), _seconds(other, seconds)
        per_byte_s = max(0.0, long_s - short_s) / (len(long) - len(short))
        found[f"{what}_per_message"] = max(0.0, short_s - per_byte_s * len(short))
        found[f"{what}_per_kb"] = per_byte_s * 1000
    return found


def _compression(compress: _Write, decompress: _Read, seconds: float) -> dict[str, float]:
    body = json.dumps(sample(_MANY), separators=(",", ":")).encode()
    once = json.dumps(sample(_FEW), separators=(",", ":")).encode()
    small, few = compress(body), compress(once)
    return {
        "ratio": (len(small) - len(few)) / (len(body) - len(once)),
        "compress_per_kb": _seconds(lambda: compress(body), seconds) / len(body) * 1000,
        "decompress_per_kb": _seconds(lambda: decompress(small), seconds) / len(body) * 1000,
    }


def _seconds(work: Callable[[], Any], at_least_s: float) -> float:
    """Processor time of one piece of work, in seconds: the fastest of five rounds, so that others on the machine count less."""
    work()
    rounds, times = [], 1
    while True:
        began_s = time.process_time()
        for _ in range(times):
            work()
        passed_s = time.process_time() - began_s
        if passed_s >= at_least_s / 5:
            rounds.append(passed_s / times)
            if len(rounds) == 5:
                return min(rounds)
        else:
            times *= 2


def _same(value: Any) -> Any:
    return value


def _encoders(fast_json: bool) -> dict[str, Callable[[], _Encoder]]:
    return {"json": _orjson if fast_json else _json, "xml": _xml, "protobuf": _protobuf, "msgpack": _msgpack}


def _json() -> _Encoder:
    write = json.JSONEncoder(separators=(",", ":"))
    return lambda value: write.encode(value).encode(), json.loads, _same


def _orjson() -> _Encoder:
    orjson: Any = import_module("orjson")
    return orjson.dumps, orjson.loads, _same


def _msgpack() -> _Encoder:
    msgpack: Any = import_module("msgpack")
    return msgpack.packb, msgpack.unpackb, _same


def _xml() -> _Encoder:
    def prepare(value: dict[str, Any]) -> Any:
        root = ElementTree.Element("product")
        _into(root, value)
        return root

    return lambda tree: ElementTree.tostring(tree, encoding="UTF-8"), ElementTree.fromstring, prepare


def _into(parent: Any, value: dict[str, Any]) -> None:
    for name, each in value.items():
        for item in each if isinstance(each, list) else [each]:
            element = ElementTree.SubElement(parent, name)
            if isinstance(item, dict):
                _into(element, item)
            else:
                element.text = str(item)


def _protobuf() -> _Encoder:
    descriptors: Any = import_module("google.protobuf.descriptor_pb2")
    pools: Any = import_module("google.protobuf.descriptor_pool")
    factory: Any = import_module("google.protobuf.message_factory")
    kinds = {int: 3, str: 9, float: 1, bool: 8, list: 11}  # int64, string, double, bool, message
    file = descriptors.FileDescriptorProto(name="sample.proto", package="sample", syntax="proto3")
    product = sample(1)
    for name, fields in (("Review", product["reviews"][0]), ("Product", product)):
        message = file.message_type.add(name=name)
        for number, (field, value) in enumerate(fields.items(), 1):
            added = message.field.add(name=field, number=number, type=kinds[type(value)], label=1)
            if isinstance(value, list):
                added.label, added.type_name = 3, ".sample.Review"
    pool = pools.DescriptorPool()
    pool.Add(file)
    kind = factory.GetMessageClass(pool.FindMessageTypeByName("sample.Product"))
    return lambda message: message.SerializeToString(), kind.FromString, lambda value: kind(**value)


def _compressors() -> dict[str, Callable[[], _Compressor]]:
    return {
        **{f"gzip-{level}": _gzip(level) for level in (1, 6, 9)},
        **{f"zstd-{level}": _zstd(level) for level in (1, 3, 9)},
        **{f"brotli-{level}": _brotli(level) for level in (1, 4, 11)},
    }


def _gzip(level: int) -> Callable[[], _Compressor]:
    return lambda: (lambda body: gzip.compress(body, level, mtime=0), gzip.decompress)


def _zstd(level: int) -> Callable[[], _Compressor]:
    def make() -> _Compressor:
        zstandard: Any = import_module("zstandard")
        return zstandard.ZstdCompressor(level=level).compress, zstandard.ZstdDecompressor().decompress

    return make


def _brotli(level: int) -> Callable[[], _Compressor]:
    def make() -> _Compressor:
        brotli: Any = import_module("brotli")
        return lambda body: brotli.compress(body, quality=level), brotli.decompress

    return make


def lines(found: Measured, base: str | None) -> Iterator[str]:
    """The YAML that a scenario can be based on, or that lies over one."""
    if base is not None:
        yield f"base: {base}"
    yield "codecs:"
    for name, settings in found.codecs.items():
        yield f"  {name}: {{{', '.join(f'{key}: {value * 1e6:.4g}us' for key, value in settings.items())}}}"
    yield "compressions:"
    for name, settings in found.compressions.items():
        times = ", ".join(f"{key}: {value * 1e6:.4g}us" for key, value in settings.items() if key != "ratio")
        yield f"  {name}: {{ratio: {settings['ratio']:.3f}, {times}}}"
