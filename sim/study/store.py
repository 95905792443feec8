"""Results on disk: a directory that is complete or absent, never half-written.

::

    results/NAME/
        manifest.json                  scenarios, seeds, versions, what is there
        metrics.csv                    one value per replication and metric
        summary.csv  differences.csv   what `sim.analysis` makes of them
        rows/requests-00000.parquet …  the rows of every run, zstd, with candidate, condition and replication
    results/NAME.previous/             what was there before: an undo
    results/.NAME.writing-…, .NAME.lock    only while a study writes there
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sim.analysis.curves import RUN
from sim.errors import ScenarioError
from sim.records import FATES, OUTCOMES, STATES
from sim.study.lock import only_writer, resolved, unwritable

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_ROWS: Final = "rows"
_LABELS: Final = dict.fromkeys(("candidate", "condition", "metric", "of", "value"), str)
_NAMED: Final = frozenset(
    {
        "candidate", "condition", "entry", "caller", "target", "effect", "queue", "name", "outcome", "fate", "state", "from_zone",
        "to_zone",
    }
)  # fmt: skip
_FIXED: Final[Mapping[str, tuple[str, ...]]] = {"outcome": OUTCOMES, "fate": FATES, "state": STATES}


def default_directory(name: str, root: str | Path = "results") -> Path:
    """Where the results of a study go when nobody says: results/NAME, with what a file system dislikes as dashes.

    >>> default_directory("sync or async?").as_posix()
    'results/sync-or-async'
    """
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return Path(root) / (plain or "study")


class Writer:
    """A results directory in the making: a hidden sibling that takes the real name only in `finish`.

    Until `finish` has succeeded, or `discard` was called, nobody else can write there. `run_id` is another one each time: it
    tells these results from later ones in the same place.

    Raises:
        ScenarioError: the directory cannot be written, somebody else writes there, or the name is taken by something that
            is not results.
    """

    def __init__(self, target: str | Path) -> None:
        self.target = resolved(target)
        self.previous = self.target.with_name(f"{self.target.name}.previous")
        self.run_id = uuid.uuid4().hex[:12]
        self._temporary = self.target.with_name(f".{self.target.name}.writing-{self.run_id}")
        for path in (self.target, self.previous):
            _require_results_or_nothing(path)
        with ExitStack() as alone:
            if alone.enter_context(only_writer(self.target)):
                _remove_leftovers(self.target)
            try:
                self.rows.mkdir(parents=True)
            except OSError as exc:
                raise unwritable(self.target, exc) from exc
            self._alone = alone.pop_all()
        #: Whether the results have taken their name.
        self.finished = False

    @property
    def rows(self) -> Path:
        """Where workers write the rows of their runs."""
        return self._temporary / _ROWS

    def finish(self, manifest: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], *, parquet: Collection[str] = ()) -> Path:
        """Write the small files, then take the real name; what had it becomes NAME.previous.

        Tables become CSV files; those named in `parquet` are also written as that.

        Raises:
            ScenarioError: the disk is full or the directory cannot be written; what was there before is untouched.
        """
        try:
            for leftover in self.rows.glob("*.part"):  # of a worker that was stopped
                leftover.unlink()
            for name, table in tables.items():
                table.to_csv(self._temporary / f"{name}.csv", index=False)
                if name in parquet:
                    table.to_parquet(self._temporary / f"{name}.parquet", index=False)
            if self.rows.is_dir() and not any(self.rows.iterdir()):
                self.rows.rmdir()
            text = json.dumps({**manifest, "run_id": self.run_id}, indent=2, ensure_ascii=False)
            (self._temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")
            self._take_the_name()
        except OSError as exc:
            raise unwritable(self.target, exc) from exc
        self.finished = True
        self._alone.close()
        return self.target

    def _take_the_name(self) -> None:
        if self.target.exists():
            shutil.rmtree(self.previous, ignore_errors=True)
            self.target.rename(self.previous)
        try:
            self._temporary.rename(self.target)
        except BaseException:  # an interrupt at the worst moment, too
            if self.previous.exists() and not self.target.exists():
                self.previous.rename(self.target)
            raise

    def discard(self) -> None:
        """Leave no trace; after `finish` there is nothing left to discard."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._alone.close()


def _require_results_or_nothing(path: Path) -> None:
    # A directory of results is replaced as a whole, so it must not be anybody's home or project.
    if not path.exists() or (path / MANIFEST).is_file():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    kind = "a directory that holds something else than results" if path.is_dir() else "a file"
    raise ScenarioError(f"{path}: is {kind}, and would be replaced; choose another directory for the results")


