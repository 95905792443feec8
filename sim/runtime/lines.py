"""Workers with a line in which not the first in line is next: last come first served, priorities, deadlines, CoDel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.tasks import Pool, Ticket
from sim.policies.discipline import Discipline, discipline_queue

if TYPE_CHECKING:
    from sim.kernel.tasks import Tasks
    from sim.runtime.visit import Visit


class DisciplinedPool(Pool):
    """A pool whose line follows a discipline; whom the discipline drops leaves the line without a worker."""

    def __init__(self, tasks: Tasks, workers: float, capacity: float, discipline: Discipline) -> None:
        super().__init__(tasks, workers, capacity)
        self._queue = discipline_queue(discipline)

    def line_up(self, visit: Visit) -> Ticket | None:
        """A place in the line, to be waited for; None if the line is full."""
        if self.waiting >= self.capacity:
            return None
        ticket = Ticket(self._tasks)
        self.waiting += 1
        self._queue.append(ticket, self._tasks.now_s(), visit.priority, visit.due_s)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the line."""
        ticket.settled = True
        self.waiting -= 1
        self._queue.discard(ticket)

    def free(self) -> None:
        """Give a worker back: it goes to whom the discipline chooses."""
        while True:
            ticket, drop = self._queue.pop(self._tasks.now_s())
            if ticket is None:
                break
            if ticket.settled:
                continue
            if drop:
                ticket.settle(False)  # whoever waited leaves the line itself
                continue
            self.waiting -= 1
            ticket.granted = True
            ticket.settle(True)
            return
        self._change(-1)
