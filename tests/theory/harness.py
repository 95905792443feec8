"""Compares scenarios with theory as the published cases are compared (`sim.validation.judging`), with fewer words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.scenario.model import Scenario
from sim.single import RunResult, run
from sim.validation.case import Reading, near
from sim.validation.judging import Finding, judge_readings

SEEDS = range(1, 41)


def assert_reproduced(findings: list[Finding]) -> None:
    """All numbers are near enough, and known well enough."""
    print("\n".join(map(str, findings)))
    assert findings
    assert not [str(found) for found in findings if not found.passed]


def assert_reproduces(
    case: Scenario,
    read: Callable[[RunResult], Reading],
    expected: dict[str, tuple[float, float]],
    seeds: Sequence[int] = SEEDS,
) -> None:
    """Run a scenario under every seed and compare with (value, relative tolerance) of ``mean of NAME`` or ``p99 of NAME``."""
    assert len(seeds) >= 20
    readings = [read(run(case, seed)) for seed in seeds]
    assert_reproduced(judge_readings(readings, {what: near(*theirs) for what, theirs in expected.items()}))
