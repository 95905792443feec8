"""The caller whose calls have a protocol: it writes requests, waits for the whole of an answer, and reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import Reply, Steps
from sim.records import GOOD, TIMEOUT
from sim.runtime.connected import ConnectedCaller

if TYPE_CHECKING:
    import cython

    from sim.runtime.caller import Caller
    from sim.runtime.context import Context
    from sim.runtime.journey import Journey
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.wire import Work
    from sim.runtime.world import World


class WiredCaller(ConnectedCaller):
    """One caller process on one edge whose policy has a `protocol`."""

    def __init__(
        self, world: World, edge: Edge, process_key: cython.ulonglong, process: cython.long, callers: Callable[[Edge], Caller]
    ) -> None:
        self._wire = world.edges.wires[edge.names]
        group = world.services.get(edge.names[0]) or world.proxies.get(edge.names[0])
        self._replica = None if group is None else group.replicas[process]
        ConnectedCaller.__init__(self, world, edge, process_key, process, callers)

    def _attempt(self, journey: Journey, place: cython.long) -> Steps:
        """Write the request, send it on a connection, wait for the answer, read it: one row, without writing and reading."""
        wire = self._wire
        if journey.due_s <= self._tasks.now_s():
            return TIMEOUT  # nobody waits any more for what led here
        exchange = wire.exchange(journey.batch)
        if exchange.encode.seconds > 0:
            yield from self._spend(exchange.encode, journey.context)
        outcome: cython.int = yield from ConnectedCaller._attempt(self, journey, place)
        if outcome in GOOD and exchange.decode.seconds > 0 and not journey.unchanged:
            yield from self._spend(exchange.decode, journey.context)
        return outcome

    def _spend(self, work: Work, context: Context) -> Steps:
        if self._wire.measured():
            self._wire.caller_cpu_s += work.seconds
        return work.spend(self._replica, context)

    def _rest_s(self, visit: Visit, outcome: cython.int) -> float:
        """Seconds until the rest of an answer is there."""
        return self._wire.goes_back(visit, outcome)

    def _read_rest(self, visit: Visit, rest_s: float, left_s: float) -> Steps:
        """Steps that wait for the rest of an answer, `left_s` seconds at most; they return whether it came."""
        there, waited_s = rest_s <= left_s, min(rest_s, left_s)
        if waited_s <= 0:
            return there
        began_s = self._tasks.now_s()
        wait = self._wire.until_there(waited_s)
        yield wait
        if isinstance(wait, Reply):
            waited_s = self._tasks.now_s() - began_s
            there = there or waited_s < left_s  # before the time was over: what was lost came sooner
        visit.own_network_s += waited_s
        visit.network_s += waited_s
        return there
