"""The caller: what happens between "call payment.charge" and its answer. Read `Caller` from top to bottom.

::

    _call    deadline of the whole call, tries and the pauses between them
    _send    one try: the circuit breaker lets it through, or not; choose an endpoint, let a visit leave
    _settle  the try is over: its time, the breaker, its row

The order is the usual one of client libraries: the deadline is outermost, so that retries cannot outlive it; every try asks the
breaker, so that it can open between two tries; the endpoint is chosen inside the retry, so that another try can go elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.kernel.tasks import TIMED_OUT, Steps, Tasks
from sim.policies.balancing import RULES
from sim.policies.breaker import REFUSED, BreakerGate, breaker_gate
from sim.records import IN_FLIGHT, OK, OUTCOMES, SHORT_CIRCUITED, TIMEOUT, UNREACHABLE
from sim.runtime.visit import Edge, Visit, new_visit
from sim.streams import child, salt, uniform

if TYPE_CHECKING:
    import cython

    from sim.runtime.context import Context
    from sim.runtime.recorder import Recorder
    from sim.runtime.world import World

_INF = math.inf
_PAUSE, _PICK = (salt("caller", name) for name in ("pause", "pick"))

#: Attempts of one call between two looks at whether the clock still moves.
_STUCK_AFTER = 10_000


class Call:
    """One logical call on its way through the caller's layers."""

    __slots__ = ("context", "key", "left_s", "number", "outcome", "permit")

    def __init__(self, context: Context) -> None:
        self.begin(context)

    def begin(self, context: Context) -> None:
        """What `__init__` does, as a C call."""
        self.context = context
        self.key = 0  # names its random draws
        self.number = 1  # of the current attempt
        self.left_s = _INF  # until the deadline, at the begin of the current attempt
        self.permit = REFUSED  # of the breaker, for the current attempt
        self.outcome = IN_FLIGHT  # of an attempt that could not be sent


class Caller:
    """One caller process on one edge: it owns its balancer and its breaker, and knows its own calls in flight, nobody else's."""

    __slots__ = ("_balancer", "_breaker", "_edge", "_in_flight", "_key", "_recorder", "_retry", "_tasks")

    def __init__(self, world: World, edge: Edge, process_key: cython.ulonglong) -> None:
        self._tasks: Tasks = world.tasks
        self._recorder: Recorder = world.recorder
        self._edge = edge
        policy = edge.policy
        endpoints = len(edge.target.endpoints)
        self._balancer = RULES[policy.balancing](process_key % endpoints)
        self._breaker: BreakerGate | None = None
        self._in_flight = [0] * endpoints
        self._retry = policy.retry
        self._key = process_key
        self.forget()

    def forget(self) -> None:
        """The process was started anew, with no call in flight: its breaker is closed."""
        spec = self._edge.policy.circuit_breaker
        self._breaker = None if spec is None else breaker_gate(spec, self._key, self._tasks.now_s())

    def call(self, context: Context, key: cython.ulonglong) -> Steps:
        """Steps that call, retry and pause until an answer, the last attempt or the deadline; they return the outcome."""
        call = Call.__new__(Call)
        call.begin(context)
        call.key = key
        return self._call(call)

    def _call(self, call: Call) -> Steps:
        tasks = self._tasks
        began_s = tasks.now_s()
        deadline_s = began_s + self._edge.timeout_s
        pause_s = 0.0
        while True:
            call.left_s = deadline_s - tasks.now_s()
            outcome: cython.int = IN_FLIGHT
            visit = self._send(call)
            if visit is None:
                outcome = call.outcome
            else:
                try:
                    reply = visit.reply
                    assert reply is not None
                    answer = reply.value if reply.settled else (yield reply)
                    outcome = TIMEOUT if answer is TIMED_OUT else answer
                finally:
                    # Also when this caller itself is killed: then the attempt stays in_flight, and nobody waits for it.
                    self._settle(call, visit, outcome)
            if outcome == OK or self._gives_up(call, outcome):
                return outcome
            if call.number % _STUCK_AFTER == 0 and tasks.now_s() <= began_s:
                self._stuck(call)
            pause_s = self._pause_s(call, pause_s)
            left_s = deadline_s - tasks.now_s()
            if pause_s >= left_s:
                # The pause is cut off by the deadline, as in gRPC: no try can follow.
                if left_s > 0:
                    yield left_s
                    call.context.backoff_s += left_s
                return TIMEOUT
            if pause_s > 0:
                yield pause_s
                call.context.backoff_s += pause_s
            call.number += 1

    def _gives_up(self, call: Call, outcome: cython.int) -> cython.bint:
        """Whether no other try follows a failure: the deadline has passed, or the retry policy says so."""
        if outcome == TIMEOUT and call.left_s <= self._edge.per_try_s:
            return True
        return not self._retry.again(call.number, OUTCOMES[outcome])

    def _pause_s(self, call: Call, previous_s: float) -> float:
        u = uniform(child(child(call.key, call.number), _PAUSE))
        pause_s: float = self._retry.backoff.pause_s(call.number, previous_s, u)
        return pause_s

    def _stuck(self, call: Call) -> None:
        """Stop a run in which retries without a pause would fail at one instant for ever."""
        caller, target = self._edge.names
        raise ScenarioError(
            f"calls.{caller} -> {target}.retry: {call.number} attempts failed at one instant ({self._tasks.now_s():g} s) "
            "and no time passes between them; give retry.backoff a base, for example 10ms, or retry a limited max_attempts"
        )

    def _send(self, call: Call) -> Visit | None:
        """Choose an endpoint and let a visit begin its way; None, and the call's `outcome`, if there is nothing to send it to."""
        edge, breaker, context = self._edge, self._breaker, call.context
        now_s = self._tasks.now_s()
        if breaker is not None:
            call.permit = breaker.permit(now_s)
            if call.permit == REFUSED:
                call.outcome = SHORT_CIRCUITED
                return None
        visit = new_visit(context.request, edge)
        visit.sent_s = now_s
        visit.attempt = self._recorder.next_attempt(context.request.number)
        alive = edge.target.believed_alive
        if not alive:
            call.outcome = UNREACHABLE
            self._note(call, visit, UNREACHABLE)
            return None
        visit.key = child(call.key, call.number)
        visit.call_key = call.key
        visit.chosen = self._balancer.pick(alive, self._in_flight, child(visit.key, _PICK))
        self._in_flight[visit.chosen] += 1
        visit.leave(call.left_s)
        return visit

    def _settle(self, call: Call, visit: Visit, outcome: cython.int) -> None:
        """Account for an attempt that is over."""
        self._in_flight[visit.chosen] -= 1
        context = call.context
        if outcome == TIMEOUT or outcome == UNREACHABLE:
            context.lost_s += self._tasks.now_s() - visit.sent_s
        elif outcome != IN_FLIGHT:
            context.add(visit)
        if outcome == TIMEOUT or outcome == IN_FLIGHT:
            visit.abandon()
        self._note(call, visit, outcome)

    def _note(self, call: Call, visit: Visit, outcome: cython.int) -> None:
        """Tell the breaker and the recorder."""
        edge, breaker = self._edge, self._breaker
        if breaker is not None:
            now_s = self._tasks.now_s()
            breaker.finish(call.permit, outcome, now_s, now_s - visit.sent_s)
        self._recorder.attempt(visit, call.context.attempt, edge.caller_code, edge.target_code, call.number, outcome)
