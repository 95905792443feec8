"""Experiments: many runs of one scenario or of rival candidates, in parallel, repeatable, stored with their circumstances."""

from sim.study.experiment import compare, load_results, replicate
from sim.study.explain import Explanation, SingleRequest, explain, single_request
from sim.study.lock import only_writer
from sim.study.optimising import Optimised, optimise
from sim.study.results import ONLY_CONDITION, Results
from sim.study.searching import Search, search
from sim.study.selecting import Selected, select
from sim.study.sensing import Sensitivity, sensitivity
from sim.study.settling import find_warmup
from sim.study.store import default_directory
from sim.study.sweeping import Standing, sweep
from sim.study.swept import Sweep, load_sweep
from sim.study.together import Together, together

__all__ = [
    "ONLY_CONDITION",
    "Explanation",
    "Optimised",
    "Results",
    "Search",
    "Selected",
    "Sensitivity",
    "SingleRequest",
    "Standing",
    "Sweep",
    "Together",
    "compare",
    "default_directory",
    "explain",
    "find_warmup",
    "load_results",
    "load_sweep",
    "only_writer",
    "optimise",
    "replicate",
    "search",
    "select",
    "sensitivity",
    "single_request",
    "sweep",
    "together",
]
