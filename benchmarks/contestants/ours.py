"""`sim` through its public language, with everything measured: a row for every request and every attempt, gauges and totals."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import sim
from benchmarks.protocol import Observed, compete
from benchmarks.workloads import Workload
from sim.scenario.load import Poisson

SHOP = Path(__file__).parents[2] / "experiments" / "boutique" / "boutique.yaml"


def scenario(workload: Workload, requests: int) -> sim.Scenario:
    """A workload in the scenario language, long enough for about so many requests."""
    if workload.name == "W5":
        shop = sim.load(SHOP)
        assert isinstance(shop, sim.Scenario)
        assert isinstance(shop.load, Poisson)
        run = shop.run.model_copy(update={"duration": requests / shop.load.rate, "warmup": 0.0})
        return shop.model_copy(update={"run": run})
    names = [f"service{level}" for level in range(workload.services)]
    return sim.Scenario.model_validate(
        {
            "services": {name: _service(workload, following) for name, following in zip(names, [*names[1:], None], strict=True)},
            "links": {"default": workload.network_s},
            "calls": {"default": {"balancing": "random"}} | _policies(workload, names),
            "load": {"rate": workload.rate_rps, "mix": f"{names[0]}.serve"},
            "run": {"duration": requests / workload.rate_rps},
        }
    )


def _service(workload: Workload, following: str | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"work": {"exponential": workload.work_s}}]
    if following is not None:
        steps.append({"call": f"{following}.serve"})
    return {"replicas": workload.replicas, "workers": workload.workers, "operations": {"serve": steps}}


def _policies(workload: Workload, names: list[str]) -> dict[str, Any]:
    backoff = {"base": workload.backoff_base_s, "max": workload.backoff_cap_s, "jitter": "full"}
    return {
        name: {
            "per_try_timeout": timeout_s,
            "retry": {"max_attempts": workload.max_attempts, "backoff": backoff},
            "circuit_breaker": {"consecutive_failures": workload.breaker_failures, "open_duration": workload.breaker_open_s},
        }
        for name, timeout_s in zip(names, workload.timeouts_s, strict=False)
    }


def prepare(workload: Workload, requests: int, seed: int) -> Callable[[], Callable[[], Observed]]:
    """Check the scenario; building its world is part of the run."""
    checked = scenario(workload, requests)
    run, clocks = sim.run, list[Any]()  # named here, because its modules are imported when it is first asked for

    def clock(world: sim.World) -> Generator[Any, Any, None]:
        clocks.append(world.env)
        return
        yield

    def simulate() -> Callable[[], Observed]:
        result = run(checked, seed, processes=[clock])
        return lambda: observed(result, clocks[0])

    return simulate


def observed(result: sim.RunResult, env: Any) -> Observed:
    """Read the tables: latencies of the requests that were answered, attempts, and those of them that timed out."""
    answered = result.requests[result.requests.outcome == "ok"]
    counter = getattr(env, "_eid", None)
    return Observed(
        (answered.ended_s - answered.arrived_s).tolist(),
        attempts=int(result.requests.attempts.sum()),
        timeouts=int((result.attempts.outcome == "timeout").sum()),
        events=next(counter) if counter is not None else None,
    )


if __name__ == "__main__":
    compete(prepare)
