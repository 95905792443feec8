"""Rows with versions: what optimistic concurrency reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.records import ERROR, OK
from sim.runtime.steps import Runnable

if TYPE_CHECKING:
    from sim.runtime.context import Context
    from sim.runtime.replica import Replica


class Rows:
    """The rows of one service, which its replicas share: how often each was written, and what each open request has read."""

    __slots__ = ("_read", "_written")

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._read: dict[tuple[int, str], int] = {}

    def read(self, request: int, row: str) -> None:
        """A request reads a row."""
        self._read[request, row] = self._written.get(row, 0)

    def commit(self, request: int, row: str) -> bool:
        """A request writes a row; False, and nothing is written, if it read an older version, or none."""
        version = self._written.get(row, 0)
        if self._read.pop((request, row), -1) != version:
            return False
        self._written[row] = version + 1
        return True


class ReadVersionStep(Runnable):
    """Read a row; never fails."""

    __slots__ = ("_row",)

    def __init__(self, row: str) -> None:
        self._row = row

    def run(self, replica: Replica, context: Context) -> Steps:
        """Remember the row's version."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        replica.service.rows.read(context.request, self._row)
        return OK
        yield  # a generator that waits for nothing


class CommitStep(Runnable):
    """Write a row; fails if it was written meanwhile."""

    __slots__ = ("_row",)

    def __init__(self, row: str) -> None:
        self._row = row

    def run(self, replica: Replica, context: Context) -> Steps:
        """Write it, or find out that somebody else did."""
        return self._run(replica, context)

    def _run(self, replica: Replica, context: Context) -> Steps:
        return OK if replica.service.rows.commit(context.request, self._row) else ERROR
        yield
