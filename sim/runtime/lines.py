"""Workers with a line in which not the first in line is next: last come first served, priorities, deadlines, CoDel."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Ticket
from sim.policies.discipline import Discipline, line_of

if TYPE_CHECKING:
    from sim.kernel.tasks import Tasks
    from sim.runtime.visit import Visit


class DisciplinedPool(Pool):
    """A pool whose line follows a discipline; whoever may not wait any longer leaves it without a worker."""

    __slots__ = ("_order",)

    def __init__(self, tasks: Tasks, workers: float, capacity: float, discipline: Discipline) -> None:
        super().__init__(tasks, workers, capacity)
        self._order = line_of(discipline)

    def line_up(self, visit: Visit) -> Ticket | None:
        """A place in the line, to be waited for; None if the line is full."""
        if self.waiting >= self.capacity:
            return None
        ticket = Ticket(self._tasks)
        self.waiting += 1
        longest_s = self._order.append(ticket, self._tasks.now_s(), visit.priority, visit.due_s)
        if longest_s < inf:
            ticket.expire_after(longest_s)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the line."""
        ticket.settled = True
        self.waiting -= 1
        self._order.discard(ticket)

    def free(self) -> None:
        """Give a worker back: it goes to whom the discipline chooses."""
        while len(self._order):
            ticket = self._order.pop(self._tasks.now_s())
            if not ticket.settled:  # else its time is over at this very moment
                self.waiting -= 1
                ticket.granted = True
                ticket.settle(True)
                return
        self._change(-1)
