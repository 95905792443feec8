"""Memory for columns: zeroed, growing in place, and used page by page only where something was written."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

#: Private to the process, so that it counts and is inherited like any other memory; Windows has no such flags, nor needs them.
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Stretch:
    """One column of `dtype` with room for some numbers, all zero to begin with.

    ::

        written  |####|####|##  |    |    |  what is allocated ahead, or holds zeros only, needs no memory:
        in use    4 kB 4 kB 4 kB  0    0     the operating system gives out a page when it is first written to

    Where nothing is known of how many numbers will come, room may be large: it costs addresses. A column of which most is zero,
    as the pauses of requests that are hardly ever retried, costs what is not: so write nothing where zero is meant. MemoryError
    if the system has no more to give. Not for small or short-lived columns: the least is a page.

    >>> column = Stretch(np.dtype("f8"), 4)
    >>> column.array(4)[2] = 0.5
    >>> column.grow(6)
    >>> column.array(6).tolist()
    [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    """

    __slots__ = ("_dtype", "_memory")

    def __init__(self, dtype: np.dtype[Any], room: int) -> None:
        self._dtype = dtype
        self._memory = _mapped(room * dtype.itemsize)

    def array(self, count: int) -> np.ndarray[Any, Any]:
        """The first `count` numbers; it keeps the memory alive, and nothing can grow while it is there."""
        return np.frombuffer(self._memory, self._dtype, count)

    def grow(self, room: int) -> None:
        """Have room for so many numbers; BufferError while an array of it is alive, and what it then shows would be a lie."""
        size = room * self._dtype.itemsize
        try:
            self._memory.resize(size)
        except SystemError:  # a system that cannot move pages, as macOS: copy
            longer = _mapped(size)
            longer[: len(self._memory)] = self._memory
            self._memory = longer
        except OSError as exc:
            raise MemoryError(f"no room for {room:,} rows") from exc


def _mapped(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, **_PRIVATE)
    except OSError as exc:
        raise MemoryError(f"no room for {size:,} bytes") from exc
