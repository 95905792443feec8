"""The one exception that a user is meant to read: what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence


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
