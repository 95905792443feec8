"""Experiments: many runs of one scenario or of rival candidates, in parallel, repeatable, stored with their circumstances."""

from sim.study.experiment import compare, load_results, replicate
from sim.study.explain import Explanation, SingleRequest, explain, single_request
from sim.study.lock import only_writer
from sim.study.results import ONLY_CONDITION, Results
from sim.study.searching import Search, search
from sim.study.selecting import Selected, select
from sim.study.settling import find_warmup
from sim.study.store import default_directory
from sim.study.sweeping import Standing, sweep
from sim.study.swept import Sweep, load_sweep

__all__ = [
    "ONLY_CONDITION",
    "Explanation",
    "Results",
    "Search",
    "Selected",
    "SingleRequest",
    "Standing",
    "Sweep",
    "compare",
    "default_directory",
    "explain",
    "find_warmup",
    "load_results",
    "load_sweep",
    "only_writer",
    "replicate",
    "search",
    "select",
    "single_request",
    "sweep",
]
