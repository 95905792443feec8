"""Rows with versions: what optimistic concurrency reads and writes."""

from __future__ import annotations


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
