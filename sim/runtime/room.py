"""Room in a queue for those who publish to it: places of what is being written, and a line where a full queue blocks.

::

    publish → a place, if there is room → written → ready      no room, `overflow: block` → [line] → a place, or rejected in time
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Reply, Steps, Tasks
from sim.records import OK, REJECTED, UNREACHABLE

if TYPE_CHECKING:
    from sim.policies.backlog import BacklogGate


class Room:
    """Who is being written, and who waits for that, of one queue with `overflow: block`."""

    __slots__ = ("_gate", "_line", "_max_block_s", "_tasks", "_writing")

    def __init__(self, tasks: Tasks, gate: BacklogGate, max_block_s: float | None) -> None:
        self._tasks = tasks
        self._gate = gate
        self._max_block_s = max_block_s
        self._writing = 0
        self._line: deque[Reply] = deque()

    @property
    def writing(self) -> int:
        """Publishes that have a place and are not written yet."""
        return self._writing

    def take(self) -> Steps:
        """Steps until a publish has a place: OK; REJECTED, if it has waited long enough; UNREACHABLE, if the queue is gone."""
        if not self._line and self._gate.admits(self._writing):
            self._writing += 1
            return OK
        place = Reply(self._tasks)
        self._line.append(place)
        taken = False
        try:
            answer = (yield place) if self._max_block_s is None else (yield from place.within(self._max_block_s))
            taken = True
        finally:
            if not taken and place.settled and place.value == OK:
                self.free()  # it was let in, and its publisher went at the same moment
            place.settled = True  # who is gone is not let in
        return REJECTED if answer is TIMED_OUT else answer

    def free(self) -> None:
        """A publish is written, or has failed."""
        self._writing -= 1
        self.let_in()

    def let_in(self) -> None:
        """Whoever waits gets the room that there is, the first one first."""
        while self._line and self._gate.admits(self._writing):
            place = self._line.popleft()
            if not place.settled:
                self._writing += 1
                place.settle(OK)

    def close(self) -> None:
        """The queue is gone: nobody waits any more."""
        line, self._line = self._line, deque()
        for place in line:
            place.settle(UNREACHABLE)
