"""All cases, and the table that running them makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from sim.errors import ScenarioError
from sim.study.execute import run_tasks
from sim.study.tasks import Finished, Task
from sim.validation import disciplines, guards, messages, networks, outages, queues, real, retries
from sim.validation.case import Case
from sim.validation.judging import judge

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the table.
COLUMNS: Final = (
    "id", "case", "group", "source", "what", "expected", "tolerance", "simulated", "half_width", "seeds", "verdict",
)  # fmt: skip
#: What is tested in tests/theory and has no row here, for it compares more than numbers of runs.
ALSO_TESTED: Final = {
    "sample paths": "every single request against Lindley's, Kiefer and Wolfowitz's and other recursions, to a nanosecond",
    "connections": "connections dealt to replicas against balls in bins, and the queue that each replica then is",
    "partitions": "partitioned logs as independent queues, batches with linger, hot keys, dead members",
    "zones": "zones as queues of their own, and zone-aware routing",
    "P1, M10": "round trips until the first byte, by arithmetic and on this machine's loopback",
    "P2": "sizes of payloads as encoders write them: tickers and user records byte for byte",
    "AV1": "the publisher's half: it needs only the broker",
}
_MODULES: Final = (queues, disciplines, networks, retries, guards, outages, messages, real)


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, in the order of the table."""
    return tuple(case for module in _MODULES for case in module.cases())


def chosen(words: Sequence[str]) -> list[Case]:
    """The cases whose id or group is among some words, or whose name begins with one; of no words all.

    Raises:
        ScenarioError: a word means no case.
    """
    found: list[Case] = []
    for word in words:
        meant = [case for case in all_cases() if _means(word.casefold(), case)]
        if not meant:
            ids = ", ".join(dict.fromkeys(case.id for case in all_cases()))
            groups = ", ".join(dict.fromkeys(case.group for case in all_cases()))
            raise ScenarioError(f"no case {word!r}; known are the groups {groups}; and {ids}")
        found += meant
    return [case for case in all_cases() if case in found] if words else list(all_cases())


def _means(word: str, case: Case) -> bool:
    return word in (case.id.casefold(), case.group.casefold()) or case.name.casefold().startswith(f"{word} ")


def validate(
    cases: Sequence[Case], workers: int | None = None, on_case: Callable[[int, int, str], None] | None = None
) -> pd.DataFrame:
    """Run cases on all cores and return a row for each number: expected, simulated, and the verdict.

    Args:
        cases: which ones; see `chosen`.
        workers: processes; absent: one per core.
        on_case: told after each case how many are done, of how many, and its name.

    Raises:
        KeyboardInterrupt: it was interrupted; nothing is kept.
    """
    import pandas as pd

    tasks = [Task(i, case.name, "", 0, 1, case.scenario) for i, case in enumerate(cases)]
    finished: dict[int, pd.DataFrame] = {}

    def keep(task: Task, done: Finished) -> None:
        finished[task.index] = done.metrics
        if on_case is not None:
            on_case(len(finished), len(tasks), task.candidate)

    if not run_tasks(tasks, _judged, keep, workers):
        raise KeyboardInterrupt
    return pd.concat([finished[i] for i in sorted(finished)], ignore_index=True)


def _judged(task: Task) -> Finished:
    """Judge the case of a task; its name travels, for what reads a run cannot."""
    import pandas as pd

    began_s = time.perf_counter()
    case = next(case for case in all_cases() if case.name == task.candidate)
    return Finished(task.index, pd.DataFrame(_rows(case), columns=list(COLUMNS)), None, time.perf_counter() - began_s)


def _rows(case: Case) -> Iterator[tuple[object, ...]]:
    for found in judge(case):
        yield (
            case.id, case.title, case.group, case.source, found.what, found.expected, found.band, found.simulated,
            found.half_width, case.seeds, found.doubt or "reproduced",
        )  # fmt: skip
