"""Simulated requests as spans: for Jaeger's UI, for Perfetto, for anything that reads OpenTelemetry, and for our own importer.

Every attempt becomes two spans, as instrumented clients and servers write them::

    client  |------------------ shop/buy (CLIENT) -------------------|
    shop         |------------- shop/buy (SERVER) --------------|
    shop               |------- bank/pay (CLIENT) -------|
    bank                    |-- bank/pay (SERVER) --|

Names and attributes are those of OpenTelemetry's semantic conventions (opentelemetry.io/docs/specs/semconv, read in 2026) for
remote calls, in their release candidate (`rpc.method`, `rpc.system.name`, `error.type`, `service.peer.name`), and for messaging
(`messaging.operation.type`, …); what they have no name for begins with ``sim.``. How the time on the network divides into there
and back is not recorded: half each. An attempt whose answer never came has a server span only if its server is known to have done
something, and it ends no later than is known. Attempts that were open when the run ended, or that were called off, have no span.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sim.records import GOOD_OUTCOMES

if TYPE_CHECKING:
    import pandas as pd

#: Unix time at which the simulated clock starts, in nanoseconds: 2024-01-01 UTC.
EPOCH_NS: Final = 1_704_067_200 * 10**9
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)
_KINDS: Final = {INTERNAL: "internal", SERVER: "server", CLIENT: "client", PRODUCER: "producer", CONSUMER: "consumer"}
_SILENT: Final = ("timeout", "unreachable")
_CLIENT: Final = "client"

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ExportedSpan:
    """One span; times are Unix nanoseconds, ids hexadecimal, `parent` is empty for the first of a trace."""

    trace: str
    span: str
    parent: str
    service: str
    instance: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    error: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)


def spans_of(
    requests: pd.DataFrame, attempts: pd.DataFrame, effects: pd.DataFrame | None = None, *, seed: int = 0, inside: bool = False
) -> list[ExportedSpan]:
    """The spans of some requests of one run, request by request, callers before what they called.

    Args:
        requests: rows of `sim.records.REQUESTS`, decoded: those to be exported.
        attempts: rows of `sim.records.ATTEMPTS` of the same run, decoded.
        effects: rows of `sim.records.EFFECTS`; with them consumers of messages have spans, too.
        seed: of the run; it makes trace ids of different runs different.
        inside: leave out clients, as a recording inside of the system would: each try of a client is a trace of its own, and
            consumers, who work after the answer, are left out. This is what `sim calibrate` reads.
    """
    spans: list[ExportedSpan] = []
    wanted = set(requests["request"].tolist())
    calls: dict[int, list[dict[Any, Any]]] = {}
    made = attempts[attempts["request"].isin(wanted)].astype({"caller": str, "target": str, "outcome": str})
    for row in made.to_dict("records"):
        calls.setdefault(int(row["request"]), []).append(row)
    for row in requests.astype({"entry": str, "outcome": str}).to_dict("records"):
        spans += _Trace(row, calls.get(int(row["request"]), []), seed, inside).spans()
    if effects is not None and not inside:
        spans += _processed(effects[effects["request"].isin(wanted)], spans, seed)
    return spans


class _Trace:
    """One request."""

    def __init__(self, request: dict[Any, Any], calls: list[dict[Any, Any]], seed: int, inside: bool) -> None:
        self._request = request
        self._inside = inside
        self._trace = _trace_id(seed, int(request["request"]))
        self._below: dict[int, list[dict[Any, Any]]] = {}
        for call in calls:
            if call["parent"] >= 0 or call["caller"] == _CLIENT:
                self._below.setdefault(int(call["parent"]), []).append(call)

    def spans(self) -> Iterator[ExportedSpan]:
        request = self._request
        if self._inside:
            for number, call in enumerate(self._below.get(-1, ())):
                # Of several tries only the first keeps the request's id.
                trace = self._trace if number == 0 else f"{self._trace[:8]}{number:08x}{self._trace[16:]}"
                yield from self._server(call, trace, "")
            return
        if math.isnan(request["ended_s"]):
            return
        root = _span_id(0, 3 + int(request["request"]))
        error = "" if request["outcome"] in GOOD_OUTCOMES else request["outcome"]
        attributes = {"sim.request": int(request["request"]), "sim.outcome": request["outcome"]}
        times = _ns(request["arrived_s"]), _ns(request["ended_s"])
        who = (_CLIENT, f"{_CLIENT}-0", _method(request["entry"]), INTERNAL)
        yield ExportedSpan(self._trace, root, "", *who, *times, error, attributes)
        yield from self._made_in(-1, self._trace, root, _CLIENT, f"{_CLIENT}-0")

    def _made_in(self, attempt: int, trace: str, parent: str, service: str, instance: str) -> Iterator[ExportedSpan]:
        """The calls that were made inside an attempt, by who served it."""
        for call in self._below.get(attempt, ()):
            if math.isnan(call["ended_s"]):
                continue
            span = _span_id(1, int(call["attempt"]))
            who = (service, instance, _method(call["target"]), PRODUCER if _is_queue(call) else CLIENT)
            error = "" if call["outcome"] in GOOD_OUTCOMES else call["outcome"]
            times = _ns(call["started_s"]), _ns(call["ended_s"])
            yield ExportedSpan(trace, span, parent, *who, *times, error, _client_attributes(call))
            yield from self._server(call, trace, span)

    def _server(self, call: dict[Any, Any], trace: str, parent: str) -> Iterator[ExportedSpan]:
        if math.isnan(call["ended_s"]) or _is_queue(call):
            return
        attempt, service = int(call["attempt"]), call["target"].split(".", 1)[0]
        silent = call["outcome"] in _SILENT
        if call["replica"] < 0 or (silent and not (self._below.get(attempt) or call["service_s"] or call["queue_s"])):
            return
        way_s = call["network_s"] if silent else call["network_s"] / 2  # of a silent one only the way there is known
        start_s, end_s = call["started_s"] + way_s, call["ended_s"] - (0.0 if silent else way_s)
        instance = f"{service}-{call['replica']}"
        span = _span_id(2, attempt)
        # Whose caller gave up may work on: at least until its own calls were answered.
        known = [child["ended_s"] for child in self._below.get(attempt, ()) if silent and not math.isnan(child["ended_s"])]
        times = _ns(start_s), _ns(max([start_s, end_s, *known]))
        error = call["outcome"] if call["outcome"] not in (*GOOD_OUTCOMES, *_SILENT) else ""
        attributes = {
            "rpc.system.name": "sim", "rpc.method": _method(call["target"]), "sim.queue_s": call["queue_s"],
            "sim.service_s": call["service_s"],
        }  # fmt: skip
        who = (service, instance, _method(call["target"]), SERVER)
        yield ExportedSpan(trace, span, parent, *who, *times, error, attributes)
        yield from self._made_in(attempt, trace, span, service, instance)


def _client_attributes(call: dict[Any, Any]) -> dict[str, Value]:
    target = call["target"]
    found: dict[str, Value]
    if _is_queue(call):
        found = {
            "messaging.system": "sim", "messaging.destination.name": target, "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
        }  # fmt: skip
    else:
        service = target.split(".", 1)[0]
        found = {
            "rpc.system.name": "sim", "rpc.method": _method(target), "server.address": service, "service.peer.name": service,
        }  # fmt: skip
    if call["number"] > 1:
        found["sim.try"] = int(call["number"])
    return found | {"sim.outcome": call["outcome"], "sim.network_s": call["network_s"]}


def _processed(effects: pd.DataFrame, spans: Sequence[ExportedSpan], seed: int) -> Iterator[ExportedSpan]:
    """The spans of consumers: children of the publish, as far as one is known."""
    published = {
        (span.trace, str(span.attributes["messaging.destination.name"])): span.span for span in spans if span.kind == PRODUCER
    }
    traces = {span.trace for span in spans}
    rows = effects[effects["queue"].notna() & effects["done_s"].notna()]
    for number, row in enumerate(rows.astype({"queue": str, "effect": str}).to_dict("records")):
        trace = _trace_id(seed, int(row["request"]))
        if trace not in traces or row["effect"] == "nan":
            continue
        queue, service = row["queue"], row["effect"].split(".", 1)[0]
        attributes: dict[str, Value] = {
            "messaging.system": "sim", "messaging.destination.name": queue, "messaging.operation.name": "process",
            "messaging.operation.type": "process", "sim.deliveries": int(row["deliveries"]),
        }  # fmt: skip
        who = (service, f"{service}-0", _method(row["effect"]), CONSUMER)
        times = _ns(row["started_s"]), _ns(row["done_s"])
        yield ExportedSpan(trace, _span_id(3, number), published.get((trace, queue), ""), *who, *times, "", attributes)


def _is_queue(call: dict[Any, Any]) -> bool:
    return "." not in call["target"]


def _method(target: str) -> str:
    """An operation as a fully qualified method: service/operation."""
    return target.replace(".", "/", 1)


def _ns(seconds: float) -> int:
    return EPOCH_NS + round(seconds * 1e9)


def _trace_id(seed: int, request: int) -> str:
    return f"{(seed + 1) % 2**32:08x}{0:08x}{request + 1:016x}"


def _span_id(kind: int, number: int) -> str:
    return f"{kind:02x}{number + 1:014x}"


def as_otlp(spans: Iterable[ExportedSpan]) -> dict[str, Any]:
    """OTLP/JSON, one resource for each process: ids in hexadecimal, 64-bit numbers as text (opentelemetry-proto 1.x)."""
    by_process: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for span in spans:
        one: dict[str, Any] = {
            "traceId": span.trace, "spanId": span.span, "name": span.name, "kind": span.kind,
            "startTimeUnixNano": str(span.start_ns), "endTimeUnixNano": str(span.end_ns),
            "attributes": [_otlp_value(key, value) for key, value in _attributes(span).items()],
            "status": {"code": 2, "message": span.error} if span.error else {},
        }  # fmt: skip
        if span.parent:
            one["parentSpanId"] = span.parent
        by_process.setdefault((span.service, span.instance), []).append(one)
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_otlp_value("service.name", service), _otlp_value("service.instance.id", instance)]},
                "scopeSpans": [{"scope": {"name": "sim"}, "spans": found}],
            }
            for (service, instance), found in by_process.items()
        ]
    }


def _attributes(span: ExportedSpan) -> dict[str, Value]:
    return dict(span.attributes) | ({"error.type": span.error} if span.error else {})


def _otlp_value(key: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        typed: dict[str, Any] = {"boolValue": value}
    elif isinstance(value, int):
        typed = {"intValue": str(value)}
    elif isinstance(value, float):
        typed = {"doubleValue": value}
    else:
        typed = {"stringValue": value}
    return {"key": key, "value": typed}


def as_jaeger(spans: Iterable[ExportedSpan]) -> dict[str, Any]:
    """The JSON of Jaeger's query service, as its UI takes it from a file: times in microseconds, one process table per trace."""
    traces: dict[str, dict[str, Any]] = {}
    processes: dict[str, dict[str, str]] = {}
    for span in spans:
        known = processes.setdefault(span.trace, {})
        trace = traces.setdefault(span.trace, {"traceID": span.trace, "spans": [], "processes": {}, "warnings": None})
        process = known.get(span.instance)
        if process is None:
            process = known[span.instance] = f"p{len(known) + 1}"
            tags = [_tag("service.instance.id", span.instance)]
            trace["processes"][process] = {"serviceName": span.service, "tags": tags}
        tags = [_tag("span.kind", _KINDS[span.kind]), *(_tag(*item) for item in _attributes(span).items())]
        if span.error:
            tags.append(_tag("error", True))
        parent = {"refType": "CHILD_OF", "traceID": span.trace, "spanID": span.parent}
        start_us = span.start_ns // 1000
        trace["spans"].append({
            "traceID": span.trace, "spanID": span.span, "operationName": span.name, "references": [parent] if span.parent else [],
            "startTime": start_us, "duration": max(0, round((span.end_ns - span.start_ns) / 1000)), "tags": tags, "logs": [],
            "processID": process, "warnings": None,
        })  # fmt: skip
    return {"data": list(traces.values()), "total": len(traces), "limit": 0, "offset": 0, "errors": None}


