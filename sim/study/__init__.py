"""Experiments: many runs of one scenario or of rival candidates, in parallel, repeatable, stored with their circumstances."""

from sim.study.experiment import compare, load_results, replicate
from sim.study.explain import Explanation, SingleRequest, explain, single_request
from sim.study.lock import only_writer
from sim.study.results import ONLY_CONDITION, Results
from sim.study.store import default_directory
from sim.study.sweeping import Standing, Sweep, load_sweep, sweep

__all__ = [
    "ONLY_CONDITION",
    "Explanation",
    "Results",
    "SingleRequest",
    "Standing",
    "Sweep",
    "compare",
    "default_directory",
    "explain",
    "load_results",
    "load_sweep",
    "only_writer",
    "replicate",
    "single_request",
    "sweep",
]
