"""What the event loop calls when its time has come, with nothing of an event: no value, no list of callbacks, no failure."""

from __future__ import annotations

from typing import Any


class Entry:
    """An entry of the event loop's heap: `fire` is called once, when its time has come.

    On the compiled kernel that is one C call. SimPy's own loop takes it for an event: it reads the attributes below and calls the
    callback, which calls `fire`.
    """

    __slots__ = ("callbacks",)
    _ok = True
    _defused = True

    def __init__(self) -> None:
        self.callbacks: tuple[Any, ...] | None = None

    def fire(self) -> None:
        """Do what was due now."""
        raise NotImplementedError
