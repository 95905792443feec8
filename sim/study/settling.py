"""How long a scenario takes to settle: its warm-up, from runs that begin to measure at once."""

from __future__ import annotations

from sim.analysis.steady import Warmup, warmup_of
from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.study.execute import Workers
from sim.study.experiment import Progress, replicate

#: As many runs show a warm-up that one run hides in its noise.
REPLICATIONS = 10


def find_warmup(
    scenario: Scenario,
    replications: int | None = None,
    workers: Workers = None,
    on_progress: Progress | None = None,
    *,
    seed: int | None = None,
) -> Warmup:
    """Run a scenario several times from empty and say when its latency has settled (MSER-5, see `sim.analysis.warmup_of`).

    The runs are as long as warm-up and duration of the scenario together. Faults are left out: what they do is no warm-up.

    Args:
        scenario: what to look at.
        replications: how often; absent: 10, or `run.replications` if that is more.
        workers: see `replicate`.
        on_progress: see `replicate`.
        seed: see `replicate`.

    Raises:
        ScenarioError: see `replicate`; or the scenario records no requests, or has too few good answers.
    """
    run = scenario.run
    if not run.record_requests:
        raise ScenarioError("run.record_requests: false leaves no latency over time; set it to true to see the warm-up")
    whole = {"warmup": 0.0, "duration": run.end, "record_attempts": False}
    begun = scenario.model_copy(update={"run": run.model_copy(update=whole), "faults": ()})
    count = replications or max(REPLICATIONS, run.replications)
    results = replicate(begun, count, workers, on_progress, seed=seed, rows=("requests",))
    return warmup_of(results.rows("requests", columns=["arrived_s", "ended_s", "outcome"]), end_s=run.end)
