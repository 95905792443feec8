"""SimPy's own tests and examples, on SimPy and on the compiled kernel: `python tests/kernel/simpy_suite.py`.

Downloads the source of the installed SimPy once, runs its tests as they are, and fails if one passes on SimPy and not on the
kernel. One test compares a traceback with the file names of SimPy's source; in its copy the kernel's stand there instead.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

KINDS = ("stock", "kernel", "kernel+resources")
HERE = Path(__file__).parent
#: Tests that look at the wall clock fail now and then on a busy machine, whatever they test: they have several tries.
ON_THE_WALL_CLOCK, TRIES = "test_rt", 4

# What the test of a whole traceback expects of SimPy's own frames, and what is expected of the kernel's.
_SIMPY_FRAMES = """\
          File "{path}simpy/core.py", line {line}, in run
            self.step()
          File "{path}simpy/core.py", line {line}, in step
            raise exc
"""
_LAST_STEP = r""".replace(r'\{path\}', r'.*')"""  # with which the test makes a pattern of the text
_KERNEL_FRAMES = r'(?:  File ".*kernel/environment\.pxi", line \d+, in .*\n(?:    .*\n)?)+'


class UnreachableError(Exception):
    """SimPy's source cannot be had here; the text says why."""


def source() -> Path:
    """The unpacked source distribution of the installed SimPy, from the cache or from the index."""
    version = importlib.metadata.version("simpy")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sim"
    unpacked = cache / f"simpy-{version}"
    if unpacked.is_dir():
        return unpacked
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "simpy", "--dest", folder, f"simpy=={version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        except subprocess.TimeoutExpired:
            raise UnreachableError("the package index does not answer") from None
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise UnreachableError(f"pip cannot download SimPy's source: {reason}")
        with tarfile.open(next(Path(folder).glob("simpy-*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copytree(Path(folder) / unpacked.name, unpacked, dirs_exist_ok=True)
    return unpacked


def run_tests(simpy: Path, kind: str, only: str = "") -> dict[str, str]:
    """Test -> passed, failed or skipped; `only` is a part of the tests' names."""
    with tempfile.TemporaryDirectory() as folder:
        tests = Path(folder) / "tests"
        shutil.copytree(simpy / "tests", tests)
        if kind != "stock":
            accept_kernel_frames(tests / "test_exceptions.py")
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "simpy_swap", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command += ["--rootdir", folder, "--junitxml", str(report), *(["-k", only] if only else []), str(tests)]
        done = subprocess.run(command, cwd=folder, env=environment(kind), capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(f"pytest did not run:\n{done.stdout}{done.stderr}")
        cases = ElementTree.parse(report).iter("testcase")
        return {f"{case.get('classname')}.{case.get('name')}": verdict(case) for case in cases}


def verdict(case: ElementTree.Element) -> str:
    """What became of a test, from its element in pytest's report."""
    marks = {mark.tag for mark in case}
    return "failed" if marks & {"failure", "error"} else "skipped" if "skipped" in marks else "passed"


def environment(kind: str) -> dict[str, str]:
    """Variables for a process in which `kind` runs."""
    return {**os.environ, "SIMPY_KERNEL": kind, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]]), "PYTEST_ADDOPTS": ""}


def accept_kernel_frames(test: Path) -> None:
    """Let the test that compares a whole traceback expect the kernel's own lines between the users'; all else stays."""
    text = test.read_text()
    if text.count(_SIMPY_FRAMES) != 1 or text.count(_LAST_STEP) != 1:
        raise RuntimeError(f"{test.name} is not as it was in SimPy 4.1: adapt {Path(__file__).name}")
    text = text.replace(_SIMPY_FRAMES, "        FRAMES\n")
    text = text.replace(_LAST_STEP, _LAST_STEP + f".replace({re.escape('FRAMES' + chr(10))!r}, {_KERNEL_FRAMES!r})")
    test.write_text(text)


def run_examples(simpy: Path, kind: str) -> dict[str, str]:
    """The same for the examples of SimPy's documentation: each has to print what stands beside it."""
    outcomes = {}
    for script in sorted((simpy / "docs/examples/code").glob("*.py")):
        command = [sys.executable, str(HERE / "simpy_swap.py"), str(script)]
        done = subprocess.run(command, env=environment(kind), capture_output=True, text=True)
        as_written = done.stdout == script.with_suffix(".out").read_text()
        outcomes[f"examples.{script.stem}"] = "passed" if as_written and not done.returncode else "failed"
    return outcomes


def compare() -> tuple[dict[str, dict[str, str]], list[str]]:
    """Kind -> test -> outcome, and the tests that pass on SimPy and not on the kernel."""
    simpy = source()
    outcomes = {kind: run_tests(simpy, kind) | run_examples(simpy, kind) for kind in KINDS}
    for kind in KINDS:
        for _ in range(TRIES - 1):
            late = [test for test, outcome in outcomes[kind].items() if outcome == "failed" and ON_THE_WALL_CLOCK in test]
            again = run_tests(simpy, kind, ON_THE_WALL_CLOCK) if late else {}
            outcomes[kind].update({test: again[test] for test in late})
    stock = outcomes["stock"]
    lost = [
        f"{test} ({kind}): {outcomes[kind].get(test, 'missing')}"
        for kind in KINDS
        for test in stock
        if stock[test] == "passed" and outcomes[kind].get(test) != "passed"
    ]
    return outcomes, lost


def main() -> int:
    """Print the counts; 1 if the kernel loses a test, 2 if SimPy's source cannot be had."""
    try:
        outcomes, lost = compare()
    except UnreachableError as reason:
        print(reason, file=sys.stderr)
        return 2
    print(f"SimPy {importlib.metadata.version('simpy')}: its own tests and examples")
    for kind, tests in outcomes.items():
        counts = Counter(tests.values())
        print(f"  {kind:18}" + ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped")))
    for test in lost:
        print(f"lost: {test}")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
