"""Runs without rows of requests: the same numbers, in memory that does not grow."""

import gc
import mmap

import numpy as np
import pytest
from resident import needs_proc, resident_bytes

import sim
from sim.records import PARTS, SKETCHED
from sim.runtime.stretch import Stretch
from sim.sketch import BUCKETS, RELATIVE_ERROR, quantiles
from sim.study.measure import measure


def scenario(**run):
    """Two pages, one of which fails at times, with retries and time limits: every part of a latency and many outcomes."""
    return sim.Scenario.model_validate(
        {
            "services": {
                "shop": {
                    "workers": 4,
                    "queue": 5,
                    "operations": {
                        "buy": [{"work": {"exponential": 0.02}}, {"call": "stock.check"}],
                        "look": [{"work": {"exponential": 0.01}}],
                    },
                },
                "stock": {"workers": 4, "operations": {"check": [{"work": {"exponential": 0.02}}, {"fail": 0.2}]}},
            },
            "links": {"default": 0.001},
            "calls": {
                "default": {"per_try_timeout": 0.08, "retry": {"max_attempts": 2, "backoff": {"base": 0.01, "jitter": "full"}}}
            },
            "load": {"rate": 70, "mix": {"shop.buy": 1, "shop.look": 1}},
            "run": {"duration": 30, "warmup": 5, **run},
        }
    )


WITHOUT = {"record_requests": False, "record_attempts": False}


def test_the_metrics_are_those_of_the_rows():
    rows = measure(sim.run(scenario(), 1), scenario()).set_index(["metric", "of"]).value
    sketched = measure(sim.run(scenario(**WITHOUT), 1), scenario(**WITHOUT)).set_index(["metric", "of"]).value
    rows = rows[[metric != "tries_per_call_to" for metric, _ in rows.index]]  # attempts have no rows
    assert set(sketched.index) == set(rows.index)
    assert (rows["share_error"] > 0).all() or (rows["share_timeout"] > 0).any()
    for place, value in rows.items():
        if place[0] == "tries_per_call":
            assert np.isnan(sketched[place])
        elif place[0].startswith("p"):
            assert sketched[place] == pytest.approx(value, rel=RELATIVE_ERROR), place
        else:
            assert sketched[place] == pytest.approx(value, rel=1e-12), place


def test_the_parts_of_the_latency_are_sketched_for_every_outcome():
    rows = sim.run(scenario(), 2).requests
    rows = rows[(rows.arrived_s >= 5) & rows.ended_s.notna()]
    result = sim.run(scenario(**WITHOUT), 2)
    assert len(result.requests) == 0
    for (entry, outcome), mine in rows.groupby(["entry", "outcome"], observed=True):
        sums = result.outcomes[(result.outcomes.entry == entry) & (result.outcomes.outcome == outcome)].iloc[0]
        assert sums.measured == len(mine)
        for part in SKETCHED:
            exact = mine[part] if part in PARTS else mine.ended_s - mine.arrived_s
            assert sums[part] == pytest.approx(exact.sum())
            found = result.sketches
            found = found[(found.entry == entry) & (found.outcome == outcome) & (found.part == part)]
            counts = np.bincount(found.bucket, weights=found["count"], minlength=BUCKETS).astype(int)
            probabilities = [0.1, 0.5, 0.9]
            expected = np.quantile(exact, probabilities)
            assert quantiles(counts, probabilities) == pytest.approx(expected, rel=RELATIVE_ERROR, abs=1e-9)
    assert repr(result).startswith("<RunResult scenario seed 2: ")


def queue(duration, **run):
    """Simple requests: one attempt each, and no pause or time-out."""
    return sim.Scenario.model_validate(
        {
            "services": {"shop": {"workers": 1, "operations": {"buy": [{"work": {"exponential": 0.01}}]}}},
            "load": {"rate": 80, "mix": "shop.buy"},
            "run": {"duration": duration, **run},
        }
    )


@needs_proc
def test_rows_go_with_their_result_although_the_garbage_collector_has_not_found_the_world_yet():
    gc.disable()
    try:
        result = sim.run(queue(500), 1)
        rows, before = len(result.arrays["requests"]["outcome"]), resident_bytes()
        assert rows > 35_000
        del result
        assert (before - resident_bytes()) / rows > 90, "bytes of a request and its attempt"
    finally:
        gc.enable()


@needs_proc
def test_a_request_and_its_attempt_take_at_most_120_bytes_with_rows_and_nothing_without():
    def grown_bytes(scenario):
        before = resident_bytes()
        result = sim.run(scenario, 1)
        gc.collect()
        return resident_bytes() - before, result

    for run in ({}, WITHOUT):
        sim.run(queue(100, **run), 1)  # whatever is made once
    gc.collect()
    without, _ = grown_bytes(queue(1_000, **WITHOUT))
    grown, result = grown_bytes(queue(1_000))
    requests = len(result.arrays["requests"]["outcome"])
    assert requests > 75_000
    assert 90 < grown / requests < 120
    assert without / requests < 10


def test_columns_are_zero_where_nothing_was_written_and_keep_what_was():
    column = Stretch(np.dtype("i4"), 3)
    column.array(3)[:] = (1, 2, 3)
    kept = column.array(2)
    with pytest.raises(BufferError):
        column.grow(10_000)
    del kept
    column.grow(10_000)
    assert column.array(5).tolist() == [1, 2, 3, 0, 0]
    assert not column.array(10_000)[3:].any()
    with pytest.raises(MemoryError, match="no room for"):
        column.grow(2**58)


def test_columns_grow_where_the_system_cannot_move_memory(monkeypatch):
    class Unmovable(mmap.mmap):
        def resize(self, size):
            raise SystemError("mmap: resizing not available--no mremap()")

    monkeypatch.setattr(mmap, "mmap", Unmovable)
    column = Stretch(np.dtype("f8"), 2)
    column.array(2)[:] = (0.5, 1.5)
    column.grow(4)
    assert column.array(4).tolist() == [0.5, 1.5, 0.0, 0.0]


def test_studies_work_without_rows():
    results = sim.replicate(scenario(**WITHOUT), replications=2, workers=1)
    summary = results.summary
    assert (summary[(summary.metric == "success") & (summary.of == "all")]["mean"] > 0.5).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": {"record_requests": False}}, r"write record_attempts: false"),
        ({"run": WITHOUT, "effect": True}, r"there is the effect shop.buy"),
        ({"run": WITHOUT, "queues": {"mails": {"consumer": "shop.buy"}}}, r"there is the queue mails"),
    ],
)
def test_rows_that_would_refer_to_nothing_are_refused(change, message):
    operation = {"effect": change.pop("effect", False), "steps": [{"work": 0.1}]}
    services = {"shop": {"workers": 1, "operations": {"buy": operation}}}
    with pytest.raises(ValueError, match=message):
        sim.Scenario.model_validate({"services": services, "load": {"rate": 1, "mix": "shop.buy"}, **change})
