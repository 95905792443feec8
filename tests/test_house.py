"""The house: floors, public names, and what a newcomer reads."""

import re
import subprocess
import sys
from pathlib import Path

import sim

ROOT = Path(__file__).parents[1]


def test_imports_go_down_only():
    found = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_every_public_name_exists_and_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## Public names") :]
    documented = set(re.findall(r"`sim\.(\w+)`", table.split("\n## ")[0]))
    assert documented == set(sim.__all__)
    for name in sim.__all__:
        assert getattr(sim, name).__doc__, name


def test_files_and_pictures_that_the_readme_names_exist():
    readme = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", readme)
    assert named
    for path in named:
        assert (ROOT / path.split("#")[0]).exists(), path


def test_the_command_line_starts_without_the_heavy_libraries():
    code = "import sys, sim.cli, sim; print([m for m in ('pandas', 'matplotlib', 'scipy', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_running_twice_works_and_leaves_the_function_where_it_was():
    scenario = sim.Scenario(
        services={"shop": {"workers": 1, "operations": {"buy": [{"work": 1.0}]}}},
        load={"rate": 1, "mix": "shop.buy"},
        run={"duration": 5},
    )
    sim.run(scenario)
    sim.replicate(scenario, replications=1, workers=1)
    assert repr(sim.run(scenario)).startswith("<RunResult")
