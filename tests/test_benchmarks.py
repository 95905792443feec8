"""The benchmark suite: contestants simulate the same thing, and whoever does not is refused."""

import doctest
import json
import shutil
from dataclasses import replace

import pytest

from benchmarks import entrants, judge, report, runner, scaling, sweeps, workloads
from benchmarks.contestants import heap_loop, raw_simpy
from benchmarks.entrants import ENTRANTS, Entrant
from benchmarks.protocol import UnavailableError
from benchmarks.runner import Result, race
from benchmarks.workloads import W3, W4, WORKLOADS

BY_NAME = {entrant.name: entrant for entrant in ENTRANTS}
RIGHT = {
    "requests": 20_000,
    "mean_s": 0.0401,
    "p99_s": 0.1016,
    "events": 200_000,
    "cpu_s": 2.0,
    "setup_s": 0.1,
    "memory_mib": 3.0,
}


@pytest.mark.parametrize("name", ["simpy", "heapq", "sim"])
@pytest.mark.parametrize(("workload", "requests"), [("W1", 20_000), ("W3", 3_000), ("W4", 3_000)])
def test_contestants_in_python_are_right(name, workload, requests):
    run = runner.one_run(BY_NAME[name], WORKLOADS[workload], requests, seed=1)
    assert abs(run["requests"] / requests - 1) < 0.1
    assert judge.complaints(WORKLOADS[workload].expected, [run]) == []
    assert run["cpu_s"] > 0
    assert run["memory_mib"] > 0


def test_the_shop_is_run_from_its_file():
    run = runner.one_run(BY_NAME["sim"], WORKLOADS["W5"], 1_000, seed=1)
    assert judge.complaints(WORKLOADS["W5"].expected, [run]) == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ here")
def test_cpp_is_right_at_full_length():
    runs = [runner.one_run(BY_NAME["cpp"], W4, W4.requests, seed) for seed in (1, 2, 3)]
    assert judge.complaints(W4.expected, runs) == []
    assert all(run["opened"] == 0 for run in runs)


def test_two_independent_models_agree_to_the_request_when_breakers_open_all_the_time():
    # Both draw in the same order, so that even a struggling system must give the very same latencies.
    nervous = replace(W4, breaker_failures=2, breaker_open_s=0.2, timeouts_s=(0.2, 0.08, 0.02))
    with_processes = raw_simpy.prepare(nervous, 2_000, seed=3, kernel="stock")()
    with_callbacks = heap_loop.prepare(nervous, 2_000, seed=3)()
    assert 500 < len(with_callbacks.latencies_s) < 1_800  # the others failed
    assert with_processes.latencies_s == pytest.approx(with_callbacks.latencies_s, abs=1e-9)
    assert (with_processes.attempts, with_processes.timeouts) == (with_callbacks.attempts, with_callbacks.timeouts)


@pytest.mark.parametrize(
    ("slip", "complaint"),
    [
        ({"mean_s": 0.0501}, "mean_s is 0.0501"),
        ({"p99_s": 0.0501}, "p99_s is 0.0501"),
        ({"p99_s": None}, "p99_s is missing"),
        ({"mean_s": float("nan")}, "mean_s is nan"),
    ],
)
def test_a_wrong_result_is_refused_and_its_speed_does_not_count(slip, complaint):
    honest = Result(BY_NAME["simpy"], W3, [RIGHT])
    wrong = Result(BY_NAME["heapq"], W3, [RIGHT | slip, RIGHT | slip])
    assert honest.trouble == ""
    assert complaint in wrong.trouble
    rows = [honest.row(), wrong.row()]
    assert report.speeds(rows) == {"simpy": 10_000.0}
    told = report.table(W3, rows)
    assert f"heapq by hand is **WRONG**: {complaint}" in told
    assert "| heapq by hand |" not in told
    assert "| heapq by hand | wrong |" in report.summary({"W3": rows})


def test_runs_are_judged_together_and_more_requests_are_judged_more_strictly():
    off = RIGHT | {"mean_s": 0.0401 * 1.02}
    assert judge.complaints(W3.expected, [off]) == []
    assert judge.complaints(W3.expected, [off | {"requests": 1_000_000}]) != []
    assert judge.complaints(W3.expected, [off, RIGHT | {"mean_s": 0.0401 * 0.98}] * 50) == []


def test_contestants_take_turns_and_who_cannot_run_says_why(monkeypatch):
    order = []

    def one_run(entrant, workload, requests, seed):
        order.append((entrant.name, requests, seed))
        if entrant.name == "ciw":
            raise UnavailableError("no index here")
        return RIGHT | {"cpu_s": float(seed)}

    monkeypatch.setattr(runner, "one_run", one_run)
    results = race(W3, [BY_NAME["simpy"], BY_NAME["ciw"], BY_NAME["salabim"]], 1_000, repeat=3, say=lambda line: None)
    first = [("simpy", 1_000, 1), ("ciw", 1_000, 1), ("salabim", 100, 1)]
    assert order == [*first, ("simpy", 1_000, 2), ("salabim", 100, 2), ("simpy", 1_000, 3), ("salabim", 100, 3)]
    assert results[0].row()["cpu_s"] == 2.0
    assert "- Ciw did not run: no index here" in report.table(W3, [result.row() for result in results])


def test_what_fails_or_cannot_be_expressed_is_reported_with_its_reason(monkeypatch):
    with pytest.raises(UnavailableError, match=r"^it failed: .*No module named .*nobody"):
        runner.one_run(Entrant("nobody", "Nobody", "nobody"), W3, 10, seed=1)
    with pytest.raises(UnavailableError, match=r"needs Python 9\.0 or newer"):
        entrants.command_of(Entrant("ahead", "Ahead", "ahead", packages=("ahead",), python=(9, 0)))
    with pytest.raises(UnavailableError, match="while it is at another"):
        runner.one_run(BY_NAME["ciw"], W3, 10, seed=1)
    monkeypatch.setattr(entrants.shutil, "which", lambda name: None)
    with pytest.raises(UnavailableError, match=r"no g\+\+"):
        BY_NAME["cpp"].command()


def test_rows_survive_json_and_the_chart_is_drawn(tmp_path):
    rows = json.loads(json.dumps([Result(BY_NAME[name], W3, [RIGHT]).row() for name in ("simpy", "sim")]))
    report.chart({"W3": rows}, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_memory_per_request_is_the_growth_between_two_sizes():
    row = scaling.one(workloads.W1, 1, 2_000, repeat=1)
    assert row["requests"] > 1_500
    rows = [{"workload": "W1", "requests": n, "memory_mib": 5 + n / 2**14, "cpu_us_per_request": 7.0} for n in (0, 2**14, 2**15)]
    assert scaling.growth(rows) == [None, 64.0, 64.0]
    assert "| W1 | 32,768 | 7.0 µs | 7.0 MiB | 64 B |" in scaling.text({"W1": rows}, [])


def test_what_sweeps_are_measured_with_does_what_it_says(tmp_path):
    sweeps.keep_rows(tmp_path, rows=600, points=2)
    pooled = sweeps.pool_rows(tmp_path)
    assert pooled["points"] == 2
    assert pooled["rows"] == pytest.approx(600, rel=0.3)
    sweeps.keep_table(tmp_path, rows=100, points=20)
    assert sweeps.summarise_table(tmp_path) == {"rows": 100, "points": 20}
    took = sweeps.swept(points=2, requests=20, workers=1)
    assert 0 < took["inside_s"] < took["took_s"]


@pytest.mark.parametrize("module", [judge, report, scaling, sweeps, workloads])
def test_examples_in_the_docstrings(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