def _remove_leftovers(target: Path) -> None:
    """Remove what killed studies left behind; only for who holds the lock, so that nobody is still at work there."""
    name = re.compile(rf"\.{re.escape(target.name)}\.writing-[\w-]+")
    for path in target.parent.iterdir():
        if name.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def write_rows(directory: Path, index: int, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the rows of one run as Parquet, each file under its final name only when it is complete.

    Raises:
        ScenarioError: the disk is full or the directory is gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, table in tables.items():
        final = _rows_file(directory, name, index)
        part = final.with_suffix(f".{os.getpid()}.part")
        try:
            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), part, compression="zstd")
            part.replace(final)
        except OSError as exc:
            raise unwritable(final, exc) from exc


def read_rows(directory: Path, index: int, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the rows of one run and table, as the run gave them.

    Raises:
        ScenarioError: the file is not there or not readable.
    """
    path = _rows_file(directory / _ROWS, name, index)
    try:
        rows = pd.read_parquet(path, columns=columns)
        return rows.drop(columns=[label for label in RUN if label in rows and label not in (columns or ())])
    except (OSError, ValueError) as exc:
        raise ScenarioError(f"{path}: cannot be read ({exc}); run the study again") from exc


def _rows_file(directory: Path, name: str, index: int) -> Path:
    return directory / f"{name}-{index:05d}.parquet"


def label_rows(table: pd.DataFrame, candidate: str, condition: str, replication: int) -> pd.DataFrame:
    """The rows of one run with candidate, condition and replication in front."""
    labelled = table.copy(deep=False)
    for name, value in (("candidate", candidate), ("condition", condition)):
        labelled[name] = pd.Categorical.from_codes([0] * len(table), categories=pd.Index([value], dtype=object))
    labelled["replication"] = replication
    return labelled[[*RUN, *table.columns]]


def stack_rows(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Put the rows of runs under each other; columns of names share one sorted list of names."""
    if not tables:
        return pd.DataFrame(columns=RUN)
    # By name, not by type: Parquet forgets that a column without a single value was one of names.
    for name in [column for column in tables[0].columns if column in _NAMED]:
        kinds = _FIXED.get(name) or _names_in([table[name] for table in tables], keep_order=name in RUN)
        dtype = pd.CategoricalDtype(pd.Index(kinds, dtype=object))
        tables = [table.assign(**{name: table[name].astype(dtype)}) for table in tables]
    return pd.concat(tables, ignore_index=True)


def _names_in(columns: list[pd.Series[Any]], keep_order: bool) -> list[str]:
    found = dict.fromkeys(str(name) for column in columns for name in column.dropna().unique())
    return list(found) if keep_order else sorted(found)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read what a results directory says about itself.

    Raises:
        ScenarioError: it is no results directory, or one from a newer version.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] <= FORMAT
    except FileNotFoundError as exc:
        cure = "name a directory such as results/NAME"
        raise ScenarioError(f"{directory}: holds no results ({MANIFEST} is missing); {cure}") from exc
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise ScenarioError(f"{path}: cannot be read as results ({exc}); run the study again") from exc
    if not known:
        raise ScenarioError(f"{path}: has format {manifest['format']}, this version reads up to {FORMAT}; update sim")
    return dict(manifest)


def stamp(directory: Path) -> tuple[int, int, int] | None:
    """What changes when other results take the place of these: cheaper to ask than `require_run`. None: there are none."""
    try:
        found = (directory / MANIFEST).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def require_run(directory: Path, run_id: str) -> None:
    """Make sure that a directory still holds the results of one certain study, and not those of a later one.

    Raises:
        ScenarioError: it does not; the message says where they are now.
    """
    if _run_id(directory) == run_id:
        return
    previous = directory.with_name(f"{directory.name}.previous")
    if _run_id(previous) == run_id:
        raise ScenarioError(f"{directory}: a later study has been written there; load these results from {previous}")
    raise ScenarioError(
        f"{directory}: these results were replaced or removed meanwhile; run the study again, into a directory of its own"
    )


def _run_id(directory: Path) -> str | None:
    try:
        return str(read_manifest(directory).get("run_id", ""))  # results of an earlier version have none
    except ScenarioError:
        return None


def read_metrics(directory: Path) -> pd.DataFrame:
    """Read the numbers of all replications, exactly as they were.

    Raises:
        ScenarioError: the file is not there or not readable.
    """
    path = directory / "metrics.csv"
    try:
        # A candidate may be called "NA" or "1": names are text, and only an empty value is a missing one.
        table = pd.read_csv(path, dtype=_LABELS, keep_default_na=False)
        values = [float(text) if text else math.nan for text in table["value"]]
        return table.assign(value=values)
    except (OSError, ValueError, KeyError) as exc:
        raise ScenarioError(f"{path}: cannot be read ({exc}); run the study again") from exc
