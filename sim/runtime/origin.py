"""Where requests come from: a logical request from its origin to its one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.kernel.tasks import Steps
from sim.records import IN_FLIGHT
from sim.runtime.caller import Caller
from sim.runtime.context import Context, Request
from sim.streams import child, key

if TYPE_CHECKING:
    import cython

    from sim.runtime.visit import Edge
    from sim.runtime.world import World


class Origin:
    """The clients of one entry operation: processes outside of the system, each with a caller of its own."""

    def __init__(self, world: World, edge: Edge) -> None:
        self._world = world
        self._tasks = world.tasks
        self._recorder = world.recorder
        self._ledger = world.ledger
        self._edge = edge
        self._callers: dict[int, Caller] = {}

    def request(self, request_key: cython.ulonglong, client: cython.long) -> Steps:
        """Steps of one logical request of a client; they return its outcome."""
        request = Request(self._recorder.next_request(), self._tasks.now_s(), self._tasks.current)
        context = Context(request)
        context.key = request_key
        outcome: cython.int = IN_FLIGHT
        self._ledger.opened(request)
        try:
            outcome = yield from self._caller(client).call(context, request_key)
            return outcome
        finally:
            self._recorder.request(request, self._edge.target_code, context, outcome)
            self._ledger.closed(request)

    def _caller(self, client: cython.long) -> Caller:
        caller: Caller | None = self._callers.get(client)
        if caller is None:
            process_key = child(key(self._world.seed, "process", self._edge.names[0], client), self._edge.target_code)
            caller = self._callers[client] = Caller(self._world, self._edge, process_key)
        return caller
