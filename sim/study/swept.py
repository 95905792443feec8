"""What a sweep found, and where it is read from again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.metrics import PERCENTILES
from sim.analysis.sketched import Pool, good_latencies
from sim.analysis.sweeps import LABELS, summarise_points
from sim.errors import ScenarioError
from sim.records import REQUESTS
from sim.scenario.words import nearest
from sim.study import store
from sim.study.archive import pieces_of, rows_file
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
    #: From when to when requests of the run of each row of `points` count, in seconds of clock time.
    windows: tuple[tuple[float, float], ...] = ()

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

        All rows of many points may not fit into memory: choose, or ask `latencies`, which needs them one after the other.

        Args:
            table: one that was asked for with `rows=`; its columns are those of `sim.records`.
            columns: only these.
            chosen: only the runs with these labels: `point=3`, `candidate="one try"`, `replication=0`; for settings
                ``**{"load.rate": 50.0}``, as they stand in `points`.

        Raises:
            ScenarioError: rows were not kept, or are damaged, or there is no such table or label.
        """
        (name,) = known_tables((table,))
        labels = [*LABELS, *self.settings, "replication"]
        runs = self._chosen(chosen)
        found = []
        for place, run in zip(runs.index, runs[labels].to_dict("records"), strict=True):
            for rows in pieces_of(self._file(place, name), columns):
                for at, (setting, value) in enumerate(run.items()):
                    rows.insert(at, setting, value)
                found.append(rows)
        return store.stack_rows(found) if found else pd.DataFrame(columns=labels)

    def latencies(self, percentiles: Sequence[float] = PERCENTILES, *, by: Sequence[str] = (), **chosen: Any) -> pd.DataFrame:
        """Latencies of what was answered well at each point, all its replications together, from the kept rows of requests.

        Rows are read piece by piece and counted in a sketch, so ten million of them need no more memory than a few. Columns:
        point, candidate, condition, the settings, `by`, n, mean_s, the percentiles (within 1 %), max_s. The percentiles of
        `summary` are means of those of single replications; these are for any percentile, also one that is too rare for a
        single run.

        Args:
            percentiles: which, in percent.
            by: columns of requests that tell them apart, such as ``("entry",)``.
            chosen: only the runs with these labels, as in `rows`.

        Raises:
            ScenarioError: rows were not kept, or are damaged, or there is no such column or label.
        """
        known = [name for name, _ in REQUESTS.columns]
        for name in by:
            if name not in known:
                raise ScenarioError(f"latencies: requests have no column {name!r}; {nearest(name, known)}")
        if len(self.windows) < len(self.points):
            raise ScenarioError("latencies: this sweep was written by an earlier version; the same command writes it anew")
        columns = [*dict.fromkeys(("arrived_s", "ended_s", "outcome", *by))]
        labels, runs = [*LABELS, *self.settings], self._chosen(chosen)
        found: list[dict[Any, Any]] = []
        for _, mine in runs.groupby(list(LABELS), sort=False, observed=True):
            pools: dict[tuple[str, ...], Pool] = {} if by else {(): Pool()}
            for place in mine.index:
                start_s, end_s = self.windows[place]
                for piece in pieces_of(self._file(place, "requests"), columns):
                    for key, durations_s in good_latencies(piece, start_s=start_s, end_s=end_s, by=by):
                        pools.setdefault(key, Pool()).add(durations_s)
            (head,) = mine[labels].head(1).to_dict("records")
            for key in sorted(pools):
                found.append({**head, **dict(zip(by, key, strict=True)), **pools[key].numbers(percentiles)})
        return pd.DataFrame(found, columns=None if found else [*labels, *by])

    def _chosen(self, chosen: Mapping[str, Any]) -> pd.DataFrame:
        """The rows of `points` with some labels."""
        runs, labels = self.points, [*LABELS, *self.settings, "replication", "seed"]
        for label, wanted in chosen.items():
            if label not in labels:
                raise ScenarioError(f"rows: no label {label!r}; {nearest(label, labels)}")
            runs = runs[runs[label] == wanted]
        return runs

    def _file(self, place: int, table: str) -> Path:
        """Where the rows are of the run that is one row of `points`."""
        file = None if self.archive is None else rows_file(self.archive, self.keys[place], table)
        if file is None or not file.exists():
            raise ScenarioError(f"rows: those of {table!r} were not kept; sweep again with --rows {table} (rows=({table!r},))")
        return file

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
    windows = tuple((start_s, end_s) for start_s, end_s in manifest.get("windows", ()))
    return Sweep(name, question, swept, points, failures, planned, 0, manifest["units"], path, archive, keys, windows)


def _as_made(table: pd.DataFrame) -> pd.DataFrame:
    """Text as objects, which Parquet gives back as another type, depending on the version of pandas."""
    return table.astype({name: object for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])})
