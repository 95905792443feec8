"""Recorded spans: read a file, check it, and turn every trace into visits and the calls they made.

The format is one row per span, as trace exporters write it::

    TraceID, SpanID, ParentID, PodName, OperationName, StartTimeUnixNano, EndTimeUnixNano

or OTLP/JSON, in which `service.instance.id` (else `service.name`) of the resource is the pod; also one such document in each
line, as OpenTelemetry's collector writes files.

`ParentID` is `root` (or empty) for the span that began the trace. A call is a client span in the caller's pod with one child in
another service's pod, the server span; a child in another service without a client span counts as a call without network time.
All other spans are details inside an operation and dissolve in it.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano")
_ROOTS = ("root", "", "0", "0000000000000000")
#: name-<replica set>-<pod> of a Deployment, name-<number> of a StatefulSet.
_POD = re.compile(r"(?P<service>.+?)(-[a-z0-9]{5,10}-[a-z0-9]{5}|-\d+)")


@dataclass(slots=True, eq=False)
class Span:
    """One row: who did what, from when to when, in seconds since the first span of the file."""

    row: int
    trace: str
    span: str
    parent: str | None
    pod: str
    service: str
    operation: str
    start_s: float
    end_s: float
    children: list[Span] = field(default_factory=list, repr=False)


@dataclass(slots=True, eq=False)
class RecordedCall:
    """A call as its caller saw it, on the caller's clock; `visit` is None if the callee was not recorded."""

    target: str
    start_s: float
    end_s: float
    visit: RecordedVisit | None = None

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.end_s - self.start_s

    @property
    def network_s(self) -> float:
        """What the caller waited longer than the callee's handler took; it needs no common clock."""
        assert self.visit is not None
        return self.seconds - (self.visit.end_s - self.visit.start_s)


@dataclass(slots=True, eq=False)
class RecordedVisit:
    """One run of an operation at its server, with the calls that it made, by their start."""

    address: str
    pod: str
    start_s: float
    end_s: float
    calls: list[RecordedCall] = field(default_factory=list)

    @property
    def own_s(self) -> float:
        """Seconds of the visit during which no call of its own was open."""
        covered_s, until_s = 0.0, self.start_s
        for call in self.calls:
            start_s, end_s = max(call.start_s, until_s), min(call.end_s, self.end_s)
            if end_s > start_s:
                covered_s += end_s - start_s
                until_s = end_s
        return self.end_s - self.start_s - covered_s

    def with_callees(self) -> Iterator[RecordedVisit]:
        """This visit and all below it, callers before callees."""
        stack = [self]
        while stack:
            visit = stack.pop()
            yield visit
            stack.extend(call.visit for call in reversed(visit.calls) if call.visit is not None)


@dataclass(frozen=True)
class Recording:
    """The usable traces of a file as root visits in order of arrival, and what had to be left out.

    `asynchronous` counts calls that outlasted the operation which made them.
    """

    name: str
    roots: tuple[RecordedVisit, ...]
    traces: tuple[str, ...]
    pods: Mapping[str, int]
    spans: int
    asynchronous: int
    warnings: tuple[str, ...]

    def visits(self) -> Iterator[RecordedVisit]:
        """All visits of all traces, callers before callees."""
        for root in self.roots:
            yield from root.with_callees()


def service_of(pod: str) -> str:
    """The service that a pod belongs to: its name without the random ends, as a scenario name.

    >>> service_of("cart-service-668d5f85fb-jhwx9"), service_of("redis-0"), service_of("frontend")
    ('cart-service', 'redis', 'frontend')
    """
    found = _POD.fullmatch(pod)
    return _as_name(found["service"] if found else pod)


def operation_of(text: str) -> str:
    """The last part of a span's name, as a scenario name.

    >>> operation_of("/hipstershop.CartService/AddItem"), operation_of("GET /carts/{id}"), operation_of("Frontend/Recv.")
    ('AddItem', 'id', 'Recv')
    """
    parts = [part for part in re.split(r"[^A-Za-z0-9_-]+", text.rpartition("/")[2]) if part]
    return _as_name("_".join(parts) or text)


def _as_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-") or "unnamed"
    return name if name[0].isalpha() else f"n{name}"


