"""The house: floors, public names, and what a newcomer reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_pictures_and_headings_that_a_page_names_exist(page):
    named = re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text())
    assert named or page.parent != ROOT
    for link in named:
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


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
