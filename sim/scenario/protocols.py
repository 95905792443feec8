"""Protocols as cost models: what is written of one, the profiles below that, and the numbers that come of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from sim.policies.codecs import FRESH_OF_PLAIN, Codec, Compression, Compressor
from sim.policies.payloads import Encoding, Payloads, PayloadSize
from sim.policies.queries import PersistedQueries
from sim.policies.transport import Transport
from sim.scenario.preset import merged
from sim.scenario.profiles import CODECS, COMPRESSIONS, PROFILES, USUAL_LEVELS, VERSION
from sim.scenario.words import nearest
from sim.values import Duration, PositiveSize, Ratio, Size, Spec

Style = Literal["rest-json", "rest-xml", "grpc", "graphql"]
Http = Literal["http/1.1", "http/2", "http/3"]
Security = Literal["none", "tls-1.2", "tls-1.3"]

#: What a list leaves when it was compressed, beside what its JSON leaves: published for protobuf (14,808 of 17,539 bytes).
_BESIDE_JSON: Final[Mapping[str, float]] = {"json": 1.0, "xml": 1.0, "msgpack": 0.9, "protobuf": 0.85}


class Handshake(Spec):
    """What it takes to agree on keys: processor time at both ends. Round trips follow from `security` and `resumption`."""

    client_cpu: Duration | None = Field(
        None, description="processor time of the caller for a full one; absent: as its profile has it"
    )
    server_cpu: Duration | None = Field(
        None, description="processor time of the server for a full one, for which a worker is held; absent: as its profile has it"
    )
    resumed_client_cpu: Duration | None = Field(None, description="the same of a resumed one, at the caller")
    resumed_server_cpu: Duration | None = Field(None, description="the same of a resumed one, at the server")


class Protocol(Spec):
    """What calls speak: bytes, processor time, round trips, head-of-line blocking. A bare word is the profile: `protocol: grpc`.

    ::

        caller: encode, compress --> [connection: set-up if new; window, loss, bandwidth] --> worker: decode ... encode
                decode           <-- [the same, its own window]                           <-- answer

    A profile has numbers for everything, each with its source: `sim protocols` prints them. What is written here goes over it,
    and `connections` of the call over what the protocol says of those (HTTP/1.1: one call at a time on each, as many as are
    needed, closed after 90 s without; HTTP/2, HTTP/3: one for 100 at a time). Sizes are those of `request` and `response` of the
    called operation. The callee's worker is held while it decodes and encodes; so is the caller's, which waits anyway.

    A process that has connected to a service before resumes (`resumption`). Where the link says `loss`, packets are lost and sent
    again, and what is late is seen by nobody but who waits. `connect_timeout` is about making a connection.
    """

    profile: str = Field(description=f"rest-json, rest-xml, grpc or graphql; with @{VERSION} it stays at these numbers")
    http: Http | None = Field(None, description="http/1.1, http/2 or http/3; absent: as the profile has it")
    security: Security | None = Field(None, description="none, tls-1.2 or tls-1.3; http/3 always has TLS 1.3; absent: tls-1.3")
    resumption: Literal["none", "ticket", "0-rtt"] = Field(
        "ticket", description="how a process connects again to where it was: anew, with a ticket, with the first request in it"
    )
    encoding: Encoding | None = Field(None, description="json, xml, protobuf or msgpack; absent: as the profile has it")
    compression: Compression | None = Field(None, description="of bodies, both ways; absent: none")
    codec: Codec | None = Field(
        None, description="processor time to write and read; absent: `codecs` of the scenario, or measured ones"
    )
    handshake: Handshake = Field(Handshake(), description="processor time of making a connection")
    transport: Transport = Field(Transport(), description="windows and repairs; what is absent is as the profile has it")
    persisted_queries: PersistedQueries | None = Field(
        None, description="whether a query's hash is sent in the place of its text (graphql); absent: the text, each time"
    )
    request_headers: Size | None = Field(None, description="bytes of a request's headers, written out")
    response_headers: Size | None = Field(None, description="bytes of an answer's headers, written out")
    request_headers_again: Ratio | None = Field(
        None, description="what is left of them in later requests on a connection (HPACK)"
    )
    response_headers_again: Ratio | None = Field(None, description="the same of an answer's")
    framing: Size | None = Field(None, description="bytes around each body: frames, prefixes, trailers")
    record_size: PositiveSize | None = Field(None, description="bytes in one TLS record")
    record_overhead: Size | None = Field(None, description="bytes around each record")

    @model_validator(mode="before")
    @classmethod
    def _bare_profile(cls, data: Any) -> Any:
        return {"profile": data} if isinstance(data, str) else data

    @field_validator("profile")
    @classmethod
    def _known(cls, value: str) -> str:
        name, _, version = value.partition("@")
        styles = [each for each, profile in PROFILES.items() if profile.layer == "style"]
        if name not in styles:
            raise ValueError(f"no profile {name!r}; {nearest(name, styles)}; HTTP and TLS are its keys http and security")
        if version not in ("", VERSION):
            raise ValueError(f"{value}: there is only version {VERSION} here; write {name} or {name}@{VERSION}")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Protocol:
        if self.http == "http/3" and self.security not in (None, "tls-1.3"):
            raise ValueError(f"security = {self.security} with http/3: QUIC has TLS 1.3 built in; leave security out")
        if self.persisted_queries is not None and self.profile.partition("@")[0] != "graphql":
            raise ValueError(f"persisted_queries with {self.profile}: only GraphQL has queries; leave it out, or write graphql")
        if self.resumption == "0-rtt" and self.security in ("none", "tls-1.2"):
            raise ValueError(f"resumption = 0-rtt with security = {self.security}: only TLS 1.3 has it; write ticket, or tls-1.3")
        return self

    def costs(self, codecs: Mapping[Encoding, Codec], compressions: Mapping[str, CompressionCost]) -> Costs:
        """All numbers: the profiles' where nothing else is said."""
        style = PROFILES[self.profile.partition("@")[0]].settings
        http = self.http or style["http"]
        quic = http == "http/3"
        security = "quic" if quic else self.security or style["security"]
        own = self.model_dump(exclude_unset=True, exclude={"compression", "codec", "handshake", "transport", "persisted_queries"})
        names = ("quic",) if quic else ("tcp",) if security == "none" else ("tcp", security)
        full: dict[str, Any] = {}
        for name in (*names, http):
            full = merged(full, {key: value for key, value in PROFILES[name].settings.items() if key != "round_trips"})
        full = merged(merged(full, style), {key: value for key, value in own.items() if value is not None})
        encoding: Encoding = full["encoding"]
        shakes = {**full.get("handshake", {}), **self.handshake.model_dump(exclude_none=True)}
        trips = sum(PROFILES[name].settings["round_trips"] for name in names)
        return Costs(
            transport=Transport.model_validate({**full.get("transport", {}), **self.transport.model_dump(exclude_unset=True)}),
            round_trips=trips,
            resumed_round_trips=_resumed_trips(names, trips, self.resumption),
            resumption=self.resumption,
            handshake_s=(shakes.get("client_cpu", 0.0), shakes.get("server_cpu", 0.0)),
            resumed_handshake_s=(shakes.get("resumed_client_cpu", 0.0), shakes.get("resumed_server_cpu", 0.0)),
            encoding=encoding,
            codec=self.codec or codecs.get(encoding) or Codec(**CODECS[encoding].settings),
            compressor=None if self.compression is None else _compressor(self.compression, compressions),
            headers=(full["request_headers"], full["response_headers"]),
            headers_again=(full.get("request_headers_again", 1.0), full.get("response_headers_again", 1.0)),
            framing=full["framing"],
            record=(full.get("record_size", 16384.0), full.get("record_overhead", 0.0)),
            connections={**full["connections"], "round_trips": trips},
            persisted=self.persisted_queries,
        )