def read_spans(source: str | Path | pd.DataFrame, *, unrecorded: Mapping[str, str] | None = None) -> Recording:
    """Read recorded spans, from a CSV file or OTLP/JSON (gzip or not), or a DataFrame with the same columns.

    A trace that cannot be used (a missing parent, a circle, no or several roots, a span that ends before it starts) is left out,
    counted and named in `Recording.warnings`: real recordings are cut at both ends.

    Args:
        source: the file, or the frame.
        unrecorded: calls whose callee left no span because the trace context was lost on the way: from the span's
            ``service.operation`` to the operation that it calls, for example ``{"checkout.Convert": "currency.Convert"}``.

    Raises:
        ScenarioError: no such file, not a CSV file of spans, times that are not numbers, or no usable trace.
    """
    name = source if isinstance(source, str) else str(source) if isinstance(source, Path) else "DataFrame"
    frame = _checked(_read_csv(Path(source)) if isinstance(source, str | Path) else source, name)
    spans = _spans(frame)
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace, []).append(span)
    left_out: Counter[str] = Counter()
    first: dict[str, str] = {}
    usable: list[tuple[str, Span]] = []
    for trace, members in by_trace.items():
        root_or_problem = _tree(members)
        if isinstance(root_or_problem, Span):
            usable.append((trace, root_or_problem))
        else:
            problem, row = root_or_problem
            left_out[problem] += 1
            first.setdefault(problem, f"row {row}")
    warnings = [f"{name}: {n} of {len(by_trace)} traces left out: {p} (first: {first[p]})" for p, n in left_out.items()]
    if not usable:
        raise ScenarioError([*warnings, f"{name}: no trace can be used; write one row per span, with {', '.join(COLUMNS)}"])
    usable.sort(key=lambda item: item[1].start_s)
    builder = _Builder(dict(unrecorded or {}))
    roots = tuple(builder.visit(root) for _, root in usable)
    if unused := set(builder.unrecorded) - builder.used:
        raise ScenarioError(
            f"{name}: unrecorded calls {', '.join(sorted(unused))} match no span; "
            "write service.operation of a span without children"
        )
    if builder.asynchronous:
        warnings.append(
            f"{name}: {builder.asynchronous} calls outlast the operation that made them (asynchronous); "
            "the scenario waits for them"
        )
    pods: dict[str, set[str]] = {}
    for span in spans:
        pods.setdefault(span.service, set()).add(span.pod)
    return Recording(
        name=name,
        roots=roots,
        traces=tuple(trace for trace, _ in usable),
        pods={service: len(members) for service, members in pods.items()},
        spans=len(spans),
        asynchronous=builder.asynchronous,
        warnings=tuple(warnings),
    )


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"  # by content: a renamed file is still what it is
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as text:
            if text.read(200).lstrip().startswith("{"):
                text.seek(0)
                return _read_otlp(text.read(), path)
        return pd.read_csv(path, compression="gzip" if packed else None, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file; write the path of a CSV file of spans") from None
    except pd.errors.EmptyDataError:
        raise ScenarioError(f"{path}: the file is empty; the first row must name {', '.join(COLUMNS)}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise ScenarioError(f"{path}: damaged gzip file ({exc}); pack it again") from exc
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as exc:
        raise ScenarioError(f"{path}: not a readable CSV file ({exc}); write one row per span, separated by commas") from exc


def _read_otlp(text: str, path: Path) -> pd.DataFrame:
    """The rows of OTLP/JSON: one document, or one in each line."""
    import pandas as pd

    rows: list[tuple[str, ...]] = []
    try:
        try:
            documents = [json.loads(text)]
        except json.JSONDecodeError:
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
        for document in documents:
            for resource in document["resourceSpans"]:
                found = {one["key"]: one["value"].get("stringValue", "") for one in resource["resource"]["attributes"]}
                pod = found.get("service.instance.id") or found["service.name"]
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        ids = (span["traceId"], span["spanId"], span.get("parentSpanId", ""), pod, span["name"])
                        rows.append((*ids, str(span["startTimeUnixNano"]), str(span["endTimeUnixNano"])))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
        raise ScenarioError(
            f"{path}: cannot be read as OTLP/JSON ({exc!r}); write resourceSpans, or a CSV file of spans"
        ) from exc
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    import pandas as pd

    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:12]))
        raise ScenarioError(
            f"{name}: no column {', '.join(missing)}; found {found}; the first row must name {', '.join(COLUMNS)}"
        )
    if frame.empty:
        raise ScenarioError(f"{name}: no spans below the header; record some traffic first")
    checked = frame[list(COLUMNS)].reset_index(drop=True)
    for column in COLUMNS[-2:]:
        # A number with a point or an exponent is refused: as a float it would have lost its nanoseconds.
        numbers = checked[column] if pd.api.types.is_integer_dtype(checked[column]) else _integers(checked[column])
        bad = numbers.isna()
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise ScenarioError(f"{name}:{row + 2}: {column} {frame[column].iloc[row]!r} is not a whole number of nanoseconds")
        checked[column] = numbers.astype("int64")
    return checked