def _tag(key: str, value: Value) -> dict[str, Any]:
    kind = {bool: "bool", int: "int64", float: "float64"}.get(type(value), "string")
    return {"key": key, "type": kind, "value": value}


def as_perfetto(spans: Iterable[ExportedSpan]) -> dict[str, Any]:
    """Trace events in JSON, which Perfetto's UI and chrome://tracing open; times in microseconds since the start of the run.

    Each replica is a process, in which spans that overlap have lanes of their own; arrows lead from client to server spans.
    """
    events: list[dict[str, Any]] = []
    processes: dict[str, int] = {}
    lanes: dict[int, list[int]] = {}  # when each lane of a process is free
    placed: dict[tuple[str, str], tuple[int, int, int]] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, -one.end_ns, one.span)):
        process = processes.get(span.instance)
        if process is None:
            process = processes[span.instance] = len(processes) + 1
            events.append({"ph": "M", "name": "process_name", "pid": process, "args": {"name": span.instance}})
        free = lanes.setdefault(process, [])
        lane = next((number for number, until_ns in enumerate(free) if until_ns <= span.start_ns), len(free))
        free[lane : lane + 1] = [span.end_ns]
        start_us = (span.start_ns - EPOCH_NS) / 1000
        place = {"pid": process, "tid": lane + 1}
        arguments = {"trace": span.trace, **_attributes(span)}
        length_us = (span.end_ns - span.start_ns) / 1000
        what = {"name": span.name, "cat": _KINDS[span.kind], "args": arguments}
        events.append({"ph": "X", **what, **place, "ts": start_us, "dur": length_us})
        placed[span.trace, span.span] = (process, lane + 1, span.start_ns)
        if span.kind in (SERVER, CONSUMER) and (span.trace, span.parent) in placed:
            from_process, from_lane, from_ns = placed[span.trace, span.parent]
            arrow = {"name": "call", "cat": "call", "id": f"{span.trace}{span.span}"}
            events.append({"ph": "s", **arrow, "pid": from_process, "tid": from_lane, "ts": (from_ns - EPOCH_NS) / 1000})
            events.append({"ph": "f", "bp": "e", **arrow, **place, "ts": start_us})
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def as_csv(spans: Iterable[ExportedSpan]) -> str:
    """Rows as `sim.interop.spans` reads them."""
    from sim.interop.spans import COLUMNS

    lines = [",".join(COLUMNS)]
    for span in spans:
        ids = (span.trace, span.span, span.parent or "root", span.instance, span.name)
        lines.append(",".join((*ids, str(span.start_ns), str(span.end_ns))))
    return "\n".join(lines) + "\n"


def written(spans: Sequence[ExportedSpan], kind: str) -> str:
    """The spans as text: otlp, jaeger, perfetto or csv."""
    if kind == "csv":
        return as_csv(spans)
    data = {"otlp": as_otlp, "jaeger": as_jaeger, "perfetto": as_perfetto}[kind](spans)
    return json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"
