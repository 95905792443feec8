"""Workers with a line in which not the first in line is next: last come first served, priorities, deadlines, CoDel."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Tally, Ticket
from sim.policies.discipline import Discipline, line_of

if TYPE_CHECKING:
    from sim.kernel.tasks import Tasks, Waiter
    from sim.runtime.visit import Visit


class DisciplinedPool(Pool):
    """A pool whose line follows a discipline; whoever may not wait any longer leaves it without a worker."""

    __slots__ = ("_order",)

    def __init__(self, tasks: Tasks, workers: float, capacity: float, tally: Tally, discipline: Discipline) -> None:
        Pool.__init__(self, tasks, workers, capacity, tally)
        self._order = line_of(discipline)

    def line_up(self, who: Waiter | None = None) -> Ticket | None:
        """A place in the line, for which a visit, or a health check, waits; None if the line is full."""
        if self.waiting >= self.capacity:
            return None
        ticket = Ticket(self._tasks)
        ticket.waiter = who
        self._queue(1)
        priority, due_s = 0, inf  # of a health check
        if who is not None:
            visit: Visit = who  # type: ignore[assignment]  # else only visits stand in such a line
            priority, due_s = visit.plan.priority, visit.due_s
        longest_s: float = self._order.append(ticket, self._tasks.now_s(), priority, due_s)
        if longest_s < inf:
            ticket.expire_after(longest_s)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the line."""
        ticket.settled = True
        ticket.waiter = None
        self._queue(-1)
        self._order.discard(ticket)

    def free(self) -> None:
        """Give a worker back: it goes to whom the discipline chooses."""
        while len(self._order):
            ticket: Ticket = self._order.pop(self._tasks.now_s())
            if not ticket.settled:  # else its time is over at this very moment
                self._queue(-1)
                ticket.granted = True
                ticket.settle(True)
                return
        self._change(-1)
