"""The caller whose calls have a protocol: it writes requests, waits for the whole of an answer, and reads it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Steps
from sim.records import GOOD, IN_FLIGHT, OK, REJECTED, TIMEOUT
from sim.runtime.connected import ConnectedCaller

if TYPE_CHECKING:
    from sim.runtime.caller import Caller
    from sim.runtime.connections import Pool, Seat
    from sim.runtime.context import Context
    from sim.runtime.journey import Journey
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.wire import Work
    from sim.runtime.world import World

_INF = math.inf


class WiredCaller(ConnectedCaller):
    """One caller process on one edge whose policy has a `protocol`."""

    def __init__(self, world: World, edge: Edge, process_key: int, process: int, callers: Callable[[Edge], Caller]) -> None:
        # A compiled class keeps what it has to itself.
        self._clock = world.tasks
        self._wire = world.wires[edge.names]
        self._per_try_s = edge.per_try_s
        group = world.services.get(edge.names[0]) or world.proxies.get(edge.names[0])
        self._replica = None if group is None else group.replicas[process]
        self._seats: Pool = world.pool(edge, process)
        ConnectedCaller.__init__(self, world, edge, process_key, process, callers)

    def _attempt(self, journey: Journey, place: int) -> Steps:
        """Write the request, send it on a connection, wait for the answer, read it: one row, without writing and reading."""
        if journey.due_s <= self._clock.now_s():
            return TIMEOUT  # nobody waits any more for what led here
        yield from self._spend(self._wire.encode, journey.context)
        outcome: int = TIMEOUT
        if journey.due_s > self._clock.now_s():
            outcome = yield from self._call_on_a_connection(journey)
        if outcome in GOOD:
            yield from self._spend(self._wire.decode, journey.context)
        return outcome

    def _spend(self, work: Work, context: Context) -> Steps:
        if self._wire.measured():
            self._wire.caller_cpu_s += work.seconds
        return work.spend(self._replica, context)

    def _call_on_a_connection(self, journey: Journey) -> Steps:
        seat = self._seats.seat(journey.context)
        if seat is None:
            journey.refused_here = True
            return REJECTED
        visit: Visit | None = None
        outcome: int = IN_FLIGHT
        set_up_s = 0.0
        try:
            began_s = self._clock.now_s()
            if not seat.settled:
                if journey.due_s < _INF:
                    seat.expire_after(journey.due_s - began_s)
                yield seat
            if seat.channel is None:
                outcome = self._without_a_place(journey, seat)
                return outcome
            journey.context.queue_s += seat.seated_s - began_s
            visit = self._new_attempt(journey, seat.seated_s)
            visit.connection = seat.channel
            self._number_attempt(journey, visit)
            if seat.value is TIMED_OUT or seat.value != OK:
                outcome = self._not_connected(journey, seat, visit)
                return outcome
            set_up_s = self._clock.now_s() - seat.seated_s
            outcome = yield from self._exchange(journey, seat, visit)
            return outcome
        finally:
            if visit is not None:
                visit.own_network_s += set_up_s
                visit.network_s += set_up_s
                self._wire.forget(visit)
                self._conclude(journey, visit, outcome)
            self._seats.leave(seat, outcome)

    def _exchange(self, journey: Journey, seat: Seat, visit: Visit) -> Steps:
        """Send a visit on its connection, and wait for the last byte of its answer."""
        sent_s = self._clock.now_s()
        seat.visit = visit
        assert seat.channel is not None
        self._let_go(journey, visit, seat.channel.endpoint, sent_s)
        answer = visit.value if visit.settled else (yield visit)
        if answer is TIMED_OUT:
            return TIMEOUT
        rest_s = self._wire.goes_back(visit, answer)
        left_s = min(journey.due_s, sent_s + self._per_try_s) - self._clock.now_s()
        waited_s = min(rest_s, max(0.0, left_s))
        if waited_s > 0:
            yield waited_s
            visit.own_network_s += waited_s
            visit.network_s += waited_s
        if waited_s < rest_s:
            return TIMEOUT
        journey.cut_off = False
        return answer
