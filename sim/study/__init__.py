"""Experiments: many runs of one scenario or of rival candidates, in parallel, repeatable, stored with their circumstances."""

from sim.study.experiment import compare, load_results, replicate
from sim.study.lock import only_writer
from sim.study.results import ONLY_CONDITION, Results
from sim.study.store import default_directory

__all__ = ["ONLY_CONDITION", "Results", "compare", "default_directory", "load_results", "only_writer", "replicate"]
