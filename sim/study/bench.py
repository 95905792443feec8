"""Runs at any point of some settings, each once: what searches, sensitivities and optimisations ask their questions of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.scenario.settings import Pair, Template
from sim.study.archive import Archive, Numbers, code_version, identity_of, key_of
from sim.study.execute import Workers, run_tasks
from sim.study.experiment import Simulate, Work
from sim.study.points import Settings, label_of
from sim.study.tasks import Finished, Task, plan

#: What is asked at once: scenarios by candidate and condition, and what the point is called.
Question = tuple[Mapping[Pair, Scenario], str]

AS_WRITTEN: Final = "as written"


class Bench:
    """Makes runs at any point of the settings, each once; with an archive, also those of earlier sessions count.

    Args:
        templates: the scenarios, by candidate and condition.
        archive: directory of finished runs; absent: they are remembered only here.
        workers: see `replicate`.
        seed: instead of `run.seed`.
        simulate: makes one run, instead of `sim.run`; nothing is kept then.
        on_progress: told after each run: how many of those that are asked for are done, how many they are, the last one.
    """

    def __init__(
        self,
        templates: Mapping[Pair, Template],
        archive: str | Path | None,
        workers: Workers,
        seed: int | None,
        simulate: Simulate | None,
        on_progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.templates = templates
        self.simulated = 0
        self._archive = None if archive is None or simulate is not None else Archive(archive)
        self._workers, self._seed, self._simulate, self._tell = workers, seed, simulate, on_progress
        self._known: dict[str, Numbers] = {}

    def close(self) -> None:
        """Leave the archive to others."""
        if self._archive is not None:
            self._archive.close()

    def scenarios(self, settings: Settings, candidate: str | None = None) -> dict[Pair, Scenario]:
        """The scenarios with these settings, of one candidate or all.

        Raises:
            ScenarioError: they are no valid scenarios.
        """
        try:
            mine = {pair: one for pair, one in self.templates.items() if candidate in (None, pair[0])}
            return {pair: template.changed(settings) for pair, template in mine.items()}
        except ScenarioError as error:
            raise ScenarioError([f"{label_of(settings) or AS_WRITTEN}: {message}" for message in error.messages]) from error

    def measured(self, scenarios: Mapping[Pair, Scenario], label: str, replications: int, first: int = 0) -> pd.DataFrame:
        """The metrics of so many replications: candidate, condition, replication, metric, of, value.

        Args:
            scenarios: what to run, by candidate and condition.
            label: what the point is called in progress and errors.
            replications: how often.
            first: the first replication: beyond those of other questions, its seeds are fresh.

        Raises:
            KeyboardInterrupt: the runs were not finished; those that were are kept.
        """
        return self.measured_all([(scenarios, label)], replications, first)[0]

    def measured_all(self, questions: Sequence[Question], replications: int, first: int = 0) -> list[pd.DataFrame]:
        """What `measured` gives for each question; all of them are run together, on all cores.

        Raises:
            KeyboardInterrupt: see `measured`.
        """
        asked = [self._tasks(scenarios, label, replications, first) for scenarios, label in questions]
        self._run([task for tasks in asked for task, _ in tasks])
        return [self._table(tasks) for tasks in asked]

    def _tasks(self, scenarios: Mapping[Pair, Scenario], label: str, replications: int, first: int) -> list[tuple[Task, Pair]]:
        version = code_version()
        cases = [(candidate, f"{condition}, {label}", one) for (candidate, condition), one in scenarios.items()]
        pairs = [pair for pair in scenarios for _ in range(first + replications)]
        identities = {pair: identity_of(one, version) for pair, one in scenarios.items()}
        tasks = plan(cases, first + replications, self._seed)
        return [
            (dataclasses.replace(task, key=key_of(identities[pair], task.seed)), pair)
            for task, pair in zip(tasks, pairs, strict=True)
            if task.replication >= first
        ]

    def _run(self, tasks: Sequence[Task]) -> None:
        """Simulate what is not known."""
        if self._archive is not None:
            self._known |= self._archive.found([task.key for task in tasks if task.key not in self._known])
        missing = list({task.key: task for task in tasks if task.key not in self._known}.values())
        version, before = code_version(), self.simulated

        def keep(task: Task, finished: Finished) -> None:
            numbers = Numbers.of(finished.metrics, finished.elapsed_s)
            if self._archive is not None:
                self._archive.keep(task.key, task.scenario, task.seed, version, numbers)
            self._known[task.key] = numbers
            self.simulated += 1
            if self._tell is not None:
                self._tell(self.simulated - before, len(missing), task.label)

        numbered = [dataclasses.replace(task, index=i) for i, task in enumerate(missing)]
        if not run_tasks(numbered, Work(self._simulate, (), None), keep, self._workers):
            raise KeyboardInterrupt

    def _table(self, tasks: Sequence[tuple[Task, Pair]]) -> pd.DataFrame:
        parts = []
        for task, (candidate, condition) in tasks:
            numbers = self._known[task.key]
            metric, of = zip(*numbers.names, strict=True)
            rows = pd.DataFrame({"metric": metric, "of": of, "value": numbers.values})
            parts.append(rows.assign(candidate=candidate, condition=condition, replication=task.replication))
        return pd.concat(parts, ignore_index=True)