def _integers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Whole numbers that fit into 64 bits; the rest is NA."""
    import pandas as pd

    texts = values.astype(str).str.strip()
    fits = texts.str.fullmatch("[0-8]?[0-9]{1,18}")
    return pd.Series([int(text) if fit else None for text, fit in zip(texts, fits, strict=True)], dtype="Int64")


def _spans(frame: pd.DataFrame) -> list[Span]:
    origin_ns = int(frame["StartTimeUnixNano"].min())
    # Whole nanoseconds are subtracted before they become floats: 1.6e18 ns as a float is only 256 ns fine.
    starts = (frame["StartTimeUnixNano"] - origin_ns).to_numpy() / 1e9
    ends = (frame["EndTimeUnixNano"] - origin_ns).to_numpy() / 1e9
    services = {pod: service_of(str(pod)) for pod in frame["PodName"].unique()}
    texts = (frame[column].astype(str).to_list() for column in COLUMNS[:5])
    return [
        Span(
            row=row,
            trace=trace,
            span=span,
            parent=None if parent.lower() in _ROOTS else parent,
            pod=pod,
            service=services[pod],
            operation=operation,
            start_s=start_s,
            end_s=end_s,
        )
        for row, (trace, span, parent, pod, operation, start_s, end_s) in enumerate(
            zip(*texts, starts.tolist(), ends.tolist(), strict=True), start=2
        )
    ]


def _tree(members: list[Span]) -> Span | tuple[str, int]:
    """Hang the spans of a trace below their parents; return the root, or what is wrong and in which row."""
    by_id: dict[str, Span] = {}
    for span in members:
        if span.end_s < span.start_s:
            return "a span ends before it starts", span.row
        if by_id.setdefault(span.span, span) is not span:
            return "a span id occurs twice", span.row
    roots = [span for span in members if span.parent is None]
    for span in members:
        if span.parent is not None:
            if span.parent not in by_id:
                return "a parent is missing", span.row
            by_id[span.parent].children.append(span)
    if len(roots) != 1:
        return ("no root", members[0].row) if not roots else ("several roots", roots[1].row)
    reached, stack = 0, [roots[0]]
    while stack:
        span = stack.pop()
        reached += 1
        stack.extend(span.children)
    if reached != len(members):
        return "parents form a circle", members[0].row
    return roots[0]


class _Builder:
    """Turns trees of spans into visits."""

    def __init__(self, unrecorded: Mapping[str, str]) -> None:
        self.unrecorded = unrecorded
        self.used: set[str] = set()
        self.asynchronous = 0

    def visit(self, root: Span) -> RecordedVisit:
        """The visit whose server span this is, with everything below it."""
        first = self._bare(root)
        open_visits = [(first, root)]
        while open_visits:
            visit, span = open_visits.pop()
            for call, server in self._calls(span):
                visit.calls.append(call)
                self.asynchronous += call.end_s > visit.end_s + 1e-3
                if server is not None:
                    call.visit = self._bare(server)
                    open_visits.append((call.visit, server))
            visit.calls.sort(key=lambda call: call.start_s)
        return first

    def _bare(self, span: Span) -> RecordedVisit:
        return RecordedVisit(f"{span.service}.{operation_of(span.operation)}", span.pod, span.start_s, span.end_s)

    def _calls(self, server: Span) -> Iterator[tuple[RecordedCall, Span | None]]:
        """The calls made inside a server span: each with the callee's server span, if there is one."""
        stack = [server]
        while stack:
            for child in stack.pop().children:
                if child.service != server.service:
                    yield self._call(child, child)
                elif len(child.children) == 1 and child.children[0].service != child.service:
                    yield self._call(child, child.children[0])
                elif not child.children and (target := self._unrecorded_target(child)):
                    yield RecordedCall(target, child.start_s, child.end_s), None
                else:
                    stack.append(child)

    @staticmethod
    def _call(client: Span, server: Span) -> tuple[RecordedCall, Span]:
        return RecordedCall(f"{server.service}.{operation_of(server.operation)}", client.start_s, client.end_s), server

    def _unrecorded_target(self, span: Span) -> str | None:
        address = f"{span.service}.{operation_of(span.operation)}"
        if address in self.unrecorded:
            self.used.add(address)
        return self.unrecorded.get(address)
