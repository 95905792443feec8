"""Finished runs, kept under what they are runs of: whoever asks for the same again gets them without simulating.

::

    results/.runs/
        runs.sqlite                    the numbers of every run
        rows/KEY/requests.parquet …    rows, where they were asked for

A key is made of the scenario (`Scenario.digest`), the seed, the version of the simulator and the percentiles that are measured.
So it does not matter which sweep asked, for how many points, or in which order.

Why SQLite: it is in Python's standard library, one transaction is all or nothing also when its process is killed, several
processes may write at once (each waits for its turn), and a run's numbers are some hundred bytes: a Parquet file for each would
be ten times its content and as many files as runs. Rows are large and are read as a whole, so they are Parquet, one directory
per run, there before the numbers are.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sim.analysis.metrics import Floats
from sim.analysis.objectives import percentiles_of
from sim.compiled import stale
from sim.errors import ScenarioError
from sim.scenario.model import Scenario
from sim.scenario.words import nearest
from sim.study.lock import resolved, unwritable

FILE: Final = "runs.sqlite"
_FORMAT: Final = 1
_ROWS: Final = "rows"
#: How long a writer waits for the others, in seconds.
_PATIENCE_S: Final = 60.0
#: How often it asks again where SQLite does not wait by itself.
_ASK_EVERY_S: Final = 0.01
#: What every Parquet file begins and ends with.
_MAGIC: Final = b"PAR1"
#: So many rows are read at once where all of them need not fit into memory.
_ROWS_AT_ONCE: Final = 100_000
_ASKED_AT_ONCE: Final = 500
#: What of the package no number depends on.
_NO_INFLUENCE: Final = ("cli", "plots", "interop", "study", "report", "validation", "explorer.py", "cards.py")
_MEASURES: Final = "measure.py"

_TABLES: Final = """
create table if not exists layouts (id integer primary key, names text not null unique);
create table if not exists runs (
    key text primary key, scenario text not null, seed integer not null, version text not null,
    layout integer not null, numbers blob not null, kept text not null, elapsed_s real not null
) without rowid;
"""

#: What the numbers of a run are: (metric, of).
Names = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Numbers:
    """The metrics of one run: `values[i]` is what `names[i]` says."""

    names: Names
    values: Floats
    elapsed_s: float

    @staticmethod
    def of(metrics: pd.DataFrame, elapsed_s: float) -> Numbers:
        """The numbers of a table with the columns metric, of and value."""
        names = tuple(zip(map(str, metrics["metric"]), map(str, metrics["of"]), strict=True))
        return Numbers(names, metrics["value"].to_numpy(dtype=np.float64), elapsed_s)


def identity_of(scenario: Scenario, version: str) -> str:
    """What all runs of a scenario have in common; its name, question and focus do not matter."""
    parts = [scenario.digest, version, sorted(percentiles_of(scenario.slos))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def key_of(identity: str, seed: int) -> str:
    """What a run is kept under."""
    return f"{identity}-{seed}"


@functools.cache
def code_version(*, whole: bool = False) -> str:
    """The version of the simulator: its number, and a digest of the source that a run's numbers depend on.

    A development checkout has one number for months. Charts, commands and studies count only for the `whole`.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix not in (".py", ".pyx", ".pxd", ".pxi"):
            continue
        place = path.relative_to(root)
        if not whole and place.parts[0] in _NO_INFLUENCE and place.name != _MEASURES:
            continue
        digest.update(place.as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(",".join(stale()).encode())  # what is compiled from older source than this
    return f"{metadata.version('sim')}+{digest.hexdigest()[:12]}"


class Archive:
    """The finished runs in a directory; it is made when the first run comes.

    Raises:
        ScenarioError: the directory cannot be written, or holds something else, or others keep it locked for a minute.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = resolved(directory)
        self._layouts: dict[Names, int] = {}
        self._names: dict[int, Names] = {}
        with self._explained():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.directory / FILE, timeout=_PATIENCE_S, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def _open(self) -> None:
        self._require_ours()
        # A commit is then one write to the log without waiting for the disk: nothing is lost when a process is killed,
        # and after a power failure the last runs may be missing, but none is broken.
        self._write_ahead()
        self._base.execute("pragma synchronous = normal")
        self._base.execute("begin immediate")
        for statement in _TABLES.split(";"):
            self._base.execute(statement)
        self._base.execute(f"pragma user_version = {_FORMAT}")
        self._base.execute("commit")

    def _require_ours(self) -> None:
        """Refuse what another program has written, and what another version keeps in other tables."""
        # The tables first: who makes them writes the version at the same moment.
        (tables,) = self._base.execute("select count(*) from sqlite_master").fetchone()
        (found,) = self._base.execute("pragma user_version").fetchone()
        if found == _FORMAT or not (found or tables):
            return
        whose = "a newer version of sim; update it" if found > _FORMAT else "an older version of sim or another program"
        raise ScenarioError(f"{self.directory / FILE}: was written by {whose}, or choose another place with --archive")

    def _write_ahead(self) -> None:
        """Let the file have a log.

        This begins with reading and goes on with writing, where SQLite waits for nobody, as two who do so would wait for each
        other; so with several that open a new archive at once all but one are sent away, and have to ask again.
        """
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._base.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as exc:
                if not _is_busy(exc) or time.monotonic() > end_s:
                    raise
            time.sleep(_ASK_EVERY_S)

    def close(self) -> None:
        """Leave the archive to others."""
        with suppress(sqlite3.Error):
            self._base.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as exc:
            raise ScenarioError(f"{self.directory / FILE}: {_told(exc)}") from exc
        except OSError as exc:
            raise unwritable(self.directory, exc) from exc

    def found(self, keys: Sequence[str], rows: Iterable[str] = ()) -> dict[str, Numbers]:
        """The runs that are there, with all tables of rows that are asked for, none of which is damaged.

        Raises:
            ScenarioError: the file cannot be read.
        """
        wanted = set(rows)
        found: dict[str, Numbers] = {}
        with self._explained():
            for start in range(0, len(keys), _ASKED_AT_ONCE):
                some = list(keys[start : start + _ASKED_AT_ONCE])
                marks = ",".join("?" * len(some))
                query = f"select key, layout, numbers, kept, elapsed_s from runs where key in ({marks})"
                for key, layout, numbers, kept, elapsed_s in self._base.execute(query, some):
                    if wanted <= set(json.loads(kept)) and all(
                        is_whole(rows_file(self.directory, key, table)) for table in wanted
                    ):
                        values = np.frombuffer(numbers, dtype="<f8").astype(np.float64)
                        found[key] = Numbers(self._names_of(layout), values, elapsed_s)
        return found

    def keep(self, key: str, scenario: Scenario, seed: int, version: str, numbers: Numbers, rows: Sequence[str] = ()) -> None:
        """Keep a finished run; when this returns, it is safe.

        Raises:
            ScenarioError: the disk is full, or the file cannot be written.
        """
        with self._explained():
            layout = self._layout_of(numbers.names)
            values = numbers.values.astype("<f8").tobytes()
            run = (key, scenario.hash, seed, version, layout, values, json.dumps(list(rows)), numbers.elapsed_s)
            self._base.execute("insert or replace into runs values (?, ?, ?, ?, ?, ?, ?, ?)", run)

    def _layout_of(self, names: Names) -> int:
        if names not in self._layouts:
            text = json.dumps(names)
            self._base.execute("insert or ignore into layouts (names) values (?)", (text,))
            (self._layouts[names],) = self._base.execute("select id from layouts where names = ?", (text,)).fetchone()
        return self._layouts[names]

    def _names_of(self, layout: int) -> Names:
        if layout not in self._names:
            (text,) = self._base.execute("select names from layouts where id = ?", (layout,)).fetchone()
            self._names[layout] = tuple((metric, of) for metric, of in json.loads(text))
        return self._names[layout]


def _is_busy(exc: sqlite3.Error) -> bool:
    return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _told(exc: sqlite3.DatabaseError) -> str:
    """What SQLite complains of, and what helps."""
    kept = "finished runs are kept, and the same command goes on"
    match getattr(exc, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has kept it locked for {_PATIENCE_S:g} s ({exc}); wait until that has ended: {kept}"
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            cure = "free some space, or raise a quota or the limit of file sizes (ulimit -f)"
            return f"cannot be written ({exc}); {cure}, then {kept}; or choose another place with --archive"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"cannot be written ({exc}); choose another place with --archive"
    return f"is damaged ({exc}); move it away: its runs are then simulated again; or choose another place with --archive"


def rows_file(directory: Path, key: str, table: str) -> Path:
    """Where an archive's directory has the rows of a run's table, if they were kept."""
    return directory / _ROWS / key / f"{table}.parquet"


def is_whole(file: Path) -> bool:
    """Whether a Parquet file is there from its first bytes to its last; what lies between is seen when it is read."""
    try:
        with file.open("rb") as content:
            begins = content.read(len(_MAGIC))
            content.seek(-len(_MAGIC), os.SEEK_END)
            return begins == _MAGIC == content.read()
    except OSError:
        return False


def damaged(directory: Path, keys: Iterable[str], rows: Iterable[str]) -> set[str]:
    """Keys of runs with rows that are there, but not as they were written."""
    files = {(key, table): rows_file(directory, key, table) for key in keys for table in rows}
    return {key for (key, _), file in files.items() if file.exists() and not is_whole(file)}


def write_rows(directory: Path, key: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the rows of a run into an archive's directory, each file under its name only when it is complete.

    Raises:
        ScenarioError: the disk is full or the directory cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = directory / _ROWS / key
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            part = place / f"{name}.{os.getpid()}.part"
            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), part, compression="zstd")
            part.replace(place / f"{name}.parquet")
    except OSError as exc:
        raise unwritable(place, exc) from exc


def pieces_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """The rows of a file that `write_rows` wrote, some at a time.

    Raises:
        ScenarioError: the file is damaged, or has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            known = source.schema_arrow.names
            wanted = known if columns is None else list(columns)
            for name in wanted:
                if name not in known:
                    raise ScenarioError(f"{file}: has no column {name!r}; {nearest(name, known)}")
            if not source.metadata.num_rows:
                yield source.schema_arrow.empty_table().select(wanted).to_pandas()
            for batch in source.iter_batches(_ROWS_AT_ONCE, columns=wanted):
                yield batch.to_pandas()
    except (OSError, pa.ArrowException) as exc:
        first = str(exc).splitlines()[0]
        cure = "remove it and run the same sweep again: of the finished runs only this one is then simulated again"
        raise ScenarioError(f"{file}: is damaged ({first}); {cure}") from exc
