"""What protocols cost, as data: layers of transport, security, HTTP and style, every number with its source.

`VERSION` names the state of all of them; a scenario may pin it (`protocol: grpc@2026.11`). Numbers that depend on a machine were
measured on one, and `sim measure-codecs` measures them on yours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sim.scenario.preset import Fact, fact, leaves

#: Of all numbers here.
VERSION: Final = "2026.11"


Layer = Literal["transport", "security", "http", "style", "codec", "compression"]


@dataclass(frozen=True)
class Profile:
    """One layer's numbers.

    Attributes:
        name: what it is called in a scenario.
        title: what it is, for lists.
        layer: of what.
        settings: the numbers, in base units.
        sources: for each of them, by its path, where it is from.
    """

    name: str
    title: str
    layer: Layer
    settings: Mapping[str, Any]
    sources: Mapping[str, str]


def _profile(name: str, title: str, layer: Layer, facts: Mapping[str, Any]) -> Profile:
    sources = {}
    for path, leaf in leaves(facts):
        if not isinstance(leaf, Fact):
            raise ValueError(f"{name}: {path} = {leaf!r} has no source; write fact({leaf!r}, where it is from)")
        sources[path] = leaf.source
    return Profile(name, title, layer, _values(facts), sources)


def _values(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _values(value) if isinstance(value, Mapping) else value.value for key, value in facts.items()}


_MACHINE: Final = "one core of a 2.5 GHz Xeon, 2026-11-28"
_SHAKES: Final = f"measured over memory: OpenSSL 3.0.19, RSA-2048, client checks the chain; {_MACHINE}"
_SIZES: Final = "Cloudflare, HPACK: the silent killer (feature) of HTTP/2, 2016: headers compressed by"
_SPDY: Final = "Google, SPDY whitepaper, 2009: request headers of 200 B to over 2 kB, 700 to 800 B typical"
_ANSWER: Final = "assumed: status, content type and length, date, cache control, server"

_TCP: Final = _profile(
    "tcp",
    "TCP as Linux has it",
    "transport",
    {
        "round_trips": fact(1, "RFC 9293: SYN, SYN+ACK; the first data follow at once"),
        "transport": {
            "kind": fact("tcp", "RFC 9293"),
            "initial_window": fact(10, "RFC 6928; Linux TCP_INIT_CWND"),
            "segment": fact(1448.0, "1,500 B of Ethernet less IP (20), TCP (20) and its timestamps (12, RFC 7323)"),
            "segment_overhead": fact(52.0, "IPv4 and TCP with timestamps"),
            "max_window": fact(6291456.0, "Linux tcp_rmem: 6 MiB at most"),
            "decrease": fact(0.7, "RFC 9438: CUBIC's multiplicative decrease"),
            "idle_restart": fact(True, "RFC 5681, 4.1; Linux tcp_slow_start_after_idle"),
            "min_rto": fact(0.2, "Linux TCP_RTO_MIN"),
        },
    },
)
_TLS_12: Final = _profile(
    "tls-1.2",
    "TLS 1.2 over TCP",
    "security",
    {
        "round_trips": fact(2, "RFC 5246, 7.3: two flights each way"),
        "saved_by_ticket": fact(1, "RFC 5246, 7.3, RFC 5077: an abbreviated handshake"),
        "record_size": fact(16384.0, "RFC 5246, 6.2.1: 2^14 bytes at most"),
        "record_overhead": fact(29.0, "RFC 5246 and 5288: header 5, nonce 8, tag 16"),
        "handshake": {
            "client_cpu": fact(988e-6, _SHAKES),
            "server_cpu": fact(1171e-6, _SHAKES),
            "resumed_client_cpu": fact(280e-6, _SHAKES),
            "resumed_server_cpu": fact(149e-6, _SHAKES),
        },
    },
)
_SHAKES_13: Final = {
    "client_cpu": fact(952e-6, _SHAKES),
    "server_cpu": fact(1323e-6, _SHAKES),
    "resumed_client_cpu": fact(535e-6, _SHAKES),
    "resumed_server_cpu": fact(409e-6, _SHAKES),
}
_TLS_13: Final = _profile(
    "tls-1.3",
    "TLS 1.3 over TCP",
    "security",
    {
        "round_trips": fact(1, "RFC 8446, 2: one flight each way, then data"),
        "saved_by_ticket": fact(0, "RFC 8446, 2.2: resumption saves signatures, not a round trip"),
        "saved_by_0_rtt": fact(1, "RFC 8446, 2.3: the first request goes with the first flight; it may be replayed"),
        "record_size": fact(16384.0, "RFC 8446, 5.1: 2^14 bytes at most"),
        "record_overhead": fact(22.0, "RFC 8446, 5.2: header 5, type 1, tag 16"),
        "handshake": _SHAKES_13,
    },
)
_QUIC: Final = _profile(
    "quic",
    "QUIC, which has TLS 1.3 in it",
    "transport",
    {
        "round_trips": fact(1, "RFC 9001, 4: transport and TLS in one"),
        "saved_by_ticket": fact(0, "RFC 9001, 4.5"),
        "saved_by_0_rtt": fact(1, "RFC 9001, 4.6: the first request goes with the first packets; it may be replayed"),
        "transport": {
            "kind": fact("quic", "RFC 9000"),
            "initial_window": fact(10, "RFC 9002, 7.2"),
            "segment": fact(1200.0, "RFC 9000, 14: 1,200 B pass everywhere"),
            "segment_overhead": fact(54.0, "IPv4 20, UDP 8, short header of about 10, tag 16 (RFC 9000, RFC 9001)"),
            "max_window": fact(15728640.0, "Chromium quic_constants.h: kSessionReceiveWindow, 15 MB"),
            "decrease": fact(0.7, "RFC 9438, as quiche and msquic do; RFC 9002 itself halves"),
            "idle_restart": fact(True, "RFC 9002, 7.8"),
            "max_ack_delay": fact(0.025, "RFC 9000, 18.2: 25 ms unless said otherwise"),
        },
        "handshake": _SHAKES_13,
    },
)
_HTTP_11: Final = _profile(
    "http/1.1",
    "one request at a time on a connection",
    "http",
    {
        "request_headers": fact(750.0, _SPDY),
        "response_headers": fact(300.0, _ANSWER),
        "framing": fact(0.0, "RFC 9112: a length says where the body ends"),
        "connections": {
            "per_process": fact("unlimited", "Go net/http: Transport.MaxConnsPerHost, 0; browsers have 6 (Chromium)"),
            "max_concurrent": fact(1, "RFC 9112, 9.3: without pipelining, which nobody uses"),
            "idle_timeout": fact(90.0, "Go net/http: DefaultTransport.IdleConnTimeout"),
        },
    },
)
_HTTP_2: Final = _profile(
    "http/2",
    "many requests on one connection, in order underneath",
    "http",
    {
        "request_headers": fact(525.0, f"{_SPDY}; 30 % less by HPACK's Huffman code (the same, first request)"),
        "response_headers": fact(210.0, f"{_ANSWER}; 30 % less by HPACK's Huffman code"),
        "request_headers_again": fact(0.24, f"{_SIZES} 76 % (requests)"),
        "response_headers_again": fact(0.31, f"{_SIZES} 69 % (answers)"),
        "framing": fact(9.0, "RFC 9113, 4.1: header of the DATA frame"),
        "connections": {
            "per_process": fact(1, "RFC 9113, 9.1: clients should not open more than one"),
            "max_concurrent": fact(100, "RFC 9113, 6.5.2: no smaller than 100; so do nginx and Go's client until told"),
        },
    },
)
_HTTP_3: Final = _profile(
    "http/3",
    "many requests on one connection, each in its own order",
    "http",
    {
        "request_headers": fact(525.0, f"{_SPDY}; QPACK codes like HPACK"),
        "response_headers": fact(210.0, f"{_ANSWER}; QPACK codes like HPACK"),
        "request_headers_again": fact(0.24, f"{_SIZES} 76 % (requests); QPACK likewise"),
        "response_headers_again": fact(0.31, f"{_SIZES} 69 % (answers); QPACK likewise"),
        "framing": fact(6.0, "RFC 9114, 7: type and length, and RFC 9000's stream header, variable"),
        "connections": {
            "per_process": fact(1, "RFC 9114, 3.3: clients should not open more than one"),
            "max_concurrent": fact(100, "RFC 9114, 6.1: at least 100"),
        },
    },
)


def _style(name: str, title: str, http: str, encoding: str, **more: Any) -> Profile:
    settings = {
        "http": fact(http, more.pop("why_http")),
        "security": fact("tls-1.3", "browsers speak HTTP/2 and HTTP/3 over TLS only; inside, a mesh does as much"),
        "encoding": fact(encoding, more.pop("why_encoding")),
    }
    return _profile(name, title, "style", {**settings, **more})


_STYLES: Final = (
    _style(
        "rest-json", "resources in JSON", "http/1.1", "json",
        why_http="what most libraries speak unless told; write http: http/2 where both ends do",
        why_encoding="RFC 8259",
    ),
    _style(
        "rest-xml", "resources in XML", "http/1.1", "xml",
        why_http="what most libraries speak unless told; write http: http/2 where both ends do",
        why_encoding="XML 1.0",
    ),
    _style(
        "grpc", "procedures in protobuf over HTTP/2", "http/2", "protobuf",
        why_http="grpc PROTOCOL-HTTP2.md", why_encoding="grpc: the default codec",
        framing=fact(14.0, "grpc PROTOCOL-HTTP2.md: prefix of 5 bytes; RFC 9113: DATA frame of 9"),
        request_headers=fact(250.0, "assumed: method, path, authority, content-type, te, user-agent, timeout, a token"),
        response_headers=fact(100.0, "assumed: status, content-type, encodings; trailers with grpc-status, a frame of 9"),
        connections={
            "idle_timeout": fact(1800.0, "gRPC core legacy_channel_idle_filter.cc: kDefaultIdleTimeout, 30 minutes"),
            "follow_discovery": fact(True, "gRFC A62: a new list without the selected address ends its subchannel"),
        },
    ),
    _style(
        "graphql", "queries at one endpoint, in JSON", "http/2", "json",
        why_http="its clients are browsers and apps, which speak HTTP/2 where the server does",
        why_encoding="GraphQL over HTTP: application/graphql-response+json",
    ),
)  # fmt: skip

#: Layers by name.
PROFILES: Final[dict[str, Profile]] = {
    each.name: each for each in (_TCP, _TLS_12, _TLS_13, _QUIC, _HTTP_11, _HTTP_2, _HTTP_3, *_STYLES)
}


def _codec(name: str, title: str, with_what: str, *microseconds: float) -> Profile:
    keys = ("encode_per_message", "encode_per_kb", "decode_per_message", "decode_per_kb")
    source = f"sim measure-codecs: {with_what}; {_MACHINE}"
    pairs = zip(keys, microseconds, strict=True)
    return _profile(name, title, "codec", {key: fact(us * 1e-6, source) for key, us in pairs})


#: Processor time to write and read, by encoding.
CODECS: Final[dict[str, Profile]] = {
    each.name: each
    for each in (
        _codec("json", "JSON", "CPython 3.11 json", 2.11, 9.64, 2.58, 6.8),
        _codec("xml", "XML", "CPython 3.11 xml.etree.ElementTree", 8.35, 71.7, 6.4, 14.5),
        _codec("protobuf", "protobuf, of messages that are there", "protobuf 7.36 (upb)", 0.355, 0.558, 0.351, 0.832),
        _codec("msgpack", "MessagePack", "msgpack 1.2", 0.349, 2.36, 0.0, 5.43),
    )
}

#: Bytes that a compressor puts around everything: gzip's header and trailer with a block of Huffman codes, the others' headers.
_GZIP_OVERHEAD: Final = "RFC 1952: 18; RFC 1951: an end of block, and codes that little text does not pay for"
_OVERHEADS: Final = {
    "gzip": fact(23.0, _GZIP_OVERHEAD),
    "zstd": fact(12.0, "RFC 8878: magic number 4, frame header 2 to 5, block header 3"),
    "brotli": fact(4.0, "RFC 7932: window size, meta-block header, last block"),
}

#: The level that is meant where none is said.
USUAL_LEVELS: Final = {"gzip": 6, "zstd": 3, "brotli": 4}


def _level(name: str, with_what: str, ratio: float, compress_us: float, decompress_us: float) -> Profile:
    source = f"sim measure-codecs: {with_what}, 200 reviews of text in JSON; {_MACHINE}"
    algorithm, _, level = name.partition("-")
    facts = {"ratio": ratio, "compress_per_kb": compress_us * 1e-6, "decompress_per_kb": decompress_us * 1e-6}
    settings = {key: fact(value, source) for key, value in facts.items()}
    settings["overhead"] = _OVERHEADS[algorithm]
    return _profile(name, f"{algorithm} at level {level}", "compression", settings)


#: Compressions, by algorithm and level.
COMPRESSIONS: Final[dict[str, Profile]] = {
    each.name: each
    for each in (
        _level("gzip-1", "zlib through CPython 3.11", 0.268, 8.86, 3.67),
        _level("gzip-6", "zlib through CPython 3.11", 0.206, 33.0, 2.96),
        _level("gzip-9", "zlib through CPython 3.11", 0.205, 62.4, 2.88),
        _level("zstd-1", "zstandard 0.25", 0.241, 3.48, 1.51),
        _level("zstd-3", "zstandard 0.25", 0.22, 3.67, 1.19),
        _level("zstd-9", "zstandard 0.25", 0.206, 35.8, 1.07),
        _level("brotli-1", "brotli 1.2", 0.247, 3.94, 2.64),
        _level("brotli-4", "brotli 1.2", 0.24, 17.0, 2.35),
        _level("brotli-11", "brotli 1.2", 0.174, 1868.0, 2.12),
    )
}
