"""A load that goes up and down again, without any fault: where each retry policy breaks, and where it comes back (a minute).

    python experiments/metastability/ramps.py

The backend and the policies are those of outage.yaml. The line is short here (two seconds of work; more are turned away), so that
what is seen on the way down is the trap, and not the time that a long line takes to be worked off.
"""

from pathlib import Path

import pandas as pd

import sim
from sim.analysis import trap_between, up_and_down
from sim.plots import hysteresis, small_multiples
from sim.plots.files import save
from sim.scenario.settings import template_of

HERE = Path(__file__).parent
#: Seconds and requests per second.
RAMP = [(0.0, 10.0), (180.0, 120.0), (360.0, 10.0)]
CHANGES = {
    "load": {"kind": "ramp", "points": [{"at": at, "rate": rate} for at, rate in RAMP], "mix": "backend.get"},
    "faults": [],
    "services.backend.queue": 200,
    "run.warmup": 0.0,
    "run.duration": RAMP[-1][0],
}


def ramped() -> sim.Comparison:
    """The study's policies under the ramp."""
    study = sim.load(HERE / "outage.yaml")
    assert isinstance(study, sim.Comparison)
    candidates = {
        name: {"ramp": template_of(conditions["base"]).changed(CHANGES)} for name, conditions in study.candidates.items()
    }
    return sim.Comparison(name="ramp", question="Up and down again: where does it break, where come back?", candidates=candidates)


def branches_of(replications: int = 5, workers: int | None = None) -> pd.DataFrame:
    """Means over replications of what is answered well on the way up and down, by candidate."""
    comparison = ramped()
    results = sim.compare(comparison, replications, workers, rows=("requests",))
    parts = []
    for name in comparison.candidates:
        for r in range(replications):
            rows = results.rows("requests", candidate=name, replication=r, columns=["arrived_s", "outcome"])
            parts.append(up_and_down(rows, RAMP).assign(candidate=name))
    keys = ["candidate", "branch", "load_rps"]
    return pd.concat(parts).groupby(keys, sort=False)["success"].mean().reset_index()


def traps_in(branches: pd.DataFrame) -> pd.DataFrame:
    """Between which loads each candidate may be good or caught."""
    rows = [(name, *trap_between(mine)) for name, mine in branches.groupby("candidate", sort=False)]
    return pd.DataFrame(rows, columns=["candidate", "comes back at (/s)", "breaks at (/s)"]).round(0)


if __name__ == "__main__":
    found = branches_of()
    print(traps_in(found).to_string(index=False))
    target = Path("results/ramp")
    target.mkdir(parents=True, exist_ok=True)
    figure = small_multiples(
        hysteresis, found, over="candidate", title="Up and down again: shaded, it depends on where it comes from"
    )
    print(save(figure, target / "hysteresis", ("png", "svg"))[0])
