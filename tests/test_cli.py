"""The command line: what it prints where, and with which code it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from studies import fake, scenario
from typer.testing import CliRunner, Result

from sim import __version__, cli
from sim.cli import app
from sim.cli.show import show_results
from sim.interop.spans import COLUMNS
from sim.scenario.model import Scenario
from sim.scenario.yaml import load, loads
from sim.study import replicate

SHOP = """\
question: How busy is one worker?
run: {duration: 20s, replications: 3}
services:
  shop: {workers: 1, operations: {buy: [{work: {exponential: 10ms}}]}}
load: {rate: 50/s, mix: shop.buy}
slos: [p99 <= 10s, success >= 99 %]
"""

COMPARISON = """\
question: Is a second worker worth it?
base: shop.yaml
conditions: {calm: {}, busy: {load: {rate: 80/s}}}
candidates: {one: {}, two: {services: {shop: {workers: 2}}}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "workers.yaml").write_text(COMPARISON)
    return tmp_path


def sim(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def data(*arguments: str) -> Any:
    return json.loads(sim(*arguments, "--format", "json").stdout)


# --- help, version, usage ---------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_every_command_has_examples() -> None:
    top, module = sim("--help").stdout, str(cli.__doc__)
    commands = [str(name) for name in getattr(typer.main.get_command(app), "commands")]  # noqa: B009
    assert len(commands) > 15
    for command in commands:
        assert command in top
        assert f"``{command}``" in module
        assert f"sim {command}" in sim(command, "--help").stdout.split("Examples")[1]


def test_version() -> None:
    assert sim("--version").stdout == f"sim {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("run",), ("run", "shop.yaml", "--wrong"), ("run", "shop.yaml", "--replications", "0"), ("check", "a", "b")],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], place: Path) -> None:
    sim(*arguments, code=2)


def test_help_and_check_import_nothing_heavy(place: Path) -> None:
    heavy = {"pandas", "numpy", "scipy", "matplotlib", "simpy", "loky", "pyarrow"}
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom sim.cli import app\n"
        "for line in (['--help'], ['run', '--help'], ['presets'], ['presets', 'polly@8'], ['check', 'shop.yaml'],\n"
        "             ['check', 'workers.yaml'], ['show', 'shop.yaml']):\n"
        "    assert CliRunner().invoke(app, line).exit_code == 0, line\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=place, check=True)
    assert done.stdout == "[]\n"


# --- check and show ---------------------------------------------------------------------------------------------------


def test_check_shows_a_scenario_on_one_screen(place: Path) -> None:
    shown = sim("check", "shop.yaml").stdout
    assert "How busy is one worker?" in shown
    assert next(line for line in shown.splitlines() if "1 × 1" in line).split()[-2:] == ["50", "%"]
    assert "nothing looks wrong" in shown
    assert len(shown.splitlines()) < 24


def test_check_as_data(place: Path) -> None:
    found = data("check", "shop.yaml")
    assert found["services"][0]["utilisation"] == pytest.approx(0.5)
    assert found["doubts"] == []
    cases = data("check", "workers.yaml")["cases"]
    assert [(case["candidate"], case["condition"]) for case in cases] == [
        ("one", "calm"), ("two", "calm"), ("one", "busy"), ("two", "busy"),
    ]  # fmt: skip
    assert [case["services"][0]["utilisation"] for case in cases] == pytest.approx([0.5, 0.25, 0.8, 0.4])


def test_check_doubts_what_cannot_work(place: Path) -> None:
    (place / "workers.yaml").write_text(COMPARISON.replace("80/s", "180/s"))
    shown = " ".join(sim("check", "workers.yaml").stdout.split())
    assert "shop cannot keep up: utilisation 1.8 of its 1 workers; it needs at least 2, or less work (one under busy)" in shown
    assert "(two" not in shown


def test_candidates_that_are_one_scenario_are_named(place: Path) -> None:
    (place / "workers.yaml").write_text(COMPARISON.replace("{one:", "{three: {}, twins: {services: {shop: {workers: 2}}}, one:"))
    shown = " ".join(sim("check", "workers.yaml").stdout.split())
    for names in ("three and one", "twins and two"):
        assert f"{names} are the same scenario under every condition: their runs will be equal" in shown
    assert "one and two" not in shown
    assert len(data("check", "workers.yaml")["doubts"]) == 2
    assert "doubt: three and one are the same" in sim("compare", "workers.yaml", "-r", "1", "-d", "1s", "--no-charts").stderr


def test_mistakes_go_to_standard_error_all_at_once(place: Path) -> None:
    (place / "shop.yaml").write_text(SHOP.replace("workers", "wrokers").replace("50/s", "fast"))
    result = sim("check", "shop.yaml", code=2)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["shop.yaml:4:", "shop.yaml:5:"]
    assert "did you mean 'workers'?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["check", "show", "run", "compare"])
def test_no_command_takes_a_file_that_is_not_there(command: str, place: Path) -> None:
    result = sim(command, "shap.yaml", code=2)
    assert result.stderr == "shap.yaml: there is no such file; did you mean 'shop.yaml'?\n"
    assert sorted(path.name for path in place.iterdir()) == ["shop.yaml", "workers.yaml"]


def test_show_prints_what_load_reads(place: Path) -> None:
    assert loads(sim("show", "shop.yaml").stdout) == load("shop.yaml")
    one = loads(sim("show", "workers.yaml", "--candidate", "two", "--condition", "busy").stdout)
    assert isinstance(one, Scenario)
    assert (one.services["shop"].workers, one.load.rate) == (2, 80.0)
    everything = sim("show", "workers.yaml").stdout
    assert [line for line in everything.splitlines() if line.startswith("#")] == [
        "# one under calm", "# two under calm", "# one under busy", "# two under busy",
    ]  # fmt: skip


def test_a_choice_that_is_not_there_is_refused(place: Path) -> None:
    assert "did you mean 'busy'?" in sim("show", "workers.yaml", "--condition", "bussy", code=2).stderr
    assert "--candidate 'one' | 'two'" in sim("run", "workers.yaml", code=2).stderr
    assert "has no candidates" in sim("run", "shop.yaml", "--candidate", "one", code=2).stderr
    assert "use 'sim run'" in sim("compare", "shop.yaml", code=2).stderr


# --- run --------------------------------------------------------------------------------------------------------------


def run(*arguments: str, code: int = 0) -> Result:
    return sim("run", "shop.yaml", "--workers", "1", "--no-charts", "--duration", "2s", *arguments, code=code)


def test_run_prints_intervals_and_keeps_the_results(place: Path) -> None:
    result = run()
    assert "3 replications each, means with 95 % intervals" in result.stdout
    assert "success                            100 %" in result.stdout
    assert "p99 <= 10s       pass" in result.stdout
    assert "results/shop/" in result.stderr
    assert json.loads((place / "results" / "shop" / "manifest.json").read_text())["seeds"] == [1, 2, 3]
    assert not (place / "results" / "shop" / "charts").exists()


def test_run_as_data_is_data_alone_and_the_same_with_any_number_of_workers(place: Path) -> None:
    arguments = ["run", "shop.yaml", "--no-charts", "--duration", "2s", "--seed", "5", "--replications", "2"]
    found = [data(*arguments, "--workers", workers, "--out", f"out{workers}") for workers in ("1", "2")]
    assert found[0]["summary"] == found[1]["summary"]
    assert found[0]["seeds"] == [5, 6]
    assert found[0]["partial"] is False
    success = next(row for row in found[0]["summary"] if row["metric"] == "success" and row["of"] == "all")
    assert success["mean"] == 1.0
    assert [row["verdict"] for row in found[0]["objectives"]] == ["pass", "pass"]
    assert (place / "out1" / "metrics.csv").read_bytes() == (place / "out2" / "metrics.csv").read_bytes()


def test_run_as_csv(place: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv").stdout)))
    assert {row["metric"] for row in rows} >= {"success", "goodput_rps", "p99_s"}
    assert {row["n"] for row in rows if row["metric"] == "success"} == {"3"}


def test_charts_are_drawn_beside_the_results(place: Path) -> None:
    result = sim("run", "shop.yaml", "-w", "1", "-d", "2s", "-r", "2", "--format", "json")
    charts = json.loads(result.stdout)["charts"]
    assert {Path(path).name for path in charts} >= {"latency_cdf.png", "latency_cdf.svg"}
    assert all(Path(path).stat().st_size > 1000 for path in charts)


def test_quiet_says_nothing(place: Path) -> None:
    assert run("--quiet").stderr == ""


@pytest.mark.parametrize("duration", ["fast", "10", "0s", "-1s", "1e-300s"])
def test_a_duration_that_is_none_is_refused_before_anything_runs(duration: str, place: Path) -> None:
    assert sim("run", "shop.yaml", "--duration", duration, code=2).stderr.startswith("--duration")
    assert not (place / "results").exists()


def test_a_directory_that_holds_something_else_is_left_alone(place: Path) -> None:
    assert "holds something else than results" in run("--out", ".", code=2).stderr
    assert (place / "shop.yaml").read_text() == SHOP


def test_the_gate(place: Path) -> None:
    assert run("--gate").stderr.endswith("gate: passed\n")
    (place / "shop.yaml").write_text(SHOP.replace("p99 <= 10s", "p99 <= 1ms"))
    assert run("--gate", code=1).stderr.endswith("gate: shop misses p99 <= 1ms\n")
    (place / "shop.yaml").write_text(SHOP.split("slos")[0])
    assert "has no slos" in run("--gate", code=2).stderr


# --- compare ----------------------------------------------------------------------------------------------------------


def compare(*arguments: str, code: int = 0) -> Result:
    return sim("compare", "workers.yaml", "-w", "1", "--no-charts", "-d", "10s", *arguments, code=code)


def test_compare_says_what_differs_and_which_to_choose(place: Path) -> None:
    result = compare()
    assert [line for line in result.stdout.splitlines() if line.startswith("under ")] == ["under calm", "under busy"]
    assert "against one" in result.stdout
    assert "two is chosen: all objectives are met under every condition." in result.stdout
    reasons = (place / "results" / "workers" / "verdict.txt").read_text()
    assert "busy: two against one: " in reasons


def test_compare_as_data(place: Path) -> None:
    found = json.loads(compare("--format", "json", "--baseline", "two").stdout)
    assert found["verdict"]["chosen"] == "two"
    assert {row["baseline"] for row in found["differences"]} == {"two"}
    assert len(found["scenarios"]) == 4


def test_one_replication_is_told_to_say_nothing(place: Path) -> None:
    shown = compare("-r", "1").stdout
    assert "one replication each: no intervals, and no statement about differences and objectives" in shown
    assert "One replication says nothing about one and two: no interval, no statement;" in shown
    assert "under calm: one replication: no interval, no statement" in shown
    assert "detectable" not in shown
    assert "95 %" not in shown
    assert [line.split()[1:] for line in shown.splitlines() if line.startswith("success  ")][::2] == [["100", "%"] * 2] * 2


def test_a_mean_over_the_runs_that_recovered_says_how_many_did() -> None:
    faults = [{"pause": "payment", "at": 2.0, "for": 0.5}]

    def sick(given: Scenario, seed: int) -> Any:
        """Three seconds with a hundred requests each; with an odd seed nothing is answered well any more after 2 s."""
        run = fake(given, 300)
        run.requests.loc[(run.requests["arrived_s"] >= 2.0) & bool(seed % 2), "outcome"] = "error"
        return run

    def shown(seed: int, replications: int) -> str:
        found = replicate(scenario(faults=faults), replications, workers=1, seed=seed, simulate=sick)
        show_results(console := Console(file=io.StringIO(), width=120), found)
        assert isinstance(console.file, io.StringIO)
        return next(line for line in console.file.getvalue().splitlines() if line.startswith("recovery"))

    assert shown(2, 2).rstrip().endswith("0 s [one replication: no interval], in 1 of 2")
    assert shown(2, 1).rstrip().endswith("0 s")
    assert shown(3, 1).rstrip().endswith("never")


def test_what_is_identical_is_shown_as_identical(place: Path) -> None:
    (place / "workers.yaml").write_text("base: shop.yaml\ncandidates: {one: {}, twin: {}, triplet: {}}\n")
    rows = [line.split("  ") for line in compare().stdout.splitlines() if "identical" in line]
    told = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    names = ["success", "goodput", "p99", "attempts per request", "busy worker time per good request"]
    assert told == [[name, "all", "the same in every replication", "identical"] for name in names]
    (place / "workers.yaml").write_text(COMPARISON)
    rows = [line.split() for line in compare().stdout.splitlines() if "identical" in line]
    assert ["success", "two", "the", "same", "in", "every", "replication", "identical"] in rows


EFFECTS = """\
run: {duration: 5s, replications: 3}
services:
  shop: {workers: unlimited, operations: {buy: [{work: 1ms}, {publish: mails}, {call: log.keep}]}}
  mail: {workers: 4, operations: {send: [{work: {exponential: 10ms}}]}}
  log: {workers: 4, operations: {keep: {effect: true, steps: []}}}
queues: {mails: {consumer: mail.send, consumers: 4}}
load: {rate: 20/s, mix: shop.buy}
"""


def test_numbers_of_effects_say_which_effect(place: Path) -> None:
    (place / "shop.yaml").write_text(EFFECTS)
    both = run().stdout
    for effect in ("mail.send", "log.keep"):
        assert f"completeness of {effect}" in both
        assert f"effect p99 of {effect}" in both
    (place / "shop.yaml").write_text(EFFECTS.replace("effect: true, ", ""))
    one = run().stdout
    assert "completeness of mail.send" in one
    assert "acknowledgement p99 of mail.send" in one


def test_two_candidates_stand_beside_each_other_also_where_an_effect_has_a_long_name(place: Path) -> None:
    (place / "shop.yaml").write_text(EFFECTS.replace("send", "send_the_confirmation_of_an_order_that_was_shipped"))
    (place / "workers.yaml").write_text("base: shop.yaml\ncandidates: {quick: {}, slow: {services: {shop: {workers: 2}}}}\n")
    heads = [line.split() for line in compare().stdout.splitlines() if line.split()[:1] in (["quick"], ["slow"])]
    assert heads[0] == ["quick", "slow"]


def test_a_tie_tells_what_differs(place: Path) -> None:
    (place / "shop.yaml").write_text(EFFECTS)
    (place / "workers.yaml").write_text(
        "base: shop.yaml\ncandidates: {quick: {}, slow: {services: {mail: {operations: {send: [{work: 80ms}]}}}}}\n"
    )
    shown = compare().stdout
    assert (
        "There is no detectable difference between quick and slow by which to choose. What differs is effect p99 of mail" in shown
    )
    assert "  no detectable difference between quick and slow in success and p99; what differs: effect p99 of mail" in shown


def test_the_gate_is_about_the_chosen_candidate(place: Path) -> None:
    # 140 requests a second are too many for one worker: after 10 s they wait for seconds.
    text = COMPARISON.replace("80/s", "140/s") + "slos: [p99 <= 500ms]\n"
    (place / "workers.yaml").write_text(text)
    assert compare("--gate", "-q").stderr == ""
    assert compare("--gate", "-q", "--choose", "one", code=1).stderr == "gate: one misses p99 <= 500ms under busy\n"


def test_a_candidate_that_is_not_there_is_refused_before_anything_runs(place: Path) -> None:
    assert "did you mean 'two'?" in compare("--choose", "twoo", code=2).stderr
    assert "--baseline: no candidate" in compare("--baseline", "three", code=2).stderr
    assert not (place / "results").exists()


# --- calibrate --------------------------------------------------------------------------------------------------------


def write_spans(path: Path, traces: int = 60) -> None:
    """A shop that works some 10 ms and asks a stock that works 4 ms, 1 ms away."""
    chance = random.Random(1)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        now_ms = 1_700_000_000_000.0
        for i in range(traces):
            now_ms += chance.expovariate(1 / 200)  # 5 a second
            work_ms = chance.expovariate(1 / 10)
            for name, parent, pod, operation, start_ms, end_ms in (
                ("a", "root", "shop-7d9c5f6b8-abcde", "buy", 0.0, work_ms + 6),
                ("b", f"{i}a", "shop-7d9c5f6b8-abcde", "stock/Reserve", work_ms, work_ms + 6),
                ("c", f"{i}b", "stock-5f6b87d9c-fghij", "Reserve", work_ms + 1, work_ms + 5),
            ):
                times = (int((now_ms + at) * 1e6) for at in (start_ms, end_ms))
                rows.writerow([f"t{i}", f"{i}{name}", parent, pod, operation, *times])


def test_calibrate_writes_a_scenario_and_compares_it_with_the_recording(place: Path) -> None:
    write_spans(place / "spans.csv")
    result = sim("calibrate", "spans.csv", "--out", "found.yaml", "-r", "2", "-w", "1", "-d", "60s", "--format", "json")
    found = load(place / "found.yaml")
    assert isinstance(found, Scenario)
    assert set(found.services) >= {"shop", "stock"}
    (page,) = json.loads(result.stdout)
    assert page["traces"] == 60
    assert abs(page["median_error_percent"]) < 40
    assert "wrote found.yaml" in result.stderr
    assert "--force" in sim("calibrate", "spans.csv", "--out", "found.yaml", code=2).stderr


def test_calibrate_writes_users_as_a_change_of_what_it_found(place: Path) -> None:
    write_spans(place / "spans.csv")
    quick = ("-r", "1", "-w", "1", "-d", "20s")
    sim("calibrate", "spans.csv", "--out", "found.yaml", *quick)
    (place / "more").mkdir()
    over = ("--base", "found.yaml", "--out", "more/users.yaml", *quick)
    sim("calibrate", "spans.csv", "--think", "{uniform: {low: 1s, high: 3s}}", *over)
    found, users = load(place / "found.yaml"), load(place / "more" / "users.yaml")
    assert isinstance(found, Scenario)
    assert isinstance(users, Scenario)
    assert users.services == found.services
    assert users.load.kind == "closed"
    assert users.load.users == 9
    wrong = sim("calibrate", "spans.csv", "--think", "5", "--out", "x.yaml", code=2).stderr
    assert "--think 5: is not a law; write 5s" in wrong
    wrong = sim("calibrate", "spans.csv", "--think", "5s", "--base", "shop.yaml", "--out", "x.yaml", code=2).stderr
    assert "--base shop.yaml: its services or links are not those of this recording" in wrong
    wrong = sim("calibrate", "spans.csv", "--base", "found.yaml", "--out", "found.yaml", "--force", code=2).stderr
    assert "--base found.yaml: is the file to be written" in wrong
    assert not (place / "x.yaml").exists()


def test_calibrate_refuses_what_is_no_recording(place: Path) -> None:
    assert sim("calibrate", "shop.yaml", "--out", "found.yaml", code=2).stderr.startswith("shop.yaml")
    assert sim("calibrate", "no.csv", "--out", "found.yaml", code=2).stderr
    assert "there is no directory" in sim("calibrate", "no.csv", "--out", "no/found.yaml", code=2).stderr
    assert not (place / "found.yaml").exists()


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_is_finished(kind: signal.Signals, place: Path) -> None:
    command = [sys.executable, "-m", "sim", "run", "shop.yaml", "-w", "1", "-r", "100000", "-d", "1s", "--no-charts"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place)
    try:
        deadline = time.monotonic() + 100
        while not list(place.glob("results/.*/rows/requests-00002.parquet")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(kind)
        output, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "of 100000 runs are finished and kept, marked partial" in errors
    assert "Traceback" not in errors
    assert "success" in output
    manifest = json.loads((place / "results" / "shop" / "manifest.json").read_text())
    assert manifest["partial"] is True
    assert len(manifest["runs"]) >= 2  # the third was being handed over
    assert [path.name for path in (place / "results").iterdir()] == ["shop"]


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_while_charts_are_drawn_says_that_the_results_are_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.plots.charts", interrupted)
    result = sim("run", "shop.yaml", "-w", "1", "-d", "2s", "--quiet", code=130)
    said = "interrupted while drawing charts: all runs are finished and kept in results/shop/, charts are missing\n"
    assert result.stderr == said
    assert json.loads((place / "results" / "shop" / "manifest.json").read_text())["partial"] is False
    assert [path.name for path in (place / "results").iterdir()] == ["shop"]


def test_ctrl_c_before_the_first_run_says_that_nothing_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.study.experiment._run", interrupted)
    assert run("--quiet", code=130).stderr == "interrupted; nothing is kept: no run was finished\n"
    assert list((place / "results").iterdir()) == []


def test_ctrl_c_elsewhere_is_no_more_than_that(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.scenario.yaml.load", interrupted)
    assert sim("check", "shop.yaml", code=130).stderr == "interrupted\n"


def test_a_second_study_of_the_same_name_has_to_wait(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Result] = []

    def meanwhile(*_: Any, **__: Any) -> list[Path]:
        # Also while the first draws its charts, and from the same terminal or another.
        command = [sys.executable, "-m", "sim", "run", "shop.yaml", "-d", "1s", "-r", "1", "--no-charts", "-q"]
        tried.append(subprocess.run(command, capture_output=True, text=True, cwd=place, check=False))
        return []

    monkeypatch.setattr("sim.plots.charts", meanwhile)
    sim("run", "shop.yaml", "-w", "1", "-d", "2s")
    (second,) = tried
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.endswith("is writing results there; wait until it has ended, or choose another directory\n")
    assert len(second.stderr.splitlines()) == 1
    assert [path.name for path in (place / "results").iterdir()] == ["shop"]


def test_a_file_in_the_way_of_the_results_is_named(place: Path) -> None:
    said = run("--out", "shop.yaml/results", code=2).stderr
    assert said == f"{place}/shop.yaml/results: cannot write the results: {place}/shop.yaml is a file; choose another directory\n"


def test_a_reader_that_has_seen_enough_is_no_error(place: Path) -> None:
    more_than_a_pipe_holds = range(1200)
    services = "".join(f"  s{i}: {{workers: 1, operations: {{x: [{{work: 1ms}}]}}}}\n" for i in more_than_a_pipe_holds)
    (place / "big.yaml").write_text(f"services:\n{services}load: {{rate: 1/s, mix: s0.x}}")
    for command in ("show", "check"):
        line = [sys.executable, "-m", "sim", command, "big.yaml"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        assert (process.wait(timeout=100), errors) == (0, "")


def test_a_terminal_without_unicode_still_gets_its_table(place: Path) -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    line = [sys.executable, "-m", "sim", "check", "shop.yaml"]
    done = subprocess.run(line, capture_output=True, cwd=place, env=plain, check=False)
    assert done.returncode == 0, done.stderr
    assert b"1 ? 1" in done.stdout
