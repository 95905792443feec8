"""What others have proved, published or measured, and whether the simulator comes to the same: ``sim validate``.

Each case is a scenario, what is read from its runs, and the numbers that must come out, with their source. The tests and the
command run the same ones. What needs more than that is tested beside them, in ``tests/theory``: see `ALSO_TESTED`.
"""

from sim.validation.case import Case, Expected
from sim.validation.judging import Finding, judge
from sim.validation.table import ALSO_TESTED, all_cases, chosen, validate

__all__ = ["ALSO_TESTED", "Case", "Expected", "Finding", "all_cases", "chosen", "judge", "validate"]
