"""The caller whose calls go over connections: an attempt takes a place on one, and its replica is the connection's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.kernel.tasks import TIMED_OUT, Steps
from sim.records import IN_FLIGHT, OK, REJECTED, TIMEOUT, UNREACHABLE
from sim.runtime.context import OVER
from sim.runtime.guarded import GuardedCaller
from sim.streams import child, salt

if TYPE_CHECKING:
    import cython

    from sim.runtime.caller import Caller
    from sim.runtime.connections import Pool, Seat
    from sim.runtime.journey import Journey
    from sim.runtime.visit import Edge, Visit
    from sim.runtime.world import World

_INF = math.inf
_PICK = salt("caller", "pick")


class ConnectedCaller(GuardedCaller):
    """One caller process on one edge whose policy has `connections`; its process's other operations there share them."""

    def __init__(
        self, world: World, edge: Edge, process_key: cython.ulonglong, process: cython.long, callers: Callable[[Edge], Caller]
    ) -> None:
        self._pool: Pool | None = None
        GuardedCaller.__init__(self, world, edge, process_key, process, callers)
        self._pool = pool = world.edges.pool(edge, process)
        if pool.owner is None:
            pool.owner = self

    def forget(self) -> None:
        """The process was started anew: it has no connections."""
        GuardedCaller.forget(self)
        self._counts = False  # connections are counted, by the pool
        if self._pool is not None:
            self._pool.forget()

    def choose(self, key: cython.ulonglong, connections: list[int], now_s: float) -> int:
        """The endpoint of a new connection, which `key` names; negative if there is nobody to connect to."""
        known = self._known(now_s)
        if self._learns and known:
            known = self._balancer.look(now_s, key, known)
        assert self._choice is not None
        return self._choice.choose(known, connections, [], child(key, _PICK), now_s)

    def usable(self, now_s: float) -> list[int]:
        """The endpoints that a new connection might be made to."""
        assert self._choice is not None
        return self._choice.usable(self._known(now_s), now_s)

    def _attempt(self, journey: Journey, place: cython.long) -> Steps:
        """Take a place on a connection, send a visit on it, wait for its answer: one row."""
        pool, began_s = self._pool, self._tasks.now_s()
        if journey.due_s <= began_s:
            return TIMEOUT  # nobody waits any more for what led here
        assert pool is not None
        seat = pool.seat(journey.context)
        if seat is None:
            journey.refused_here = True
            return REJECTED
        visit: Visit | None = None
        outcome: cython.int = IN_FLIGHT
        try:
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
            sent_s = self._tasks.now_s()
            visit.own_network_s = sent_s - seat.seated_s
            seat.visit = visit
            self._let_go(journey, visit, seat.channel.endpoint, sent_s)
            answer = visit.value if visit.settled else (yield visit)
            if answer is TIMED_OUT:
                outcome = TIMEOUT
                return outcome
            rest_s: cython.double = self._rest_s(visit, answer)
            if rest_s > 0 and not (yield from self._read_rest(visit, rest_s, self._left_s(journey, sent_s))):
                outcome = TIMEOUT
                return outcome
            outcome = answer
            journey.cut_off = False
            return outcome
        finally:
            if visit is not None:
                self._conclude(journey, visit, outcome)
            pool.leave(seat, outcome)

    def _rest_s(self, visit: Visit, outcome: cython.int) -> float:
        """Seconds until all of an answer is there, whose beginning has just come."""
        return 0.0

    def _read_rest(self, visit: Visit, rest_s: float, left_s: float) -> Steps:
        """Steps that wait for the rest of an answer, `left_s` seconds at most; they return whether it came."""
        raise NotImplementedError

    def _left_s(self, journey: Journey, sent_s: float) -> float:
        """Seconds that an attempt, sent at that time, may still take."""
        return max(0.0, min(journey.due_s, sent_s + self._edge.per_try_s) - self._tasks.now_s())

    def _without_a_place(self, journey: Journey, seat: Seat) -> int:
        """It waited too long, or there was nobody to connect to."""
        now_s = self._tasks.now_s()
        journey.context.queue_s += now_s - seat.began_s
        if seat.value == UNREACHABLE:
            visit = self._new_attempt(journey, now_s)
            self._number_attempt(journey, visit)
            self._record(journey, visit, UNREACHABLE)
            return UNREACHABLE
        journey.refused_here = True
        return TIMEOUT if seat.value is TIMED_OUT else REJECTED

    def _not_connected(self, journey: Journey, seat: Seat, visit: Visit) -> int:
        """The connection could not be made, or not in time."""
        now_s = self._tasks.now_s()
        assert seat.channel is not None
        assert self._choice is not None
        visit.chosen = seat.channel.endpoint
        visit.permit = self._choice.permit(visit.chosen, now_s)
        visit.stage = OVER  # it was never sent
        if self._learns:
            self._tell_sent(visit, now_s)
        journey.cut_off = seat.value is TIMED_OUT
        return TIMEOUT if journey.cut_off else UNREACHABLE
