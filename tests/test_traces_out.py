"""Simulated requests as spans: what other tools read, and what our own importer makes of them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from test_cli import sim

from sim.errors import ScenarioError
from sim.interop.exported import CLIENT, CONSUMER, EPOCH_NS, PRODUCER, SERVER, as_jaeger, as_otlp, as_perfetto, spans_of, written
from sim.interop.openmetrics import openmetrics
from sim.interop.spans import read_spans
from sim.scenario.model import Scenario
from sim.single import RunResult, run
from sim.study import replicate

SHOP: dict[str, Any] = {
    "services": {
        "shop": {
            "replicas": 2,
            "workers": 8,
            "operations": {"buy": [{"work": {"exponential": 0.004}}, {"call": "bank.pay"}, {"publish": "mails"}]},
        },
        "bank": {"workers": 4, "operations": {"pay": [{"work": {"exponential": 0.010}}]}},
        "mail": {"workers": 4, "operations": {"send": [{"work": 0.001}]}},
    },
    "queues": {"mails": {"consumer": "mail.send"}},
    "links": {"default": 0.002},
    "load": {"rate": 50, "mix": "shop.buy"},
    "run": {"duration": 4, "replications": 1},
}


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(Scenario.model_validate(SHOP), 3)


def test_a_call_is_a_client_span_around_a_server_span(result: RunResult) -> None:
    spans = spans_of(result.requests.head(1), result.attempts, result.effects, seed=3)
    by_id = {span.span: span for span in spans}
    assert len({span.trace for span in spans}) == 1
    assert [(span.name, span.kind) for span in spans if span.kind != CONSUMER] == [
        ("shop/buy", 1), ("shop/buy", CLIENT), ("shop/buy", SERVER), ("bank/pay", CLIENT), ("bank/pay", SERVER),
        ("mails", PRODUCER),
    ]  # fmt: skip
    first = result.requests.iloc[0]
    root = spans[0]
    assert (root.start_ns, root.end_ns) == (EPOCH_NS + round(first.arrived_s * 1e9), EPOCH_NS + round(first.ended_s * 1e9))
    for span in spans:
        assert span.parent == "" or span.kind == CONSUMER or by_id[span.parent].start_ns <= span.start_ns <= span.end_ns
        if span.kind == SERVER:
            assert by_id[span.parent].kind == CLIENT
            assert span.start_ns - by_id[span.parent].start_ns == pytest.approx(2_000_000, abs=2)
    consumer = next(span for span in spans if span.kind == CONSUMER)
    assert by_id[consumer.parent].kind == PRODUCER
    assert consumer.attributes["messaging.destination.name"] == "mails"


def test_what_the_importer_reads_is_what_was_simulated(result: RunResult, tmp_path: Path) -> None:
    spans = spans_of(result.requests, result.attempts, seed=3, inside=True)
    recordings = []
    for kind in ("csv", "otlp"):
        (tmp_path / f"spans.{kind}").write_text(written(spans, kind))
        recordings.append(read_spans(tmp_path / f"spans.{kind}"))
    attempts = result.attempts.astype({"target": str})
    for found in recordings:
        assert found.warnings == ()
        assert found.pods == {"shop": 2, "bank": 1}
        visits = defaultdict(list)
        for visit in found.visits():
            visits[visit.address].append(visit)
        for address in ("shop.buy", "bank.pay"):
            rows = attempts[attempts.target == address].sort_values("started_s")
            assert len(visits[address]) == len(rows)
            took = sorted(visit.end_s - visit.start_s for visit in visits[address])
            assert took == pytest.approx(sorted(rows.ended_s - rows.started_s - rows.network_s), abs=1e-8)
        own = sorted(visit.own_s for visit in visits["bank.pay"])
        rows = attempts[attempts.target == "bank.pay"]
        assert own == pytest.approx(sorted(rows.queue_s + rows.service_s), abs=1e-8)
        networks = [call.network_s for visit in visits["shop.buy"] for call in visit.calls if call.target == "bank.pay"]
        assert networks == pytest.approx([0.004] * len(networks), abs=1e-8)


def test_a_lost_answer_has_an_error_and_no_server_span_of_a_server_that_did_nothing() -> None:
    data = SHOP | {"calls": {"shop -> bank": {"timeout": 0.05}}, "faults": [{"crash": "bank", "at": 0, "silent": True}]}
    result = run(Scenario.model_validate(data), 1)
    spans = spans_of(result.requests.head(1), result.attempts)
    pay = [span for span in spans if span.name == "bank/pay"]
    assert [(span.kind, span.error) for span in pay] == [(CLIENT, "timeout")]
    one = next(span for group in as_otlp(pay)["resourceSpans"] for span in group["scopeSpans"][0]["spans"])
    assert one["status"] == {"code": 2, "message": "timeout"}
    assert {"key": "error.type", "value": {"stringValue": "timeout"}} in one["attributes"]


def test_otlp_has_hexadecimal_ids_and_numbers_as_text(result: RunResult) -> None:
    data = as_otlp(spans_of(result.requests.head(5), result.attempts, result.effects))
    processes = []
    for group in data["resourceSpans"]:
        processes.append({one["key"]: one["value"]["stringValue"] for one in group["resource"]["attributes"]})
        for span in group["scopeSpans"][0]["spans"]:
            assert (len(bytes.fromhex(span["traceId"])), len(bytes.fromhex(span["spanId"]))) == (16, 8)
            assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) >= EPOCH_NS
    assert {"service.name": "shop", "service.instance.id": "shop-1"} in processes


def test_jaeger_has_every_span_with_its_process_and_parent(result: RunResult) -> None:
    spans = spans_of(result.requests.head(5), result.attempts)
    data = as_jaeger(spans)
    assert len(data["data"]) == 5
    for trace in data["data"]:
        ids = {span["spanID"] for span in trace["spans"]}
        roots = [span for span in trace["spans"] if not span["references"]]
        assert len(roots) == 1
        for span in trace["spans"]:
            assert span["processID"] in trace["processes"]
            assert all(reference["spanID"] in ids for reference in span["references"])


def test_spans_of_one_lane_in_perfetto_do_not_overlap(result: RunResult) -> None:
    data = as_perfetto(spans_of(result.requests, result.attempts))
    lanes = defaultdict(list)
    for event in data["traceEvents"]:
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(lanes) > 3
    for spans in lanes.values():
        assert all(end <= start + 1e-3 for (_, end), (start, _) in zip(sorted(spans), sorted(spans)[1:], strict=False))


def test_metrics_are_openmetrics_and_agree_with_the_rows(result: RunResult) -> None:
    text = openmetrics(result.requests, result.attempts, result.totals, {"sim_candidate": 'the "first"'})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    calls = families["rpc_client_call_duration_seconds"]
    pay = [s for s in calls.samples if s.labels["rpc_method"] == "bank/pay" and s.labels["service_name"] == "shop"]
    rows = result.attempts[result.attempts.target == "bank.pay"]
    took = rows.ended_s - rows.started_s
    assert {s.name: s.value for s in pay}["rpc_client_call_duration_seconds_count"] == len(rows)
    at_25ms = next(s.value for s in pay if s.labels.get("le") == "0.025")
    assert at_25ms == (took <= 0.025).sum()
    served = {s.labels["service_name"]: s.value for s in families["sim_served"].samples}
    assert served == result.totals.astype({"name": str}).set_index("name").served.to_dict()
    assert calls.samples[0].labels["sim_candidate"] == 'the "first"'


def test_the_command_writes_spans_that_can_be_calibrated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replicate(Scenario.model_validate(SHOP), workers=1, out="results/shop")
    sim("traces", "results/shop", "--inside", "-o", "spans.json", "-q")
    again = sim("calibrate", "spans.json", "-o", "again.yaml", "-r", "1", "-d", "20s", "-q").stdout
    assert "buy" in again
    assert json.loads(sim("traces", "results/shop", "--format", "jaeger", "--at", "p90").stdout)["total"] >= 10
    assert sim("traces", "results/shop", "--format", "openmetrics").stdout.endswith("# EOF\n")
    assert "there are no failed requests" in sim("traces", "results/shop", "--at", "failed", code=2).stderr
    (tmp_path / "broken.json").write_text('{"resourceSpans": [{}]}')
    with pytest.raises(ScenarioError, match="cannot be read as OTLP/JSON"):
        read_spans(tmp_path / "broken.json")
