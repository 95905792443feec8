"""One logical call on its way through the layers of a guarded caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cython

    from sim.policies.budget_gates import Account
    from sim.runtime.batches import Batch
    from sim.runtime.context import Context
    from sim.runtime.ties import Tie


class Journey:
    """What the layers of one call tell each other: whose it is, how long it may take, how its last attempt went."""

    __slots__ = (
        "account", "batch", "context", "cut_off", "due_s", "key", "numbers", "pause_s", "pauses", "refused_here", "retry_after_s",
        "stands_in", "tie", "told", "tried", "unchanged",
    )  # fmt: skip

    def __init__(self, context: Context, key: cython.ulonglong, due_s: float) -> None:
        self.account: Account | None = None  # with the budget of retries and hedges, where there is one
        self.context = context  # of the thread that waits for it
        self.key = key  # names its random draws
        self.due_s = due_s  # clock time by which it must have ended
        # Of its latest attempt, and of the latest try that a throttle looked at; shared with its branches.
        self.numbers = [0, 0]
        self.pause_s = 0.0  # the last pause before a retry
        self.pauses = 1  # number of the next pause
        self.cut_off = False  # whether the last attempt had only until `due_s`: then no other follows when it times out
        self.refused_here = False  # whether the last try was refused by a limit of the caller itself, and never sent
        self.retry_after_s = -1.0  # what the server of the last try asked for; negative if nothing
        self.stands_in = False  # whether it is the fallback of another call
        self.told = False  # whether the budget has heard of the last try's failure
        self.tie: Tie | None = None  # of its attempts, where they are tied
        self.tried: list[int] = []  # endpoints that have been tried
        self.batch: Batch | None = None  # the calls that go together as this one
        self.unchanged = False  # whether what its cache holds is still good, which the target has to say

    def branch(self, context: Context) -> Journey:
        """The same call in a thread beside, for a hedged attempt."""
        other = Journey(context, self.key, self.due_s)
        other.numbers = self.numbers
        other.tried = self.tried
        other.tie = self.tie
        other.unchanged = self.unchanged
        other.batch = self.batch
        return other

    def next_look(self) -> cython.long:
        """Number of a try that a throttle looks at, from 1, whether or not it lets it through."""
        numbers = self.numbers
        numbers[1] += 1
        number: cython.long = numbers[1]
        return number

    def next_number(self) -> cython.long:
        """Number of a new attempt, from 1."""
        numbers = self.numbers
        numbers[0] += 1
        number: cython.long = numbers[0]
        return number
