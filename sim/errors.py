"""The one exception that a user is meant to read: what is wrong, where, and what would be right."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


class ScenarioError(Exception):
    """Bad input, explained: one or more messages, each with its place and its cure.

    The command line prints the messages and ends with exit code 2; nothing has been written by then.

    >>> str(ScenarioError(["shop.yaml:3: load.rate: 'fast' is not a rate; write for example 120/s"]))
    "shop.yaml:3: load.rate: 'fast' is not a rate; write for example 120/s"
    """

    def __init__(self, messages: str | Sequence[str]) -> None:
        self.messages: tuple[str, ...] = (messages,) if isinstance(messages, str) else tuple(messages)
        super().__init__("\n".join(self.messages))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[tuple[str, ...]]]:
        return ScenarioError, (self.messages,)


def optional(module: str, extra: str) -> Any:
    """A module that is installed only with an extra.

    Raises:
        ScenarioError: it is not there; how to get it.

    >>> optional("math", "all").floor(1.5)
    1
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        package = exc.name or module
        raise ScenarioError(f"this needs {package}, which is not installed; run: pip install 'sim[{extra}]'") from exc