class CompressionCost(Spec):
    """What one level of a compression does: `gzip-6: {ratio: 21 %, compress_per_kb: 30us, decompress_per_kb: 4us}`."""

    ratio: Ratio = Field(description="what is left of repeated JSON")
    compress_per_kb: Duration = Field(description="processor time for 1,000 bytes of the body")
    decompress_per_kb: Duration = Field(description="processor time for 1,000 bytes of the body")


def _resumed_trips(names: tuple[str, ...], full: int, resumption: str) -> int:
    if resumption == "none" or names == ("tcp",):
        return full
    saved = "saved_by_0_rtt" if resumption == "0-rtt" else "saved_by_ticket"
    return full - sum(int(PROFILES[name].settings.get(saved, 0)) for name in names)


def _compressor(spec: Compression, compressions: Mapping[str, CompressionCost]) -> Compressor:
    """A compression with the numbers of its level, or of the nearest one that is known."""
    level = USUAL_LEVELS[spec.algorithm] if spec.level is None else spec.level
    measured = _by_level(spec.algorithm, {name: each.settings for name, each in COMPRESSIONS.items()})
    known = _by_level(spec.algorithm, {name: cost.model_dump() for name, cost in compressions.items()}) or measured
    nearest_level = min(known, key=lambda one: abs(one - level))
    overhead = next(iter(measured.values()))["overhead"]
    said = spec.model_dump(exclude={"algorithm", "level"}, exclude_none=True)
    return Compressor(**{**known[nearest_level], "overhead": overhead, **said})


