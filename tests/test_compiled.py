"""Compiled and uncompiled, on the kernel and on plain SimPy: the same rows, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sim
from sim import compiled

ROOT = Path(__file__).parents[1]

#: Runs the example scenarios and some random ones; prints a hash of all their rows, and what ran. The random ones are made once
#: and read from a file by the others: Hypothesis draws constants of the modules that it sees, and of compiled ones it sees none.
_PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from hypothesis import HealthCheck, Phase, given, seed, settings
import sim, sim.kernel.clock, sim.runtime.caller
from rows import fingerprint
from messaging_strategies import asking, logs, messagings
from protocol_strategies import spoken
from strategies import connected, scenarios, zoned

found = {"clock": type(sim.kernel.clock.new_environment()).__module__, "caller": sim.runtime.caller.__file__}

def shortened(scenario):
    run = scenario.run.model_copy(update={"duration": 4.0, "warmup": 1.0})
    return scenario.model_copy(update={"run": run})

def at_random(strategy, number, count):
    made = []

    @seed(number)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(strategy())
    def make(scenario):
        made.append(scenario.as_data())

    make()
    return made

place, *examples = sys.argv[1:]
for path in examples:
    loaded = sim.load(path)
    candidates = loaded.candidates if isinstance(loaded, sim.Comparison) else {"only": {"": loaded}}
    for i, (candidate, by_condition) in enumerate(candidates.items()):
        condition = list(by_condition)[i % len(by_condition)]  # one each: they are more of the same
        found[f"{path} {candidate} {condition}"] = fingerprint(sim.run(shortened(by_condition[condition]), 3))

if not Path(place).exists():
    kinds = (
        (scenarios, 20261122, 40), (messagings, 20261127, 40), (connected, 20261128, 15), (zoned, 20261128, 15),
        (logs, 20261128, 20), (asking, 20261128, 10), (spoken, 20261128, 15),
    )
    Path(place).write_text(json.dumps([data for kind in kinds for data in at_random(*kind)]))
for data in json.loads(Path(place).read_text()):
    found[f"random {len(found)}"] = fingerprint(sim.run(sim.Scenario.model_validate(data), 5))
print(json.dumps(found))
"""

EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "experiments").rglob("*.yaml"))


def rows_of(place, **choice):
    """What the program finds with the given environment variables; the random scenarios lie at `place`, or will do so."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONHASHSEED": "0", **choice}
    command = [sys.executable, "-c", _PROGRAM, str(place), *EXAMPLES]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the random scenarios are kept."""
    return tmp_path_factory.mktemp("random") / "scenarios.json"


@pytest.fixture(scope="module")
def plain(place):
    """Nothing compiled, SimPy's own loop."""
    found = rows_of(place, SIM_COMPONENTS="source", SIM_KERNEL="simpy")
    assert found["clock"].startswith("simpy")
    assert found["caller"].endswith(".py")
    return found


needs_compiled = pytest.mark.skipif(
    not compiled.uses_kernel() or not compiled.uses_compiled_components(),
    reason="nothing was compiled here: no C compiler when the package was installed, or switched off by the environment",
)


@needs_compiled
@pytest.mark.parametrize(
    ("choice", "clock", "caller"),
    [
        pytest.param({}, "sim.kernel.core", ".so", id="all compiled"),
        pytest.param({"SIM_COMPONENTS": "source"}, "sim.kernel.core", ".py", id="components from source"),
        pytest.param({"SIM_KERNEL": "simpy"}, "simpy.core", ".so", id="on plain SimPy"),
    ],
)
def test_the_same_seed_gives_the_same_rows(plain, place, choice, clock, caller):
    found = rows_of(place, **choice)
    assert found.pop("clock") == clock
    assert found.pop("caller").endswith(caller) or os.name == "nt"
    expected = {case: rows for case, rows in plain.items() if case not in ("clock", "caller")}
    assert len(expected) > len(EXAMPLES) + 110
    assert found == expected


def test_what_was_compiled_is_not_older_than_its_source():
    assert compiled.stale() == [], "run `make build`"


def test_a_run_on_plain_simpy_says_so_once():
    code = (
        "import sim\n"
        "services = {'a': {'workers': 1, 'operations': {'do': [{'work': 0.1}]}}}\n"
        "scenario = sim.Scenario(services=services, load={'rate': 1, 'mix': 'a.do'}, run={'duration': 5})\n"
        "sim.run(scenario); sim.run(scenario, 2)\n"
        "sim.replicate(scenario, replications=2)\n"
    )
    environment = {**os.environ, "SIM_KERNEL": "simpy"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("running uncompiled, on plain SimPy") == 1
    assert "install a C compiler" in done.stderr


@needs_compiled
def test_a_compiled_run_says_nothing():
    assert "simpy" not in type(sim.World).__module__
    code = "import sim; sim.load('experiments/boutique/boutique.yaml')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_examples_in_the_docstrings_of_compiled_modules():
    files = [path for path in (ROOT / "sim").rglob("*.py") if path.with_suffix(".pxd").exists() and path.stem != "entry"]
    assert files
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "--doctest-modules", *files]
    environment = {**os.environ, "SIM_COMPONENTS": "source", "SIM_KERNEL": "simpy"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(".")
