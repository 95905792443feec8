"""Recordings that are broken: what cannot be read is said with its place, and what cannot be used is left out and counted."""

import gzip

import pandas as pd
import pytest
from recorded_shop import shop_trace
from spans_of import ORIGIN_NS, Trace, frame

from sim.errors import ScenarioError
from sim.interop.calibrate import calibrate
from sim.interop.spans import COLUMNS, read_spans

HEADER = ",".join(COLUMNS)
GOOD = f"t1,a,root,shop-668d5f85fb-jhwx9,Buy,{ORIGIN_NS},{ORIGIN_NS + 5_000_000}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.csv: the file is empty; the first row must name TraceID"),
        (f"{HEADER}\n".encode(), r"x\.csv: no spans below the header"),
        (b"TraceID,SpanID,Name\n1,2,3\n", r"x\.csv: no column ParentID, PodName, .*; found TraceID, SpanID, Name"),
        (f"{HEADER}\n{GOOD}\nt1,b,a,shop,Buy,soon,5\n".encode(), r"x\.csv:3: StartTimeUnixNano 'soon' is not a whole number"),
        (f"{HEADER}\n{GOOD}\nt1,b,a,shop,Buy,1.6e18,5\n".encode(), r"x\.csv:3: StartTimeUnixNano '1\.6e18' is not"),
        (f"{HEADER}\n{GOOD}\nt1,b,a,shop,Buy,5\n".encode(), r"x\.csv:3: EndTimeUnixNano '' is not a whole number"),
        (f"{HEADER}\n{GOOD}\n{GOOD},1\n".encode(), r"x\.csv: not a readable CSV file"),
        (b"\xff\xfe\x00binary\x00", r"x\.csv: not a readable CSV file"),
        (gzip.compress(f"{HEADER}\n{GOOD}\n".encode())[:-12], r"x\.csv: damaged gzip file"),
        (b"\x1f\x8bnot really", r"x\.csv: damaged gzip file"),
        (f"{HEADER}\n{GOOD}\n".encode(), r"x\.csv: one usable trace is not enough for a rate"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('t1', 't2')}\n".encode(), r"x\.csv: all traces begin at the same moment"),
        (f"{HEADER}\n{GOOD.replace('root', 'lost')}\n".encode(), r"x\.csv: 1 of 1 traces left out: a parent is missing"),
    ],
)  # fmt: skip
def test_a_broken_file_says_what_and_where(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=message):
        calibrate(path)


def test_a_missing_file_a_directory_and_a_wrong_duration_are_said_too(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.csv: no such file"):
        calibrate(tmp_path / "nowhere.csv")
    with pytest.raises(ScenarioError, match="not a readable CSV file"):
        calibrate(tmp_path)
    with pytest.raises(ScenarioError, match="duration: 'soon' is not a duration"):
        calibrate(frame(shop_trace(1)), duration="soon")


def test_gzip_is_known_by_its_content(tmp_path):
    text = frame([row for n in range(3) for row in shop_trace(n)]).to_csv(index=False).encode()
    packed, plain = tmp_path / "packed.csv", tmp_path / "plain.csv.gz"
    packed.write_bytes(gzip.compress(text))
    plain.write_bytes(text)
    assert calibrate(packed, name="x").data == calibrate(plain, name="x").data


BROKEN = {
    "a parent is missing": [("b", "x", "root", "shop", "Buy", 0, 5), ("b", "y", "gone", "shop", "Buy", 1, 2)],
    "parents form a circle": [
        ("b", "x", "root", "shop", "Buy", 0, 5),
        ("b", "y", "z", "shop", "Buy", 1, 2),
        ("b", "z", "y", "shop", "Buy", 1, 2),
    ],
    "no root": [("b", "y", "z", "shop", "Buy", 1, 2), ("b", "z", "y", "shop", "Buy", 1, 2)],
    "several roots": [("b", "x", "root", "shop", "Buy", 0, 5), ("b", "y", "", "shop", "Buy", 1, 2)],
    "a span ends before it starts": [("b", "x", "root", "shop", "Buy", 5, 0)],
    "a span id occurs twice": [("b", "x", "root", "shop", "Buy", 0, 5), ("b", "x", "root", "shop", "Buy", 0, 5)],
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_trace_is_left_out_counted_and_named(problem):
    good = frame([row for n in range(3) for row in shop_trace(n)])
    recording = read_spans(pd.concat([good, frame(BROKEN[problem])]))
    assert len(recording.roots) == 3
    assert len(recording.warnings) == 1
    assert f"1 of 4 traces left out: {problem} (first: row " in recording.warnings[0]
    assert "Note: DataFrame: 1 of 4 traces left out" in calibrate(pd.concat([good, frame(BROKEN[problem])])).to_yaml()


def test_calls_that_outlast_their_caller_are_reported():
    trace = Trace("t0", 0)
    root = trace.add("root", "shop", "Buy", 0, 10)
    trace.call(root, "shop", "mail", "Send", 5, 40)
    (warning,) = read_spans(frame(trace.rows)).warnings
    assert "1 calls outlast the operation that made them" in warning


def test_a_callee_that_ends_after_its_caller_has_the_answer_is_reported():
    rows = []
    for n in range(4):
        trace = Trace(f"t{n}", 100 * n)
        root = trace.add("root", "shop", "Buy", 0, 30)
        trace.call(root, "shop", "cart", "Get", 5, 15, network_ms=-2)
        rows += trace.rows
    assert any("4 of 4 calls end at the caller before" in warning for warning in calibrate(frame(rows)).warnings)