def _by_level(algorithm: str, costs: Mapping[str, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The costs of one algorithm."""
    levels = {name: level_of(name) for name in costs}
    return {level: costs[name] for name, (of, level) in levels.items() if of == algorithm}


def level_of(name: str) -> tuple[str, int]:
    """Algorithm and level of a compression.

    Raises:
        ValueError: the name says no such thing.

    >>> level_of("gzip-6")
    ('gzip', 6)
    """
    algorithm, _, level = name.partition("-")
    if algorithm not in USUAL_LEVELS or not level.isdecimal():
        raise ValueError(f"{name!r} is not an algorithm and its level; write for example gzip-6")
    return algorithm, int(level)


@dataclass(frozen=True)
class Costs:
    """All numbers of a protocol, in seconds and bytes; pairs are of request and answer, or of caller and server."""

    transport: Transport
    round_trips: int
    resumed_round_trips: int
    resumption: str
    handshake_s: tuple[float, float]
    resumed_handshake_s: tuple[float, float]
    encoding: Encoding
    codec: Codec
    compressor: Compressor | None
    headers: tuple[float, float]
    headers_again: tuple[float, float]
    framing: float
    record: tuple[float, float]
    connections: Mapping[str, Any]
    persisted: PersistedQueries | None = None

    def size(self, payload: str | float, payloads: Payloads, together: int | None = None) -> PayloadSize:
        """How large this message, or a body of so many bytes, is before it is compressed; or a list of so many `together`."""
        if isinstance(payload, str):
            return payloads.size_in(payload, self.encoding, together)
        size = int(payload) * (1 if together is None else together)
        return PayloadSize(size, min(size, FRESH_OF_PLAIN))

    def body(self, payload: str | float | None, payloads: Payloads, together: int | None = None) -> Body:
        """What a body of this message, or of so many bytes, costs; or a list of so many `together`."""
        if payload is None:
            return Body(0.0, 0.0, 0.0)
        size = self.size(payload, payloads, together)
        json = payloads.size_in(payload, "json", together) if isinstance(payload, str) else size
        encode_s, decode_s = self.codec.encode_s(size.bytes), self.codec.decode_s(size.bytes)
        sent: float = size.bytes
        if self.compressor is not None:
            sent = self.compressor.compressed(size, (json.bytes - json.fresh) * _BESIDE_JSON[self.encoding])
            encode_s += self.compressor.compress_s(size.bytes)
            decode_s += self.compressor.decompress_s(size.bytes)
        return Body(sent, encode_s, decode_s)

    def on_the_wire(self, body: float, headers: float) -> float:
        """Bytes of a message with its headers, frames and records, without those of segments."""
        size = body + headers + (self.framing if body else 0.0)
        record_size, overhead = self.record
        return size + overhead * -(-size // record_size)


@dataclass(frozen=True)
class Body:
    """What is sent of a body, in bytes, and the processor time to write and to read it, compression included."""

    sent: float
    encode_s: float
    decode_s: float
