"""Where requests come from: a logical request from its origin to its one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sim.kernel.tasks import Steps, Task
from sim.records import IN_FLIGHT
from sim.runtime.caller import Call, Caller
from sim.runtime.context import Context
from sim.streams import child, key

if TYPE_CHECKING:
    import cython

    from sim.runtime.visit import Edge
    from sim.runtime.world import World


class Request(Context):
    """A logical request at its origin; it is settled with its outcome."""

    __slots__ = ("_call", "_origin", "_task", "next_spare")

    def set_out(self, origin: Origin, caller: Caller) -> None:
        """Make the call of which it consists."""
        self._origin = origin
        self._call: Call | None = None  # the call for which it waits
        self._task: Task | None = None  # or the task that makes the call
        self.next_spare: Request | None = None
        if not caller.plain:
            self._task = self._tasks.start(self._steps(caller))
            return
        call = caller.begin(self, self.key)
        if call.settled:
            self.advance(call.outcome)
        else:
            self._call = call
            call.waiter = self

    def _steps(self, caller: Caller) -> Steps:
        self.advance((yield from caller.call(self, self.key)))

    def advance(self, value: Any) -> None:
        """The call is over, with an outcome."""
        call, waiter, origin = self._call, self.waiter, self._origin
        self._call = self._task = None
        origin.ended(self, value)
        if call is None or waiter is not None:
            self.settle_in_place(value)
            return
        # The usual end, with nobody who waits for it: the request and its call are used again.
        call.caller.over(call)
        origin.over(self)

    def kill(self) -> None:
        """The run is over, and it stays in flight."""
        if self.settled or not self.alive:
            return
        self.alive = False
        if self._call is not None:
            self._call.kill()
        elif self._task is not None:
            self._task.kill()
        self._origin.ended(self, IN_FLIGHT)


class Origin:
    """The clients of one entry operation: processes outside of the system, each with a caller of its own."""

    def __init__(self, world: World, edge: Edge, entry_code: int) -> None:
        self._world = world
        self._tasks = world.tasks
        self._recorder = world.recorder
        self._ledger = world.ledger
        self._edge = edge
        self._entry_code = entry_code
        self._callers: dict[int, Caller] = {}
        self._spare: Request | None = None  # a list, through `next_spare`, of requests that are over

    def issue(self, request_key: cython.ulonglong, client: cython.long) -> Request:
        """Let a client issue a logical request, from inside of a task.

        It is settled already, or will be, with its outcome, if somebody is its waiter by then; do not look at it later.
        """
        request = self._spare
        if request is None:
            request = Request.__new__(Request)
            request.open(self._tasks)
        else:
            self._spare = request.next_spare
            request.ask()
        request.begin(self._recorder.next_request(), self._tasks.now_s(), self._entry_code)
        request.key = request_key
        self._ledger.opened(request)
        request.set_out(self, self.caller(client))
        return request

    def over(self, request: Request) -> None:
        """A request that nobody will look at again is used again."""
        request.next_spare = self._spare
        self._spare = request

    def ended(self, request: Request, outcome: cython.int) -> None:
        """Write a request's row."""
        self._recorder.request(request, outcome)
        self._ledger.closed(request)

    def caller(self, client: cython.long) -> Caller:
        """A client's own caller."""
        caller: Caller | None = self._callers.get(client)
        if caller is None:
            process_key = child(key(self._world.seed, "process", self._edge.names[0], client), self._edge.target_code)
            caller = self._callers[client] = self._world.new_caller(self._edge, process_key, client, self._other(client))
        return caller

    def _other(self, client: cython.long) -> Callable[[Edge], Caller]:
        """How a client calls something else in the place of what it asked for."""
        return lambda edge: self._world.origins[edge.names[1]].caller(client)
