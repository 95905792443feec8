"""What a sweep found, and where it is read from again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.sweeps import LABELS, summarise_points
from sim.errors import ScenarioError
from sim.scenario.words import nearest
from sim.study import store
from sim.study.archive import rows_file
from sim.study.experiment import known_tables
from sim.study.lock import resolved


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """What a sweep found.

    `points` has one row per point, candidate, condition and replication, in that order: point, candidate, condition, the
    settings (numbers in base units, or text), replication, seed, scenario (its hash), and a column per metric (`p99_s`, of an
    operation `p99_s [shop.buy]`). A run that failed or was not reached has no row.
    """

    name: str
    question: str
    settings: tuple[str, ...]
    points: pd.DataFrame
    #: Runs that could not be finished: point, candidate, condition, the settings, replication, seed, error.
    failures: pd.DataFrame
    #: How many runs were asked for.
    planned: int
    #: How many of them were simulated now; the others were finished before.
    simulated: int
    #: Of settings that are quantities: s, /s, B or B/s.
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    directory: Path | None = None
    archive: Path | None = None
    #: Under what the archive has the run of each row of `points`.
    keys: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether runs are missing that did not fail: after an interrupt."""
        return len(self.points) + len(self.failures) < self.planned

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means with 95 % intervals per point: point, candidate, condition, settings, metric, of, mean, low, high, n."""
        return summarise_points(self.points, self.settings)

    def rows(self, table: str = "requests", *, columns: Sequence[str] | None = None, **chosen: Any) -> pd.DataFrame:
        """The kept rows of one table, run by run, with point, candidate, condition, replication and the settings in front.

        All rows of many points may not fit into memory: choose.

        Args:
            table: one that was asked for with `rows=`; its columns are those of `sim.records`.
            columns: only these.
            chosen: only the runs with these labels: `point=3`, `candidate="one try"`, `replication=0`; for settings
                ``**{"load.rate": 50.0}``, as they stand in `points`.

        Raises:
            ScenarioError: rows were not kept, or there is no such table or label.
        """
        (name,) = known_tables((table,))
        runs = self.points
        labels = [*LABELS, *self.settings, "replication"]
        for label, wanted in chosen.items():
            if label not in (*labels, "seed"):
                raise ScenarioError(f"rows: no label {label!r}; {nearest(label, [*labels, 'seed'])}")
            runs = runs[runs[label] == wanted]
        found = []
        for place, run in zip(runs.index, runs[labels].to_dict("records"), strict=True):
            file = None if self.archive is None else rows_file(self.archive, self.keys[place], name)
            if file is None or not file.exists():
                raise ScenarioError(f"rows: those of {name!r} were not kept; sweep again with --rows {name} (rows=({name!r},))")
            rows = pd.read_parquet(file, columns=None if columns is None else list(columns))
            for at, (setting, value) in enumerate(run.items()):
                rows.insert(at, setting, value)
            found.append(rows)
        return store.stack_rows(found) if found else pd.DataFrame(columns=labels)

    def __repr__(self) -> str:
        swept = " × ".join(self.settings)
        failed = f", {len(self.failures)} failed" if len(self.failures) else ""
        missing = f", partial: {self.planned} were planned" if self.partial else ""
        where = self.directory if self.directory is not None else "in memory"
        return f"<Sweep {self.name}: {swept}, {len(self.points)} runs{failed}{missing}; {where}>"


def load_sweep(directory: str | Path) -> Sweep:
    """Read the directory of a sweep back.

    Raises:
        ScenarioError: it is none, or its files cannot be read.
    """
    path = resolved(directory)
    manifest = store.read_manifest(path)
    if manifest.get("kind") != "sweep":
        raise ScenarioError(f"{path}: is not a sweep; read it with sim.study.load_results")
    try:
        points, failures = (_as_made(pd.read_parquet(path / f"{name}.parquet")) for name in ("points", "failures"))
    except (OSError, ValueError) as exc:
        raise ScenarioError(f"{path}: cannot be read ({exc}); run the sweep again, finished runs are not lost") from exc
    name, question, swept = str(manifest["name"]), str(manifest["question"]), tuple(manifest["settings"])
    archive = None if manifest["archive"] is None else Path(manifest["archive"])
    planned, keys = int(manifest["planned_runs"]), tuple(manifest["keys"])
    return Sweep(name, question, swept, points, failures, planned, 0, manifest["units"], path, archive, keys)


def _as_made(table: pd.DataFrame) -> pd.DataFrame:
    """Text as objects, which Parquet gives back as another type, depending on the version of pandas."""
    return table.astype({name: object for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])})
